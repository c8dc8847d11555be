"""How a command ends when something is wrong: one sentence, the right exit code, and no traceback."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli.exits import NotSo, as_problem, exit_code
from ops.local.places import CHECKOUT
from ops.local.supervisor import GaveUp
from schemas.errors import ConfigurationError, Refused, ServiceAway, TopicMismatch
from schemas.reasons import RefusalReason

SETTINGS = ("KAFKA_", "TRITON_", "OBJECT_STORE_", "LINESIGHT_")
WITHIN_S = 60


def linesight(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The finished command, with no settings but `env`."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(SETTINGS)}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *map(str, arguments)],
        cwd=CHECKOUT,
        env=clean | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )


def assert_one_sentence(done: subprocess.CompletedProcess[str], code: int, pattern: str) -> None:
    """Exit code, and a last line on standard error that says `pattern`."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    assert re.search(f"^linesight: .*{pattern}", done.stderr, re.MULTILINE), done.stderr


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (NotSo("unbalanced"), 1),
        (ConfigurationError("wrong"), 2),
        (TopicMismatch("differs"), 2),
        (Refused(RefusalReason.TRUNCATED, "cut"), 2),
        (ServiceAway("gone"), 3),
        (GaveUp("judge failed 7 times in a row"), 3),
        (as_problem(OSError(28, "No space left on device", "/run/x")), 2),
        (as_problem(PermissionError(13, "Permission denied", "/run/x")), 2),
        (as_problem(ConnectionRefusedError(111, "Connection refused")), 3),
        (as_problem(TimeoutError("timed out")), 3),
    ],
)
def test_the_exit_code_says_who_has_to_do_something(problem: NotSo, code: int) -> None:
    assert exit_code(problem) == code


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device", "/run/x"), "/run/x: No space left on device; free space there, or name another"),
        (PermissionError(13, "Permission denied", "/run/x"), "/run/x: Permission denied; get the right to it, or name another"),
        (FileNotFoundError(2, "No such file or directory", "a.png"), "a.png: No such file or directory; name one that is there"),
        (OSError("no 2 free ports on 127.0.0.1: stop what listens there"), "no 2 free ports on 127.0.0.1: stop what listens there"),
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_told_with_what_to_do(error: OSError, sentence: str) -> None:
    assert str(as_problem(error)).startswith(sentence)


@pytest.mark.parametrize("verb", ["demo", "up"])
def test_a_run_folder_that_cannot_be_written_is_one_sentence(verb: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = linesight(verb, LINESIGHT_RUN_DIR=str(tmp_path / "file" / "run"))
    assert_one_sentence(done, 2, f"{tmp_path}/file/run.*; name a folder .LINESIGHT_RUN_DIR")


def test_a_taken_metrics_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = linesight("run", "judge", LINESIGHT_METRICS_PORT=port)
    assert_one_sentence(done, 2, f"judge cannot serve its metrics at 127.0.0.1:{port}.*LINESIGHT_METRICS_PORT")


@pytest.mark.parametrize(("variable", "value"), [("KAFKA_SECURITY_PROTOCOL", "foo"), ("LINESIGHT_METRICS_PORT", "abc")])
def test_a_wrong_setting_is_one_sentence(variable: str, value: str) -> None:
    done = linesight("run", "judge", **{"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", variable: value})
    assert_one_sentence(done, 2, f"{variable} is '{value}': expected")


def test_a_reference_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    done = linesight(
        "publish", tmp_path, "--plant", "plants/pcb.yaml", "--camera", "any", "--recipe", "any@1",
        "--reference", tmp_path / "absent.png",
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "absent.png" in done.stderr


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_runs_what_is_to_be_done_at_the_end(number: signal.Signals, status: int, asynchronous: bool) -> None:
    waiting = "asyncio.run(work())" if asynchronous else 'print("started", flush=True); threading.Event().wait(60)'
    program = f"""
import asyncio, threading
from cli import main, run
class Line:
    def __enter__(self): pass
    def __exit__(self, *_): print("drained", flush=True)
async def work():
    print("started", flush=True)
    await asyncio.sleep(60)
@main.app.command("wait")
def wait() -> None:
    with Line():
        {waiting}
main.main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, "wait"],
        cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=WITHIN_S)
    assert (out, process.returncode) == ("drained\n", status)
    assert "Traceback" not in err
