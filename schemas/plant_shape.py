"""Whether plain data has the shape of a plant: every key known, every needed key there, every value of its kind.

Says everything that is wrong at once, in the words of the person who wrote the file; `msgspec` would say the first, in its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import inspect as types

from schemas.plant_yaml import Finding, Place

MAX_LISTED = 12
_SCALARS: dict[type[types.Type], tuple[Any, str]] = {
    types.IntType: (int, "a whole number"),
    types.FloatType: (float, "a number"),
    types.BoolType: (bool, "true or false"),
    types.StrType: (str, "text"),
    types.NoneType: (None, "null"),
}


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return close[0] if close else None


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
                yield place, f"a list, not {_told(data)}", None
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
            guess = nearest(key, known)
            meant.add(guess or "")
            yield (*place, key), f"a known key: {_listed(known)}", guess
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
        guess = nearest(data, choices) if isinstance(data, str) else None
        yield place, f"one of {_listed(choices)}, not {_told(data)}", guess


def _scalar(data: Any, expected: types.Type, place: Place) -> Iterator[Finding]:
    kind, words = _SCALARS[type(expected)]
    try:
        # not strict: a number from the environment comes as text
        msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError:
        hint = "; put it in quotes" if kind is str and isinstance(data, int | float) else ""
        hint = "; a value that begins with `{` must stand in quotes" if kind is str and isinstance(data, dict) else hint
        yield place, f"{words}, not {_told(data)}{hint}", None


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
