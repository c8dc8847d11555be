"""Real services for the tests: started once per session, shared by topic prefix; skipped locally and required in CI where missing."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ops.local.kafka import LocalKafka
from ops.local.places import CHECKOUT, KAFKA_JARS, TRITON_BACKENDS
from ops.local.triton import LocalTriton

MODEL_REPOSITORY = CHECKOUT / "triton_models"
SHARED_DATA = CHECKOUT.parent / "shared" / "data"


# No example is late on a busy machine. The same examples in every run of CI: a property that fails there fails for the next person too;
# elsewhere they are new each time.
settings.register_profile("anywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("anywhere"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "anywhere")


def require(folder: Path, what: str) -> None:
    """Skip the test where a service is not installed; fail it in CI, where nothing may be left out."""
    if folder.is_dir():
        return
    reason = f"{what} is not installed in {folder}: run make setup"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def kafka_installed() -> None:
    """For tests that start a broker of their own."""
    require(KAFKA_JARS, "Kafka")


@pytest.fixture(scope="session")
def triton_installed() -> None:
    """For tests that start a Triton of their own."""
    require(TRITON_BACKENDS, "Triton")


@pytest.fixture(scope="session")
def kafka(kafka_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of the session's broker, or of the one that `KAFKA_BOOTSTRAP_SERVERS` names."""
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield given
        return
    run_dir = tmp_path_factory.mktemp("kafka")
    with LocalKafka(run_dir) as broker:
        yield broker.bootstrap_servers
    shutil.rmtree(run_dir / "kafka")  # pytest keeps the folders of three sessions; the logs are what one reads again


@pytest.fixture(scope="session")
def triton(triton_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` (gRPC) of the session's Triton with every model of `triton_models/`, or of the one that `TRITON_URL` names."""
    if given := os.environ.get("TRITON_URL"):
        yield given
        return
    with LocalTriton(tmp_path_factory.mktemp("triton"), MODEL_REPOSITORY) as server:
        yield server.url


@pytest.fixture
def unique_prefix() -> str:
    """A topic prefix (plant name) and group name of this test alone."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and signals beside the checkout (`docs/` says where the sets come from)."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the data sets in {SHARED_DATA}")
    return SHARED_DATA
