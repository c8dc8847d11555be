"""How a client of a PLC proves who it is, and how it knows the PLC: Basic256Sha256, signed and encrypted, certificates that we trust."""

from __future__ import annotations

from pathlib import Path

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from gateways.certificates import PlcFiles, application_uri_of, files_of, parse_certificate, served_certificate
from gateways.private_keys import load_private_key
from gateways.trust_list import trust_list
from schemas.errors import ConfigurationError
from schemas.plant import CertificateLogin, PasswordLogin, Plc

_UNREADABLE = (OSError, ValueError, TypeError, UnsupportedAlgorithm, ua.UaError)


class CertificatesUnusable(ConfigurationError):
    """A certificate or key of a PLC is missing, damaged or not trusted. A person puts the files right; nothing has to be started again."""


class NotTrusted(CertificatesUnusable):
    """What answers at the PLC's address has a certificate that is not in the plant's trust list."""


async def secure(client: Client, plc: Plc, *, plant_dir: Path) -> None:
    """Prepares `client`, not yet connected, for the PLC's security and its login, as the plant file says.

    Raises `CertificatesUnusable`, `ServiceAway` where the PLC is asked which certificate it has and does not answer, or
    `ConfigurationError` where the plant file names no certificates.
    """
    if plc.security != "none":
        await _encrypt(client, plc, plant_dir)
    match plc.login:
        case PasswordLogin(user=user, password=password):
            client.set_user(user)
            client.set_password(password)
        case CertificateLogin(certificate=certificate, private_key=private_key):
            client.user_certificate = _certificate(plc, plant_dir / certificate, use=" for its `login`")
            client.user_private_key = await _private_key(plc, plant_dir / private_key, use=" for its `login`")


async def _encrypt(client: Client, plc: Plc, plant_dir: Path) -> None:
    files = files_of(plc, plant_dir=plant_dir)
    certificate = _certificate(plc, files.own.certificate)
    private_key = await _private_key(plc, files.own.private_key)
    plcs = await _plcs(plc, files)
    try:
        # the PLC compares the application URI with the certificate's (OPC UA part 4, 5.6.2)
        client.application_uri = application_uri_of(certificate) or client.application_uri
        # as asyncua's `set_security` does, which loads the key with each connection
        client.security_policy = SecurityPolicyBasic256Sha256(
            plcs, certificate, private_key, ua.MessageSecurityMode.SignAndEncrypt
        )
        client.uaclient.set_security(client.security_policy)
    except _UNREADABLE as error:
        raise CertificatesUnusable(
            f"PLC {plc.name}: certificate, private key or server certificate cannot be used: {error}"
        ) from error


async def _plcs(plc: Plc, files: PlcFiles) -> x509.Certificate:
    """The certificate for which the session is encrypted: the pinned one, or where there may be several, the one that answers, if it is
    trusted. Only who has its key can go on."""
    if files.trusted is None and files.server_certificate is not None:
        return _certificate(plc, files.server_certificate)
    try:
        shown, _ = await served_certificate(plc)
    except ConfigurationError as error:  # what the PLC offers is a person's to put right, like a file
        raise CertificatesUnusable(str(error)) from error
    why = trust_list(plc, files).why_not(shown)
    if why:
        raise NotTrusted(f"PLC {plc.name} at {plc.endpoint}: {why}")
    return parse_certificate(shown)


def _certificate(plc: Plc, path: Path, *, use: str = "") -> x509.Certificate:
    """Raises `CertificatesUnusable`, which names the file."""
    try:
        return parse_certificate(path.read_bytes())
    except _UNREADABLE as error:
        raise _unusable(plc, path, f"a certificate{use}", error) from error


async def _private_key(plc: Plc, path: Path, *, use: str = "") -> PrivateKeyTypes:
    """Raises `CertificatesUnusable`, which names the file."""
    try:
        return await load_private_key(path)
    except _UNREADABLE as error:
        raise _unusable(plc, path, f"a private key{use} without a password", error) from error


def _unusable(plc: Plc, path: Path, expected: str, error: Exception) -> CertificatesUnusable:
    return CertificatesUnusable(
        f"PLC {plc.name}: expected {expected}, in DER or PEM, in {path}; put it there, it is read again with the next try ({error})"
    )
