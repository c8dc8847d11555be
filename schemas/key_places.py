"""Where in a plant file each key belongs: for whoever wrote it in another place."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from msgspec import inspect as types

from schemas.plant import Plant
from schemas.plant_yaml import Place

MAX_PLACES = 3
_REPEATED, _FIRST = "recipes[].views[].inspection", "recipes[].inspection"
"""A view may have an inspection of its own, with the keys of its recipe's: these are told once."""


def places_of(key: str) -> list[str]:
    """The places that have `key`, as `lines[].stations[]`; the top of the file is `plant file`. Empty for keys of more than a few."""
    found = _places().get(key, [])
    return found if len(found) <= MAX_PLACES else []


def generic(place: Place) -> str:
    """`place` in the same words: `lines[0].stations[1]` is `lines[].stations[]`."""
    words = "".join("[]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")
    return words.replace(_REPEATED, _FIRST) or "plant file"


@functools.cache
def _places() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, place in _keys(types.type_info(Plant), ""):
        places = found.setdefault(key, [])
        if place not in places and not place.startswith(_REPEATED):
            places.append(place)
    return found


def _keys(expected: types.Type, place: str) -> Iterator[tuple[str, str]]:
    match expected:
        case types.Metadata():
            yield from _keys(expected.type, place)
        case types.UnionType():
            for item in expected.types:
                yield from _keys(item, place)
        case types.VarTupleType():
            yield from _keys(expected.item_type, f"{place}[]")
        case types.StructType():
            for field in expected.fields:
                yield field.encode_name, place or "plant file"
                yield from _keys(field.type, f"{place}.{field.encode_name}".removeprefix("."))
