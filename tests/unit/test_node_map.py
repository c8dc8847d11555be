"""A PLC's variables as a node map: what is certain is proposed, what is not is listed."""

from __future__ import annotations

import msgspec

from gateways.node_map import as_yaml, propose
from gateways.opcua_session import Variable
from gateways.station_nodes import station_nodes
from schemas.plant import PlcNodes


def variable(identifier: str, *path: str) -> Variable:
    return Variable(identifier, path, "String")


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
