"""`linesight camera test` against cameras over HTTP and in folders, good and bad."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from aiohttp import web

from ops.local.places import CHECKOUT
from ops.local.ports import free_ports

BOARD = CHECKOUT / "plants" / "references" / "board-a-left.png"


def encoded(level: int) -> bytes:
    """A grey picture of one level, 64x48 px, as PNG."""
    return bytes(cv2.imencode(".png", np.full((48, 64), level, np.uint8))[1])


@asynccontextmanager
async def http_camera(*answers: bytes | int) -> AsyncIterator[str]:
    """A camera that gives these answers (an image, or an HTTP status) one after the other, the last one for ever."""
    asked = 0

    async def snapshot(_: web.Request) -> web.Response:
        nonlocal asked
        answer = answers[min(asked, len(answers) - 1)]
        asked += 1
        return web.Response(status=answer) if isinstance(answer, int) else web.Response(body=answer)

    app = web.Application()
    app.router.add_get("/snapshot", snapshot)
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"{{ type: http, url: 'http://127.0.0.1:{port}/snapshot', timeout_ms: 300 }}"
    finally:
        await runner.cleanup()


def plant_file(folder: Path, source: str) -> Path:
    """The demo's plant file, its first camera with another source."""
    text = (CHECKOUT / "plants" / "demo.yaml").read_text()
    text, count = re.subn(r"source:\n +type: http\n +url: .*\n +timeout_ms: 500", f"source: {source}", text, count=1)
    assert count == 1
    path = folder / "plant.yaml"
    path.write_text(text)
    return path


async def camera_test(plant: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, report and errors of the command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "camera", "test", *arguments, "--plant", str(plant), "--json",
        "--out", str(plant.parent / "last"),
        cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, json.loads(out) if out else {}, err.decode()


async def test_it_says_how_pictures_come_and_what_they_look_like_and_keeps_the_last(tmp_path: Path) -> None:
    board = BOARD.read_bytes()
    async with http_camera(encoded(255), board) as source:
        code, report, err = await camera_test(plant_file(tmp_path, source), "left", "--seconds", "1")
    assert (code, err) == (0, "")
    assert report["pictures"] > 1
    assert report["rate_per_s"] > 0
    assert report["sizes_px"] == {"64x48": 1, "640x640": report["pictures"] - 1}
    assert report["encodings"] == ["png"]
    assert report["failures"] == {}
    assert report["repeated"] == report["pictures"] - 2, "the line would refuse them"
    assert report["sharpness"] > 100
    assert report["saturated_ratio"] < 0.5
    assert (tmp_path / "last").read_bytes() == board


async def test_a_burnt_out_picture_shows_in_the_figures(tmp_path: Path) -> None:
    async with http_camera(encoded(255)) as source:
        _, report, _ = await camera_test(plant_file(tmp_path, source), "left", "--seconds", "0.3")
    assert (report["saturated_ratio"], report["black_ratio"], report["sharpness"]) == (1.0, 0.0, 0.0)


async def test_pictures_that_differ_are_kept_for_a_reference_and_a_camera_may_repeat_its_own(tmp_path: Path) -> None:
    async with http_camera(*(encoded(level) for level in range(256))) as source:
        plant = plant_file(tmp_path, source)
        code, _, err = await camera_test(plant, "left", "--trigger", "17")
        assert (code, "leave --trigger out" in err) == (2, True), "it was ignored"
        code, report, err = await camera_test(plant, "left", "--seconds", "1", "--keep", str(tmp_path / "good"))
        assert (code, err) == (0, "")
        kept = sorted((tmp_path / "good").iterdir())
        levels = [int(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[0, 0]) for path in kept]
        assert 2 < len(levels) == report["kept"] <= 100
        assert levels == sorted(set(levels)), "no picture twice"
        plant.write_text(plant.read_text().replace("- name: left\n", "- name: left\n            repeats: allow\n", 1))
        _, report, _ = await camera_test(plant, "left", "--seconds", "0.5")
        assert report["repeated"] == 0


async def test_what_inspect_would_refuse_is_counted_by_reason_and_none_good_is_exit_code_1(tmp_path: Path) -> None:
    wide = bytes(cv2.imencode(".png", np.zeros((4, 3000), np.uint8))[1])
    async with http_camera(b"no image", BOARD.read_bytes()[:2000], wide, 500) as source:
        code, report, err = await camera_test(plant_file(tmp_path, source), "left", "--seconds", "1")
    assert (code, report["pictures"]) == (1, 0)
    assert "gave no usable picture" in err
    reasons = " ".join(report["failures"])
    assert "undecodable_image" in reasons
    assert "3000x4 px; camera left may send 2048x2048" in reasons
    assert "HTTP 500" in reasons
    assert not (tmp_path / "last").exists()


async def test_a_camera_that_keeps_pictures_by_trigger_is_asked_for_one_after_the_other(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    for count in (7, 8, 9):
        (folder / f"{count}.png").write_bytes(encoded(100))
    plant = plant_file(tmp_path, "{ type: folder, path: uploads, timeout_ms: 100 }")
    code, _, err = await camera_test(plant, "left")
    assert (code, "--trigger N" in err) == (2, True)
    code, report, _ = await camera_test(plant, "left", "--trigger", "7", "--seconds", "0.8")
    assert (code, report["pictures"], report["kept_by_trigger"]) == (0, 3, True)
    assert any("10.*: did not appear within 100 ms" in why for why in report["failures"])


async def test_an_unknown_camera_is_answered_with_those_there_are(tmp_path: Path) -> None:
    plant = plant_file(tmp_path, "{ type: external }")
    code, _, err = await camera_test(plant, "top")
    assert (code, "expected one of left, middle, right" in err) == (2, True)
    code, _, err = await camera_test(plant, "left")
    assert (code, "is `external`" in err) == (2, True)
