"""Mistakes that people make with cameras in a plant file, each with a message that lets them fix it at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from plant_text import changed, complaints, load

from schemas.addresses import without_password
from schemas.plant import GenicamSource, RtspSource, VideoSource

SOURCE = "{ type: external }"
KINDS = "`http`, `folder`, `video`, `rtsp`, `genicam`, `external`"
PLACE = "13: lines[0].stations[0].cameras[1].source"
VIEWS = "12: lines[0].stations[0].cameras[1].views"


def test_each_kind_of_source_is_read(tmp_path: Path) -> None:
    for text, expected in (
        ("{ type: video, path: parts.mkv, frames_per_part: 2, repeat: true }",
         VideoSource(path="parts.mkv", frames_per_part=2, repeat=True)),
        ('{ type: rtsp, url: "rtsp://192.0.2.7/main", window_ms: 100, jpeg_quality: 90 }',
         RtspSource(url="rtsp://192.0.2.7/main", window_ms=100, jpeg_quality=90)),
        ("{ type: genicam, device: Maker-1234, trigger: software, exposure_time_us: 500 }",
         GenicamSource(device="Maker-1234", trigger="software", exposure_time_us=500.0)),
    ):  # fmt: skip
        assert load(tmp_path, changed(SOURCE, text)).cameras["right"].source == expected


MISTAKES = [
    ("a kind that there is not", "{ type: gige, device: x }",
     f"{PLACE}.type: expected one of {KINDS}, not the text `gige`; did you mean `genicam`?"),
    ("a kind nearly right", "{ type: rstp, url: x }",
     f"{PLACE}.type: expected one of {KINDS}, not the text `rstp`; did you mean `rtsp`?"),
    ("no address", "{ type: rtsp }", f"{PLACE}: expected the key `url` (text)"),
    ("an address of another protocol", '{ type: rtsp, url: "http://192.0.2.7/main" }',
     f"{PLACE}.url: expected an address that begins with rtsp:// or rtsps://"),
    ("a window of no length", '{ type: rtsp, url: "rtsp://192.0.2.7/", window_ms: 0 }',
     f"{PLACE}.window_ms: expected a number above 0, not 0"),
    ("a stall at once", '{ type: rtsp, url: "rtsp://192.0.2.7/", stall_after_ms: 0 }',
     f"{PLACE}.stall_after_ms: expected a number above 0, not 0"),
    ("a latency before the exposure", '{ type: rtsp, url: "rtsp://192.0.2.7/", latency_ms: -5 }',
     f"{PLACE}.latency_ms: expected a number of 0 or more, not -5"),
    ("a quality of nothing", "{ type: video, path: x.mkv, jpeg_quality: 0 }",
     f"{PLACE}.jpeg_quality: expected from 1 to 100, or leave it out for PNG, not 0"),
    ("a quality in per mille", "{ type: genicam, device: x, jpeg_quality: 950 }",
     f"{PLACE}.jpeg_quality: expected from 1 to 100, or leave it out for PNG, not 950"),
    ("a word for a quality", "{ type: video, path: x.mkv, jpeg_quality: high }",
     f"{PLACE}.jpeg_quality: expected a whole number or null, not the text `high`"),
    ("a video without its file", '{ type: video, path: "" }', f"{PLACE}.path: expected a video file"),
    ("no frame for a part", "{ type: video, path: x.mkv, frames_per_part: 0 }",
     f"{PLACE}.frames_per_part: expected a number above 0, not 0"),
    ("a camera without its id", '{ type: genicam, device: "" }',
     f"{PLACE}.device: expected the id of a camera as `arv-tool-0.8` lists it, or its address"),
    ("a serial number without quotes", "{ type: genicam, device: 21500034 }",
     f"{PLACE}.device: expected text, not the number 21500034; put it in quotes"),
    ("a trigger that there is not", "{ type: genicam, device: x, trigger: free }",
     f"{PLACE}.trigger: expected one of `hardware`, `software`, not the text `free`; did you mean `software`?"),
    ("no exposure", "{ type: genicam, device: x, exposure_time_us: 0 }",
     f"{PLACE}.exposure_time_us: expected a number above 0, not 0.0"),
    ("a key of another kind", "{ type: genicam, device: x, url: y }",
     f"{PLACE}.url: expected a known key: `type`, `device`, `trigger`, `trigger_source`, `window_ms`, `timeout_ms`, "
     "`expose_within_ms`, `exposure_time_us`, `gain_db`, `pixel_format`, `jpeg_quality`; `url` belongs to another `type`"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "told"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_in_a_source_is_told(tmp_path: Path, source: str, told: str) -> None:
    assert complaints(tmp_path, changed(SOURCE, source))[0] == told


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ('{ type: rtsp, url: "rtsp://192.0.2.7/" }',
         f"{VIEWS}: expected one view: each trigger gives one picture of this kind of camera"),
        ("{ type: genicam, device: x }",
         f"{VIEWS}: expected one view: each trigger gives one picture of this kind of camera"),
        ("{ type: video, path: x.mkv }", f"{PLACE}.frames_per_part: expected at least 2, a frame for each view"),
    ],
)  # fmt: skip
def test_two_views_need_a_camera_that_shows_two(tmp_path: Path, source: str, told: str) -> None:
    text = changed(SOURCE, source).replace("views: [right]", "views: [right, back]")
    assert complaints(tmp_path, text) == [told]


def test_a_password_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "s3cret")
    text = changed(SOURCE, '{ type: rtsp, url: "rtsp://eye:${CAMERA_PASSWORD}@192.0.2.7/main" }')
    source = load(tmp_path, text).cameras["right"].source
    assert isinstance(source, RtspSource)
    assert source.url == "rtsp://eye:s3cret@192.0.2.7/main"
    assert repr(source) == "RtspSource(url='rtsp://192.0.2.7/main')"
    assert "s3cret" not in " ".join(complaints(tmp_path, text.replace("rtsp://", "rtps://")))


@pytest.mark.parametrize(
    ("shown", "safe"),
    [
        ("rtsp://a:b@host/x", "rtsp://host/x"),
        ("rtsp://a:p@ss@host:554/x?y=z@w failed", "rtsp://host:554/x?y=z@w failed"),
        ("two: http://u@h/ and rtsps://u:p@h", "two: http://h/ and rtsps://h"),
        ("rtsp://host/user@place", "rtsp://host/user@place"),
    ],
)
def test_addresses_lose_their_user_information(shown: str, safe: str) -> None:
    assert without_password(shown) == safe
