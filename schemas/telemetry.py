"""What every stage shows: its instruments, its typed events, its health endpoints, its JSON log.

One typed event emits log line, counter and reason together; nobody calls a logger and a counter side by side.
Label values are bounded (reasons, topics), never ids of parts or frames.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from schemas.durations import Durations
from schemas.errors import ConfigurationError
from schemas.readiness import RecipeStatus
from schemas.reasons import DropReason, RefusalReason

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUEST_TIMEOUT_S = 10.0
"""A client that connects and sends nothing holds a thread no longer than this."""

STAGES = (
    "station_gateway",
    "plc_gateway",
    "sensor_gateway",
    "inspect",
    "backfill",
    "judge",
    "statistics",
    "alerts",
    "retraining",
    "trainer",
    "sensors",
    "record",
)
"""Every stage there is; each emits the same set of metrics under its own name."""

SERVICES = ("broker", "triton", "plc", "camera", "store", "receiver")
"""What a stage may have to wait for: the label values of `retried`."""


class Stage:
    """The instruments of one stage. Metric names are `linesight_<stage>_<what>`.

    `ready` says whether the stage has its partitions and services; it is what `/readyz` answers.
    """

    def __init__(self, name: str, *, registry: CollectorRegistry | None = None) -> None:
        if name not in STAGES:
            raise ValueError(f"unknown stage {name!r}; one of {', '.join(STAGES)}")
        self.name = name
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.log: Any = structlog.get_logger(stage=name)
        self._ready = threading.Event()
        self.recipes = RecipeStatus()
        """What the stage says of recipes on `readiness`."""
        self.received = self.counter("in", "Records taken in.", "topic")
        self.produced = self.counter("out", "Records produced and acknowledged.", "topic")
        self.dropped = self.counter("dropped", "Records refused, or dropped by a rule.", "reason")
        self.retried = self.counter("retried", "Attempts repeated after a transient failure.", "reason")
        self.noticed = self.counter("noticed", "Things noticed and survived.", "what")
        self.in_progress = self.gauge("in_progress", "Records taken in and not yet finished.")
        self.in_progress_bytes = self.gauge("in_progress_bytes", "Bytes of records taken in and not yet finished.")
        self._budget_used = self.gauge("budget_used_bytes", "Bytes held in a place that has a budget.", "budget")
        self._budget_limit = self.gauge("budget_limit_bytes", "What a place may hold.", "budget")
        self.duration = Durations(
            f"linesight_{name}_duration_seconds",
            "From the start of the work on a record to its end.",
            registry=self.registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self.lag = self.gauge("lag_seconds", "Age of the record taken in last, by the broker's time.")
        self.last_processed = self.gauge("last_processed_timestamp_seconds", "When a record was finished last.")
        # a series that begins at 1 has no increase: what can be counted is there from the start
        for reason in (*RefusalReason, *DropReason):
            self.dropped.labels(reason)
        for service in SERVICES:
            self.retried.labels(service)
        self._ready_shown = self.gauge("ready", "1 when the stage has its partitions and services, as /readyz says.")

    def counter(self, what: str, text: str, *labels: str) -> Counter:
        """A counter `linesight_<stage>_<what>_total`."""
        return Counter(f"linesight_{self.name}_{what}", text, labels, registry=self.registry)

    def gauge(self, what: str, text: str, *labels: str) -> Gauge:
        """A gauge `linesight_<stage>_<what>`."""
        return Gauge(f"linesight_{self.name}_{what}", text, labels, registry=self.registry)

    def histogram(self, what: str, text: str, *labels: str) -> Histogram:
        """A histogram `linesight_<stage>_<what>` with the latency buckets of this project."""
        return Histogram(
            f"linesight_{self.name}_{what}", text, labels, registry=self.registry, buckets=LATENCY_BUCKETS_S
        )

    def budget(self, name: str, *, limit_bytes: int) -> Gauge:
        """The gauge of what is held against a budget of `limit_bytes`. Names: fetched, held, decoded, unsent."""
        self._budget_limit.labels(name).set(limit_bytes)
        return self._budget_used.labels(name)

    def taken(self, topic: str, *, at_ms: int, count: int = 1) -> None:
        """A record with broker time `at_ms` was taken in, or `count` of them, of which it is the last."""
        self.received.labels(topic).inc(count)
        self.in_progress.inc(count)
        self.lag.set(max(0.0, time.time() - at_ms / 1000))

    def finished(self, *, seconds: float, count: int = 1) -> None:
        """A record is finished, or `count` together: everything that they produced was acknowledged."""
        self.in_progress.dec(count)
        self.duration.observe_times(seconds, count)
        self.last_processed.set_to_current_time()

    @property
    def ready(self) -> bool:
        """Whether the stage does its work."""
        return self._ready.is_set()

    @ready.setter
    def ready(self, value: bool) -> None:
        if value:
            self._ready.set()
        else:
            self._ready.clear()
        self._ready_shown.set(value)

    def emit(self, event: Event) -> None:
        """Writes the event's log line and counts it."""
        counter: Counter = getattr(self, event.counter)
        counter.labels(event.label).inc()
        fields = {key: value for key, value in asdict(event).items() if value not in (None, "")}
        getattr(self.log, event.level)(event.name, **fields)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, told once: `level` and `name` for the log, `counter` and `label` for the metrics."""

    level: ClassVar[str] = "info"
    name: ClassVar[str]
    counter: ClassVar[str]

    @property
    def label(self) -> str:
        """The bounded label value."""
        raise TypeError(f"{type(self).__name__} names no label")


@dataclass(frozen=True, kw_only=True)
class RecordRefused(Event):
    """A record can never succeed; it went to the dead letters."""

    level: ClassVar[str] = "warning"
    name: ClassVar[str] = "record_refused"
    counter: ClassVar[str] = "dropped"
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int

    @property
    def label(self) -> str:
        return self.reason


@dataclass(frozen=True, kw_only=True)
class DroppedByRule(Event):
    """A record was dropped on purpose; not an error."""

    name: ClassVar[str] = "dropped_by_rule"
    counter: ClassVar[str] = "dropped"
    reason: str
    subject: str
    detail: str = ""

    @property
    def label(self) -> str:
        return self.reason


@dataclass(frozen=True, kw_only=True)
class AttemptRepeated(Event):
    """A transient failure; the same attempt is made again. `service` is one of `SERVICES`."""

    level: ClassVar[str] = "warning"
    name: ClassVar[str] = "attempt_repeated"
    counter: ClassVar[str] = "retried"
    service: str
    detail: str
    attempt: int = 0

    @property
    def label(self) -> str:
        return self.service


@dataclass(frozen=True, kw_only=True)
class Noticed(Event):
    """Something odd that was survived. `what` is bounded: duplicate, sequence_gap, clock_skew, late, ..."""

    name: ClassVar[str] = "noticed"
    counter: ClassVar[str] = "noticed"
    what: str
    subject: str
    detail: str = ""

    @property
    def label(self) -> str:
        return self.what


def log_as_json(level: str = "INFO") -> None:
    """Every log line of this process becomes one JSON object on standard error, those of libraries included."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("asyncua", "aiokafka", "kafka", "faust", "mode"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


class HealthServer:
    """Serves `/metrics`, `/healthz` (the process answers) and `/readyz` (200 when the stage is ready, else 503).

    Raises ConfigurationError when the address cannot be had.
    """

    def __init__(self, stage: Stage, *, port: int = 0, host: str = "127.0.0.1") -> None:
        try:
            self._server = _Server((host, port), _handler(stage))
        except OSError as error:
            raise ConfigurationError(
                f"{stage.name} cannot serve its metrics at {host}:{port} ({error.strerror}): "
                "set LINESIGHT_METRICS_PORT to a free port (0 takes one), LINESIGHT_METRICS_HOST to an address of this machine"
            ) from error
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that went away in the middle is no event of the stage, and a traceback is no JSON log line."""


def _handler(stage: Stage) -> type[BaseHTTPRequestHandler]:
    answers: dict[str, Callable[[], tuple[int, str, bytes]]] = {
        "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(stage.registry)),
        "/healthz": lambda: (200, "text/plain", b"alive\n"),
        "/readyz": lambda: (200, "text/plain", b"ready\n") if stage.ready else (503, "text/plain", b"not ready\n"),
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            status, kind, body = answer() if answer else (404, "text/plain", b"try /metrics, /healthz or /readyz\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Scrapes are not worth a log line."""

    return Handler
