"""A version in shadow is asked about live frames and compared; whatever becomes of it, every part is judged by the champion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from broker import read_until, until
from disc_line import VIEWS, Disc, add_second, disc_line, disc_server
from inspecting import inspecting

from ops.local.triton import LocalTriton
from schemas.inspections import Inspection
from schemas.reasons import FrameOutcome, VerdictValue
from schemas.records import ModelChange
from schemas.shadows import ShadowAnswer
from schemas.telemetry import Stage
from schemas.topics import INSPECTIONS, SHADOWS

UNSEEN_GREY = 60
"""No spot for either version."""
WHITE = 255
"""A spot for both."""


@pytest.fixture
async def line(
    kafka: str, triton_installed: None, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Disc:
    return await disc_line(kafka, unique_prefix, tmp_path, monkeypatch)


@pytest.fixture
def server(line: Disc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalTriton]:
    with disc_server(line, tmp_path, monkeypatch) as triton:
        yield triton


async def shadow_second(line: Disc, stage: Stage) -> None:
    """Version 2 is in shadow, and the stage knows it: the first disc that it is asked about shows so."""
    await line.say(ModelChange.RELEASED, 2)
    await line.say(ModelChange.SHADOWED, 2)

    async def asked() -> bool:
        await line.see(1, spot=UNSEEN_GREY)
        return (
            stage.registry.get_sample_value("linesight_inspect_shadow_answers_total", {"outcome": "given"}) or 0
        ) + (stage.registry.get_sample_value("linesight_inspect_shadow_answers_total", {"outcome": "failed"}) or 0) > 0

    await until(asked, "version 2 is asked")


async def all_inspected(line: Disc) -> dict[str, Inspection]:
    """By frame. Each by version 1, which nobody disturbed."""
    found: list[Inspection] = await read_until(line.kafka, line.plant, INSPECTIONS, line.parts * len(VIEWS))
    assert [each.detail for each in found if each.outcome is not FrameOutcome.INSPECTED] == []
    assert {use.version for each in found for use in each.models} == {1}
    assert len(found) == line.parts * len(VIEWS)
    return {each.id: each for each in found}


async def answers(line: Disc, parts: range) -> dict[tuple[str, str], ShadowAnswer]:
    """By part and view, when there is one for each of these parts' frames."""
    wanted = {(str(part), view) for part in parts for view in VIEWS}
    found: dict[tuple[str, str], ShadowAnswer] = {}

    async def there() -> bool:
        for each in await read_until(line.kafka, line.plant, SHADOWS, 1):
            found[each.part_id, each.view] = each
        return wanted <= found.keys()

    await until(there, f"answers about parts {parts}")
    return found


async def test_a_shadow_is_compared_on_live_frames_and_its_failures_cost_no_part(
    line: Disc, server: LocalTriton, tmp_path: Path
) -> None:
    add_second(line, tmp_path, fault="fails on white")
    async with inspecting(line.plant, plant_dir=tmp_path) as stage:
        await shadow_second(line, stage)
        first = line.parts
        await line.see(3)  # a spot for version 2 alone
        await line.see(1, spot=WHITE)  # a spot for version 1; version 2 comes to grief
        await line.see(1)
        inspected = await all_inspected(line)
        told = await answers(line, range(first, line.parts))
    for part in range(first, line.parts):
        for view in VIEWS:
            answer = told[str(part), view]
            of_line = inspected[answer.inspection]
            assert (answer.model, answer.version, answer.beside, answer.view) == ("spots", 2, 1, view)
            assert (answer.line_score, answer.line_infer_ms) == (of_line.anomaly_score, of_line.timings.infer_ms)
            if part == first + 3:
                assert answer.decision is VerdictValue.NOT_DECIDABLE
                assert answer.line_decision is VerdictValue.NOT_OK
                assert "index" in answer.error or "indices" in answer.error
            else:
                assert (answer.decision, answer.error) == (VerdictValue.NOT_OK, "")
                assert answer.line_decision is VerdictValue.OK
                assert answer.digest.startswith("sha256:")
                assert answer.score > answer.line_score
                assert 0 < answer.infer_ms <= answer.total_ms


async def test_a_shadow_that_triton_cannot_load_says_so_on_every_frame(
    line: Disc, server: LocalTriton, tmp_path: Path
) -> None:
    async with inspecting(line.plant, plant_dir=tmp_path) as stage:
        await line.see(2)
        await all_inspected(line)
        add_second(line, tmp_path)
        (line.repository / "spots" / "2" / "model.onnx").write_bytes(b"no graph at all")
        await shadow_second(line, stage)
        first = line.parts
        await line.see(3)
        await all_inspected(line)
        told = await answers(line, range(first, line.parts))
    errors = {told[str(part), view].error for part in range(first, line.parts) for view in VIEWS}
    assert all("spots" in error for error in errors), errors
