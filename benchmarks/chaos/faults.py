"""The catalogue of faults: what each one does to a line that runs, and when it is over."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.chaos.next_version import lay_out
from benchmarks.chaos.owner import owner_of_station
from benchmarks.chaos.scene import Course, Fault, Scene, after
from cli.demo_run import DemoRun
from cli.readiness import is_ready
from ops.local.children import Child, DidNotStart
from ops.local.triton import LocalTriton

HANG_S = 20.0
FULL_S = 12.0
PROXY_S = 20.0
BETWEEN_S = 3.0
DELAY_MS = 200.0
RESET_RATIO = 0.01
CLOCK_JUMP_S = 3600.0
MODEL_PROCESS = "triton_python_b"
"""Name of a model's own process as the kernel cuts it off."""

WORKER, BROKER = "worker", "broker"
ChildOf = Callable[[Scene], Child]


def stage(name: str) -> ChildOf:
    return lambda scene: scene.demo.line.children[name]


def _triton(scene: Scene) -> Child:
    triton = scene.demo.line.triton
    if not isinstance(triton, LocalTriton):
        raise RuntimeError("Triton is somebody else's: unset TRITON_URL")
    return triton.child


def _pid(child: Child) -> int | None:
    try:
        return child.pid if child.poll() is None else None
    except DidNotStart:
        return None


def kill(child_of: ChildOf) -> Callable[[Scene], Course]:
    """`kill -9`; over when its supervisor has started it again (and, of a service, when that answers)."""

    def course(scene: Scene) -> Course:
        killed = child_of(scene).pid
        child_of(scene).kill()
        yield lambda: _pid(child_of(scene)) not in (None, killed)

    return course


def hang(child_of: ChildOf, seconds: float = HANG_S) -> Callable[[Scene], Course]:
    """SIGSTOP, and SIGCONT later."""

    def course(scene: Scene) -> Course:
        pid = child_of(scene).pid
        os.kill(pid, signal.SIGSTOP)
        yield after(seconds)
        os.kill(pid, signal.SIGCONT)

    return course


def _model_processes(scene: Scene) -> set[int]:
    server = _pid(_triton(scene))
    if server is None:
        return set()
    try:
        children = psutil.Process(server).children(recursive=True)
        return {child.pid for child in children if child.name().startswith(MODEL_PROCESS)}
    except psutil.NoSuchProcess:
        return set()


def kill_model(scene: Scene) -> Course:
    """`kill -9` of the processes in which Triton runs its models; the server itself stays."""
    killed = _model_processes(scene)
    scene.notes["model_processes_killed"] = len(killed)
    if not killed:
        scene.missed.append("no model process ran that could be killed")
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    yield after(0.2)
    yield lambda: bool(_model_processes(scene) - killed)


def hang_model(scene: Scene) -> Course:
    """SIGSTOP of the processes in which Triton runs its models."""
    stopped = _model_processes(scene)
    if not stopped:
        scene.missed.append("no model process ran that could be stopped")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    yield after(HANG_S)
    for pid in stopped & _model_processes(scene):
        os.kill(pid, signal.SIGCONT)


def kill_plc(scene: Scene) -> Course:
    """`kill -9` of the machine itself: PLC, cameras, and what lay on the station. It begins anew with a session of its own."""
    plant = scene.demo.simulated_plant
    killed = plant.pid
    plant.kill()
    scene.demo.truth.read_on()
    yield lambda: _pid(plant) not in (None, killed)
    starting = threading.Thread(target=_start_parts, args=(scene.demo,), daemon=True)
    starting.start()
    yield lambda: not starting.is_alive()


def _start_parts(demo: DemoRun) -> None:
    with demo.control() as control:
        control.start(station=demo.plant.stations[0].name)


def hang_owning_judge(scene: Scene) -> Course:
    """SIGSTOP of that one of two judges which judges the parts: the other takes over, and then it comes back."""
    line = scene.demo.line
    name = owner_of_station("judge", line.health_ports)
    scene.notes["hung"] = name
    return hang(stage(name))(scene)


def roll(checkout: Callable[[Scene], Path | None]) -> Callable[[Scene], Course]:
    """Both inspect workers are restarted, one after the other, each when the other one works."""

    def course(scene: Scene) -> Course:
        line, folder = scene.demo.line, checkout(scene)
        for name in ("inspect", "inspect-2"):
            line.restart_worker(name, checkout=folder)
            yield after(BETWEEN_S)
            yield lambda: is_ready(line.health_ports[name])  # noqa: B023  waited for before the name changes

    return course


def scale(scene: Scene) -> Course:
    """One inspect worker, then three, then one."""
    line = scene.demo.line
    more = [line.start_worker("inspect") for _ in range(2)]
    for name in more:
        yield lambda: is_ready(line.health_ports[name])  # noqa: B023  waited for before the name changes
    yield after(2 * BETWEEN_S)
    for name in reversed(more):
        line.stop_worker(name)
        yield after(BETWEEN_S)


def cut_off(scene: Scene) -> Course:
    """Nothing comes from or to the broker; connections stay open and new ones are accepted, without an answer."""
    assert scene.proxy is not None
    scene.proxy.hold()
    yield after(PROXY_S)
    scene.proxy.release()


def slow_network(scene: Scene) -> Course:
    """What goes to the broker, and what comes from it, takes 200 ms more."""
    assert scene.proxy is not None
    scene.proxy.delay(DELAY_MS)
    yield after(PROXY_S)
    scene.proxy.delay(0.0)


def resets(scene: Scene) -> Course:
    """Every second 1 % of the connections to the broker are reset."""
    assert scene.proxy is not None
    scene.proxy.reset_some(RESET_RATIO)
    yield after(PROXY_S)
    scene.proxy.reset_some(0.0)
    scene.notes["resets"] = scene.proxy.resets
    if scene.proxy.resets == 0:
        scene.missed.append("no connection to the broker was reset")


def full_disk(scene: Scene) -> Course:
    """The file system under the broker's data is full for a while. The broker ends itself then, and is started again."""
    child = scene.broker_child
    before, filler = child.pid, scene.run_dir / "kafka" / "data" / "filler"
    threading.Timer(
        FULL_S, filler.unlink
    ).start()  # by itself: while the broker is started again nothing else runs here
    _fill(filler)
    yield after(FULL_S + 1.0)
    ended = _pid(scene.broker_child) != before
    scene.notes["broker_ended_itself"] = ended
    if not ended:
        scene.missed.append("the broker went on with its disk full")
    yield lambda: _pid(scene.broker_child) is not None


def _fill(filler: Path) -> None:
    block = bytes(1 << 20)
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
        except OSError:
            pass  # no space left: that is what it is for


def camera_clock_jump(scene: Scene) -> Course:
    """The clocks of all cameras are an hour ahead from their next picture on."""
    with scene.demo.control() as control:
        for camera in scene.demo.plant.lines[0].stations[0].cameras:
            if not control.ask("SetCameraClockAhead", camera.name, CLOCK_JUMP_S):
                scene.missed.append(f"the simulated plant did not set the clock of camera {camera.name}")
    yield after(BETWEEN_S)


def _broker(scene: Scene) -> Child:
    return scene.broker_child


def _plc(scene: Scene) -> Child:
    return scene.demo.simulated_plant


_STAGES = ("inspect", "judge", "plc-gateway", "station-gateway")

FAULTS: tuple[Fault, ...] = (
    *(Fault(name=f"kill {name}", target=name, course=kill(stage(name)), returns=WORKER) for name in _STAGES),
    Fault(name="kill triton", target="triton", course=kill(_triton)),
    Fault(name="kill model process", target="triton", course=kill_model),
    Fault(name="kill broker", target="broker", course=kill(_broker), returns=BROKER),
    Fault(name="kill plc", target="plc", course=kill_plc, kills_plc=True, lasts_s=6.0),
    *(
        Fault(name=f"hang {name}", target=name, course=hang(stage(name)), lasts_s=HANG_S, returns=WORKER)
        for name in _STAGES
    ),
    Fault(name="hang triton", target="triton", course=hang(_triton), lasts_s=HANG_S),
    Fault(name="hang model process", target="triton", course=hang_model, lasts_s=HANG_S),
    Fault(name="hang broker", target="broker", course=hang(_broker), lasts_s=HANG_S, returns=BROKER),
    Fault(name="hang plc", target="plc", course=hang(_plc), lasts_s=HANG_S),
    Fault(
        name="hang the owning one of 2 judges", target="judge", course=hang_owning_judge, lasts_s=HANG_S,
        workers={"judge": 2},
    ),
    Fault(
        name="rolling restart of 2 inspect", target="inspect", course=roll(lambda _: None), lasts_s=15.0,
        workers={"inspect": 2},
    ),
    Fault(
        name="rolling upgrade of 2 inspect to N+1", target="inspect", course=roll(lambda scene: lay_out(scene.run_dir / "next")),
        lasts_s=15.0, workers={"inspect": 2}, upgrades=True,
    ),
    Fault(name="scale inspect 1-3-1", target="inspect", course=scale, lasts_s=20.0),
    Fault(name="broker cut off", target="broker", course=cut_off, lasts_s=PROXY_S, needs_proxy=True, returns=BROKER),
    Fault(name="network 200 ms slower", target="broker", course=slow_network, lasts_s=PROXY_S, needs_proxy=True),
    Fault(name="1 % of connections reset", target="broker", course=resets, lasts_s=PROXY_S, needs_proxy=True),
    Fault(
        name="disk of the broker full", target="broker", course=full_disk, lasts_s=FULL_S + 10.0,
        needs_small_disk=True, returns=BROKER,
    ),
    Fault(name="camera clocks jump by 1 h", target="clock", course=camera_clock_jump, lasts_s=BETWEEN_S),
)  # fmt: skip
BY_NAME = {fault.name: fault for fault in FAULTS}
