"""One run of a line that learns: parts come until a version that was trained meanwhile has proved itself, or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable

from cli.demo_run import DemoRun
from cli.learning_watch import LearningWatch
from cli.producing import Sender
from cli.run_record import Outcome
from processors.learning_figures import fell_short, learning_figures
from schemas.settings import KafkaSettings

Say = Callable[[str], None]


def learn(
    run: DemoRun, *, model: str, rate_per_s: float, seed: int, lamp_fails_at: int, limit_s: float, say: Say
) -> Outcome:
    """From the start of the line to its account, with the section `learning` in the report (`processors.learning_figures`)."""
    since_ms = time.time_ns() // 1_000_000
    run.start(parts=max(1, round(rate_per_s * limit_s)), rate_per_s=rate_per_s, seed=seed, lamp_fails_at=lamp_fails_at)
    kafka = KafkaSettings()
    with (
        LearningWatch(plant=run.plant, kafka=kafka, truth=run.truth, model=model, since_ms=since_ms, say=say) as watch,
        Sender(plant=run.plant, kafka=kafka) as sender,
    ):
        until_s = time.monotonic() + limit_s
        is_stopped = False
        while not run.is_finished:
            run.step()
            if said := watch.look():
                sender.send(said)
            if not is_stopped and (watch.has_learned or time.monotonic() > until_s):
                say("no further part comes; draining")
                with run.control() as control:
                    control.ask("Stop")
                is_stopped = True
        outcome = run.finish()
        watch.finish()
    figures = learning_figures(watch.parts, watch.events, watch.triggers, model=model)
    outcome.report["learning"] = figures
    figures["fell_short"] = list(fell_short(outcome.report))
    return outcome
