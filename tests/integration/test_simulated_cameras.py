"""The simulated cameras over HTTP: one picture per trigger, always the same, of the part that was there."""

import asyncio
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import pytest

from ops.local.ports import free_ports
from schemas.errors import ConfigurationError
from schemas.plant import CAPTURED_AT_HEADER, Camera, ExternalSource, FolderSource, HttpSource
from schemas.plant_file import load_plant
from simulation.cameras import KEPT_TRIGGERS, CameraServer, simulated_cameras
from simulation.pictures import PhotoStudio
from simulation.scenario import plan

DEMO = Path(__file__).parents[2] / "plants" / "demo.yaml"


def camera(name: str, port: int) -> Camera:
    source = HttpSource(url=f"http://127.0.0.1:{port}/cameras/{name}/{name}/{{trigger}}")
    return Camera(name=name, views=(name,), source=source)


class Rig:
    """Two cameras and a client."""

    def __init__(self, server: CameraServer, client: aiohttp.ClientSession) -> None:
        self.server, self.client = server, client

    async def get(self, path: str) -> tuple[int, bytes, str]:
        async with self.client.get(path) as response:
            return response.status, await response.read(), response.headers.get(CAPTURED_AT_HEADER, "")


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    (port,) = free_ports(1)
    async with (
        CameraServer([camera("left", port), camera("right", port)]) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield Rig(server, client)


async def test_every_trigger_gives_its_own_picture_as_often_as_it_is_asked_for(rig: Rig) -> None:
    for trigger in (1, 2):
        rig.server.expose(trigger, {"left": b"left %d" % trigger, "right": b"right %d" % trigger}, at_ns=1000 * trigger)
    for _ in range(2):
        assert await rig.get("/cameras/left/left/1") == (200, b"left 1", "1000")
        assert await rig.get("/cameras/right/right/2") == (200, b"right 2", "2000")


@pytest.mark.parametrize(
    "path", ["/cameras/left/left/2", "/cameras/left/right/1", "/cameras/top/top/1", "/cameras/left/left/-1", "/"]
)
async def test_a_picture_that_was_never_taken_is_not_found(rig: Rig, path: str) -> None:
    rig.server.expose(1, {"left": b"l", "right": b"r"}, at_ns=1)
    assert (await rig.get(path))[0] == 404


async def test_the_last_triggers_are_kept_and_no_more(rig: Rig) -> None:
    for trigger in range(1, KEPT_TRIGGERS + 2):
        rig.server.expose(trigger, {"left": b"l", "right": b"r"}, at_ns=trigger)
    assert (await rig.get("/cameras/left/left/1"))[0] == 404
    assert (await rig.get("/cameras/left/left/2"))[0] == 200
    assert (await rig.get(f"/cameras/right/right/{KEPT_TRIGGERS + 1}"))[0] == 200


async def test_a_silent_camera_does_not_answer_and_the_others_do(rig: Rig) -> None:
    rig.server.expose(1, {"left": b"l", "right": b"r"}, at_ns=1)
    assert rig.server.silence("left", 60.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await rig.get("/cameras/left/left/1")
    assert (await rig.get("/cameras/right/right/1"))[0] == 200
    assert rig.server.silence("left", 0.0)
    assert (await rig.get("/cameras/left/left/1"))[0] == 200
    assert not rig.server.silence("top", 1.0)


async def test_a_dark_camera_answers_that_there_is_no_picture_and_the_others_take_theirs(rig: Rig) -> None:
    rig.server.expose(1, {"left": b"l", "right": b"r"}, at_ns=1)
    assert rig.server.darken("left", 60.0)
    rig.server.expose(2, {"left": b"l", "right": b"r"}, at_ns=2)
    assert rig.server.darken("left", 0.0)
    rig.server.expose(3, {"left": b"l", "right": b"r"}, at_ns=3)
    assert [(await rig.get(f"/cameras/left/left/{trigger}"))[0] for trigger in (1, 2, 3)] == [200, 404, 200]
    assert (await rig.get("/cameras/right/right/2"))[0] == 200
    assert not rig.server.darken("top", 1.0)


async def test_a_camera_whose_clock_is_wrong_says_so_from_its_next_picture_on(rig: Rig) -> None:
    rig.server.expose(1, {"left": b"l", "right": b"r"}, at_ns=10)
    assert rig.server.set_clock_ahead("left", 600.0)
    rig.server.expose(2, {"left": b"l", "right": b"r"}, at_ns=20)
    stamps = [(await rig.get(f"/cameras/{path}"))[2] for path in ("left/left/1", "left/left/2", "right/right/2")]
    assert stamps == ["10", str(20 + 600 * 10**9), "20"]


async def test_a_camera_whose_clock_is_wrong_still_says_how_old_its_picture_is(rig: Rig) -> None:
    assert rig.server.set_clock_ahead("left", -86_400.0)
    rig.server.expose(1, {"left": b"l"}, at_ns=time.time_ns())
    async with rig.client.get("/cameras/left/left/1") as response:
        camera_now_s = parsedate_to_datetime(response.headers["Date"]).timestamp()
        assert abs(camera_now_s - int(response.headers[CAPTURED_AT_HEADER]) / 1e9) < 60, "by its own clock"


async def test_a_taken_port_is_said_in_one_sentence() -> None:
    (port,) = free_ports(1)
    async with CameraServer([camera("left", port)]):
        with pytest.raises(ConfigurationError, match="choose another one"):
            async with CameraServer([camera("left", port)]):
                pass


def elsewhere(port: int) -> list[Camera]:
    """Cameras that are somebody else's: at another place, of a folder, external."""
    return [
        Camera(name="extra", views=("extra",), source=HttpSource(url="http://127.0.0.1:9/snapshot.jpg")),
        Camera(
            name="far", views=("far",), source=HttpSource(url=f"http://192.0.2.20:{port}/cameras/far/far/{{trigger}}")
        ),
        Camera(name="upload", views=("upload",), source=FolderSource(path="pictures")),
        Camera(name="own", views=("own",), source=ExternalSource()),
    ]


async def test_a_stations_other_cameras_are_left_alone() -> None:
    (port,) = free_ports(1)
    extra, *others = elsewhere(port)
    served = camera("left", port)
    assert simulated_cameras([extra, served, *others]) == (served,)
    async with (
        CameraServer([extra, served, *others]) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        server.expose(1, {"left": b"l", "extra": b"e"}, at_ns=1)
        assert (await Rig(server, client).get("/cameras/left/left/1"))[0] == 200
        assert (await Rig(server, client).get("/cameras/extra/extra/1"))[0] == 404
        assert not server.silence("extra", 1.0)


def test_a_station_without_a_camera_of_ours_is_refused() -> None:
    extra, _, *others = elsewhere(1)
    with pytest.raises(ConfigurationError, match="extra, upload, own: the simulated plant serves none of them"):
        CameraServer([extra, *others])


async def test_a_plants_pictures_show_its_boards(rig: Rig) -> None:
    """What the studio takes ahead is what a client decodes: a grey 640x640 picture that looks like its reference."""
    recipe = load_plant(DEMO).recipes[1]
    golden = cv2.imread(str(DEMO.parent / str(recipe.views[0].reference)), cv2.IMREAD_GRAYSCALE)
    part = plan(parts=1, seed=1, recipes=[recipe.key])[0]
    studio = PhotoStudio()
    try:
        taken = await asyncio.wrap_future(
            studio.order(recipe, defects=part.defects, lighting_drift_ratio=0.0, seed=(1, 0, 1))
        )
    finally:
        studio.close()
    rig.server.expose(1, taken.jpegs, at_ns=time.time_ns())
    _, jpeg, _ = await rig.get("/cameras/left/left/1")
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape == golden.shape
    assert np.corrcoef(image.ravel(), golden.ravel())[0, 1] > 0.9
