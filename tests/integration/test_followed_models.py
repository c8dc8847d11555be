"""A running line follows the registry: promoted, on canary and rolled back between two frames, and no frame is lost by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from broker import until
from disc_line import Disc, add_second, add_version_of, disc_line, disc_server
from inspecting import inspecting
from tritonclient.grpc import InferenceServerClient

from ops.local.triton import LocalTriton
from processors.version_choice import in_canary
from schemas.recipes import ModelPin
from schemas.records import ModelChange
from schemas.telemetry import Stage
from topologies.version_check import prove_version


@pytest.fixture
async def line(
    kafka: str, triton_installed: None, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Disc:
    return await disc_line(kafka, unique_prefix, tmp_path, monkeypatch)


@pytest.fixture
def server(line: Disc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalTriton]:
    with disc_server(line, tmp_path, monkeypatch) as triton:
        yield triton


def judging(stage: Stage) -> float | None:
    return stage.registry.get_sample_value("linesight_inspect_model_version", {"model": "spots"})


async def test_canary_promotion_and_rollback_take_effect_between_two_frames(
    line: Disc, server: LocalTriton, tmp_path: Path
) -> None:
    async with inspecting(line.plant, plant_dir=tmp_path) as stage:
        await line.see(5)
        assert set(map(frozenset, (await line.versions()).values())) == {frozenset({1})}

        add_second(line, tmp_path)
        for change, more in (
            (ModelChange.RELEASED, {}),
            (ModelChange.SHADOWED, {}),
            (ModelChange.CANARIED, {"share_ratio": 0.5}),
        ):
            await line.say(change, 2, **more)

        async def canary_judges() -> bool:
            await line.see(4)
            return any(2 in versions for versions in (await line.versions()).values())

        await until(canary_judges, "the canary judges some parts")
        first = line.parts
        await line.see(30)
        judged = await line.versions()
        for part in range(first, line.parts):
            is_canary = in_canary(model="spots", version=2, part=f"aoi-1/{part}", share_ratio=0.5)
            assert judged[str(part)] == {2 if is_canary else 1}, "all views of a part by one version, chosen by its id"

        await line.say(ModelChange.PROMOTED, 2)
        await until(lambda: judging(stage) == 2, "version 2 judges parts")
        first = line.parts
        await line.see(10)
        judged = await line.versions()
        assert all(judged[str(part)] == {2} for part in range(first, line.parts))

        await line.say(ModelChange.ROLLED_BACK, 2)
        await until(lambda: judging(stage) == 1, "version 1 judges parts again")
        first = line.parts
        await line.see(10)
        judged = await line.versions()
        assert all(judged[str(part)] == {1} for part in range(first, line.parts))


async def test_a_version_that_triton_refuses_costs_no_frame(line: Disc, server: LocalTriton, tmp_path: Path) -> None:
    async with inspecting(line.plant, plant_dir=tmp_path) as stage:
        await line.see(3)
        await line.versions()
        add_second(line, tmp_path)
        (line.repository / "spots" / "2" / "model.onnx").write_bytes(b"no graph at all")
        await line.say(ModelChange.RELEASED, 2)
        await line.say(ModelChange.PROMOTED, 2)

        def told() -> bool:
            return bool(stage.registry.get_sample_value("linesight_inspect_noticed_total", {"what": "model_unusable"}))

        async def told_while_parts_come() -> bool:
            await line.see(2)
            return told()

        await until(told_while_parts_come, "it says that the version cannot be served")
        await line.see(10)
        assert set(map(frozenset, (await line.versions()).values())) == {frozenset({1})}
        assert judging(stage) == 1


async def test_what_was_promoted_while_the_stage_was_down_judges_its_first_frame(
    line: Disc, server: LocalTriton, tmp_path: Path
) -> None:
    add_second(line, tmp_path)
    await line.say(ModelChange.RELEASED, 2)
    await line.say(ModelChange.PROMOTED, 2)
    await line.see(8)
    async with inspecting(line.plant, plant_dir=tmp_path):
        assert set(map(frozenset, (await line.versions()).values())) == {frozenset({2})}


async def test_a_version_whose_folder_is_on_another_machine_is_judged_by_as_its_release_said(
    line: Disc, server: LocalTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_second(line, tmp_path)
    monkeypatch.setenv("TRITON_TRAINED_MODELS", str(tmp_path / "not here"))
    settings, digest = (line.repository / "spots" / "2" / "model.json").read_text(), "sha256:02"
    await line.say(ModelChange.RELEASED, 2, settings=settings, digest=digest)
    await line.say(ModelChange.PROMOTED, 2)
    line.pin(ModelPin(name="spots", version=2, follow=True))  # the recipe itself asks for what only the registry tells
    await line.see(4)
    async with inspecting(line.plant, plant_dir=tmp_path):
        assert set(map(frozenset, (await line.versions()).values())) == {frozenset({2})}
    assert line.digests == {digest}


async def test_a_release_starts_its_own_version_alone(line: Disc, server: LocalTriton, tmp_path: Path) -> None:
    prove_version("spots", 1)
    for version, unserved in ((2, ()), (3, ()), (4, (2,))):
        add_version_of(line, tmp_path, version, unserved=unserved, level=100.0 + version)
        prove_version("spots", version)
    started = server.child.log_path.read_text().count("ModelInstanceInitialize: spots_")
    assert started == 4, "one process for each version, none a second time"
    with closing(InferenceServerClient(server.url)) as client:
        assert [client.is_model_ready("spots", str(version)) for version in (1, 2, 3, 4)] == [True, False, True, True]


async def test_a_pin_that_does_not_follow_stays(line: Disc, server: LocalTriton, tmp_path: Path) -> None:
    line.pin(ModelPin(name="spots", version=1))
    add_second(line, tmp_path)
    await line.say(ModelChange.RELEASED, 2)
    await line.say(ModelChange.PROMOTED, 2)
    await line.see(4)
    async with inspecting(line.plant, plant_dir=tmp_path):
        assert set(map(frozenset, (await line.versions()).values())) == {frozenset({1})}
