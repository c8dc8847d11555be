"""What a PLC's refusal means, and what the person at the PLC does about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from asyncua import ua

from gateways.certificates import write_pair
from gateways.opcua_refusals import refusal
from schemas.plant import Plc

OPEN = Plc(name="plc-1", endpoint="opc.tcp://192.0.2.10:4840", security="none")
ENCRYPTED = Plc(
    name="plc-1", endpoint="opc.tcp://192.0.2.10:4840",
    certificate="ours.der", private_key="ours.key", server_certificate="plc.der",
)  # fmt: skip


@pytest.mark.parametrize(
    ("plc", "error", "told"),
    [
        (ENCRYPTED, ua.uaerrors.BadCertificateUntrusted(), "ours.der (thumbprint "),
        (ENCRYPTED, ua.uaerrors.BadSecurityChecksFailed(), "into its list of trusted clients"),
        (ENCRYPTED, ua.uaerrors.BadCertificateTimeInvalid(), "look at both clocks"),
        (ENCRYPTED, ua.uaerrors.BadUserAccessDenied(), "correct `login`"),
        (OPEN, ua.uaerrors.BadIdentityTokenRejected(), "correct `login`"),
        (ENCRYPTED, TimeoutError(), "its certificate may not be the pinned one"),
    ],
)
def test_a_refusal_says_what_to_do(plc: Plc, error: Exception, told: str, tmp_path: Path) -> None:
    write_pair(tmp_path / "ours.der", tmp_path / "ours.key", name="ours", application_uri="urn:ours")
    said = refusal(error, plc, plant_dir=tmp_path)
    assert told in said
    assert repr(error) in said, "what the engineer looks for stays"


@pytest.mark.parametrize(
    "error", [TimeoutError(), ConnectionRefusedError(111, "refused"), ua.uaerrors.BadTooManySessions()]
)
def test_of_what_has_no_other_meaning_nothing_is_made_up(error: Exception, tmp_path: Path) -> None:
    assert refusal(error, OPEN, plant_dir=tmp_path) == repr(error)


def test_a_certificate_that_was_replaced_meanwhile_does_not_hide_the_refusal(tmp_path: Path) -> None:
    (tmp_path / "ours.der").write_bytes(b"half of")
    said = refusal(ua.uaerrors.BadCertificateUntrusted(), ENCRYPTED, plant_dir=tmp_path)
    assert f"put {tmp_path / 'ours.der'} into its list of trusted clients" in said
