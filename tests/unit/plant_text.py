"""A small valid plant file, ways to change it, and what is said about the outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.plant_source import PlantFileInvalid

VALID = """\
plant: demo
lines:
  - name: line-1
    stations:
      - name: aoi-1
        plc: plc-1
        cameras:
          - name: left
            views: [left]
            source: { type: http, url: "http://127.0.0.1:8090/left/{trigger}" }
          - name: right
            views: [right]
            source: { type: external }
plcs:
  - { name: plc-1, endpoint: "opc.tcp://127.0.0.1:4840/", security: none }
assets:
  - name: press
    line: line-1
    plc: plc-1
    channels: [{ name: vibration, unit: mm/s, node: s=press.Vibration }]
recipes:
  - name: board-a
    views: [{ name: left }, { name: right, required: false }]
    inspection: { type: golden }
    classes: [{ name: open }, { name: short, minimum_score: 0.7 }]
alerts:
  - { name: many, type: defect_rate, raise_ratio: 0.2, clear_ratio: 0.1, station: aoi-1 }
  - { name: shaky, type: sensor_limit, asset: press, channel: vibration, high: 7.1 }
"""


def load(folder: Path, text: str) -> Plant:
    path = folder / "plant.yaml"
    path.write_text(text, encoding="utf-8")
    return load_plant(path)


def complaints(folder: Path, text: str) -> list[str]:
    """Each complaint without the name of the file."""
    with pytest.raises(PlantFileInvalid) as caught:
        load(folder, text)
    told = str(caught.value).splitlines()
    assert all(line.startswith(f"{folder}/plant.yaml:") for line in told)
    return [line.removeprefix(f"{folder}/plant.yaml:") for line in told]


def changed(old: str, new: str) -> str:
    assert VALID.count(old) == 1, f"{old!r} stands {VALID.count(old)} times in the valid file"
    return VALID.replace(old, new)
