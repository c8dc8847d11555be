"""Whom we take for a PLC: the one certificate that is pinned, and a folder of certificates that are trusted as well.

In the folder a certificate of a PLC is trusted as it stands, whatever its dates say: a person put it there, and `certificates show` tells
when it ends. So the next one can lie there before the PLC uses it. The certificate of an authority trusts every one that it signed, as
long as that is valid, names the host of the PLC's endpoint and is in no revocation list (`*.crl`) of the folder.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509 import verification

from gateways.certificates import PlcFiles, facts_of, parse_certificate, save_certificate
from schemas.plant import Plc

CERTIFICATES = frozenset((".der", ".cer", ".crt", ".pem"))
REVOCATION_LISTS = ".crl"
_PEM = b"-----BEGIN"


@dataclass(frozen=True, kw_only=True)
class TrustList:
    """The files that say whom to take for `plc`; at least one of `pinned` and `folder` is given."""

    plc: Plc
    pinned: Path | None
    folder: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """The certificates, the pinned one first. It may be missing; those of the folder are there."""
        return (*((self.pinned,) if self.pinned is not None else ()), *self.in_folder(CERTIFICATES))

    def in_folder(self, suffixes: frozenset[str]) -> tuple[Path, ...]:
        """The files of the folder with one of the suffixes, by name; none where there is no folder."""
        if self.folder is None or not self.folder.is_dir():
            return ()
        return tuple(sorted(file for file in self.folder.iterdir() if file.suffix.lower() in suffixes))

    def holding(self, thumbprint: str) -> list[Path]:
        """The files with the certificate of that thumbprint (SHA-1, hex), the pinned one first."""
        found = []
        for file in self.files:
            try:
                if facts_of(parse_certificate(file.read_bytes())).thumbprint == thumbprint:
                    found.append(file)
            except (OSError, ValueError):
                continue  # it holds no certificate, so not that one; `certificates show` tells of it
        return found

    def place_for(self, der: bytes) -> Path:
        """Where a certificate (DER) lies, or will."""
        facts = facts_of(x509.load_der_x509_certificate(der))
        if self.folder is None:
            assert self.pinned is not None
            return self.pinned
        name = re.sub(r"[^0-9A-Za-z]+", "-", facts.subject.partition("CN=")[2].partition(",")[0]).strip("-").lower()
        there = self.holding(facts.thumbprint)
        return there[0] if there else self.folder / f"{name or self.plc.name}-{facts.thumbprint[:8]}.der"

    def add(self, der: bytes) -> Path:
        """Trusts a certificate (DER): in the folder beside the others, or, where there is no folder, instead of the one before."""
        place = self.place_for(der)
        if self.folder is None or not place.exists():
            save_certificate(place, der)
        return place

    def why_not(self, shown: bytes) -> str:
        """Why the certificate (DER) that answers at the PLC's endpoint is not trusted, and what is trusted; "" where it is."""
        certificate = x509.load_der_x509_certificate(shown)
        trusted, unusable = _readable(self.files)
        if certificate in trusted:
            return ""
        facts = facts_of(certificate)
        told = f"what answers ({facts.subject}, thumbprint {facts.thumbprint}) "
        if self.folder is None:
            (expected,) = [facts_of(each).thumbprint for each in trusted] or ["none: it cannot be read"]
            return f"{told}does not have the certificate in {self.pinned} (thumbprint {expected})"
        why = self._why_not_signed(certificate, [each for each in trusted if is_authority(each)])
        if not why:
            return ""
        places = " and ".join(str(place) for place in (self.pinned, self.folder) if place is not None)
        unread = f"; cannot be read: {', '.join(unusable)}" if unusable else ""
        return f"{told}is none of the {len(trusted)} trusted in {places}; {why}{unread}"

    def _why_not_signed(self, certificate: x509.Certificate, authorities: list[x509.Certificate]) -> str:
        if not authorities:
            return "no authority is among them"
        for file in self.in_folder(frozenset((REVOCATION_LISTS,))):
            try:
                revoked = _revocations(file)
            except (OSError, ValueError) as error:
                return f"{file}: expected a revocation list: {error}"
            if revoked.issuer != certificate.issuer:
                continue
            if revoked.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                return f"{file} revokes it"
            if not any(_signed(revoked, one) for one in authorities):
                return f"{file}: expected the signature of {revoked.issuer.rfc4514_string()}; get the list again from that authority"
        host = urlsplit(self.plc.endpoint).hostname or ""
        try:
            _verifier(authorities, host).verify(certificate, [])
        except (verification.VerificationError, ValueError) as error:
            return f"no authority among them speaks for it as {host}: {error}"
        return ""


def trust_list(plc: Plc, files: PlcFiles) -> TrustList:
    """Of a PLC with these files."""
    return TrustList(plc=plc, pinned=files.server_certificate, folder=files.trusted)


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _verifier(authorities: list[x509.Certificate], host: str) -> verification.ServerVerifier:
    """By RFC 5280, without what the web's authorities agreed on besides: certificates of machines carry other key usages."""
    anything = verification.ExtensionPolicy.permit_all()
    name = x509.SubjectAlternativeName
    policy = verification.PolicyBuilder().store(verification.Store(authorities))
    policy = policy.extension_policies(
        ca_policy=anything.require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, _signs),
        ee_policy=anything.require_present(name, verification.Criticality.AGNOSTIC, None),
    )
    try:
        return policy.build_server_verifier(x509.IPAddress(ipaddress.ip_address(host)))
    except ValueError:
        return policy.build_server_verifier(x509.DNSName(host))


def _signs(_policy: Any, _certificate: x509.Certificate, constraints: x509.BasicConstraints | None) -> None:
    if constraints is None or not constraints.ca:
        raise ValueError("it is no certificate of an authority")


def _readable(files: Sequence[Path]) -> tuple[list[x509.Certificate], list[str]]:
    """The certificates, and the names of files that hold none: one that is damaged makes no other one untrusted."""
    found, unusable = [], []
    for file in files:
        try:
            found.append(parse_certificate(file.read_bytes()))
        except (OSError, ValueError):
            unusable.append(str(file))
    return found, unusable


def _signed(revoked: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    """Whether the list is `authority`'s own (RFC 5280, 6.3.3 f and g)."""
    try:
        return authority.subject == revoked.issuer and revoked.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except TypeError:  # a kind of key that signs no certificates
        return False


def _revocations(file: Path) -> x509.CertificateRevocationList:
    content = file.read_bytes()
    return (x509.load_pem_x509_crl if content.startswith(_PEM) else x509.load_der_x509_crl)(content)
