"""A spool keeps its bounds, says what they cost, and loses nothing to a failed sync, a damaged position or a restart."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_spool_lane import envelope

from gateways import segment
from gateways.segment import Envelope
from gateways.spool import GivenUp, NoRoom, Spool, open_spool
from gateways.spool_lane import Lane
from schemas.codec import encode
from schemas.errors import ConfigurationError
from schemas.frames import Frame, ImageEncoding, frame_id
from schemas.reasons import DropReason
from schemas.settings import SpoolSettings
from schemas.telemetry import Stage
from schemas.topics import FRAMES, MIB_BYTES

HOUR_NS = 3_600_000_000_000


def settings(**given: Any) -> SpoolSettings:
    return SpoolSettings(**{"max_mib": 1, "keep_free_percent": 0, "sync_ms": 0, **given})


def frame_record(
    camera: str, session: str, sequence: int, *, size: int = 10_000, at_ns: int = 1
) -> tuple[Envelope, bytes]:
    frame = Frame(
        id=frame_id(camera=camera, session=session, sequence=sequence), station="s", camera=camera, view="v",
        session=session, sequence=sequence, part_id="p", visit=1, recipe="r@1", captured_at_ns=1, encoding=ImageEncoding.PNG,
        width_px=1, height_px=1, size_bytes=size, sha256="", image=bytes(size),
    )  # fmt: skip
    encoded = encode(FRAMES, frame)
    return Envelope(FRAMES.name, camera.encode(), encoded.headers, at_ns), encoded.value


def fill(spool: Spool, count: int, *, first: int = 0, at_ns: int = 1) -> None:
    for sequence in range(first, first + count):
        record, value = frame_record("c", "t", sequence, at_ns=at_ns)
        spool.append(record, value, droppable=True)


def sequences(given_up: GivenUp) -> list[int]:
    return [int(dict(envelope.headers)["sequence"]) for envelope in given_up.envelopes]


def drain(lane: Lane) -> list[int]:
    found = []
    while (taken := lane.take()) is not None:
        found.append(int(dict(taken.record.envelope.headers)["sequence"]))
        lane.acknowledge(taken.number)
    return found


def test_a_segment_that_grows_behind_what_was_taken_gives_each_record_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path, settings=settings())
    found: list[int] = []
    for sequence in range(4):
        fill(spool, 1, first=sequence)
        found += drain(spool.droppable)
        if sequence % 2:
            spool.droppable.rewind()
    assert found == [0, 1, 2, 3]
    spool.close()


def test_over_its_bytes_the_oldest_frames_go_by_whole_segments_and_events_stay(tmp_path: Path) -> None:
    spool = Spool(tmp_path, settings=settings())
    spool.append(envelope(), b"event" * 1000, droppable=False)
    fill(spool, 90)
    assert spool.give_up(now_ns=2) is None
    with pytest.raises(NoRoom):
        fill(spool, 20, first=90)
    given_up = []
    while (found := spool.give_up(now_ns=2, more_bytes=150_000)) is not None:
        assert found.reason is DropReason.SPOOL_FULL
        given_up += sequences(found)
        spool.forget(found)
    rest = drain(spool.droppable)
    assert given_up, "something had to go"
    assert given_up + rest == list(range(len(given_up) + len(rest)))
    assert spool.size_bytes + 150_000 <= MIB_BYTES
    assert spool.kept.records == 1
    spool.close()


def test_over_its_age_frames_expire_and_events_do_not(tmp_path: Path) -> None:
    spool = Spool(tmp_path, settings=settings(max_age_h=1))
    spool.append(envelope(), b"event", droppable=False)
    fill(spool, 10)
    fill(spool, 10, first=10, at_ns=HOUR_NS)
    assert spool.give_up(now_ns=HOUR_NS) is None
    found = spool.give_up(now_ns=HOUR_NS + 2)
    assert found is not None
    assert found.reason is DropReason.SPOOL_EXPIRED
    gone = sequences(found)
    assert gone == list(range(len(gone)))
    assert len(gone) in range(1, 11)
    assert spool.kept.records == 1
    spool.close()


def test_what_may_have_been_sent_is_never_given_up_not_even_after_a_crash(tmp_path: Path) -> None:
    spool = Spool(tmp_path, settings=settings())
    fill(spool, 50)
    taken = spool.take(spool.droppable)
    assert taken is not None
    os.close(spool._lock_file)  # a kill: nothing is saved any more
    spool = Spool(tmp_path, settings=settings())
    gone: list[int] = []
    while (found := spool.give_up(now_ns=2, more_bytes=MIB_BYTES)) is not None:
        gone += sequences(found)
    rest = drain(spool.droppable)
    assert rest[0] == 0
    assert sorted([*gone, *rest]) == list(range(50))
    assert gone, "segments of which nothing was sent are given up"
    spool.close()


def test_what_was_given_up_and_not_named_is_named_by_the_next_life(tmp_path: Path) -> None:
    spool = Spool(tmp_path, settings=settings())
    fill(spool, 50)
    found = spool.give_up(now_ns=2, more_bytes=MIB_BYTES)
    assert found is not None
    os.close(spool._lock_file)
    spool = Spool(tmp_path, settings=settings())
    (again,) = spool.unnamed()
    assert (again.reason, sequences(again)) == (found.reason, sequences(found))
    assert drain(spool.droppable) == list(range(len(sequences(found)), 50)), "and it is not sent"
    spool.forget(again)
    assert list(spool.unnamed()) == []
    spool.close()


def test_the_share_of_the_disk_that_is_to_stay_free_stays_free(tmp_path: Path) -> None:
    spool = Spool(tmp_path, settings=settings(keep_free_percent=99.999))
    with pytest.raises(NoRoom, match="or the disk is full"):
        spool.append(envelope(), b"event", droppable=False)
    assert spool.records == 0
    spool.close()


def test_a_second_process_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIGHT_SPOOL_DIR", str(tmp_path))
    stage = Stage("station_gateway")
    first = open_spool(plant="p", stage=stage)
    assert first is not None
    with pytest.raises(
        ConfigurationError, match=r"another process uses the spool .*p/station_gateway-0: give each process"
    ):
        open_spool(plant="p", stage=stage)
    monkeypatch.setenv("LINESIGHT_INSTANCE", "1")
    second = open_spool(plant="p", stage=stage)
    assert second is not None
    first.close()
    second.close()


def test_a_folder_that_cannot_be_used_is_noticed_and_memory_is_all_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LINESIGHT_SPOOL_DIR", str(tmp_path / "file"))
    stage = Stage("station_gateway")
    assert open_spool(plant="p", stage=stage) is None
    labels = {"what": "spool_not_written"}
    assert stage.registry.get_sample_value("linesight_station_gateway_noticed_total", labels) == 1


def fails(*_arguments: Any, **_options: Any) -> Any:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("synced_before", [0, 3])
def test_what_a_failed_sync_may_have_lost_is_written_again_under_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synced_before: int
) -> None:
    spool = Spool(tmp_path, settings=settings())
    fill(spool, synced_before)
    spool.sync()
    fill(spool, 5 - synced_before, first=synced_before)
    (path,) = tmp_path.glob("*.seg")
    at = synced_before * path.stat().st_size // 5
    whole, failed = os.fdatasync, list[int]()

    def fails_once(file: int) -> None:
        if failed:
            return whole(file)
        failed.append(file)
        os.pwrite(file, b"\xff" * 1000, at + 500)  # the pages are lost
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(segment.os, "fdatasync", fails_once)
    spool.sync()
    fill(spool, 2, first=5)
    spool.sync()
    os.close(spool._lock_file)
    spool = Spool(tmp_path, settings=settings())
    assert drain(spool.droppable) == list(range(7))
    assert spool.droppable.damaged == 0
    spool.close()


def test_while_nothing_can_be_synced_nothing_is_called_synced_and_what_is_in_memory_can_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, settings=settings())
    fill(spool, 3)
    with monkeypatch.context() as patch:
        patch.setattr(segment.os, "fdatasync", fails)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output"):
                spool.sync()
        with pytest.raises(OSError, match="Input/output"):
            fill(spool, 1, first=3)
    assert drain(spool.droppable) == [0, 1, 2]
    fill(spool, 1, first=3)
    spool.sync()
    assert drain(spool.droppable) == [3]
    spool.close()


def test_a_frame_waits_while_its_claim_cannot_be_written_and_an_event_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, settings=settings())
    fill(spool, 30)
    spool.append(envelope(), b"event", droppable=False)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fails)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output"):
                spool.take(spool.droppable)
        record, value = frame_record("c", "t", 30)
        with pytest.raises(OSError, match="Input/output"):
            spool.append(record, value, droppable=True, attempted=True)
        assert spool.take(spool.kept) is not None
    assert spool.droppable.next_number == 30, "what was refused was not written"
    taken = spool.take(spool.droppable)
    assert taken is not None
    assert taken.number == 0
    os.close(spool._lock_file)
    spool = Spool(tmp_path, settings=settings())
    gone: list[int] = []
    while (found := spool.give_up(now_ns=2, more_bytes=MIB_BYTES)) is not None:
        gone += sequences(found)
    assert 0 not in gone, "it was sent"
    spool.close()


@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 64, b'{"acknowledged": "x"}'])
def test_with_a_damaged_position_everything_is_sent_again(tmp_path: Path, content: bytes) -> None:
    spool = Spool(tmp_path, settings=settings())
    fill(spool, 5)
    assert drain(spool.droppable) == list(range(5))
    spool.close()
    (tmp_path / "position.json").write_bytes(content)
    spool = Spool(tmp_path, settings=settings())
    assert drain(spool.droppable) == list(range(5))
    spool.close()


def test_a_copy_of_a_segment_beside_it_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "kept-00000000000000000000 (copy).seg").touch()
    with pytest.raises(ConfigurationError, match=r"\(copy\)\.seg has no number in its name.*: move it away"):
        Spool(tmp_path, settings=settings())


def test_a_torn_end_is_noticed_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIGHT_SPOOL_DIR", str(tmp_path))
    stage = Stage("station_gateway")
    spool = open_spool(plant="p", stage=stage)
    assert spool is not None
    fill(spool, 3)
    spool.close()
    (segment,) = (tmp_path / "p/station_gateway-0").glob("*.seg")
    os.truncate(segment, segment.stat().st_size - 1)
    spool = open_spool(plant="p", stage=stage)
    assert spool is not None
    assert drain(spool.droppable) == [0, 1]
    labels = {"what": "spool_torn_tail"}
    assert stage.registry.get_sample_value("linesight_station_gateway_noticed_total", labels) == 1
    spool.close()


@given(kept=st.integers(0, 30), acknowledged=st.integers(0, 30))
def test_numbers_go_on_over_a_restart_and_an_empty_spool_leaves_no_segments(kept: int, acknowledged: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spool = Spool(folder, settings=settings())
        fill(spool, kept)
        for _ in range(min(kept, acknowledged)):
            taken = spool.take(spool.droppable)
            assert taken is not None
            spool.droppable.acknowledge(taken.number)
        spool.reclaim()
        spool.close()
        spool = Spool(folder, settings=settings())
        assert spool.droppable.next_number == kept
        assert drain(spool.droppable) == list(range(min(kept, acknowledged), kept))
        spool.reclaim()
        assert list(folder.glob("*.seg")) == []
        fill(spool, 1, first=99)
        assert drain(spool.droppable) == [99]
        spool.close()
