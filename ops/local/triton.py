"""Triton on this machine: the real `tritonserver` of the nvidia-pytriton wheel as a supervised child."""

from __future__ import annotations

import http.client
import itertools
import os
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ops.local import ports, shared_memory
from ops.local.children import Child, DidNotStart
from ops.local.places import CHECKOUT, TRITON_BACKENDS, TRITON_VENV, site_packages
from ops.local.supervisor import Supervised
from schemas.errors import ConfigurationError, ServiceAway
from schemas.settings import TritonSettings

READY_S = 60.0
GRACE_S = 10.0
SERVER_EXIT_S = 5
REACHABLE_S = 10.0
EVERY_MODEL = ("*",)
# Per model instance: tensors pass through it between the server and its Python process. A container's /dev/shm often has 64 MB.
SHARED_MEMORY_BYTES = 16 << 20
ADVICE = "If a model cannot be loaded, mend or remove it; if /dev/shm is full, free it; then try again."
# Of the caller's environment, these would make the server's Python look for its packages in the wrong place.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")

QUIET_START = CHECKOUT / "ops" / "local" / "backends" / "start"
"""A version that starts yields to those that judge parts (`sitecustomize.py` in it)."""

_instances = itertools.count()


class TritonService(Supervised, Protocol):
    """What `linesight up` needs of a Triton, its own or someone else's. `start` returns when clients can connect."""

    @property
    def url(self) -> str:
        """`host:port` of the gRPC endpoint."""


class LocalTriton:
    """A real server on free ports, in EXPLICIT model control.

    `models` are loaded at every start, so also after a crash; `("*",)` is every model of the repository, `()` none. Those of
    `trained`, a second repository that is made where it is not there, are loaded when they are asked for: one that is broken
    does not keep the others from starting. The same object keeps its ports when it is started again.
    """

    name = "triton"

    def __init__(
        self,
        run_dir: Path,
        model_repository: Path,
        *,
        models: Sequence[str] = EVERY_MODEL,
        trained: Path | None = None,
    ) -> None:
        self._log_dir = (run_dir / "logs").absolute()
        self._repository = model_repository.absolute()
        self._trained = None if trained is None else trained.absolute()
        self._models = tuple(models)
        self._regions = shared_memory.region_prefix(next(_instances))
        self._ports: list[int] = []
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """`host:port` of the gRPC endpoint. Raises DidNotStart before `start()`, as the other addresses do."""
        return f"{ports.HOST}:{self._port(0)}"

    @property
    def metrics_url(self) -> str:
        """Address that Prometheus scrapes."""
        return f"http://{ports.HOST}:{self._port(2)}/metrics"

    @property
    def child(self) -> Child:
        """The server's process. Raises DidNotStart before `start()`."""
        if self._child is None:
            raise DidNotStart("Triton was not started")
        return self._child

    def start(self) -> None:
        """Start the server; returns when it and its models are ready. Raises DidNotStart with the server's last log lines."""
        if not TRITON_BACKENDS.is_dir():
            raise ConfigurationError(f"Triton is not installed in {TRITON_VENV}: run make setup")
        if not self._repository.is_dir():
            raise ConfigurationError(
                f"there is no model repository at {self._repository}: name a folder that holds models"
            )
        if self._trained is not None:
            self._trained.mkdir(parents=True, exist_ok=True)
        shared_memory.sweep(self._regions)
        if self._child is None:
            self._ports = ports.free_ports(3)
            self._child = self._new_child()
        self._child.start()
        try:
            self._child.wait_ready(self._is_ready, deadline_s=READY_S, advice=ADVICE)
        except DidNotStart:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server, its Python processes and their shared memory."""
        if self._child is not None:
            self._child.stop()
            shared_memory.sweep(self._regions)

    def poll(self) -> int | None:
        """None while the server runs, else its exit status."""
        return None if self._child is None else self._child.poll()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _port(self, index: int) -> int:
        if not self._ports:
            raise DidNotStart("Triton has no address before it is started")
        return self._ports[index]

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(ports.HOST, self._port(1), timeout=2)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _models_at_start(self) -> Sequence[str]:
        """The server's own `*` would mean every model of both repositories."""
        if self._trained is None or self._models != EVERY_MODEL:
            return self._models
        return sorted(config.parent.name for config in self._repository.glob("*/config.pbtxt"))

    def _new_child(self) -> Child:
        packages = site_packages(TRITON_VENV)
        grpc, http_, metrics = (str(port) for port in self._ports)
        command: list[str | Path] = [
            packages / "pytriton" / "tritonserver" / "bin" / "tritonserver",
            f"--model-repository={self._repository}",
            *([] if self._trained is None else [f"--model-repository={self._trained}"]),
            f"--backend-directory={TRITON_BACKENDS}",
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in self._models_at_start()),
            "--disable-auto-complete-config",
            f"--backend-config=python,shm-region-prefix-name={self._regions}",
            f"--backend-config=python,shm-default-byte-size={SHARED_MEMORY_BYTES}",
            f"--backend-config=python,shm-growth-byte-size={SHARED_MEMORY_BYTES}",
            "--pinned-memory-pool-byte-size=0",
            "--allow-gpu-metrics=false",
            "--http-thread-count=2",
            f"--exit-timeout-secs={SERVER_EXIT_S}",
            f"--grpc-address={ports.HOST}", f"--grpc-port={grpc}",
            f"--http-address={ports.HOST}", f"--http-port={http_}",
            f"--metrics-address={ports.HOST}", f"--metrics-port={metrics}",
        ]  # fmt: skip
        return Child(
            name=self.name, command=command, log_dir=self._log_dir, env=_server_environment(packages), grace_s=GRACE_S
        )


def _server_environment(packages: Path) -> dict[str, str]:
    """The caller's environment, changed so that the server's Python processes are of its own virtual environment."""
    env = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    # the embedded Python finds its packages through the first `python3` in PATH
    env["PATH"] = os.pathsep.join([str(TRITON_VENV / "bin"), env.get("PATH", os.defpath)])
    libraries = [
        str(packages / "nvidia_pytriton.libs"),
        str(sysconfig.get_config_var("LIBDIR")),
        env.get("LD_LIBRARY_PATH", ""),
    ]
    env["LD_LIBRARY_PATH"] = os.pathsep.join(folder for folder in libraries if folder)
    env["PYTHONPATH"] = str(QUIET_START)
    env["OPENBLAS_NUM_THREADS"] = env["OMP_NUM_THREADS"] = "1"  # numpy only concatenates there
    return env


class GivenTriton:
    """A Triton that someone else runs, named by `TRITON_URL` (`host:port`, gRPC)."""

    name = "triton"

    def __init__(self, url: str) -> None:
        self.url = url

    def start(self) -> None:
        """Raises ServiceAway when nothing accepts a connection there within 10 s."""
        host, _, port = self.url.rpartition(":")
        give_up_at = time.monotonic() + REACHABLE_S
        while not ports.answers(host, int(port)):
            if time.monotonic() >= give_up_at:
                raise ServiceAway(f"no Triton answers at {self.url} (TRITON_URL): start it, or unset the variable")
            time.sleep(0.2)

    def stop(self) -> None:
        """Nothing: it is not ours."""

    def poll(self) -> int | None:
        """None: its life is not ours to know."""
        return None


def triton_service(run_dir: Path, model_repository: Path, *, trained: Path | None = None) -> TritonService:
    """The Triton to use: the one that `TRITON_URL` names, else a local one on these repositories. Not started yet.

    The local one starts without models: the stages load those that they want.
    """
    if "TRITON_URL" in os.environ:
        return GivenTriton(TritonSettings().url)
    return LocalTriton(run_dir, model_repository, models=(), trained=trained)
