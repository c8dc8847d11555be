"""Apache Kafka's jars: resolved once into `requirements/kafka.lock`, fetched and verified from it by set-up.

    python -m ops.local.jars fetch FOLDER    the jars of the lock, each with the SHA-256 that the lock names
    python -m ops.local.jars lock            resolve KAFKA again and write the lock

The repository is the user's business: a mirror of `central` in Maven's `settings.xml`, the repositories of jgo's configuration, or jgo's
default, in this order. Jars already in the user's Maven cache are used, and new ones are put there for the next checkout.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import requests
from jgo.config import GlobalSettings
from jgo.maven import MavenContext

from ops.local.places import KAFKA_LOCK

KAFKA = "org.apache.kafka:kafka_2.13:4.2.2"
# Kafka logs through slf4j 1.7 to Log4j 2, but no dependency names the binding between them: without it the broker is silent.
BINDING = "org.apache.logging.log4j:log4j-slf4j-impl"
BINDING_FOLLOWS = "log4j-core"
TIMEOUT_S = 60


class JarsRefused(Exception):
    """The jars cannot be had as locked. The message says what to do."""


@dataclass(frozen=True)
class Jar:
    """One locked jar: Maven coordinates and the SHA-256 of the file, in hexadecimal."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """Name of the file, as Maven names it."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def path_in_repository(self) -> Path:
        """Where the file lies below a Maven repository or cache."""
        return Path(*self.group.split("."), self.artifact, self.version, self.filename)

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version} sha256:{self.sha256}"


def parse_lock(text: str) -> list[Jar]:
    """The jars of a lock: one `group:artifact:version sha256:HEX` a line, `#` starts a comment line."""
    jars = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        coordinates, sha256 = line.split(" sha256:")
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, sha256))
    return jars


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def mirror_of_central(settings: Path) -> str | None:
    """The address that Maven's `settings.xml` gives as mirror of `central`, if it has one.

    Patterns as Maven reads them: https://maven.apache.org/guides/mini/guide-mirror-settings.html
    """
    if not settings.is_file():
        return None
    for mirror in ElementTree.parse(settings).iterfind(".//{*}mirror"):
        patterns = {pattern.strip() for pattern in (mirror.findtext("{*}mirrorOf") or "").split(",")}
        if "!central" not in patterns and patterns & {"*", "external:*", "central"}:
            return (mirror.findtext("{*}url") or "").strip().rstrip("/")
    return None


def _remote_repositories() -> dict[str, str] | None:
    """Name -> address of the repositories to ask; None leaves the choice to jgo."""
    mirror = mirror_of_central(Path.home() / ".m2" / "settings.xml")
    return {"central": mirror} if mirror else GlobalSettings.load().repositories or None


def _keep_for_next_checkout(file: Path, cached: Path) -> None:
    """Put a verified jar into the user's Maven cache, whole or not at all."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        unfinished = cached.with_name(f"{cached.name}.{os.getpid()}")
        shutil.copyfile(file, unfinished)
        unfinished.replace(cached)
    except OSError:
        return  # no home folder, or one that cannot be written: the cache is a convenience


def fetch(jars: list[Jar], folder: Path) -> Iterator[Jar]:
    """Put every jar into `folder`, each verified; yields each as it is done. Raises JarsRefused."""
    folder.mkdir(parents=True, exist_ok=True)
    cache = GlobalSettings.load().repo_cache
    # below `folder`, and emptied with it: jgo writes in place, so an interrupted download must not look like a cached jar
    with tempfile.TemporaryDirectory(dir=folder) as downloads:
        context = MavenContext(repo_cache=Path(downloads), remote_repos=_remote_repositories(), timeout=TIMEOUT_S)
        for jar in jars:
            cached = cache / jar.path_in_repository
            if cached.is_file() and sha256_of(cached) == jar.sha256:
                shutil.copyfile(cached, folder / jar.filename)
            else:
                try:
                    found = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
                except (RuntimeError, requests.RequestException) as error:
                    raise JarsRefused(
                        f"{jar.filename} cannot be fetched: check the network, or the mirror in ~/.m2/settings.xml ({error})"
                    ) from error
                if (actual := sha256_of(found)) != jar.sha256:
                    raise JarsRefused(
                        f"{jar.filename} has SHA-256 {actual} where {KAFKA_LOCK.name} has {jar.sha256}: do not use this repository"
                    )
                _keep_for_next_checkout(found, cached)
                shutil.move(found, folder / jar.filename)
            yield jar


def resolve() -> list[Jar]:
    """Ask the repository for KAFKA, its dependencies and the log binding that fits them."""
    with tempfile.TemporaryDirectory() as downloads:
        context = MavenContext(repo_cache=Path(downloads), remote_repos=_remote_repositories(), timeout=TIMEOUT_S)
        kafka, dependencies = context.resolver.resolve([context.create_dependency(KAFKA)])
        # apart from Kafka: jgo takes every input for a bill of materials, and Log4j's would bring other versions of Kafka's own jars
        log4j = next(found for found in dependencies if found.artifactId == BINDING_FOLLOWS)
        binding = [context.create_dependency(f"{BINDING}:{log4j.version}")]
        artifacts = [found.artifact for found in [*kafka, *dependencies, *binding]]
        return sorted(
            (Jar(found.groupId, found.artifactId, found.version, sha256_of(found.resolve())) for found in artifacts),
            key=lambda jar: (jar.group, jar.artifact),
        )


def main(arguments: list[str]) -> int:
    """`fetch FOLDER` or `lock`; exit status 1 with one sentence when the jars cannot be had as locked."""
    match arguments:
        case ["fetch", folder]:
            jars = parse_lock(KAFKA_LOCK.read_text())
            try:
                for jar in fetch(jars, Path(folder)):
                    print(f"Collecting {jar.filename}", flush=True)
            except JarsRefused as refused:
                print(f"refused: {refused}", file=sys.stderr)
                return 1
        case ["lock"]:
            header = f"# {KAFKA} and what it needs. Written by `make locks`; verified by `make setup`.\n"
            KAFKA_LOCK.write_text(header + "".join(f"{jar}\n" for jar in resolve()))
        case _:
            print("usage: python -m ops.local.jars fetch FOLDER | lock", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
