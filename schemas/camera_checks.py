"""What the plant file may not say about a camera although every key and type is right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from schemas.addresses import address_lacks
from schemas.plant import Camera, FolderSource, GenicamSource, HttpSource, RtspSource, VideoSource
from schemas.plant_yaml import Finding, Place


def camera_findings(camera: Camera, where: Place) -> Iterator[Finding]:
    """Everything in `camera` that cannot work by itself."""
    if not camera.views:
        yield (*where, "views"), "at least one view", None
    source, place = camera.source, (*where, "source")
    match source:
        case FolderSource():
            if not source.path:
                yield (*place, "path"), "a folder", None
            yield from _placeholders(camera, source.path, (*place, "path"), known=("view",))
        case HttpSource():
            yield from _address(source.url, (*place, "url"), schemes=("http", "https"))
            yield from _placeholders(camera, source.url, (*place, "url"), known=("trigger", "view"))
        case VideoSource():
            yield from _video(camera, source, place)
        case RtspSource():
            yield from _address(source.url, (*place, "url"), schemes=("rtsp", "rtsps"))
        case GenicamSource() if not source.device:
            yield (*place, "device"), "the id of a camera as `arv-tool-0.8` lists it, or its address", None
    if isinstance(source, RtspSource | GenicamSource) and len(camera.views) > 1:
        yield (*where, "views"), "one view: each trigger gives one picture of this kind of camera", None
    if isinstance(source, VideoSource | RtspSource | GenicamSource):
        quality = source.jpeg_quality
        if quality is not None and not 1 <= quality <= 100:
            yield (*place, "jpeg_quality"), f"from 1 to 100, or leave it out for PNG, not {quality}", None


def _address(address: str, place: Place, *, schemes: Sequence[str]) -> Iterator[Finding]:
    expected = address_lacks(address, schemes=schemes)
    if expected:
        yield place, expected, None


def _placeholders(camera: Camera, text: str, place: Place, *, known: Sequence[str]) -> Iterator[Finding]:
    for name in re.findall(r"\{([^{}]*)\}", text):
        if name not in known:
            listed = " or ".join(f"`{{{each}}}`" for each in known)
            yield place, f"{listed}; nothing is put in for `{{{name}}}`", None
    if len(camera.views) > 1 and "{view}" not in text:
        yield place, f"`{{view}}` in it: the camera takes {len(camera.views)} views", None


def _video(camera: Camera, source: VideoSource, place: Place) -> Iterator[Finding]:
    if not source.path:
        yield (*place, "path"), "a video file", None
    if source.frames_per_part < len(camera.views):
        yield (*place, "frames_per_part"), f"at least {len(camera.views)}, a frame for each view", None
