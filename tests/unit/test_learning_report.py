"""`report.html` shows what a line learned: the chart, every step with its gates, and what was not shown."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from model_events import version_event
from test_learning_figures import HISTORY, MODEL, REQUEST, S_NS, a_run

from cli.learning_chart import learning_chart
from cli.learning_section import learning_section
from ops.local.places import CHECKOUT
from processors.learning_figures import learning_figures
from schemas.records import Gate, ModelChange

GATE = Gate(name="overkill_p_value", value=0.2, limit=0.001, passed=True, detail="3 of 40 NOT_OK")


def section(**changed: Any) -> dict[str, Any]:
    history = [
        *HISTORY[:5],
        version_event(ModelChange.PROMOTED, 2, 100 * S_NS, gates=(GATE,), detail="judged 40 <parts>"),
    ]
    learning = learning_figures(a_run(), history, [REQUEST], model=MODEL)
    found = learning_section({"learning": {**learning, "fell_short": [], **changed}})
    assert found is not None
    return found


def test_a_run_in_which_nothing_was_to_be_learned_has_no_such_section() -> None:
    assert learning_section({"parts": {}}) is None


def test_steps_stand_in_the_order_in_which_they_happened_and_say_why() -> None:
    rows = section()["steps"]
    assert [row["what"] for row in rows] == [
        "the lamp begins to fail", "training is asked for: reviews", "run started", "released version 2",
        "shadowed version 2", "canaried version 2", "promoted version 2",
    ]  # fmt: skip
    assert [row["mark"] for row in rows] == list(range(1, 8))
    assert "review_disagreement_ratio 0.4, threshold 0.3" in rows[1]["why"]
    assert (rows[-1]["since"], rows[-1]["after_part"]) == ("40", 101)
    assert rows[-1]["gates"][0]["name"] == GATE.name


def test_the_chart_has_a_dot_for_every_point_and_a_line_for_every_step() -> None:
    found = section()
    assert found["chart"].count("<circle") == len(learning_figures(a_run(), [], [], model=MODEL)["points"])
    assert found["chart"].count('class="moment"') == 7


def test_a_run_without_parts_can_be_drawn() -> None:
    assert "no part was judged" in learning_chart([], [(0, "1", "training is asked for")])


def test_the_page_tells_what_was_not_shown_and_escapes_what_it_is_told() -> None:
    text = page(section(fell_short=["2 frames were dropped"]))
    assert "Not shown by this run: 2 frames were dropped." in text
    assert "judged 40 &lt;parts&gt;" in text
    assert "What the line learned" not in page(None)


def page(learning: dict[str, Any] | None) -> str:
    """The template's own section, between its heading and the next one."""
    source = (CHECKOUT / "cli" / "report.html.j2").read_text(encoding="utf-8")
    begin, end = source.index("{% if learning %}"), source.index('<div class="two">')
    loader = FileSystemLoader(CHECKOUT / "cli")
    template = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).from_string(source[begin:end])
    return template.render(learning=learning)
