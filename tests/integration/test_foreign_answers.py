"""What a PLC answers that is not what was asked for: it costs that PLC its session, never the gateway, which may serve others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asyncua.server.internal_session import InternalSession
from plant_floor import STATION, Floor

from gateways.opcua_session import OpcUaSession, PlcAway
from gateways.station_nodes import station_nodes, writable_nodes

NODES = station_nodes(Floor().plc.nodes, STATION)


@pytest.mark.parametrize(
    ("service", "answers"),
    [
        ("read", lambda found: found[:-1]),
        ("read", lambda found: [*found, *found]),
        ("read", lambda _found: []),
        ("write", lambda found: found[:-1]),
    ],
    ids=["one value short", "twice as many", "none", "one result short"],
)
async def test_an_answer_for_other_than_the_nodes_asked_for_ends_that_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str, answers: Callable[[list[Any]], list[Any]]
) -> None:
    honest = getattr(InternalSession, service)

    async def lying(self: InternalSession, *given: Any, **named: Any) -> list[Any]:
        return answers(await honest(self, *given, **named))

    values = {NODES.command_id: "c", NODES.command_part_id: "p"}
    async with Floor() as floor:
        session = await OpcUaSession.open(floor.plc, plant_dir=tmp_path, name="test", writable=writable_nodes(NODES))
        await session.write(values)
        monkeypatch.setattr(InternalSession, service, lying)
        with pytest.raises(PlcAway, match=r"it answered for \d nodes, expected 2"):
            await (session.read(list(values)) if service == "read" else session.write(values))
        assert session.lost
        monkeypatch.undo()
        await session.close()


async def test_an_answer_that_the_client_library_cannot_read_ends_that_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Floor() as floor:
        session = await OpcUaSession.open(floor.plc, plant_dir=tmp_path, name="test")

        async def cut_short(*_given: Any) -> list[Any]:
            raise IndexError("index out of range")  # as asyncua says where a value ends before its time

        monkeypatch.setattr(session._client.uaclient, "read_attributes", cut_short)
        with pytest.raises(PlcAway, match="index out of range"):
            await session.read([NODES.plc_heartbeat])
        assert session.lost
        await session.close()


async def test_a_text_that_is_no_utf_8_can_be_carried_on_and_goes_back_as_the_plc_said_it(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    latin_1 = b"Geh\xe4use".decode("utf-8", "surrogateescape")  # as asyncua's server sends and shows the single byte
    async with Floor() as floor:
        session = await OpcUaSession.open(
            floor.plc, plant_dir=tmp_path, name="test", writable=writable_nodes(NODES),
            foreign_text=lambda node, shown: told.append((node, shown)),
        )  # fmt: skip
        await floor.set("line_cause", latin_1)
        await floor.arrive(latin_1)
        await floor.arrive("Gehäuse")
        for _ in range(2):
            assert await session.read([NODES.line_cause]) == ["Geh\\xe4use"]
            (part_ids,) = await session.read([NODES.arrival_part_ids])
            assert part_ids[-2:] == ["Geh\\xe4use", "Gehäuse"]
        assert told == [(NODES.line_cause, "Geh\\xe4use"), (NODES.arrival_part_ids, "Geh\\xe4use")], "once each"
        await session.write({NODES.command_part_id: "Geh\\xe4use"})
        assert floor.value("command_part_id") == latin_1
        await session.close()
