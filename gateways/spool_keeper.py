"""The thread that keeps a spool: writes what belongs on disk, syncs, holds the bounds, names what they cost, shows how it stands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from gateways.given_up import manifests_of, subject_of
from gateways.outbox import Fate, ForSpool, Item, Outbox
from gateways.segment import Envelope
from gateways.spool import GivenUp, Spool
from schemas.codec import encode
from schemas.telemetry import DroppedByRule, Noticed, Stage
from schemas.topics import MANIFESTS

TICK_S = 0.05
LOOK_EVERY_S = 0.25
RETRY_S = 2.0
JOIN_S = 10.0


class SpoolKeeper:
    """Starts with `start`; `finish` puts on disk what is left, and ends it.

    Called from this thread: `tell` with the fate of each record that is on disk, `submit` with a manifest that the disk did not take,
    `failed` where this thread cannot go on.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        outbox: Outbox,
        stage: Stage,
        tell: Callable[[Item, Fate], None],
        submit: Callable[[str, Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._spool = spool
        self._outbox = outbox
        self._stage = stage
        self._tell = tell
        self._submit = submit
        self._has_failed = failed
        self._in = stage.counter("spool_in", "Records written to the spool.", "topic")
        self._bytes = stage.gauge("spool_bytes", "Bytes of the spool's files.")
        self._limit = stage.gauge("spool_limit_bytes", "What the spool may hold.")
        self._records = stage.gauge("spool_records", "Records in the spool that the broker has not acknowledged.")
        self._oldest = stage.gauge("spool_oldest_seconds", "Age of the oldest of them, to the file.")
        self._limit.set(spool.limit_bytes)
        self._unsynced: list[Item] = []
        self._next_sync_s = self._next_look_s = self._next_try_s = 0.0
        self._damaged = 0
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)

    def start(self) -> None:
        """Names what a former life gave up, and begins."""
        for given_up in self._spool.unnamed():
            self._name(given_up)
        self._show()
        self._thread.start()

    def finish(self) -> None:
        """Returns when everything that is left in memory is on disk, or the disk did not take it. Blocks."""
        self._finishing.set()
        self._thread.join(JOIN_S)

    def _work(self) -> None:
        try:
            self._keep()
        except Exception as error:
            # whatever it is, records must not pile up in memory silently
            self._has_failed(error)

    def _keep(self) -> None:
        while True:
            finishing = self._finishing.wait(TICK_S)
            now_s = time.monotonic()
            if finishing or now_s >= self._next_try_s:
                self._write(everything=finishing, now_s=now_s)
            if finishing or now_s >= self._next_sync_s:
                self._sync(now_s)
            if finishing or now_s >= self._next_look_s:
                self._next_look_s = now_s + LOOK_EVERY_S
                try:
                    self._hold_bounds()
                    self._spool.reclaim()
                except OSError as error:
                    self._failed(error, now_s)
                self._show()
            if finishing:
                return

    def _write(self, *, everything: bool, now_s: float) -> None:
        with self._outbox.condition:
            due = self._outbox.must_spool(now_s=now_s) or everything
            batch = self._outbox.take_for_spool(everything=everything) if due else []
        if not batch:
            return
        numbers: list[int] = []
        try:
            for record in batch:
                numbers.append(self._append(record))  # what was written stays written
        except OSError as error:
            self._failed(error, now_s)
        written, failed = batch[: len(numbers)], batch[len(numbers) :]
        self._unsynced += [record.item for record in written]
        with self._outbox.condition:
            self._outbox.spool_fails = bool(failed)
            self._outbox.spooled(written, numbers, failed)

    def _append(self, record: ForSpool) -> int:
        item = record.item
        self._hold_bounds(more_bytes=item.size_bytes)
        number = self._spool.append(
            Envelope(item.topic.name, item.key, item.headers, item.at_ns),
            item.value,
            droppable=item.droppable,
            attempted=item.attempt > 0,
            flying=record.flying,
        )
        self._in.labels(item.topic.name).inc()
        return number

    def _sync(self, now_s: float) -> None:
        self._next_sync_s = now_s + self._spool.sync_s
        try:
            self._spool.sync()
        except OSError as error:
            self._failed(error, now_s)
            return
        synced, self._unsynced = self._unsynced, []
        for item in synced:
            self._tell(item, Fate.SPOOLED)

    def _failed(self, error: OSError, now_s: float) -> None:
        self._next_try_s = now_s + RETRY_S
        self._stage.emit(Noticed(what="spool_not_written", subject=str(self._spool.folder), detail=repr(error)))

    def _hold_bounds(self, *, more_bytes: int = 0) -> None:
        while (given_up := self._spool.give_up(now_ns=time.time_ns(), more_bytes=more_bytes)) is not None:
            self._name(given_up)

    def _name(self, given_up: GivenUp) -> None:
        """The manifests are on disk before the file goes, so that a crash in between only says it twice."""
        now_ns = time.time_ns()
        for manifest in manifests_of(given_up.envelopes, reason=given_up.reason, now_ns=now_ns):
            encoded = encode(MANIFESTS, manifest)
            envelope = Envelope(MANIFESTS.name, manifest.camera.encode(), encoded.headers, now_ns)
            try:
                self._spool.kept.append(envelope, encoded.value)
            except OSError:
                self._submit(manifest.camera, manifest)
        self._spool.kept.sync()
        self._spool.forget(given_up)
        for envelope in given_up.envelopes:
            self._stage.emit(DroppedByRule(reason=given_up.reason, subject=subject_of(envelope)))

    def _show(self) -> None:
        damaged = self._spool.kept.damaged + self._spool.droppable.damaged
        if damaged > self._damaged:
            detail = f"{damaged - self._damaged} records or ends of segments are not as they were written"
            self._stage.emit(Noticed(what="spool_damaged", subject=str(self._spool.folder), detail=detail))
            self._damaged = damaged
        oldest_ns = self._spool.oldest_ns
        self._bytes.set(self._spool.size_bytes)
        self._records.set(self._spool.records)
        self._oldest.set(0.0 if oldest_ns is None else max(0.0, (time.time_ns() - oldest_ns) / 1e9))
