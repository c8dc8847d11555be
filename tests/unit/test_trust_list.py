"""Whom we take for a PLC: the pinned certificate, those in its folder, and what an authority in there signed for its host."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gateways.certificates import facts_of
from gateways.trust_list import TrustList
from schemas.plant import Plc

NOW = dt.datetime.now(dt.UTC)
PLC = Plc(name="plc-1", endpoint="opc.tcp://192.0.2.10:4840", certificate="ours.der", private_key="ours.key")
DER = Encoding.DER


@cache
def key(whose: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certificate(
    name: str,
    *,
    by: str | None = None,
    authority: bool = False,
    host: str = "192.0.2.10",
    days: int = 10,
) -> x509.Certificate:
    """One of `name`, signed with the key of `by`, or its own."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(by or name))
        .public_key(key(name).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=100))
        .not_valid_after(NOW + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        names = [x509.UniformResourceIdentifier("urn:plc-1"), x509.IPAddress(ipaddress.ip_address(host))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key(by or name), hashes.SHA256())


def revocation_list(*revoked: x509.Certificate, signed_by: str = "Works") -> bytes:
    """One of the authority `Works`, in DER."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(named("Works")).last_update(NOW)
    builder = builder.next_update(NOW + dt.timedelta(days=9))
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(NOW).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key(signed_by), hashes.SHA256()).public_bytes(DER)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, x509.Certificate], None]:
    """Puts a certificate into the folder of the trusted ones."""
    (tmp_path / "trusted").mkdir()

    def put_there(name: str, one: x509.Certificate) -> None:
        form = Encoding.PEM if name.endswith(".pem") else DER
        (tmp_path / "trusted" / name).write_bytes(one.public_bytes(form))

    return put_there


@pytest.fixture
def trusted(tmp_path: Path) -> TrustList:
    return TrustList(plc=PLC, pinned=None, folder=tmp_path / "trusted")


Put = Callable[[str, x509.Certificate], None]


def test_old_and_new_are_trusted_side_by_side_and_nobody_else(put: Put, trusted: TrustList) -> None:
    old, new = certificate("PLC 1", days=-1), certificate("PLC 1")
    put("old.der", old)
    put("new.pem", new)
    assert trusted.why_not(old.public_bytes(DER)) == "", (
        "put there by a person: when it ends is told by `certificates show`"
    )
    assert trusted.why_not(new.public_bytes(DER)) == ""
    stranger = certificate("PLC 1")
    why = trusted.why_not(stranger.public_bytes(DER))
    assert facts_of(stranger).thumbprint in why
    assert why.endswith(f"is none of the 2 trusted in {trusted.folder}; no authority is among them")


def test_the_pinned_one_is_trusted_beside_the_folder(put: Put, trusted: TrustList, tmp_path: Path) -> None:
    pinned, new = certificate("PLC 1"), certificate("PLC 1")
    (tmp_path / "plc.der").write_bytes(pinned.public_bytes(DER))
    both = TrustList(plc=PLC, pinned=tmp_path / "plc.der", folder=trusted.folder)
    put("new.der", new)
    for each in (pinned, new):
        assert both.why_not(each.public_bytes(DER)) == ""


def test_a_damaged_file_makes_no_other_one_untrusted_and_is_named(put: Put, trusted: TrustList, tmp_path: Path) -> None:
    right = certificate("PLC 1")
    put("right.der", right)
    (tmp_path / "trusted" / "damaged.der").write_bytes(b"no certificate")
    assert trusted.why_not(right.public_bytes(DER)) == ""
    assert trusted.why_not(certificate("PLC 1").public_bytes(DER)).endswith("damaged.der")


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (lambda: certificate("PLC 1", by="Works"), ""),
        (lambda: certificate("PLC 1", by="Works", host="192.0.2.11"), "as 192.0.2.10: .*no matching subjectAltName"),
        (lambda: certificate("PLC 1", by="Works", days=-1), "not valid at validation time"),
        (lambda: certificate("PLC 1", by="Others"), "no authority among them speaks for it"),
        (lambda: certificate("PLC 1"), "no authority among them speaks for it"),
    ],
    ids=["signed for this host", "for another host", "ended", "by another authority", "by itself"],
)
def test_what_an_authority_signed_is_trusted_for_its_host_and_its_time(
    shown: Callable[[], x509.Certificate], why: str, put: Put, trusted: TrustList
) -> None:
    put("works.cer", certificate("Works", authority=True))
    found = trusted.why_not(shown().public_bytes(DER))
    assert re.search(why, found) if why else found == ""


def test_a_certificate_of_a_plc_vouches_for_no_other(put: Put, trusted: TrustList) -> None:
    put("plc.der", certificate("PLC 1"))
    assert trusted.why_not(certificate("PLC 2", by="PLC 1").public_bytes(DER)) != ""


def test_what_a_revocation_list_names_is_not_trusted_and_a_damaged_list_trusts_nobody(
    put: Put, trusted: TrustList, tmp_path: Path
) -> None:
    put("works.der", certificate("Works", authority=True))
    bad, good = certificate("PLC 1", by="Works"), certificate("PLC 1", by="Works")
    place = tmp_path / "trusted" / "works.crl"
    place.write_bytes(revocation_list(bad))
    assert trusted.why_not(good.public_bytes(DER)) == ""
    assert trusted.why_not(bad.public_bytes(DER)).endswith(f"{place} revokes it")
    place.write_bytes(b"damaged")
    assert f"{place}: expected a revocation list" in trusted.why_not(good.public_bytes(DER))


def test_a_revocation_list_that_its_authority_did_not_sign_trusts_nobody_of_it(
    put: Put, trusted: TrustList, tmp_path: Path
) -> None:
    put("works.der", certificate("Works", authority=True))
    put("others.der", certificate("Others", authority=True))
    signed, of_others = certificate("PLC 1", by="Works"), certificate("PLC 1", by="Others")
    place = tmp_path / "trusted" / "works.crl"
    place.write_bytes(revocation_list(signed_by="Mallory"))
    assert f"{place}: expected the signature of CN=Works" in trusted.why_not(signed.public_bytes(DER))
    assert trusted.why_not(of_others.public_bytes(DER)) == ""


def test_what_is_added_lies_beside_the_others_once_and_is_found_by_its_thumbprint(trusted: TrustList) -> None:
    one = certificate("PLC 1/north")
    places = {trusted.add(one.public_bytes(DER)) for _ in range(2)}
    thumbprint = facts_of(one).thumbprint
    assert [place.name for place in places] == [f"plc-1-north-{thumbprint[:8]}.der"]
    assert set(trusted.holding(thumbprint)) == places
    assert trusted.why_not(one.public_bytes(DER)) == ""
    assert trusted.holding("0" * 40) == []


def test_without_a_folder_the_pinned_one_is_trusted_and_no_other(tmp_path: Path) -> None:
    pinned = TrustList(plc=PLC, pinned=tmp_path / "plc.der", folder=None)
    old, new = certificate("PLC 1"), certificate("PLC 1")
    for each in (old, new):
        assert pinned.add(each.public_bytes(DER)) == tmp_path / "plc.der"
    assert pinned.why_not(new.public_bytes(DER)) == ""
    told = f"does not have the certificate in {tmp_path / 'plc.der'} (thumbprint {facts_of(new).thumbprint})"
    assert told in pinned.why_not(old.public_bytes(DER))
