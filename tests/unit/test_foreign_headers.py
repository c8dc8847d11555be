"""One record whose header names are no text stops nobody: it is read like any other, and so are its neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from schemas.foreign_headers import accept_foreign_headers

GZIP = 1


class ForeignName(str):
    """A header name as a client writes it that does not care about UTF-8."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfename"


@pytest.fixture(autouse=True)
def _accepting() -> Iterator[None]:
    before = fetcher.MemoryRecords
    accept_foreign_headers()
    yield
    fetcher.MemoryRecords = before


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


@pytest.mark.parametrize("compression", [0, GZIP])
@pytest.mark.parametrize("names", [["a", ForeignName("b"), "c"], [ForeignName("a")], ["a", "b"]])
def test_every_record_of_a_batch_is_read_once(names: list[str], compression: int) -> None:
    records = fetcher.MemoryRecords(batch(names, compression=compression) * 2)
    for _ in range(2):
        found = list(records.next_batch())
        assert [record.offset for record in found] == list(range(len(names)))
        assert [bytes(record.value) for record in found] == [b"v%d" % number for number in range(len(names))]
        shown = [r"\xff\xfename" if isinstance(name, ForeignName) else name for name in names]
        assert [list(record.headers) for record in found] == [[(name, b"x"), ("after", None)] for name in shown]
    assert records.next_batch() is None
