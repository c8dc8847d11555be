"""The thread that keeps a spool: writes what belongs on disk, syncs, holds the bounds, names what they cost, shows how it stands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from gateways.given_up import manifests_of, subject_of
from gateways.outbox import Fate, ForSpool, Item, Outbox
from gateways.segment import Envelope
from gateways.spool import GivenUp, Spool
from schemas.codec import encode
from schemas.frames import Manifest
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
        submit: Callable[[Manifest, Callable[[Fate], None]], None],
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
        self._half_named: dict[Path, tuple[GivenUp, int]] = {}  # and how many manifests of each have no fate
        self._fates: SimpleQueue[Path] = SimpleQueue()  # from the loop's thread: a manifest of this file has its own
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
                    self._restore()
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
            self._next_sync_s = now_s + RETRY_S
            return
        synced, self._unsynced = self._unsynced, []
        for item in synced:
            self._tell(item, Fate.SPOOLED)

    def _restore(self) -> None:
        """A file that is deleted while it is written to takes everything, and says nothing: it is gone with the process."""
        if restored := self._spool.restore():
            detail = f"{restored} files were deleted under the gateway and are written again: what deletes them?"
            self._stage.emit(Noticed(what="spool_damaged", subject=str(self._spool.folder), detail=detail))

    def _failed(self, error: OSError, now_s: float) -> None:
        self._next_try_s = now_s + RETRY_S
        self._stage.emit(Noticed(what="spool_not_written", subject=str(self._spool.folder), detail=repr(error)))

    def _hold_bounds(self, *, more_bytes: int = 0) -> None:
        self._forget_named()
        while (
            not self._half_named
            and (given_up := self._spool.give_up(now_ns=time.time_ns(), more_bytes=more_bytes)) is not None
        ):
            self._name(given_up)

    def _name(self, given_up: GivenUp) -> None:
        """The manifests are on disk before the file goes, so that a crash in between only says it twice.

        Where the disk does not take them they go by way of memory, and the file stays until they have their fate; nothing else is given up
        before, which would make no room.
        """
        now_ns = time.time_ns()
        manifests = list(manifests_of(given_up.envelopes, reason=given_up.reason, now_ns=now_ns))
        for envelope in given_up.envelopes:
            self._stage.emit(DroppedByRule(reason=given_up.reason, subject=subject_of(envelope)))
        try:
            freed_bytes = given_up.path.stat().st_size
            for manifest in manifests:
                self._append_manifest(manifest, now_ns=now_ns, freed_bytes=freed_bytes)
            self._spool.kept.sync()
        except OSError as error:
            self._failed(error, time.monotonic())
            self._half_named[given_up.path] = (given_up, len(manifests))
            for manifest in manifests:
                self._submit(manifest, partial(self._named, given_up.path))
        else:
            self._spool.forget(given_up)

    def _append_manifest(self, manifest: Manifest, *, now_ns: int, freed_bytes: int) -> None:
        encoded = encode(MANIFESTS, manifest)
        envelope = Envelope(MANIFESTS.name, manifest.camera.encode(), encoded.headers, now_ns)
        self._spool.append(envelope, encoded.value, droppable=False, freed_bytes=freed_bytes)
        self._in.labels(MANIFESTS.name).inc()

    def _named(self, path: Path, fate: Fate) -> None:
        """On the loop's thread. With another fate the file stays, and the next life names it."""
        if fate in (Fate.ACKNOWLEDGED, Fate.SPOOLED):
            self._fates.put(path)
            if self._finishing.is_set() and not self._thread.is_alive():
                with suppress(OSError):  # the next life names it once more
                    self._forget_named()

    def _forget_named(self) -> None:
        """Lets go of the files whose manifests all have their fate; at once of those that have none (readings)."""
        while not self._fates.empty():
            path = self._fates.get()
            given_up, open_manifests = self._half_named[path]
            self._half_named[path] = (given_up, open_manifests - 1)
        for path, (given_up, open_manifests) in list(self._half_named.items()):
            if not open_manifests:
                self._spool.forget(given_up)
                del self._half_named[path]

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
