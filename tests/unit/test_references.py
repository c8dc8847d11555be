"""References as the inspect stage holds them: what a frame was compared with can be told by digest, the map included."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from schemas.object_store import FolderStore, digest_of
from schemas.plant import Camera, ExternalSource
from schemas.recipes import GoldenInspection
from schemas.telemetry import Stage
from simulation.boards import reference
from topologies.references import GoldenPreparation, References

CAMERA = Camera(name="left", views=("left",), source=ExternalSource())


async def test_the_tolerance_map_is_told_with_its_reference_and_none_where_there_is_none(tmp_path: Path) -> None:
    image = reference("controller", "left")
    cv2.imwrite(str(tmp_path / "left.png"), image)
    cv2.imwrite(str(tmp_path / "map.png"), np.zeros((image.shape[0] // 2, image.shape[1] // 2), np.uint8))
    with ThreadPoolExecutor(1) as executor:
        references = References(
            plant_dir=tmp_path, store=FolderStore(tmp_path / "store"), stage=Stage("inspect"), executor=executor
        )

        async def digests(tolerance: str | None) -> tuple[str, str | None]:
            found = await references.get(
                file="left.png",
                tolerance=tolerance,
                digest=None,
                preparation=GoldenPreparation(GoldenInspection()),
                camera=CAMERA,
            )
            return found.digest, found.tolerance_digest

        picture = digest_of((tmp_path / "left.png").read_bytes())
        assert await digests("map.png") == (picture, digest_of((tmp_path / "map.png").read_bytes()))
        assert await digests(None) == (picture, None)
