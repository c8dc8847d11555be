"""Datasets: labelled pictures, frozen in a folder that is never written to again and names itself by its digest.

    dataset.json            what it is: digest, counts, from what it was made, the dataset before it
    train.jsonl, test.jsonl a row per picture (`dataset_rows`); label files that `linesight train` and `evaluate` read
    left_out.jsonl          what is no part of it, each with its reason
    pictures/<sha256>.<ext> the pictures and references, byte for byte

The digest is that of both label files, which hold the digest of every picture: one flipped byte anywhere is found by `checked`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from processors.labelled_pictures import LeftOut, LeftOutReason
from schemas.errors import ConfigurationError
from schemas.object_store import digest_of, sha256_hex
from training.dataset_rows import DatasetRow, Side
from training.dataset_sides import clusters_of, leaks, sides
from training.labels import Sample
from training.picture_files import read_picture
from training.splits import fingerprint, near_duplicates

MANIFEST = "dataset.json"
LABEL_FILES: tuple[Side, Side] = ("train", "test")
LEFT_OUT = "left_out.jsonl"
PICTURES = "pictures"
FORMAT = 1
_SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"BM": ".bmp", b"II*\0": ".tif", b"MM\0*": ".tif"}


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """What `dataset.json` says. `after` is the digest of the dataset whose sides were kept, empty for the first one.

    `images` counts by side, `classes` pictures by side and class, `left_out` by reason, `near_duplicates` pairs.
    """

    digest: str
    made_from: str
    seed: int
    after: str
    images: dict[str, int]
    classes: dict[str, dict[str, int]]
    left_out: dict[str, int]
    clusters: int
    near_duplicates: int
    frozen_at_ns: int
    format: int = FORMAT


class Draft:
    """A dataset in the making: pictures are put into a folder beside `out`, which gets its name only when everything is there.

    Raises ConfigurationError where `out` is there already.
    """

    def __init__(self, out: Path) -> None:
        if out.exists():
            raise ConfigurationError(
                f"{out}: is there already, and a dataset is never overwritten; name another folder"
            )
        self._out = out
        self._folder = out.with_name(f".{out.name}.{os.getpid()}.new")
        (self._folder / PICTURES).mkdir(parents=True)
        self._rows: dict[str, DatasetRow] = {}
        self._contradicted: set[str] = set()
        self._left_out: list[LeftOut] = []

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)  # after `freeze` it has another name

    def keep_picture(self, content: bytes) -> str:
        """Puts a picture (or a reference) there; returns its path relative to the dataset."""
        suffix = next((found for start, found in _SUFFIXES.items() if content.startswith(start)), ".img")
        place = f"{PICTURES}/{sha256_hex(content)}{suffix}"
        path = self._folder / place
        if not path.exists():
            path.write_bytes(content)
        return place

    def decodes(self, place: str) -> bool:
        """Whether the picture is one."""
        return read_picture(self._folder / place) is not None

    def add(self, row: DatasetRow) -> None:
        """One picture with its label. The same picture again counts once; with another label it is left out, and so is the first."""
        before = self._rows.get(row.digest)
        if before is None:
            self._rows[row.digest] = row
            return
        if row.digest not in self._contradicted and before.said == row.said:
            self._leave_out(row, LeftOutReason.REPEATED)
            return
        self._leave_out(row, LeftOutReason.CONTRADICTING_LABELS)
        if row.digest not in self._contradicted:
            self._contradicted.add(row.digest)
            self._leave_out(before, LeftOutReason.CONTRADICTING_LABELS)

    def leave_out(self, some: Sequence[LeftOut]) -> None:
        """Tells what is no part of the dataset."""
        self._left_out += some

    def freeze(self, *, made_from: str, after: Path | None, seed: int, now_ns: int) -> Dataset:
        """Splits what was added and gives the folder its name. Nothing of it is written again.

        Raises:
            ConfigurationError: no picture is left, or `after` is no dataset.
        """
        earlier_digest, earlier = _earlier(after)
        rows = [row for digest, row in sorted(self._rows.items()) if digest not in self._contradicted]
        if not rows:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in self._count_left_out().items())
            raise ConfigurationError(f"no labelled picture is left of {made_from} ({reasons or 'nothing was there'})")
        pairs = _near_duplicates(self._folder, rows)
        clusters = clusters_of(rows, pairs)
        names = _names(rows, clusters)
        placed: list[DatasetRow] = []
        for row, side, cluster in zip(rows, sides(rows, pairs, earlier=earlier, seed=seed), clusters, strict=True):
            if side is None:
                self._leave_out(row, LeftOutReason.JOINS_BOTH_SIDES)
            else:
                placed.append(msgspec.structs.replace(row, split=side, group=names[cluster]))
        self._drop_unused(placed)
        digest = self._write_rows(placed)
        dataset = Dataset(
            digest=digest,
            made_from=made_from,
            seed=seed,
            after=earlier_digest,
            images={side: sum(row.split == side for row in placed) for side in LABEL_FILES},
            classes={side: _classes([row for row in placed if row.split == side]) for side in LABEL_FILES},
            left_out=self._count_left_out(),
            clusters=len(set(clusters)),
            near_duplicates=len(pairs),
            frozen_at_ns=now_ns,
        )
        _write(self._folder / MANIFEST, msgspec.json.format(msgspec.json.encode(dataset), indent=2) + b"\n")
        self._give_name()
        return dataset

    def _leave_out(self, row: DatasetRow, reason: LeftOutReason) -> None:
        self._left_out.append(LeftOut(source=row.source, part=row.part, view=row.view, reason=reason))

    def _count_left_out(self) -> dict[str, int]:
        reasons = [each.reason for each in self._left_out]
        return {reason.value: reasons.count(reason) for reason in LeftOutReason if reason in reasons}

    def _drop_unused(self, rows: Sequence[DatasetRow]) -> None:
        used = {row.image for row in rows} | {row.reference for row in rows}
        for path in (self._folder / PICTURES).iterdir():
            if f"{PICTURES}/{path.name}" not in used:
                path.unlink()

    def _write_rows(self, rows: Sequence[DatasetRow]) -> str:
        for side in LABEL_FILES:
            lines = [msgspec.json.encode(row) + b"\n" for row in rows if row.split == side]
            _write(self._folder / f"{side}.jsonl", b"".join(lines))
        told = sorted(self._left_out, key=lambda each: (each.source, each.view, each.reason))
        _write(self._folder / LEFT_OUT, b"".join(msgspec.json.encode(each) + b"\n" for each in told))
        return _digest(self._folder)

    def _give_name(self) -> None:
        for path in self._folder.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        try:
            self._folder.rename(
                self._out
            )  # refused where somebody else was quicker: a folder with files is not replaced
        except OSError as error:
            raise ConfigurationError(f"{self._out}: cannot be given to the dataset: {error.strerror}") from error


def open_dataset(folder: Path) -> Dataset:
    """What a dataset says of itself. Raises ConfigurationError where the folder holds none."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Dataset)
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: expected a folder that `linesight datasets build` wrote: {MANIFEST}: {error.strerror}"
        ) from error
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{folder / MANIFEST}: {error}") from error


def read_rows(folder: Path) -> list[DatasetRow]:
    """All rows of a dataset, those to train on first. Raises ConfigurationError with file and line."""
    rows = []
    for side in LABEL_FILES:
        file = folder / f"{side}.jsonl"
        try:
            lines = file.read_bytes().splitlines()
        except OSError as error:
            raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from error
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(msgspec.json.decode(line, type=DatasetRow))
            except msgspec.DecodeError as error:
                raise ConfigurationError(f"{file}:{number}: {error}") from error
    return rows


def checked(folder: Path) -> list[str]:
    """What is not so: a digest that differs, a picture that is missing or changed, a cluster on both sides. Empty where all is well.

    Everything is looked at again: pictures are read, near-duplicates are searched for.
    """
    dataset, rows = open_dataset(folder), read_rows(folder)
    wrong = []
    if (found := _digest(folder)) != dataset.digest:
        wrong.append(f"the label files have the digest {found}, {dataset.digest} was frozen")
    whole = True
    for row in rows:
        for place, digest in ((row.image, row.digest), (row.reference, _named(row.reference))):
            if place is None:
                continue
            try:
                same = digest_of((folder / place).read_bytes()) == digest
            except OSError as error:
                same = False
                whole = False
                wrong.append(f"{place}: {error.strerror}")
                continue
            if not same:
                wrong.append(f"{place}: is not the picture that was frozen")
    if whole and rows:
        count = leaks(rows, _near_duplicates(folder, rows))
        if count:
            wrong.append(f"{count} clusters (part, batch or near-duplicates) are on both sides")
    return wrong


def _named(reference: str | None) -> str | None:
    return None if reference is None else f"sha256:{Path(reference).stem}"


def _earlier(after: Path | None) -> tuple[str, dict[str, Side]]:
    if after is None:
        return "", {}
    return open_dataset(after).digest, {row.digest: row.split for row in read_rows(after)}


def _near_duplicates(folder: Path, rows: Sequence[DatasetRow]) -> list[tuple[int, int]]:
    return near_duplicates([fingerprint(_sample(folder / row.image)) for row in rows])


def _sample(image: Path) -> Sample:
    return Sample(line=0, name=image.name, image=image, reference=None, group="", regions=None, label=None)


def _names(rows: Sequence[DatasetRow], clusters: Sequence[int]) -> dict[int, str]:
    """A cluster is called after the first of its parts (of its pictures, where no part is known); no two have one name."""
    first: dict[int, str] = {}
    for row, cluster in zip(rows, clusters, strict=True):
        name = row.part or row.group or row.digest
        first[cluster] = min(first.get(cluster, name), name)
    owner = {name: cluster for cluster, name in reversed(first.items())}
    return {cluster: name if owner[name] == cluster else f"{name}+{cluster}" for cluster, name in first.items()}


def _classes(rows: Sequence[DatasetRow]) -> dict[str, int]:
    found = [name for row in rows for name in row.classes]
    return {name: found.count(name) for name in sorted(set(found))}


def _digest(folder: Path) -> str:
    return digest_of(b"".join(digest_of((folder / f"{side}.jsonl").read_bytes()).encode() for side in LABEL_FILES))


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
