"""Which partitions are idle: nothing came of them for a while. A part that comes is no idleness, however old it is; a review is.

Their windows close by the clock then. Judged by the age of the last record instead, a backlog after a pause would be idle while it is
read: all of it would count as late, and windows be forgotten before their parts come.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.message import NS_PER_MS


class IdlePartitions:
    """Partitions, and since when each has been quiet by our own clock."""

    def __init__(self, *, timeout_ms: int) -> None:
        self._timeout_ns = timeout_ms * NS_PER_MS
        self._took: set[int] = set()
        self._quiet_since_ns: dict[int, int] = {}

    def took(self, partition: int) -> None:
        """Something came of it."""
        self._took.add(partition)

    def idle(self, partitions: Iterable[int], *, now_ns: int) -> list[int]:
        """Those that have been quiet for the timeout. Ask at every tick: what came since the last one counts as just now."""
        found = []
        for partition in partitions:
            if partition in self._took:
                self._quiet_since_ns.pop(partition, None)
            since_ns = self._quiet_since_ns.setdefault(partition, now_ns)
            if now_ns - since_ns >= self._timeout_ns:
                found.append(partition)
        self._took.clear()
        return found

    def forget(self, partition: int) -> None:
        """It is not ours any more."""
        self._quiet_since_ns.pop(partition, None)
