"""Set-up refuses in one sentence, locks are complete, and two set-ups of one checkout take turns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ops.local.places import CHECKOUT, REQUIREMENTS
from ops.local.platform_check import (
    Machine,
    SetupRefused,
    refuse_full_or_locked,
    refuse_unsuitable,
    this_machine,
)
from ops.local.setup import why_failed

SUITABLE = Machine(
    system="Linux",
    processor="x86_64",
    glibc=(2, 36),
    python="CPython",
    python_version=(3, 12),
    has_venv=True,
    shared_library="libpython3.12.so.1.0",
)
LOCKS = ["base", "dev", "train", "bench", "triton", "quixstreams"]
PIN = re.compile(r"^([a-z0-9._-]+)==([^ ;]+)", re.MULTILINE)


def test_a_suitable_machine_and_this_one_are_accepted() -> None:
    refuse_unsuitable(SUITABLE)
    refuse_unsuitable(this_machine())


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (replace(SUITABLE, system="Darwin"), "Linux on x86-64"),
        (replace(SUITABLE, processor="aarch64"), "Linux on x86-64"),
        (replace(SUITABLE, glibc=(2, 31)), "glibc 2.31.*2.35"),
        (replace(SUITABLE, glibc=None), "no glibc.*2.35"),
        (replace(SUITABLE, python_version=(3, 13)), "PYTHON=python3.12"),
        (replace(SUITABLE, python="PyPy"), "CPython"),
        (replace(SUITABLE, has_venv=False), "apt-get install python3.12-venv"),
        (replace(SUITABLE, shared_library=None), "apt-get install libpython3.12"),
    ],
)
def test_an_unsuitable_machine_is_refused_in_one_sentence_that_says_what_to_do(machine: Machine, says: str) -> None:
    with pytest.raises(SetupRefused, match=says) as caught:
        refuse_unsuitable(machine)
    assert "\n" not in str(caught.value)


def test_too_little_disk_space_is_refused_before_anything_is_installed(tmp_path: Path) -> None:
    refuse_full_or_locked(tmp_path, needed_bytes=1)
    with pytest.raises(SetupRefused, match="free some"):
        refuse_full_or_locked(tmp_path, needed_bytes=1 << 60)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SetupRefused, match="cannot be written"):
        refuse_full_or_locked(tmp_path, needed_bytes=1)


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("Collecting x\nERROR: Could not install: [Errno 28] No space left on device\n", "free disk space"),
        ("ERROR: [Errno 13] Permission denied: '/x'\n", "writable"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If\n", "not the locked one"),
        ("ERROR: No matching distribution found for x==1\n", "network"),
        ("refused: do this\n", "^do this$"),
        ("", "run it again"),
    ],
)
def test_a_failed_installation_is_explained_in_one_sentence(output: str, says: str) -> None:
    sentence = why_failed(output)
    assert re.search(says, sentence)
    assert "\n" not in sentence


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_hash_and_no_address(name: str) -> None:
    lock = (REQUIREMENTS / f"{name}.txt").read_text()
    packages = re.split(r"(?m)^(?=[a-z0-9])", lock)[1:]
    assert packages
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in lock
    assert "--index-url" not in lock
    assert "--find-links" not in lock


@pytest.mark.parametrize("extra", ["dev", "train", "bench"])
def test_an_extra_can_be_installed_beside_every_other_lock(extra: str) -> None:
    base, more = (set(PIN.findall((REQUIREMENTS / f"{name}.txt").read_text())) for name in ("base", extra))
    assert base <= more


def test_triton_gets_a_numpy_that_its_python_backend_understands() -> None:
    pins = dict(PIN.findall((REQUIREMENTS / "triton.txt").read_text()))
    assert int(pins["numpy"].split(".")[0]) < 2


ONE_SETUP = """
import sys
from pathlib import Path
from ops.local import setup
setup.LOCAL = Path(sys.argv[1])
with setup.only_one():
    print("begins", flush=True)
    sys.stdin.readline()
"""


def start_setup(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ONE_SETUP, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )


def test_a_second_setup_says_that_it_waits_and_goes_on_when_the_first_is_killed(tmp_path: Path) -> None:
    with start_setup(tmp_path) as first, start_setup(tmp_path) as second:
        assert first.stdout is not None
        assert second.stdout is not None
        lines = {first: first.stdout.readline(), second: second.stdout.readline()}
        holder, waiting = sorted(lines, key=lambda process: lines[process] != "begins\n")
        assert lines[holder] == "begins\n"
        assert f"process {holder.pid}" in lines[waiting] or "process unknown" in lines[waiting]
        holder.kill()
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "begins\n"
        waiting.kill()
