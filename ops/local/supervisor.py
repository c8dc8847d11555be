"""Keeps a set of services running: restarts those that end, with back-off and a bounded number of tries; stops all in reverse."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from ops.local.children import Child, DidNotStart
from schemas.errors import ConfigurationError, ServiceAway

# Before the first, second, ... restart in a row; after the last one it gives up.
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
# A service that ran this long has recovered: its next failure counts as the first.
SETTLED_S = 60.0
UNHURRIED_STOP_S = 8.0
WRONG_CONFIGURATION = 2
"""Exit status: a person has to change something. At a first start starting again cannot help; later a file that is just being edited may be
right in a minute, and the others do not need it."""


class GaveUp(ServiceAway):
    """A service ended more often than it may be started again. The message names it and its last failure."""


class Supervised(Protocol):
    """A `Child`, a local Kafka or Triton, or one that someone else runs."""

    @property
    def name(self) -> str:
        """Name in logs and messages."""

    def start(self) -> None:
        """Start, or start again; raises DidNotStart."""

    def stop(self) -> None:
        """Stop, draining first; returns when it has ended."""

    def poll(self) -> int | None:
        """None while it runs, else its exit status."""


@dataclass(frozen=True, kw_only=True)
class Restart:
    """A service ended without being asked to and will be started again in `wait_s`."""

    name: str
    reason: str
    attempt: int
    wait_s: float


@dataclass(kw_only=True)
class _Kept:
    service: Supervised
    started_at: float
    failures: int = 0
    started_again: bool = False
    refusals: int = 0
    restart_at: float | None = None


class Supervisor(AbstractContextManager["Supervisor"]):
    """Services in the order they were started. What it runs, runs until `stop`: any other end is a failure, whatever the status.

    `tend` has to be called often; it blocks only while a service starts. One thread calls all methods.
    """

    def __init__(self, *, on_restart: Callable[[Restart], None], waits_s: Sequence[float] = WAITS_S) -> None:
        self._on_restart = on_restart
        self._waits_s = waits_s
        self._kept: list[_Kept] = []

    def start(self, service: Supervised, *, beside: Supervised | None = None) -> None:
        """Start a service and keep it running from now on. Raises what its `start` raises, and then does not keep it.

        It is stopped before those started earlier, or, with `beside`, just before that one.
        """
        service.start()
        kept = _Kept(service=service, started_at=time.monotonic())
        self._kept.insert(len(self._kept) if beside is None else self._place(beside) + 1, kept)

    def release(self, service: Supervised) -> None:
        """Stop one service, draining, and keep it running no longer."""
        del self._kept[self._place(service)]
        service.stop()

    def tend(self) -> None:
        """Look at every service once, and start again those whose wait is over.

        Raises GaveUp after too many failures in a row, and ConfigurationError for a service that ended with status 2 in its first life.
        In a later one, after a failure of another kind, it is tried until its configuration is right: what runs needs nothing of it.
        """
        for kept in self._kept:
            if kept.restart_at is not None:
                if time.monotonic() >= kept.restart_at:
                    self._start_again(kept)
            elif (status := kept.service.poll()) is not None:
                if status == WRONG_CONFIGURATION:
                    self._refused(kept)
                else:
                    self._failed(kept, f"ended with status {status}")

    def stop(self) -> None:
        """Stop all services, the last one started first.

        Once one took longer than `UNHURRIED_STOP_S` (its broker hangs, say), those that are left are stopped together: they wait
        for the same thing, and a person at the keyboard waits for all of them.
        """
        began = time.monotonic()
        while self._kept and time.monotonic() - began < UNHURRIED_STOP_S:
            began = time.monotonic()
            self._kept.pop().service.stop()
        if self._kept:
            left = [self._kept.pop().service for _ in range(len(self._kept))]
            with ThreadPoolExecutor(len(left)) as together:
                for stopping in [together.submit(service.stop) for service in left]:
                    stopping.result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __enter__(self) -> Self:
        return self

    def _place(self, service: Supervised) -> int:
        return next(index for index, kept in enumerate(self._kept) if kept.service is service)

    def _start_again(self, kept: _Kept) -> None:
        kept.restart_at = None
        kept.started_again = True
        kept.started_at = time.monotonic()
        try:
            kept.service.start()
        except DidNotStart as error:
            self._failed(kept, str(error).removeprefix(f"{kept.service.name} "))

    def _refused(self, kept: _Kept) -> None:
        refuses = f"refuses its configuration: {_last_words(kept.service)}"
        if not kept.started_again or not self._waits_s:
            raise ConfigurationError(f"{kept.service.name} {refuses}")
        kept.refusals += 1
        wait_s = self._waits_s[min(kept.refusals, len(self._waits_s)) - 1]
        kept.restart_at = time.monotonic() + wait_s
        self._on_restart(Restart(name=kept.service.name, reason=refuses, attempt=kept.refusals, wait_s=wait_s))

    def _failed(self, kept: _Kept, reason: str) -> None:
        now = time.monotonic()
        kept.refusals = 0
        kept.failures = 1 if now - kept.started_at >= SETTLED_S else kept.failures + 1
        if kept.failures > len(self._waits_s):
            raise GaveUp(
                f"{kept.service.name} failed {kept.failures} times in a row and is not started again: {reason}; "
                f"it said last: {_last_words(kept.service)}"
            )
        wait_s = self._waits_s[kept.failures - 1]
        kept.restart_at = now + wait_s
        self._on_restart(Restart(name=kept.service.name, reason=reason, attempt=kept.failures, wait_s=wait_s))


def _last_words(service: Supervised) -> str:
    """What a child wrote at its end, and where there is more."""
    if not isinstance(service, Child):
        return "see its log"
    return f"{service.last_words() or 'nothing'} (log: {service.log_path})"
