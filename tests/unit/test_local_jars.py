"""Kafka's jars come from the repository that the user configured, and are what the lock says."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.local.jars import BINDING, KAFKA, Jar, fetch, mirror_of_central, parse_lock, sha256_of
from ops.local.places import CHECKOUT, KAFKA_LOCK

SETTINGS = """<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors><mirror>
<id>plant</id><mirrorOf>{of}</mirrorOf><url>{url}</url></mirror></mirrors></settings>"""


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without writing to the terminal."""

    def log_message(self, *_: object) -> None:
        """Nothing: pytest's output is for test results."""


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A Maven repository folder and its address."""
    folder = tmp_path / "repository"
    folder.mkdir()
    handler = lambda *arguments: QuietHandler(*arguments, directory=str(folder))  # noqa: E731 -- a class factory
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("M2_REPO", "JGO_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def publish(folder: Path, content: bytes) -> Jar:
    """Put a jar into a repository; the lock entry of it."""
    jar = Jar("org.example", "press", "1.0", "")
    file = folder / jar.path_in_repository
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return Jar(jar.group, jar.artifact, jar.version, sha256_of(file))


def use_mirror(home: Path, url: str) -> None:
    (home / ".m2").mkdir()
    (home / ".m2" / "settings.xml").write_text(SETTINGS.format(of="central", url=url))


def test_fetches_from_the_mirror_of_the_users_maven_settings_and_keeps_a_copy(
    repository: tuple[Path, str], home: Path, tmp_path: Path
) -> None:
    folder, url = repository
    use_mirror(home, url)
    jar = publish(folder, b"classes")
    assert list(fetch([jar], tmp_path / "jars")) == [jar]
    assert [file.name for file in (tmp_path / "jars").iterdir()] == ["press-1.0.jar"]
    assert sha256_of(home / ".m2" / "repository" / jar.path_in_repository) == jar.sha256


def test_an_interrupted_download_in_the_cache_is_not_taken_for_the_jar(
    repository: tuple[Path, str], home: Path, tmp_path: Path
) -> None:
    folder, url = repository
    use_mirror(home, url)
    jar = publish(folder, b"classes")
    truncated = home / ".m2" / "repository" / jar.path_in_repository
    truncated.parent.mkdir(parents=True)
    truncated.write_bytes(b"cla")
    list(fetch([jar], tmp_path / "jars"))
    assert sha256_of(tmp_path / "jars" / jar.filename) == jar.sha256


FETCH = """
import sys
from pathlib import Path
from ops.local import jars
jars.KAFKA_LOCK = Path(sys.argv[1])
sys.exit(jars.main(["fetch", sys.argv[2]]))
"""


def run_fetch(lock: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, "-c", FETCH, lock, folder]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT, timeout=60)


@pytest.mark.parametrize("fault", ["other content", "missing"])
def test_a_jar_that_is_not_the_locked_one_or_cannot_be_had_is_refused_in_one_sentence(
    repository: tuple[Path, str], home: Path, tmp_path: Path, fault: str
) -> None:
    folder, url = repository
    use_mirror(home, url)
    jar = publish(folder, b"classes")
    published = folder / jar.path_in_repository
    published.write_bytes(b"something else") if fault == "other content" else published.unlink()
    lock = tmp_path / "kafka.lock"
    lock.write_text(f"# jars\n{jar}\n")
    result = run_fetch(lock, tmp_path / "jars")
    assert result.returncode == 1
    (sentence,) = result.stderr.splitlines()
    assert "press-1.0.jar" in sentence
    assert ("do not use this repository" if fault == "other content" else "mirror in ~/.m2/settings.xml") in sentence


@pytest.mark.parametrize(
    ("of", "mirrors"),
    [
        ("*", True),
        ("central", True),
        ("external:*", True),
        ("x,central", True),
        ("*,!central", False),
        ("snapshots", False),
    ],
)
def test_reads_mirrors_as_maven_does(tmp_path: Path, of: str, mirrors: bool) -> None:
    settings = tmp_path / "settings.xml"
    settings.write_text(SETTINGS.format(of=of, url="https://maven.plant.example/m2/"))
    assert mirror_of_central(settings) == ("https://maven.plant.example/m2" if mirrors else None)


def test_the_lock_holds_one_kafka_release_and_the_binding_without_which_its_log_is_silent() -> None:
    jars = parse_lock(KAFKA_LOCK.read_text())
    _, _, release = KAFKA.split(":")
    kafka = {jar.artifact: jar.version for jar in jars if jar.group == "org.apache.kafka"}
    assert set(kafka.values()) == {release}
    assert {"kafka-clients", "kafka_2.13", "kafka-storage"} <= set(kafka)
    assert BINDING in {f"{jar.group}:{jar.artifact}" for jar in jars}
    assert all(len(jar.sha256) == 64 for jar in jars)
