"""Records whose header names are not UTF-8: read, so that they can be refused by name.

The protocol says that header names are UTF-8, brokers do not look, and some clients send any bytes. aiokafka 0.14 and
kafka-python 3.0 raise in the middle of their fetchers then, at this record and at every later attempt: one record would stop
all readers of its partition for good. Here its bytes that are no text are shown as `\\xff`, and the record goes the way of any other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, SupportsIndex

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch


def accept_foreign_headers() -> None:
    """From now on every consumer of this process (also Faust's) reads such records. Doing so twice is harmless."""
    fetcher.MemoryRecords = _Records
    memory_records.DefaultRecordBatch = _KafkaPythonBatch


class _Records(_MemoryRecordsPy):  # type: ignore[misc]
    """What a fetch brought, batch by batch."""

    def next_batch(self) -> Any:
        encoded, batch = self._next_slice, super().next_batch()
        return batch if batch is None or batch.magic < 2 else _Batch(batch, encoded)


class _Batch:
    """A batch, parsed by the client's own quick parser as long as that can."""

    def __init__(self, batch: Any, encoded: memoryview) -> None:
        self._batch = batch
        self._encoded = encoded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                read += 1
                yield record
        except UnicodeDecodeError:
            yield from itertools.islice(_LenientBatch(self._encoded), read, None)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """The same in Python, from the beginning of the batch."""

    _buffer: Any

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Text(self._buffer)


class _KafkaPythonBatch(DefaultRecordBatch):  # type: ignore[misc]
    """A batch of kafka-python, which reads a record again where its first attempt fails: its place is kept until it is read."""

    _buffer: Any

    def _read_msg(self, *options: Any) -> Any:
        try:
            return super()._read_msg(*options)
        except UnicodeDecodeError:
            plain, self._buffer = self._buffer, _Text(self._buffer)
            try:
                return super()._read_msg(*options)
            finally:
                self._buffer = plain


class _Text(bytearray):
    """Bytes of which every piece can be decoded."""

    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        found = super().__getitem__(at)
        return _Text(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return super().decode(encoding, "backslashreplace")
