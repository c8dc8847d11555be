"""Plant files of the benchmark: the demo plant, changed in one point each."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import yaml

from benchmarks.bench_models import CNN, WAIT
from benchmarks.frames import filling, grey_picture
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.recipes import GoldenInspection, ModelPin

CHECKOUT = Path(__file__).resolve().parents[1]
DEMO = CHECKOUT / "plants" / "demo.yaml"
GATE_AFTER_MS = 1000
NEVER = 255  # threshold of a difference that the benchmark's own models do not reach

Description = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BenchPlant:
    """A plant file and what it says."""

    file: Path
    plant: Plant

    @property
    def golden(self) -> GoldenInspection:
        """How its first recipe compares."""
        inspection = self.plant.recipes[0].inspection
        assert isinstance(inspection, GoldenInspection)
        return inspection

    @property
    def compare(self) -> ModelPin:
        """The compare model of its first recipe."""
        return self.golden.compare


class BenchPlants:
    """Writes plant files into a folder, each with a name of its own, so that no two share a topic."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "references").symlink_to(DEMO.parent / "references", target_is_directory=True)
        self._folder = folder

    def golden(self) -> BenchPlant:
        """The demo plant's three cameras and golden comparison."""
        return self._write("bench-golden", _demo())

    def cnn(self) -> BenchPlant:
        """The same, compared by the benchmark's CNN."""
        return self._write("bench-cnn", _comparing(_demo(), CNN))

    def waiting(self, cameras: int, *, run: str) -> BenchPlant:
        """Cameras of one view each, compared by the model that waits. `run` gives it topics and a consumer group of its own."""
        return self._write(f"bench-wait-{run}", _comparing(_with_cameras(_demo(), cameras), WAIT))

    def cameras(self, count: int) -> BenchPlant:
        """So many cameras, each with a view of its own of the same scene."""
        return self._write(f"bench-cameras-{count}", _with_cameras(_demo(), count))

    def newest_first(self) -> BenchPlant:
        """The demo plant's three cameras; late frames are deferred, and a backfill inspects them and what is sent again."""
        found = _demo()
        for recipe in found["recipes"]:
            recipe["overload"] = "newest_first"
        return self._write("bench-newest-first", found)

    def one_view(self) -> BenchPlant:
        """A line whose parts have one view, for the whole path to the PLC."""
        return self._write("bench-one-view", _belt(_with_cameras(_demo(), 1)))

    def three_views(self) -> BenchPlant:
        """The demo's line."""
        return self._write("bench-line", _belt(_demo()))

    def sized(self, width_px: int, height_px: int) -> BenchPlant:
        """One camera with pictures of that size, and a reference to match."""
        found = _with_cameras(_demo(), 1)
        found["recipes"] = found["recipes"][:1]
        [view] = found["recipes"][0]["views"]
        small = grey_picture(self._folder / view["reference"])
        name = f"reference-{width_px}x{height_px}.png"
        cv2.imwrite(str(self._folder / name), filling(small, width_px=width_px, height_px=height_px))
        inspection = found["recipes"][0]["inspection"]
        inspection["max_shift_px"] *= width_px / small.shape[1]  # the same part, only larger
        view["reference"] = name
        for camera in found["lines"][0]["stations"][0]["cameras"]:
            camera |= {"max_width_px": 4096, "max_height_px": 4096}
        return self._write(f"bench-{width_px}x{height_px}", found)

    def _write(self, name: str, description: Description) -> BenchPlant:
        file = self._folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**description, "plant": name}, sort_keys=False))
        return BenchPlant(file=file, plant=load_plant(file))


def _demo() -> Description:
    """The demo plant without the rules that stop the line, and without its challenge part: what is measured shall not depend on them."""
    found: Description = yaml.safe_load(DEMO.read_text())
    found["alerts"] = [
        rule for rule in found["alerts"] if rule.get("action") != "stop_line" and rule["type"] != "challenge"
    ]
    found["lines"][0]["stations"][0].pop("challenges", None)
    return found


def _belt(description: Description) -> Description:
    """One product, and a gate that is near: the simulated station holds 64 parts, which bounds the parts per s."""
    found = copy.deepcopy(description)
    found["recipes"] = found["recipes"][:1]
    found["recipes"][0]["deadline_ms"] = GATE_AFTER_MS - 100
    found["lines"][0]["stations"][0]["gate_after_ms"] = GATE_AFTER_MS
    return found


def _comparing(description: Description, model: str) -> Description:
    found = copy.deepcopy(description)  # the file's anchors make its recipes share one inspection
    for recipe in found["recipes"]:
        recipe["inspection"]["compare"]["name"] = model
        recipe["inspection"]["difference_threshold"] = NEVER
    return found


def _with_cameras(description: Description, count: int) -> Description:
    """Cameras and views `left`, `left-2`, ...: the first camera of the demo plant again and again."""
    found = copy.deepcopy(description)
    station = found["lines"][0]["stations"][0]
    first = station["cameras"][0]
    names = [first["name"], *(f"{first['name']}-{number}" for number in range(2, count + 1))]
    station["cameras"] = [{**first, "name": name, "views": [name]} for name in names]
    for recipe in found["recipes"]:
        reference = recipe["views"][0]["reference"]
        recipe["views"] = [{"name": name, "reference": reference} for name in names]
    return found
