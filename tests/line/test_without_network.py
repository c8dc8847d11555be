"""A station beside which broker and stages run judges parts while the plant network is away: nothing of it needs another machine.

The same on fewer parts, every day: `test_a_list_without_labels_gives_results_only_and_needs_no_network`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from linesight import Linesight

PARTS = 40


def test_alone_means_no_route_and_no_link_but_loopback(alone: list[str]) -> None:
    shown = subprocess.run([*alone, "cat", "/proc/net/route"], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[1:] == []


def test_where_something_can_be_reached_nothing_is_run(alone: list[str]) -> None:
    script = Path(__file__).with_name("no_network.py")
    link = "import fcntl,socket,struct;s=socket.socket();fcntl.ioctl(s,0x8916,struct.pack('16sH2s4s8s',b'lo',2,b'',bytes([192,0,2,1]),b''))"
    both = f'{sys.executable} -c "{link}" && {sys.executable} {script} echo started'
    done = subprocess.run([*alone, "sh", "-c", both], capture_output=True, text=True, check=False)
    assert "there is a way to 192.0.2.1" in done.stderr
    assert "started" not in done.stdout


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_the_demo_line_judges_without_a_network(linesight: Linesight, alone: list[str]) -> None:
    done = linesight.run("demo", "--parts", str(PARTS), within_s=280, before=alone)
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads((linesight.run_dir / "report.json").read_text(encoding="utf-8"))
    assert report["parts"]["verdicts"] == report["parts"]["arrived"] >= PARTS
    assert report["parts"]["ok"] > 0
    assert report["commands"]["acknowledged"] > 0
    assert report["ledger"] == {"balanced": True, "differences": []}
    assert linesight.left_behind() == []
