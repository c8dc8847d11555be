"""Certificates between Linesight and a PLC: made, described, rotated, and the PLC's own fetched to be pinned.

Both sides of an OPC UA connection are told apart by their application instance certificates (OPC 10000-6, 6.2.2). Ours are
self-signed: PLCs trust a certificate by having it in their trust list, as we trust theirs by its file.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from asyncua import Client, ua
from asyncua.crypto.cert_gen import (
    dump_private_key_as_pem,
    generate_private_key,
    generate_self_signed_app_certificate,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from schemas.errors import ConfigurationError, ServiceAway
from schemas.plant import Plc

VALID_DAYS = 730
RENEW_DAYS = 30
MOST_NAME = 64  # characters of a common name (X.520, ub-common-name)
ASK_TIMEOUT_S = 4.0
POLICY = "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"
_PEM = b"-----BEGIN"


@dataclass(frozen=True, kw_only=True)
class CertificateFacts:
    """What a certificate says. `thumbprint` is the SHA-1 of its DER form in hex, as PLCs display it (OPC 10000-4, 7.3)."""

    subject: str
    application_uri: str
    valid_from: dt.datetime
    valid_until: dt.datetime
    thumbprint: str

    def days_left(self, now: dt.datetime) -> int:
        """Whole days until it ends; negative afterwards."""
        return (self.valid_until - now).days


def write_pair(
    certificate: Path,
    private_key: Path,
    *,
    name: str,
    application_uri: str,
    server: bool = False,
    days: int = VALID_DAYS,
    pem: bool = False,
) -> CertificateFacts:
    """Writes a new RSA key (2048 bit, PEM, for its owner's eyes only) and a self-signed certificate for it.

    The certificate is written as DER, or as PEM on request. `server`: for a PLC, else for a client.
    """
    key = generate_private_key()
    name = name[:MOST_NAME]
    host = socket.gethostname()
    made = generate_self_signed_app_certificate(
        key,
        name,
        {},
        [
            x509.UniformResourceIdentifier(application_uri),
            x509.DNSName(host),
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ],
        [ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH],
        days,
    )
    form = serialization.Encoding.PEM if pem else serialization.Encoding.DER
    _write(private_key, dump_private_key_as_pem(key), mode=0o600)
    _write(certificate, made.public_bytes(form), mode=0o644)
    return facts_of(made)


def read_facts(certificate: Path) -> CertificateFacts:
    """What the file's certificate says. Raises `ConfigurationError` where it is none."""
    return facts_of(_parsed(certificate))


def read_certificate(file: Path) -> tuple[bytes, CertificateFacts]:
    """The file's certificate as DER, and what it says. Raises `ConfigurationError` where it is none."""
    found = _parsed(file)
    return found.public_bytes(serialization.Encoding.DER), facts_of(found)


def belong_together(certificate: Path, private_key: Path) -> bool:
    """Whether the key is the certificate's. Raises `ConfigurationError` for files that are neither."""
    try:
        content = private_key.read_bytes()
        load = serialization.load_pem_private_key if content.startswith(_PEM) else serialization.load_der_private_key
        key = load(content, password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{private_key}: expected a private key without a password: {error}") from error
    return key.public_key() == _parsed(certificate).public_key()


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Our certificate and its key. A rotation prepares the next pair beside them and keeps the former one."""

    certificate: Path
    private_key: Path

    @property
    def upcoming(self) -> Pair:
        """Where the next pair is prepared."""
        return self._beside(".next")

    @property
    def former(self) -> Pair:
        """Where the pair that was replaced is kept."""
        return self._beside(".former")

    @property
    def can_switch(self) -> bool:
        """Whether `switch` can go on: a whole next pair, or one whose key was put in place before a switch was interrupted."""
        key = self.upcoming.private_key if self.upcoming.private_key.exists() else self.private_key
        return self.upcoming.certificate.exists() and key.exists() and belong_together(self.upcoming.certificate, key)

    def switch(self) -> None:
        """Puts the next pair in place, the key first. No file is missing at any moment; interrupted, it can be repeated."""
        for upcoming, place, former in (
            (self.upcoming.private_key, self.private_key, self.former.private_key),
            (self.upcoming.certificate, self.certificate, self.former.certificate),
        ):
            if not upcoming.exists():
                continue
            if place.exists():
                _write(former, place.read_bytes(), mode=place.stat().st_mode & 0o777)
            upcoming.replace(place)
            _sync_folder(place.parent)

    def _beside(self, suffix: str) -> Pair:
        return Pair(
            certificate=self.certificate.with_name(self.certificate.name + suffix),
            private_key=self.private_key.with_name(self.private_key.name + suffix),
        )


@dataclass(frozen=True, kw_only=True)
class PlcFiles:
    """Where the plant file has the certificates of one PLC: ours with its key, the PLC's, and the folder of those trusted as well."""

    own: Pair
    server_certificate: Path | None
    trusted: Path | None


def files_of(plc: Plc, *, plant_dir: Path) -> PlcFiles:
    """The files of an encrypted PLC. Raises `ConfigurationError` where the plant file names none."""
    if (
        plc.certificate is None
        or plc.private_key is None
        or (plc.server_certificate or plc.trusted_certificates) is None
    ):
        raise ConfigurationError(
            f"PLC {plc.name}: expected `certificate`, `private_key` and `server_certificate` in the plant file"
        )

    def place(path: str | None) -> Path | None:
        return None if path is None else plant_dir / path

    return PlcFiles(
        own=Pair(certificate=plant_dir / plc.certificate, private_key=plant_dir / plc.private_key),
        server_certificate=place(plc.server_certificate),
        trusted=place(plc.trusted_certificates),
    )


def save_certificate(place: Path, der: bytes) -> None:
    """Writes a certificate as DER, or as PEM where the file's name ends so."""
    parsed = x509.load_der_x509_certificate(der)
    form = serialization.Encoding.PEM if place.suffix == ".pem" else serialization.Encoding.DER
    _write(place, parsed.public_bytes(form), mode=0o644)


async def served_certificate(plc: Plc) -> tuple[bytes, CertificateFacts]:
    """The certificate (DER) that the PLC shows for Basic256Sha256, signed and encrypted: not yet proof of who it is.

    Raises `ServiceAway` where nobody answers, `ConfigurationError` where the PLC does not offer that security.
    """
    client = Client(plc.endpoint, timeout=ASK_TIMEOUT_S)
    try:
        async with asyncio.timeout(2 * ASK_TIMEOUT_S):
            endpoints = await client.connect_and_get_server_endpoints()
    except (OSError, TimeoutError, ua.UaError) as error:
        raise ServiceAway(
            f"PLC {plc.name} at {plc.endpoint} does not answer ({error!r}): switch its OPC UA server on, or correct `endpoint`"
        ) from error
    offered = []
    for endpoint in endpoints:
        offered.append(
            f"{endpoint.SecurityPolicyUri.rpartition('#')[2]}/{ua.MessageSecurityMode(endpoint.SecurityMode).name}"
        )
        if endpoint.SecurityPolicyUri == POLICY and endpoint.SecurityMode == ua.MessageSecurityMode.SignAndEncrypt:
            return _shown(endpoint.ServerCertificate or b"", plc)
    raise ConfigurationError(
        f"PLC {plc.name} at {plc.endpoint} offers {', '.join(offered) or 'nothing'}; expected Basic256Sha256/SignAndEncrypt: "
        "switch it on in the PLC"
    )


def _shown(chain: bytes, plc: Plc) -> tuple[bytes, CertificateFacts]:
    own = _first_of(chain)  # the server's own; a chain may follow
    try:
        return own, facts_of(x509.load_der_x509_certificate(own))
    except ValueError as error:
        raise ConfigurationError(
            f"PLC {plc.name} at {plc.endpoint} offers encryption and shows no certificate ({error}): give it one in the PLC"
        ) from error


def _first_of(chain: bytes) -> bytes:
    """The first DER structure of several; its length stands behind the tag (X.690, 8.1.3)."""
    if len(chain) < 4 or chain[1] != 0x82:
        return chain
    return chain[: 4 + int.from_bytes(chain[2:4])]


def parse_certificate(content: bytes) -> x509.Certificate:
    """The certificate in PEM or DER. Raises ValueError."""
    load = x509.load_pem_x509_certificate if content.startswith(_PEM) else x509.load_der_x509_certificate
    return load(content)


def _parsed(certificate: Path) -> x509.Certificate:
    try:
        return parse_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{certificate}: expected a certificate: {error}") from error


def application_uri_of(certificate: x509.Certificate) -> str:
    """The URI that names the application; "" where there is none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), "")


def facts_of(certificate: x509.Certificate) -> CertificateFacts:
    """What the certificate says."""
    return CertificateFacts(
        subject=certificate.subject.rfc4514_string(),
        application_uri=application_uri_of(certificate),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
        thumbprint=certificate.fingerprint(hashes.SHA1()).hex(),
    )


def _write(place: Path, content: bytes, *, mode: int) -> None:
    """Whole or not at all, and never readable by others in between."""
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(place)
        _sync_folder(place.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """After this a file's new name outlives a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
