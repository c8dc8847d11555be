"""Readings of sensors on machines (assets)."""

from __future__ import annotations

from schemas.message import Message, Value


class SensorReading(Message, frozen=True, kw_only=True):
    """One value, or one block of a waveform, of one channel of one asset.

    `id` is `asset/channel/session/sequence`. Exactly one of `value` and `waveform` is set; both are in `unit`
    (UCUM, e.g. `mm/s`, `Cel`). `waveform` is little-endian float32, `sample_rate_hz` samples a second,
    the first of them taken at `measured_at_ns`.
    """

    asset: str
    channel: str
    session: str
    sequence: int
    measured_at_ns: int
    unit: str
    value: float | None = None
    waveform: bytes | None = None
    sample_rate_hz: float | None = None


class NormalModel(Value, frozen=True, kw_only=True):
    """Principal components of an asset's smoothed rows: `axes` holds one component after the other, each with as many numbers as
    there are watched channels; `variances` fall, the first `retained` are T2's."""

    mean: tuple[float, ...]
    axes: tuple[float, ...]
    variances: tuple[float, ...]
    retained: int
    t2_limit: float
    q_limit: float


class AssetBaseline(Message, frozen=True, kw_only=True):
    """Normal operation of an asset, learned from `rows` rows from `from_ns` to `to_ns`; `id` is `asset/revision/from_ns`.

    The first record of (asset, revision, every_ms, channels) holds for good. `watched` are the positions in `channels` that have a
    level, `mean` and `deviation` theirs, in the channels' units.
    """

    asset: str
    revision: int
    every_ms: int
    channels: tuple[str, ...]
    rows: int
    from_ns: int
    to_ns: int
    watched: tuple[int, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    model: NormalModel
