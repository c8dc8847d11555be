"""The truth of a simulated run as JSON lines: which parts had which defects, what the PLC was asked and executed, where parts went.

No stage reads it; the summary compares it with the verdicts.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from schemas.errors import ConfigurationError
from schemas.object_store import sha256_hex
from simulation.pictures import PartPictures, TakenDefect
from simulation.station import Answer, Arrival, Departure, Request


class Truth:
    """Writes one JSON object a line, each flushed, so that a killed simulation leaves what it knew.

    Every method raises `ConfigurationError` where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = path.open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError:
            pass  # the rest of a line whose failure was raised when it was written

    def part(self, station: str, arrival: Arrival, pictures: PartPictures | None) -> None:
        """A part arrived of which these pictures were taken, by view with their SHA-256; None where a person brought its pictures.

        Boxes are in px of the pictures.
        """
        self._write(
            "part",
            part_id=arrival.part_id,
            visit=arrival.visit,
            station=station,
            batch=arrival.batch,
            recipe=arrival.recipe,
            at_ns=arrival.at_ns,
            defects=None if pictures is None else [_row(defect) for defect in pictures.defects],
            lighting_drift_ratio=0.0 if pictures is None else pictures.lighting_drift_ratio,
            pictures={} if pictures is None else {view: sha256_hex(jpeg) for view, jpeg in pictures.jpegs.items()},
        )

    def asked(self, request: Request, answer: Answer) -> None:
        """A command stood in the PLC's mailbox, and this was its answer: refused ones are written down, too."""
        self._write(
            "asked",
            command_id=request.command_id,
            part_id=request.part_id,
            visit=request.visit,
            kind=request.kind,
            at_ns=answer.at_ns,
            valid_until_ns=request.valid_until_ns,
            sequence=request.sequence,
            result=answer.result,
        )

    def executed(self, request: Request, at_ns: int) -> None:
        """The PLC carried a command out."""
        self._write(
            "executed",
            command_id=request.command_id,
            part_id=request.part_id,
            visit=request.visit,
            kind=request.kind,
            verdict=request.verdict,
            action=request.action,
            at_ns=at_ns,
            valid_until_ns=request.valid_until_ns,
            sequence=request.sequence,
        )

    def left(self, departure: Departure) -> None:
        """A part passed the gate."""
        self._write(
            "left",
            part_id=departure.part_id,
            visit=departure.visit,
            lane=departure.lane,
            by_fail_safe=departure.by_fail_safe,
            at_ns=departure.at_ns,
        )

    def finished(self, parts: int) -> None:
        """Every one of the `parts` visits has left."""
        self._write("finished", parts=parts)

    def _write(self, event: str, **fields: Any) -> None:
        try:
            self._file.write(json.dumps({"event": event, **fields}) + "\n")
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"{self._path}: the truth cannot be written here ({error.strerror}); make room, or name another file"
        )


def _row(defect: TakenDefect) -> dict[str, Any]:
    return {"view": defect.view, "class": defect.kind.value, "box": list(defect.box)}
