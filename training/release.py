"""A trained folder becomes the next version of its model in a repository: proved first, copied beside what is there, never over it.

<model>/config.pbtxt     one for all versions; what is of version 3 alone stands in it as `<name>/3`, unless the registry says it
<model>/3/model.onnx     the weights
<model>/3/card.json      what it is and what it reached
<model>/3/model.json     how it takes pictures, its thresholds
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from processors.learned.settings import ModelSettings, served_parameters
from schemas.errors import ConfigurationError
from schemas.object_store import digest_of
from training.model_card import ModelCard
from training.settings import FILE, read_settings

CARD, CONFIGURATION = "card.json", "config.pbtxt"
WEIGHTS = Path("1", "model.onnx")
PARITY = "parity_torch_onnx"
MOST_PARITY = 1e-3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_PARAMETERS = "parameters {"
_POLICY = "version_policy {"
_OF_ALL_VERSIONS = ("#", "name:", _PARAMETERS, _POLICY)
"""Lines of a configuration that may differ between the versions of one model, or say nothing to the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A trained folder that may be released. `digest` is that of its weights, `configuration` the text of its config.pbtxt."""

    folder: Path
    digest: str
    card: ModelCard
    settings: ModelSettings
    configuration: str


def read_candidate(folder: Path) -> Candidate:
    """The trained model of a folder, with its evidence.

    Raises ConfigurationError where a file is missing, the card is another model's, or nothing shows that ONNX answers as torch does.
    """
    settings = read_settings(folder)
    weights, card_text = _read(folder, WEIGHTS), _read(folder, Path(CARD))
    try:
        card = msgspec.json.decode(card_text, type=ModelCard)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{folder / CARD}: {error}") from error
    digest = digest_of(weights)
    if card.digest != digest:
        raise ConfigurationError(
            f"{folder}: the card is that of {card.digest}, the weights are {digest}: train again, or take the folder as it was written"
        )
    parity = card.metrics.get(PARITY)
    if not isinstance(parity, float | int) or isinstance(parity, bool) or not 0 <= parity <= MOST_PARITY:
        raise ConfigurationError(
            f"{folder / CARD}: metrics.{PARITY}: expected a difference of at most {MOST_PARITY:g} between torch and ONNX, got "
            f"{parity!r}: a model that does not answer as it was trained is not released"
        )
    text = _read(folder, Path(CONFIGURATION)).decode()
    return Candidate(folder=folder, digest=digest, card=card, settings=settings, configuration=text)


def versions_in(repositories: Iterable[Path], model: str) -> dict[int, str]:
    """Versions of a model that have weights, with their digests; of all repositories together."""
    found: dict[int, str] = {}
    for repository in repositories:
        for weights in (repository / model).glob("*/model.onnx"):
            if weights.parent.name.isdecimal():
                found[int(weights.parent.name)] = digest_of(weights.read_bytes())
    return found


def repository_for(repositories: Iterable[Path], model: str) -> Path:
    """The repository that has the model, else the last one: Triton serves a name from one repository only."""
    known = list(repositories)
    return next((repository for repository in known if (repository / model).is_dir()), known[-1])


def add_version(
    repository: Path,
    model: str,
    candidate: Candidate,
    version: int,
    *,
    unserved: Collection[int] = (),
    is_told: bool = False,
) -> Path:
    """Copies the candidate as that version of the model; returns its folder, which is there whole or not at all.

    The server holds every version of a model that its configuration names, each in memory: `unserved` are those that nobody asks any more.
    Their files stay. `is_told`: stages learn from the registry, or from the folder, what is of this version alone, so that the
    configuration keeps its parameters. Where these change, the server starts every version anew that it serves; a change of the policy
    starts none.

    Raises ConfigurationError for a name that is none, a version that is there, and a candidate that takes other pictures or gives
    other answers than the model does: one configuration serves all of its versions.
    """
    if not _NAME.fullmatch(model):
        raise ConfigurationError(f"model name {model!r}: expected letters, digits, `_` and `-`, as a folder is called")
    home = repository / model
    place = home / str(version)
    if place.exists():
        raise ConfigurationError(f"{place}: is there already, and a version is never overwritten")
    text = _configuration(home, model, candidate, version, is_told=is_told)
    configuration = _served(text, home, version, unserved)
    home.mkdir(parents=True, exist_ok=True)
    new = home / f".{version}.{os.getpid()}.new"
    try:
        new.mkdir()
        card = msgspec.structs.replace(candidate.card, model=model, version=version)
        _write(new / "model.onnx", _read(candidate.folder, WEIGHTS))
        _write(new / CARD, msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
        _write(new / FILE, msgspec.json.format(msgspec.json.encode(candidate.settings), indent=2) + b"\n")
        # the configuration first: what it says of a version that is not there does no harm
        _replace(home / CONFIGURATION, configuration.encode())
        new.rename(place)  # refused where somebody else was quicker: a folder with files is not replaced
    except OSError as error:
        raise ConfigurationError(f"{place}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return place


def take_back(place: Path) -> None:
    """Removes a version that was never announced, whole and at once."""
    gone = place.with_name(f".{place.name}.{os.getpid()}.gone")
    place.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _configuration(home: Path, model: str, candidate: Candidate, version: int, *, is_told: bool) -> str:
    own = served_parameters(candidate.settings, version=version, digest=candidate.digest)
    known = home / CONFIGURATION
    if not known.exists():
        kept = [line for line in candidate.configuration.splitlines() if not line.startswith(("name:", _PARAMETERS))]
        return f'name: "{model}"\n' + "\n".join(kept) + "\n" + own
    text = known.read_text()
    if _of_all(text) != _of_all(candidate.configuration):
        raise ConfigurationError(
            f"{candidate.folder}: takes other pictures, or gives other answers, than {model} does (compare its {CONFIGURATION} with "
            f"{known}): release it as a model of its own with --model NAME, and pin that in a recipe"
        )
    _check_family(home, candidate)
    stale = tuple(line.split("value")[0] for line in own.splitlines())  # of a release that did not come to its end
    kept = [line for line in text.splitlines() if not line.startswith(stale)]
    return "\n".join(kept) + "\n" + ("" if is_told else own)


def _served(configuration: str, home: Path, version: int, unserved: Collection[int]) -> str:
    """The configuration with the versions that are served; a policy that a person wrote over several lines stays."""
    if not unserved and f"{_POLICY} all" in configuration:
        return configuration
    served = sorted({*versions_in([home.parent], home.name), version} - set(unserved))
    policy = f"{_POLICY} specific {{ versions: [ {', '.join(map(str, served))} ] }} }}"
    lines = configuration.splitlines()
    return "\n".join(policy if line.startswith(_POLICY) and line.endswith("}") else line for line in lines) + "\n"


def _of_all(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(_OF_ALL_VERSIONS)]


def _check_family(home: Path, candidate: Candidate) -> None:
    """A recipe says the family of what it pins: another one under the same name would stop the line."""
    for file in (home / FILE, *home.glob(f"*/{FILE}")):
        if file.exists() and (family := read_settings(file.parent).family) != candidate.settings.family:
            raise ConfigurationError(
                f"{candidate.folder}: is of the family {candidate.settings.family}, {home.name} is of {family}: "
                "release it under another name (--model)"
            )


def _read(folder: Path, name: Path) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: expected a folder that `linesight train --out` wrote: {name}: {error.strerror}"
        ) from error


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    _write(new, content)
    new.replace(path)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
