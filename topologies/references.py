"""Reference (golden) images, prepared for how a view is inspected, by digest, within a byte budget."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

from processors.decoding import Image, decode_grey, decode_in_colour
from processors.golden.comparison import GoldenComparison
from processors.learned.form import grey
from processors.learned.paired_reference import PairedReference
from processors.whole_image import check_whole, header_of
from schemas.errors import Refused
from schemas.image_header import ImageHeader
from schemas.object_store import ObjectMissing, ObjectStore, digest_of, reference_key
from schemas.patience import patiently
from schemas.plant import Camera
from schemas.reasons import RefusalReason
from schemas.recipes import GoldenInspection, PairSegmenterInspection
from schemas.telemetry import Stage
from schemas.topics import MIB_BYTES

BUDGET_BYTES = 128 * MIB_BYTES
ALIGNER_BYTES = MIB_BYTES
"""What is kept beside a reference's pictures: points and models of three reductions."""


class Prepared(Protocol):
    """What is made of a reference once."""

    @property
    def nbytes(self) -> int:
        """Of its pictures."""


PreparedT = TypeVar("PreparedT", bound=Prepared)
PreparedT_co = TypeVar("PreparedT_co", bound=Prepared, covariant=True)


class Preparation(Protocol[PreparedT_co]):
    """How a reference is prepared. Equal ones share what they make: they are part of its key."""

    def __call__(self, content: bytes, tolerance: bytes | None, camera: Camera) -> PreparedT_co:
        """Of an encoded picture and its tolerance map. Raises ValueError, Refused."""

    def __hash__(self) -> int:
        """By value."""


@dataclass(frozen=True, slots=True)
class GoldenPreparation:
    """For golden comparison."""

    settings: GoldenInspection

    def __call__(self, content: bytes, tolerance: bytes | None, camera: Camera) -> GoldenComparison:
        """The comparison with this reference."""
        levels = None if tolerance is None else decode_grey(tolerance, _checked(tolerance, camera))
        image = decode_grey(content, _checked(content, camera))
        return GoldenComparison(reference=image, settings=self.settings, tolerance=levels)


@dataclass(frozen=True, slots=True)
class PairPreparation:
    """For a trained model that sees the reference beside the frame, in `colour` or grey."""

    inspection: PairSegmenterInspection
    colour: bool

    def __call__(self, content: bytes, tolerance: bytes | None, camera: Camera) -> PairedReference:
        """The reference, ready to be laid under frames; a tolerance map has no place here (`linesight check` says so)."""
        picture: Image = decode_in_colour(content, _checked(content, camera))
        return PairedReference(picture=picture if self.colour else grey(picture), inspection=self.inspection)


Key = tuple[str, str | None, Preparation[Any]]
"""File or digest of the reference, file of its tolerance map, how it is prepared."""


@dataclass(frozen=True, slots=True)
class Reference(Generic[PreparedT]):
    """A reference image with what is prepared of it. Digests are `sha256:<hex>` of encoded bytes, that of the tolerance map None where
    the view has none."""

    digest: str
    prepared: PreparedT
    tolerance_digest: str | None = None

    @property
    def size_bytes(self) -> int:
        """What it takes of the budget."""
        return self.prepared.nbytes + ALIGNER_BYTES


class References:
    """Loads references once each: a file beside the plant file, or an object by the digest that a frame names.

    What was used longest ago makes room. A reference that is missing is looked for again with the next frame: it may be
    captured while the line runs.
    """

    def __init__(
        self, *, plant_dir: Path, store: ObjectStore, stage: Stage, executor: Executor, budget_bytes: int = BUDGET_BYTES
    ) -> None:
        self._plant_dir = plant_dir
        self._store = store
        self._stage = stage
        self._executor = executor
        self._budget_bytes = budget_bytes
        self._held_bytes = 0
        self._held: OrderedDict[Key, Reference[Any]] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[Reference[Any]]] = {}

    @property
    def has_room(self) -> bool:
        """Whether more references fit without one making room."""
        return self._held_bytes < self._budget_bytes / 2

    async def get(
        self,
        *,
        file: str | None,
        tolerance: str | None,
        digest: str | None,
        preparation: Preparation[PreparedT],
        camera: Camera,
    ) -> Reference[PreparedT]:
        """The reference of a frame: by its own `digest` where it brings one, else the recipe's `file` with its `tolerance` map.

        Raises Refused `missing_reference`: none is named, it is not there, is not an image, is larger than the camera's
        pictures may be, or is not what its digest says.
        """
        name = digest or file
        if name is None:
            raise Refused(
                RefusalReason.MISSING_REFERENCE, "the recipe's view names no reference, and the frame brings none"
            )
        key: Key = (name, None if digest else tolerance, preparation)
        if key in self._held:
            self._held.move_to_end(key)
            return cast(Reference[PreparedT], self._held[key])
        if key not in self._loading:
            read = self._read_object if digest else self._read_file
            self._loading[key] = asyncio.create_task(self._load(key, read, camera))
            self._loading[key].add_done_callback(lambda task: self._loaded(key, task))
        return cast(Reference[PreparedT], await asyncio.shield(self._loading[key]))

    def _loaded(self, key: Key, task: asyncio.Task[Reference[Any]]) -> None:
        del self._loading[key]
        if not task.cancelled() and task.exception() is None:
            self._keep(key, task.result())

    async def _load(self, key: Key, read: Callable[[str], bytes], camera: Camera) -> Reference[Any]:
        name, tolerance, _ = key
        in_thread = partial(asyncio.get_running_loop().run_in_executor, self._executor)
        content = await patiently(partial(in_thread, read, name), stage=self._stage, service="store")
        allowed = None if tolerance is None else await in_thread(self._read_file, tolerance)
        return await in_thread(_prepare, key, content, allowed, camera)

    def _read_file(self, name: str) -> bytes:
        path = self._plant_dir / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise Refused(RefusalReason.MISSING_REFERENCE, f"{path}: {error.strerror}") from error

    def _read_object(self, digest: str) -> bytes:
        try:
            content = self._store.get(reference_key(digest))
        except ObjectMissing as error:
            raise Refused(
                RefusalReason.MISSING_REFERENCE, f"the object store has no {reference_key(digest)}"
            ) from error
        if digest_of(content) != digest:
            raise Refused(
                RefusalReason.MISSING_REFERENCE, f"{reference_key(digest)} holds something else: {digest_of(content)}"
            )
        return content

    def _keep(self, key: Key, reference: Reference[Any]) -> None:
        self._held[key] = reference
        self._held_bytes += reference.size_bytes
        while self._held_bytes > self._budget_bytes and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._held_bytes -= oldest.size_bytes


def _prepare(key: Key, content: bytes, allowed: bytes | None, camera: Camera) -> Reference[Any]:
    name, tolerance, preparation = key
    try:
        return Reference(
            digest=digest_of(content),
            prepared=preparation(content, allowed, camera),
            tolerance_digest=None if allowed is None else digest_of(allowed),
        )
    except (ValueError, Refused) as error:
        told = f" with tolerance {tolerance}" if tolerance else ""
        raise Refused(RefusalReason.MISSING_REFERENCE, f"reference {name}{told} cannot be used: {error}") from error


def _checked(content: bytes, camera: Camera) -> ImageHeader:
    header = header_of(content)
    if header.width_px > camera.max_width_px or header.height_px > camera.max_height_px:
        raise ValueError(f"{header.width_px}x{header.height_px} px are more than camera {camera.name} may send")
    check_whole(content, header)
    return header
