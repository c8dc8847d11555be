"""Reads the defects of a plant. Needs only `pip install kafka-python msgpack`; nothing of Linesight.

    python read_defects.py 127.0.0.1:9092 demo --from-beginning

prints one JSON line per defect, each defect once. docs/subscribe-to-defects.md explains duplicates, revisions and pictures.
"""

import argparse
import json
import logging
import sys
from collections import OrderedDict

import msgpack
from kafka import KafkaConsumer
from kafka.errors import KafkaError

REMEMBERED_IDS = 100_000


class Seen:
    """Ids that were read already, the newest `REMEMBERED_IDS` of them: a repeat follows its first soon."""

    def __init__(self, limit=REMEMBERED_IDS):
        self._ids = OrderedDict()
        self._limit = limit

    def add(self, identifier):
        """False where the id was there already."""
        if identifier in self._ids:
            return False
        self._ids[identifier] = None
        if len(self._ids) > self._limit:
            self._ids.popitem(last=False)
        return True


def defect_in(record):
    """The defect in a Kafka record; None where it is something that this reader does not know."""
    name, _, version = dict(record.headers).get("schema", b"").decode("utf-8", "replace").partition("/")
    if (name, version) != ("DefectEvent", "1"):
        print(f"skipped {record.topic}/{record.partition}/{record.offset}: {name}/{version}", file=sys.stderr)
        return None
    return msgpack.unpackb(record.value)


def defects(bootstrap, plant, *, group=None, from_beginning=False, idle_s=None):
    """Every defect of a plant once. With a `group`, a second run goes on where the first one stopped."""
    consumer = KafkaConsumer(
        f"{plant}.defects",
        bootstrap_servers=bootstrap,
        bootstrap_timeout_ms=5_000,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest" if from_beginning or group else "latest",
        consumer_timeout_ms=int(idle_s * 1000) if idle_s else float("inf"),
    )
    seen = Seen()
    try:
        for record in consumer:
            defect = defect_in(record)
            if defect is not None and seen.add(defect["id"]):
                yield defect
            if group:
                # only now, when the caller is done with the defect: a crash repeats it and loses nothing
                consumer.commit()
    finally:
        consumer.close()


def main():
    parser = argparse.ArgumentParser(description="Prints the defects of a plant as JSON lines.")
    parser.add_argument("bootstrap", help="Kafka, host:port")
    parser.add_argument("plant", help="name of the plant, the prefix of its topics")
    parser.add_argument("--group", help="remember how far this reader got under this name")
    parser.add_argument("--from-beginning", action="store_true", help="all that is kept, not only what is new")
    parser.add_argument("--idle-s", type=float, help="stop when nothing came for so long")
    arguments = parser.parse_args()
    logging.basicConfig(
        format="%(asctime)s %(message)s", level=logging.WARNING
    )  # tells when the broker goes away later
    for defect in defects(
        arguments.bootstrap,
        arguments.plant,
        group=arguments.group,
        from_beginning=arguments.from_beginning,
        idle_s=arguments.idle_s,
    ):
        print(json.dumps(defect), flush=True)


if __name__ == "__main__":
    try:
        main()
    except KafkaError as error:
        sys.exit(f"Kafka does not answer: {error}")
    except KeyboardInterrupt:
        pass
