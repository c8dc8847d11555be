"""The sentence with which whatever needs Kafka ends where no broker answers."""

from __future__ import annotations

from schemas.errors import ServiceAway


def broker_away(servers: str, error: BaseException | None, *, within_s: float | None = None) -> ServiceAway:
    """What to raise where `servers` (`host:port[,host:port]`) do not answer a client, which failed with `error`.

    Told is what the client says besides that it found no broker: a refused login, say. Its list of addresses is our own in its objects.
    """
    said = "" if error is None else str(error)
    known = not said or isinstance(error, TimeoutError) or "Unable to bootstrap" in said
    detail = "" if known else f" ({type(error).__name__}: {said})"
    waited = "" if within_s is None else f" within {within_s:g} s"
    return ServiceAway(
        f"no Kafka broker answers at {servers}{waited}{detail}: start it, or set KAFKA_BOOTSTRAP_SERVERS"
    )
