"""Addresses: whether they are whole, and as they may be shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

_USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")


def without_password(text: str) -> str:
    """`text` with the user and password cut out of every address in it."""
    return _USER_INFO.sub("", text)


def address_lacks(address: str, *, schemes: Sequence[str], port_needed: bool = False) -> str | None:
    """What is expected of `address`, where it is none with one of `schemes`, a host, and a port that can be one or is left out."""
    begins = " or ".join(f"{scheme}://" for scheme in schemes)
    if not address.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        return f"an address that begins with {begins}"
    if any(character.isspace() for character in address):
        return "an address without spaces"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return "a port from 1 to 65535 after the host's `:` (an IPv6 address in brackets: `[2001:db8::1]`)"
    if not parts.hostname:
        return f"a host after {parts.scheme}://"
    if port == 0 or (port is None and port_needed):
        return "a port from 1 to 65535 after the host"
    return None
