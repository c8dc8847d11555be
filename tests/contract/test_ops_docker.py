"""The containers: valid Compose files, no stage forgotten, settings that exist, an image made of files that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cli.run import STAGE_MODULES
from schemas.settings import KafkaSettings, ObjectStoreSettings, SpoolSettings, StageSettings, TritonSettings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
SPECIFICATION = json.loads(
    (Path(__file__).with_name("vendor") / "compose-spec.schema.json").read_text(encoding="utf-8")
)
COMPOSE_FILES = sorted(DOCKER.glob("compose*.yaml"))


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


COMPOSE = load(DOCKER / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.name)
def test_a_compose_file_follows_the_specification(path: Path) -> None:
    errors = [
        f"{e.json_path}: {e.message[:200]}" for e in jsonschema.Draft7Validator(SPECIFICATION).iter_errors(load(path))
    ]
    assert not errors


def test_the_specification_would_notice_a_mistake() -> None:
    broken = {"services": {"kafka": {"image": "apache/kafka", "restrat": "always"}}}
    assert list(jsonschema.Draft7Validator(SPECIFICATION).iter_errors(broken))


@pytest.mark.parametrize("stage", STAGE_MODULES)
def test_every_stage_is_a_service(stage: str) -> None:
    service = SERVICES[stage]
    assert service["command"] == ["run", stage, "--plant", "/plant/plant.yaml"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_bounded(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory"} <= set(limits)
    assert service["logging"]["options"]["max-size"]
    assert service["restart"] == ("no" if name == "topics" else "unless-stopped")


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_says_whether_it_is_well(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert "HEALTHCHECK" in DOCKERFILE
    else:
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_services_that_there_are(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        well = "healthcheck" in SERVICES[other] and SERVICES[other]["healthcheck"] != {"disable": True}
        assert well or how["condition"] == "service_completed_successfully"


def test_triton_loads_every_model_of_the_repository_by_name() -> None:
    loaded = {word.removeprefix("--load-model=") for word in SERVICES["triton"]["command"] if "load-model" in word}
    assert loaded == {path.name for path in (ROOT / "triton_models").iterdir() if (path / "config.pbtxt").is_file()}
    assert "--model-control-mode=explicit" in SERVICES["triton"]["command"]


def test_prometheus_scrapes_every_stage_and_triton() -> None:
    targets = json.loads((DOCKER / "prometheus-targets.json").read_text(encoding="utf-8"))
    assert {row["labels"]["stage"]: row["targets"] for row in targets} == {
        **{stage: [f"{stage}:9100"] for stage in STAGE_MODULES},
        "triton": ["triton:8002"],
    }
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["prometheus"]["volumes"])
    assert mounts["./prometheus-targets.json"] == "/run/prometheus/targets.json"
    config = load(ROOT / "ops/prometheus/prometheus.yml")
    (pattern,) = config["scrape_configs"][0]["file_sd_configs"][0]["files"]
    assert Path(mounts["../ops/prometheus"], pattern).resolve() == Path("/run/prometheus/targets.json")


def test_mounted_files_are_in_the_checkout() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), source


def test_settings_in_the_environment_are_settings_that_exist() -> None:
    known = {
        f"{settings.model_config['env_prefix']}{field}".upper()
        for settings in (KafkaSettings, TritonSettings, ObjectStoreSettings, StageSettings, SpoolSettings)
        for field in settings.model_fields
    }
    in_image = set(re.findall(r"^(?:ENV )?\s*((?:LINESIGHT|KAFKA|TRITON|OBJECT_STORE)_\w+)=", DOCKERFILE, re.MULTILINE))
    assert "LINESIGHT_METRICS_HOST" in in_image
    assert in_image | set(COMPOSE["x-stage"]["environment"]) <= known


def test_the_image_is_made_of_files_that_are_there() -> None:
    allowed = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
        assert f"\n!{source}\n" in allowed, f"{source} is copied and ignored"


def test_the_image_holds_every_package() -> None:
    packages = re.search(r"packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.DOTALL)
    assert packages is not None
    for name in re.findall(r'"(\w+)[".]', packages[1]):
        assert f"\nCOPY {name} {name}\n" in DOCKERFILE


def test_the_image_installs_only_what_the_lock_knows_and_runs_unprivileged() -> None:
    assert "--require-hashes" in DOCKERFILE
    lock = (ROOT / "requirements/base.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^[a-zA-Z0-9._-]+==\S+", lock, re.MULTILINE)
    assert len(pinned) > 30
    assert lock.count("--hash=sha256:") >= len(pinned)
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["linesight"]
    assert DOCKERFILE.index("USER linesight") < DOCKERFILE.index("ENTRYPOINT")
