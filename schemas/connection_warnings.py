"""What a plant file says of cameras and PLCs that is allowed and seldom meant: no encryption, files and folders that are not there yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from schemas.plant import Camera, FolderSource, Plant, Plc, VideoSource
from schemas.plant_yaml import Finding, Place


def connection_warnings(plant: Plant, folder: Path) -> Iterator[Finding]:
    """Connections that are open to everybody, and what is missing for them; `folder` is the plant file's."""
    for i, line in enumerate(plant.lines):
        for j, station in enumerate(line.stations):
            for k, camera in enumerate(station.cameras):
                yield from _source(camera, ("lines", i, "stations", j, "cameras", k, "source", "path"), folder)
    for i, plc in enumerate(plant.plcs):
        yield from _security(plc, ("plcs", i), folder)


def _source(camera: Camera, place: Place, folder: Path) -> Iterator[Finding]:
    match camera.source:
        case FolderSource(path=path):
            for place_of_view in sorted({path.replace("{view}", view) for view in camera.views}):
                if not (folder / place_of_view).is_dir():
                    yield (
                        place,
                        f"a folder; {folder / place_of_view} does not exist yet: no picture can appear there",
                        None,
                    )
        case VideoSource(path=path) if not (folder / path).is_file():
            yield place, f"a video file; {folder / path} does not exist", None


def _security(plc: Plc, place: Place, folder: Path) -> Iterator[Finding]:
    keys = ("certificate", "private_key", "server_certificate")
    if plc.security == "none":
        unused = [f"`{key}`" for key in (*keys, "trusted_certificates") if getattr(plc, key) is not None]
        said = f"; {', '.join(unused)} {'are' if len(unused) > 1 else 'is'} not used" if unused else ""
        expected = f"encryption: without it whoever is in that network can read and write what is on the PLC{said}"
        yield (*place, "security"), expected, None
        return
    for key in keys:
        file = getattr(plc, key)
        if file is not None and not (folder / file).is_file():
            verb = "trust" if key == "server_certificate" else "create"
            made = f"`certificates {verb}` makes it, and for a simulated line `simulate` does"
            yield (*place, key), f"a file; {folder / file} does not exist yet: {made}", None
    if plc.trusted_certificates is not None and not (folder / plc.trusted_certificates).is_dir():
        said = f"a folder; {folder / plc.trusted_certificates} does not exist yet: `certificates trust` makes it"
        yield (*place, "trusted_certificates"), said, None
