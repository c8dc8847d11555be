"""What every peer counts, from the same topic: verdicts in tumbling minutes of event time by station."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import Self

import msgspec

WINDOW_MS = 60_000
NS_PER_MS = 1_000_000


class Counted(msgspec.Struct):
    """The fields of a verdict that the count needs; a decoder passes the others over."""

    station: str
    arrived_at_ns: int


DECODER = msgspec.msgpack.Decoder(Counted)


@dataclass(frozen=True)
class Counting:
    """What a peer is told on its command line, in this order."""

    bootstrap: str
    verdicts: str
    results: str
    count: int

    @classmethod
    def of_command_line(cls) -> Self:
        """The task of this process."""
        bootstrap, verdicts, results, count = sys.argv[1:]
        return cls(bootstrap, verdicts, results, int(count))

    def arguments(self) -> list[str]:
        """The same as a command line."""
        return [self.bootstrap, self.verdicts, self.results, str(self.count)]


class Clock:
    """From the first verdict to the last one; `seen` prints the rate when `count` have come."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen = 0
        self._began_s = 0.0

    def seen(self) -> bool:
        """One verdict more; True with the last."""
        if self._seen == 0:
            self._began_s = time.perf_counter()
        self._seen += 1
        if self._seen < self._count:
            return False
        if self._seen == self._count:
            self.say()
        return True

    def say(self) -> None:
        """Prints verdicts/s, as a peer's last word."""
        print(json.dumps([self._seen / (time.perf_counter() - self._began_s)]), flush=True)
