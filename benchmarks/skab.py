"""The watch over an asset's channels on SKAB, Skoltech's anomaly benchmark of a pump (github: waico/SKAB).

Each file: the first 400 rows are the baseline, the rest is judged row by row; counts are pooled over all files of `valve1` and `valve2`,
as the benchmark's leaderboard does. The data is not part of this repository: `../shared/data/skab` beside the checkout.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from processors.asset_watch import AssetWatch, learn

FOLDER = Path("../shared/data/skab")
BASELINE_ROWS = 400
CHANNELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """Counts of rows over all files, and of episodes: `found` files whose anomaly began an episode or met an open one."""

    true_alarms: int
    false_alarms: int
    misses: int
    quiet: int
    files: int
    found: int
    episodes: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall of rows."""
        return 2 * self.true_alarms / (2 * self.true_alarms + self.false_alarms + self.misses)

    @property
    def false_alarm_ratio(self) -> float:
        """Alarmed rows of the normal ones (FAR)."""
        return self.false_alarms / (self.false_alarms + self.quiet)

    @property
    def missed_ratio(self) -> float:
        """Quiet rows of the anomalous ones (MAR)."""
        return self.misses / (self.misses + self.true_alarms)


def score(folder: Path = FOLDER) -> Pooled | None:
    """Runs every file; None where the data is not there."""
    files = sorted(folder.glob("valve*/*.csv"))
    if not files:
        return None
    counts = np.zeros(4, dtype=np.int64)
    found = episodes = 0
    for file in files:
        names, rows, anomalous = read(file)
        watch = AssetWatch(learn(names, rows[:BASELINE_ROWS]))
        alarmed = np.zeros(len(rows), dtype=bool)
        met = is_open = False
        for number, row in enumerate(rows):
            now = watch.take(row)
            alarmed[number] = now.distances.outside
            was_open, is_open = is_open, now.distances.outside or (is_open and not now.is_normal)
            judged = number >= BASELINE_ROWS
            episodes += judged and is_open and not was_open
            met |= judged and bool(anomalous[number]) and is_open
        found += met
        a, y = alarmed[BASELINE_ROWS:], anomalous[BASELINE_ROWS:]
        counts += [int((a & y).sum()), int((a & ~y).sum()), int((~a & y).sum()), int((~a & ~y).sum())]
    true_alarms, false_alarms, misses, quiet = (int(count) for count in counts)
    return Pooled(
        true_alarms=true_alarms,
        false_alarms=false_alarms,
        misses=misses,
        quiet=quiet,
        files=len(files),
        found=found,
        episodes=episodes,
    )


def read(file: Path) -> tuple[list[str], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Names of the channels, rows float64 [m, 8] and whether each is anomalous [m]."""
    with file.open(newline="") as lines:
        header, *rows = csv.reader(lines, delimiter=";")
    values = np.array([[float(cell) for cell in row[1 : CHANNELS + 1]] for row in rows])
    anomalous = np.array([float(row[CHANNELS + 1]) > 0 for row in rows])
    return header[1 : CHANNELS + 1], values, anomalous
