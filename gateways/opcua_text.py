"""Texts of a PLC that are no UTF-8, as OPC UA wants them to be (Part 6, 5.2.2.4): a label reader hands on what it read, in Latin-1 for one.

asyncua keeps each such byte as a lone surrogate, which no message, header or log can carry. Here the byte is shown as `\\xe4`, so that two
parts stay two, and what goes back to the PLC are its own bytes: it knows its part again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

REMEMBERED = 4096
"""Texts: several times the ring of any PLC that we know, which is read again as a whole."""


class ForeignTexts:
    """What was shown in place of a session's texts. `told` is called once for each node that has such a text, with what is shown."""

    def __init__(self, told: Callable[[str, str], None] = lambda _node, _shown: None) -> None:
        self._told = told
        self._told_of: set[str] = set()
        self._said: OrderedDict[str, str] = OrderedDict()  # by what is shown

    def shown(self, node: str, value: Any) -> Any:
        """`value` of `node`, a text or an array with texts in it, as it can be carried on; any other as it is."""
        if isinstance(value, list):
            return [self._text(node, entry) for entry in value] if any(map(_is_odd, value)) else value
        return self._text(node, value)

    def as_said(self, value: Any) -> Any:
        """What the PLC itself said, where it is shown as `value`."""
        return self._said.get(value, value) if isinstance(value, str) else value

    def _text(self, node: str, value: Any) -> Any:
        if not _is_odd(value):
            return value
        shown = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        self._said.pop(shown, None)
        self._said[shown] = value
        while len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        if node not in self._told_of:
            self._told_of.add(node)
            self._told(node, shown)
        return shown


def _is_odd(value: Any) -> bool:
    """Whether asyncua found bytes in it that are no UTF-8."""
    return isinstance(value, str) and not value.isascii() and any("\udc80" <= sign <= "\udcff" for sign in value)
