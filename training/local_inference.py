"""Runs the committed models in this process with onnxruntime: the same graphs that Triton serves, without a server."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

GOLDEN_COMPARE = Path("triton_models/golden_compare/2/model.onnx")
DEFECT_CLASSIFIER = Path("triton_models/defect_classifier/1/model.onnx")


def open_model(model: Path | bytes) -> onnxruntime.InferenceSession:
    """Loads a model for one thread.

    Raises:
        FileNotFoundError: the model was not built yet.
    """
    if isinstance(model, Path) and not model.exists():
        raise FileNotFoundError(f"{model}: not built yet; `python -m training.{model.parent.parent.name}` builds it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class Comparison:
    """The `golden_compare` model as a function."""

    def __init__(self, model: Path | bytes = GOLDEN_COMPARE) -> None:
        self._session = open_model(model)

    def __call__(self, image: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """uint8 [h, w] twice, reduced pictures -> difference, uint8 [h, w]."""
        inputs = {"image": image[None, None], "reference": reference[None, None]}
        return np.asarray(self._session.run(["difference"], inputs)[0][0, 0], np.uint8)


class Classification:
    """The `defect_classifier` model as a function."""

    def __init__(self, model: Path | bytes = DEFECT_CLASSIFIER) -> None:
        self._session = open_model(model)

    def __call__(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 [N, 2, CROP_PX, CROP_PX] -> probabilities, float32 [N, 7]."""
        return np.asarray(self._session.run(["probabilities"], {"crops": crops})[0], np.float32)
