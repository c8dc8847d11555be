"""Steps of versions and runs as records: the event on `models`, and who did it for the audit trail."""

from __future__ import annotations

from schemas.records import AuditEvent, Gate, ModelChange, ModelEvent, run_event_id, version_event_id


def version_step(
    *,
    model: str,
    version: int,
    digest: str,
    change: ModelChange,
    at_ns: int,
    by: str,
    detail: str,
    gates: tuple[Gate, ...] = (),
    share_ratio: float = 0.0,
    beside: int = 0,
    settings: str = "",
) -> ModelEvent:
    """A step of a version."""
    return ModelEvent(
        id=version_event_id(model=model, version=version, change=change, at_ns=at_ns),
        model=model,
        version=version,
        digest=digest,
        change=change,
        at_ns=at_ns,
        by=by,
        detail=detail,
        gates=gates,
        share_ratio=share_ratio,
        beside=beside,
        settings=settings,
    )


def run_end(*, model: str, run: str, at_ns: int, by: str, detail: str) -> ModelEvent:
    """The end of a run that led to no version."""
    change = ModelChange.RUN_ENDED
    return ModelEvent(
        id=run_event_id(run=run, change=change, at_ns=at_ns),
        model=model,
        version=0,
        digest="",
        change=change,
        at_ns=at_ns,
        by=by,
        run=run,
        detail=detail,
    )


def audit_of(event: ModelEvent) -> AuditEvent:
    """Who did it, for the audit trail."""
    subject = event.run if not event.version else f"{event.model}/{event.version}"
    return AuditEvent(
        id=f"{event.by}/model_{event.change}/{subject}/{event.at_ns}",
        actor=event.by,
        action=f"model_{event.change}",
        subject=subject,
        at_ns=event.at_ns,
        detail=event.detail,
    )
