"""What type each node of a station has (docs/connect-a-station.md, section 4): what `linesight plc browse` holds a PLC against."""

from __future__ import annotations

NODE_TYPES: dict[str, str] = {
    "plc_heartbeat": "UInt32",
    "gateway_heartbeat": "UInt32",
    "session": "String",
    "trigger_count": "UInt32",
    "arrival_trigger_counts": "UInt32[]",
    "arrival_part_ids": "String[]",
    "arrival_visits": "UInt16[]",
    "arrival_recipes": "String[]",
    "arrival_batches": "String[]",
    "arrival_times_ns": "Int64[]",
    "departure_count": "UInt32",
    "departure_counts": "UInt32[]",
    "departure_part_ids": "String[]",
    "departure_visits": "UInt16[]",
    "departure_lanes": "String[]",
    "departure_by_fail_safe": "Boolean[]",
    "departure_reject_confirmed": "Boolean[]",
    "departure_times_ns": "Int64[]",
    "line_mode": "String",
    "line_cause": "String",
    "recipe": "String",
    "next_recipe": "String",
    "trigger_ready": "Boolean",
    "ready_recipe": "String",
    "trigger_seen": "UInt32",
    "error_code": "UInt16",
    "error_text": "String",
    "reset_count": "UInt32",
    "writes_allowed": "Boolean",
    "command_id": "String",
    "command_kind": "String",
    "command_part_id": "String",
    "command_visit": "UInt16",
    "command_verdict": "String",
    "command_action": "String",
    "command_reason": "String",
    "command_defect_class": "String",
    "command_defect_view": "String",
    "command_defect_x_px": "Double",
    "command_defect_y_px": "Double",
    "command_parameter": "String",
    "command_value": "Double",
    "command_valid_until_ns": "Int64",
    "command_sequence": "UInt32",
    "ack_sequence": "UInt32",
    "ack_command_id": "String",
    "ack_result": "Int16",
    "ack_time_ns": "Int64",
}
"""By key of `nodes`: the built-in OPC UA type, `[]` for an array (the simulated PLC serves these)."""

_BITS = {
    "SByte": 8, "Byte": 8, "Int16": 16, "UInt16": 16, "Int32": 32, "UInt32": 32, "Int64": 64, "UInt64": 64, "Float": 24, "Double": 53,
}  # fmt: skip
"""How large a whole number is that the type holds exactly."""
_FRACTIONS = frozenset({"Float", "Double"})


def is_of_kind(found: str, expected: str) -> bool:
    """Whether values of the type `found` can be what `expected` holds: text, switch or number.

    Other types are not judged, nor is what stands in place of one text: a session or a cause may be a number.
    """
    return expected == "String" or _kind(found) in (_kind(expected), "")


def can_take(found: str, expected: str) -> bool:
    """Whether a node of the type `found` takes what is written to one of the type `expected`."""
    found, expected = found.removesuffix("[]"), expected.removesuffix("[]")
    if _kind(expected) != "number":
        return found == expected
    if expected in _FRACTIONS:
        return found in _FRACTIONS
    # a code or a visit fits into a Byte, though not for ever; a count does not fit into an Int16
    return _BITS.get(found, 0) >= (_BITS["Byte"] if expected == "UInt16" else _BITS[expected])


def _kind(data_type: str) -> str:
    name = data_type.removesuffix("[]")
    if name in _BITS:
        return "number"
    return {"String": "text", "Boolean": "switch"}.get(name, "")
