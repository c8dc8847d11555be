"""The frames that every candidate gets: simulated boards, as the demo line sees them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from kafka import KafkaProducer

from schemas.codec import encode
from schemas.frames import Frame, ImageEncoding, frame_id
from schemas.object_store import FolderStore, frame_key
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES, Topic
from simulation.defects import DefectKind
from simulation.pictures import take_pictures

BOARDS = 60
BAD_SHARE = 25  # one board in 25 has a defect, as on the demo line
JPEG_QUALITY = 92
SENSOR_NOISE_GREY = 4.0  # so that 5 Mpx weigh more than the inline limit, as they do with a real sensor


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded view: the `jpeg` of a grey picture, and the reference (uint8 [H, W]) that it belongs to."""

    camera: str
    view: str
    recipe: str
    jpeg: bytes
    reference: npt.NDArray[np.uint8]
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.jpeg).hexdigest())

    def decoded(self) -> npt.NDArray[np.uint8]:
        """uint8 [H, W]."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)


def board_pictures(plant: Plant, plant_dir: Path) -> list[Picture]:
    """The same pictures at every call: `BOARDS` boards of the first recipe, one after the other, all views."""
    recipe = plant.recipes[0]
    references = {view.name: grey_picture(plant_dir / str(view.reference)) for view in recipe.views}
    found = []
    for number in range(BOARDS):
        defects = (DefectKind.SHORT,) if number % BAD_SHARE == 0 else ()
        part = take_pictures(recipe, defects=defects, lighting_drift_ratio=0.0, seed=(number,))
        found += [Picture(view, view, recipe.key, jpeg, references[view]) for view, jpeg in part.jpegs.items()]
    return found


def of_cameras(pictures: Sequence[Picture], plant: Plant) -> list[Picture]:
    """The pictures dealt out to the cameras of a plant, each of which shows its first view."""
    cameras = list(plant.cameras.values())
    return [
        Picture(camera.name, camera.views[0], plant.recipes[0].key, picture.jpeg, picture.reference)
        for number, picture in enumerate(pictures)
        for camera in [cameras[number % len(cameras)]]
    ]


def enlarged(picture: Picture, *, width_px: int, height_px: int, reference: npt.NDArray[np.uint8]) -> Picture:
    """The picture with that many px, with the noise of a sensor, so that it weighs what a camera's picture of that size weighs."""
    large = filling(picture.decoded(), width_px=width_px, height_px=height_px)
    noise = np.random.default_rng(0).normal(0.0, SENSOR_NOISE_GREY, large.shape)
    noisy = np.clip(large + noise, 0, 255).astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return Picture(picture.camera, picture.view, picture.recipe, jpeg.tobytes(), reference)


def grey_picture(path: Path) -> npt.NDArray[np.uint8]:
    """A picture file as uint8 [H, W]."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)


def filling(image: npt.NDArray[np.uint8], *, width_px: int, height_px: int) -> npt.NDArray[np.uint8]:
    """The middle of the image, uint8 [H, W], at the scale at which it fills that size."""
    scale = max(width_px / image.shape[1], height_px / image.shape[0])
    large = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)
    top, left = (large.shape[0] - height_px) // 2, (large.shape[1] - width_px) // 2
    return np.ascontiguousarray(large[top : top + height_px, left : left + width_px])


def as_frames(
    pictures: Sequence[Picture], *, count: int, session: str, inline_limit_bytes: int, store: Path
) -> Iterator[Frame]:
    """`count` frames of one station's cameras, the pictures over and over.

    Above `inline_limit_bytes` the image lies in the object store at `store`, and the frame has its address.
    """
    stored = {}
    for picture in pictures:
        if len(picture.jpeg) > inline_limit_bytes:
            stored[picture.sha256] = frame_key(picture.sha256)
            FolderStore(store).put(stored[picture.sha256], picture.jpeg)
    sequences: dict[str, int] = {}
    for number in range(count):
        picture = pictures[number % len(pictures)]
        sequence = sequences[picture.camera] = sequences.get(picture.camera, -1) + 1
        height_px, width_px = picture.reference.shape
        uri = stored.get(picture.sha256)
        yield Frame(
            id=frame_id(camera=picture.camera, session=session, sequence=sequence),
            station="aoi-1",
            camera=picture.camera,
            view=picture.view,
            session=session,
            sequence=sequence,
            part_id=f"{session}-{number // 3}",
            visit=1,
            recipe=picture.recipe,
            captured_at_ns=time.time_ns(),
            encoding=ImageEncoding.JPEG,
            width_px=width_px,
            height_px=height_px,
            size_bytes=len(picture.jpeg),
            sha256=picture.sha256,
            image=picture.jpeg if uri is None else None,
            uri=uri,
        )


def publish(
    frames: Iterator[Frame], *, kafka: KafkaSettings, plant: Plant, topic: Topic = FRAMES, deal_out: bool = False
) -> None:
    """Puts frames on the topic and returns when the broker has them all.

    With `deal_out` the cameras take the partitions in turn: with few cameras, a hash leaves partitions empty.
    """
    producer = KafkaProducer(**kafka.client(), acks="all", linger_ms=5, max_request_size=8 << 20)
    partitions: dict[str, int] = {}
    for frame in frames:
        encoded = encode(topic, frame)
        place = partitions.setdefault(frame.camera, len(partitions) % plant.kafka.partitions)
        producer.send(
            topic.on(plant.plant),
            key=frame.camera.encode(),
            value=encoded.value,
            headers=encoded.headers,
            partition=place if deal_out else None,
        )
    producer.flush()
    producer.close()
