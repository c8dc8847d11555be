"""The machine of `make chaos-floor` comes back as it should not: each cause is what it is called, and a session says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from broker import until

from benchmarks.chaos.plant_file import write_plant
from benchmarks.chaos_floor.machine import Machine
from benchmarks.chaos_floor.papers import ENDED, GOOD, Papers
from benchmarks.chaos_floor.pulls import OTHER_NAMESPACE
from gateways.opcua_session import NodeFault, OpcUaSession, PlcAway
from ops.local.ports import free_ports
from schemas.plant import Plc
from schemas.plant_file import load_plant

LISTENS_WITHIN_S = 120.0


class Rig:
    """The machine, its papers, and the PLC as the plant file describes it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.papers = Papers(folder=folder / "certificates")
        self.papers.issue()
        port, camera_port = free_ports(2)
        monkeypatch.setenv("LINESIGHT_SIM_PLC_PORT", str(port))
        monkeypatch.setenv("LINESIGHT_SIM_CAMERA_PORT", str(camera_port))
        monkeypatch.setenv("LINESIGHT_CERTIFICATES", str(self.papers.line))
        self._plant_file = write_plant(folder / "plant")
        plant = load_plant(self._plant_file)
        self._plc: Plc = plant.plcs[0]
        self.machine = Machine(
            plant=plant,
            plant_file=self._plant_file,
            run_dir=folder,
            port=port,
            papers=self.papers,
            rate_per_s=4.0,
            seed=1,
        )

    async def listens(self) -> None:
        """Returns when the machine's PLC does."""
        await until(self.machine.answers, "the machine's PLC listens", within_s=LISTENS_WITHIN_S)

    async def session(self) -> OpcUaSession:
        """A gateway's session."""
        return await OpcUaSession.open(self._plc, plant_dir=self._plant_file.parent, name="test")


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, monkeypatch)
    yield made
    made.machine.stop()


async def test_a_certificate_of_ours_that_has_ended_is_refused_for_its_date_until_the_good_one_lies_there(
    rig: Rig,
) -> None:
    rig.machine.start()
    await rig.listens()
    rig.papers.show(ENDED)
    with pytest.raises(PlcAway, match="BadCertificateTimeInvalid"):
        await rig.session()
    rig.papers.show(GOOD)
    session = await rig.session()
    assert await asyncio.to_thread(rig.machine.sessions) == 1
    await session.close()
    assert await asyncio.to_thread(rig.machine.sessions) == 0


async def test_a_plc_with_another_namespace_or_a_certificate_that_ended_gets_no_session_and_as_itself_again_it_does(
    rig: Rig,
) -> None:
    rig.machine.start(namespace=OTHER_NAMESPACE)
    await rig.listens()
    with pytest.raises(NodeFault, match=f"it serves .*{OTHER_NAMESPACE}"):
        await rig.session()
    rig.machine.kill()
    rig.machine.start(certificate=ENDED)
    await rig.listens()
    with pytest.raises(PlcAway):
        await rig.session()
    rig.machine.kill()
    rig.machine.start()
    await rig.listens()
    await (await rig.session()).close()
    assert len(rig.machine.killed_at_ns) == 2


async def test_a_machine_that_ended_by_itself_is_told_with_its_last_words(rig: Rig) -> None:
    rig.papers.plc(GOOD).with_suffix(".key").unlink()
    rig.machine.start()
    with pytest.raises(RuntimeError, match="the machine ended by itself with status"):
        await rig.listens()
