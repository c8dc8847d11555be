"""The inspect stage on a real broker and a real Triton: exactly one inspection per frame, whatever it holds."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from board_frames import PLANT_DIR, demo_plant, frame, pictures, reference_digest
from broker import committed, publish, publish_raw, read_to_end, read_until, until
from inspecting import inspecting, keyed, value

from ops.local.places import CHECKOUT
from processors.decoding import Image
from processors.scoring import overlap_ratio
from schemas.codec import encode
from schemas.frames import Frame, ImageEncoding
from schemas.inspections import Inspection
from schemas.object_store import FolderStore, frame_key, reference_key, sha256_hex
from schemas.plant import Camera, Plant
from schemas.reasons import FrameOutcome
from schemas.settings import KafkaSettings
from schemas.topics import DEAD_LETTERS, FRAMES, INSPECTIONS
from simulation.defects import DefectKind
from topologies import golden_examination
from topologies.topic_admin import ensure_topics


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka)


@pytest.fixture
async def plant(settings: KafkaSettings, unique_prefix: str) -> Plant:
    plant = demo_plant(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(FRAMES, INSPECTIONS, DEAD_LETTERS))
    return plant


@pytest.fixture
def objects(tmp_path: Path, kafka: str, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """The stage's object store; the stage finds its services in the environment, as in a plant."""
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return FolderStore(tmp_path / "objects")


@pytest.fixture
def services(objects: FolderStore, triton: str, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setenv("TRITON_URL", triton)
    return objects


async def test_boards_are_inspected_and_their_defects_found_where_they_are(
    settings: KafkaSettings, plant: Plant, services: FolderStore
) -> None:
    good = [pictures(plant, seed=seed) for seed in range(4)]
    bad = [pictures(plant, seed=100 + seed, defects=(DefectKind.SHORT, DefectKind.OPEN)) for seed in range(4)]
    frames = [
        frame(part.jpegs[camera], camera=camera, sequence=number)
        for number, part in enumerate([*good, *bad])
        for camera in ("left", "middle", "right")
    ]
    await publish(settings, plant, FRAMES, keyed(frames))
    async with inspecting(plant, plant_dir=PLANT_DIR) as stage:
        found = await read_until(settings, plant, INSPECTIONS, 24)
        await until(lambda: stage.ready and value(stage, "in_progress") == 0, "the stage is ready and idle")
    by_id = {inspection.id: inspection for inspection in found}
    assert len(found) == len(by_id) == 24
    for each in frames:
        inspection: Inspection = by_id[each.id]
        assert (inspection.outcome, inspection.reason, inspection.warnings) == (FrameOutcome.INSPECTED, None, ())
        assert inspection.reference == reference_digest(f"board-a-{each.camera}.png")
        assert [use.digest for use in inspection.models] == [
            "sha256:" + sha256_hex((CHECKOUT / f"triton_models/{model}/model.onnx").read_bytes())
            for model in ("golden_compare/2", "defect_classifier/1")
        ]
        assert (inspection.part_id, inspection.visit, inspection.recipe) == (each.part_id, 1, "board-a@1")
        assert 0 < inspection.timings.infer_ms < inspection.timings.total_ms
    # that every defect is found is the models' test; that boxes lie where the camera saw them is this one's
    hits = [
        any(overlap_ratio(defect.box, truth.box) > 0.1 for defect in by_id[f"{truth.view}/s1/{number}"].defects)
        for number, part in enumerate(bad, start=len(good))
        for truth in part.defects
    ]
    assert len(hits) == 8
    assert sum(hits) >= 6
    assert not [defect for number in range(4) for defect in by_id[f"left/s1/{number}"].defects]
    records = {(inspection.frame_partition, inspection.frame_offset) for inspection in found}
    assert len(records) == 24
    assert await committed(settings, f"{plant.plant}.inspect") == 24
    assert value(stage, "out_total", topic="inspections") == 24


async def test_the_inspections_of_a_camera_keep_the_order_of_its_frames(
    settings: KafkaSettings, plant: Plant, services: FolderStore
) -> None:
    part = pictures(plant, seed=1, defects=(DefectKind.SHORT,) * 3)
    frames = [
        # every third cannot be decoded and is done at once, while the one before it is still with Triton
        frame(part.jpegs[camera] if number % 3 else b"nonsense", camera=camera, sequence=number)
        for number in range(40)
        for camera in ("left", "middle", "right")
    ]
    await publish(settings, plant, FRAMES, keyed(frames))
    async with inspecting(plant, plant_dir=PLANT_DIR):
        found = await read_until(settings, plant, INSPECTIONS, 120)
    for camera in ("left", "middle", "right"):
        assert [each.sequence for each in found if each.camera == camera] == list(range(40))


def bad_frames(image: bytes) -> dict[str, Frame]:
    """One frame for each reason to refuse a readable one. Numbered without a gap from 0."""
    grey = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE)
    wide = cv2.imencode(".png", np.zeros((8, 3000), np.uint8))[1].tobytes()
    half = cv2.imencode(".jpg", cv2.resize(grey, (320, 320)))[1].tobytes()
    other = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 255, (640, 640), np.uint8))[1].tobytes()
    black = cv2.imencode(".jpg", np.zeros((640, 640), np.uint8))[1].tobytes()
    covered = grey.copy()
    covered[-120:] = np.random.default_rng(2).normal(180, 3, (120, 640)).clip(0, 255)
    covered_below = cv2.imencode(".jpg", covered)[1].tobytes()
    part = image[: len(image) * 4 // 5] + b"\xff\xd9"
    changes: list[tuple[str, bytes, dict[str, object]]] = [
        ("undecodable_image", b"\xff\xd8\xff\xe0 not an image", {}),
        ("undecodable_image/cut", image[: len(image) // 2], {}),
        ("undecodable_image/other", image, {"encoding": ImageEncoding.PNG}),
        ("image_too_large", wide, {}),
        ("image_too_large/raw", b"", {"encoding": ImageEncoding.RAW, "width_px": 10**9, "height_px": 10**9}),
        ("size_mismatch", image, {"size_bytes": 17}),
        ("size_mismatch/sha256", image, {"sha256": "0" * 64}),
        ("size_mismatch/px", image, {"width_px": 639}),
        ("size_mismatch/reference", half, {}),
        (
            "size_mismatch/negative",
            grey.tobytes(),
            {"encoding": ImageEncoding.RAW, "width_px": -640, "height_px": -640},
        ),
        ("image_too_large/object", image, {"image": None, "uri": frame_key("ab" * 32), "size_bytes": 10**12}),
        ("object_missing", image, {"image": None, "uri": frame_key("ab" * 32)}),
        ("object_missing/no_uri", image, {"image": None}),
        ("object_missing/outside", image, {"image": None, "uri": "../../etc/passwd"}),
        ("unknown_station", image, {"station": "aoi-9"}),
        ("unknown_camera", image, {"camera": "ceiling", "id": "ceiling/s1/15"}),
        ("unknown_camera/view", image, {"view": "middle"}),
        ("unknown_recipe", image, {"recipe": "board-z@1"}),
        ("unknown_part", image, {"part_id": ""}),
        ("missing_reference", image, {"reference": "sha256:" + "ab" * 32}),
        ("not_aligned", other, {}),
        ("not_aligned/black", black, {}),
        ("unexplained_difference", covered_below, {}),
        ("undecodable_image/grey_below", part, {}),
    ]
    return {
        name: frame(body, sequence=number, **change)  # type: ignore[arg-type]
        for number, (name, body, change) in enumerate(changes)
    }


async def test_a_frame_that_cannot_be_inspected_is_a_dead_letter_a_dropped_inspection_and_counted(
    settings: KafkaSettings, plant: Plant, services: FolderStore
) -> None:
    image = pictures(plant, seed=1).jpegs["left"]
    bad = bad_frames(image)
    good = frame(image, sequence=len(bad))
    await publish(settings, plant, FRAMES, keyed([*bad.values(), good]))
    async with inspecting(plant, plant_dir=PLANT_DIR) as stage:
        found = {each.id: each for each in await read_until(settings, plant, INSPECTIONS, len(bad) + 1)}
        await until(lambda: value(stage, "in_progress") == 0, "everything is finished")
    letters = {letter.frame_id: letter for letter in await read_to_end(settings, plant, DEAD_LETTERS)}
    expected: Counter[str] = Counter()
    for name, sent in bad.items():
        reason = name.partition("/")[0]
        expected[reason] += 1
        inspection, letter = found[sent.id], letters[sent.id]
        assert (name, inspection.outcome, inspection.reason) == (name, FrameOutcome.DROPPED, reason)
        assert (inspection.part_id, inspection.station) == (sent.part_id, sent.station)
        assert inspection.detail
        assert (name, letter.reason, letter.stage, letter.topic) == (name, reason, "inspect", "frames")
        assert letter.value == encode(FRAMES, sent).value
    assert {reason: value(stage, "dropped_total", reason=reason) for reason in expected} == expected
    assert found[good.id].outcome is FrameOutcome.INSPECTED
    assert len(letters) == len(bad)


async def test_a_body_that_cannot_be_read_is_accounted_for_by_its_headers(
    settings: KafkaSettings, plant: Plant, services: FolderStore
) -> None:
    image = pictures(plant, seed=1).jpegs["left"]
    encoded, second = (encode(FRAMES, frame(image, sequence=number)) for number in (0, 1))
    long = encode(FRAMES, frame(b"", sequence=2, part_id="x" * 2_000_000))
    records = [
        ("left", encoded.value[:1000], encoded.headers),
        ("left", second.value, [("schema", b"Frame/9"), *second.headers[1:]]),
        ("left", encoded.value, [("schema", b"Nonsense/1")]),
        # frame 0 once more: it has its inspection, and a second one would contradict it
        ("left", encoded.value[:500], encoded.headers),
        # what would not fit into the messages that follow from it
        ("left", encoded.value, [("schema", b"\xff" * 1_500_000)]),
        ("left", long.value, long.headers),
    ]
    await publish_raw(settings, plant, FRAMES, records)
    async with inspecting(plant, plant_dir=PLANT_DIR) as stage:
        letters = await read_until(settings, plant, DEAD_LETTERS, 6)
        await until(lambda: value(stage, "in_progress") == 0, "everything is finished")
    found = await read_to_end(settings, plant, INSPECTIONS)
    reasons = ["truncated", "unknown_version", "unknown_schema", "truncated", "unknown_schema", "wrong_type"]
    assert Counter(letter.reason for letter in letters) == Counter(reasons)
    assert [(each.id, each.reason, each.part_id, each.station) for each in found] == [
        ("left/s1/0", "truncated", "part-0", "aoi-1"),
        ("left/s1/1", "unknown_version", "part-1", "aoi-1"),
    ]


async def test_a_picture_that_our_own_code_fails_on_costs_itself_alone(
    settings: KafkaSettings, plant: Plant, services: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = golden_examination.decode_frame

    def with_a_defect(taken: Frame, content: bytes, *, camera: Camera) -> Image:
        if taken.sequence == 1:
            raise ZeroDivisionError("a defect of the program")
        return right(taken, content, camera=camera)

    monkeypatch.setattr(golden_examination, "decode_frame", with_a_defect)
    image = pictures(plant, seed=1).jpegs["left"]
    await publish(settings, plant, FRAMES, keyed([frame(image, sequence=number) for number in range(3)]))
    async with inspecting(plant, plant_dir=PLANT_DIR):
        found = await read_until(settings, plant, INSPECTIONS, 3)
    assert [each.reason for each in found] == [None, "inspection_failed", None]
    (letter,) = await read_to_end(settings, plant, DEAD_LETTERS)
    assert "a defect of the program" in letter.detail


async def test_more_candidates_than_the_classifier_takes_at_once_are_all_classified(
    settings: KafkaSettings, plant: Plant, services: FolderStore
) -> None:
    recipe = plant.recipes[0]
    many = msgspec.structs.replace(
        recipe, inspection=msgspec.structs.replace(recipe.inspection, max_candidates=1000, merge_distance_px=1)
    )
    plant = msgspec.structs.replace(plant, recipes=(many, *plant.recipes[1:]))
    picture = cv2.imdecode(np.frombuffer(pictures(plant, seed=1).jpegs["left"], np.uint8), cv2.IMREAD_GRAYSCALE)
    for x, y in itertools.product(range(110, 530, 30), range(110, 530, 30)):
        picture[y : y + 8, x : x + 8] = 255 - picture[y : y + 8, x : x + 8]
    spotted = cv2.imencode(".png", picture)[1].tobytes()
    await publish(settings, plant, FRAMES, keyed([frame(spotted, sequence=0, encoding=ImageEncoding.PNG)]))
    async with inspecting(plant, plant_dir=PLANT_DIR):
        (found,) = await read_until(settings, plant, INSPECTIONS, 1)
    assert found.outcome is FrameOutcome.INSPECTED
    assert len(found.defects) > 64


async def test_duplicates_gaps_and_wrong_clocks_are_noticed_and_survived(
    settings: KafkaSettings, plant: Plant, services: FolderStore
) -> None:
    image = pictures(plant, seed=1).jpegs["left"]
    frames = [frame(image, sequence=number) for number in (0, 1, 1, 2, 5, 0, 6)]
    off_ns = time.time_ns() - 600 * 10**9
    frames += [frame(image, sequence=number, session="s2", captured_at_ns=off_ns) for number in (0, 1)]
    await publish(settings, plant, FRAMES, keyed(frames))
    async with inspecting(plant, plant_dir=PLANT_DIR) as stage:
        await until(lambda: value(stage, "in_total", topic="frames") == 9, "all frames are read")
        await until(lambda: value(stage, "in_progress") == 0, "everything is finished")
    found = await read_to_end(settings, plant, INSPECTIONS)
    assert [(each.session, each.sequence, each.warnings) for each in found] == [
        ("s1", 0, ()),
        ("s1", 1, ()),
        ("s1", 2, ()),
        ("s1", 5, ("sequence_gap",)),
        ("s1", 6, ()),
        ("s2", 0, ("clock_skew",)),
        ("s2", 1, ("clock_skew",)),
    ]
    assert all(abs(each.received_at_ns - time.time_ns()) < 300 * 10**9 for each in found)
    assert {what: value(stage, "noticed_total", what=what) for what in ("duplicate", "sequence_gap", "clock_skew")} == {
        "duplicate": 2,
        "sequence_gap": 1,
        "clock_skew": 1,
    }


async def test_a_gap_before_a_body_that_cannot_be_read_is_noticed_too(
    settings: KafkaSettings, plant: Plant, services: FolderStore
) -> None:
    """The next readable frame follows it without a gap: nobody else could tell that frames are missing."""
    image = pictures(plant, seed=1).jpegs["left"]
    sent = [encode(FRAMES, frame(image, sequence=sequence)) for sequence in (0, 3, 4)]
    cut = [sent[0].value, sent[1].value[:1000], sent[2].value]
    await publish_raw(
        settings,
        plant,
        FRAMES,
        [("left", value, record.headers) for value, record in zip(cut, sent, strict=True)],
    )
    async with inspecting(plant, plant_dir=PLANT_DIR) as stage:
        found = await read_until(settings, plant, INSPECTIONS, 3)
        await until(lambda: value(stage, "in_progress") == 0, "everything is finished")
    assert [(each.sequence, each.warnings) for each in found] == [(0, ()), (3, ("sequence_gap",)), (4, ())]
    assert value(stage, "noticed_total", what="sequence_gap") == 1


async def test_large_frames_come_from_the_object_store_and_frames_may_bring_their_own_reference(
    settings: KafkaSettings, plant: Plant, services: FolderStore
) -> None:
    image = pictures(plant, seed=1).jpegs["left"]
    services.put(frame_key(sha256_hex(image)), image)
    own = (PLANT_DIR / "references" / "board-a-left.png").read_bytes()
    digest = "sha256:" + sha256_hex(own)
    services.put(reference_key(digest), own)
    stored = frame(image, sequence=0, image=None, uri=frame_key(sha256_hex(image)))
    # a middle camera's frame that shows the left view is judged by the reference it brings
    brought = frame(image, sequence=0, camera="middle", reference=digest)
    lossless = cv2.imencode(".bmp", cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE))[1].tobytes()
    raw = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE).tobytes()
    others = [
        frame(lossless, sequence=1),
        frame(raw, sequence=2, encoding=ImageEncoding.RAW, width_px=640, height_px=640),
    ]
    await publish(settings, plant, FRAMES, keyed([stored, brought, *others]))
    async with inspecting(plant, plant_dir=PLANT_DIR):
        found = await read_until(settings, plant, INSPECTIONS, 4)
    assert [(each.outcome, each.reference) for each in found] == [(FrameOutcome.INSPECTED, digest)] * 4
