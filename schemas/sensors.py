"""Readings of sensors on machines (assets)."""

from __future__ import annotations

from schemas.message import Message


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
