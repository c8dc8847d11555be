"""Whether a frame may be inspected at all: its places and its recipe must be in the plant file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.codec import NAME_LIMIT
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.plant import Camera, Plant
from schemas.reasons import RefusalReason
from schemas.recipes import Recipe, View, ViewInspection

_NAMES = ("id", "station", "camera", "view", "session", "part_id", "recipe", "sha256", "uri", "reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What the plant file says about a frame."""

    camera: Camera
    recipe: Recipe
    view: View

    @property
    def inspection(self) -> ViewInspection:
        """How the view is inspected."""
        return self.recipe.inspection_of(self.view)


def check_names(frame: Frame) -> None:
    """Raises Refused `wrong_type` for a frame with a name or id that is too long: its inspection could not carry it."""
    for name in _NAMES:
        value = getattr(frame, name)
        if value is not None and len(value) > NAME_LIMIT:
            raise Refused(
                RefusalReason.WRONG_TYPE, f"{name} has {len(value)} characters, at most {NAME_LIMIT} are allowed"
            )


class FrameChecks:
    """Looks frames up in a plant file."""

    def __init__(self, plant: Plant) -> None:
        self._cameras = {
            station.name: {camera.name: camera for camera in station.cameras} for station in plant.stations
        }
        self._recipes = {recipe.key: recipe for recipe in plant.recipes}

    def check(self, frame: Frame) -> Assignment:
        """Camera, recipe and view of a frame.

        Raises Refused: `unknown_station`, `unknown_camera` (also for a view that the camera does not take), `unknown_part`
        (no part id), `unknown_recipe` (also for a view that the recipe does not have).
        """
        cameras = self._cameras.get(frame.station)
        if cameras is None:
            raise Refused(RefusalReason.UNKNOWN_STATION, f"{frame.station!r}; the plant has {_names(self._cameras)}")
        camera = cameras.get(frame.camera)
        if camera is None:
            raise Refused(
                RefusalReason.UNKNOWN_CAMERA, f"{frame.camera!r}; station {frame.station} has {_names(cameras)}"
            )
        if frame.view not in camera.views:
            raise Refused(
                RefusalReason.UNKNOWN_CAMERA,
                f"camera {camera.name} takes no view {frame.view!r}; it takes {_names(camera.views)}",
            )
        if not frame.part_id:
            raise Refused(RefusalReason.UNKNOWN_PART, "the frame names no part")
        recipe = self._recipes.get(frame.recipe)
        if recipe is None:
            raise Refused(RefusalReason.UNKNOWN_RECIPE, f"{frame.recipe!r}; the plant has {_names(self._recipes)}")
        view = next((view for view in recipe.views if view.name == frame.view), None)
        if view is None:
            raise Refused(
                RefusalReason.UNKNOWN_RECIPE,
                f"recipe {recipe.key} has no view {frame.view!r}; it has {_names(view.name for view in recipe.views)}",
            )
        return Assignment(camera=camera, recipe=recipe, view=view)


def _names(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "") or "none"
