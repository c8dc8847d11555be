"""Where a window's defect rate differs: levels of causes against all others, told by itself when the window is complete."""

from __future__ import annotations

from schemas.message import Message, Value


class AssociatedLevel(Value, frozen=True, kw_only=True):
    """One level of one label (of `tool` the level `T3`) against the parts with another level of it: `bad` of `parts`, and of the others.

    `risk_ratio` is the share of bad parts over that of the others, with its 95 % interval. `p_value` is Fisher's exact test, two-sided;
    `adjusted_p` holds for all levels of the window looked at together (Benjamini-Hochberg). `pointed_at`: it is at most 0.05.
    """

    label: str
    level: str
    bad: int
    parts: int
    other_bad: int
    other_parts: int
    risk_ratio: float
    risk_ratio_lower: float
    risk_ratio_upper: float
    p_value: float
    adjusted_p: float
    pointed_at: bool


class Associations(Message, frozen=True, kw_only=True):
    """Where the rate of a line differed over one window of `statistics.associations`: a pointer with evidence, never a claim of cause.

    `id` is `line/window_ms/start/revision`; of a shift its name stands in it, too. Told once when the window is complete, and again in a
    higher revision when a late verdict or a review changes a count; the highest `revision` holds. Windows, `kind` and `shift` are as in
    `Pane`. `not_ok` of `decided` parts in all; `compared` levels were tested, of which `pointed_at` are worth looking at. `levels` are the
    strongest, by evidence, at most 20; `left_out` levels were not tested, for they have the fewest parts of more than 100.
    """

    line: str
    window_ms: int
    start_at_ns: int
    revision: int
    not_ok: int
    decided: int
    compared: int
    pointed_at: int
    levels: tuple[AssociatedLevel, ...] = ()
    left_out: int = 0
    kind: str = "tumbling"
    shift: str = ""
