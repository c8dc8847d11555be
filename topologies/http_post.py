"""One POST to a receiver of alerts: bounded in time, no redirect followed, and what the answer means.

Redirects are refused, whatever they point to: a receiver, or whoever answers in its place, must not be able to send alerts elsewhere,
nor have this process ask addresses inside the plant's network. Addresses often hold a secret, so only their host is ever told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import aiohttp

from schemas.errors import Refused, Transient
from schemas.reasons import RefusalReason

TRY_AGAIN = frozenset({408, 425, 429})


def host_of(url: str) -> str:
    """What may be told of an address."""
    return urlsplit(url).hostname or "receiver"


def header_value(text: str) -> str:
    """`text` as the value of a header: what could end the header (a name may hold anything) is percent-encoded."""
    return "".join(character if character.isprintable() else quote(character) for character in text)


async def post_json(
    session: aiohttp.ClientSession, url: str, *, body: bytes, headers: Mapping[str, str], timeout_ms: int
) -> None:
    """Returns when the receiver has taken `body`. Raises `Transient` where a repetition may help, `Refused` where none does.

    `timeout_ms` is for everything: name, connection, sending, answer. The body of the answer is not read.
    """
    try:
        async with (
            asyncio.timeout(timeout_ms / 1000),
            session.post(
                url, data=body, headers={"Content-Type": "application/json", **headers}, allow_redirects=False
            ) as response,
        ):
            status = response.status
    except TimeoutError as error:
        raise Transient(f"no answer within {timeout_ms} ms") from error
    except aiohttp.InvalidURL as error:
        raise Refused(RefusalReason.RECEIVER_REFUSED, "the address in the plant file is no URL") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Transient(type(error).__name__) from error
    if 200 <= status < 300:
        return
    if status >= 500 or status in TRY_AGAIN:
        raise Transient(f"answered {status}")
    told = "a redirect, which is not followed" if 300 <= status < 400 else "which says never"
    raise Refused(RefusalReason.RECEIVER_REFUSED, f"{host_of(url)} answered {status}, {told}")
