"""How nodes of a PLC are named in a plant file."""

from __future__ import annotations

import re
from collections.abc import Iterator

from schemas.plant_yaml import Finding, Place

_NODE = re.compile(r"s=.+|i=\d+|g=[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|b=[A-Za-z0-9+/]+=*")
"""An OPC UA identifier (OPC 10000-6, 5.3.1.10): string, number, GUID, opaque."""

_ABSENT = ("none", "nothing", "n/a", "nil", "-")


def node_findings(identifier: str, place: Place) -> Iterator[Finding]:
    """Why `identifier` names no node of a PLC."""
    if identifier.startswith(("ns=", "nsu=")):
        alone = identifier.partition(";")[2] or "s=Station.Value"
        yield place, f"`{alone}` alone: the PLC's key `namespace` holds the namespace, by its URI", None
    elif "{" in identifier.replace("{station}", ""):
        yield place, "`{station}` alone in braces: nothing else is put in", None
    elif not _NODE.fullmatch(identifier):
        absent = ", or `null` where the PLC has none" if identifier.lower() in _ABSENT else ""
        yield place, f"an OPC UA identifier such as s=Station.Value or i=1001{absent}, not `{identifier}`", None
