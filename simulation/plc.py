"""The simulated PLC on the wire: an OPC UA server around the programs of its stations.

Nodes are those of the plant file (`schemas.plant.PlcNodes`); nothing is decided here. Arrays of a ring are written before
the ring's count, so a reader that sees the count finds the entry.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from asyncua import Server, ua

from schemas.errors import ConfigurationError
from schemas.interlocks import Interlocks, setpoints_of
from schemas.plant import Channel, Plc
from schemas.reasons import CommandKind
from simulation.plc_security import PlcIdentity
from simulation.station import Answer, Arrival, Departure, Request, Scan, Station

CYCLE_S = 0.010
HEARTBEAT_S = 0.100
STILL_BEATS = 3
STILL_AT_LEAST_S = 1.0
"""So long the gateway's heartbeat may stand still: then its TriggerReady is not believed (docs/connect-a-station.md)."""

_UINT16, _UINT32, _INT16, _INT64 = (
    ua.VariantType.UInt16,
    ua.VariantType.UInt32,
    ua.VariantType.Int16,
    ua.VariantType.Int64,
)
_STRING, _BOOLEAN, _DOUBLE = ua.VariantType.String, ua.VariantType.Boolean, ua.VariantType.Double

_SCALARS: dict[str, Any] = {
    "plc_heartbeat": _UINT32,
    "session": _STRING,
    "trigger_count": _UINT32,
    "departure_count": _UINT32,
    "line_mode": _STRING,
    "line_cause": _STRING,
    "recipe": _STRING,
    "next_recipe": _STRING,
    "reset_count": _UINT32,
    "writes_allowed": _BOOLEAN,
    "ack_sequence": _UINT32,
    "ack_command_id": _STRING,
    "ack_result": _INT16,
    "ack_time_ns": _INT64,
}
_WRITABLE: dict[str, Any] = {
    "gateway_heartbeat": _UINT32,
    "trigger_ready": _BOOLEAN,
    "ready_recipe": _STRING,
    "trigger_seen": _UINT32,
    "error_code": _UINT16,
    "error_text": _STRING,
    "command_id": _STRING,
    "command_kind": _STRING,
    "command_part_id": _STRING,
    "command_visit": _UINT16,
    "command_verdict": _STRING,
    "command_action": _STRING,
    "command_reason": _STRING,
    "command_defect_class": _STRING,
    "command_defect_view": _STRING,
    "command_defect_x_px": _DOUBLE,
    "command_defect_y_px": _DOUBLE,
    "command_parameter": _STRING,
    "command_value": _DOUBLE,
    "command_valid_until_ns": _INT64,
    "command_sequence": _UINT32,
}
_RINGS: dict[str, Any] = {
    "arrival_trigger_counts": _UINT32,
    "arrival_part_ids": _STRING,
    "arrival_visits": _UINT16,
    "arrival_recipes": _STRING,
    "arrival_batches": _STRING,
    "arrival_times_ns": _INT64,
    "departure_counts": _UINT32,
    "departure_part_ids": _STRING,
    "departure_visits": _UINT16,
    "departure_lanes": _STRING,
    "departure_by_fail_safe": _BOOLEAN,
    "departure_reject_confirmed": _BOOLEAN,
    "departure_times_ns": _INT64,
}

Method = Callable[..., Awaitable[list[ua.Variant]]]
"""An OPC UA method: the parent's node id, then the arguments as variants."""


class Observer(Protocol):
    """Who is told what the PLC did, in the cycle in which it did it."""

    def asked(self, station: Station, request: Request, answer: Answer) -> None:
        """A command stood in the mailbox, whatever became of it."""

    def executed(self, station: Station, request: Request, at_ns: int) -> None:
        """A command was carried out."""

    def left(self, station: Station, departure: Departure) -> None:
        """A part passed the gate."""


class PlcServer:
    """An OPC UA server with the nodes of these stations and channels. Use as an async context manager.

    `interlocks`, by station, name the nodes that show the setpoints in force: at first their lowest values.
    `methods` are OPC UA methods by identifier (`Simulation.Start`) with the types of their arguments and results; besides them
    `Simulation.Sessions` says how many sessions the PLC holds, the asker's with them.
    `identity` is needed where the plant file asks for security. Raises `ConfigurationError` where the port is taken, or for
    certificates that cannot be used.
    """

    def __init__(
        self,
        *,
        plc: Plc,
        stations: Sequence[Station],
        observer: Observer,
        channels: Sequence[Channel] = (),
        interlocks: Mapping[str, Interlocks] | None = None,
        identity: PlcIdentity | None = None,
        methods: Mapping[str, tuple[Method, Sequence[ua.VariantType], Sequence[ua.VariantType]]] | None = None,
    ) -> None:
        if plc.security != "none" and identity is None:
            raise ConfigurationError(
                f"PLC {plc.name}: security {plc.security} needs the certificates of a simulated PLC"
            )
        self._plc = plc
        self._stations = {station.name: station for station in stations}
        self._observer = observer
        self._channel_nodes = [channel.node for channel in channels if channel.node is not None]
        self._setpoints = {
            (station, name): setpoint
            for station, found in (interlocks or {}).items()
            for name, setpoint in setpoints_of(found).items()
        }
        self._identity = identity
        self._methods = {"Simulation.Sessions": (self._tell_sessions, (), (_UINT32,)), **(methods or {})}
        self._server = Server()
        self._nodes: dict[tuple[str, str], ua.NodeId] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._gateway_beat: dict[str, Any] = dict.fromkeys(self._stations, 0)
        self._gateway_beat_s = dict.fromkeys(self._stations, -math.inf)  # monotonic: when it moved last

    async def __aenter__(self) -> Self:
        self._server.set_endpoint(self._plc.endpoint)
        await self._server.init()
        self._server.set_server_name("Linesight simulated PLC")
        if self._identity is None:
            self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        else:
            await self._identity.give_to(self._server)
        await self._build()
        try:
            await self._server.start()
        except OSError as error:
            raise ConfigurationError(
                f"{self._plc.endpoint}: the simulated PLC cannot listen here ({error.strerror}); end the process that holds "
                "the port, or choose another one (LINESIGHT_SIM_PLC_PORT)"
            ) from error
        self._tasks = [asyncio.create_task(self._cycle()), asyncio.create_task(self._beat())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.stop()

    @property
    def works(self) -> tuple[asyncio.Task[None], ...]:
        """The PLC's cycle and heartbeat: they end only by an error, which whoever runs the PLC must not miss."""
        return tuple(self._tasks)

    async def arrive(
        self, station: str, *, part_id: str, recipe: str, batch: str, before: Callable[[Arrival], None]
    ) -> Arrival:
        """Takes a part in and triggers: `before` is called first with the arrival (the cameras expose). Raises `StationRefuses`."""
        program = self._stations[station]
        arrival = program.arrive(part_id=part_id, recipe=recipe, batch=batch, now_ns=time.time_ns())
        before(arrival)
        await self._select(station, arrival.recipe)
        await self._publish_arrivals(program)
        return arrival

    async def announce(self, station: str, recipe: str) -> None:
        """Says which recipe comes next, where the plant file has a node for it."""
        if (station, "next_recipe") in self._nodes and recipe != self._read(station, "next_recipe"):
            await self._write(station, "next_recipe", recipe)

    async def change_over(self, station: str, recipe: str, *, within_s: float) -> None:
        """Selects a recipe and waits until the gateway is ready for it, for `within_s`: then the belt goes on all the same.

        A gateway that was ready for nothing before, or does not say for what, is not waited for.
        """
        waits = self._trigger_ready(station) and self._read_if_there(station, "ready_recipe")
        await self._select(station, recipe)
        if not waits:
            return
        give_up_s = time.monotonic() + within_s
        while time.monotonic() < give_up_s:
            if self._trigger_ready(station) and self._read(station, "ready_recipe") == recipe:
                return
            await asyncio.sleep(CYCLE_S)

    async def _select(self, station: str, recipe: str) -> None:
        if recipe != self._read(station, "recipe"):
            await self._write(station, "recipe", recipe)

    async def until_trigger_ready(self, station: str) -> None:
        """Returns when the gateway says that parts may come; at once where the plant file has no node for it."""
        while (station, "trigger_ready") in self._nodes:
            if self._trigger_ready(station):
                return
            await asyncio.sleep(CYCLE_S)

    def _trigger_ready(self, station: str) -> bool:
        """TriggerReady, as a PLC has to read it: a gateway whose heartbeat stands still takes nothing back that it said."""
        still_s = time.monotonic() - self._gateway_beat_s[station]
        lost = still_s > max(STILL_AT_LEAST_S, STILL_BEATS * self._plc.heartbeat_ms / 1000)
        return bool(self._read_if_there(station, "trigger_ready")) and not lost

    async def allow_writes(self, station: str, *, allowed: bool) -> None:
        """Turns the kill switch: the bit with which the PLC forbids the gateway's commands."""
        await self._write(station, "writes_allowed", allowed)

    async def measure(self, node: str, value: float) -> None:
        """Sets a channel's node."""
        await self._write("", node, value)

    # --- address space ---------------------------------------------------------------------------------------------

    async def _build(self) -> None:
        index = await self._server.register_namespace(self._plc.namespace)
        objects = self._server.nodes.objects
        for station in self._stations.values():
            parent = await objects.add_object(ua.NodeId(station.name, index), ua.QualifiedName(station.name, index))
            for role, kind in {**_SCALARS, **_WRITABLE, **_RINGS}.items():
                identifier = getattr(self._plc.nodes, role)
                if identifier is None:
                    continue
                identifier = identifier.replace("{station}", station.name)
                await self._add((station.name, role), identifier, index, parent, kind, is_ring=role in _RINGS)
                if role in _WRITABLE:
                    await self._server.get_node(self._nodes[station.name, role]).set_writable()
            await self._write(station.name, "session", station.session)
            await self._write(station.name, "line_mode", station.mode.value)
            if self._plc.nodes.writes_allowed is not None:
                await self.allow_writes(station.name, allowed=True)
        for (name, parameter), setpoint in self._setpoints.items():
            identifier = setpoint.node.replace("{station}", name)
            await self._add((name, f"setpoint {parameter}"), identifier, index, objects, _DOUBLE, is_ring=False)
            await self._write(name, f"setpoint {parameter}", setpoint.low)
        for node in self._channel_nodes:
            await self._add(("", node), node, index, objects, _DOUBLE, is_ring=False)
        await self._add_methods(index)

    async def _tell_sessions(self, parent: ua.NodeId) -> list[ua.Variant]:
        # asyncua fills no SessionsDiagnosticsSummary, so its own register is asked
        return [ua.Variant(len(self._server.iserver._external_sessions), _UINT32)]

    async def _add(
        self, key: tuple[str, str], identifier: str, index: int, parent: Any, kind: Any, *, is_ring: bool
    ) -> None:
        node_id = ua.NodeId.from_string(f"ns={index};{identifier}")
        name = ua.QualifiedName(identifier.partition("=")[2], index)
        empty: Any = [] if is_ring else {_STRING: "", _DOUBLE: 0.0, _BOOLEAN: False}.get(kind, 0)
        node = await parent.add_variable(node_id, name, ua.Variant(empty, kind, is_array=is_ring))
        if is_ring:
            await node.write_value_rank(ua.ValueRank.OneDimension)
        self._nodes[key] = node_id

    async def _add_methods(self, index: int) -> None:
        objects = self._server.nodes.objects
        parents = {name: self._server.get_node(ua.NodeId(name, index)) for name in self._stations}
        for identifier, (method, takes, gives) in self._methods.items():
            owner, _, name = identifier.rpartition(".")
            if owner not in parents:
                parents[owner] = await objects.add_object(ua.NodeId(owner, index), ua.QualifiedName(owner, index))
            await parents[owner].add_method(
                ua.NodeId(identifier, index), ua.QualifiedName(name, index), method, list(takes), list(gives)
            )

    # --- the cycle -------------------------------------------------------------------------------------------------

    async def _cycle(self) -> None:
        due = time.monotonic()
        while True:
            for station in self._stations.values():
                self._hear_gateway(station.name)
                now_ns = time.time_ns()
                request = self._mailbox(station)
                done = station.scan(request, now_ns=now_ns)
                if request is not None and done.answer is not None:
                    self._observer.asked(station, request, done.answer)
                await self._publish(station, done, now_ns)
            due = max(due + CYCLE_S, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    def _hear_gateway(self, station: str) -> None:
        beat = self._read(station, "gateway_heartbeat")
        if beat != self._gateway_beat[station]:
            self._gateway_beat[station], self._gateway_beat_s[station] = beat, time.monotonic()

    async def _beat(self) -> None:
        beat = 0
        while True:
            beat = (beat + 1) % 2**32
            for name in self._stations:
                await self._write(name, "plc_heartbeat", beat)
            await asyncio.sleep(HEARTBEAT_S)

    def _mailbox(self, station: Station) -> Request | None:
        """The mailbox where it asks for something new. A client may have written nulls: they become empty fields."""
        sequence = self._read(station.name, "command_sequence")
        if not isinstance(sequence, int) or sequence == station.acknowledged_sequence:
            return None
        return Request(
            sequence=sequence,
            command_id=self._read(station.name, "command_id") or "",
            kind=self._read(station.name, "command_kind") or "",
            part_id=self._read(station.name, "command_part_id") or "",
            visit=self._read(station.name, "command_visit") or 0,
            verdict=self._read(station.name, "command_verdict") or "",
            action=self._read(station.name, "command_action") or "",
            reason=self._read(station.name, "command_reason") or "",
            valid_until_ns=self._read(station.name, "command_valid_until_ns") or 0,
            parameter=self._read_if_there(station.name, "command_parameter") or "",
            value=self._read_if_there(station.name, "command_value") or 0.0,
        )

    async def _publish(self, station: Station, done: Scan, now_ns: int) -> None:
        if done.executed is not None:
            await self._show_setpoint(station.name, done.executed)
            self._observer.executed(station, done.executed, now_ns)
        for departure in done.left:
            self._observer.left(station, departure)
        if done.answer is not None:
            await self._acknowledge(station, done.answer)
        if done.line_changed:
            await self._write(station.name, "line_cause", station.cause)
            await self._write(station.name, "line_mode", station.mode.value)
        if done.left:
            await self._publish_departures(station)

    async def _show_setpoint(self, station: str, executed: Request) -> None:
        sets = executed.kind in (CommandKind.SPEED, CommandKind.PARAMETER)
        if sets and (station, executed.parameter) in self._setpoints:
            await self._write(station, f"setpoint {executed.parameter}", executed.value)

    async def _acknowledge(self, station: Station, answer: Answer) -> None:
        await self._write(station.name, "ack_command_id", answer.command_id)
        await self._write(station.name, "ack_result", answer.result)
        await self._write(station.name, "ack_time_ns", answer.at_ns)
        await self._write(station.name, "ack_sequence", answer.sequence)

    async def _publish_arrivals(self, station: Station) -> None:
        name, ring = station.name, tuple(station.arrivals)
        await self._write(name, "arrival_trigger_counts", [arrival.trigger_count for arrival in ring])
        await self._write(name, "arrival_part_ids", [arrival.part_id for arrival in ring])
        await self._write(name, "arrival_visits", [arrival.visit for arrival in ring])
        await self._write(name, "arrival_recipes", [arrival.recipe for arrival in ring])
        await self._write(name, "arrival_batches", [arrival.batch for arrival in ring])
        await self._write(name, "arrival_times_ns", [arrival.at_ns for arrival in ring])
        await self._write(name, "trigger_count", ring[-1].trigger_count)

    async def _publish_departures(self, station: Station) -> None:
        name, ring = station.name, tuple(station.departures)
        await self._write(name, "departure_counts", [departure.count for departure in ring])
        await self._write(name, "departure_part_ids", [departure.part_id for departure in ring])
        await self._write(name, "departure_visits", [departure.visit for departure in ring])
        await self._write(name, "departure_lanes", [departure.lane for departure in ring])
        await self._write(name, "departure_by_fail_safe", [departure.by_fail_safe for departure in ring])
        await self._write(name, "departure_reject_confirmed", [departure.reject_confirmed for departure in ring])
        await self._write(name, "departure_times_ns", [departure.at_ns for departure in ring])
        await self._write(name, "departure_count", ring[-1].count)

    def _read_if_there(self, owner: str, role: str) -> Any:
        return self._read(owner, role) if (owner, role) in self._nodes else None

    def _read(self, owner: str, role: str) -> Any:
        return self._server.read_attribute_value(self._nodes[owner, role]).Value.Value

    async def _write(self, owner: str, role: str, value: Any) -> None:
        kind = _SCALARS.get(role) or _RINGS.get(role) or _DOUBLE
        variant = ua.Variant(value, kind, is_array=role in _RINGS)
        await self._server.write_attribute_value(self._nodes[owner, role], ua.DataValue(variant))
