"""Which parts have passed a station's gate: a command for one of them is of no use, however young it is."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable

from schemas.patience import wait_at_most

REMEMBERED = 4096
"""Visits: several times the ring of departures of any PLC that we know."""


class DepartedParts:
    """The parts that left last, by part id and visit, as the PLC told.

    A PLC with a new session has forgotten its parts (docs/connect-a-station.md): those of the session before count as gone. One that comes
    again with the visit that it had is there again.
    """

    def __init__(self) -> None:
        self._left: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._here: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._plc_session = ""
        self._read_on: object = None
        self._read = asyncio.Event()

    def came(self, parts: Iterable[tuple[str, int]], *, plc_session: str) -> None:
        """These entered the station, in this session of the PLC."""
        if plc_session != self._plc_session:
            self._plc_session = plc_session
            self.left(list(self._here))
        for part in parts:
            self._left.pop(part, None)
            _remember(self._here, part)

    def left(self, parts: Iterable[tuple[str, int]]) -> None:
        """These passed the gate."""
        for part in parts:
            self._here.pop(part, None)
            _remember(self._left, part)

    def has_left(self, part_id: str, visit: int) -> bool:
        """Whether it is known to have passed the gate."""
        return (part_id, visit) in self._left

    def is_read(self, session: object) -> None:
        """What the PLC knows of departures was read over `session`, or cannot be read: nothing is gained by waiting for it."""
        self._read_on = session
        self._read.set()

    def is_unread(self) -> None:
        """The station was not served for a while: what left meanwhile has to be read first, even over the session of before."""
        self._read_on = None

    async def until_read(self, session: object, *, until_ns: int) -> None:
        """Returns when `is_read` was said of `session`, at the latest at `until_ns` (UTC).

        What left while the PLC was away is known then.
        """
        if self._read_on is session:
            return
        self._read.clear()
        # of another session: then this one is lost, as the next call says
        await wait_at_most((until_ns - time.time_ns()) / 1e9, self._read)


def _remember(parts: OrderedDict[tuple[str, int], None], part: tuple[str, int]) -> None:
    parts[part] = None
    while len(parts) > REMEMBERED:
        parts.popitem(last=False)
