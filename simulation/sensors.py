"""The press beside the simulated line: its vibration with one bad episode, its temperature as it warms up."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from schemas.errors import ConfigurationError
from schemas.plant import Asset, Channel
from simulation.plc import PlcServer

UPDATE_S = 0.2
EPISODE_STARTS_AT_RATIO = 0.2
"""Share of the run after which the press shakes."""
EPISODE_S = 4.0

_VIBRATION_MM_S = 2.2
_EPISODE_MM_S = 9.5
_COLD_CEL = 36.0
_WARM_CEL = 44.0
_WARMS_UP_IN_S = 120.0


def vibration_mm_s(elapsed_s: float, duration_s: float, rng: np.random.Generator) -> float:
    """Vibration velocity of the press, `elapsed_s` into a run of `duration_s`."""
    start = EPISODE_STARTS_AT_RATIO * duration_s
    level = _EPISODE_MM_S if start <= elapsed_s < start + EPISODE_S else _VIBRATION_MM_S
    return float(level * (1 + 0.05 * rng.standard_normal()))


def temperature_cel(elapsed_s: float, duration_s: float, rng: np.random.Generator) -> float:
    """Temperature of the press's bearing."""
    warm = 1 - math.exp(-elapsed_s / _WARMS_UP_IN_S)
    return float(_COLD_CEL + (_WARM_CEL - _COLD_CEL) * warm + 0.05 * rng.standard_normal())


QUANTITIES: dict[str, Callable[[float, float, np.random.Generator], float]] = {
    "vibration": vibration_mm_s,
    "temperature": temperature_cel,
}
"""What the simulated plant measures, by the channel's name."""


def simulated_channels(assets: Sequence[Asset], plc: str) -> tuple[Channel, ...]:
    """The channels that this PLC measures. Raises `ConfigurationError` for one that is not simulated."""
    channels = tuple(
        channel for asset in assets if asset.plc == plc for channel in asset.channels if channel.node is not None
    )
    for channel in channels:
        if channel.name not in QUANTITIES:
            raise ConfigurationError(
                f"channel {channel.name}: the simulated plant measures {' and '.join(QUANTITIES)} only"
            )
    return channels


async def measure(
    plc: PlcServer, channels: Sequence[Channel], *, started: asyncio.Event, duration_s: float, seed: int
) -> None:
    """Keeps the nodes of `channels` up to date until it is cancelled; the run's clock starts with `started`."""
    rng = np.random.default_rng(seed)
    begin_s: float | None = None
    while True:
        if begin_s is None and started.is_set():
            begin_s = time.monotonic()
        elapsed_s = 0.0 if begin_s is None else time.monotonic() - begin_s
        for channel in channels:
            await plc.measure(str(channel.node), QUANTITIES[channel.name](elapsed_s, duration_s, rng))
        await asyncio.sleep(UPDATE_S)
