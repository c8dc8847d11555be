"""Frames of simulated boards for tests of the inspect stage."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import msgspec

from ops.local.places import CHECKOUT
from schemas.frames import Frame, ImageEncoding, frame_id
from schemas.image_header import read_header
from schemas.plant import Plant
from schemas.plant_file import load_plant
from simulation.defects import DefectKind
from simulation.pictures import PartPictures, take_pictures

PLANT_DIR = CHECKOUT / "plants"


def demo_plant(name: str) -> Plant:
    """The demo plant under another name, so that its topics are this test's alone."""
    return msgspec.structs.replace(load_plant(PLANT_DIR / "demo.yaml"), plant=name)


def pictures(plant: Plant, *, seed: int, defects: tuple[DefectKind, ...] = ()) -> PartPictures:
    """One board of the first recipe."""
    return take_pictures(plant.recipes[0], defects=defects, lighting_drift_ratio=0.0, seed=(seed,))


def frame(content: bytes, *, sequence: int, camera: str = "left", **changes: Any) -> Frame:
    """A frame of the demo plant as its gateway would send it, but for `changes`."""
    try:
        header = read_header(content)
        size, encoding = (header.width_px, header.height_px), header.encoding
    except ValueError:
        size, encoding = (640, 640), ImageEncoding.JPEG
    session = changes.get("session", "s1")
    values: dict[str, Any] = {
        "id": frame_id(camera=camera, session=session, sequence=sequence),
        "station": "aoi-1",
        "camera": camera,
        "view": camera,
        "session": session,
        "sequence": sequence,
        "part_id": f"part-{sequence}",
        "visit": 1,
        "recipe": "board-a@1",
        "captured_at_ns": time.time_ns(),
        "encoding": encoding,
        "width_px": size[0],
        "height_px": size[1],
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "image": content,
    }
    return Frame(**{**values, **changes})


def reference_digest(name: str) -> str:
    """Digest of a reference picture of the demo plant."""
    return "sha256:" + hashlib.sha256(Path(PLANT_DIR / "references" / name).read_bytes()).hexdigest()
