"""How the simulated PLC proves who it is and whom it lets in: Basic256Sha256 only, a trust list of one client, one user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from schemas.errors import ConfigurationError
from schemas.plant import CertificateLogin, Login, PasswordLogin, Plc

_CHECKS = CertificateValidatorOptions.EXT_VALIDATION | CertificateValidatorOptions.PEER_CLIENT


@dataclass(frozen=True, kw_only=True)
class PlcIdentity:
    """The simulated PLC's certificate and key, and the client certificates that it trusts, as files.

    The trusted ones are read at every new session: a client's next certificate can be put there while the PLC runs. With a
    `login` nobody else logs in, not even anonymously.
    """

    certificate: Path
    private_key: Path
    trusted: tuple[Path, ...]
    login: Login | None = None
    user_certificate: Path | None = None

    async def give_to(self, server: Server) -> None:
        """Makes `server`, initialised and not started, speak encrypted only. Raises `ConfigurationError` for its own files."""
        try:
            served = _parsed(self.certificate)
            names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            await server.set_application_uri(names.get_values_for_type(x509.UniformResourceIdentifier)[0])
            await server.load_certificate(self.certificate.read_bytes(), format=_form(self.certificate))
            await server.load_private_key(self.private_key.read_bytes(), format=_form(self.private_key))
        except (OSError, ValueError, IndexError, x509.ExtensionNotFound) as error:
            raise ConfigurationError(
                f"the simulated PLC cannot use {self.certificate} with {self.private_key}: {error}; move both away, and "
                "`linesight simulate` makes new ones"
            ) from error
        server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
        server.set_certificate_validator(self._let_in)
        if self.login is not None:
            server.set_identity_tokens([ua.UserNameIdentityToken, ua.X509IdentityToken])
            server.iserver.set_user_manager(self)

    def get_user(
        self,
        iserver: object,
        username: str | None = None,
        password: str | None = None,
        certificate: bytes | None = None,
    ) -> User | None:
        """The one user, or None; asyncua asks with what a client logs in."""
        match self.login:
            case PasswordLogin() as login:
                right = (username, password) == (login.user, login.password)
            case _:
                right = (
                    username is None
                    and self.user_certificate is not None
                    and _is_in(self.user_certificate, certificate)
                )
        return User(role=UserRole.User, name=username) if right else None

    async def _let_in(self, shown: x509.Certificate, application: ua.ApplicationDescription) -> None:
        await CertificateValidator(_CHECKS).validate(shown, application)
        if not any(_is_in(file, shown.public_bytes(Encoding.DER)) for file in self.trusted):
            raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)


def identity_of(plc: Plc, *, plant_dir: Path) -> PlcIdentity | None:
    """The files of the simulated PLC: its key lies beside its certificate, as `.key`. None where the plant file says `none`.

    It trusts our certificate and the next one (`.next`), which a rotation prepares. Raises `ConfigurationError` where the
    plant file names no certificates.
    """
    if plc.security == "none":
        return None
    if plc.certificate is None or plc.server_certificate is None:
        raise ConfigurationError(f"PLC {plc.name}: expected `certificate` and `server_certificate` in the plant file")
    user = plc.login.certificate if isinstance(plc.login, CertificateLogin) else None
    own, client = plant_dir / plc.server_certificate, plant_dir / plc.certificate
    return PlcIdentity(
        certificate=own,
        private_key=own.with_suffix(".key"),
        trusted=(client, client.with_name(client.name + ".next")),
        login=plc.login,
        user_certificate=plant_dir / user if user is not None else None,
    )


def _is_in(file: Path, shown: bytes | None) -> bool:
    """Whether the certificate (DER) is that of the file, which may be missing or just being written."""
    try:
        return _parsed(file).public_bytes(Encoding.DER) == shown
    except (OSError, ValueError):
        return False


def _parsed(file: Path) -> x509.Certificate:
    content = file.read_bytes()
    load = x509.load_pem_x509_certificate if _is_pem(content) else x509.load_der_x509_certificate
    return load(content)


def _form(file: Path) -> str:
    return "pem" if _is_pem(file.read_bytes()) else "der"


def _is_pem(content: bytes) -> bool:
    return content.startswith(b"-----BEGIN")
