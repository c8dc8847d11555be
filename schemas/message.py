"""The two bases of everything that travels: `Message` (one record) and `Value` (a part of one)."""

from __future__ import annotations

import msgspec

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable part of a message. New fields need defaults; types never change."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One record on a topic: a MessagePack map.

    `id` is deterministic: the same cause gives the same id, so that a consumer removes duplicates by it.
    Times are integer nanoseconds UTC (`_at_ns`). New fields need defaults; types never change.
    """

    id: str
