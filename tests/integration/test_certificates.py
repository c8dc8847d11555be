"""`linesight certificates` beside a real OPC UA server that lets only clients in whose certificates it trusts."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncua import Server, ua
from asyncua.crypto.truststore import TrustStore
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions

from gateways.certificates import Pair, belong_together, read_facts, write_pair
from gateways.opcua_security import CertificatesUnusable
from gateways.opcua_session import OpcUaSession, PlcAway
from ops.local.places import CHECKOUT
from ops.local.ports import free_ports
from schemas.plant import Plc
from schemas.plant_file import load_unfinished_plant


class TrustingPlc:
    """An encrypted server; clients are let in once their certificate lies in `trusted`."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.trusted = folder / "trusted"
        self.trusted.mkdir(parents=True)
        self._folder = folder
        self._store = TrustStore([self.trusted], [])

    async def trust(self, certificate: Path) -> None:
        self._keep(certificate)
        await self._store.load()

    def _keep(self, certificate: Path) -> None:
        (self.trusted / f"{len(list(self.trusted.iterdir()))}.der").write_bytes(certificate.read_bytes())

    def made(self, name: str) -> Path:
        """A certificate of the machine's, with its key."""
        certificate = self._folder / f"{name}.der"
        if not certificate.exists():
            key = certificate.with_suffix(".key")
            write_pair(certificate, key, name="PLC", application_uri="urn:test:plc", server=True)
        return certificate

    @asynccontextmanager
    async def serving(self, name: str = "plc") -> AsyncIterator[None]:
        certificate = self.made(name)
        key = certificate.with_suffix(".key")
        self.thumbprint = read_facts(certificate).thumbprint
        server = Server()
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}/")
        await server.set_application_uri("urn:test:plc")
        server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
        await server.load_certificate(str(certificate))
        await server.load_private_key(str(key), format="pem")
        await self.trust(certificate)  # its own: asyncua takes no empty list
        options = CertificateValidatorOptions.TRUSTED_VALIDATION | CertificateValidatorOptions.PEER_CLIENT
        server.set_certificate_validator(CertificateValidator(options, self._store))
        index = await server.register_namespace("urn:linesight:station")
        await server.nodes.objects.add_variable(ua.NodeId("value", index), "value", 42)
        async with server:
            yield


def plant_file(folder: Path, port: int) -> Path:
    text = (CHECKOUT / "plants" / "demo.yaml").read_text()
    text = text.replace("${LINESIGHT_CERTIFICATES:-certificates}", "certs").replace("plc-1.der", "plc.der")
    text = text.replace("${LINESIGHT_SIM_PLC_PORT:-4840}", str(port))
    path = folder / "plant.yaml"
    path.write_text(text)
    return path


async def certificates(plant: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command."""
    return await linesight("certificates", *arguments, plant)


async def linesight(*words: str | Path) -> tuple[int, str, str]:
    """Exit code, output and errors of a verb; the plant file comes last."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *map(str, words[:-1]), "--plant", str(words[-1]),
        cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


async def read_value(plc: Plc, folder: Path) -> Any:
    session = await OpcUaSession.open(plc, plant_dir=folder, name="test")
    try:
        (value,) = await session.read(["s=value"])
        return value
    finally:
        await session.close()


async def test_from_no_files_at_all_to_an_encrypted_session_that_trusts_one_plc_only(tmp_path: Path) -> None:
    machine = TrustingPlc(tmp_path / "machine")
    plant = plant_file(tmp_path, machine.port)
    ours, pinned = tmp_path / "certs" / "linesight.der", tmp_path / "certs" / "plc.der"
    async with machine.serving():
        code, out, _ = await certificates(plant, "create")
        assert code == 0
        assert read_facts(ours).thumbprint in out
        assert (tmp_path / "certs" / "linesight.key").stat().st_mode & 0o077 == 0
        code, _, err = await certificates(plant, "show")
        assert code == 1
        assert f"`linesight certificates trust --plc plc-1 --plant {plant}`" in err

        code, out, err = await certificates(plant, "trust", "--plc", "plc-1")
        assert (code, machine.thumbprint in out, "nothing was saved" in err) == (1, True, True)
        code, _, err = await certificates(plant, "trust", "--plc", "plc-1", "--thumbprint", "00" * 20)
        assert (code, "nothing was saved" in err, pinned.exists()) == (1, True, False)
        code, _, err = await certificates(plant, "trust", "--plc", "plc-1", "--thumbprint", "THUMBPRINT")
        assert (code, "THUMBPRINT is no thumbprint; expected the 40 hexadecimal digits" in err) == (2, True)
        displayed = ":".join(re.findall("..", machine.thumbprint.upper()))
        code, _, err = await certificates(plant, "trust", "--plc", "plc-1", "--thumbprint", displayed)
        assert (code, err, read_facts(pinned).thumbprint) == (0, "", machine.thumbprint)

        (plc,) = load_unfinished_plant(plant).plcs
        told = f"put {ours} (thumbprint {read_facts(ours).thumbprint}) into its list of trusted clients"
        with pytest.raises(PlcAway, match=re.escape(told)):
            await read_value(plc, tmp_path)
        await machine.trust(ours)
        assert await read_value(plc, tmp_path) == 42
        code, out, err = await certificates(plant, "show", "--json")
        assert (code, err) == (0, "")
        assert [(each["role"], each["problem"]) for each in json.loads(out)] == [("ours", ""), ("the PLC's", "")]

        pinned.write_bytes(ours.read_bytes())  # somebody else's
        code, out, err = await linesight("plc", "browse", plant)
        assert (code, out) == (2, "")
        assert f"thumbprint {machine.thumbprint}) does not have the certificate in {pinned}" in err
        assert f"`linesight certificates trust --plc plc-1 --plant {plant}`" in err


async def test_a_rotation_never_leaves_the_line_without_a_certificate_that_the_plc_trusts(tmp_path: Path) -> None:
    machine = TrustingPlc(tmp_path / "machine")
    plant = plant_file(tmp_path, machine.port)
    ours = tmp_path / "certs" / "linesight.der"
    async with machine.serving():
        await certificates(plant, "create")
        await certificates(plant, "trust", "--plc", "plc-1", "--thumbprint", machine.thumbprint)
        await machine.trust(ours)
        (plc,) = load_unfinished_plant(plant).plcs
        running = await OpcUaSession.open(plc, plant_dir=tmp_path, name="test")
        former = read_facts(ours).thumbprint

        code, _, err = await certificates(plant, "rotate", "--switch")
        assert (code, "without --switch" in err) == (2, True)
        code, out, _ = await certificates(plant, "rotate")
        assert (code, f"then `linesight certificates rotate --switch --plant {plant}`" in out) == (0, True)
        assert "the same application URI" in out
        assert read_facts(ours).thumbprint == former
        assert f"plc-1 our next: {ours}.next" in (await certificates(plant, "show"))[1]
        assert await read_value(plc, tmp_path) == 42
        await machine.trust(ours.with_name("linesight.der.next"))
        prepared = read_facts(ours.with_name("linesight.der.next")).thumbprint
        assert (await certificates(plant, "rotate"))[0] == 0  # asked twice, it prepares once
        assert (await certificates(plant, "rotate", "--switch"))[0] == 0
        assert read_facts(ours).thumbprint == prepared != former
        assert read_facts(ours.with_name("linesight.der.former")).thumbprint == former
        assert await read_value(plc, tmp_path) == 42
        assert await running.read(["s=value"]) == [42]
        await running.close()


async def test_a_plc_is_reached_with_its_next_certificate_at_once_where_that_is_trusted_before_it_shows_it(
    tmp_path: Path,
) -> None:
    machine = TrustingPlc(tmp_path / "machine")
    plant = plant_file(tmp_path, machine.port)
    plant.write_text(
        plant.read_text().replace("server_certificate: certs/plc.der", "trusted_certificates: certs/plc-1")
    )
    upcoming = machine.made("upcoming")
    thumbprint = read_facts(upcoming).thumbprint
    trust = ("trust", "--plc", "plc-1", "--thumbprint")
    async with machine.serving():
        former = machine.thumbprint
        await certificates(plant, "create")
        await machine.trust(tmp_path / "certs" / "linesight.der")
        code, _, err = await certificates(plant, "show")
        assert (code, f"{tmp_path / 'certs' / 'plc-1'}: no certificate in it" in err) == (1, True)
        assert (await certificates(plant, *trust, former))[0] == 0
        (plc,) = load_unfinished_plant(plant).plcs
        assert await read_value(plc, tmp_path) == 42
        code, _, err = await certificates(plant, *trust, former, "--file", str(upcoming))
        assert (code, "it is another certificate" in err) == (1, True)
        assert (await certificates(plant, *trust, thumbprint, "--file", str(upcoming)))[0] == 0
        assert await read_value(plc, tmp_path) == 42
    async with machine.serving("upcoming"):
        assert await read_value(plc, tmp_path) == 42
        code, out, _ = await certificates(plant, "show", "--json")
        shown = [(each["role"], each["thumbprint"]) for each in json.loads(out)]
        assert (code, sorted(shown[1:])) == (0, sorted([("trusted", former), ("trusted", thumbprint)]))
        code, out, _ = await certificates(plant, "distrust", "--plc", "plc-1", "--thumbprint", former)
        assert (code, "not trusted any more; 1 left" in out) == (0, True)
        assert (await certificates(plant, "distrust", "--plc", "plc-1", "--thumbprint", former))[0] == 1
        assert await read_value(plc, tmp_path) == 42
    async with machine.serving():
        told = f"thumbprint {former}) is none of the 1 trusted in {tmp_path / 'certs' / 'plc-1'}"
        with pytest.raises(CertificatesUnusable, match=re.escape(told)):
            await read_value(plc, tmp_path)
        code, _, err = await linesight("plc", "browse", plant)
        assert (code, told in err, f"and trust it: `linesight certificates trust --plc plc-1 --plant {plant}`" in err) == (
            2, True, True,
        )  # fmt: skip


@pytest.mark.parametrize("renames", [0, 1])
async def test_a_switch_that_was_interrupted_is_finished_by_the_next(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = plant_file(tmp_path, 9)
    await certificates(plant, "create")
    await certificates(plant, "rotate")
    pair = Pair(certificate=tmp_path / "certs" / "linesight.der", private_key=tmp_path / "certs" / "linesight.key")
    prepared, former = read_facts(pair.upcoming.certificate).thumbprint, read_facts(pair.certificate).thumbprint
    left = renames

    def replace(place: Path, other: Path) -> Path:
        nonlocal left
        if place.suffix == ".next":
            if not left:
                raise KeyboardInterrupt
            left -= 1
        return rename(place, other)

    rename = Path.replace
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            pair.switch()
    assert pair.certificate.exists()
    assert pair.private_key.exists()
    assert (await certificates(plant, "rotate"))[0] == 0, "prepares nothing anew"
    code, _, err = await certificates(plant, "rotate", "--switch")
    assert (code, err) == (0, "")
    assert read_facts(pair.certificate).thumbprint == prepared
    assert belong_together(pair.certificate, pair.private_key)
    assert read_facts(pair.former.certificate).thumbprint == former
    assert belong_together(pair.former.certificate, pair.former.private_key)


async def test_a_pair_that_two_plcs_share_is_named_for_both_and_a_key_for_two_certificates_is_refused(
    tmp_path: Path,
) -> None:
    plant = plant_file(tmp_path, 9)
    one = re.search(r"  - name: plc-1\n(?:    .*\n)+", plant.read_text())
    assert one is not None
    plant.write_text(plant.read_text().replace(one[0], one[0] + one[0].replace("plc-1", "plc-2")))
    code, out, _ = await certificates(plant, "create", "--plc", "plc-2")
    assert (code, out.startswith("plc-1, plc-2: ")) == (0, True)
    two = one[0].replace("plc-1", "plc-2").replace("linesight.der", "other.der")
    plant.write_text(plant.read_text().replace(one[0].replace("plc-1", "plc-2"), two))
    code, _, err = await certificates(plant, "create")
    assert (code, "one `private_key` is in two pairs" in err) == (2, True)


async def test_what_is_there_is_never_replaced_and_what_ends_soon_is_said(tmp_path: Path) -> None:
    plant = plant_file(tmp_path, 9)
    ours, key = tmp_path / "certs" / "linesight.der", tmp_path / "certs" / "linesight.key"
    assert (await certificates(plant, "create", "--days", "10"))[0] == 0
    before = ours.read_bytes(), key.read_bytes()
    assert (await certificates(plant, "create"))[0] == 0
    assert (ours.read_bytes(), key.read_bytes()) == before
    code, _, err = await certificates(plant, "show")
    assert (code, f"ends soon: `linesight certificates rotate --plant {plant}`" in err) == (1, True)
    key.unlink()
    code, _, err = await certificates(plant, "create")
    assert (code, "has no partner" in err) == (2, True)
    write_pair(tmp_path / "other.der", key, name="other", application_uri="urn:other")
    code, _, err = await certificates(plant, "show")
    assert (code, "is not its key" in err) == (1, True)


async def test_the_pair_of_another_plant_is_told_and_not_taken_for_this_ones(tmp_path: Path) -> None:
    plant = plant_file(tmp_path, 9)
    assert "made: put it into the PLC's list" in (await certificates(plant, "create"))[1]
    assert "was there already: put it into the PLC's list" in (await certificates(plant, "create"))[1]
    plant.write_text(plant.read_text().replace("plant: demo", "plant: acme"))
    code, out, _ = await certificates(plant, "create")
    assert (code, "made for plant demo: name other files" in out) == (0, True)


async def test_a_key_that_git_would_take_is_warned_of(tmp_path: Path) -> None:
    plant = plant_file(tmp_path, 9)
    _, _, err = await certificates(plant, "create")
    assert err == "", "no checkout, nothing to warn of"
    await asyncio.to_thread(subprocess.run, ["git", "init", "--quiet", str(tmp_path)], check=True)
    _, _, err = await certificates(plant, "create")
    assert f"git does not ignore {tmp_path / 'certs' / 'linesight.key'}" in err
    (tmp_path / ".gitignore").write_text("certs/\n")
    _, _, err = await certificates(plant, "create")
    assert err == ""


async def test_a_plc_that_offers_no_encryption_is_not_trusted(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    async with server:
        plant = plant_file(tmp_path, port)
        code, _, err = await certificates(plant, "trust", "--plc", "plc-1")
        assert (code, "expected Basic256Sha256/SignAndEncrypt" in err) == (2, True)
        code, _, err = await linesight("plc", "browse", plant)
        assert (code, f"`linesight certificates show --plant {plant}` lists what is missing" in err) == (2, True)
        await certificates(plant, "create")
        (tmp_path / "certs" / "plc.der").write_bytes((tmp_path / "certs" / "linesight.der").read_bytes())
        code, _, err = await linesight("plc", "browse", plant)
    assert (code, "expected Basic256Sha256/SignAndEncrypt" in err) == (2, True)
