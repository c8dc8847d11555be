"""The machine as a process: the simulated plant with an endpoint, a namespace and a certificate of its own choice.

`linesight simulate` would make a certificate that has ended anew, and serves what the plant file says: here a PLC comes back as
it should not.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

import msgspec

from ops.local.ports import HOST
from schemas.plant_file import load_plant
from schemas.telemetry import log_as_json
from simulation.plant import run
from simulation.plc_security import PlcIdentity

PARTS_OF_A_TURN = 240
"""Parts until the simulated plant begins again with its batches: as in the demo."""


def main() -> None:
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--plant", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True, help="of the OPC UA server")
    parser.add_argument("--namespace", help="instead of the plant file's")
    parser.add_argument("--certificate", type=Path, required=True, help="its key lies beside it, as .key")
    parser.add_argument("--trusted", type=Path, required=True, help="folder of the clients' certificates")
    parser.add_argument("--rate", type=float, required=True, help="parts per s")
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    log_as_json()
    plant = load_plant(given.plant)
    (plc,) = plant.plcs
    served = msgspec.structs.replace(
        plc, endpoint=f"opc.tcp://{HOST}:{given.port}/", namespace=given.namespace or plc.namespace
    )
    identity = PlcIdentity(
        certificate=given.certificate,
        private_key=given.certificate.with_suffix(".key"),
        trusted=tuple(sorted(given.trusted.glob("*.der"))),
    )

    async def until_stopped() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run(
            msgspec.structs.replace(plant, plcs=(served,)),
            parts=PARTS_OF_A_TURN,
            rate_per_s=given.rate,
            seed=given.seed,
            truth=given.truth,
            stop=stop,
            identity=identity,
            live=True,
        )

    asyncio.run(until_stopped())


if __name__ == "__main__":
    main()
