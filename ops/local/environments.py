"""The three things that set-up installs, each from its lock, each whole or not at all. Standard library only.

    .venv            the checkout and its Python dependencies, from base.txt or the locks of the extras
    .local/triton    Triton's server with a Python environment of its own, from triton.txt
    .local/kafka     Apache Kafka's jars, from kafka.lock

A stamp in each says what it was made from. It is written last, so that what an interrupted set-up left is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ops.local.places import CHECKOUT, KAFKA_JARS, KAFKA_LOCK, LOCAL, REQUIREMENTS, TRITON_VENV, VENV, site_packages
from ops.local.progress import Failed, Progress, run

STAMP = "linesight-setup.json"
UNFINISHED = "linesight-unfinished"
LOG = LOCAL / "setup.log"
PYTHON = Path(getattr(sys, "_base_executable", sys.executable))


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _python() -> str:
    """Identity of the Python that environments are made with, and of the place they are made for."""
    return f"{sys.version.split()[0]} in {sys.base_prefix} for {CHECKOUT}"


def _read_stamp(folder: Path) -> dict[str, Any] | None:
    try:
        stamp: dict[str, Any] = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        return None
    return stamp


def _write_stamp(folder: Path, stamp: dict[str, Any]) -> None:
    unfinished = folder / f"{STAMP}.unfinished"
    unfinished.write_text(json.dumps(stamp, indent=1))
    unfinished.replace(folder / STAMP)


def _environment_variables() -> dict[str, str]:
    """pip keeps the user's configuration; only what would install elsewhere or ask questions is set."""
    temporary = LOCAL / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    settings = {
        "PIP_USER": "0",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    # on the checkout's own disk, whose free space was checked; /tmp is often small
    return {**os.environ, **settings, "TMPDIR": str(temporary)}


def _run(command: Iterable[str | Path], progress: Progress) -> None:
    run(list(command), progress=progress, log=LOG, cwd=CHECKOUT, env=_environment_variables())


def _pip(venv: Path, *arguments: str | Path) -> list[str | Path]:
    """pip of `.venv`, working on `venv`: other environments need none of their own."""
    return [VENV / "bin" / "python", "-I", "-m", "pip", "--python", venv / "bin" / "python", *arguments]


def _locks(extras: Iterable[str]) -> list[Path]:
    """The locks to install; an extra's lock holds the base too."""
    return [REQUIREMENTS / f"{extra}.txt" for extra in sorted(extras)] or [REQUIREMENTS / "base.txt"]


def _packages_in(locks: Iterable[Path]) -> int:
    return len({line.split(" ")[0] for lock in locks for line in lock.read_text().splitlines() if line[:1].isalnum()})


def _wanted_checkout(extras: Iterable[str]) -> dict[str, Any]:
    locks = _locks(extras)
    return {"python": _python(), "extras": sorted(extras), "from": _digest(*locks, CHECKOUT / "pyproject.toml")}


def _wanted_triton() -> dict[str, Any]:
    return {"python": _python(), "from": _digest(REQUIREMENTS / "triton.txt")}


def _wanted_kafka() -> dict[str, Any]:
    return {"from": _digest(KAFKA_LOCK)}


def _all_extras(extras: Iterable[str]) -> set[str]:
    """The extras asked for, and those that are installed already: `make demo` after `make test` takes nothing away."""
    stamp = _read_stamp(VENV)
    return {*extras, *(stamp["extras"] if stamp else ())}


def missing(extras: Iterable[str]) -> list[str]:
    """Which of the three have to be installed: `checkout`, `triton`, `kafka`."""
    wanted = {
        "checkout": (VENV, _wanted_checkout(_all_extras(extras))),
        "triton": (TRITON_VENV, _wanted_triton()),
        "kafka": (KAFKA_JARS, _wanted_kafka()),
    }
    return [
        name
        for name, (folder, stamp) in wanted.items()
        if _read_stamp(folder) != stamp or (folder / UNFINISHED).exists()
    ]


def install_checkout(extras: Iterable[str]) -> None:
    """Make `.venv` hold the locked dependencies and the checkout itself. Raises progress.Failed."""
    extras = _all_extras(extras)
    stamp, locks = _read_stamp(VENV), _locks(extras)
    progress = Progress(f"Python environment ({VENV.name})", _packages_in(locks))
    if (VENV / UNFINISHED).exists() or (stamp and stamp["python"] != _python()):
        shutil.rmtree(VENV)
    if not (VENV / "bin" / "python").exists():
        _run([PYTHON, "-I", "-m", "venv", VENV], progress)
    (VENV / UNFINISHED).touch()
    requirements = [argument for lock in locks for argument in ("-r", lock)]
    _run(_pip(VENV, "install", "--require-hashes", *requirements), progress)
    progress.say("linesight")
    # the classic kind of editable install: a new top-level package is found without installing again
    editable = (
        "--no-deps",
        "--no-build-isolation",
        "--config-settings",
        "editable_mode=compat",
        "--editable",
        CHECKOUT,
    )
    _run(_pip(VENV, "install", *editable), progress)
    _write_stamp(VENV, _wanted_checkout(extras))
    (VENV / UNFINISHED).unlink()
    progress.done()


def install_triton() -> None:
    """Make `.local/triton`. Raises progress.Failed."""
    lock = REQUIREMENTS / "triton.txt"
    progress = Progress("Triton inference server", _packages_in([lock]))
    unfinished = _empty(TRITON_VENV)
    _run([PYTHON, "-I", "-m", "venv", "--without-pip", unfinished], progress)
    _run(_pip(unfinished, "install", "--no-deps", "--require-hashes", "-r", lock), progress)
    _assemble_backends(site_packages(unfinished) / "pytriton" / "tritonserver", unfinished / "backends")
    _finish(unfinished, TRITON_VENV, _wanted_triton())
    progress.done()


def install_kafka() -> None:
    """Make `.local/kafka`. Raises progress.Failed."""
    progress = Progress("Apache Kafka", len(KAFKA_LOCK.read_text().splitlines()) - 1)
    unfinished = _empty(KAFKA_JARS)
    _run([VENV / "bin" / "python", "-m", "ops.local.jars", "fetch", unfinished], progress)
    _finish(unfinished, KAFKA_JARS, _wanted_kafka())
    progress.done()


def _empty(folder: Path) -> Path:
    """An empty place beside `folder` to build it in."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    return unfinished


def _finish(unfinished: Path, folder: Path, stamp: dict[str, Any]) -> None:
    _write_stamp(unfinished, stamp)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def _assemble_backends(server: Path, backends: Path) -> None:
    """The server's backend folder: the wheel's Python backend, its process for this Python's version, and ours on top of it."""
    stub = (
        server
        / "python_backend_stubs"
        / f"{sys.version_info.major}.{sys.version_info.minor}"
        / "triton_python_backend_stub"
    )
    shutil.copytree(server / "backends" / "python", backends / "python")
    shutil.copy2(stub, backends / "python")
    (backends / "onnxruntime").symlink_to(CHECKOUT / "ops" / "local" / "backends" / "onnxruntime")
    for program in (server / "bin" / "tritonserver", backends / "python" / stub.name):
        program.chmod(0o755)


__all__ = ["LOG", "Failed", "install_checkout", "install_kafka", "install_triton", "missing"]
