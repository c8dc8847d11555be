"""Frames are lost by name where nobody takes them; that a camera was connected anew never is."""

from __future__ import annotations

from gateways.frame_queue import WAITING_FRAMES, Connected, FrameQueue


def test_a_new_connection_is_known_though_the_queue_is_full() -> None:
    frames: FrameQueue[int] = FrameQueue()
    assert [frames.put(number) for number in range(WAITING_FRAMES + 2)] == [True] * WAITING_FRAMES + [False] * 2
    frames.begin()
    assert [frames.get(within_s=0) for _ in range(WAITING_FRAMES)] == list(range(WAITING_FRAMES))
    assert isinstance(frames.get(within_s=0), Connected)
    assert frames.get(within_s=0.01) is None
    assert frames.put(1), "there is room again"
