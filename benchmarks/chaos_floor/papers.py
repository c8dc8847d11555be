"""Certificates of both sides, good ones and ones that have ended, and which of them lie where they are read."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from gateways.certificates import VALID_DAYS, write_pair

GOOD, ENDED = "good", "ended"
_DAYS = {GOOD: VALID_DAYS, ENDED: 0}
"""Days from now: with 0 it ends in the second in which it was made."""


@dataclass(frozen=True, kw_only=True)
class Papers:
    """The certificates under `folder`. `line` is what the plant file names, `trusted` the PLC's trust list.

    The PLC trusts both of ours: the one that has ended is refused for its date, not as a stranger's.
    """

    folder: Path

    @property
    def line(self) -> Path:
        """Ours with its key, and the PLC's, pinned: where the gateways look (LINESIGHT_CERTIFICATES)."""
        return self.folder / "line"

    @property
    def trusted(self) -> Path:
        """The clients that the PLC lets in."""
        return self.folder / "trusted"

    def plc(self, which: str) -> Path:
        """The PLC's certificate, `good` or `ended`; its key lies beside it."""
        return self.folder / "plc" / f"{which}.der"

    def issue(self) -> None:
        """Makes all of them; the good ones hold."""
        for which, days in _DAYS.items():
            for side in ("ours", "plc"):
                place = self.folder / side / f"{which}.der"
                place.parent.mkdir(parents=True, exist_ok=True)
                uri = f"urn:linesight:chaos:{side}"
                write_pair(
                    place, place.with_suffix(".key"), name=side, application_uri=uri, server=side == "plc", days=days
                )
            _put(self.folder / "ours" / f"{which}.der", self.trusted / f"{which}.der")
        _put(self.plc(GOOD), self.line / "plc-1.der")
        self.show(GOOD)

    def show(self, which: str) -> None:
        """From now on the gateways find our certificate `good` or `ended` where they look; the key first."""
        for suffix in (".key", ".der"):
            _put(self.folder / "ours" / f"{which}{suffix}", self.line / f"linesight{suffix}")


def _put(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".partial")
    shutil.copy(source, partial)
    partial.replace(place)
