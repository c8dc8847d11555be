"""A plant floor for gateway tests: a real OPC UA server, a cable that can be cut, a camera over HTTP, a gateway's process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import cv2
import msgspec
import numpy as np

from ops.local.ports import free_ports
from schemas.interlocks import Interlocks
from schemas.plant import Camera, CameraSource, HttpSource, Line, Plant, Plc, Station
from schemas.recipes import DefectClass, GoldenInspection, Recipe, View
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import CATALOGUE
from simulation.plc import PlcServer
from simulation.station import Answer, Arrival, Departure, Request
from simulation.station import Station as Program
from topologies.topic_admin import ensure_topics

STATION = "aoi-1"
RECIPE = "board@1"
VIEWS = ("top", "side")
STOPS_WITHIN_S = 12
GatewayRun = Callable[..., Coroutine[Any, Any, None]]


def picture(value: int = 128) -> bytes:
    """A small PNG."""
    done, buffer = cv2.imencode(".png", np.full((24, 32), value, np.uint8))
    assert done
    return buffer.tobytes()


def noisy_picture() -> bytes:
    """A PNG that does not compress: about 4 kB."""
    done, buffer = cv2.imencode(".png", np.random.default_rng(1).integers(0, 256, (64, 64), dtype=np.uint8))
    assert done
    return buffer.tobytes()


def floor_plant(
    name: str,
    *,
    plc: Plc | None = None,
    stations: Sequence[str] = (STATION,),
    sources: dict[str, CameraSource] | None = None,
    gate_after_ms: int = 60_000,
    interlocks: Interlocks = Interlocks(),  # noqa: B008 - frozen
    **options: Any,
) -> Plant:
    """A plant with one PLC; `sources` gives each station's cameras, one view each, of the same name."""
    cameras = tuple(Camera(name=view, views=(view,), source=source) for view, source in (sources or {}).items())
    return Plant(
        plant=name,
        lines=(
            Line(
                name="line-1",
                stations=tuple(
                    Station(
                        name=station,
                        plc="plc-1" if plc else None,
                        cameras=cameras,
                        gate_after_ms=gate_after_ms,
                        interlocks=interlocks,
                    )
                    for station in stations
                ),
            ),
        ),
        recipes=(
            Recipe(
                name="board",
                views=tuple(View(name=view) for view in (sources or dict.fromkeys(VIEWS))),
                inspection=GoldenInspection(),
                classes=(DefectClass(name="open"),),
            ),
        ),
        plcs=(plc,) if plc else (),
        **options,
    )


async def make_topics(plant: Plant, kafka: KafkaSettings) -> None:
    """Creates the plant's topics."""
    await ensure_topics(plant, kafka=kafka, topics=CATALOGUE)


class Cable:
    """A TCP connection that a test can cut: between `port` and the server behind it."""

    def __init__(self, *, port: int, server_port: int) -> None:
        self.port = port
        self._server_port = server_port
        self._listener: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def plug(self) -> None:
        """Connects both sides."""
        self._listener = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Ends all connections and lets none in."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for end in list(self._ends):
            end.transport.abort()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        self._ends |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.transport.abort()
            self._ends.discard(sink)


class Floor:
    """The simulated PLC's server with the given stations, behind a cable. Use as an async context manager."""

    def __init__(
        self,
        *,
        stations: Sequence[str] = (STATION,),
        gate_after_ms: int = 60_000,
        interlocks: Interlocks = Interlocks(),  # noqa: B008 - frozen
        **plc: Any,
    ) -> None:
        cable_port, server_port = free_ports(2)
        self.plc = Plc(
            name="plc-1",
            endpoint=f"opc.tcp://127.0.0.1:{cable_port}/",
            security="none",
            publishing_interval_ms=20,
            **{"heartbeat_ms": 100, **plc},
        )
        self.programs = {
            name: Program(name=name, session="plc-session-1", gate_after_ms=gate_after_ms) for name in stations
        }
        self.executed_requests: list[Request] = []
        self.departures: list[Departure] = []
        self.on_executed: Callable[[Request], None] = lambda _request: None
        self.cable = Cable(port=cable_port, server_port=server_port)
        self.server = PlcServer(
            plc=msgspec.structs.replace(self.plc, endpoint=f"opc.tcp://127.0.0.1:{server_port}/"),
            stations=list(self.programs.values()),
            observer=self,
            interlocks=dict.fromkeys(stations, interlocks),
        )

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        await self.cable.plug()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.cable.cut()
        await self.server.__aexit__(None, None, None)

    def asked(self, station: Program, request: Request, answer: Answer) -> None:
        pass

    def executed(self, station: Program, request: Request, at_ns: int) -> None:
        self.executed_requests.append(request)
        self.on_executed(request)

    def left(self, station: Program, departure: Departure) -> None:
        self.departures.append(departure)

    async def arrive(self, part_id: str, *, station: str = STATION, batch: str = "b1") -> Arrival:
        """A part comes."""
        return await self.server.arrive(
            station, part_id=part_id, recipe=RECIPE, batch=batch, before=lambda _arrival: None
        )

    def value(self, role: str, *, station: str = STATION) -> Any:
        """What stands in a node of the PLC."""
        return self.server._read(station, role)

    async def set(self, role: str, value: Any, *, station: str = STATION) -> None:
        """Puts a value into a node of the PLC."""
        await self.server._write(station, role, value)

    @property
    def sessions(self) -> int:
        """How many OPC UA sessions the PLC holds."""
        return len(self.server._server.iserver._external_sessions)


@asynccontextmanager
async def running(
    gateway: GatewayRun, plant: Plant, *, name: str, plant_dir: Path, ready: bool = True
) -> AsyncIterator[Stage]:
    """A gateway in this process, ready unless told otherwise, until the block ends; then it must stop in time."""
    stage, stop = Stage(name), asyncio.Event()
    task = asyncio.create_task(gateway(plant, plant_dir=plant_dir, stage=stage, stop=stop))
    try:
        async with asyncio.timeout(30):
            while ready and not stage.ready:
                if task.done():
                    await task
                await asyncio.sleep(0.02)
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, STOPS_WITHIN_S)


def counted(stage: Stage, metric: str, **labels: str) -> float:
    """The value of one of the stage's metrics."""
    return stage.registry.get_sample_value(f"linesight_{stage.name}_{metric}", labels) or 0.0


@asynccontextmanager
async def gateway_process(
    gateway: str, plant: Plant, *, folder: Path, environment: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway in a process of its own, to be killed. Whatever becomes of the test, it has ended afterwards."""
    file = folder / "plant.json"
    file.write_bytes(msgspec.json.encode(plant))
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, gateway, str(file), env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def http_source(port: int, camera: str, *, timeout_ms: int = 500) -> HttpSource:
    """The source of a camera of `simulation.cameras.CameraServer`."""
    return HttpSource(url=f"http://127.0.0.1:{port}/cameras/{camera}/{camera}/{{trigger}}", timeout_ms=timeout_ms)


def _main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2]))
    import importlib

    gateway, file = sys.argv[1:]
    plant = msgspec.json.decode(Path(file).read_bytes(), type=Plant)
    run = importlib.import_module(f"gateways.{gateway}").run
    asyncio.run(run(plant, plant_dir=Path(file).parent, stage=Stage(gateway), stop=asyncio.Event()))


if __name__ == "__main__":
    _main()
