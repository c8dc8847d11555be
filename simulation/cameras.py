"""The simulated cameras: an HTTP server that gives every trigger's picture, exposed once, as often as it is asked for.

`GET /cameras/<camera>/<view>/<trigger>` -> JPEG with header `X-Captured-At-Ns`; 404 where there is no such picture (any
more).
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from aiohttp import web

from schemas.errors import ConfigurationError
from schemas.plant import CAPTURED_AT_HEADER, Camera, HttpSource

KEPT_TRIGGERS = 64
_SILENT_FOR_AT_MOST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exposure:
    jpeg: bytes
    at_ns: int
    clock_ahead_ns: int


@dataclass(slots=True, kw_only=True)
class _SimulatedCamera:
    views: tuple[str, ...]
    exposures: OrderedDict[tuple[int, str], _Exposure] = field(default_factory=OrderedDict)
    silent_until_s: float = 0.0
    dark_until_s: float = 0.0
    clock_ahead_ns: int = 0


class CameraServer:
    """Serves the `simulated_cameras` of a station and leaves its others alone. Use as an async context manager.

    Raises `ConfigurationError` where there is none, or the port is taken.
    """

    def __init__(self, cameras: Sequence[Camera]) -> None:
        served = simulated_cameras(cameras)
        address = _simulated_address(served[0]) if served else None
        if address is None:
            raise ConfigurationError(
                f"cameras {', '.join(camera.name for camera in cameras)}: the simulated plant serves none of them; expected "
                "at least one of type http at http://HOST:PORT/cameras/<camera>/<view>/{trigger}"
            )
        self._host, self._port = address
        self._cameras = {camera.name: _SimulatedCamera(views=camera.views) for camera in served}
        application = web.Application()
        application.router.add_get("/cameras/{camera}/{view}/{trigger:[0-9]{1,10}}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(
                f"http://{self._host}:{self._port}: the simulated cameras cannot listen here ({error.strerror}); end the "
                "process that holds the port, or choose another one (LINESIGHT_SIM_CAMERA_PORT)"
            ) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def expose(self, trigger: int, jpegs: Mapping[str, bytes], *, at_ns: int) -> None:
        """Every camera takes its views of the part that is there now."""
        for camera in self._cameras.values():
            for view in camera.views if time.monotonic() >= camera.dark_until_s else ():
                if view in jpegs:
                    camera.exposures[trigger, view] = _Exposure(
                        jpeg=jpegs[view], at_ns=at_ns + camera.clock_ahead_ns, clock_ahead_ns=camera.clock_ahead_ns
                    )
            while len(camera.exposures) > KEPT_TRIGGERS * len(camera.views):
                camera.exposures.popitem(last=False)

    def silence(self, camera: str, seconds: float) -> bool:
        """Lets a camera accept requests and answer none for so long; False where there is no such camera."""
        if camera in self._cameras:
            self._cameras[camera].silent_until_s = time.monotonic() + min(max(seconds, 0.0), _SILENT_FOR_AT_MOST_S)
        return camera in self._cameras

    def darken(self, camera: str, seconds: float) -> bool:
        """Lets a camera take no picture for so long: it answers that there is none. False where there is no such camera."""
        if camera in self._cameras:
            self._cameras[camera].dark_until_s = time.monotonic() + seconds
        return camera in self._cameras

    def set_clock_ahead(self, camera: str, seconds: float) -> bool:
        """Sets a camera's clock ahead (or behind) from its next picture on; False where there is no such camera."""
        if camera in self._cameras:
            self._cameras[camera].clock_ahead_ns = round(seconds * 1e9)
        return camera in self._cameras

    async def _serve(self, request: web.Request) -> web.Response:
        camera = self._cameras.get(request.match_info["camera"])
        if camera is None:
            raise web.HTTPNotFound(text=f"no such camera; there are {', '.join(self._cameras)}\n")
        await asyncio.sleep(max(0.0, camera.silent_until_s - time.monotonic()))
        exposure = camera.exposures.get((int(request.match_info["trigger"]), request.match_info["view"]))
        if exposure is None:
            raise web.HTTPNotFound(
                text=f"no picture: the last {KEPT_TRIGGERS} triggers of {', '.join(camera.views)} are kept\n"
            )
        # a camera has one clock: right or wrong, by `Date` the picture is as old as it is
        now_s = time.time() + exposure.clock_ahead_ns / 1e9
        return web.Response(
            body=exposure.jpeg,
            content_type="image/jpeg",
            headers={CAPTURED_AT_HEADER: str(exposure.at_ns), "Date": formatdate(now_s, usegmt=True)},
        )


def simulated_cameras(cameras: Sequence[Camera]) -> tuple[Camera, ...]:
    """Those of a station's cameras that the simulated plant serves: at `http://HOST:PORT/cameras/<camera>/...`.

    HOST:PORT is that of the first such camera. All others (elsewhere, of a folder, external) are somebody else's.
    """
    at = {camera.name: address for camera in cameras if (address := _simulated_address(camera)) is not None}
    own = next(iter(at.values()), None)
    return tuple(camera for camera in cameras if camera.name in at and at[camera.name] == own)


def _simulated_address(camera: Camera) -> tuple[str, int] | None:
    """Host and port of a camera whose URL looks like one of ours."""
    if not isinstance(camera.source, HttpSource):
        return None
    url = urlsplit(camera.source.url)
    if not url.hostname or not url.path.startswith(f"/cameras/{camera.name}/"):
        return None
    return url.hostname, url.port or 80
