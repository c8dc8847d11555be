"""When something happened outside, for figures of latency: the clock out there, as long as that can be believed."""

from __future__ import annotations

BELIEVED_SKEW_NS = 60_000_000_000


def is_skewed(occurred_at_ns: int, broker_at_ns: int) -> bool:
    """Whether a clock is so far from the broker's (more than 60 s either way) that it must be wrong."""
    return abs(broker_at_ns - occurred_at_ns) > BELIEVED_SKEW_NS


def believed_ns(occurred_at_ns: int, broker_at_ns: int) -> int:
    """ns UTC: `occurred_at_ns` of a PLC, camera or gateway, or the broker's time of the record where that is skewed.

    Never used to judge: deadlines count from the broker's time.
    """
    return broker_at_ns if is_skewed(occurred_at_ns, broker_at_ns) else occurred_at_ns
