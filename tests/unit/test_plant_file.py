"""What a plant file says is what the plant is, and every mistake in it is told with file, line, key and what was expected."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from plant_text import VALID, changed, complaints, load

from schemas.plant import ExternalSource, HttpSource
from schemas.plant_file import load_plant, load_unfinished_plant
from schemas.plant_source import PlantFileInvalid
from schemas.reasons import FailSafe
from schemas.recipes import AnyDefect

ROOT = Path(__file__).parents[2]


def test_a_plant_is_what_its_file_says(tmp_path: Path) -> None:
    plant = load(tmp_path, VALID)
    assert [station.name for station in plant.stations] == ["aoi-1"]
    assert isinstance(plant.cameras["left"].source, HttpSource)
    assert isinstance(plant.cameras["right"].source, ExternalSource)
    recipe = plant.recipe("board-a@1")
    assert recipe is not None
    assert recipe.required_views == ("left",)
    assert recipe.fail_safe is FailSafe.REJECT
    assert recipe.voting == AnyDefect()
    assert plant.station_of("right") is plant.station("aoi-1")
    assert plant.line_of("aoi-1") is plant.lines[0]
    assert plant.plc("plc-2") is None


SHIPPED = [ROOT / "plants" / name for name in ("demo.yaml", "learning.yaml", "pcb.yaml")]
"""Others in that folder are a user's own, finished or not."""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_plant_files_that_are_shipped_are_valid(path: Path) -> None:
    plant = load_plant(path)
    assert plant.plant == path.stem


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_an_editor_accepts_the_plant_files_that_are_shipped(path: Path) -> None:
    schema = json.loads((ROOT / "docs/plant.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "mistake", [("name: left\n", "name: 7\n"), ("plc: plc-1\n        cam", "plk: plc-1\n        cam")]
)
def test_an_editor_sees_a_mistake_too(tmp_path: Path, mistake: tuple[str, str]) -> None:
    schema = json.loads((ROOT / "docs/plant.schema.json").read_text(encoding="utf-8"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(changed(*mistake)))


SHAPE_MISTAKES = [
    (
        "a key with a letter missing",
        ("name: left\n", "nam: left\n"),
        ["8: lines[0].stations[0].cameras[0].nam: expected a known key: `name`, `views`, `source`, `max_width_px`, "
         "`max_height_px`, `max_image_bytes`, `repeats`; did you mean `name`?"],
    ),
    (
        "a key of another place",
        ("plant: demo", "plant: demo\nstations: []"),
        ["2: stations: expected a known key: `plant`, `lines`, `recipes`, `recipe_files`, `plcs`, `assets`, `alerts`, `webhooks`, "
         "`receivers`, `statistics`, `record`, `retraining`, `learning`, `kafka`; `stations` belongs to `lines[]`"],
    ),
    (
        "a needed key left out",
        ("            views: [left]\n", ""),
        ["8: lines[0].stations[0].cameras[0]: expected the key `views` (a list)"],
    ),
    (
        "a word for a number",
        ("minimum_score: 0.7", "minimum_score: high"),
        ["25: recipes[0].classes[1].minimum_score: expected a number, not the text `high`"],
    ),
    (
        "a decimal comma",
        ("minimum_score: 0.7", "minimum_score: 0,7"),
        ["25: recipes[0].classes[1].7: expected a known key: `name`, `minimum_score`, `minimum_area_px`"],
    ),
    (
        "one word where a list belongs",
        ("views: [left]", "views: left"),
        ["9: lines[0].stations[0].cameras[0].views: expected a list, not the text `left`; each item after `- `, or all in `[ ]`"],
    ),
    (
        "text where keys belong",
        ("{ type: golden }", "golden"),
        ["24: recipes[0].inspection: expected keys and values with `type` one of `golden`, `pair_segmenter`, `segmenter`, "
         "`anomaly`, `classifier`, not the text `golden`"],
    ),
    (
        "a kind of source that there is not",
        ("type: external", "type: extern"),
        ["13: lines[0].stations[0].cameras[1].source.type: expected one of `http`, `folder`, `video`, `rtsp`, "
         "`genicam`, `external`, not the text `extern`; did you mean `external`?"],
    ),
    (
        "a source without its kind",
        ("{ type: external }", "{ path: frames }"),
        ["13: lines[0].stations[0].cameras[1].source: expected the key `type`: one of `http`, `folder`, `video`, "
         "`rtsp`, `genicam`, `external`"],
    ),
    (
        "a setting of another kind",
        ("type: external", "type: external, url: x"),
        ["13: lines[0].stations[0].cameras[1].source.url: expected a known key: `type`; `url` belongs to another `type`"],
    ),
    (
        "a value that is not on the list",
        ("security: none", "security: nonne"),
        ["15: plcs[0].security: expected one of `basic256sha256`, `none`, not the text `nonne`; did you mean `none`?"],
    ),
    (
        "yes is not a name in YAML",
        ("name: left\n", "name: yes\n"),
        ["8: lines[0].stations[0].cameras[0].name: expected text, not `true`; put it in quotes (YAML reads `yes` as true)"],
    ),
    (
        "a number is not a name",
        ("plant: demo", "plant: 12"),
        ["1: plant: expected text, not the number 12; put it in quotes"],
    ),
    (
        "an unquoted brace",
        ('"http://127.0.0.1:8090/left/{trigger}"', "{trigger}"),
        ["10: lines[0].stations[0].cameras[0].source.url: expected text, not keys and values; "
         "a value that begins with `{` must stand in quotes"],
    ),
    (
        "nothing after the colon",
        ("plant: demo", "plant:"),
        ["1: plant: expected text, not nothing"],
    ),
    (
        "half a millisecond",
        ("plc: plc-1\n        cameras", "plc: plc-1\n        gate_after_ms: 0.5\n        cameras"),
        ["7: lines[0].stations[0].gate_after_ms: expected a whole number, not the number 0.5; 0.5 s are 500 ms"],
    ),
    (
        "a word where null is allowed too",
        ("inspection: { type: golden }", "inspection: { type: golden }\n    deadline_ms: none"),
        ["25: recipes[0].deadline_ms: expected a whole number or null, not the text `none`"],
    ),
    (
        "the same key twice",
        ("plant: demo", "plant: demo\nplant: demo2"),
        ["2: plant: expected this key only once"],
    ),
    (
        "a tag of a programming language",
        ("plant: demo", "plant: !!python/name:os.system demo"),
        ["1: plant: expected a plain value; the tag `tag:yaml.org,2002:python/name:os.system` is not known here",
         "1: plant: expected text, not nothing"],
    ),
    (
        "a variable that is not set",
        ("plant: demo", "plant: ${LINESIGHT_TEST_UNSET}"),
        ["1: plant: expected environment variable LINESIGHT_TEST_UNSET to be set, or a default: "
         "${LINESIGHT_TEST_UNSET:-value}"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("mistake", "told"), [m[1:] for m in SHAPE_MISTAKES], ids=[m[0] for m in SHAPE_MISTAKES])
def test_a_mistake_in_the_shape_is_told(tmp_path: Path, mistake: tuple[str, str], told: list[str]) -> None:
    assert complaints(tmp_path, changed(*mistake)) == told


MEANING_MISTAKES = [
    ("a PLC that is not there", ("plc: plc-1\n        cam", "plc: plc-l\n        cam"),
     "6: lines[0].stations[0].plc: expected the name of a PLC under `plcs`; `plc-l` is none; did you mean `plc-1`?"),
    ("a camera without a trigger", ("        plc: plc-1\n        cam", "        cam"),
     "5: lines[0].stations[0]: expected the key `plc`: camera `left` waits for its trigger"),
    ("an address without its scheme", ('"http://127', '"127'),
     "10: lines[0].stations[0].cameras[0].source.url: expected an address that begins with http:// or https://"),
    ("two cameras of one name", ("name: right\n", "name: left\n"),
     "11: lines[0].stations[0].cameras[1].name: expected a name of its own; `left` stands twice"),
    ("one view at two cameras", ("views: [right]", "views: [left]"),
     "7: lines[0].stations[0].cameras: expected view `left` at one camera of the station only"),
    ("a slash in a name", ("name: left\n", "name: a/b\n"),
     "8: lines[0].stations[0].cameras[0].name: expected a name of letters, digits, '-', '_' and '.', "
     "at most 100 characters (it stands in keys and ids)"),
    ("a plant name that Kafka refuses", ("plant: demo", "plant: Köln"),
     "1: plant: expected a name of ASCII letters, digits, '-', '_' and '.' (it prefixes every topic)"),
    ("no certificate", (", security: none", ""),
     "15: plcs[0]: expected `certificate`, `private_key`, `server_certificate` (files) for security basic256sha256, "
     "or `security: none` said openly"),
    ("an endpoint of another protocol", ("opc.tcp://", "http://"),
     "15: plcs[0].endpoint: expected an address that begins with opc.tcp://, such as opc.tcp://192.0.2.10:4840"),
    ("a node without its kind", ("node: s=press", "node: press"),
     "20: assets[0].channels[0].node: expected an OPC UA identifier such as s=Station.Value or i=1001, "
     "not `press.Vibration`"),
    ("a channel that nobody can read", (", node: s=press.Vibration", ""),
     "20: assets[0].channels[0]: expected the key `node`: the channel is read through PLC `plc-1`"),
    ("a view that no camera takes", ("{ name: right, req", "{ name: rigth, req"),
     "23: recipes[0].views[1].name: expected a view of some camera; `rigth` is none; did you mean `right`?"),
    ("a reference that is not there", ("{ name: left }", "{ name: left, reference: no.png }"),
     "23: recipes[0].views[0].reference: expected an image file; {folder}/no.png does not exist"),
    ("a score above one", ("minimum_score: 0.7", "minimum_score: 70"),
     "25: recipes[0].classes[1].minimum_score: expected a number from 0 to 1, not 70.0; 70 % is 0.7"),
    ("a score that is no number", ("minimum_score: 0.7", "minimum_score: .nan"),
     "25: recipes[0].classes[1].minimum_score: expected a finite number"),
    ("a deadline in the past", ("type: golden }", "type: golden }\n    deadline_ms: -5"),
     "25: recipes[0].deadline_ms: expected a number above 0, not -5"),
    ("late frames without a deadline", ("type: golden }", "type: golden }\n    deadline_ms: null\n    overload: newest_first"),
     "26: recipes[0].overload: expected `inspect_all`, or a `deadline_ms`: without one no frame is ever late"),
    ("more votes than views", ("type: golden }", "type: golden }\n    voting: { type: k_of_n, k: 3 }"),
     "25: recipes[0].voting.k: expected from 1 to the number of views (2)"),
    *(
        (f"{key} of {value}", ("type: golden }", f"type: golden, {key}: {value} }}"),
         f"24: recipes[0].inspection.{key}: expected a value from {low} to {high}")
        for key, value, low, high in (
            ("difference_threshold", 0, 1, 255),
            ("difference_threshold", 256, 1, 255),
            ("minimum_area_px", ".nan", 0, "1e+09"),
            ("merge_distance_px", -1, 0, 1000),
            ("box_margin_px", -1, 0, 1000),
            ("minimum_score", 1.1, 0, 1),
            ("max_candidates", 0, 1, 1000),
            ("max_shift_px", -0.5, 0, 1000),
            ("max_angle_deg", 46, 0, 45),
            ("minimum_alignment_quality", -0.1, 0, 1),
            ("max_unexplained_ratio", 2, 0, 1),
        )
    ),
    ("an alert that clears above its limit", ("clear_ratio: 0.1", "clear_ratio: 0.3"),
     "27: alerts[0].clear_ratio: expected at most `raise_ratio` (0.2)"),
    ("a station that is not there", ("station: aoi-1", "station: aoi-2"),
     "27: alerts[0].station: expected the name of a station; `aoi-2` is none; did you mean `aoi-1`?"),
    ("a channel that is not there", ("channel: vibration", "channel: vibrations"),
     "28: alerts[1].channel: expected a channel of `press`; did you mean `vibration`?"),
    ("a rule that never matches", (", high: 7.1", ""),
     "28: alerts[1]: expected `low`, `high` or `max_change_per_s`: this rule never matches anything"),
    ("limits the wrong way round", ("high: 7.1", "high: 7.1, low: 9"),
     "28: alerts[1].low: expected a value below `high` (7.1)"),
]  # fmt: skip


@pytest.mark.parametrize(("mistake", "told"), [m[1:] for m in MEANING_MISTAKES], ids=[m[0] for m in MEANING_MISTAKES])
def test_a_mistake_in_the_meaning_is_told(tmp_path: Path, mistake: tuple[str, str], told: str) -> None:
    found = complaints(tmp_path, changed(*mistake))
    assert found[0] == told.replace("{folder}", str(tmp_path))


def test_a_reference_that_is_still_to_be_made_keeps_nobody_from_making_it(tmp_path: Path) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text(VALID.replace("{ name: left }", "{ name: left, reference: left.png }"), encoding="utf-8")
    with pytest.raises(PlantFileInvalid, match=r"left\.png does not exist"):
        load_plant(path)
    assert load_unfinished_plant(path).recipes[0].views[0].reference == "left.png"
    path.write_text(VALID.replace("{ name: left }", "{ name: top }"), encoding="utf-8")
    with pytest.raises(PlantFileInvalid, match="a view of some camera"):
        load_unfinished_plant(path)


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = changed("plant: demo", "plant: 1").replace("required: false", "required: maybe").replace("unit: mm/s, ", "")
    lines = [int(line.split(":")[0]) for line in complaints(tmp_path, text)]
    assert len(lines) == 3
    assert lines == sorted(lines)
