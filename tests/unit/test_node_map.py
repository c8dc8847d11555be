"""A PLC's variables as a node map: what is certain is proposed, what is not is listed."""

from __future__ import annotations

import msgspec
import pytest

from gateways.node_map import as_yaml, propose
from gateways.node_types import NODE_TYPES, can_take, is_of_kind
from gateways.opcua_session import Variable
from gateways.station_nodes import station_nodes
from schemas.plant import PlcNodes


def variable(identifier: str, *path: str, data_type: str = "String", writable: bool = True) -> Variable:
    return Variable(identifier, path, data_type, writable)


def found(variables: list[Variable]) -> dict[str, str | None]:
    mapped = propose(variables, station="aoi-1")
    return {item.key: None if item.variable is None else item.variable.identifier for item in mapped}


def test_the_default_identifiers_are_recognised_whatever_the_way_to_them_is_called() -> None:
    defaults = station_nodes(PlcNodes(), "aoi-1")
    identifiers = {key: getattr(defaults, key) for key in PlcNodes.__struct_fields__}
    variables = [variable(each, "Root", "x") for each in reversed(identifiers.values())]
    assert found(variables) == identifiers
    text = as_yaml(propose(variables, station="aoi-1"), station="aoi-1")
    assert msgspec.yaml.decode(text, type=dict[str, PlcNodes])["nodes"] == PlcNodes()


def test_names_in_another_spelling_are_found_within_their_group() -> None:
    variables = [
        variable('s="DB1"."Arrivals"."Part_Ids"', "PLC", "DB1", "Arrivals", "Part_Ids"),
        variable('s="DB1"."Departures"."Part_Ids"', "PLC", "DB1", "Departures", "Part_Ids"),
        variable("i=5001", "PLC", "Mailbox", "Part Id"),
    ]
    assert {key: value for key, value in found(variables).items() if value is not None} == {
        "arrival_part_ids": 's="DB1"."Arrivals"."Part_Ids"',
        "departure_part_ids": 's="DB1"."Departures"."Part_Ids"',
        "command_part_id": "i=5001",
    }


def test_of_several_stations_the_one_asked_for_is_taken() -> None:
    variables = [variable(f"s=Line.{name}.Recipe", "Line", name, "Recipe") for name in ("AOI_1", "AOI_2")]
    assert found(variables)["recipe"] == "s=Line.AOI_1.Recipe"


def test_what_is_ambiguous_or_only_similar_is_listed_and_not_guessed() -> None:
    variables = [variable(f"s={name}", *name.split(".")) for name in ("A.Session", "B.Session", "C.Mailbox.Sequense")]
    mapped = {item.key: item for item in propose(variables, station="aoi-1")}
    assert mapped["session"].variable is None
    assert [each.identifier for each in mapped["session"].candidates] == ["s=A.Session", "s=B.Session"]
    assert mapped["command_sequence"].variable is None
    assert [each.identifier for each in mapped["command_sequence"].candidates] == ["s=C.Mailbox.Sequense"]
    text = as_yaml(list(mapped.values()), station="aoi-1")
    assert "# session: not found; near: s=A.Session, s=B.Session" in text
    assert "\n  session:" not in text


def test_a_variable_of_another_type_or_one_that_we_may_not_write_is_told() -> None:
    variables = [
        variable("s=aoi-1.Line.Mode", "Mode", data_type="Int32"),
        variable("s=aoi-1.Arrivals.Visits", "Visits", data_type="UInt16"),
        variable("s=aoi-1.Heartbeat.Gateway", "Gateway", data_type="UInt32", writable=False),
        variable("s=aoi-1.Mailbox.ValidUntilNs", "ValidUntilNs", data_type="DateTime", writable=False),
        variable("s=aoi-1.Session", "Session", writable=False),  # read only is what it is for
    ]
    mapped = propose(variables, station="aoi-1")
    assert {item.key: item.fault for item in mapped if item.fault} == {
        "line_mode": "Int32, expected String",
        "arrival_visits": "UInt16, expected UInt16[]",
        "gateway_heartbeat": "not writable for us",
        "command_valid_until_ns": "DateTime, expected Int64, not writable for us",
    }
    assert "# line_mode: 's={station}.Line.Mode'  # Int32, expected String, the default" in as_yaml(
        mapped, station="aoi-1"
    )


def test_every_node_has_a_type() -> None:
    assert tuple(NODE_TYPES) == PlcNodes.__struct_fields__


def test_what_the_plant_file_names_already_is_found_as_it_stands_there() -> None:
    nodes = PlcNodes(session="s={station}.Shift", next_recipe=None, recipe="s=Gone")
    variables = [
        variable("s=aoi-1.Shift", "Shift"),
        variable("s=aoi-1.Recipe", "Recipe"),
        variable("s=x.Session", "Session"),
    ]
    mapped = {item.key: item for item in propose(variables, station="aoi-1", nodes=nodes)}
    assert mapped["session"].variable == variables[0]
    assert not mapped["next_recipe"].missing
    assert mapped["recipe"].variable == variables[1], "what it names is not there: the default is"
    assert mapped["line_mode"].missing
    text = as_yaml(list(mapped.values()), station="aoi-1")
    assert msgspec.yaml.decode(text, type=dict[str, PlcNodes])["nodes"] == PlcNodes(
        session="s={station}.Shift", next_recipe=None
    )


def test_where_nothing_is_to_be_pasted_it_says_whether_anything_is_missing() -> None:
    everything = [variable(each) for each in msgspec.structs.astuple(station_nodes(PlcNodes(), "aoi-1"))]
    assert as_yaml(propose([v._replace(path=("x",)) for v in everything], station="aoi-1"), station="aoi-1").startswith(
        "nodes: {}  # nothing differs from the defaults\n"
    )
    some = [v._replace(path=("x",)) for v in everything[2:]]
    assert as_yaml(propose(some, station="aoi-1"), station="aoi-1").startswith("nodes: {}  # not found: 2, see below\n")


def chosen(variables: list[Variable], *, station: str, others: tuple[str, ...]) -> dict[str, str]:
    mapped = propose(variables, station=station, others=others)
    return {item.key: item.variable.identifier for item in mapped if item.variable is not None}


def test_a_node_of_another_station_is_never_the_choice() -> None:
    """What is pasted is written to."""
    variables = [
        variable(f"s=aoi-2.{name}", "aoi-2", *name.split(".")) for name in ("Handshake.TriggerReady", "Recipe")
    ]
    variables += [variable("s=x.Mailbox.CommandId", "Line", "AOI_2", "Mailbox", "CommandId")]
    variables += [variable("i=7", "Line", "Aoi2", "Line", "Mode")]
    assert chosen(variables, station="aoi-1", others=("aoi-2",)) == {}
    mapped = {item.key: item for item in propose(variables, station="aoi-1", others=("aoi-2",))}
    assert [each.identifier for each in mapped["trigger_ready"].candidates] == ["s=aoi-2.Handshake.TriggerReady"]
    assert "# trigger_ready: not found; near: s=aoi-2.Handshake.TriggerReady" in as_yaml(
        list(mapped.values()), station="aoi-1"
    )


def test_where_the_stations_own_nodes_bear_its_name_no_other_is_taken_whoever_it_belongs_to() -> None:
    """The plant file need not know of the PLC's other stations."""
    variables = [
        variable("s=aoi-1.Session", "aoi-1", "Session"),
        variable("s=aoi-2.Handshake.TriggerReady", "aoi-2", "Handshake", "TriggerReady"),
    ]
    assert chosen(variables, station="aoi-1", others=()) == {"session": "s=aoi-1.Session"}


def test_a_station_whose_name_is_part_of_anothers_gets_none_of_its_nodes() -> None:
    variables = [variable(f"s={name}.Line.Mode", name, "Line", "Mode") for name in ("aoi-2",)]
    assert chosen(variables, station="aoi", others=("aoi-2",)) == {}
    assert chosen(variables, station="aoi-2", others=("aoi",)) == {"line_mode": "s=aoi-2.Line.Mode"}


@pytest.mark.parametrize(
    ("found", "expected", "takes"),
    [
        ("String", "String", True),
        ("Int16", "String", False),
        ("Boolean", "Boolean", True),
        ("Byte", "Boolean", False),
        ("String", "Boolean", False),
        ("Int32", "UInt32", True),
        ("Int16", "UInt32", False),
        ("Byte", "UInt16", True),
        ("Double", "Int64", False),
        ("Float", "Double", True),
        ("Int32", "Double", False),
        ("BadNodeIdUnknown", "UInt32", False),
        ("i=290", "Double", False),
    ],
)
def test_what_is_written_fits_the_node_or_the_node_does_not_serve(found: str, expected: str, takes: bool) -> None:
    assert can_take(found, expected) is takes


@pytest.mark.parametrize(
    ("found", "expected", "is_it"),
    [
        ("Int32[]", "UInt16[]", True),
        ("String[]", "UInt16[]", False),
        ("UInt32", "String", True),
        ("UInt32[]", "String[]", False),
        ("Byte", "Boolean", False),
        ("i=294", "Int64", True),
        ("BadNodeIdUnknown", "Int64", True),
    ],
)
def test_of_what_is_read_only_another_kind_is_a_fault_and_what_is_not_known_shows_in_its_value(
    found: str, expected: str, is_it: bool
) -> None:
    assert is_of_kind(found, expected) is is_it
