"""Whether partitions are still ours after this process stood still.

A process that is stopped for longer than its session (SIGSTOP, a suspended machine) is taken for dead: another worker gets its
partitions and works in its place. When it goes on, its timers and what it has fetched come before the heartbeat that tells it so:
a judge would decide parts that another one has decided. So after a standstill nothing is done before the group was asked.
"""

from __future__ import annotations

import time

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

STANDSTILL_S = 4.0
"""Well below the session timeout, less the time since the last heartbeat: nobody else can have been given our partitions sooner."""
ASK_AGAIN_S = 0.2


class Standstill:
    """Notices that a process stood still. Look often; once noticed it stays so until `forget`."""

    def __init__(self) -> None:
        self._looked_s = _now_s()
        self._noticed = False

    def noticed(self) -> bool:
        """Whether more than `STANDSTILL_S` passed between two looks since the last `forget`."""
        now_s = _now_s()
        self._noticed = self._noticed or now_s - self._looked_s > STANDSTILL_S
        self._looked_s = now_s
        return self._noticed

    def forget(self) -> None:
        """We are where we should be."""
        self._noticed = False
        self._looked_s = _now_s()


def _now_s() -> float:
    """Goes on while the machine is suspended, which `time.monotonic` does not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def is_member(consumer: AIOKafkaConsumer) -> bool:
    """Whether the group still takes `consumer` for the member it was. False also where the broker does not answer."""
    try:
        return bool(await consumer._coordinator._do_heartbeat())
    except KafkaError:
        return False
