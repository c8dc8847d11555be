"""One record whose header names are no text stops nobody: it is read like any other, and so are its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from kafka.record import memory_records

from schemas.foreign_headers import accept_foreign_headers
from simulation.bad_records import ForeignName

GZIP = 1


@pytest.fixture(autouse=True)
def _accepting() -> Iterator[None]:
    before = fetcher.MemoryRecords, memory_records.DefaultRecordBatch
    accept_foreign_headers()
    yield
    fetcher.MemoryRecords, memory_records.DefaultRecordBatch = before


def batch(names: list[str], *, compression: int) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(
        magic=2,
        compression_type=compression,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=100_000,
    )
    for offset, name in enumerate(names):
        builder.append(offset, timestamp=7, key=b"k", value=b"v%d" % offset, headers=[(name, b"x"), ("after", None)])
    return bytes(builder.build())


def of_aiokafka(content: bytes) -> Any:
    return fetcher.MemoryRecords(content)


def of_kafka_python(content: bytes) -> Any:
    return memory_records.MemoryRecords(content)


@pytest.mark.parametrize("read", [of_aiokafka, of_kafka_python])
@pytest.mark.parametrize("compression", [0, GZIP])
@pytest.mark.parametrize("names", [["a", ForeignName("b"), "c"], [ForeignName("a")], ["a", "b"]])
def test_every_record_of_a_batch_is_read_once(read: Callable[[bytes], Any], names: list[str], compression: int) -> None:
    records = read(batch(names, compression=compression) * 2)
    for _ in range(2):
        found = list(records.next_batch())
        assert [record.offset for record in found] == list(range(len(names)))
        assert [bytes(record.value) for record in found] == [b"v%d" % number for number in range(len(names))]
        shown = [r"\xff\xfename" if isinstance(name, ForeignName) else name for name in names]
        assert [list(record.headers) for record in found] == [[(name, b"x"), ("after", None)] for name in shown]
    assert records.next_batch() is None
