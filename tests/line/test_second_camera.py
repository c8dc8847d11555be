"""What a newcomer relies on who follows docs/connect-a-station.md: each command of it, as it stands there, works.

The commands run in a folder that looks like a checkout; only the camera's port is another one.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from linesight import Linesight

from ops.local.places import CHECKOUT
from ops.local.ports import answers, free_ports

pytestmark = pytest.mark.timeout(420)

GUIDE = CHECKOUT / "docs" / "connect-a-station.md"
PARTS = 40


class Newcomer:
    """Someone with a checkout who copies from the guide's section on a second camera."""

    def __init__(self, linesight: Linesight, folder: Path) -> None:
        self.folder = folder
        plc_port, camera_port, self.snapshot_port = free_ports(3)
        self._environment = linesight.environment | {
            "LINESIGHT_SIM_PLC_PORT": str(plc_port), "LINESIGHT_SIM_CAMERA_PORT": str(camera_port),
        }  # fmt: skip
        section = GUIDE.read_text().partition("### A second camera")[2].partition("\n## ")[0]
        blocks = re.findall(
            r"^ *```(sh|yaml)\n(.*?)^ *```$", section.replace("8088", str(self.snapshot_port)), re.M | re.S
        )
        self.camera, self.copy, self.reference, self.run, self.up, self.simulate, self.tail = (
            textwrap.dedent(text) for kind, text in blocks if kind == "sh"
        )
        # a list item of the text is indented by three
        self.camera_yaml, self.view_yaml = (
            re.sub("^ {3}", "", text, flags=re.M) for kind, text in blocks if kind == "yaml"
        )

    def types(self, commands: str, *, within_s: float) -> str:
        """Types commands into a shell; returns what they said. Each must do what it says."""
        done = subprocess.run(
            ["bash", "-ec", commands], check=False, cwd=self.folder, env=self._environment, timeout=within_s, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    @contextmanager
    def terminal(self, command: str, name: str) -> Iterator[Callable[[], str]]:
        """A terminal in which a command runs until Ctrl-C; gives what it has said so far."""
        said = self.folder / f"{name}.txt"
        with said.open("w") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self._environment, stdout=out, stderr=out,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                yield said.read_text
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(60)

    def edits_the_plant_file(self) -> None:
        """Adds the camera below `right`, and its view below the view `right` of each recipe."""
        file = self.folder / "plants" / "second.yaml"
        head, last_camera, rest = file.read_text().partition("          - name: right\n")
        body, end_of_station, tail = rest.partition("\nplcs:\n")
        text = head + last_camera + body + self.camera_yaml + end_of_station + tail
        text, changed = re.subn(r"^ +- \{ name: right, reference: .*\n", rf"\g<0>{self.view_yaml}", text, flags=re.M)
        assert changed == 3
        file.write_text(text)


@pytest.fixture
def newcomer(linesight: Linesight, tmp_path: Path) -> Newcomer:
    folder = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "plants", folder / "plants")
    (folder / "docs").symlink_to(CHECKOUT / "docs")
    (folder / ".venv").symlink_to(sys.prefix)
    return Newcomer(linesight, folder)


@contextmanager
def prepared(newcomer: Newcomer) -> Iterator[None]:
    """Steps 1 to 3 of the guide."""
    with newcomer.terminal(newcomer.camera, "camera"):
        await_that(lambda: answers("127.0.0.1", newcomer.snapshot_port), within_s=30)
        newcomer.types(newcomer.copy, within_s=10)
        newcomer.edits_the_plant_file()
        assert "made from 3 of 3 pictures" in newcomer.types(newcomer.reference, within_s=60)
        yield


def test_the_guides_second_camera_is_inspected(newcomer: Newcomer, linesight: Linesight) -> None:
    with prepared(newcomer):
        said = newcomer.types(newcomer.run, within_s=300)
    assert "valid; plant demo" in said
    assert "4 cameras" in said
    assert linesight.left_behind() == []
    report = json.loads((newcomer.folder / "run" / "report.json").read_text())
    arrived = report["parts"]["arrived"]
    assert arrived == report["parts"]["verdicts"] >= PARTS
    assert report["frames"]["published"] == report["frames"]["inspected"] == 4 * arrived
    assert report["truth"]["escapes"] == 0
    assert report["dead_letters"] == {}
    assert report["ledger"] == {"balanced": True, "differences": []}


def test_the_guides_live_line_starts_without_its_plc_and_goes_on_until_it_is_stopped(
    newcomer: Newcomer, linesight: Linesight
) -> None:
    with prepared(newcomer), newcomer.terminal(newcomer.up, "up") as up:
        await_that(lambda: "station-gateway is not ready: waits for plc: PLC plc-1 at opc.tcp://" in up(), within_s=120)
        with newcomer.terminal(newcomer.simulate, "simulate"):
            await_that(lambda: "every stage is ready" in up(), within_s=60)
            newcomer.types(f"{newcomer.tail.replace('|', '--max 12 |')}", within_s=90)
    assert linesight.left_behind() == []


def await_that(condition: Callable[[], bool], *, within_s: float) -> None:
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not so within {within_s:g} s"
        time.sleep(0.1)  # between two looks at a condition
