"""The plant description as objects: what a plant file (YAML, `schemas/plant_file.py`) may say.

Products are in `schemas/recipes.py`, alerts in `schemas/alert_rules.py`, windows and charts in
`schemas/statistics_settings.py`. Every struct rejects unknown keys; every
default is the value most plants want. Units stand in the names.
"""

from __future__ import annotations

from typing import Literal

from schemas.addresses import without_password
from schemas.alert_rules import Rule
from schemas.challenges import Challenges
from schemas.interlocks import Interlocks
from schemas.learning_settings import LearningSettings
from schemas.receivers import AnyReceiver, Webhook
from schemas.recipes import Recipe
from schemas.section import Section
from schemas.specification import Specification
from schemas.statistics_settings import StatisticsSettings
from schemas.topics import INLINE_LIMIT_BYTES

# --- cameras -----------------------------------------------------------------------------------------------------


CAPTURED_AT_HEADER = "X-Captured-At-Ns"
"""A camera with a clock says in this header when it exposed, in ns UTC."""


class HttpSource(Section, tag_field="type", tag="http", frozen=True, kw_only=True):
    """A camera that serves a picture per GET. `{trigger}` in `url` is replaced by the PLC's trigger count (hardware trigger);
    without it the GET itself takes the picture (software trigger), asked for no later than `expose_within_ms` after the trigger.
    `{view}` is replaced by the view's name; a camera with several views needs it. A camera with a clock may say when it exposed in the
    header `X-Captured-At-Ns` (ns UTC)."""

    url: str
    timeout_ms: int = 1000
    expose_within_ms: int = 500


class FolderSource(Section, tag_field="type", tag="folder", frozen=True, kw_only=True):
    """Pictures appear as files named `<trigger count>.<jpg|png|bmp>` in `path` (a camera that uploads by FTP, or a test).
    `{view}` in `path` is replaced by the view's name; a camera with several views needs it. Relative to the plant file."""

    path: str
    timeout_ms: int = 1000


class VideoSource(Section, tag_field="type", tag="video", frozen=True, kw_only=True):
    """A video file, shown frame by frame: trigger count n is frame `(n - 1) * frames_per_part`, counted from 0, plus the place of the
    view among the camera's. `repeat: true` begins again at its end. Pictures travel as PNG, or as JPEG of `jpeg_quality` (1 to 100).
    Relative to the plant file."""

    path: str
    frames_per_part: int = 1
    repeat: bool = False
    jpeg_quality: int | None = None
    timeout_ms: int = 1000


class RtspSource(Section, tag_field="type", tag="rtsp", frozen=True, kw_only=True):
    """A free-running stream. A part's picture is the first frame that was exposed after its trigger was seen: within `window_ms`, and
    before the next trigger. `latency_ms` is what a frame takes from the exposure until it arrives here. Without a frame for
    `stall_after_ms` the camera is connected anew. A password in `url` comes from the environment: `rtsp://user:${PASSWORD}@host/path`.
    Pictures travel as PNG, or as JPEG of `jpeg_quality` (1 to 100)."""

    url: str
    window_ms: int = 200
    latency_ms: int = 0
    stall_after_ms: int = 2000
    jpeg_quality: int | None = None

    def __repr__(self) -> str:
        """Without the password: descriptions end up in logs."""
        return f"RtspSource(url={without_password(self.url)!r})"


class GenicamSource(Section, tag_field="type", tag="genicam", frozen=True, kw_only=True):
    """A GigE Vision or USB3 Vision camera through Aravis. `device` is its id as `arv-tool-0.8` lists it, or its address.

    `trigger: hardware`: the input `trigger_source` (SFNC TriggerSource) exposes; frames are bound to parts by the counters of PLC
    and camera, and refused where trigger and exposure lie more than `window_ms` apart (less than half the time between two parts).
    `trigger: software`: the gateway fires TriggerSoftware, no later than `expose_within_ms` after the PLC's trigger, and has the frame
    within `timeout_ms` of it. `exposure_time_us` (ExposureTime), `gain_db` (Gain) and `pixel_format` (PixelFormat) are set where they
    are given. Pictures travel as PNG, or as JPEG of `jpeg_quality` (1 to 100)."""

    device: str
    trigger: Literal["hardware", "software"] = "hardware"
    trigger_source: str = "Line1"
    window_ms: int = 100
    timeout_ms: int = 1000
    expose_within_ms: int = 500
    exposure_time_us: float | None = None
    gain_db: float | None = None
    pixel_format: str | None = None
    jpeg_quality: int | None = None


class ExternalSource(Section, tag_field="type", tag="external", frozen=True, kw_only=True):
    """The plant publishes this camera's frames to Kafka itself (`linesight publish`, `linesight inspect`, own gateways)."""


CameraSource = HttpSource | FolderSource | VideoSource | RtspSource | GenicamSource | ExternalSource


class Camera(Section, frozen=True, kw_only=True):
    """A camera and the views (positions) it takes of a part, in the order of their capture.

    `repeats: refuse`: the source has noise, which never repeats byte for byte. The very picture that a view had last is no picture of
    another part or view, and a picture that ends in equal rows came only in part. `allow` is for a source without noise.
    """

    name: str
    views: tuple[str, ...]
    source: CameraSource
    max_width_px: int = 8192
    max_height_px: int = 8192
    max_image_bytes: int = 32_000_000
    repeats: Literal["refuse", "allow"] = "refuse"


# --- PLC ---------------------------------------------------------------------------------------------------------


class PlcNodes(Section, frozen=True, kw_only=True):
    """Node identifiers of one station in the PLC (`docs/connect-a-station.md` explains each).

    Given as OPC UA identifier without the namespace (`s=...` or `i=...`); the namespace comes by URI.
    `{station}` is replaced by the station's name. Arrays of one group have equal length, newest entry last. A node that may be
    `null` is left alone where the PLC does not have it.
    """

    plc_heartbeat: str = "s={station}.Heartbeat.Plc"
    gateway_heartbeat: str = "s={station}.Heartbeat.Gateway"
    session: str = "s={station}.Session"
    trigger_count: str = "s={station}.Arrivals.Count"
    arrival_trigger_counts: str = "s={station}.Arrivals.TriggerCounts"
    arrival_part_ids: str = "s={station}.Arrivals.PartIds"
    arrival_visits: str = "s={station}.Arrivals.Visits"
    arrival_recipes: str = "s={station}.Arrivals.Recipes"
    arrival_batches: str = "s={station}.Arrivals.Batches"
    arrival_times_ns: str = "s={station}.Arrivals.TimesNs"
    departure_count: str = "s={station}.Departures.Count"
    departure_counts: str = "s={station}.Departures.Counts"
    departure_part_ids: str = "s={station}.Departures.PartIds"
    departure_visits: str = "s={station}.Departures.Visits"
    departure_lanes: str = "s={station}.Departures.Lanes"
    departure_by_fail_safe: str = "s={station}.Departures.ByFailSafe"
    departure_reject_confirmed: str = "s={station}.Departures.RejectConfirmed"
    departure_times_ns: str = "s={station}.Departures.TimesNs"
    line_mode: str = "s={station}.Line.Mode"
    line_cause: str = "s={station}.Line.Cause"
    recipe: str = "s={station}.Recipe"
    next_recipe: str | None = "s={station}.NextRecipe"
    trigger_ready: str | None = "s={station}.Handshake.TriggerReady"
    ready_recipe: str | None = "s={station}.Handshake.ReadyRecipe"
    trigger_seen: str | None = "s={station}.Handshake.TriggerSeen"
    error_code: str | None = "s={station}.Handshake.ErrorCode"
    error_text: str | None = "s={station}.Handshake.ErrorText"
    reset_count: str | None = "s={station}.Handshake.Reset"
    writes_allowed: str | None = "s={station}.WritesAllowed"
    command_id: str = "s={station}.Mailbox.CommandId"
    command_kind: str = "s={station}.Mailbox.Kind"
    command_part_id: str = "s={station}.Mailbox.PartId"
    command_visit: str = "s={station}.Mailbox.Visit"
    command_verdict: str = "s={station}.Mailbox.Verdict"
    command_action: str = "s={station}.Mailbox.Action"
    command_reason: str = "s={station}.Mailbox.Reason"
    command_defect_class: str | None = "s={station}.Mailbox.DefectClass"
    command_defect_view: str | None = "s={station}.Mailbox.DefectView"
    command_defect_x_px: str | None = "s={station}.Mailbox.DefectXPx"
    command_defect_y_px: str | None = "s={station}.Mailbox.DefectYPx"
    command_parameter: str | None = "s={station}.Mailbox.Parameter"
    command_value: str | None = "s={station}.Mailbox.Value"
    command_valid_until_ns: str = "s={station}.Mailbox.ValidUntilNs"
    command_sequence: str = "s={station}.Mailbox.Sequence"
    ack_sequence: str = "s={station}.Mailbox.AckSequence"
    ack_command_id: str = "s={station}.Mailbox.AckCommandId"
    ack_result: str = "s={station}.Mailbox.AckResult"
    ack_time_ns: str = "s={station}.Mailbox.AckTimeNs"


class PasswordLogin(Section, tag_field="type", tag="password", frozen=True, kw_only=True):
    """A user of the PLC with a password, which comes from the environment: `password: ${PLC_PASSWORD}`."""

    user: str
    password: str

    def __repr__(self) -> str:
        """Without the password: descriptions end up in logs."""
        return f"PasswordLogin(user={self.user!r}, password=...)"


class CertificateLogin(Section, tag_field="type", tag="certificate", frozen=True, kw_only=True):
    """A user of the PLC with a certificate of its own, beside the application's: files, PEM or DER."""

    certificate: str
    private_key: str


Login = PasswordLogin | CertificateLogin


class PartLabel(Section, frozen=True, kw_only=True):
    """What the PLC knows of a part besides its batch: tool, cavity, supplier. `node` is an array beside those of the arrivals, of texts
    or numbers; `{station}` is replaced by the station's name."""

    name: str
    node: str


class Plc(Section, frozen=True, kw_only=True):
    """One PLC, reached over OPC UA. `observe: true` reads everything and writes nothing (commissioning).

    `security: none` is unencrypted and must be said; the default needs `certificate`, `private_key` and `server_certificate`. The folder
    `trusted_certificates` holds certificates that are trusted beside or instead of that one: the PLC's next one, or an authority's.
    Without `login` the session is anonymous: the PLC knows the application by its certificate.
    """

    name: str
    endpoint: str
    namespace: str = "urn:linesight:station"
    security: Literal["basic256sha256", "none"] = "basic256sha256"
    certificate: str | None = None
    private_key: str | None = None
    server_certificate: str | None = None
    trusted_certificates: str | None = None
    login: Login | None = None
    observe: bool = False
    publishing_interval_ms: int = 20
    heartbeat_ms: int = 500
    acknowledge_timeout_ms: int = 500
    nodes: PlcNodes = PlcNodes()
    labels: tuple[PartLabel, ...] = ()


# --- places ------------------------------------------------------------------------------------------------------


class Station(Section, frozen=True, kw_only=True):
    """A place where a part is inspected. `gate_after_ms` is the time from its arrival until it passes the reject gate:
    a verdict that comes later is of no use to the machine. `ideal_cycle_ms` is the shortest time per part, for OEE."""

    name: str
    cameras: tuple[Camera, ...]
    plc: str | None = None
    gate_after_ms: int = 2000
    ideal_cycle_ms: int | None = None
    interlocks: Interlocks = Interlocks()
    challenges: Challenges = Challenges()


class Line(Section, frozen=True, kw_only=True):
    """Stations in the order in which a part meets them."""

    name: str
    stations: tuple[Station, ...]


class Watch(Section, frozen=True, kw_only=True):
    """Watches all channels of an asset together, one row every `every_ms`.

    Normal operation is learned from the first `learn_rows` rows, kept on a topic, and never moves; another `revision` learns anew.
    """

    every_ms: int = 1_000
    learn_rows: int = 2_000
    revision: int = 1


class Channel(Section, frozen=True, kw_only=True):
    """One measured quantity of an asset. `node` is its OPC UA identifier in the asset's PLC, which samples it every `sample_ms`. With a
    `specification` the report says the capability.

    `block_samples` above 1: so many samples travel in one message, as a waveform of float32; for channels that are sampled quickly.
    `deadband` (in `unit`): the PLC reports a value that has moved by more than this since it was reported last; 0: each that changed.
    """

    name: str
    unit: str
    node: str | None = None
    sample_ms: int = 500
    block_samples: int = 1
    deadband: float = 0.0
    specification: Specification | None = None


class Asset(Section, frozen=True, kw_only=True):
    """A machine with sensors, belonging to a line; read through a PLC, or published by the plant where `plc` is absent."""

    name: str
    line: str
    channels: tuple[Channel, ...]
    plc: str | None = None
    watch: Watch | None = None


# --- what follows the verdict ------------------------------------------------------------------------------------


class RecordSettings(Section, frozen=True, kw_only=True):
    """Which pictures are kept: all of parts that are not OK, and this share of the OK ones, chosen by hash of the part id."""

    ok_share_ratio: float = 0.02
    retention_days: int = 365


class RetrainingSettings(Section, frozen=True, kw_only=True):
    """When a retraining trigger fires.

    Scores of OK parts are ranked in the first `baseline_views` of their recipe's view; the ranks of the newest `window_views` of a
    station are compared with the baselines' (two-sample Kolmogorov-Smirnov). `disagreement_ratio` of reviews against verdicts over
    the last `minimum_reviews` parts fires too, and so does a NOT_OK share of the newest `mix_batches` batches (of at least
    `mix_batch_parts` parts each) that all lie beyond the limits of the first `baseline_parts` parts, unless people confirmed it.
    At most one request per model in `minimum_interval_ms`, and `most_per_30_days`.
    """

    baseline_views: int = 120
    window_views: int = 120
    p_value: float = 0.001
    minimum_distance: float = 0.3
    minimum_reviews: int = 10
    disagreement_ratio: float = 0.2
    baseline_parts: int = 1000
    mix_batches: int = 3
    mix_batch_parts: int = 50
    minimum_interval_ms: int = 3_600_000
    most_per_30_days: int = 8


class KafkaLayout(Section, frozen=True, kw_only=True):
    """How this plant's topics are laid out."""

    partitions: int = 4
    inline_limit_bytes: int = INLINE_LIMIT_BYTES


class Plant(Section, frozen=True, kw_only=True):
    """A whole plant file. `plant` is the name and the prefix of every topic.

    `recipe_files` holds files of one recipe each, relative to the plant file; they follow those of `recipes`. What a recipe names is
    relative to the plant file too.
    """

    plant: str
    lines: tuple[Line, ...]
    recipes: tuple[Recipe, ...]
    recipe_files: tuple[str, ...] = ()
    plcs: tuple[Plc, ...] = ()
    assets: tuple[Asset, ...] = ()
    alerts: tuple[Rule, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    receivers: tuple[AnyReceiver, ...] = ()
    statistics: StatisticsSettings = StatisticsSettings()
    record: RecordSettings = RecordSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    learning: LearningSettings | None = None
    kafka: KafkaLayout = KafkaLayout()

    @property
    def stations(self) -> tuple[Station, ...]:
        """All stations of all lines."""
        return tuple(station for line in self.lines for station in line.stations)

    @property
    def cameras(self) -> dict[str, Camera]:
        """All cameras by name (names are unique in a plant)."""
        return {camera.name: camera for station in self.stations for camera in station.cameras}

    @property
    def defers_frames(self) -> bool:
        """Whether some recipe has late frames deferred: then the backfill stage has to run."""
        return any(recipe.overload == "newest_first" for recipe in self.recipes)

    def station(self, name: str) -> Station | None:
        """The station of that name."""
        return next((station for station in self.stations if station.name == name), None)

    def station_of(self, camera: str) -> Station | None:
        """The station that a camera belongs to."""
        return next((s for s in self.stations if any(c.name == camera for c in s.cameras)), None)

    def line_of(self, station: str) -> Line | None:
        """The line that a station belongs to."""
        return next((line for line in self.lines if any(s.name == station for s in line.stations)), None)

    def recipe(self, key: str) -> Recipe | None:
        """The recipe called `name@revision`."""
        return next((recipe for recipe in self.recipes if recipe.key == key), None)

    def plc(self, name: str) -> Plc | None:
        """The PLC of that name."""
        return next((plc for plc in self.plcs if plc.name == name), None)
