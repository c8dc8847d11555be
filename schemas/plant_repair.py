"""A plant's data as it was probably meant, so that what else is wrong with it can be told at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.plant_shape import UNKNOWN_KEY
from schemas.plant_yaml import Finding, Place


def repaired(data: Any, findings: Iterable[Finding]) -> Any:
    """`data` without the values that `findings` are about, misspelt keys under their right names. Where that does not make a
    plant of it (a needed value is missing), nobody can say more than the findings do."""
    return _repaired(data, {place: _right_name(expected, nearest) for place, expected, nearest in findings}, ())


def _right_name(expected: str, nearest: str | None) -> str | None:
    return nearest if expected.startswith(UNKNOWN_KEY) else None


def _repaired(data: Any, wrong: dict[Place, str | None], place: Place) -> Any:
    match data:
        case dict():
            names = {key: wrong.get((*place, key), key) for key in data}
            return {
                name: _repaired(data[key], wrong, (*place, key))
                for key, name in names.items()
                if name is not None and (name == key or name not in data)
            }
        case list():
            return [_repaired(value, wrong, (*place, index)) for index, value in enumerate(data)]
    return data
