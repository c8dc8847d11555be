"""Where pictures, references and large frames lie: a folder by default, an S3 bucket by setting.

Keys are relative paths with `/`. Values are immutable: a key is named by the digest of its content, so writing one
twice is harmless and no reader ever sees half of one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from io import BytesIO
from pathlib import Path
from typing import Protocol

from minio import Minio
from minio.error import MinioException, S3Error
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from schemas.errors import ConfigurationError, Transient
from schemas.settings import ObjectStoreSettings

MAX_OBJECT_BYTES = 256 * 1024 * 1024
REQUEST_TIMEOUT = Timeout(connect=2.0, read=10.0)
"""Of one request to an S3 API, in s; whoever asked repeats it."""

_NO_SUCH_NAME = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL)
"""What the file system says to a key that cannot name an object: asking again would not help."""

_NO_SUCH_KEY = ("NoSuchKey", "NoSuchObject", "KeyTooLongError", "XMinioInvalidObjectName")
"""The same, as S3 servers say it."""

_AWAY = (MinioException, HTTPError, OSError)
"""Everything else: the server is away, or something before it answered in its place."""


class ObjectMissing(KeyError):
    """No object of that key."""


class ObjectStore(Protocol):
    """Bytes by key. All methods raise `Transient` when the store is away."""

    def put(self, key: str, content: bytes) -> None:
        """Keeps `content` under `key`."""

    def get(self, key: str, *, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """The bytes of `key`; raises `ObjectMissing`, also where they are more than `limit_bytes`."""

    def exists(self, key: str) -> bool:
        """Whether `key` is there."""

    def expire(self, prefix: str, *, older_than_s: float) -> int:
        """Removes objects under `prefix` that were written more than `older_than_s` seconds ago; returns how many."""


def sha256_hex(content: bytes) -> str:
    """Lower-case hex digest, as messages carry it."""
    return hashlib.sha256(content).hexdigest()


def digest_of(content: bytes) -> str:
    """`sha256:<hex>`: how references and model weights are named wherever they are used."""
    return f"sha256:{sha256_hex(content)}"


def reference_key(digest: str) -> str:
    """Key of a reference image by its digest `sha256:<hex>`."""
    return f"references/{digest.removeprefix('sha256:')}"


def frame_key(image_sha256: str) -> str:
    """Key of an image that was too large to travel inside its frame."""
    return f"frames/{image_sha256[:2]}/{image_sha256}"


class FolderStore:
    """Objects as files below `root`, each written beside its place and moved into it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"object store folder {root} cannot be made: {error.strerror}; set OBJECT_STORE_URL"
            ) from error

    def put(self, key: str, content: bytes) -> None:
        """Keeps `content` under `key`."""
        path = self._path(key)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
        try:
            if path.exists():
                path.touch()  # kept again today: retention counts from now
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):  # its folder may be what is missing
                temporary.unlink()
            raise Transient(f"object store: {path} cannot be written: {error.strerror}") from error

    def get(self, key: str, *, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """The bytes of `key`; raises `ObjectMissing`."""
        path = self._path(key)
        try:
            if path.stat().st_size > limit_bytes:
                raise ObjectMissing(f"{key} is larger than {limit_bytes} bytes")
            return path.read_bytes()
        except OSError as error:
            if error.errno in _NO_SUCH_NAME:
                raise ObjectMissing(key) from error
            raise Transient(f"object store: {key} cannot be read: {error.strerror}") from error

    def exists(self, key: str) -> bool:
        """Whether `key` is there."""
        try:
            return self._path(key).is_file()
        except (ObjectMissing, OSError):
            return False

    def expire(self, prefix: str, *, older_than_s: float) -> int:
        """Removes old objects under `prefix`; returns how many."""
        before, removed = time.time() - older_than_s, 0
        for path in self._path(prefix).rglob("*"):
            try:
                if path.is_file() and path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                continue  # another process expires the same folder
            except OSError as error:
                raise Transient(f"object store: {path} cannot be removed: {error.strerror}") from error
        return removed

    def _path(self, key: str) -> Path:
        if "\0" in key:
            raise ObjectMissing(key)
        path = (self._root / key).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise ObjectMissing(key)
        return path


class BucketStore:
    """Objects in a bucket behind the S3 API."""

    def __init__(self, client: Minio, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, content: bytes) -> None:
        """Keeps `content` under `key`."""
        try:
            self._client.put_object(self._bucket, key, BytesIO(content), len(content))
        except _AWAY as error:
            raise Transient(f"object store: {key} cannot be written: {error}") from error

    def get(self, key: str, *, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """The bytes of `key`; raises `ObjectMissing`."""
        try:
            response = self._client.get_object(self._bucket, key)
            try:
                content = bytes(response.read(limit_bytes + 1))
            finally:
                response.close()
                response.release_conn()
        except ValueError as error:  # the client refuses the name itself
            raise ObjectMissing(key) from error
        except S3Error as error:
            if error.code in _NO_SUCH_KEY:
                raise ObjectMissing(key) from error
            raise Transient(f"object store: {key} cannot be read: {error}") from error
        except _AWAY as error:
            raise Transient(f"object store: {key} cannot be read: {error}") from error
        if len(content) > limit_bytes:
            raise ObjectMissing(f"{key} is larger than {limit_bytes} bytes")
        return content

    def exists(self, key: str) -> bool:
        """Whether `key` is there."""
        try:
            self._client.stat_object(self._bucket, key)
        except ValueError:
            return False
        except S3Error as error:
            if error.code in _NO_SUCH_KEY:
                return False
            raise Transient(f"object store: {key}: {error}") from error
        except _AWAY as error:
            raise Transient(f"object store: {key}: {error}") from error
        return True

    def expire(self, prefix: str, *, older_than_s: float) -> int:
        """Removes old objects under `prefix`; returns how many."""
        before, removed = time.time() - older_than_s, 0
        try:
            for item in self._client.list_objects(self._bucket, prefix=prefix, recursive=True):
                if item.last_modified is not None and item.last_modified.timestamp() < before:
                    self._client.remove_object(self._bucket, item.object_name)
                    removed += 1
        except _AWAY as error:
            raise Transient(f"object store: {prefix} cannot be expired: {error}") from error
        return removed


def open_store(settings: ObjectStoreSettings) -> ObjectStore:
    """The store that the environment names: a folder, or `s3://bucket` at `OBJECT_STORE_ENDPOINT`."""
    if not settings.url.startswith("s3://"):
        return FolderStore(Path(settings.url))
    if not settings.endpoint:
        raise ConfigurationError("OBJECT_STORE_URL is an s3:// address: set OBJECT_STORE_ENDPOINT to host:port too")
    client = Minio(
        settings.endpoint,
        access_key=settings.access_key,
        secret_key=settings.secret_key.get_secret_value() if settings.secret_key else None,
        secure=settings.secure,
        http_client=PoolManager(timeout=REQUEST_TIMEOUT, retries=Retry(total=1, backoff_factor=0.1)),
    )
    return BucketStore(client, settings.url.removeprefix("s3://").rstrip("/"))
