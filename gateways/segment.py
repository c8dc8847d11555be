"""One file of a spool: a header, then records one behind the other, each with its lengths and a checksum.

    file    = "LSSPOOL", version (1 byte), record*
    record  = envelope length, value length, CRC-32C (4 bytes each, little-endian), envelope, value

The checksum is over both lengths, envelope and value, so that neither a cut nor a file of zeros gives a record. The envelope is
MessagePack, the value is the Kafka record's, byte for byte.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import crc32c
import msgspec

from schemas.errors import ConfigurationError

MAGIC = b"LSSPOOL"
VERSION = 1
HEADER = MAGIC + bytes([VERSION])
HEADER_BYTES = len(HEADER)
_LENGTHS = struct.Struct("<II")
_CHECKSUM = struct.Struct("<I")
HEAD_BYTES = _LENGTHS.size + _CHECKSUM.size
SMALL_BYTES = 64 * 1024
"""Below that reading over a record costs less than finding the next one: about a disk's latency times its throughput."""
AHEAD_BYTES = 1024 * 1024


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """What belongs to a value: topic (its name in the catalogue), key, headers, and when it was submitted (ns UTC)."""

    topic: str
    key: bytes
    headers: list[tuple[str, bytes]]
    at_ns: int


class Record(NamedTuple):
    """A record as it was appended."""

    envelope: Envelope
    value: bytes


class Damaged(Exception):
    """A record's bytes are not those that were written."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


class Segment:
    """An open segment file. `first` is the number of its first record, `count` how many are whole, `end` where they end (bytes).

    One thread appends; others may read what lies before `end`.
    """

    def __init__(self, path: Path, file: int, *, first: int) -> None:
        self.path = path
        self.first = first
        self.count = 0
        self.end = HEADER_BYTES
        self.oldest_ns = 0
        self.newest_ns = 0
        self.unsynced: list[Record] = []
        """What was appended and is not known to be on the disk."""
        self._file = file

    @classmethod
    def create(cls, path: Path, *, first: int) -> Segment:
        """A new, empty segment; its name is on disk before its first record. Raises OSError."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(file, HEADER, 0)
            sync_folder(path.parent)
        except OSError:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        return cls(path, file, first=first)

    @classmethod
    def open(cls, path: Path, *, first: int, verify: bool) -> tuple[Segment, int]:
        """A segment of a former life, and how many bytes at its end were no whole record; they are cut off.

        With `verify` every checksum is looked at: a bad record is the end, but where a whole one stands right behind it. That one was
        no last write that power or a kill cut short: `read` says `Damaged` of it. Without, records are counted by their lengths.
        Raises ConfigurationError for a file of another version or kind, OSError.
        """
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        segment = cls(path, file, first=first)
        size_bytes = os.fstat(file).st_size
        if size_bytes >= HEADER_BYTES and any(header := os.pread(file, HEADER_BYTES, 0)):
            _check_header(path, header)
            segment._scan(size_bytes, verify=verify)
            torn_bytes = size_bytes - segment.end
        else:
            torn_bytes = size_bytes  # it ended while its header was written
        if torn_bytes:
            os.ftruncate(file, segment.end if segment.count else 0)
        if torn_bytes or verify:
            os.fsync(file)  # a killed process may have left it to the page cache
        return segment, torn_bytes

    @property
    def stop(self) -> int:
        """The number after its last record."""
        return self.first + self.count

    def append(self, envelope: Envelope, value: bytes) -> int:
        """Writes a record to the end and returns its size in bytes. Raises OSError; the segment is as before then."""
        packed = _encoder.encode(envelope)
        lengths = _LENGTHS.pack(len(packed), len(value))
        checksum = _CHECKSUM.pack(_checksum(lengths, packed, value))
        try:
            written = _write_all(self._file, [lengths + checksum, packed, value], self.end)
        except OSError:
            os.ftruncate(self._file, self.end)
            raise
        self.unsynced.append(Record(envelope, value))
        self.oldest_ns = self.oldest_ns or envelope.at_ns
        self.newest_ns = envelope.at_ns
        self.end += written
        self.count += 1
        return written

    def read(self, offset: int) -> Record:
        """The record that begins at `offset`. Raises `Damaged`."""
        envelope, value, intact = self._bytes(offset)
        if not intact:
            raise Damaged(f"{self.path}: the record at byte {offset} is not as it was written")
        return Record(_decoder.decode(envelope), value)

    def envelope(self, offset: int) -> Envelope | None:
        """The envelope of the record at `offset`, without a look at its value; None where it cannot be read."""
        head = self._lengths(offset)
        try:
            return _decoder.decode(os.pread(self._file, head[0], offset + HEAD_BYTES)) if head else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def following(self, offset: int) -> int:
        """Where the record after that at `offset` begins, in bytes."""
        lengths = self._lengths(offset)
        return self.end if lengths is None else min(self.end, offset + HEAD_BYTES + sum(lengths))

    def sync(self) -> None:
        """Returns when what was appended is on the disk. Raises OSError: the file may never get there then, whatever a later sync says."""
        if self.unsynced:
            os.fdatasync(self._file)
            self.unsynced = []

    def clip(self, stop: int) -> None:
        """Forgets its records from number `stop` on: another segment has them."""
        end = HEADER_BYTES
        for _ in range(stop - self.first):
            end = self.following(end)
        self.count, self.end, self.unsynced = stop - self.first, end, []
        with suppress(OSError):  # its disk fails; whoever opens it next clips it again
            os.ftruncate(self._file, end)

    def remembered(self, number: int) -> Record | None:
        """A record that is not known to be on the disk, from memory."""
        unsynced = self.unsynced
        place = number - (self.stop - len(unsynced))
        return unsynced[place] if 0 <= place < len(unsynced) else None

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def _scan(self, size_bytes: int, *, verify: bool) -> None:
        last = self.end
        ahead = _Ahead(self._file)
        while (lengths := ahead.lengths(self.end)) is not None:
            following = self.end + HEAD_BYTES + sum(lengths)
            if not lengths[0] or following > size_bytes:
                break
            if verify and not (self._stands(self.end, size_bytes) or self._stands(following, size_bytes)):
                break
            last, self.end = self.end, following
            self.count += 1
        if self.count:
            modified_ns = os.fstat(self._file).st_mtime_ns
            oldest, newest = self.envelope(HEADER_BYTES), self.envelope(last)
            self.oldest_ns = oldest.at_ns if oldest else modified_ns
            self.newest_ns = newest.at_ns if newest else modified_ns

    def _stands(self, offset: int, size_bytes: int) -> bool:
        """Whether a whole record begins at `offset`. Lengths that lead out of the file are not followed: they may say gigabytes."""
        lengths = self._lengths(offset)
        fits = lengths is not None and offset + HEAD_BYTES + sum(lengths) <= size_bytes
        return fits and self._bytes(offset)[2]

    def _lengths(self, offset: int) -> tuple[int, int] | None:
        """Of envelope and value; None where the file ends."""
        head = os.pread(self._file, _LENGTHS.size, offset)
        return _LENGTHS.unpack(head) if len(head) == _LENGTHS.size else None

    def _bytes(self, offset: int) -> tuple[bytes, bytes, bool]:
        """Envelope, value, and whether they fit their checksum."""
        head = os.pread(self._file, HEAD_BYTES, offset)
        if len(head) < HEAD_BYTES:
            return b"", b"", False
        lengths, checksum = head[: _LENGTHS.size], head[_LENGTHS.size :]
        envelope_bytes, value_bytes = _LENGTHS.unpack(lengths)
        envelope = os.pread(self._file, envelope_bytes, offset + HEAD_BYTES)
        value = os.pread(self._file, value_bytes, offset + HEAD_BYTES + envelope_bytes)
        return envelope, value, _CHECKSUM.pack(_checksum(lengths, envelope, value)) == checksum


class _Ahead:
    """Lengths of one record after the other. Small records are counted out of long reads: a read for each of them would be a
    walk to the disk for each."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._from = 0
        self._bytes = b""
        self._last = 0

    def lengths(self, offset: int) -> tuple[int, int] | None:
        """Of envelope and value of the record at `offset`, which is not before that of the last call; None where the file ends."""
        place = offset - self._from
        if place + _LENGTHS.size > len(self._bytes):
            small = offset - self._last < SMALL_BYTES
            self._from, place = offset, 0
            self._bytes = os.pread(self._file, AHEAD_BYTES if small else _LENGTHS.size, offset)
        self._last = offset
        head = self._bytes[place : place + _LENGTHS.size]
        return _LENGTHS.unpack(head) if len(head) == _LENGTHS.size else None


def sync_folder(folder: Path) -> None:
    """Returns when the names in `folder` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_header(path: Path, header: bytes) -> None:
    if header[: len(MAGIC)] != MAGIC:
        raise ConfigurationError(f"{path} is no segment of a spool: move it away, or set LINESIGHT_SPOOL_DIR")
    if header[-1] != VERSION:
        raise ConfigurationError(
            f"{path} was written by another Linesight (spool version {header[-1]}; this one reads {VERSION}): "
            "start that one to send what is in it, or move the folder away"
        )


def _checksum(lengths: bytes, envelope: bytes, value: bytes) -> int:
    checksum: int = crc32c.crc32c(value, crc32c.crc32c(envelope, crc32c.crc32c(lengths)))
    return checksum


def _write_all(file: int, parts: list[bytes], offset: int) -> int:
    """Writes `parts` one behind the other at `offset`; returns how many bytes they are."""
    size_bytes = sum(map(len, parts))
    written = os.pwritev(file, parts, offset)
    if written < size_bytes:  # a full disk, or a signal: what is left says which
        rest = memoryview(b"".join(parts))
        while written < size_bytes:
            written += os.pwrite(file, rest[written:], offset + written)
    return size_bytes
