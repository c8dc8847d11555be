"""Private keys, loaded once: loading checks the key's primes, 0.04 s of processor time for an RSA key of 2,048 bits, 0.13 s for 3,072.

A gateway of twenty PLCs that loaded its key with each connection stood still for longer than a PLC's answer may take: no session lived.
"""

from __future__ import annotations

import asyncio
import threading
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

MOST_KEYS = 64
"""Keys kept in memory; a process uses one for each PLC at most."""

_one_at_a_time = threading.Lock()


async def private_key(file: Path) -> PrivateKeyTypes:
    """The key in `file`, PEM or DER, as it is now; loaded beside the event loop, and again only when the file's content has changed.

    Raises OSError, ValueError or TypeError where the file holds no key that can be used.
    """
    return await asyncio.to_thread(_read, file)


def _read(file: Path) -> PrivateKeyTypes:
    content = file.read_bytes()
    with _one_at_a_time:  # links that start together wait for one load, not for twenty
        return _loaded(content)


@lru_cache(maxsize=MOST_KEYS)
def _loaded(content: bytes) -> PrivateKeyTypes:
    load = load_pem_private_key if content.startswith(b"-----BEGIN") else load_der_private_key
    return load(content, password=None)
