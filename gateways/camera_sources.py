"""Which source stands behind a camera of the plant file: one class per kind, each in a module of its own."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from gateways.aravis import require_aravis
from gateways.camera_process import CameraProcess
from gateways.folder_camera import FolderCamera
from gateways.http_camera import HttpCamera
from gateways.picture_source import CameraSource, Tell
from gateways.video_camera import VideoCamera
from schemas.errors import ConfigurationError
from schemas.plant import Camera, ExternalSource, GenicamSource, HttpSource, RtspSource, VideoSource


def open_source(camera: Camera, *, plant_dir: Path, http: aiohttp.ClientSession, tell: Tell) -> CameraSource | None:
    """The source of `camera`; None where the plant publishes its frames itself. Raises `ConfigurationError`.

    `tell` is told what a source notices on its own: a stall, another resolution, counters that do not agree.
    """
    source = camera.source
    if isinstance(source, ExternalSource):
        return None
    if isinstance(source, HttpSource):
        if "{trigger}" in source.url:
            _names_its_views(camera, source.url, "url")
        return HttpCamera(source=source, max_image_bytes=camera.max_image_bytes, http=http)
    if isinstance(source, VideoSource):
        return VideoCamera(camera=camera, source=source, plant_dir=plant_dir)
    if isinstance(source, RtspSource):
        return CameraProcess(camera=camera, answers_within_ms=2 * source.window_ms + source.latency_ms, tell=tell)
    if isinstance(source, GenicamSource):
        require_aravis(camera.name)
        slowest_ms = source.timeout_ms if source.trigger == "software" else 2 * source.window_ms
        return CameraProcess(camera=camera, answers_within_ms=slowest_ms, tell=tell)
    _names_its_views(camera, source.path, "path")
    return FolderCamera(source=source, max_image_bytes=camera.max_image_bytes, plant_dir=plant_dir)


def _names_its_views(camera: Camera, place: str, key: str) -> None:
    if len(camera.views) > 1 and "{view}" not in place:
        raise ConfigurationError(
            f"camera {camera.name} has views {', '.join(camera.views)}: put {{view}} into `{key}`, or all show the same"
        )
