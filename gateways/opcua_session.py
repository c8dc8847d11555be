"""One OPC UA session to a PLC: opened, read, written typed, watched, closed. With `opcua_subscriptions.py` all that talks OPC UA.

A session is never repaired: the first call that fails for the connection's sake marks it lost, and whoever keeps it
(`gateways/plc_link.py`) opens another. So nothing read before an outage is mistaken for the state after it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from asyncua import Client, Node, ua
from asyncua.client.ua_client import UaClientState
from asyncua.ua.ua_binary import variant_to_binary

from gateways.lifetime import in_own_task
from gateways.opcua_notifications import Publication
from gateways.opcua_refusals import refusal
from gateways.opcua_security import secure
from gateways.opcua_subscriptions import Granted, Monitored, Subscription, Subscriptions
from gateways.opcua_text import ForeignTexts
from schemas.errors import ConfigurationError, LinesightError, Transient
from schemas.plant import Plc

REQUEST_TIMEOUT_S = 2.0
OPEN_TIMEOUT_S = 6.0
CLOSE_TIMEOUT_S = 2.0
# A session whose client was killed is dropped by the PLC after this time, instead of filling its table for an hour.
SESSION_TIMEOUT_MS = 30_000

MOST_NODES = 20_000

_FAILURES = (OSError, asyncio.TimeoutError, ua.UaError)
_Answer = TypeVar("_Answer")


class PlcAway(Transient):
    """The PLC does not answer, or the session is gone."""


class NodeFault(Transient):
    """The PLC answers, but a node is missing, of another type, or refuses the write. A person must look, then it goes on."""


class Reading(NamedTuple):
    """A node's value as the PLC gave it. `status` is the OPC UA name, `Good` where the value may be used."""

    value: Any
    status: str

    @property
    def good(self) -> bool:
        """Whether the PLC vouches for the value."""
        return self.status == "Good"


class Variable(NamedTuple):
    """A variable as browsing finds it: identifier as in the plant file, names on the way to it, its type (`UInt16[]`), and whether the
    PLC lets this session write it."""

    identifier: str
    path: tuple[str, ...]
    data_type: str
    writable: bool = True


class OpcUaSession:
    """A live session. Nodes are named as in the plant file (`s=...`, `i=...`); the namespace is looked up by its URI.

    All calls raise `PlcAway` or `NodeFault`. Only `writable` nodes can be written, whatever a caller asks; each with the type that it was
    found to have before it was written first, or by `types_of`.
    """

    def __init__(
        self,
        client: Client,
        *,
        plc: Plc,
        namespace: int,
        writable: Collection[str] = (),
        foreign_text: Callable[[str, str], None] = lambda _node, _shown: None,
    ) -> None:
        self._client = client
        self._plc = plc
        self._namespace = namespace
        self._writable = frozenset(writable)
        self._types: dict[str, ua.VariantType] = {}
        self._node_ids: dict[str, ua.NodeId] = {}  # by identifier: a sensor gateway asks for thousands a second
        self._texts = ForeignTexts(foreign_text)
        self._lost = asyncio.Event()
        self._subscriptions = Subscriptions(client, node_id=self._node_id, lose=self._lose)
        self.why_lost = ""

    @classmethod
    async def open(
        cls,
        plc: Plc,
        *,
        plant_dir: Path,
        name: str,
        writable: Collection[str] = (),
        foreign_text: Callable[[str, str], None] = lambda _node, _shown: None,
    ) -> Self:
        """Connects, within a few seconds. What is wrong with a node is told to who uses it, not here: other stations are served.
        `foreign_text` is called once for each node with a text that is no UTF-8, with what is shown in its place (`opcua_text`).

        Raises `PlcAway`, `NodeFault` where the namespace is not there, or `CertificatesUnusable` for files that cannot be used.
        """
        client = Client(plc.endpoint, timeout=REQUEST_TIMEOUT_S)
        client.name = client.description = name
        client.session_timeout = SESSION_TIMEOUT_MS
        await secure(client, plc, plant_dir=plant_dir)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await in_own_task(client.connect())
                namespace = await in_own_task(_namespace_index(client, plc))
                session = cls(client, plc=plc, namespace=namespace, writable=writable, foreign_text=foreign_text)
                client.connection_lost_callback = session._on_connection_lost
        except NodeFault:
            await _close(client)
            raise
        except Exception as error:  # as in `_asked`
            await _close(client)
            raise PlcAway(f"PLC {plc.name} at {plc.endpoint}: {refusal(error, plc, plant_dir=plant_dir)}") from error
        except BaseException:
            await _close(client)
            raise
        return session

    @property
    def lost(self) -> bool:
        """Whether a call failed or the connection broke; the session is of no more use then."""
        return self._lost.is_set()

    async def until_lost(self) -> None:
        """Returns when the session is lost."""
        await self._lost.wait()

    async def read(self, identifiers: Sequence[str]) -> list[Any]:
        """Values of all nodes, read in one request in the order given. A value that is not good is a `NodeFault`."""
        readings = await self.read_each(identifiers)
        for identifier, reading in zip(identifiers, readings, strict=True):
            if not reading.good:
                raise NodeFault(f"PLC {self._plc.name}, node {identifier}: {reading.status}")
        return [reading.value for reading in readings]

    async def read_each(self, identifiers: Sequence[str]) -> list[Reading]:
        """Values and statuses of all nodes, read in one request."""
        nodes = [self._node_id(identifier) for identifier in identifiers]
        values = await self._asked(self._client.uaclient.read_attributes(nodes, ua.AttributeIds.Value), of=nodes)
        return [
            Reading(
                None if value.Value is None else self._texts.shown(identifier, value.Value.Value),
                _status(value.StatusCode),
            )
            for identifier, value in zip(identifiers, values, strict=True)
        ]

    async def write(self, values: Mapping[str, Any]) -> None:
        """Writes all nodes in one request, each with its own type. A refused write is a `NodeFault`."""
        if not values:
            return  # servers refuse a request for nothing, and the session would count as lost
        for identifier in values:
            if identifier not in self._writable:
                raise ValueError(f"node {identifier} is not among the nodes that this session may write")
        unknown = [identifier for identifier in values if identifier not in self._types]
        if unknown:
            for identifier, found in zip(unknown, await self.types_of(unknown), strict=True):
                if identifier not in self._types:
                    raise NodeFault(f"PLC {self._plc.name}, node {identifier}: {found}, expected a built-in type")
        nodes, typed = [], []
        for identifier, value in values.items():
            nodes.append(self._node_id(identifier))
            said = ua.Variant(self._texts.as_said(value), self._types[identifier])
            # without timestamps: many PLCs refuse to have them set (BadWriteNotSupported)
            typed.append(ua.DataValue(self._fitting(identifier, said)))
        results = await self._asked(
            self._client.uaclient.write_attributes(nodes, typed, ua.AttributeIds.Value), of=nodes
        )
        for identifier, status in zip(values, results, strict=True):
            if not status.is_good():
                raise NodeFault(f"PLC {self._plc.name} refused the write to {identifier}: {status.name}")

    async def types_of(self, identifiers: Sequence[str]) -> list[str]:
        """The type of each node as it is now (`UInt16`), read in one request; the status where it has none: `BadNodeIdUnknown`."""
        nodes = [self._node_id(identifier) for identifier in identifiers]
        names = []
        for identifier, found in zip(
            identifiers,
            await self._asked(self._client.uaclient.read_attributes(nodes, ua.AttributeIds.DataType), of=nodes),
            strict=True,
        ):
            self._types.pop(identifier, None)
            if _is_built_in(found):
                self._types[identifier] = ua.VariantType(found.Value.Value.Identifier)
            names.append(_type_name(found, rank=None))
        return names

    async def mirror(self, identifiers: Sequence[str], told: dict[str, Reading]) -> None:
        """Keeps `told` at the newest value of each node, as the PLC publishes them. Nodes that it refuses to watch stay out of it."""

        def take(publication: Publication) -> None:
            for report in publication.reports:
                node = identifiers[report.item]
                value = self._texts.shown(node, report.value)
                told[node] = Reading(value, "Good" if report.good else str(report))

        interval_ms = self._plc.publishing_interval_ms
        subscription = await self.subscribe(interval_ms, take)
        await self.monitor(
            subscription, [Monitored(item, node, interval_ms, 1) for item, node in enumerate(identifiers)]
        )

    async def subscribe(self, publishing_ms: float, told: Callable[[Publication], None]) -> Subscription:
        """A subscription whose publications, signs of life included, go to `told`. Whatever ends it loses the session."""
        return await self._asked(self._subscriptions.create(publishing_ms, told))

    async def monitor(self, subscription: Subscription, items: Sequence[Monitored]) -> list[Granted]:
        """Has the PLC sample `items`; each answer says what was granted, or why the node was refused."""
        return await self._asked(self._subscriptions.monitor(subscription, items))

    async def unmonitor(self, subscription: Subscription, items: Sequence[int]) -> None:
        """Ends the sampling of `items`, by the PLC's own numbers (`Granted.id`). One that it has forgotten itself is no fault."""
        await self._asked(self._subscriptions.unmonitor(subscription, items))

    async def variables(self) -> list[Variable]:
        """Every variable of the plant file's namespace under `Objects`; a `NodeFault` where the PLC has over `MOST_NODES` nodes."""
        found: list[Variable] = []
        seen: set[ua.NodeId] = set()
        waiting: deque[tuple[Node, tuple[str, ...]]] = deque([(self._client.nodes.objects, ())])
        while waiting:
            node, path = waiting.popleft()
            for child in await self._asked(node.get_children_descriptions()):
                if child.NodeId in seen:
                    continue
                seen.add(child.NodeId)
                if len(seen) > MOST_NODES:
                    raise NodeFault(
                        f"PLC {self._plc.name} has over {MOST_NODES} nodes under Objects: too many to browse"
                    )
                name = (*path, str(child.BrowseName.Name))
                waiting.append((self._client.get_node(child.NodeId), name))
                if child.NodeClass == ua.NodeClass.Variable and child.NodeId.NamespaceIndex == self._namespace:
                    found.append(await self._variable(child.NodeId, name))
        return found

    async def _variable(self, node_id: ua.NodeId, path: tuple[str, ...]) -> Variable:
        attributes = (ua.AttributeIds.DataType, ua.AttributeIds.ValueRank, ua.AttributeIds.UserAccessLevel)
        data_type, rank, access = [
            (await self._asked(self._client.uaclient.read_attributes([node_id], attribute)))[0]
            for attribute in attributes
        ]
        return Variable(
            node_id.to_string().partition(";")[2],
            path,
            _type_name(data_type, rank),
            not access.StatusCode.is_good() or bool(access.Value.Value & _CURRENT_WRITE),
        )

    async def close(self) -> None:
        """Closes session, channel and socket, within a few seconds."""
        self._lose("closed")
        self._subscriptions.mute()
        await _close(self._client)
        self._subscriptions.end()

    def _node_id(self, identifier: str) -> ua.NodeId:
        known = self._node_ids.get(identifier)
        if known is not None:
            return known
        try:
            found = self._node_ids[identifier] = ua.NodeId.from_string(f"ns={self._namespace};{identifier}")
            return found
        except ua.UaError as error:
            raise ConfigurationError(
                f"PLC {self._plc.name}: `{identifier}` is no node identifier; expected `s=Name` or `i=Number`"
            ) from error

    def _fitting(self, identifier: str, variant: ua.Variant) -> ua.Variant:
        try:
            variant_to_binary(variant)
        except (ua.UaError, AttributeError, ValueError) as error:
            raise NodeFault(
                f"PLC {self._plc.name}: {variant.Value!r} does not fit node {identifier} ({variant.VariantType.name})"
            ) from error
        return variant

    async def _asked(self, request: Awaitable[_Answer], *, of: Sequence[ua.NodeId] | None = None) -> _Answer:
        """The answer to a request; `of` are the nodes of one that is answered node by node.

        Whatever a PLC's answer does to the client library (it is cut short, or makes no sense) is that PLC's fault: others are served.
        """
        try:
            answer = await in_own_task(request)
            if of is not None:
                _check_each(answer, of)
        except LinesightError:
            raise
        except Exception as error:
            self._lose(repr(error))
            raise PlcAway(f"PLC {self._plc.name} at {self._plc.endpoint}: {error!r}") from error
        return answer

    async def _on_connection_lost(self, error: Exception) -> None:
        self._lose(repr(error))

    def _lose(self, why: str) -> None:
        if not self._lost.is_set():
            self.why_lost = why
            self._lost.set()


_CURRENT_WRITE = 1 << ua.AccessLevel.CurrentWrite.value
_BUILT_IN = frozenset(kind.value for kind in ua.VariantType if 1 <= kind.value <= 15)


async def _namespace_index(client: Client, plc: Plc) -> int:
    served = await client.get_namespace_array()
    if plc.namespace not in served:
        raise NodeFault(f"PLC {plc.name}: expected namespace {plc.namespace}; it serves {', '.join(served)}")
    return int(served.index(plc.namespace))


def _check_each(answer: Any, nodes: Sequence[ua.NodeId]) -> None:
    """Raises `ua.UaError` for an answer with more or fewer entries than nodes: nobody can say which is whose."""
    if len(answer or ()) != len(nodes):
        raise ua.UaError(f"it answered for {len(answer or ())} nodes, expected {len(nodes)}")


def _type_name(data_type: ua.DataValue, rank: ua.DataValue | None) -> str:
    """`UInt16`, `UInt16[]`; the status where the PLC does not say. Rank 0 is an array of any dimensions, so asyncua serves its lists
    (OPC 10000-3, 5.6.2)."""
    if not data_type.StatusCode.is_good():
        return _status(data_type.StatusCode)
    kind = _kind_of(data_type)
    if kind is None:
        return "no type"
    name = ua.VariantType(kind.Identifier).name if _is_built_in(data_type) else kind.to_string()
    return f"{name}[]" if rank is not None and rank.StatusCode.is_good() and rank.Value.Value >= 0 else name


def _is_built_in(data_type: ua.DataValue) -> bool:
    kind = _kind_of(data_type)
    return kind is not None and kind.NamespaceIndex == 0 and kind.Identifier in _BUILT_IN


def _kind_of(data_type: ua.DataValue) -> ua.NodeId | None:
    """The node of the type; None where the PLC does not say, or says something else."""
    found = data_type.Value.Value if data_type.StatusCode.is_good() and data_type.Value is not None else None
    return found if isinstance(found, ua.NodeId) else None


async def _close(client: Client) -> None:
    if client.uaclient.state is not UaClientState.CONNECTED and not client.uaclient.has_session:
        client.disconnect_socket()
        return
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await in_own_task(client.disconnect())
    except BaseException as error:
        client.disconnect_socket()
        if not isinstance(error, _FAILURES):
            raise


def _status(code: Any) -> str:
    return "Good" if code is None or code.is_good() else str(code.name)
