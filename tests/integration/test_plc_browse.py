"""`linesight plc browse` against real OPC UA servers: ours, and one that lays its nodes out in its own way."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import msgspec
from asyncua import Server, ua
from plant_floor import STATION, Floor

from gateways.node_map import as_yaml, propose
from gateways.opcua_session import OpcUaSession
from gateways.station_nodes import station_nodes
from ops.local.places import CHECKOUT
from ops.local.ports import free_ports
from schemas.plant import Plc, PlcNodes


async def browse(folder: Path, port: int, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command, on the demo plant with its PLC unencrypted at `port`."""
    plant = folder / "plant.yaml"
    endpoint = "127.0.0.1:${LINESIGHT_SIM_PLC_PORT:-4840}/"
    text = (CHECKOUT / "plants" / "demo.yaml").read_text()
    plant.write_text(text.replace(endpoint, f"127.0.0.1:{port}/\n    security: none"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "plc", "browse", "--plant", str(plant), *arguments, cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


def port_of(plc: Plc) -> int:
    return int(plc.endpoint.rstrip("/").rpartition(":")[2])


async def test_every_node_of_the_simulated_plc_is_found_and_nothing_is_left_behind(tmp_path: Path) -> None:
    async with Floor() as floor:
        code, out, err = await browse(tmp_path, port_of(floor.plc), "--json")
        assert (code, err) == (0, "")
        answer = json.loads(out)
        defaults = station_nodes(PlcNodes(), STATION)
        assert answer["nodes"] == {key: getattr(defaults, key) for key in PlcNodes.__struct_fields__}
        types = {each["identifier"]: each["data_type"] for each in answer["variables"]}
        assert types[defaults.arrival_part_ids] == "String[]"
        assert types[defaults.command_sequence] == "UInt32"
        assert floor.sessions == 0


async def test_a_plc_with_a_layout_of_its_own_gives_a_map_that_the_plant_file_takes(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    index = await server.register_namespace("urn:linesight:station")
    for name in (STATION, "aoi-2"):
        block = await server.nodes.objects.add_object(ua.NodeId(f'"DB_{name}"', index), f"DB_{name}")
        groups: dict[str, object] = {}
        for key in PlcNodes.__struct_fields__:
            *way, last = getattr(PlcNodes(), key).partition("=")[2].split(".")[1:]
            parent = block
            if way:
                if way[0] not in groups:
                    groups[way[0]] = await block.add_object(ua.NodeId(f'"DB_{name}"."{way[0]}"', index), way[0])
                parent = groups[way[0]]
            dotted = ".".join(f'"{word}"' for word in (f"DB_{name}", *way, last))
            await parent.add_variable(ua.NodeId(dotted, index), last, "")
    async with server:
        plc = Plc(name="plc-1", endpoint=f"opc.tcp://127.0.0.1:{port}/", security="none")
        session = await OpcUaSession.open(plc, plant_dir=tmp_path, name="test")
        mapped = propose(await session.variables(), station=STATION)
        await session.close()
    text = as_yaml(mapped, station=STATION)
    nodes = msgspec.yaml.decode(text, type=dict[str, PlcNodes])["nodes"]
    for key in PlcNodes.__struct_fields__:
        words = getattr(PlcNodes(), key).partition("=")[2].split(".")[1:]
        dotted = ".".join(f'"{word}"' for word in (f"DB_{STATION}", *words))
        assert getattr(station_nodes(nodes, STATION), key) == f"s={dotted}"


async def test_what_a_station_needs_and_the_plc_has_not_is_named(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    index = await server.register_namespace("urn:linesight:station")
    await server.nodes.objects.add_variable(ua.NodeId(f"{STATION}.Session", index), "Session", "s")
    await server.nodes.objects.add_variable(ua.NodeId(f"{STATION}.Line.Mode", index), "Mode", 1, ua.VariantType.Int32)
    batches = ua.NodeId(f"{STATION}.Arrivals.Batches", index)
    await server.nodes.objects.add_variable(batches, "Batches", ["b"])
    await server.nodes.objects.add_variable(ua.NodeId(f"{STATION}.Mailbox.Kind", index), "Kind", "")
    async with server:
        code, out, err = await browse(tmp_path, port)
    assert code == 1
    assert "# session: 's={station}.Session'  # String, the default" in out
    assert f"{len(PlcNodes.__struct_fields__) - 4} of {len(PlcNodes.__struct_fields__)} nodes were not found" in err
    assert "; line_mode is Int32, expected String; command_kind is not writable for us" in err
    assert "# arrival_batches: 's={station}.Arrivals.Batches'  # String[], the default" in out
    code, _, err = await browse(tmp_path, port)
    assert code == 3
    assert f"127.0.0.1:{port}" in err
    code, _, err = await browse(tmp_path, port, "--station", "nowhere")
    assert (code, "expected one of aoi-1" in err) == (2, True)
