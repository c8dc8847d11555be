"""How a client of a PLC proves who it is, and how it knows the PLC: Basic256Sha256, signed and encrypted, certificates that we trust."""

from __future__ import annotations

from pathlib import Path

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography import x509

from gateways.certificates import PlcFiles, application_uri_of, files_of, parse_certificate, served_certificate
from gateways.private_keys import private_key
from gateways.trust_list import trust_list
from schemas.errors import ConfigurationError
from schemas.plant import CertificateLogin, PasswordLogin, Plc


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
        case CertificateLogin(certificate=certificate, private_key=private_key_file):
            try:
                client.user_certificate = parse_certificate((plant_dir / certificate).read_bytes())
                client.user_private_key = await private_key(plant_dir / private_key_file)
            except (OSError, ValueError, TypeError, ua.UaError) as error:
                raise CertificatesUnusable(f"PLC {plc.name}: certificate or key of its login: {error}") from error


async def _encrypt(client: Client, plc: Plc, plant_dir: Path) -> None:
    files = files_of(plc, plant_dir=plant_dir)
    try:
        certificate = parse_certificate(files.own.certificate.read_bytes())
        key = await private_key(files.own.private_key)
        plcs = await _plcs(plc, files)
        # the PLC compares the application URI with the certificate's (OPC UA part 4, 5.6.2)
        client.application_uri = application_uri_of(certificate) or client.application_uri
        # as asyncua's `set_security` does, which loads the key with each connection
        client.security_policy = SecurityPolicyBasic256Sha256(
            plcs, certificate, key, ua.MessageSecurityMode.SignAndEncrypt
        )
        client.uaclient.set_security(client.security_policy)
    except (OSError, ValueError, TypeError, ua.UaError) as error:
        raise CertificatesUnusable(
            f"PLC {plc.name}: certificate, private key or server certificate cannot be used: {error}"
        ) from error


async def _plcs(plc: Plc, files: PlcFiles) -> x509.Certificate:
    """The certificate for which the session is encrypted: the pinned one, or where there may be several, the one that answers, if it is
    trusted. Only who has its key can go on."""
    if files.trusted is None and files.server_certificate is not None:
        return parse_certificate(files.server_certificate.read_bytes())
    try:
        shown, _ = await served_certificate(plc)
    except ConfigurationError as error:  # what the PLC offers is a person's to put right, like a file
        raise CertificatesUnusable(str(error)) from error
    why = trust_list(plc, files).why_not(shown)
    if why:
        raise NotTrusted(f"PLC {plc.name} at {plc.endpoint}: {why}")
    return parse_certificate(shown)
