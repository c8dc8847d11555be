"""Which of a PLC's variables are the ones that a station needs: a proposal of `nodes` for the plant file.

What the plant file names already is looked up as it stands there. Of the others, a variable whose identifier is the default one is
it. Else one whose name is the default's, in the same group (`Arrivals`, `Mailbox`, ...) and, where there are several, under the
station's name. What stays ambiguous is not guessed but listed, and so is what may be another station's: it lies under one's name, or
not under this station's where others of its variables do.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from gateways.node_types import NODE_TYPES
from gateways.opcua_session import Variable
from gateways.station_nodes import station_nodes, writable_nodes
from schemas.plant import PlcNodes

MOST_CANDIDATES = 3
_DEFAULTS = PlcNodes()
_WRITTEN = {key for key in NODE_TYPES if getattr(_DEFAULTS, key) in writable_nodes(_DEFAULTS)}
_SEPARATORS = re.compile(r"[^0-9a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A key of `nodes` and its variable; `candidates` are near ones, where none is certain. `default` needs no line in the plant file.

    `null`: the plant file says that the PLC does not have it.
    """

    key: str
    default: bool
    variable: Variable | None
    candidates: tuple[Variable, ...] = ()
    null: bool = False

    @property
    def missing(self) -> bool:
        """Whether a station needs it and the PLC does not have it."""
        return self.variable is None and not self.null

    @property
    def fault(self) -> str:
        """Why the variable does not serve a station; "" where it does, or where there is none."""
        if self.variable is None:
            return ""
        expected = NODE_TYPES[self.key]
        wrong = f"{self.variable.data_type}, expected {expected}" if self.variable.data_type != expected else ""
        closed = "not writable for us" if self.key in _WRITTEN and not self.variable.writable else ""
        return ", ".join(each for each in (wrong, closed) if each)


def propose(
    variables: Sequence[Variable], *, station: str, others: Collection[str] = (), nodes: PlcNodes = _DEFAULTS
) -> list[Mapped]:
    """One entry per key of `nodes`, in its order. `others` are the plant's other stations, `nodes` what the plant file has."""
    words = {variable.identifier: _words(variable) for variable in variables}
    defaults, named = station_nodes(_DEFAULTS, station), station_nodes(nodes, station)
    own = {
        identifier
        for identifier, each in words.items()
        if _names(station, each) and not _of_longer(station, others, each)
    }
    foreign = {identifier for identifier, each in words.items() if any(_names(other, each) for other in others)} - own
    certain = own or words.keys() - foreign
    return [
        _given(key, getattr(named, key), variables, default=getattr(defaults, key))
        or _mapped(key, getattr(defaults, key), variables, words, station=station, certain=certain)
        for key in PlcNodes.__struct_fields__
    ]


def as_yaml(mapped: Sequence[Mapped], *, station: str) -> str:
    """`nodes:` to paste under the PLC; the station's name is replaced by `{station}`, so that it serves all of its stations."""
    differs = any(item.variable is not None and not item.default for item in mapped)
    missing = sum(item.missing for item in mapped)
    lines = ["nodes:" if differs or any(item.null for item in mapped) else "nodes: {}  # " + _no_lines(missing)]
    for item in mapped:
        if item.null:
            lines.append(f"  {item.key}: null")
        elif item.variable is not None:
            identifier = item.variable.identifier.replace(station, "{station}").replace("'", "''")
            mark = "# " if item.default else ""
            told = f"{item.fault or item.variable.data_type}{', the default' if item.default else ''}"
            lines.append(f"  {mark}{item.key}: '{identifier}'  # {told}")
        else:
            near = ", ".join(candidate.identifier for candidate in item.candidates)
            lines.append(f"  # {item.key}: not found{'; near: ' + near if near else ''}")
    return "\n".join(lines)


def _no_lines(missing: int) -> str:
    return f"not found: {missing}, see below" if missing else "nothing differs from the defaults"


def _given(key: str, identifier: str | None, variables: Sequence[Variable], *, default: str) -> Mapped | None:
    """The variable with that identifier, as the plant file or the default has it; None where it is not there."""
    if identifier is None:
        return Mapped(key=key, default=False, variable=None, null=True)
    found = next((variable for variable in variables if variable.identifier == identifier), None)
    return None if found is None else Mapped(key=key, default=identifier == default, variable=found)


def _mapped(
    key: str,
    default: str,
    variables: Sequence[Variable],
    words: dict[str, list[str]],
    *,
    station: str,
    certain: Collection[str],
) -> Mapped:
    if exact := _given(key, default, variables, default=default):
        return exact
    *group, name = _split(default.partition("=")[2].removeprefix(station))
    fitting = [
        variable
        for variable in variables
        if words[variable.identifier][-1] == name and all(part in words[variable.identifier] for part in group)
    ]
    chosen = [variable for variable in fitting if variable.identifier in certain]
    if len(chosen) == 1:
        return Mapped(key=key, default=False, variable=chosen[0])
    fitting = chosen or fitting
    last = {variable.identifier: words[variable.identifier][-1] for variable in variables}
    near = fitting or [
        variable
        for close in get_close_matches(name, set(last.values()), n=MOST_CANDIDATES)
        for variable in variables
        if last[variable.identifier] == close
    ]
    return Mapped(key=key, default=False, variable=None, candidates=tuple(near[:MOST_CANDIDATES]))


def _names(station: str, words: Collection[str]) -> bool:
    """`aoi-1`, `AOI_1` and `Aoi1` are one name."""
    return set(_split(station)) <= set(words) or _joined(station) in words


def _of_longer(station: str, others: Collection[str], words: Collection[str]) -> bool:
    """Whether the words name another station, whose name only holds this one's (`aoi` and `aoi-2`)."""
    return any(set(_split(station)) < set(_split(other)) and _names(other, words) for other in others)


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
