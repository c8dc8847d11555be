"""A segment file gives back what was written, in order, without what is not as it was written."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways import segment
from gateways.segment import HEADER_BYTES, Damaged, Envelope, Record, Segment
from schemas.errors import ConfigurationError

LENGTHS_BYTES = 8
RECORDS = st.lists(
    st.builds(
        Record,
        st.builds(
            Envelope,
            topic=st.sampled_from(["frames", "plc-events"]),
            key=st.binary(max_size=8),
            headers=st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=8)), max_size=3),
            at_ns=st.integers(1, 2**62),
        ),
        st.binary(max_size=200),
    ),
    min_size=1,
    max_size=12,
)


def write(path: Path, records: list[Record]) -> None:
    made = Segment.create(path, first=0)
    for record in records:
        made.append(record.envelope, record.value)
    made.sync()
    made.close()


def read(path: Path) -> tuple[list[Record], int]:
    opened, torn_bytes = Segment.open(path, first=0, verify=True)
    found, offset = [], HEADER_BYTES
    for _ in range(opened.count):
        with suppress(Damaged):  # that one is passed over
            found.append(opened.read(offset))
        offset = opened.following(offset)
    assert offset == opened.end
    opened.close()
    return found, torn_bytes


@given(records=RECORDS)
def test_what_was_appended_comes_back_in_order(records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(path := Path(folder) / "a.seg", records)
        assert read(path) == (records, 0)
        opened, _ = Segment.open(path, first=7, verify=False)
        assert (opened.first, opened.count, opened.stop) == (7, len(records), 7 + len(records))
        assert (opened.oldest_ns, opened.newest_ns) == (records[0].envelope.at_ns, records[-1].envelope.at_ns)
        opened.close()


@given(records=RECORDS, where=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_gives_a_prefix_and_goes_on_from_there(records: list[Record], where: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(path := Path(folder) / "a.seg", records)
        size_bytes = path.stat().st_size
        os.truncate(path, cut := int(where * size_bytes))
        found, torn_bytes = read(path)
        assert found == records[: len(found)]
        assert len(found) < len(records)
        assert torn_bytes <= cut
        again, left_bytes = read(path)
        assert again == found, "what was cut off stays off"
        assert left_bytes == 0


@given(records=RECORDS, which=st.integers(0, 11), where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_costs_its_record_and_invents_nothing(
    records: list[Record], which: int, where: float, flip: int
) -> None:
    """As a disk that fails changes it: what stands behind was synced, and may be all that is known of an hour."""
    which %= len(records)
    with tempfile.TemporaryDirectory() as folder:
        write(path := Path(folder) / "a.seg", records[: which + 1])
        end = path.stat().st_size
        write(path.with_name("b.seg"), records[:which])
        begin = path.with_name("b.seg").stat().st_size
        path.unlink()
        write(path, records)
        at = begin + int(where * (end - begin))
        content = bytearray(path.read_bytes())
        content[at] ^= flip
        path.write_bytes(content)
        found, torn_bytes = read(path)
    rest = iter(records)
    assert all(record in rest for record in found), "nothing else, and in order"
    lengths_hold = at >= begin + LENGTHS_BYTES
    if lengths_hold and which < len(records) - 1:
        assert found == records[:which] + records[which + 1 :]
        assert torn_bytes == 0
    elif lengths_hold:
        assert found == records[:which], "nothing stands behind it: a write that was cut short"
        assert torn_bytes > 0
    assert found[:which] == records[:which]
    assert len(found) < len(records)


def test_a_tail_of_zeros_as_a_power_cut_leaves_it_is_no_record(tmp_path: Path) -> None:
    records = [Record(Envelope("frames", b"c", [], 1), b"x" * 50)]
    write(tmp_path / "a.seg", records)
    os.truncate(tmp_path / "a.seg", 4096)
    assert read(tmp_path / "a.seg")[0] == records
    (tmp_path / "b.seg").write_bytes(bytes(4096))
    assert read(tmp_path / "b.seg")[0] == []


def test_without_verifying_a_changed_record_is_found_when_it_is_read(tmp_path: Path) -> None:
    records = [Record(Envelope("frames", b"c", [], number), bytes(50)) for number in range(3)]
    write(tmp_path / "a.seg", records)
    content = bytearray((tmp_path / "a.seg").read_bytes())
    content[-1] ^= 1
    (tmp_path / "a.seg").write_bytes(content)
    opened, torn_bytes = Segment.open(tmp_path / "a.seg", first=0, verify=False)
    assert (opened.count, torn_bytes) == (3, 0)
    with pytest.raises(Damaged, match="is not as it was written"):
        opened.read(opened.following(opened.following(HEADER_BYTES)))
    opened.close()


def test_a_segment_of_another_version_or_kind_is_refused_in_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "a.seg", [Record(Envelope("frames", b"c", [], 1), b"x")])
    content = (tmp_path / "a.seg").read_bytes()
    (tmp_path / "b.seg").write_bytes(content[:7] + b"\x02" + content[8:])
    (tmp_path / "c.seg").write_bytes(b"something else")
    with pytest.raises(
        ConfigurationError, match=r"b\.seg was written by another Linesight \(spool version 2; this one reads 1\)"
    ):
        read(tmp_path / "b.seg")
    with pytest.raises(ConfigurationError, match=r"c\.seg is no segment of a spool: move it away"):
        read(tmp_path / "c.seg")


def test_a_disk_that_takes_half_a_record_leaves_the_segment_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Segment.create(tmp_path / "a.seg", first=0)
    made.append(Envelope("frames", b"c", [], 1), b"first")

    def half(file: int, parts: list[bytes], offset: int) -> int:
        os.pwrite(file, parts[0], offset)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segment.os, "pwritev", half)
        with pytest.raises(OSError, match="No space left"):
            made.append(Envelope("frames", b"c", [], 2), b"second")
    made.append(Envelope("frames", b"c", [], 3), b"third")
    made.close()
    found, torn_bytes = read(tmp_path / "a.seg")
    assert [record.value for record in found] == [b"first", b"third"]
    assert torn_bytes == 0


def test_a_write_that_stops_in_the_middle_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwritev
    monkeypatch.setattr(segment.os, "pwritev", lambda file, parts, at: whole(file, [b"".join(parts)[:20]], at))
    records = [Record(Envelope("frames", b"c", [("a", b"b")], 1), bytes(range(200)))]
    write(tmp_path / "a.seg", records)
    assert read(tmp_path / "a.seg") == (records, 0)


@pytest.mark.parametrize("ahead_bytes", [8, 9, 45, 77, 100, 4096, segment.AHEAD_BYTES])
@pytest.mark.parametrize(
    "sizes", [[30_000] * 80, [100, 200_000] * 8, [2_000_000, 10, 10, 65_500, 65_600, 10], [7] * 50]
)
def test_records_of_all_sizes_are_counted_as_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int], ahead_bytes: int
) -> None:
    monkeypatch.setattr(segment, "AHEAD_BYTES", ahead_bytes)
    path = tmp_path / "a.seg"
    write(path, [Record(Envelope("frames", b"c", [], number + 1), bytes(size)) for number, size in enumerate(sizes)])
    counted, torn_bytes = Segment.open(path, first=0, verify=False)
    assert (counted.count, counted.end, torn_bytes) == (len(sizes), path.stat().st_size, 0)
    assert (counted.oldest_ns, counted.newest_ns) == (1, len(sizes))
    counted.close()
    os.truncate(path, path.stat().st_size - 1)
    torn, torn_bytes = Segment.open(path, first=0, verify=False)
    assert torn.count == len(sizes) - 1
    assert torn_bytes == counted.end - torn.end - 1
    torn.close()


def test_an_envelope_whose_text_was_damaged_ends_no_start(tmp_path: Path) -> None:
    """The start looks at the first and the last one for their times."""
    write(tmp_path / "a.seg", [Record(Envelope("frames", b"c", [("camera", b"left")], 1), b"x")])
    content = (tmp_path / "a.seg").read_bytes()
    (tmp_path / "a.seg").write_bytes(content.replace(b"camera", b"came\xc4a"))
    opened, torn_bytes = Segment.open(tmp_path / "a.seg", first=0, verify=False)
    assert (opened.count, torn_bytes, opened.envelope(HEADER_BYTES)) == (1, 0, None)
    assert opened.oldest_ns > 1, "when the file was written"
    opened.close()
