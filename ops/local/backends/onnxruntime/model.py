"""A Triton backend named `onnxruntime`, in Python: the wheel's server has no other backend than Python.

A model that says `backend: "onnxruntime"` in its `config.pbtxt` and holds `<version>/model.onnx` is served here and, unchanged, by the
onnxruntime backend of the NGC container. Runs inside the server's own environment (`.local/triton`), which has no other module of
this project. Interface: https://github.com/triton-inference-server/python_backend#usage
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton  # type: ignore[import-not-found]  # exists in the server only

Feeds = dict[str, np.ndarray[Any, Any]]
Outputs = list[np.ndarray[Any, Any]]

MOST_THREADS = 2


def _session_options(parameters: dict[str, dict[str, str]]) -> Any:
    """One model must not take the machine: few threads, and none that spins while it waits for work."""
    options = onnxruntime.SessionOptions()
    # the name that the NGC container's backend reads
    asked = parameters.get("intra_op_thread_count", {}).get("string_value")
    options.intra_op_num_threads = int(asked) if asked else min(MOST_THREADS, os.cpu_count() or 1)
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class TritonPythonModel:
    """One instance of one model version."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the version's graph. What is raised here is what the client of `load_model` reads."""
        config = json.loads(args["model_config"])
        filename = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"], args["model_version"], filename)
        self._batches = config.get("max_batch_size", 0) > 0
        self._inputs = [entry["name"] for entry in config["input"]]
        self._outputs = [entry["name"] for entry in config["output"]]
        self._session = onnxruntime.InferenceSession(
            str(path), _session_options(config.get("parameters", {})), providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request: those of equal shapes in one run, and one by one where such a run fails."""
        responses: list[Any] = [None] * len(requests)
        for group in self._groups([self._read(request) for request in requests]):
            try:
                answers = self._run_together([feeds for _, feeds in group])
            except Exception:  # the graph decides what it raises, and one bad request must cost only itself
                answers = [self._run_alone(feeds) for _, feeds in group]
            for (index, _), answer in zip(group, answers, strict=True):
                responses[index] = self._response(requests[index], answer)
        return responses

    def _read(self, request: Any) -> Feeds:
        """Input name -> array, without the inputs that the client left out because they are optional."""
        tensors = ((name, triton.get_input_tensor_by_name(request, name)) for name in self._inputs)
        return {name: tensor.as_numpy() for name, tensor in tensors if tensor is not None}

    def _groups(self, feeds_of_requests: list[Feeds]) -> Iterable[list[tuple[int, Feeds]]]:
        """Lists of (request index, feeds) that can run as one batch, because all but their first dimension is equal."""
        groups: defaultdict[object, list[tuple[int, Feeds]]] = defaultdict(list)
        for index, feeds in enumerate(feeds_of_requests):
            shapes = tuple((name, array.shape[1:]) for name, array in feeds.items())
            groups[shapes if self._batches else index].append((index, feeds))
        return groups.values()

    def _run_together(self, batch: list[Feeds]) -> list[Outputs]:
        """One run over the concatenated inputs; per request the list of outputs, as `self._outputs`."""
        if len(batch) == 1:
            return [self._session.run(self._outputs, batch[0])]
        joined = {name: np.concatenate([feeds[name] for feeds in batch]) for name in batch[0]}
        outputs = self._session.run(self._outputs, joined)
        ends = np.cumsum([len(next(iter(feeds.values()))) for feeds in batch])
        if any(len(output) != ends[-1] for output in outputs):
            raise ValueError("the first dimension of an output is not the batch")
        parts_of_outputs = [np.split(output, ends[:-1]) for output in outputs]
        return [list(parts) for parts in zip(*parts_of_outputs, strict=True)]

    def _run_alone(self, feeds: Feeds) -> Any:
        """The outputs of one request, or the error that is its answer."""
        try:
            return self._session.run(self._outputs, feeds)
        except Exception as error:  # any failure of the graph belongs to this request
            return triton.TritonError(f"{type(error).__name__}: {error}")

    def _response(self, request: Any, answer: Any) -> Any:
        if isinstance(answer, triton.TritonError):
            return triton.InferenceResponse(error=answer)
        wanted = set(request.requested_output_names())
        return triton.InferenceResponse(
            [triton.Tensor(name, array) for name, array in zip(self._outputs, answer, strict=True) if name in wanted]
        )
