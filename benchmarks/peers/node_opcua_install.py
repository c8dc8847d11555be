"""Installs node-opcua, a peer of the tests and of `make bench-floor`, into `.local/node-opcua`. Needs Node 20 or newer with npm.

`python3 -m benchmarks.peers.node_opcua_install`: standard library only, so that it runs before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ops.local.places import LOCAL

PROGRAM = Path(__file__).with_name("node_opcua") / "plc.js"
MODULES = LOCAL / "node-opcua" / "node_modules"
INSTALL_WITHIN_S = 180
_LISTS = ("package.json", "package-lock.json", ".npmrc")


class NodeOpcuaMissing(Exception):
    """It is not installed and cannot be; the message says what is missing."""


def install() -> None:
    """Installs what the lock file says; quick where that is done. Raises `NodeOpcuaMissing`."""
    folder = MODULES.parent
    done = folder / "installed-lock.json"
    wanted = (PROGRAM.parent / "package-lock.json").read_bytes()
    if done.exists() and done.read_bytes() == wanted:
        return
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NodeOpcuaMissing("node-opcua needs Node 20 or newer with npm, and there is none on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    for name in _LISTS:
        shutil.copy(PROGRAM.parent / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        answer = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_WITHIN_S
        )
    except subprocess.TimeoutExpired as error:
        raise NodeOpcuaMissing(f"`npm ci` in {folder} took over {INSTALL_WITHIN_S} s") from error
    if answer.returncode:
        raise NodeOpcuaMissing(f"`npm ci` in {folder} failed: {answer.stderr.strip()[-500:]}")
    done.write_bytes(wanted)


def environment() -> dict[str, str]:
    """The environment in which `PROGRAM` finds its modules."""
    return {**os.environ, "NODE_PATH": str(MODULES)}


if __name__ == "__main__":
    try:
        install()
    except NodeOpcuaMissing as missing:
        sys.exit(str(missing))
    print(MODULES)
