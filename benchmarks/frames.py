"""The frames that every candidate gets: simulated boards, three views each, as the demo line sees them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from kafka import KafkaProducer

from schemas.codec import encode
from schemas.frames import Frame, ImageEncoding, frame_id
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES, Topic
from simulation.defects import DefectKind
from simulation.pictures import take_pictures

BOARDS = 60
BAD_SHARE = 25  # one board in 25 has a defect, as on the demo line


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded view: `jpeg` of a grey 640x640 picture, and the reference (uint8 [H, W]) that it belongs to."""

    view: str
    recipe: str
    jpeg: bytes
    reference: npt.NDArray[np.uint8]

    def decoded(self) -> npt.NDArray[np.uint8]:
        """uint8 [H, W]."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)


def board_pictures(plant: Plant, plant_dir: Path) -> list[Picture]:
    """The same pictures at every call: `BOARDS` boards of the first recipe, one after the other, all views."""
    recipe = plant.recipes[0]
    references = {
        view.name: np.asarray(cv2.imread(str(plant_dir / str(view.reference)), cv2.IMREAD_GRAYSCALE), np.uint8)
        for view in recipe.views
    }
    found = []
    for number in range(BOARDS):
        defects = (DefectKind.SHORT,) if number % BAD_SHARE == 0 else ()
        part = take_pictures(recipe, defects=defects, lighting_drift_ratio=0.0, seed=(number,))
        found += [Picture(view, recipe.key, jpeg, references[view]) for view, jpeg in part.jpegs.items()]
    return found


def as_frames(pictures: list[Picture], *, count: int, session: str) -> Iterator[Frame]:
    """`count` frames of one station's cameras, the pictures over and over."""
    sequences: dict[str, int] = {}
    for number in range(count):
        picture = pictures[number % len(pictures)]
        sequence = sequences[picture.view] = sequences.get(picture.view, -1) + 1
        yield Frame(
            id=frame_id(camera=picture.view, session=session, sequence=sequence),
            station="aoi-1",
            camera=picture.view,
            view=picture.view,
            session=session,
            sequence=sequence,
            part_id=f"{session}-{number // 3}",
            visit=1,
            recipe=picture.recipe,
            captured_at_ns=time.time_ns(),
            encoding=ImageEncoding.JPEG,
            width_px=640,
            height_px=640,
            size_bytes=len(picture.jpeg),
            sha256=hashlib.sha256(picture.jpeg).hexdigest(),
            image=picture.jpeg,
        )


def publish(frames: Iterator[Frame], *, kafka: KafkaSettings, plant: str, topic: Topic = FRAMES) -> None:
    """Puts frames on the topic and returns when the broker has them all."""
    producer = KafkaProducer(**kafka.client(), acks="all", linger_ms=5)
    for frame in frames:
        encoded = encode(topic, frame)
        producer.send(topic.on(plant), key=frame.camera.encode(), value=encoded.value, headers=encoded.headers)
    producer.flush()
    producer.close()
