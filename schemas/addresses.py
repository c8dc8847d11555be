"""Addresses as they may be shown."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")


def without_password(text: str) -> str:
    """`text` with the user and password cut out of every address in it."""
    return _USER_INFO.sub("", text)
