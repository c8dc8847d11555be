"""Set-up: everything that `make demo` and `make test` need, from nothing but Python.

    python3 -m ops.local.setup [--extra dev] [--extra train] [--extra bench]

Run with the system's Python; standard library only. Safe to interrupt and to repeat; what is in place already is left alone.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from ops.local import environments
from ops.local.places import CHECKOUT, LOCAL
from ops.local.platform_check import SetupRefused, refuse_full_or_locked, refuse_unsuitable, this_machine

EXTRAS = ("dev", "train", "bench")
# Measured after installation, with room for the files that pip unpacks on the way.
NEEDED_BYTES = {"checkout": 1_100_000_000, "triton": 500_000_000, "kafka": 100_000_000}
NEEDED_BYTES_TRAIN = 9_000_000_000
REFUSED = "refused: "  # begins the sentence of a command of ours that knows better than this what to do


@contextmanager
def only_one() -> Iterator[None]:
    """Wait for another set-up of this checkout, then keep others out."""
    LOCAL.mkdir(exist_ok=True)
    with (LOCAL / "setup.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"Another set-up of this checkout is at work (process {_holder(lock)}); waiting for it ...", flush=True
            )
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _holder(lock: TextIO) -> str:
    lock.seek(0)
    return lock.read() or "unknown"


def install(extras: Sequence[str]) -> None:
    """Install what is missing. Raises SetupRefused, OSError or environments.Failed."""
    refuse_full_or_locked(CHECKOUT, needed_bytes=0)
    with only_one():
        missing = environments.missing(extras)
        if not missing:
            print("Everything is set up.")
            return
        needed_bytes = sum(NEEDED_BYTES[name] for name in missing)
        if "checkout" in missing and "train" in extras:
            needed_bytes += NEEDED_BYTES_TRAIN
        refuse_full_or_locked(LOCAL, needed_bytes=needed_bytes)
        environments.LOG.unlink(missing_ok=True)
        if "checkout" in missing:
            environments.install_checkout(extras)
        if "triton" in missing:
            environments.install_triton()
        if "kafka" in missing:
            environments.install_kafka()
        shutil.rmtree(LOCAL / "tmp", ignore_errors=True)


def why_failed(output: str) -> str:
    """One sentence for what a failed command printed, and where to read the rest."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if lines and lines[-1].startswith(REFUSED):
        return lines[-1].removeprefix(REFUSED)
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines[-1:]
    said = errors[0] if errors else "a command ended without a word"
    if "No space left on device" in output:
        advice = "free disk space"
    elif "Permission denied" in output:
        advice = "make the checkout and pip's cache writable for this user"
    elif "DO NOT MATCH THE HASHES" in output:
        said, advice = "a package on offer is not the locked one", "check the index or mirror in pip's configuration"
    else:
        advice = "check the network and pip's configuration"
    return f"{said}; {advice} and run it again (everything it said: {environments.LOG})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: all is there; 1: refused or failed, with one sentence; 130: interrupted."""
    parser = argparse.ArgumentParser(
        prog="python3 -m ops.local.setup", description="Install everything that Linesight needs."
    )
    parser.add_argument(
        "--extra", action="append", default=[], choices=EXTRAS, dest="extras", help="also install this extra"
    )
    extras: list[str] = parser.parse_args(arguments).extras
    try:
        refuse_unsuitable(this_machine())
        install(extras)
    except SetupRefused as refused:
        problem = str(refused)
    except environments.Failed as failed:
        problem = why_failed(failed.output)
    except OSError as error:
        advice = {
            errno.ENOSPC: "free disk space",
            errno.EDQUOT: "free disk space",
            errno.EACCES: "make the checkout writable for this user",
            errno.EPERM: "make the checkout writable for this user",
            errno.EROFS: "use a checkout on a disk that can be written",
        }.get(error.errno or 0, "see what this says")
        problem = f"{error.strerror or error} ({error.filename}): {advice} and run it again"
    except KeyboardInterrupt:
        print("\nset-up: interrupted; run it again to go on", file=sys.stderr)
        return 130
    else:
        return 0
    print(f"\nset-up: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
