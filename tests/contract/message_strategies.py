"""Hypothesis strategies for every message, made from its type: what the type allows is what is tried."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec import inspect as types

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
FINITE = st.floats(allow_nan=False)


def any_message(message_type: type) -> st.SearchStrategy[Any]:
    """Instances of a message type, optional fields present or not."""
    return _strategy(types.type_info(message_type))


def _strategy(info: types.Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one return per kind of type
    simple = {types.StrType: st.text(max_size=20), types.IntType: INT64, types.FloatType: FINITE,
              types.BoolType: st.booleans(), types.NoneType: st.none(), types.BytesType: st.binary(max_size=20)}  # fmt: skip
    if type(info) in simple:
        return simple[type(info)]
    match info:
        case types.EnumType():
            return st.sampled_from(info.cls)
        case types.UnionType():
            return st.one_of([_strategy(item) for item in info.types])
        case types.TupleType():
            return st.tuples(*[_strategy(item) for item in info.item_types])
        case types.VarTupleType():
            return st.lists(_strategy(info.item_type), max_size=3).map(tuple)
        case types.DictType():
            return st.dictionaries(_strategy(info.key_type), _strategy(info.value_type), max_size=3)
        case types.StructType():
            required = {field.name: _strategy(field.type) for field in info.fields if field.required}
            optional = {field.name: _strategy(field.type) for field in info.fields if not field.required}
            return st.fixed_dictionaries(required, optional=optional).map(lambda fields: info.cls(**fields))
        case _:
            raise TypeError(f"messages have no {info}; teach this file about it")
