"""What an error of the inference server says about the server: away, busy, late, or gone in the middle of a request."""

from __future__ import annotations

from tritonclient.utils import InferenceServerException

_UNAVAILABLE = "StatusCode.UNAVAILABLE"
_LATE = "StatusCode.DEADLINE_EXCEEDED"
_AWAY = (_UNAVAILABLE, "StatusCode.NOT_FOUND", "StatusCode.CANCELLED")
_NO_MODEL_WORDS = "request for unknown model"
_BUSY_WORDS = ("maximum queue size", "timeout expired")


def text_of(error: InferenceServerException) -> str:
    """Status and message, for a person."""
    return f"{error.status() or ''} {error.message() or ''}".strip()


def is_busy(error: InferenceServerException) -> bool:
    """Its queue is full."""
    return any(words in text_of(error).lower() for words in _BUSY_WORDS)


def is_late(error: InferenceServerException) -> bool:
    """It did not answer in time."""
    return bool(error.status() == _LATE)


def is_away(error: InferenceServerException) -> bool:
    """It, or the model, is not there at present."""
    return error.status() in _AWAY or _lacks_model(error)


def is_cut_off(error: InferenceServerException) -> bool:
    """The connection ended: the process may have died of the request. Not where only the model is out: another client loads it again."""
    return bool(error.status() == _UNAVAILABLE) and not _lacks_model(error)


def _lacks_model(error: InferenceServerException) -> bool:
    return _NO_MODEL_WORDS in text_of(error).lower()
