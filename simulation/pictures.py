"""The pictures of a part as its cameras deliver them, taken before the part comes so that they are ready when it does."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from schemas.errors import ConfigurationError
from schemas.recipes import Recipe
from simulation.boards import VIEWS, DrawnView, draw_part
from simulation.defects import Box, DefectKind
from simulation.imaging import Image, capture

PRODUCTS: dict[str, str] = {"board-a": "controller", "board-b": "power", "board-c": "sensor"}
"""Which design of `simulation.boards` each product of the simulated plant has, by the recipe's name."""

JPEG_QUALITY = 80
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenDefect:
    """The truth about one defect. `box` is half-open, in px of the picture in which it is seen."""

    view: str
    kind: DefectKind
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPictures:
    """One visit of one part: `jpegs` holds a grey 640x640 picture per view of its recipe, taken under a lamp aged so far."""

    jpegs: dict[str, bytes]
    defects: tuple[TakenDefect, ...]
    lighting_drift_ratio: float = 0.0


def drawn_view(recipe: Recipe, view: str) -> tuple[str, str]:
    """Design and view of `simulation.boards` behind a recipe's view: its first view shows the first, and so on.

    Raises `ConfigurationError` where the recipe is no product of the simulated plant.
    """
    names = [each.name for each in recipe.views]
    if recipe.name not in PRODUCTS or view not in names or len(names) > len(VIEWS):
        raise ConfigurationError(
            f"recipe {recipe.key}, view {view}: the simulated plant makes {', '.join(PRODUCTS)} with up to {len(VIEWS)} views"
        )
    return PRODUCTS[recipe.name], VIEWS[names.index(view)]


def take_pictures(
    recipe: Recipe, *, defects: Sequence[DefectKind], lighting_drift_ratio: float, seed: Sequence[int]
) -> PartPictures:
    """Draws a part and photographs every view of its recipe. The same arguments give the same bytes."""
    rng = np.random.default_rng(list(seed))
    drawn = _draw(PRODUCTS[recipe.name], defects, rng)
    jpegs: dict[str, bytes] = {}
    taken: list[TakenDefect] = []
    for view in recipe.views:
        part = drawn[drawn_view(recipe, view.name)[1]]
        shot = capture(part.scene, rng=rng, lighting_drift_ratio=lighting_drift_ratio)
        jpegs[view.name] = _encode(shot.image)
        for defect in part.defects:
            taken.append(TakenDefect(view=view.name, kind=defect.kind, box=shot.placement.map_box(defect.box)))
    return PartPictures(jpegs=jpegs, defects=tuple(taken), lighting_drift_ratio=lighting_drift_ratio)


class PhotoStudio:
    """Takes pictures one part after the other in a process that yields to everything else on the machine.

    Not in a thread: one that steps back while it holds the interpreter's lock holds up the simulated PLC and its cameras.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, mp_context=context, initializer=_step_back)

    def warm_up(self, recipes: Sequence[Recipe]) -> None:
        """Draws the artwork of every product ahead: the first picture of a design costs 0.2 s, the next one 6 ms."""
        for recipe in recipes:
            self._process.submit(take_pictures, recipe, defects=(), lighting_drift_ratio=0.0, seed=(0,))

    def order(
        self, recipe: Recipe, *, defects: Sequence[DefectKind], lighting_drift_ratio: float, seed: Sequence[int]
    ) -> Future[PartPictures]:
        """`take_pictures`, later; orders are served in turn."""
        return self._process.submit(
            take_pictures, recipe, defects=defects, lighting_drift_ratio=lighting_drift_ratio, seed=seed
        )

    def close(self) -> None:
        """Forgets the orders that have not begun."""
        self._process.shutdown(wait=True, cancel_futures=True)


def _step_back() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the simulated plant, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a process that multiprocessing started"
    parent.join()
    os._exit(1)


def _draw(design: str, defects: Sequence[DefectKind], rng: np.random.Generator) -> dict[str, DrawnView]:
    """A crowded view may have no room for one more defect: then other views are drawn by lot."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return draw_part(design=design, defects=defects, rng=rng)
        except ValueError:
            continue
    return draw_part(design=design, defects=defects, rng=rng)


def _encode(image: Image) -> bytes:
    done, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"OpenCV could not encode a picture of {image.shape} as JPEG")
    return jpeg.tobytes()
