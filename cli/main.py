"""Entry of the `linesight` command: registers the verbs and turns errors into exit codes.

Exit codes: 0 done, 1 the thing asked about is not so, 2 wrong usage or configuration, 3 a service is not reachable,
130 and 143 interrupted by Ctrl-C and SIGTERM.
Verbs import what they need when they are called, so that `--help` and the start of a stage are quick.
"""

from __future__ import annotations

import sys

import typer

from cli import (
    alerts,
    baselines,
    camera,
    certificates,
    check,
    datasets,
    dead_letters,
    demo,
    demo_learning,
    evaluate,
    inspect,
    ledger,
    models,
    plc,
    publish,
    references,
    release,
    replay,
    report,
    retrain,
    review,
    rollback,
    run,
    simulate,
    tail,
    topics,
    train,
    up,
)
from cli.exits import Signals, as_problem, exit_code, say_problem
from schemas.errors import LinesightError

app = typer.Typer(
    name="linesight",
    help="Visual quality control for factories, as a streaming system.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.command)
app.command("demo-learning")(demo_learning.command)
app.command("up")(up.command)
app.command("run")(run.command)
app.command("inspect")(inspect.command)
app.command("check")(check.command)
app.command("publish")(publish.command)
app.command("topics")(topics.command)
app.command("tail")(tail.command)
app.command("ledger")(ledger.command)
app.command("dead-letters")(dead_letters.command)
app.add_typer(replay.app, name="replay")
app.command("report")(report.command)
app.add_typer(baselines.app, name="baselines")
app.command("review")(review.command)
app.add_typer(alerts.app, name="alerts")
app.add_typer(references.app, name="references")
app.add_typer(datasets.app, name="datasets")
app.add_typer(models.app, name="models")
app.command("train")(train.command)
app.command("evaluate")(evaluate.command)
app.command("retrain")(retrain.command)
app.command("release")(release.command)
app.command("rollback")(rollback.command)
app.add_typer(camera.app, name="camera")
app.add_typer(plc.app, name="plc")
app.add_typer(certificates.app, name="certificates")
app.command("simulate")(simulate.command)


def main() -> None:
    """Runs the command; shows no traceback for what a person can mend, nor for Ctrl-C or SIGTERM."""
    signals = Signals()
    signals.install()
    try:
        app()
    except LinesightError as problem:
        _end_with(problem)
    except OSError as error:
        _end_with(as_problem(error))
    except SystemExit as end:
        sys.exit(signals.status(end.code))


def _end_with(problem: LinesightError) -> None:
    say_problem(problem)
    sys.exit(exit_code(problem))


if __name__ == "__main__":
    main()
