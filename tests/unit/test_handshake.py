"""The handshake of a station: TriggerReady follows who is there, and a fault stays until the PLC resets it."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateways.handshake import EARLY_GRACE_S, StationHandshake
from gateways.plc_history import StationHistory
from gateways.readiness_watch import SILENT_AFTER_S, Presence
from gateways.station_nodes import station_nodes, writable_nodes
from schemas.plant import PlcNodes
from schemas.plc_events import PartArrived
from schemas.readiness import StageReadiness
from schemas.reasons import HandshakeCode

NODES = station_nodes(PlcNodes(), "aoi-1")
STAGES = ("station_gateway", "inspect", "judge")


def handshake() -> StationHandshake:
    return StationHandshake(station="aoi-1", recipes=["board@1"])


def looked(
    shaken: StationHandshake,
    *,
    broker_away: bool = False,
    away: tuple[str, ...] = (),
    recipe: str = "",
    lacks: str = "",
    now_s: float = 0.0,
) -> StationHandshake:
    shaken.look(broker_away=broker_away, stages_away=away, recipe=recipe, recipe_lacks=lacks, now_s=now_s)
    return shaken


@given(
    broker_away=st.booleans(),
    away=st.lists(st.sampled_from(STAGES), unique=True).map(tuple),
    recipe=st.sampled_from(["", "board@1", "board@2"]),
    lacks=st.sampled_from(["", "inspect/0: being loaded"]),
)
def test_a_trigger_is_asked_for_only_while_everything_it_needs_is_there(
    broker_away: bool, away: tuple[str, ...], recipe: str, lacks: str
) -> None:
    shown = looked(handshake(), broker_away=broker_away, away=away, recipe=recipe, lacks=lacks).shown
    assert shown.trigger_ready == (not broker_away and not away and recipe != "board@2" and not (recipe and lacks))
    assert (shown.error_code is HandshakeCode.NONE) == shown.trigger_ready
    assert bool(shown.error_text) == (not shown.trigger_ready)


def test_it_says_why_there_is_no_trigger_ready() -> None:
    assert handshake().shown.error_code is HandshakeCode.STARTING
    assert looked(handshake(), broker_away=True, away=STAGES).shown.error_code is HandshakeCode.BROKER_AWAY
    assert looked(handshake(), away=("station_gateway",)).shown.error_code is HandshakeCode.CAMERAS_AWAY
    assert looked(handshake(), away=("inspect", "judge")).shown.error_code is HandshakeCode.INSPECT_AWAY
    assert looked(handshake(), away=("judge",)).shown.error_code is HandshakeCode.JUDGE_AWAY
    unknown = looked(handshake(), recipe="board@2").shown
    assert (unknown.error_code, unknown.error_text) == (HandshakeCode.UNKNOWN_RECIPE, "board@2 is none of board@1")
    lacking = looked(handshake(), recipe="board@1", lacks="inspect/1: being loaded").shown
    assert (lacking.error_code, lacking.error_text) == (
        HandshakeCode.RECIPE_LACKING,
        "board@1: inspect/1: being loaded",
    )


def test_only_a_trigger_that_the_plc_could_have_known_better_is_early() -> None:
    shaken = looked(handshake(), now_s=10.0)
    assert not shaken.triggered(1, live=True, now_s=10.0)
    looked(shaken, broker_away=True, now_s=20.0)
    assert not shaken.triggered(2, live=True, now_s=20.0 + EARLY_GRACE_S)
    assert not shaken.triggered(3, live=False, now_s=60.0), "it came before the session"
    assert shaken.triggered(4, live=True, now_s=60.0)
    assert shaken.shown.error_code is HandshakeCode.EARLY_TRIGGER
    assert shaken.shown.trigger_seen == 4


def test_a_fault_stays_until_the_plc_resets_it_and_does_not_stop_the_line() -> None:
    shaken = looked(handshake())
    shaken.reset(5)
    shaken.fail(HandshakeCode.DOUBLE_TRIGGER, "trigger 7 names p1 once more")
    shaken.fail(HandshakeCode.LOST_TRIGGER, "later")
    shaken.reset(5)
    shown = shaken.shown
    assert (shown.trigger_ready, shown.error_code) == (True, HandshakeCode.DOUBLE_TRIGGER)
    assert shown.error_text == "trigger 7 names p1 once more"
    shaken.reset(6)
    assert (shaken.shown.error_code, shaken.shown.error_text) == (HandshakeCode.NONE, "")


def test_a_plc_that_starts_anew_resets_nothing_and_a_counter_that_wraps_does() -> None:
    shaken = looked(handshake())
    shaken.reset(3)
    shaken.fail(HandshakeCode.LOST_TRIGGER, "2 triggers left the ring unread")
    for count in (0, True, None, "1"):
        shaken.reset(count)
        assert shaken.shown.error_code is HandshakeCode.LOST_TRIGGER, count
    shaken.reset(1)
    assert shaken.shown.error_code is HandshakeCode.NONE
    shaken.reset(2**32 - 1)
    shaken.fail(HandshakeCode.LOST_TRIGGER, "again")
    shaken.reset(0)
    assert shaken.shown.error_code is HandshakeCode.NONE


def test_what_the_plc_still_shows_is_taken_over_once() -> None:
    shaken = handshake()
    shaken.recall(HandshakeCode.LOST_TRIGGER, "2 triggers left the ring unread")
    assert shaken.shown.error_code is HandshakeCode.LOST_TRIGGER
    shaken.reset(0)
    shaken.reset(1)
    assert shaken.shown.error_code is HandshakeCode.STARTING
    shaken.recall(HandshakeCode.LOST_TRIGGER, "it was reset, and the link broke before that was written")
    assert shaken.shown.error_code is HandshakeCode.STARTING


@given(names=st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=20))
def test_a_text_is_never_longer_than_what_is_promised(names: list[str]) -> None:
    shaken = looked(StationHandshake(station="aoi-1", recipes=names), recipe="nobody's@1")
    assert 0 < len(shaken.shown.error_text) <= 80


def test_a_change_is_told_once_and_the_gateway_takes_trigger_ready_back_before_it_goes() -> None:
    shaken = looked(handshake())
    assert shaken.changed.is_set()
    shaken.changed.clear()
    looked(shaken, now_s=1.0)
    shaken.triggered(1, live=True, now_s=1.0)
    assert not shaken.changed.is_set()
    shaken.leave(now_s=2.0)
    assert shaken.changed.is_set()
    assert not shaken.shown.trigger_ready


def test_only_nodes_that_the_plc_has_are_written() -> None:
    everything = handshake().values(NODES)
    assert everything[NODES.trigger_ready or ""] is False
    assert set(everything) <= set(writable_nodes(NODES))
    plain = PlcNodes(
        trigger_ready=None, trigger_seen=None, error_code=None, error_text=None, reset_count=None, ready_recipe=None
    )
    assert handshake().values(station_nodes(plain, "aoi-1")) == {}
    assert len(writable_nodes(station_nodes(plain, "aoi-1"))) == len(writable_nodes(NODES)) - 5


def said(stage: str, *, ready: bool, instance: str = "0") -> StageReadiness:
    return StageReadiness(id=f"{stage}/{instance}/1", stage=stage, instance=instance, ready=ready, said_at_ns=1)


def test_one_process_that_can_work_is_enough_and_silence_is_absence() -> None:
    presence = Presence()
    presence.hear(said("inspect", ready=False), now_s=0.0)
    assert not presence.is_ready("inspect", now_s=0.0)
    presence.hear(said("inspect", ready=True, instance="1"), now_s=1.0)
    assert presence.is_ready("inspect", now_s=1.0 + SILENT_AFTER_S)
    assert not presence.is_ready("inspect", now_s=1.1 + SILENT_AFTER_S)
    assert not presence.is_ready("judge", now_s=1.0)
    assert presence.hears_anyone(now_s=1.0 + SILENT_AFTER_S)
    assert not presence.hears_anyone(now_s=1.1 + SILENT_AFTER_S)


def arrival(count: int, part_id: str, *, session: str = "s") -> PartArrived:
    return PartArrived(
        id=f"aoi-1/{part_id}/1/arrived", station="aoi-1", part_id=part_id, visit=1, recipe="board@1", trigger_count=count,
        occurred_at_ns=1, expected_views=(), batch="", plc_session=session,
    )  # fmt: skip


def test_a_second_trigger_for_one_part_is_double_and_a_ring_that_is_read_again_is_not() -> None:
    history = StationHistory()
    first = arrival(1, "p")
    assert not history.is_double(first)
    history.note(first)
    assert not history.is_double(first)
    assert history.is_double(arrival(2, "p"))
    assert not history.is_double(arrival(2, "q"))
    assert not history.is_double(arrival(2, "p", session="the PLC began anew"))


def test_a_recipe_is_lacking_while_one_process_that_works_lacks_it() -> None:
    presence = Presence()
    lacks = msgspec.structs.replace(
        said("inspect", ready=True), lacking_recipes=("board@1",), lacking_reasons={"board@1": "being loaded"}
    )
    presence.hear(said("inspect", ready=True, instance="1"), now_s=0.0)
    assert not presence.lacks("board@1", now_s=0.0)
    presence.hear(lacks, now_s=0.0)
    assert presence.lacks("board@1", now_s=SILENT_AFTER_S) == "inspect/0: being loaded"
    assert not presence.lacks("board@2", now_s=0.0), "a process of a release before says only what it lacks"
    assert not presence.lacks("board@1", now_s=SILENT_AFTER_S + 0.1), "who is silent says nothing"
    presence.hear(msgspec.structs.replace(lacks, ready=False), now_s=0.0)
    assert not presence.lacks("board@1", now_s=0.0), "who does not work gets no frames"


def test_a_process_that_does_not_know_a_recipe_lacks_it_and_none_is_lacked_where_none_is_selected() -> None:
    presence = Presence()
    presence.hear(
        msgspec.structs.replace(said("inspect", ready=True), warm_recipes=("board@1",)), now_s=0.0
    )  # started with the plant file of before
    presence.hear(msgspec.structs.replace(said("backfill", ready=True), warm_recipes=("board@3",)), now_s=0.0)
    assert not presence.lacks("board@1", now_s=0.0), "what the backfill keeps holds up no part"
    assert presence.lacks("board@2", now_s=0.0) == "inspect/0: not loaded"
    assert not presence.lacks("", now_s=0.0)


def test_trigger_ready_is_for_the_recipe_that_it_names() -> None:
    """A PLC that changes over reads TriggerReady of the product before until the gateway has seen the change."""
    shaken = StationHandshake(station="aoi-1", recipes=["board@1", "board@2"])
    looked(shaken, recipe="board@1")
    assert (shaken.shown.trigger_ready, shaken.shown.ready_recipe) == (True, "board@1")
    shaken.changed.clear()
    looked(shaken, recipe="board@2")
    assert shaken.changed.is_set(), "it is written at once, though TriggerReady stays true"
    assert (shaken.shown.trigger_ready, shaken.shown.ready_recipe) == (True, "board@2")
    looked(shaken, recipe="board@1", lacks="being loaded")
    assert (shaken.shown.trigger_ready, shaken.shown.ready_recipe) == (False, "")
    assert shaken.values(NODES)[NODES.ready_recipe or ""] == ""


def test_its_own_voice_tells_the_gateway_of_no_other_stage() -> None:
    presence = Presence()
    presence.hear(said("plc_gateway", ready=True), now_s=0.0)
    assert not presence.hears_anyone(now_s=0.0)
