"""Event time: which window a moment belongs to, and how far a partition's time has come.

Tumbling windows, `[start, start + length)`, are aligned to the epoch; `processors/window_plan.py` has the others. A partition's
watermark says that no message older than it is expected any more. It depends on the log alone (event times, and the times at
which records were appended), so that a restart that reads the log again closes the same windows and calls the same messages late.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.message import NS_PER_MS


class Window(NamedTuple):
    """A window of event time, `[start_at_ns, end_at_ns)`. `kind` is `tumbling`, `sliding` or `shift`; a shift has a name."""

    start_at_ns: int
    length_ms: int
    kind: str = "tumbling"
    shift: str = ""

    @property
    def end_at_ns(self) -> int:
        """The first nanosecond after the window."""
        return self.start_at_ns + self.length_ms * NS_PER_MS

    def told(self, name: str, *, by: str, level: str) -> str:
        """The window of the figures of `name` in their ids; what does not tumble, and parts of one level, are named in it."""
        parts = f"/{by}={level}" if by else ""
        kind = "" if self.kind == "tumbling" else f"/{self.shift or self.kind}"
        return f"{name}{parts}{kind}/{self.length_ms}/{self.start_at_ns}"

    @staticmethod
    def containing(at_ns: int, length_ms: int) -> Window:
        """The tumbling window of that length that holds the moment."""
        length_ns = length_ms * NS_PER_MS
        return Window(at_ns - at_ns % length_ns, length_ms)


class Watermark:
    """How far the event time of one partition has come.

    It follows the newest event, never ahead of the record's own time by more than the grace (a clock that runs ahead would
    close every window). When nothing happens for the idle timeout, it follows the clock at that distance, so that the last
    window before a pause closes too; reviews may come meanwhile.
    """

    def __init__(self, *, grace_ms: int, idle_timeout_ms: int) -> None:
        self._grace_ns = grace_ms * NS_PER_MS
        self._idle_ns = idle_timeout_ms * NS_PER_MS
        self._from_log_ns = 0
        self._from_clock_ns = 0
        self._last_record_at_ns = 0
        self._last_news_at_ns: int | None = None  # of a record that was no review

    @property
    def at_ns(self) -> int:
        """The watermark, in ns of event time; 0 before the first record."""
        return max(self._from_log_ns, self._from_clock_ns)

    @property
    def log_at_ns(self) -> int:
        """The watermark by the log alone, without the clock: what makes a record late."""
        return self._from_log_ns

    @property
    def last_news_at_ns(self) -> int:
        """The newest time of a record that was no review, ns; 0 before the first."""
        return self._last_news_at_ns or 0

    def late(self, window: Window) -> bool:
        """Whether a record that comes now is too late for the window: its end and the grace lie behind the watermark by the log alone."""
        return window.end_at_ns + self._grace_ns <= self._from_log_ns

    def record_at(self, record_at_ns: int) -> None:
        """A record comes whose own time is `record_at_ns`: call before asking whether it is `late`."""
        self.review_at(record_at_ns)
        self._last_news_at_ns = max(self.last_news_at_ns, record_at_ns)

    def review_at(self, record_at_ns: int) -> None:
        """A record comes that says something else of an event long gone: nothing new happened, and the partition is as idle as without."""
        if self._last_news_at_ns is not None and record_at_ns - self._last_news_at_ns >= self._idle_ns:
            self._from_log_ns = max(self._from_log_ns, record_at_ns - self._idle_ns)
        self._last_record_at_ns = max(self._last_record_at_ns, record_at_ns)

    def event_at(self, event_at_ns: int) -> None:
        """The event of the record that came last happened at `event_at_ns`."""
        self._from_log_ns = max(self._from_log_ns, min(event_at_ns, self._last_record_at_ns + self._grace_ns))

    def clock_at(self, now_ns: int) -> None:
        """Time passes without news."""
        last_ns = self._last_record_at_ns if self._last_news_at_ns is None else self._last_news_at_ns
        if last_ns and now_ns - last_ns >= self._idle_ns:
            self._from_clock_ns = max(self._from_clock_ns, now_ns - self._idle_ns)
