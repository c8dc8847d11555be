"""Which Kafka a verb talks to: the one in the environment, else the one that `linesight up`, `demo` or `inspect` runs here."""

from __future__ import annotations

import os

from schemas.errors import ServiceAway
from schemas.settings import KafkaSettings, StageSettings

FOLDERS = ("", "demo", "inspect")
"""Below the run folder: where `up`, `demo` and `inspect` keep their broker."""


def find_kafka() -> KafkaSettings:
    """Settings of the Kafka to use; later `KafkaSettings()` and `ObjectStoreSettings()` in this process are those of its line.

    Raises `ServiceAway`.
    """
    if "KAFKA_BOOTSTRAP_SERVERS" not in os.environ:
        from ops.local.kafka import running_bootstrap_servers

        base = StageSettings().run_dir
        for folder in (base / name for name in FOLDERS):
            if running := running_bootstrap_servers(folder):
                os.environ["KAFKA_BOOTSTRAP_SERVERS"] = running
                os.environ.setdefault("OBJECT_STORE_URL", str(folder.absolute() / "objects"))
                break
        else:
            raise ServiceAway(
                f"no Kafka: none runs here (run folder {base}) and KAFKA_BOOTSTRAP_SERVERS is not set; "
                "start `linesight up --plant FILE` in this folder, or set the variable"
            )
    return KafkaSettings()
