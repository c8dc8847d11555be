"""What a PublishResponse says: held against asyncua's own encoder, for every shape of a value."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_to_binary, variant_to_binary
from hypothesis import given
from hypothesis import strategies as st

from gateways.opcua_notifications import OVERFLOW, read_publication

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FILETIME_1970 = 116_444_736_000_000_000
WHOLE = {
    ua.VariantType.SByte: (-(2**7), 2**7 - 1),
    ua.VariantType.Byte: (0, 2**8 - 1),
    ua.VariantType.Int16: (-(2**15), 2**15 - 1),
    ua.VariantType.UInt16: (0, 2**16 - 1),
    ua.VariantType.Int32: (-(2**31), 2**31 - 1),
    ua.VariantType.UInt32: (0, 2**32 - 1),
    ua.VariantType.Int64: (-(2**63), 2**63 - 1),
    ua.VariantType.UInt64: (0, 2**64 - 1),
}
VARIANTS = st.one_of(
    st.sampled_from(list(WHOLE)).flatmap(
        lambda kind: st.integers(*WHOLE[kind]).map(lambda value: ua.Variant(value, kind))
    ),
    st.booleans().map(lambda value: ua.Variant(value, ua.VariantType.Boolean)),
    st.floats(allow_nan=False).map(lambda value: ua.Variant(value, ua.VariantType.Double)),
    st.floats(width=32, allow_nan=False).map(lambda value: ua.Variant(value, ua.VariantType.Float)),
    st.text(st.characters(codec="utf-8")).map(lambda value: ua.Variant(value, ua.VariantType.String)),
    st.lists(st.integers(0, 9), min_size=1).map(lambda value: ua.Variant(value, ua.VariantType.UInt32)),
)
PICOSECONDS = st.none() | st.integers(0, 9999)


class Given(NamedTuple):
    """A DataValue, field by field. asyncua's encoder puts the picoseconds elsewhere than Part 6 does, so the tests write it themselves."""

    value: ua.Variant | None
    status: int | None
    source: int | None
    source_picoseconds: int | None
    server: int | None
    server_picoseconds: int | None

    def encoded(self) -> bytes:
        """After OPC UA Part 6, 5.2.2.17."""
        mask, body = 0, b""
        for bit, form, field in (
            (0x01, None, self.value),
            (0x02, "<I", self.status),
            (0x04, "<q", self.source),
            (0x10, "<H", self.source_picoseconds),
            (0x08, "<q", self.server),
            (0x20, "<H", self.server_picoseconds),
        ):
            if field is not None:
                mask |= bit
                body += variant_to_binary(field) if form is None else struct.pack(form, field)
        return bytes([mask]) + body


TIMES = st.none() | st.integers(FILETIME_1970, FILETIME_1970 + 10**17)
STATUSES = st.none() | st.sampled_from([0, OVERFLOW, 0x8034_0000, 0x4000_0000])
VALUES = st.builds(Given, st.none() | VARIANTS, STATUSES, TIMES, PICOSECONDS, TIMES, PICOSECONDS)


def response(*notifications: Any, sequence: int = 5, available: tuple[int, ...] = (3, 4)) -> Buffer:
    answer = ua.PublishResponse()
    answer.Parameters = ua.PublishResult(SubscriptionId=7, AvailableSequenceNumbers=list(available))
    answer.Parameters.NotificationMessage = ua.NotificationMessage(
        SequenceNumber=sequence, PublishTime=EPOCH + timedelta(seconds=3), NotificationData=list(notifications)
    )
    return Buffer(struct_to_binary(answer))


def changes(values: list[ua.DataValue]) -> ua.DataChangeNotification:
    items = [ua.MonitoredItemNotification(ClientHandle=200 + place, Value=value) for place, value in enumerate(values)]
    return ua.DataChangeNotification(MonitoredItems=items)


def body_of(values: list[Given]) -> bytes:
    """A DataChangeNotification with the values, the first for item 200."""
    items = [struct.pack("<I", 200 + place) + value.encoded() for place, value in enumerate(values)]
    return struct.pack("<i", len(items)) + b"".join(items) + struct.pack("<i", -1)


@given(st.lists(VALUES, max_size=8))
def test_every_value_comes_out_as_it_went_in(values: list[Given]) -> None:
    raw = ua.ExtensionObject(
        TypeId=ua.NodeId(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary), Body=body_of(values)
    )
    found = read_publication(response(raw))
    assert (found.subscription, found.sequence, found.published_at_ns) == (7, 5, 3_000_000_000)
    assert found.has_data
    assert found.ended is None
    assert [report.item for report in found.reports] == [200 + place for place in range(len(values))]
    for report, value in zip(found.reports, values, strict=True):
        assert report.value == (None if value.value is None else value.value.Value)
        taken = value.server if value.source is None else value.source
        assert report.at_ns == (0 if taken is None else (taken - FILETIME_1970) * 100)
        status = value.status or 0
        assert (report.status, report.good) == (status, status in (0, OVERFLOW))
        assert report.overflowed == (status == OVERFLOW)


def test_what_asyncua_encodes_is_read() -> None:
    taken = EPOCH + timedelta(seconds=1)
    values = [
        ua.DataValue(ua.Variant(1.5), SourceTimestamp=taken, ServerTimestamp=EPOCH + timedelta(seconds=2)),
        ua.DataValue(ua.Variant("loud"), SourceTimestamp=taken),
        ua.DataValue(None, ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown)),
    ]
    reports = read_publication(response(changes(values))).reports
    assert [(one.item, one.value, one.at_ns) for one in reports[:2]] == [(200, 1.5, 10**9), (201, "loud", 10**9)]
    assert (reports[2].value, reports[2].status) == (None, ua.StatusCodes.BadNodeIdUnknown)


def test_a_keep_alive_has_no_data_and_an_end_says_why() -> None:
    alive = read_publication(response(available=()))
    assert (alive.has_data, alive.reports, alive.ended) == (False, [], None)
    end = ua.StatusChangeNotification(Status=ua.StatusCode(ua.StatusCodes.BadTimeout))
    ended = read_publication(response(changes([ua.DataValue(ua.Variant(1.5))]), end))
    assert ended.ended == ua.StatusCodes.BadTimeout
    assert [report.value for report in ended.reports] == [1.5]


def test_half_a_response_is_refused() -> None:
    whole = bytes(response(changes([ua.DataValue(ua.Variant(1.5))] * 4)))
    for length in range(0, len(whole) - 12, 7):  # the last 12 bytes: results and diagnostics, which nobody reads
        with pytest.raises(ua.UaError):
            read_publication(Buffer(whole[:length]))
