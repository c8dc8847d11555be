"""Which of a PLC's variables are the ones that a station needs: a proposal of `nodes` for the plant file.

A variable whose identifier is the default one is it. Else one whose name is the default's, in the same group (`Arrivals`,
`Mailbox`, ...) and, where there are several, under the station's name. What stays ambiguous is not guessed but listed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from gateways.opcua_session import Variable
from gateways.station_nodes import station_nodes
from schemas.plant import PlcNodes

MOST_CANDIDATES = 3
_SEPARATORS = re.compile(r"[^0-9a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A key of `nodes` and its variable; `candidates` are near ones, where none is certain. `default` needs no line in the plant file."""

    key: str
    default: bool
    variable: Variable | None
    candidates: tuple[Variable, ...] = ()


def propose(variables: Sequence[Variable], *, station: str) -> list[Mapped]:
    """One entry per key of `nodes`, in its order."""
    words = {variable.identifier: _words(variable) for variable in variables}
    defaults = station_nodes(PlcNodes(), station)
    return [
        _mapped(key, getattr(defaults, key), variables, words, station=station) for key in PlcNodes.__struct_fields__
    ]


def as_yaml(mapped: Sequence[Mapped], *, station: str) -> str:
    """`nodes:` to paste under the PLC; the station's name is replaced by `{station}`, so that it serves all of its stations."""
    differs = any(item.variable is not None and not item.default for item in mapped)
    lines = ["nodes:" if differs else "nodes: {}  # nothing found that differs from the defaults"]
    for item in mapped:
        if item.variable is not None:
            identifier = item.variable.identifier.replace(station, "{station}").replace("'", "''")
            mark = "# " if item.default else ""
            told = f"{item.variable.data_type}{', the default' if item.default else ''}"
            lines.append(f"  {mark}{item.key}: '{identifier}'  # {told}")
        else:
            near = ", ".join(candidate.identifier for candidate in item.candidates)
            lines.append(f"  # {item.key}: not found{'; near: ' + near if near else ''}")
    return "\n".join(lines)


def _mapped(
    key: str, default: str, variables: Sequence[Variable], words: dict[str, list[str]], *, station: str
) -> Mapped:
    exact = next((variable for variable in variables if variable.identifier == default), None)
    if exact is not None:
        return Mapped(key=key, default=True, variable=exact)
    *group, name = _split(default.partition("=")[2].removeprefix(station))
    fitting = [
        variable
        for variable in variables
        if words[variable.identifier][-1] == name and all(part in words[variable.identifier] for part in group)
    ]
    if len(fitting) > 1:
        of_station = [variable for variable in fitting if set(_split(station)) <= set(words[variable.identifier])]
        fitting = of_station or fitting
    if len(fitting) == 1:
        return Mapped(key=key, default=False, variable=fitting[0])
    last = {variable.identifier: words[variable.identifier][-1] for variable in variables}
    near = fitting or [
        variable
        for close in get_close_matches(name, set(last.values()), n=MOST_CANDIDATES)
        for variable in variables
        if last[variable.identifier] == close
    ]
    return Mapped(key=key, default=False, variable=None, candidates=tuple(near[:MOST_CANDIDATES]))


def _words(variable: Variable) -> list[str]:
    """Words of the way to it and of its identifier; its own name last."""
    return [
        *_split(variable.identifier.partition("=")[2]),
        *_split(" ".join(variable.path[:-1])),
        _joined(variable.path[-1]),
    ]


def _split(text: str) -> list[str]:
    return [word for word in _SEPARATORS.split(text.lower()) if word]


def _joined(text: str) -> str:
    """`Part_Ids`, `partIds` and `PartIds` are one name."""
    return "".join(_split(text))
