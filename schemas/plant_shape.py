"""Whether plain data has the shape of a plant: every key known, every needed key there, every value of its kind.

Says everything that is wrong at once, in the words of the person who wrote the file; `msgspec` would say the first, in its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import inspect as types

from schemas.key_places import generic, places_of
from schemas.plant_yaml import Finding, Place

MAX_LISTED = 14
MEANT_IN_SECONDS = 1000
ALSO_CALLED = {"gige": "genicam", "usb3": "genicam", "aravis": "genicam", "ok": "pass", "nok": "reject"}
"""Words of the field for values of ours."""
UNKNOWN_KEY = "a known key: "
"""How findings about keys that nobody knows begin."""
ALIKE, NEARLY_THE_SAME = 0.4, 0.85
"""Ratios of difflib. A key that has a place elsewhere is a misspelt one only where it is nearly the same."""
_SCALARS: dict[type[types.Type], tuple[Any, str]] = {
    types.IntType: (int, "a whole number"),
    types.FloatType: (float, "a number"),
    types.BoolType: (bool, "true or false"),
    types.StrType: (str, "text"),
    types.NoneType: (None, "null"),
}
_NUMBER_HINTS = {
    "ms": "; the number of milliseconds alone",
    "px": "; the number of pixels alone",
    "bytes": "; the number of bytes alone",
    "days": "; the number of days alone",
    "ratio": "; a share as 0.05, which is 5 %",
    "deg": "; the number of degrees alone",
}
"""By the end of a key's name: its unit, which is not to stand in the value, too."""


def nearest(word: str, known: Iterable[str], *, alike: float = ALIKE) -> str | None:
    """The known word that was most likely meant."""
    by_lower_case = {each.lower(): each for each in known}
    close = difflib.get_close_matches(word.lower(), list(by_lower_case), n=1, cutoff=alike)
    return by_lower_case[close[0]] if close else None


def shape_findings(data: Any, expected: types.Type, place: Place = ()) -> Iterator[Finding]:
    """What keeps `data` from being converted to `expected`."""
    match expected:
        case types.Metadata():
            yield from shape_findings(data, expected.type, place)
        case types.UnionType():
            yield from _union(data, expected, place)
        case types.StructType():
            yield from _struct(data, expected, place)
        case types.VarTupleType():
            if not isinstance(data, list):
                begins = "; each item after `- `, or all in `[ ]`" if isinstance(data, dict | str) else ""
                yield place, f"a list, not {_told(data)}{begins}", None
                return
            for index, item in enumerate(data):
                yield from shape_findings(item, expected.item_type, (*place, index))
        case types.EnumType() | types.LiteralType():
            yield from _choice(data, _choices(expected), place)
        case _ if type(expected) in _SCALARS:
            yield from _scalar(data, expected, place)


def _struct(data: Any, expected: types.StructType, place: Place) -> Iterator[Finding]:
    if not isinstance(data, dict):
        yield place, f"keys and values ({_listed(_keys(expected))}), not {_told(data)}", None
        return
    known = _keys(expected)
    meant: set[str] = set()
    for key in data:
        if key not in known:
            homes = places_of(key)
            guess = nearest(key, known, alike=NEARLY_THE_SAME if homes else ALIKE)
            meant.add(guess or "")
            of_another_kind = generic(place) in homes
            belongs = f"another `{expected.tag_field}`" if of_another_kind else _listed(homes)
            there = f"; `{key}` belongs to {belongs}" if homes and not guess else ""
            yield (*place, key), f"{UNKNOWN_KEY}{_listed(known)}{there}", guess
    for field in expected.fields:
        if field.encode_name in data:
            yield from shape_findings(data[field.encode_name], field.type, (*place, field.encode_name))
        elif field.required and field.encode_name not in meant:
            yield place, f"the key `{field.encode_name}` ({_words(field.type)})", None


def _union(data: Any, expected: types.UnionType, place: Place) -> Iterator[Finding]:
    if data is None and any(isinstance(item, types.NoneType) for item in expected.types):
        return
    some = [item for item in expected.types if not isinstance(item, types.NoneType)]
    structs = [item for item in some if isinstance(item, types.StructType)]
    if len(structs) < len(some):
        yield from _or_null(data, some[0], place)
        return
    if len(structs) == 1:
        yield from _struct(data, structs[0], place)
        return
    tag_field, tags = structs[0].tag_field or "type", {str(item.tag): item for item in structs}
    if not isinstance(data, dict):
        yield place, f"keys and values with `{tag_field}` one of {_listed(tags)}, not {_told(data)}", None
    elif tag_field not in data:
        yield place, f"the key `{tag_field}`: one of {_listed(tags)}", None
    elif str(data[tag_field]) not in tags:
        yield from _choice(data[tag_field], list(tags), (*place, tag_field))
    else:
        yield from _struct(data, tags[str(data[tag_field])], place)


def _or_null(data: Any, expected: types.Type, place: Place) -> Iterator[Finding]:
    for where, text, guess in shape_findings(data, expected, place):
        if where == place and ", not " in text:
            text = text.replace(", not ", " or null, not ", 1)  # noqa: PLW2901 - the same finding, one word wider
        yield where, text, guess


def _choice(data: Any, choices: list[str], place: Place) -> Iterator[Finding]:
    if data not in choices:
        guess = nearest(ALSO_CALLED.get(data.lower(), data), choices) if isinstance(data, str) else None
        yield place, f"one of {_listed(choices)}, not {_told(data)}", guess


def _scalar(data: Any, expected: types.Type, place: Place) -> Iterator[Finding]:
    kind, words = _SCALARS[type(expected)]
    try:
        # not strict: a number from the environment comes as text
        msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError:
        yield place, f"{words}, not {_told(data)}{_hint(kind, data, place)}", None


def _hint(kind: Any, data: Any, place: Place) -> str:
    """How to mend a value of another kind, where that can be told."""
    if kind is str:
        return _hint_for_text(data, place)
    key = next((step for step in reversed(place) if isinstance(step, str)), "")
    if kind is int and isinstance(data, float) and key.endswith("_ms") and data < MEANT_IN_SECONDS:
        return f"; {data:g} s are {data * 1000:g} ms"
    if kind in (int, float) and isinstance(data, str) and data[:1].isdigit():
        return _NUMBER_HINTS.get(key.rpartition("_")[2], "; the number alone, with a decimal point where it has one")
    return ""


def _hint_for_text(data: Any, place: Place) -> str:
    match data:
        case int() | float() if place[-1:] == ("namespace",):
            return "; its URI, as the server's NamespaceArray has it: the index may change at each start of the server"
        case int() | float():
            return "; put it in quotes"
        case dict():
            return "; a value that begins with `{` must stand in quotes"
        case [_]:
            return "; one text, without `[ ]`"
    return ""


def _keys(expected: types.StructType) -> list[str]:
    tag = [expected.tag_field] if expected.tag_field else []
    return tag + [field.encode_name for field in expected.fields]


def _choices(expected: types.EnumType | types.LiteralType) -> list[str]:
    if isinstance(expected, types.LiteralType):
        return [str(value) for value in expected.values]
    return [str(member.value) for member in expected.cls]


def _words(expected: types.Type) -> str:
    match expected:
        case types.UnionType():
            return " or ".join(dict.fromkeys(_words(item) for item in expected.types))
        case types.VarTupleType():
            return "a list"
        case types.EnumType() | types.LiteralType():
            return f"one of {_listed(_choices(expected))}"
        case types.StructType():
            return "keys and values"
    return _SCALARS[type(expected)][1] if type(expected) in _SCALARS else "a value"


def _told(data: Any) -> str:
    match data:
        case None:
            return "nothing"
        case bool():
            return f"`{str(data).lower()}`"
        case list():
            return "a list"
        case dict():
            return "keys and values"
        case str():
            return f"the text `{data[:60]}`"
    return f"the number {data}"


def _listed(words: Iterable[str]) -> str:
    listed = [f"`{word}`" for word in words]
    more = f" and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else ""
    return ", ".join(listed[:MAX_LISTED]) + more
