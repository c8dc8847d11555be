"""Can this machine run Linesight? One sentence that says what to do where it cannot. Standard library only."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

OLDEST_GLIBC = (2, 35)
PYTHONS = ((3, 11), (3, 12))


class SetupRefused(Exception):
    """Set-up cannot go on; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Machine:
    """What set-up asks of a machine."""

    system: str
    processor: str
    glibc: tuple[int, int] | None
    python: str
    python_version: tuple[int, int]
    has_venv: bool
    shared_library: str | None


def this_machine() -> Machine:
    """The machine and the Python that run this."""
    version = sys.version_info[:2]
    return Machine(
        system=platform.system(),
        processor=platform.machine(),
        glibc=_glibc(),
        python=platform.python_implementation(),
        python_version=version,
        has_venv=importlib.util.find_spec("ensurepip") is not None and importlib.util.find_spec("venv") is not None,
        shared_library=_shared_library(version),
    )


def refuse_unsuitable(machine: Machine) -> None:
    """Raise SetupRefused for the first thing that this machine lacks."""
    python = f"python{machine.python_version[0]}.{machine.python_version[1]}"
    if (machine.system, machine.processor) != ("Linux", "x86_64"):
        raise SetupRefused(
            f"this is {machine.system} on {machine.processor}, but Kafka and Triton are set up for Linux on x86-64 only: "
            f"use such a machine, a virtual machine, or the containers in docker/"
        )
    if machine.glibc is None or machine.glibc < OLDEST_GLIBC:
        found = "no glibc" if machine.glibc is None else "glibc {}.{}".format(*machine.glibc)
        raise SetupRefused(
            f"this system has {found}, but Triton needs glibc 2.35 or newer: use Ubuntu 22.04, Debian 12, RHEL 10 or newer"
        )
    if machine.python != "CPython" or machine.python_version not in PYTHONS:
        raise SetupRefused(
            f"this is {machine.python} {machine.python_version[0]}.{machine.python_version[1]}, but Linesight needs CPython 3.11 or 3.12: "
            f"install one and name it, as in `make PYTHON=python3.12 demo`"
        )
    if not machine.has_venv:
        raise SetupRefused(
            f"this Python cannot make virtual environments: install its venv module (Debian, Ubuntu: apt-get install {python}-venv)"
        )
    if machine.shared_library is None:
        raise SetupRefused(
            f"Triton's Python needs lib{python}.so.1.0, which this Python does not bring: install it "
            f"(Debian, Ubuntu: apt-get install lib{python}), or use a Python built with --enable-shared"
        )


def refuse_full_or_locked(folder: Path, *, needed_bytes: int) -> None:
    """Raise SetupRefused when `folder` cannot be written or its disk has less than `needed_bytes` free."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SetupRefused(
            f"{folder} cannot be written by this user: change its owner, or set up a checkout of your own"
        )
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise SetupRefused(
            f"the disk of {folder} has {free_bytes / 1e9:.1f} GB free and set-up needs {needed_bytes / 1e9:.1f} GB: "
            f"free some, or use a checkout on another disk"
        )


def _glibc() -> tuple[int, int] | None:
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (ValueError, OSError):
        return None  # another C library, as on Alpine
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) if name == "glibc" else None


def _shared_library(version: tuple[int, int]) -> str | None:
    """Where the interpreter's own code lies as a library: Triton's Python processes embed it."""
    name = f"python{version[0]}.{version[1]}"
    beside = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib", f"lib{name}.so.1.0")
    return str(beside) if beside.exists() else ctypes.util.find_library(name)
