"""What the plant file may not say about a camera although every key and type is right."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.plant import Camera, FolderSource, GenicamSource, HttpSource, RtspSource, VideoSource
from schemas.plant_yaml import Finding, Place


def camera_findings(camera: Camera, where: Place) -> Iterator[Finding]:
    """Everything in `camera` that cannot work by itself."""
    if not camera.views:
        yield (*where, "views"), "at least one view", None
    source, place = camera.source, (*where, "source")
    match source:
        case FolderSource() if not source.path:
            yield (*place, "path"), "a folder", None
        case HttpSource() if not is_http(source.url):
            yield (*place, "url"), "an address that begins with http:// or https://", None
        case VideoSource():
            yield from _video(camera, source, place)
        case RtspSource() if not source.url.startswith(("rtsp://", "rtsps://")):
            yield (*place, "url"), "an address that begins with rtsp:// or rtsps://", None
        case GenicamSource() if not source.device:
            yield (*place, "device"), "the id of a camera as `arv-tool-0.8` lists it, or its address", None
    if isinstance(source, RtspSource | GenicamSource) and len(camera.views) > 1:
        yield (*where, "views"), "one view: each trigger gives one picture of this kind of camera", None
    if isinstance(source, VideoSource | RtspSource | GenicamSource):
        quality = source.jpeg_quality
        if quality is not None and not 1 <= quality <= 100:
            yield (*place, "jpeg_quality"), f"from 1 to 100, or leave it out for PNG, not {quality}", None


def is_http(address: str) -> bool:
    """Whether it is the address of a web server."""
    return address.startswith(("http://", "https://"))


def _video(camera: Camera, source: VideoSource, place: Place) -> Iterator[Finding]:
    if not source.path:
        yield (*place, "path"), "a video file", None
    if source.frames_per_part < len(camera.views):
        yield (*place, "frames_per_part"), f"at least {len(camera.views)}, a frame for each view", None
