"""The supervisor restarts what ends, a bounded number of times, and stops in reverse order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.local import supervisor as supervision
from ops.local.children import Child
from ops.local.supervisor import GaveUp, Restart, Supervisor
from schemas.errors import ConfigurationError

DEADLINE_S = 20.0
ENDLESS = 1000


def sleeper(name: str, log_dir: Path, script: str = "exec sleep 60") -> Child:
    return Child(name=name, command=["sh", "-c", script], log_dir=log_dir, grace_s=2.0)


def tend_until_restarts(supervisor: Supervisor, restarts: list[Restart], count: int) -> None:
    tend_until(supervisor, lambda: len(restarts) >= count)


def tend_until(supervisor: Supervisor, condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at
        supervisor.tend()
        time.sleep(0.01)


def test_a_killed_service_runs_again(tmp_path: Path) -> None:
    restarts: list[Restart] = []
    child = sleeper("inspect", tmp_path)
    with Supervisor(on_restart=restarts.append, waits_s=(0.0,)) as supervisor:
        supervisor.start(child)
        first = child.pid
        child.kill()
        tend_until_restarts(supervisor, restarts, 1)
        supervisor.tend()
        assert child.poll() is None
        assert child.pid != first
    assert [(restart.name, restart.attempt) for restart in restarts] == [("inspect", 1)]
    assert "137" in restarts[0].reason


def test_it_waits_before_each_further_restart_and_gives_up_in_the_end(tmp_path: Path) -> None:
    restarts: list[Restart] = []
    with Supervisor(on_restart=restarts.append, waits_s=(0.0, 0.05, 0.1)) as supervisor:
        supervisor.start(sleeper("judge", tmp_path, "exit 1"))
        tend_until_restarts(supervisor, restarts, 3)
        with pytest.raises(GaveUp, match="judge failed 4 times"):
            tend_until_restarts(supervisor, restarts, ENDLESS)
    assert [restart.wait_s for restart in restarts] == [0.0, 0.05, 0.1]


def test_an_end_with_status_0_that_nobody_asked_for_is_a_failure_too(tmp_path: Path) -> None:
    restarts: list[Restart] = []
    with Supervisor(on_restart=restarts.append) as supervisor:
        supervisor.start(sleeper("alerts", tmp_path, "exit 0"))
        tend_until_restarts(supervisor, restarts, 1)


def test_a_wrong_configuration_is_not_tried_again(tmp_path: Path) -> None:
    restarts: list[Restart] = []
    with Supervisor(on_restart=restarts.append) as supervisor:
        supervisor.start(sleeper("judge", tmp_path, "exit 2"))
        with pytest.raises(ConfigurationError, match="judge"):
            tend_until_restarts(supervisor, restarts, ENDLESS)
    assert restarts == []


def test_one_that_ran_and_finds_a_file_that_is_being_edited_is_tried_until_it_is_right(tmp_path: Path) -> None:
    """It fell for another reason: the others go on, however long the person takes."""
    restarts: list[Restart] = []
    file, up = tmp_path / "plant.yaml", tmp_path / "up"
    script = f"test -e {file} || {{ echo 'linesight: plant.yaml, line 3: expected a name'; exit 2; }}; touch {up}; exec sleep 60"
    judge, inspect = sleeper("judge", tmp_path, script), sleeper("inspect", tmp_path)
    with Supervisor(on_restart=restarts.append, waits_s=(0.0, 0.01)) as supervisor:
        file.touch()
        supervisor.start(judge)
        supervisor.start(inspect)
        tend_until(supervisor, up.exists)
        file.unlink()
        up.unlink()
        judge.kill()
        tend_until(supervisor, lambda: len(restarts) >= 6)
        assert "refuses its configuration: plant.yaml, line 3: expected a name" in restarts[-1].reason
        assert inspect.poll() is None
        file.touch()
        tend_until(supervisor, up.exists)
        assert judge.poll() is None


WRONG = """
echo '{"event": "stage_started"}'
echo 'linesight: topic plant.frames differs:'
echo '  retention.ms is 1, expected 2'
echo '{"event": "closed"}'
"""


def test_what_a_stage_said_at_its_end_is_passed_on(tmp_path: Path) -> None:
    restarts: list[Restart] = []
    with Supervisor(on_restart=restarts.append) as supervisor:
        supervisor.start(sleeper("judge", tmp_path, WRONG + "exit 2"))
        with pytest.raises(ConfigurationError) as refused:
            tend_until_restarts(supervisor, restarts, ENDLESS)
    said = str(refused.value)
    assert (
        "judge refuses its configuration: topic plant.frames differs:\n  retention.ms is 1, expected 2 (log: " in said
    )
    assert "event" not in said
    with Supervisor(on_restart=restarts.append, waits_s=()) as supervisor:
        supervisor.start(sleeper("alerts", tmp_path, "echo 'MemoryError'; exit 1"))
        with pytest.raises(GaveUp, match="ended with status 1; it said last: MemoryError"):
            tend_until_restarts(supervisor, restarts, ENDLESS)


def test_everything_is_stopped_the_last_one_first(tmp_path: Path) -> None:
    script = "trap 'echo {0} >> {1}/order; exit 0' TERM; touch {1}/{0}; while :; do sleep 0.02; done"
    with Supervisor(on_restart=lambda _: None) as supervisor:
        for name in ("kafka", "judge", "gateway"):
            child = sleeper(name, tmp_path, script.format(name, tmp_path))
            supervisor.start(child)
            child.wait_ready((tmp_path / name).exists, deadline_s=DEADLINE_S, advice="")
    assert (tmp_path / "order").read_text().split() == ["gateway", "judge", "kafka"]


def test_one_started_beside_another_is_stopped_after_those_that_feed_it(tmp_path: Path) -> None:
    script = "trap 'echo {0} >> {1}/order; exit 0' TERM; touch {1}/{0}; while :; do sleep 0.02; done"
    children = {
        name: sleeper(name, tmp_path, script.format(name, tmp_path)) for name in ("inspect", "gateway", "inspect-2")
    }
    with Supervisor(on_restart=lambda _: None) as supervisor:
        supervisor.start(children["inspect"])
        supervisor.start(children["gateway"])
        supervisor.start(children["inspect-2"], beside=children["inspect"])
        for name, child in children.items():
            child.wait_ready((tmp_path / name).exists, deadline_s=DEADLINE_S, advice="")
    assert (tmp_path / "order").read_text().split() == ["gateway", "inspect-2", "inspect"]


def test_one_that_is_released_has_stopped_and_is_not_started_again(tmp_path: Path) -> None:
    restarts: list[Restart] = []
    with Supervisor(on_restart=restarts.append, waits_s=(0.0,)) as supervisor:
        going, staying = sleeper("inspect-2", tmp_path), sleeper("inspect", tmp_path)
        supervisor.start(staying)
        supervisor.start(going)
        supervisor.release(going)
        assert going.poll() is not None
        supervisor.tend()
        assert going.poll() is not None
        assert staying.poll() is None
    assert restarts == []


class _StopsWithTheOthers:
    """A service that ends only while the others are ending too."""

    def __init__(self, name: str, all_stopping: threading.Barrier) -> None:
        self.name = name
        self.stopped = False
        self._all_stopping = all_stopping

    def start(self) -> None: ...

    def poll(self) -> int | None:
        return None

    def stop(self) -> None:
        self._all_stopping.wait(DEADLINE_S)
        self.stopped = True


def test_services_that_do_not_drain_are_stopped_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten stages whose broker hangs would take ten times their grace one after another."""
    monkeypatch.setattr(supervision, "UNHURRIED_STOP_S", 0.0)
    all_stopping = threading.Barrier(3)
    services = [_StopsWithTheOthers(name, all_stopping) for name in ("inspect", "judge", "alerts")]
    with Supervisor(on_restart=lambda _: None) as supervisor:
        for service in services:
            supervisor.start(service)
    assert all(service.stopped for service in services)
