"""What a subscription's PublishResponse says, decoded: OPC UA Part 6 (binary), 5.2.2.17 DataValue; Part 4, 7.25 NotificationData.

A gateway of a thousand quick tags gets ten thousand of these values a second. A scalar number is read with one `struct` call, by the
layout that its two leading bytes name (1.2 us a value; 10 by way of asyncua's objects); any other value goes through asyncua's decoder.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, variant_from_binary

OVERFLOW = 0x480
"""The bits of a status (InfoType DataValue, Overflow; Part 4, 7.39) that say: before this value, some did not fit into the queue."""

_DATA_CHANGE = ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary
_STATUS_CHANGE = ua.ObjectIds.StatusChangeNotification_Encoding_DefaultBinary
_UNIX_EPOCH = 116_444_736_000_000_000
"""1970 in intervals of 100 ns since 1601, as OPC UA counts time."""
_SEVERITY = 0xC000_0000


class Report(NamedTuple):
    """A value that the server reports of one item. `at_ns` is when the source says that it took it (the server where the source says
    nothing), in ns UTC; 0 where neither does."""

    item: int
    value: Any
    status: int
    at_ns: int

    def __str__(self) -> str:
        """As it stands in a log."""
        return f"{self.value!r}, {ua.StatusCode(self.status & 0xFFFF_0000).name}"

    @property
    def good(self) -> bool:
        """Whether the server vouches for the value."""
        return not self.status & _SEVERITY

    @property
    def overflowed(self) -> bool:
        """Whether values were lost before this one, because the server's queue was full."""
        return self.status & OVERFLOW == OVERFLOW


class Publication(NamedTuple):
    """One PublishResponse. It is a sign of life where `reports` is empty. `ended` is the status with which the server ended the
    subscription; `more` says that the next response belongs to the same moment."""

    subscription: int
    sequence: int
    published_at_ns: int
    reports: list[Report]
    more: bool
    has_data: bool
    ended: int | None


def read_publication(response: Buffer) -> Publication:
    """The body of a PublishResponse. Raises `ua.UaError` for a bad ServiceResult, or a response that makes no sense."""
    try:
        nodeid_from_binary(response)
        header = struct_from_binary(ua.ResponseHeader, response)
        header.ServiceResult.check()
        return _publication(bytes(response))
    except (struct.error, IndexError, ValueError, TypeError) as error:
        raise ua.UaError(f"a PublishResponse that cannot be read: {error!r}") from error


def _publication(data: bytes) -> Publication:
    subscription, available = struct.unpack_from("<Ii", data, 0)
    at = 8 + 4 * max(available, 0)
    more, sequence, published, count = struct.unpack_from("<?Iqi", data, at)
    at += 17
    reports: list[Report] = []
    ended: int | None = None
    for _ in range(max(count, 0)):
        buffer = Buffer(data, at)
        kind = nodeid_from_binary(buffer)
        start = buffer.cur_pos
        _encoding, length = struct.unpack_from("<Bi", data, start)
        start += 5
        if kind.Identifier == _DATA_CHANGE:
            _read_reports(data, start, reports)
        elif kind.Identifier == _STATUS_CHANGE:
            (ended,) = struct.unpack_from("<I", data, start)
        at = start + length
    return Publication(subscription, sequence, _as_ns(published), reports, more, count > 0, ended)


def _read_reports(data: bytes, at: int, reports: list[Report]) -> None:
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(max(count, 0)):
        item, leading = _LEADING.unpack_from(data, at)
        at += 4
        layout = _LAYOUTS.get(leading)
        if layout is None:
            report, at = _any_report(data, at, item)
            reports.append(report)
        else:
            fields = layout.fields.unpack_from(data, at)
            reports.append(layout.report(item, fields))
            at += layout.fields.size


def _any_report(data: bytes, at: int, item: int) -> tuple[Report, int]:
    """A DataValue at `at` whose value is no scalar number or is missing, and where it ends.

    Field by field: asyncua's own decoder of a DataValue takes the picoseconds for behind both times, which they are not.
    """
    mask, buffer = data[at], Buffer(data, at + 1)
    value = variant_from_binary(buffer).Value if mask & 0x01 else None
    tail = _tail(mask)
    fields = tail.fields.unpack_from(data, buffer.cur_pos)
    return tail.report(item, (value, *fields)), buffer.cur_pos + tail.fields.size


def _as_ns(filetime: int) -> int:
    return max(0, (filetime - _UNIX_EPOCH) * 100)


_LEADING = struct.Struct("<IH")
"""ClientHandle, then the encoding byte of the DataValue with that of the Variant behind it."""

_NUMBERS = {1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", 10: "f", 11: "d"}
"""Built-in types that are a scalar number, as `struct` reads them (Part 6, table 1)."""


class _Layout(NamedTuple):
    fields: struct.Struct
    report: Callable[[int, tuple[Any, ...]], Report]


@cache
def _tail(mask: int) -> _Layout:
    """What follows the value of a DataValue whose encoding byte is `mask`. Fields that are not of interest are padding."""
    has_status, has_time = bool(mask & 0x02), bool(mask & 0x0C)
    form = "<" + "I" * has_status
    if mask & 0x04:
        form += "q"
    if mask & 0x10:
        form += "2x"  # picoseconds of the source
    if mask & 0x08:
        form += "8x" if mask & 0x04 else "q"  # the server's time counts where the source has none
    if mask & 0x20:
        form += "2x"

    def report(item: int, fields: tuple[Any, ...]) -> Report:
        return Report(item, fields[0], fields[1] if has_status else 0, _as_ns(fields[-1]) if has_time else 0)

    return _Layout(struct.Struct(form), report)


def _number(mask: int, number: str) -> _Layout:
    """A whole DataValue: its encoding byte, that of a scalar number, the number, and the tail."""
    tail = _tail(mask)
    return _Layout(struct.Struct(f"<xx{number}{tail.fields.format[1:]}"), tail.report)


_LAYOUTS = {
    mask | kind << 8: _number(mask, number)
    for mask in range(0x01, 0x40, 2)  # the lowest bit: there is a value
    for kind, number in _NUMBERS.items()
}
