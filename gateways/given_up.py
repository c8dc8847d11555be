"""Names what a spool gave up: frames in manifests of their sessions, which may be those of a gateway that is long gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateways.segment import Envelope
from schemas.codec import FrameOwner, frame_owner
from schemas.frames import DroppedRange, Manifest
from schemas.topics import FRAMES


def manifests_of(envelopes: Iterable[Envelope], *, reason: str, now_ns: int) -> Iterator[Manifest]:
    """One manifest for each run of consecutive sequences; its id is the same whenever the same run is named again."""
    runs: list[list[FrameOwner]] = []
    newest: dict[tuple[str, str], list[FrameOwner]] = {}
    for envelope in envelopes:
        owner = frame_owner(envelope.headers) if envelope.topic == FRAMES.name else None
        if owner is None:
            continue
        run = newest.get((owner.camera, owner.session))
        if run is None or run[-1].sequence + 1 != owner.sequence:
            run = newest[owner.camera, owner.session] = []
            runs.append(run)
        run.append(owner)
    for run in runs:
        first, last = run[0], run[-1]
        yield Manifest(
            id=f"{first.frame_id}/given-up",
            station=first.station,
            camera=first.camera,
            session=first.session,
            first_sequence=first.sequence,
            last_sequence=last.sequence,
            made_at_ns=now_ns,
            dropped=(DroppedRange(first_sequence=first.sequence, last_sequence=last.sequence, reason=reason),),
        )


def subject_of(envelope: Envelope) -> str:
    """What a record is about, for the log: a frame's id, elsewhere topic and key."""
    owner = frame_owner(envelope.headers) if envelope.topic == FRAMES.name else None
    return owner.frame_id if owner is not None else f"{envelope.topic}/{envelope.key.decode('utf-8', 'replace')}"
