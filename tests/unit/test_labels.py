"""Label files: what is read, and what a person is told when one cannot be."""

import json
from pathlib import Path

import pytest

from cli.labels import read_labels
from schemas.errors import ConfigurationError


def _write(folder: Path, *lines: str) -> Path:
    file = folder / "labels.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_boxes_with_numbers_names_and_polygons(tmp_path: Path) -> None:
    file = _write(
        tmp_path,
        json.dumps(
            {"image": "a.png", "template": "t.png", "group": "g", "boxes": [[1, 2, 3, 4, 1], [5, 6, 9, 9, "spur"]]}
        ),
        json.dumps({"image": "b.jpg", "label": "pitting", "polygons": [[[1.5, 2.0], [4.2, 2.5], [3.0, 6.9]]]}),
        json.dumps({"image": "c.png", "boxes": []}),
        json.dumps({"image": "d.png"}),
    )
    boxes, polygons, good, unlabelled = list(read_labels(file))
    assert boxes.path == tmp_path / "a.png"
    assert boxes.template == tmp_path / "t.png"
    assert [label.class_name for label in boxes.labels or ()] == ["open", "spur"]
    assert polygons.labels is not None
    assert (polygons.labels[0].class_name, polygons.labels[0].box) == ("pitting", (1, 2, 5, 7))
    assert good.labels == ()
    assert unlabelled.labels is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", r"labels\.jsonl:2: expected one JSON object a line"),
        ("[1]", r"labels\.jsonl:2: expected a JSON object, got list"),
        ('{"img": "a.png"}', r"labels\.jsonl:2: expected a key 'image'"),
        ('{"image": "a.png", "boxes": [[1, 2, 3]]}', r"expected \[x1, y1, x2, y2, type\]"),
        ('{"image": "a.png", "boxes": [[1, 2, 3, 4, 9]]}', "type 9: expected a class name or one of"),
        ('{"image": "a.png", "boxes": [[5, 2, 3, 4, 1]]}', "expected x1 < x2"),
    ],
)
def test_mistakes_are_told_with_file_and_line(tmp_path: Path, line: str, expected: str) -> None:
    file = _write(tmp_path, '{"image": "ok.png"}', line)
    with pytest.raises(ConfigurationError, match=expected):
        list(read_labels(file))


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        list(read_labels(tmp_path / "none.jsonl"))
