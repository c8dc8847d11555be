"""One complete instance of every message: each field is set, and set to something other than its default.

Their bytes are the golden files. Change an example only together with a new version of its message.
"""

from __future__ import annotations

from example_parts import AT_NS
from learning_examples import LEARNING
from line_examples import LINE

from schemas.alerts import Alert, AlertState
from schemas.associations import AssociatedLevel, Associations
from schemas.charts import ChartPoint, CusumSums, SpreadPoint
from schemas.message import Message
from schemas.notifications import AlertResponse, Notification, NotificationKind, ResponseKind, WithheldReason
from schemas.records import AuditEvent, DeadLetter
from schemas.sensors import AssetBaseline, NormalModel
from schemas.statistics import ControlPoint, Pane, PaneCounts, WindowStatistics
from schemas.topics import (
    ALERT_RESPONSES,
    ALERTS,
    ASSET_BASELINES,
    ASSOCIATIONS,
    AUDIT,
    CHARTS,
    DEAD_LETTERS,
    NOTIFICATIONS,
    PANES,
    STATISTICS,
    Topic,
)

ALERT = Alert(
    id=f"defect-rate/aoi-1/{AT_NS}/repeated/2",
    line="line-1",
    rule="defect-rate",
    subject="aoi-1",
    severity="critical",
    state=AlertState.REPEATED,
    episode=f"defect-rate/aoi-1/{AT_NS}",
    since_at_ns=AT_NS,
    at_ns=AT_NS + 600_000_000_000,
    summary="31 % of the last 60 s NOT_OK",
    value=0.3125,
    threshold=0.25,
    repeat=2,
    evidence=("aoi-1/SN-000123/2/1",),
    action="stop_line",
    station="aoi-1",
    approval="required",
)
COUNTS = PaneCounts(
    parts=240,
    ok=228,
    not_ok=11,
    not_decidable=1,
    units=236,
    first_pass_ok=225,
    defects=17,
    opportunities=72_000,
    defects_by_class={"open": 9, "short": 8},
    measured={"open-size": (14.5, 9.25)},
    undecided_defects_by_class={"open": 1},
    undecided_opportunities=4,
)

EXAMPLES: dict[str, tuple[Topic, Message]] = {
    type(message).__name__: (topic, message)
    for topic, message in (
        *LINE,
        *LEARNING,
        (
            PANES,
            Pane(
                id=f"aoi-1/60000/{AT_NS}/3",
                line="line-1",
                station="aoi-1",
                window_ms=60_000,
                start_at_ns=AT_NS,
                revision=3,
                counts=COUNTS,
                closed=True,
                late_parts=2,
                kind="shift",
                shift="early",
                by="tool",
                level="T3",
                previous=COUNTS,
            ),
        ),
        (
            STATISTICS,
            WindowStatistics(
                id=f"line/line-1/60000/{AT_NS}/3",
                scope="line",
                name="line-1",
                line="line-1",
                window_ms=60_000,
                start_at_ns=AT_NS,
                revision=3,
                counts=COUNTS,
                closed=True,
                first_pass_yield_ratio=0.953125,
                not_ok_ratio=0.046875,
                dpmo=236.5,
                p_chart=ControlPoint(
                    value=0.046875,
                    centre=0.05,
                    lower=0.0125,
                    upper=0.09375,
                    confidence=0.9973,
                    sample_size=239,
                    outside=False,
                ),
                late_parts=2,
                kind="shift",
                shift="early",
                by="tool",
                level="T3",
                previous=COUNTS,
            ),
        ),
        (
            CHARTS,
            ChartPoint(
                id=f"thickness/asset/press/thickness/{AT_NS}/4711/9f86d081884c",
                chart="thickness",
                kind="cusum",
                subject="asset/press/thickness",
                line="line-1",
                start_at_ns=AT_NS,
                end_at_ns=AT_NS + 2_000_000_000,
                revision=4_711,
                phase=2,
                value=5.25,
                centre=0.125,
                lower=0.0625,
                upper=5.0,
                outside=True,
                rules=("eight_on_one_side",),
                count=3,
                size=5,
                values=(1.5, 1.25, 1.75, 1.5, 2.0),
                spread=SpreadPoint(value=0.75, centre=0.5, lower=0.25, upper=1.0, outside=True),
                sums=CusumSums(upper=5.25, lower=0.5, upper_since=7, lower_since=1),
                baseline="9f86d081884c",
                frozen_by="M. Keller",
                previous=5.0,
                expected_count=1.5,
            ),
        ),
        (
            ASSOCIATIONS,
            Associations(
                id=f"line-1/early/28800000/{AT_NS}/812",
                line="line-1",
                window_ms=28_800_000,
                start_at_ns=AT_NS,
                revision=812,
                not_ok=61,
                decided=2_390,
                compared=7,
                pointed_at=1,
                levels=(
                    AssociatedLevel(
                        label="tool",
                        level="T3",
                        bad=30,
                        parts=300,
                        other_bad=31,
                        other_parts=2_090,
                        risk_ratio=6.75,
                        risk_ratio_lower=4.125,
                        risk_ratio_upper=11.0,
                        p_value=0.0078125,
                        adjusted_p=0.015625,
                        pointed_at=True,
                    ),
                ),
                left_out=3,
                kind="shift",
                shift="early",
            ),
        ),
        (
            ASSET_BASELINES,
            AssetBaseline(
                id=f"press/2/{AT_NS}",
                asset="press",
                revision=2,
                every_ms=1_000,
                channels=("vibration", "temperature"),
                rows=2_000,
                from_ns=AT_NS,
                to_ns=AT_NS + 2_000_000_000_000,
                watched=(0, 1),
                mean=(2.5, 41.25),
                deviation=(0.25, 1.5),
                model=NormalModel(
                    mean=(0.125, 0.25),
                    axes=(0.75, 0.625, -0.625, 0.75),
                    variances=(0.5, 0.25),
                    retained=1,
                    t2_limit=11.5,
                    q_limit=2.25,
                ),
            ),
        ),
        (
            ALERTS,
            ALERT,
        ),
        (
            ALERT_RESPONSES,
            AlertResponse(
                id=f"m.keller/silenced/defect-rate/aoi-1/{AT_NS}",
                kind=ResponseKind.SILENCED,
                by="m.keller",
                at_ns=AT_NS,
                rule="defect-rate",
                subject="aoi-1",
                episode=ALERT.episode,
                until_at_ns=AT_NS + 3_600_000_000_000,
                reason="retooling until ten",
            ),
        ),
        (
            NOTIFICATIONS,
            Notification(
                id=f"shift-lead/{ALERT.id}/bounded",
                receiver="shift-lead",
                kind=NotificationKind.WITHHELD,
                at_ns=AT_NS + 600_000_000_000,
                alerts=(ALERT,),
                reason=WithheldReason.BOUNDED,
                because="plc-heartbeat/aoi-1/1767225600000000000",
                open_severity="critical",
                counts={"defect-rate repeated": 3},
                left_out=12,
            ),
        ),
        (
            DEAD_LETTERS,
            DeadLetter(
                id="frames/2/9876",
                topic="frames",
                partition=2,
                offset=9_876,
                stage="inspect",
                reason="truncated",
                detail="not a MessagePack Frame",
                refused_at_ns=AT_NS,
                key=b"left",
                value=b"\x8f\xa2id",
                headers=(("schema", b"Frame/1"), ("camera", b"left")),
                frame_id="left/7f3a/41",
            ),
        ),
        (
            AUDIT,
            AuditEvent(
                id=f"plc_gateway/write/verdict/aoi-1/SN-000123/2/1/{AT_NS}",
                actor="plc_gateway",
                action="write",
                subject="verdict/aoi-1/SN-000123/2/1",
                at_ns=AT_NS,
                detail="acknowledged",
            ),
        ),
    )
}
"""Message name -> its topic and one complete instance."""
