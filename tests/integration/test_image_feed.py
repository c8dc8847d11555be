"""Images given by hand become frames of an external camera, the unreadable ones too, and the manifest accounts for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from broker import read_to_end
from plant_floor import floor_plant, make_topics, picture

from gateways.image_feed import ImageFeed
from schemas.errors import ConfigurationError
from schemas.plant import ExternalSource
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import FRAMES, MANIFESTS


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    return KafkaSettings()


async def test_images_files_and_missing_files_all_become_frames(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    plant = floor_plant(unique_prefix, sources={"hand": ExternalSource()})
    await make_topics(plant, settings)
    (tmp_path / "good.png").write_bytes(picture())
    (tmp_path / "bad.jpg").write_bytes(b"no image at all")
    async with ImageFeed(plant=plant, camera="hand", stage=Stage("station_gateway")) as feed:
        ids = [
            await feed.publish(tmp_path / "good.png", part_id="p0", recipe="board@1", reference="sha256:ab"),
            await feed.publish(tmp_path / "bad.jpg", part_id="p1", recipe="board@1"),
            await feed.publish(tmp_path / "missing.png", part_id="p2", recipe="board@1", visit=2),
            *[await feed.publish(picture(value), part_id=f"q{value}", recipe="board@1") for value in range(200)],
        ]
        with pytest.raises(ConfigurationError, match="no view `back`"):
            await feed.publish(picture(), part_id="p", recipe="board@1", view="back")
    frames = await read_to_end(settings, plant, FRAMES)
    assert [frame.id for frame in frames] == ids
    good, bad, missing = frames[:3]
    assert (good.image, good.width_px, good.reference, good.view) == (picture(), 32, "sha256:ab", "hand")
    assert (bad.image, bad.width_px, bad.height_px, bad.size_bytes) == (b"no image at all", 0, 0, 15)
    assert (missing.image, missing.size_bytes, missing.visit) == (b"", 0, 2)
    manifests = await read_to_end(settings, plant, MANIFESTS)
    assert manifests[0].first_sequence == 0
    assert manifests[-1].last_sequence == 202
    assert manifests[-1].closing
    assert not any(manifest.dropped for manifest in manifests)


def test_a_camera_that_the_plant_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="no camera `eye`; it has hand"):
        ImageFeed(
            plant=floor_plant("x", sources={"hand": ExternalSource()}), camera="eye", stage=Stage("station_gateway")
        )
