"""`linesight alerts`: what is open, what people do about it, and what a rule would have said."""

from __future__ import annotations

import getpass
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from cli import alerts_test
from cli.options import DEMO_PLANT, Json, PlantFile, one_line, print_json
from cli.services import find_kafka
from processors.alert_actions import command_of
from processors.alert_responses import EVERY_RULE
from schemas.commands import PERSON_SIGNAL
from schemas.errors import ConfigurationError
from schemas.message import NS_PER_S
from schemas.notifications import AlertResponse, ResponseKind
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.plant_shape import nearest
from schemas.reasons import CommandOutcome
from schemas.records import AuditEvent
from schemas.topics import ALERT_RESPONSES, AUDIT

LONGEST_SILENCE_MIN = 7 * 24 * 60

app = typer.Typer(help="Alerts.", no_args_is_help=True, rich_markup_mode=None)
app.command("test")(alerts_test.command)

Key = Annotated[str, typer.Argument(help="RULE/SUBJECT of an open alert, or its episode (`linesight alerts list`).")]
By = Annotated[str | None, typer.Option(help="Who; default: the user logged in.")]
Rule = Annotated[str, typer.Argument(help="Name of a rule, or `*` for all.")]
Subject = Annotated[str, typer.Option(help="Only this subject; default: every one.")]
Reason = Annotated[str, typer.Option(help="Why.")]


@app.callback()
def alerts() -> None:
    """Alerts."""


@app.command("list")
def list_(plant: PlantFile = DEMO_PLANT, json: Json = False) -> None:
    """What is open: since when, who acknowledged it, whom it was told, and why not."""
    from cli.alert_board import read_board

    description = load_plant(plant)
    board, now_ns = read_board(description, find_kafka()), time.time_ns()
    rows: list[dict[str, Any]] = []
    for alert in board.open_alerts.values():
        acknowledged = board.responses.acknowledged(alert.episode)
        silenced = board.responses.silence_of(alert, now_ns=now_ns)
        told = board.told.get(alert.episode, set())
        rows.append(
            {
                "key": f"{alert.rule}/{alert.subject}",
                "episode": alert.episode,
                "severity": alert.severity,
                "since": _moment(alert.since_at_ns),
                "summary": alert.summary,
                "acknowledged_by": acknowledged.by if acknowledged else None,
                "silenced_until": _moment(silenced.until_at_ns) if silenced else None,
                "told": sorted(told),
                "not_told": {
                    name: why for name, why in board.withheld.get(alert.episode, {}).items() if name not in told
                },
                "waits_for_approval": alert.approval == "required" and alert.episode not in board.approved,
            }
        )
    silences = [
        {"rule": found.rule, "subject": found.subject, "until": _moment(found.until_at_ns), "by": found.by}
        | {"reason": found.reason}
        for found in board.responses.silences(now_ns=now_ns)
    ]
    if json:
        print_json({"open": rows, "silences": silences})
        return
    for row in rows:
        print(one_line(_line(row)))
    for quiet in silences:
        print(one_line("silenced: {rule} {subject} until {until} by {by}: {reason}".format_map(quiet)))
    print(f"{len(rows)} open, {len(silences)} silences")


@app.command("acknowledge")
def acknowledge(key: Key, plant: PlantFile = DEMO_PLANT, by: By = None, json: Json = False) -> None:
    """Somebody looks after it: it is not repeated and not escalated any more. Exit code 1 if it is not open."""
    from cli.alert_board import read_board

    description, kafka = load_plant(plant), find_kafka()
    alert = read_board(description, kafka).find(key)
    response = _response(ResponseKind.ACKNOWLEDGED, by, rule=alert.rule, subject=alert.subject, episode=alert.episode)
    _send(response, description)
    _tell(response, f"{alert.episode} is acknowledged by {response.by}", json=json)


@app.command("close")
def close(key: Key, reason: Reason, plant: PlantFile = DEMO_PLANT, by: By = None, json: Json = False) -> None:
    """Ends an open alert that nothing clears by itself: a batch that is over, a station out of use. Where its rule still holds it is raised
    again. Exit code 1 if it is not open."""
    from cli.alert_board import read_board

    description, kafka = load_plant(plant), find_kafka()
    alert = read_board(description, kafka).find(key)
    response = _response(
        ResponseKind.CLOSED, by, rule=alert.rule, subject=alert.subject, episode=alert.episode, reason=reason
    )
    _send(response, description)
    _tell(response, f"{alert.episode} is closed by {response.by}: the stage that raised it ends it", json=json)


@app.command("silence")
def silence(
    rule: Rule,
    reason: Reason,
    minutes: Annotated[int, typer.Option(min=1, max=LONGEST_SILENCE_MIN, help="How long.")],
    subject: Subject = "",
    plant: PlantFile = DEMO_PLANT,
    by: By = None,
    json: Json = False,
) -> None:
    """Nobody is told of these alerts for a while; they stay on the record. What is open at the end is told then."""
    description = load_plant(plant)
    _known(rule, description)
    until_at_ns = time.time_ns() + minutes * 60 * NS_PER_S
    response = _response(ResponseKind.SILENCED, by, rule=rule, subject=subject, until_at_ns=until_at_ns, reason=reason)
    _send(response, description)
    _tell(
        response, f"{rule} {subject or EVERY_RULE} is silenced until {_moment(until_at_ns)} by {response.by}", json=json
    )


@app.command("unsilence")
def unsilence(
    rule: Rule, subject: Subject = "", plant: PlantFile = DEMO_PLANT, by: By = None, json: Json = False
) -> None:
    """Ends the silence of the same rule and subject."""
    description = load_plant(plant)
    _known(rule, description)
    response = _response(ResponseKind.UNSILENCED, by, rule=rule, subject=subject)
    _send(response, description)
    _tell(response, f"{rule} {subject or EVERY_RULE} is not silenced any more, by {response.by}", json=json)


@app.command("approve")
def approve(key: Key, plant: PlantFile = DEMO_PLANT, by: By = None, json: Json = False) -> None:
    """Carries out the action of an open alert that waits for approval, through the interlocks, and tells what became of it.

    The person counts as one signal. Exit code 1 where nothing waits, or the machine did not take it.
    """
    from cli.alert_board import read_board
    from cli.exits import NotSo
    from cli.plc_command import carry_out
    from cli.producing import Sender

    description, kafka = load_plant(plant), find_kafka()
    board = read_board(description, kafka)
    alert = board.find(key)
    rule = next((known for known in description.alerts if known.name == alert.rule), None)
    if alert.approval != "required" or alert.action is None or rule is None:
        raise NotSo(f"{alert.episode} waits for no approval")
    if alert.episode in board.approved:
        raise NotSo(f"{alert.episode} was approved by {board.approved[alert.episode].by}")
    response = _response(ResponseKind.APPROVED, by, rule=alert.rule, subject=alert.subject, episode=alert.episode)
    signals = (*rule.signals, PERSON_SIGNAL)
    asked = command_of(alert, signals=signals, issued_at_ns=response.at_ns, approved_at_ns=response.at_ns)
    with Sender(plant=description, kafka=kafka) as sender:
        sender.send([(AUDIT, response.by, _audit(response))])  # who asked is on record, whatever the machine does
        result = carry_out(asked, description, kafka, plant_file=plant)
        outcome = msgspec.structs.replace(response, reason=result.outcome.value)
        sender.send([(ALERT_RESPONSES, response.rule, outcome)])
    told = f"{alert.action} at {alert.station}: {result.outcome}{'; ' + result.detail if result.detail else ''}"
    if json:
        print_json(result)
    else:
        print(one_line(told))
    if result.outcome is not CommandOutcome.ACKNOWLEDGED:
        raise NotSo(one_line(f"{alert.action} at {alert.station} was not carried out: {result.outcome}"))


def _response(kind: ResponseKind, by: str | None, *, rule: str, **fields: Any) -> AlertResponse:
    at_ns, who = time.time_ns(), by or getpass.getuser()
    target = fields.get("episode") or f"{rule}/{fields.get('subject', '')}"
    return AlertResponse(id=f"{who}/{kind.value}/{target}/{at_ns}", kind=kind, by=who, at_ns=at_ns, rule=rule, **fields)


def _send(response: AlertResponse, plant: Plant) -> None:
    from cli.producing import Sender

    with Sender(plant=plant, kafka=find_kafka()) as sender:
        sender.send([(ALERT_RESPONSES, response.rule, response), (AUDIT, response.by, _audit(response))])


def _audit(response: AlertResponse) -> AuditEvent:
    return AuditEvent(
        id=f"{response.by}/alert_{response.kind.value}/{response.id}/{response.at_ns}",
        actor=response.by,
        action=f"alert_{response.kind.value}",
        subject=response.episode or f"{response.rule}/{response.subject}",
        at_ns=response.at_ns,
        detail=response.reason,
    )


def _known(rule: str, plant: Plant) -> None:
    names = [known.name for known in plant.alerts]
    if rule == EVERY_RULE or rule in names:
        return
    guess = nearest(rule, names)
    hint = f"; did you mean {guess}?" if guess else ""
    raise ConfigurationError(f"no rule {rule!r}: expected one of {', '.join(names)}, or {EVERY_RULE}{hint}")


def _tell(response: AlertResponse, text: str, *, json: bool) -> None:
    if json:
        print_json(response)
    else:
        print(one_line(text))


def _line(row: dict[str, Any]) -> str:
    notes = [
        f"acknowledged by {row['acknowledged_by']}" if row["acknowledged_by"] else "",
        f"silenced until {row['silenced_until']}" if row["silenced_until"] else "",
        f"told {', '.join(row['told'])}" if row["told"] else "",
        *(f"{name} not told: {why}" for name, why in row["not_told"].items()),
        "waits for approval" if row["waits_for_approval"] else "",
    ]
    told = "; ".join(note for note in notes if note)
    return f"{row['severity']:8} {row['key']} since {row['since']}: {row['summary']}" + (f" ({told})" if told else "")


def _moment(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).isoformat()
