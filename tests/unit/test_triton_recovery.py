"""How the client brings a server back: who is spared, who is loaded anew, and what is a matter of configuration.

Triton itself is in tests/integration; here its answers come in orders that a real one gives once a year.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tritonclient.utils import InferenceServerException

from processors.model_registry import Registry
from schemas.errors import ConfigurationError
from schemas.recipes import ModelPin
from schemas.settings import TritonSettings
from schemas.telemetry import Stage
from topologies import triton as triton_module
from topologies.model_control import PROOFS_LATE, Model, ModelControl, ModelUnusable, Tensors
from topologies.triton import SHAPE_WARM_UPS, WARM_UPS, ModelFailed, Triton

PIN = ModelPin(name="compare", version=2)
MODEL = Model(pin=PIN, outputs=("difference",), known={"image": np.zeros((1, 1), np.uint8)})
LATE = InferenceServerException("Deadline Exceeded", status="StatusCode.DEADLINE_EXCEEDED")


class Server:
    """Answers as it is told. `executions`: what the statistics say, one look after the other."""

    def __init__(self, *, executions: list[int], loading: InferenceServerException | None = None) -> None:
        self.unloaded = 0
        self._executions = list(executions)
        self._loading = loading

    async def infer(self, *_: Any, **__: Any) -> None:
        raise LATE

    async def get_inference_statistics(self, *_: Any, **__: Any) -> Any:
        count = self._executions.pop(0)
        model = type("Statistics", (), {"execution_count": count})
        return type("Answer", (), {"model_stats": [model]})

    async def unload_model(self, *_: Any, **__: Any) -> None:
        self.unloaded += 1

    async def load_model(self, *_: Any, **__: Any) -> None:
        if self._loading is not None:
            raise self._loading

    async def is_model_ready(self, *_: Any, **__: Any) -> bool:
        return False

    async def close(self) -> None:
        """Nothing to close."""


def control_of(server: Server) -> ModelControl:
    return ModelControl(client=server, settings=TritonSettings(), told=Registry().told)


@pytest.mark.parametrize(
    ("executions", "patient", "unloaded"),
    [
        ([7, 9], False, 0),  # it answered others meanwhile: it has much to do
        ([7, 7], False, 1),  # it answered nobody: it hangs
        ([7], True, 0),  # everything is cold
    ],
)
async def test_a_model_that_answers_others_is_not_taken_for_one_that_hangs(
    executions: list[int], patient: bool, unloaded: int
) -> None:
    server = Server(executions=executions)
    with pytest.raises(InferenceServerException, match="Deadline"):
        await control_of(server).prove(MODEL, MODEL.known, timeout_s=0.1, patient=patient, shared=False)
    assert server.unloaded == unloaded


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (LATE, InferenceServerException),  # it loads slowly: tried again
        (InferenceServerException("Socket closed", status="StatusCode.UNAVAILABLE"), InferenceServerException),
        (InferenceServerException("failed to load 'compare'", status="StatusCode.UNAVAILABLE"), ConfigurationError),
        (InferenceServerException("no such model", status="StatusCode.INVALID_ARGUMENT"), ConfigurationError),
    ],
)
async def test_only_a_refusal_to_load_is_a_matter_of_configuration(
    answer: InferenceServerException, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        await control_of(Server(executions=[], loading=answer)).load(MODEL)


class Loads:
    """Stands for `ModelControl`: loads and proves everything, but for what a test says."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.late: set[str] = set()
        self.proofs = 0
        self.proved_often = asyncio.Event()
        self.unloaded: list[str] = []
        self.asked: list[tuple[int, tuple[int, ...]]] = []

    async def load(self, model: Model) -> None:
        if model.pin.name in self.gone:
            raise ModelUnusable(f"{model.pin.name} is not in the repository any more")

    async def prove(self, model: Model, *_: Any, **__: Any) -> None:
        self.proofs += 1
        if self.proofs >= 3 * PROOFS_LATE:
            self.proved_often.set()
        if model.pin.name in self.late:
            raise LATE

    async def is_ready(self, _pin: ModelPin) -> bool:
        return True

    async def unload(self, pin: ModelPin) -> None:
        self.unloaded.append(pin.name)

    def forget(self, _pin: ModelPin) -> None:
        """Nothing is known."""

    def most_rows(self, _pin: ModelPin) -> int:
        return 1

    async def infer(self, model: Model, inputs: Tensors, **_: Any) -> dict[str, npt.NDArray[Any]]:
        self.asked.append((model.pin.version, next(iter(inputs.values())).shape))
        return {"found": np.zeros((1, 1), np.uint8)}


class Lives:
    """Stands for the connection: whether the server says that it is there."""

    def __init__(self) -> None:
        self.live = True

    async def is_server_live(self, **_: Any) -> bool:
        return self.live

    async def close(self) -> None:
        """Nothing to close."""


def model(name: str, version: int = 1) -> Model:
    return Model(pin=ModelPin(name=name, version=version), outputs=(), known=MODEL.known)


@asynccontextmanager
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Triton, Loads, Lives]]:
    monkeypatch.setattr(triton_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(triton_module, "LONGEST_PAUSE_S", 0.001)
    triton = Triton(
        settings=TritonSettings(shared_memory="off"), stage=Stage("inspect"), owner="t", told=Registry().told
    )
    await triton._client.close()
    loads, lives = Loads(), Lives()
    triton._client, triton._control = lives, loads  # type: ignore[assignment]
    yield triton, loads, lives
    await triton.close()


async def test_a_model_that_cannot_be_brought_back_is_lost_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client(monkeypatch) as (triton, loads, _):
        for name in ("a", "b"):
            await triton.hold(model(name))
        loads.gone.add("b")
        triton._well = False  # the server was away
        await asyncio.wait_for(triton._recovered(), 10)
        assert triton.ready
        assert triton.holds(model("a").pin)
        assert not triton.holds(model("b").pin)
        with pytest.raises(ModelFailed, match="b/1 is not loaded"):
            await triton.infer(model("b").pin, MODEL.known)
        loads.gone.clear()
        await triton.hold(model("b"))
        assert triton.holds(model("b").pin)


async def test_a_model_is_late_only_on_a_server_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client(monkeypatch) as (triton, loads, lives):
        await triton.hold(model("a"))
        loads.late.add("a")
        lives.live, loads.proofs, triton._well = False, 0, False  # the whole server stands still
        recovering = asyncio.create_task(triton._recovered())
        await asyncio.wait_for(loads.proved_often.wait(), 10)
        assert triton.holds(model("a").pin), "it is waited for without end"
        lives.live = True
        await asyncio.wait_for(recovering, 10)
        assert not triton.holds(model("a").pin), "it hangs by itself"


async def test_a_model_that_hangs_from_the_start_is_unusable_and_no_other_notices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with client(monkeypatch) as (triton, loads, _):
        await triton.hold(model("a"))
        loads.late.add("b")
        with pytest.raises(ModelUnusable, match="b/1 does not work on its known input"):
            await asyncio.wait_for(triton.hold(model("b")), 10)
        assert triton.ready
        assert triton.holds(model("a").pin)


async def test_the_server_takes_a_model_out_only_where_no_version_of_it_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with client(monkeypatch) as (triton, loads, _):
        for version in (1, 2):
            await triton.hold(model("a", version))
        triton.let_go(model("a", 1).pin)
        await triton.unload(model("a", 1).pin)
        assert loads.unloaded == []
        triton.let_go(model("a", 2).pin)
        await triton.unload(model("a", 2).pin)
        assert loads.unloaded == ["a"]


async def test_a_new_version_is_warmed_up_in_the_shapes_that_the_others_are_asked_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with client(monkeypatch) as (triton, loads, _):
        for name in ("a", "b"):
            await triton.hold(model(name))
        await triton.infer(model("a").pin, {"image": np.ones((1, 1, 48, 64), np.uint8)})
        await triton.infer(model("b").pin, {"image": np.ones((1, 1, 99, 99), np.uint8)})
        await triton.hold(model("a", version=2))
        await triton.warm_up(model("a", version=2).pin)
        asked = [shape for version, shape in loads.asked if version == 2]
        assert asked == [(1, 1)] * WARM_UPS + [(1, 1, 48, 64)] * SHAPE_WARM_UPS, (
            "its known input, and as version 1 was asked"
        )
