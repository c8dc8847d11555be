"""Test cells that are not ours: `node_opcua/cell.js` as a process, and the plant file that an engineer writes for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.peers.answering_process import AnsweringProcess
from benchmarks.peers.node_opcua_install import environment

PROGRAM = Path(__file__).with_name("node_opcua") / "cell.js"
CELL, OTHER, OBSERVED = "cell-1", "cell-2", "cell-3"
"""The last is observed, through a PLC of the plant file with the same address."""

_NODES = {
    "plc_heartbeat": "Life.Plc", "gateway_heartbeat": "Life.Vision", "session": "Run", "line_mode": "Mode", "line_cause": "Reason",
    "recipe": "Product", "next_recipe": "Coming", "writes_allowed": "Enable", "reset_count": "Quit",
    "trigger_count": "In.Last", "arrival_trigger_counts": "In.Nr", "arrival_part_ids": "In.Serial", "arrival_visits": "In.Pass",
    "arrival_recipes": "In.Product", "arrival_batches": "In.Lot", "arrival_times_ns": "In.Clock",
    "departure_count": "Out.Last", "departure_counts": "Out.Nr", "departure_part_ids": "Out.Serial", "departure_visits": "Out.Pass",
    "departure_lanes": "Out.Lane", "departure_by_fail_safe": "Out.Safe", "departure_reject_confirmed": "Out.Checked",
    "departure_times_ns": "Out.Clock",
    "trigger_ready": "Vision.Ready", "ready_recipe": "Vision.Product", "trigger_seen": "Vision.Seen", "error_code": "Vision.Fault",
    "error_text": "Vision.Text",
    "command_id": "Order.Id", "command_kind": "Order.Kind", "command_part_id": "Order.Serial", "command_visit": "Order.Pass",
    "command_verdict": "Order.Result", "command_action": "Order.Do", "command_reason": "Order.Why", "command_defect_class": "Order.Class",
    "command_defect_view": "Order.View", "command_defect_x_px": "Order.X", "command_defect_y_px": "Order.Y",
    "command_parameter": "Order.What", "command_value": "Order.Value", "command_valid_until_ns": "Order.Until",
    "command_sequence": "Order.Nr",
    "ack_sequence": "Answer.Nr", "ack_command_id": "Answer.Id", "ack_result": "Answer.Code", "ack_time_ns": "Answer.Clock",
}  # fmt: skip
_STATION = """
      - name: {cell}
        plc: {plc}
        gate_after_ms: 60000
        cameras: [{{ name: {cell}-camera, views: [top], source: {{ type: external }} }}]
        interlocks:
          speed: {{ node: 's="DB_{{station}}".Drive.Speed', low: 10, high: 60, max_step: 15, max_change_per_s: 1000 }}
          parameters:
            - {{ name: lamp, node: 's="DB_{{station}}".Lamp.Level', low: 0, high: 100, max_change_per_s: 0.01, modes: [running] }}
          dry_run: [reject]"""
_PLC = """
  - name: {name}
    endpoint: opc.tcp://127.0.0.1:{port}
    namespace: urn:works:cells
    security: none
    observe: {observe}
    heartbeat_ms: 200
    nodes:{nodes}"""
_PLANT = """
plant: {name}
lines:
  - name: line-1
    stations:{stations}
plcs:{plcs}
recipes:
  - &board
    name: board
    revision: 1
    views: [{{ name: top }}]
    inspection: {{ type: classifier, model: {{ name: boards, version: 1 }} }}
    classes: [{{ name: open, minimum_score: 0.5 }}]
    deadline_ms: 1000
    fail_safe: reject
  - {{ <<: *board, revision: 2 }}
alerts:
  - {{ name: wrong-lane, type: wrong_lane, severity: critical, action: stop_line }}
"""


def plant_text(name: str, *, port: int) -> str:
    """The plant file of the three cells."""
    nodes = "".join(f"\n      {key}: 's=\"DB_{{station}}\".{own}'" for key, own in _NODES.items())
    stations = [(CELL, "plc-1"), (OTHER, "plc-1"), (OBSERVED, "plc-2")]
    plcs = [("plc-1", "false"), ("plc-2", "true")]
    return _PLANT.format(
        name=name,
        stations="".join(_STATION.format(cell=cell, plc=plc) for cell, plc in stations),
        plcs="".join(_PLC.format(name=plc, port=port, observe=observe, nodes=nodes) for plc, observe in plcs),
    )


class NodeOpcuaCells(AnsweringProcess):
    """The server with its cells; `folder` is for what node-opcua keeps. node-opcua has to be installed."""

    def __init__(self, *, port: int, folder: Path) -> None:
        given = {"port": port, "cells": [CELL, OTHER, OBSERVED], "folder": str(folder)}
        super().__init__(["node", str(PROGRAM), json.dumps(given)], environment=environment())

    async def shows(self, *names: str, cell: str = CELL) -> list[Any]:
        """What stands in variables of the cell's data block; of `Int64` as text."""
        found: list[Any] = await self.ask("shows", cell=cell, names=names)
        return found

    async def panel(self, cell: str = CELL, **values: Any) -> None:
        """The operator's panel: `Product="board@2"`."""
        await self.ask("panel", cell=cell, set=values)
