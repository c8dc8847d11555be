"""When a part really arrived, for figures of latency: the PLC's clock, as long as that can be believed."""

from __future__ import annotations

NS_PER_S = 1_000_000_000
BELIEVED_SKEW_NS = 60 * NS_PER_S


def is_skewed(occurred_at_ns: int, broker_at_ns: int) -> bool:
    """Whether a clock is so far from the broker's (more than 60 s either way) that it must be wrong."""
    return abs(broker_at_ns - occurred_at_ns) > BELIEVED_SKEW_NS


def trigger_ns(occurred_at_ns: int, broker_at_ns: int) -> int:
    """Time of the trigger, ns UTC: `occurred_at_ns` of the PLC, or the broker's time of the record where that is skewed.

    Never used to judge: deadlines count from the broker's time.
    """
    return broker_at_ns if is_skewed(occurred_at_ns, broker_at_ns) else occurred_at_ns
