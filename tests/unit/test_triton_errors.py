"""What Triton says, and whose fault it is: the server's, the model's, or the request's."""

from __future__ import annotations

import pytest
from tritonclient.utils import InferenceServerException

from topologies.triton_errors import is_away, is_busy, is_cut_off, is_late


@pytest.mark.parametrize(
    ("status", "said", "meant"),
    [
        ("UNAVAILABLE", "Socket closed", {"away", "cut off"}),
        ("UNAVAILABLE", "failed to connect to all addresses", {"away", "cut off"}),
        # another worker took the model out to load it anew: no frame is to blame, however often it happens
        ("UNAVAILABLE", "Request for unknown model: 'golden_compare' has no available versions", {"away"}),
        ("NOT_FOUND", "Request for unknown model: 'golden_compare' is not found", {"away"}),
        ("CANCELLED", "", {"away"}),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", {"late"}),
        ("INTERNAL", "Stub process 'golden_compare_0_0' is not healthy.", set()),
        ("INVALID_ARGUMENT", "the node 'mean' was not found in the graph, it is not ready", set()),
    ],
)
def test_an_error_is_read_for_what_it_says_of_the_server(status: str, said: str, meant: set[str]) -> None:
    error = InferenceServerException(said, status=f"StatusCode.{status}")
    readings = {"away": is_away, "late": is_late, "busy": is_busy, "cut off": is_cut_off}
    assert {name for name, reads in readings.items() if reads(error)} == meant


def test_a_full_queue_is_busy_whatever_its_status() -> None:
    assert is_busy(InferenceServerException("Exceeds maximum queue size", status="StatusCode.UNAVAILABLE"))
