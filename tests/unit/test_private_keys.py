"""Keys of PLC connections: loaded once, and what is in the file is what counts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateways.private_keys import private_key


def write_key(file: Path, encoding: Encoding = Encoding.PEM) -> Any:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file.write_bytes(key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption()))
    return key.private_numbers()


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
async def test_a_key_is_told_by_its_content(tmp_path: Path, encoding: Encoding) -> None:
    written = write_key(tmp_path / "own.key", encoding)
    found: Any = await private_key(tmp_path / "own.key")
    assert found.private_numbers() == written


async def test_links_that_start_together_load_the_key_once(tmp_path: Path) -> None:
    write_key(tmp_path / "own.key")
    first, *others = await asyncio.gather(*(private_key(tmp_path / "own.key") for _ in range(20)))
    assert all(one is first for one in others)


async def test_a_rotated_key_counts_from_the_next_connection_on(tmp_path: Path) -> None:
    write_key(tmp_path / "own.key")
    await private_key(tmp_path / "own.key")
    written = write_key(tmp_path / "own.key")
    found: Any = await private_key(tmp_path / "own.key")
    assert found.private_numbers() == written


async def test_a_damaged_key_is_tried_again_once_it_is_put_right(tmp_path: Path) -> None:
    (tmp_path / "own.key").write_bytes(b"-----BEGIN PRIVATE KEY-----\nnone\n")
    with pytest.raises(ValueError, match="PEM"):
        await private_key(tmp_path / "own.key")
    written = write_key(tmp_path / "own.key")
    found: Any = await private_key(tmp_path / "own.key")
    assert found.private_numbers() == written
