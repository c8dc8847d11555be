"""Both stores keep what they are given, say clearly what they do not have, and call only an outage transient."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigurationError, Transient
from schemas.object_store import (
    FolderStore,
    ObjectMissing,
    ObjectStore,
    frame_key,
    open_store,
    reference_key,
    sha256_hex,
)
from schemas.settings import ObjectStoreSettings
from schemas.verdicts import picture_key

DAY_S = 86_400.0


class S3Server(ThreadingHTTPServer):
    """The part of the S3 API that a store needs, in memory: objects, their time of writing, and a switch for an outage."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), S3Requests)
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.broken: tuple[int, bytes] | None = None


class S3Requests(BaseHTTPRequestHandler):
    server: S3Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", *, at: float = 0.0, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Last-Modified", formatdate(at, usegmt=True))
        self.send_header("ETag", '"00"')
        self.send_header("Content-Type", "application/xml" if body.startswith(b"<E") else "text/html")
        self.end_headers()
        self.wfile.write(body)

    def _missing(self) -> None:
        self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>")

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix("/pictures-bucket").lstrip("/")

    def _refuses(self) -> bool:
        if self.server.broken:
            self._answer(*self.server.broken)
        return self.server.broken is not None

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("x-amz-content-sha256", "").startswith("STREAMING"):
            content = re.sub(rb"[0-9a-f]+;chunk-signature=[0-9a-f]+\r\n", b"", content).removesuffix(b"\r\n\r\n")
        if not self._refuses():
            self.server.objects[self._key()] = (content, time.time())
            self._answer(200)

    def do_HEAD(self) -> None:
        found = self.server.objects.get(self._key())
        if self.server.broken or found is None:
            self._answer(self.server.broken[0] if self.server.broken else 404)
        else:
            self._answer(200, at=found[1], length=len(found[0]))

    def do_DELETE(self) -> None:
        self.server.objects.pop(self._key(), None)
        self._answer(204)

    def do_GET(self) -> None:
        if self._refuses():
            return
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if "location" in query:
            self._answer(200, b"<LocationConstraint>us-east-1</LocationConstraint>")
        elif "list-type" in query:
            rows = "".join(
                f"<Contents><Key>{key}</Key><ETag>0</ETag><Size>{len(content)}</Size><LastModified>"
                f"{time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(at))}</LastModified></Contents>"
                for key, (content, at) in self.server.objects.items()
                if key.startswith(query["prefix"][0])
            )
            self._answer(
                200,
                f"<ListBucketResult><Name>pictures-bucket</Name><Prefix/><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode(),
            )
        elif self._key() in self.server.objects:
            content, at = self.server.objects[self._key()]
            self._answer(200, content, at=at)
        else:
            self._missing()


@pytest.fixture
def s3() -> Iterator[S3Server]:
    server = S3Server()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def bucket(server: S3Server) -> ObjectStore:
    return open_store(
        ObjectStoreSettings(
            url="s3://pictures-bucket",
            endpoint=f"127.0.0.1:{server.server_address[1]}",
            access_key="reader",
            secret_key="not-so-secret",  # type: ignore[arg-type]
            secure=False,
        )
    )


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Server) -> ObjectStore:
    return FolderStore(tmp_path / "objects") if request.param == "folder" else bucket(s3)


def test_what_is_kept_is_found_again(store: ObjectStore) -> None:
    key = picture_key(sha256_hex(b"picture"))
    assert not store.exists(key)
    store.put(key, b"picture")
    store.put(key, b"picture")
    assert store.exists(key)
    assert store.get(key) == b"picture"


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    store.put("pictures/00/empty", b"")
    assert store.get("pictures/00/empty") == b""


@pytest.mark.parametrize(
    "key", ["pictures/00/none", "", "pictures", "../outside", "a\0b", "x" * 2000, "pictures/00/a/below"]
)
def test_a_key_that_names_nothing_is_missing_and_not_transient(store: ObjectStore, key: str) -> None:
    """Keys come from frames: asking again for a bad one would stop a partition for ever."""
    store.put("pictures/00/a", b"a")
    with pytest.raises(ObjectMissing):
        store.get(key)
    assert not store.exists(key)


def test_an_object_larger_than_the_limit_is_not_read(store: ObjectStore) -> None:
    store.put("frames/a", b"12345")
    store.put("frames/b", b"123456")
    assert store.get("frames/a", limit_bytes=5) == b"12345"
    with pytest.raises(ObjectMissing, match="larger than 5 bytes"):
        store.get("frames/b", limit_bytes=5)


def test_only_old_objects_under_the_prefix_expire(tmp_path: Path, s3: S3Server) -> None:
    folder, behind = FolderStore(tmp_path), bucket(s3)
    for store in (folder, behind):
        for key in ("pictures/00/old", "pictures/00/new", "references/old"):
            store.put(key, b"x")
    long_ago = time.time() - 10 * DAY_S
    for key in ("pictures/00/old", "references/old"):
        os.utime(tmp_path / key, (long_ago, long_ago))
        s3.objects[key] = (b"x", long_ago)
    for store in (folder, behind):
        assert store.expire("pictures/", older_than_s=5 * DAY_S) == 1
        kept = [key for key in ("pictures/00/old", "pictures/00/new", "references/old") if store.exists(key)]
        assert kept == ["pictures/00/new", "references/old"]
        assert store.expire("pictures/", older_than_s=5 * DAY_S) == 0


def test_keeping_again_starts_retention_again(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("pictures/00/a", b"x")
    os.utime(tmp_path / "pictures/00/a", (0, 0))
    store.put("pictures/00/a", b"x")
    assert store.expire("pictures/", older_than_s=DAY_S) == 0


@pytest.mark.parametrize(
    "answer",
    [(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"), (502, b"<html>Bad Gateway</html>")],
    ids=["store", "proxy"],
)
def test_a_store_that_says_no_is_transient_and_named(s3: S3Server, answer: tuple[int, bytes]) -> None:
    store = bucket(s3)
    store.put("pictures/00/a", b"x")
    s3.broken = answer
    for attempt in (lambda: store.put("k", b""), lambda: store.get("k"), lambda: store.expire("p", older_than_s=0)):
        with pytest.raises(Transient, match="object store"):
            attempt()
    with pytest.raises(Transient, match="object store"):
        store.exists("pictures/00/a")


def test_a_store_that_is_away_is_transient() -> None:
    gone = S3Server()
    gone.server_close()
    with pytest.raises(Transient, match="object store"):
        bucket(gone).get("pictures/00/a")


def test_a_full_disk_is_transient_and_leaves_no_half_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Transient, match="No space left"):
        store.put("pictures/00/a", b"x")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_made_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="set OBJECT_STORE_URL"):
        open_store(ObjectStoreSettings(url=str(tmp_path / "file" / "objects")))


def test_a_bucket_without_an_endpoint_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="set OBJECT_STORE_ENDPOINT"):
        open_store(ObjectStoreSettings(url="s3://pictures", endpoint=None))


def test_secrets_do_not_print() -> None:
    assert "tiger" not in repr(ObjectStoreSettings(secret_key="tiger"))  # type: ignore[arg-type]


def test_keys_are_named_by_content() -> None:
    digest = sha256_hex(b"x")
    assert picture_key(digest) == f"pictures/{digest[:2]}/{digest}"
    assert frame_key(digest) == f"frames/{digest[:2]}/{digest}"
    assert reference_key(f"sha256:{digest}") == f"references/{digest}"


@given(content=st.binary(max_size=2000))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_comes_back_unchanged(store: ObjectStore, content: bytes) -> None:
    key = picture_key(sha256_hex(content))
    store.put(key, content)
    assert store.get(key) == content
