"""The topic catalogue: the one place that says which topics exist, what is on them and how they are kept.

Names on the broker are `<plant>.<name>`. Topics joined with each other have equal partition counts: everything keyed
by station shares one count, so that all messages about a part meet in partitions of the same number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from schemas.alerts import Alert, RetrainingTrigger
from schemas.associations import Associations
from schemas.charts import ChartPoint
from schemas.commands import Command, CommandResult
from schemas.errors import ConfigurationError
from schemas.frames import Frame, Manifest
from schemas.inspections import Inspection
from schemas.notifications import AlertResponse, Notification
from schemas.plc_events import PlcEvent
from schemas.readiness import StageReadiness
from schemas.records import AuditEvent, DeadLetter, ModelEvent, Review
from schemas.sensors import AssetBaseline, SensorReading
from schemas.shadows import ShadowAnswer
from schemas.statistics import Pane, WindowStatistics
from schemas.verdicts import DefectEvent, Verdict

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MIB_BYTES = 1024 * 1024

INLINE_LIMIT_BYTES = 1_000_000
"""Images up to this size travel inside the frame; larger ones go to the object store (claim check)."""

FRAME_LIMIT_BYTES = 4 * MIB_BYTES
"""Largest record on `frames`: the inline limit may be raised to just below this in the plant file."""


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic of the catalogue.

    `message` is a msgspec type or a tagged union; `schema` and `version` are what the `schema` header says.
    `key` names what the record key holds (UTF-8). `broker_time` topics carry the broker's time of append.
    """

    name: str
    message: Any
    schema: str
    key: str
    description: str
    retention_ms: int
    partitions: int = 4
    max_message_bytes: int = MIB_BYTES
    broker_time: bool = False
    version: int = 1

    def on(self, plant: str) -> str:
        """Name on the broker for a plant."""
        return f"{plant}.{self.name}"

    @property
    def config(self) -> dict[str, str]:
        """Topic settings that are created and verified."""
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime" if self.broker_time else "CreateTime",
        }


FRAMES = Topic(
    name="frames",
    message=Frame,
    schema="Frame",
    key="camera",
    description="One image of one view of a part. Short retention: pictures worth keeping go to the object store.",
    retention_ms=6 * HOUR_MS,
    max_message_bytes=FRAME_LIMIT_BYTES,
    broker_time=True,
)
SENSORS = Topic(
    name="sensors",
    message=SensorReading,
    schema="SensorReading",
    key="asset",
    description="Scalar values and waveform blocks of machine sensors.",
    retention_ms=7 * DAY_MS,
    broker_time=True,
)
ASSET_BASELINES = Topic(
    name="asset-baselines",
    message=AssetBaseline,
    schema="AssetBaseline",
    key="asset",
    description="Normal operation of assets, learned once: what their channels are held against.",
    retention_ms=10 * 365 * DAY_MS,
)
PLC_EVENTS = Topic(
    name="plc-events",
    message=PlcEvent,
    schema="PlcEvent",
    key="station",
    description="What PLCs report: part arrived, part left, reject confirmed, recipe changed, line state, fault.",
    retention_ms=90 * DAY_MS,
    broker_time=True,
)
INSPECTIONS = Topic(
    name="inspections",
    message=Inspection,
    schema="Inspection",
    key="station",
    description="Exactly one per frame: inspected with its defects, or dropped with its reason.",
    retention_ms=90 * DAY_MS,
)
SHADOWS = Topic(
    name="shadows",
    message=ShadowAnswer,
    schema="ShadowAnswer",
    key="station",
    description="What a version in shadow says of live frames, beside the answer that judged the part. Nothing acts on it.",
    retention_ms=30 * DAY_MS,
)
VERDICTS = Topic(
    name="verdicts",
    message=Verdict,
    schema="Verdict",
    key="station",
    description="One judgement per station, part and visit; a review makes a higher revision.",
    retention_ms=365 * DAY_MS,
)
DEFECTS = Topic(
    name="defects",
    message=DefectEvent,
    schema="DefectEvent",
    key="station",
    description="One flat record per defect, for subscribers; links to the kept picture.",
    retention_ms=365 * DAY_MS,
)
PANES = Topic(
    name="panes",
    message=Pane,
    schema="Pane",
    key="line",
    description="Additive sums of one station over one window; keyed by line, so that all panes of a line meet.",
    retention_ms=90 * DAY_MS,
)
STATISTICS = Topic(
    name="statistics",
    message=WindowStatistics,
    schema="WindowStatistics",
    key="line",
    description="Yield, DPMO and the p-chart point of a station or line over one window.",
    retention_ms=365 * DAY_MS,
)
CHARTS = Topic(
    name="charts",
    message=ChartPoint,
    schema="ChartPoint",
    key="line",
    description="Points of the control charts, with limits, run rules and the frozen baseline they are held against.",
    retention_ms=365 * DAY_MS,
)
ASSOCIATIONS = Topic(
    name="associations",
    message=Associations,
    schema="Associations",
    key="line",
    description="Where the defect rate of a line differed over a shift or another window: levels of causes with their evidence.",
    retention_ms=365 * DAY_MS,
)
ALERTS = Topic(
    name="alerts",
    message=Alert,
    schema="Alert",
    key="line",
    description="Alerts raised, repeated and cleared.",
    retention_ms=90 * DAY_MS,
)
ALERT_RESPONSES = Topic(
    name="alert-responses",
    message=AlertResponse,
    schema="AlertResponse",
    key="rule",
    description="What people did about alerts: acknowledged, silenced, approved.",
    retention_ms=365 * DAY_MS,
    partitions=1,
)
NOTIFICATIONS = Topic(
    name="notifications",
    message=Notification,
    schema="Notification",
    key="receiver",
    description="What each receiver of alerts is told, and what it is not told and why.",
    retention_ms=90 * DAY_MS,
    partitions=1,
)
COMMANDS = Topic(
    name="commands",
    message=Command,
    schema="Command",
    key="station",
    description="Writes asked of a station's PLC.",
    retention_ms=90 * DAY_MS,
)
COMMAND_RESULTS = Topic(
    name="command-results",
    message=CommandResult,
    schema="CommandResult",
    key="station",
    description="What the PLC answered: one result per command.",
    retention_ms=90 * DAY_MS,
)
MANIFESTS = Topic(
    name="manifests",
    message=Manifest,
    schema="Manifest",
    key="camera",
    description="What a gateway sent or dropped, by session and sequence range.",
    retention_ms=90 * DAY_MS,
    broker_time=True,
)
REVIEWS = Topic(
    name="reviews",
    message=Review,
    schema="Review",
    key="station",
    description="A person's label for a part.",
    retention_ms=365 * DAY_MS,
)
RETRAINING = Topic(
    name="retraining",
    message=RetrainingTrigger,
    schema="RetrainingTrigger",
    key="model",
    description="Requests to retrain a model, with their evidence.",
    retention_ms=365 * DAY_MS,
    partitions=1,
)
MODELS = Topic(
    name="models",
    message=ModelEvent,
    schema="ModelEvent",
    key="model",
    description="Training runs and model versions, step by step, from the request to the promotion or back: the registry's truth.",
    retention_ms=10 * 365 * DAY_MS,
    partitions=1,
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    message=DeadLetter,
    schema="DeadLetter",
    key="source topic",
    description="Records that can never succeed: original bytes and headers, reason and stage.",
    retention_ms=90 * DAY_MS,
    max_message_bytes=FRAME_LIMIT_BYTES + MIB_BYTES,
)
READINESS = Topic(
    name="readiness",
    message=StageReadiness,
    schema="StageReadiness",
    key="stage",
    description="Which processes can work and which recipes they have, said once a second by those that a verdict needs: what a station's "
    "TriggerReady follows. PLC gateways say which recipes are wanted.",
    retention_ms=HOUR_MS,
    partitions=1,
)
AUDIT = Topic(
    name="audit",
    message=AuditEvent,
    schema="AuditEvent",
    key="actor",
    description="Every command, release, review and configuration change.",
    retention_ms=10 * 365 * DAY_MS,
    partitions=1,
)

CATALOGUE: tuple[Topic, ...] = (
    FRAMES,
    SENSORS,
    ASSET_BASELINES,
    PLC_EVENTS,
    INSPECTIONS,
    SHADOWS,
    VERDICTS,
    DEFECTS,
    PANES,
    STATISTICS,
    CHARTS,
    ASSOCIATIONS,
    ALERTS,
    ALERT_RESPONSES,
    NOTIFICATIONS,
    COMMANDS,
    COMMAND_RESULTS,
    MANIFESTS,
    REVIEWS,
    RETRAINING,
    MODELS,
    DEAD_LETTERS,
    READINESS,
    AUDIT,
)
BY_NAME: dict[str, Topic] = {topic.name: topic for topic in CATALOGUE}


def missing_topic(name: str, *, present: Iterable[str]) -> ConfigurationError:
    """The error of a topic that the broker does not have. `present` are the names that it has: they tell a wrong plant file.

    Nothing is created here: a misspelt plant would get topics of its own and stay empty for ever.
    """
    ending = f".{FRAMES.name}"
    plants = sorted(topic.removesuffix(ending) for topic in present if topic.endswith(ending))
    if not plants:
        return ConfigurationError(
            f"{name} is not on the broker, nor are the topics of any plant: start the line, "
            "or create them with `linesight topics --create --plant FILE`"
        )
    return ConfigurationError(
        f"{name} is not on the broker, which has the topics of {', '.join(plants)}: give the right plant file with --plant, "
        "or, if this is a new plant, create them with `linesight topics --create --plant FILE`"
    )
