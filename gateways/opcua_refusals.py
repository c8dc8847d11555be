"""Why a PLC that is on takes no session, in words that say what to do."""

from __future__ import annotations

from pathlib import Path

from asyncua import ua

from gateways.certificates import files_of, read_facts, served_certificate
from gateways.trust_list import trust_list
from schemas.errors import ConfigurationError, ServiceAway
from schemas.plant import Plc

_NOT_TRUSTED = (
    ua.uaerrors.BadCertificateUntrusted,
    # what a server says that does not want to tell strangers why (OPC 10000-4, 6.1.3)
    ua.uaerrors.BadSecurityChecksFailed,
)
_NO_LOGIN = (
    ua.uaerrors.BadIdentityTokenRejected,
    ua.uaerrors.BadIdentityTokenInvalid,
    ua.uaerrors.BadUserAccessDenied,
)


def refusal(error: BaseException, plc: Plc, *, plant_dir: Path) -> str:
    """What the PLC means by `error`, and what a person does about it; the error itself where nothing more is known."""
    if isinstance(error, _NO_LOGIN):
        return f"it refuses the login ({error!r}): correct `login` in the plant file, or the user in the PLC"
    if plc.security == "none":
        return repr(error)
    own = files_of(plc, plant_dir=plant_dir).own.certificate
    if isinstance(error, _NOT_TRUSTED):
        return f"it does not trust our certificate: put {own}{_thumbprint(own)} into its list of trusted clients ({error!r})"
    if isinstance(error, ua.uaerrors.BadCertificateTimeInvalid):
        return f"for it, {own} is not valid now: look at both clocks, or rotate the certificate ({error!r})"
    if isinstance(error, TimeoutError):
        # a server that cannot read what was encrypted for another one falls silent
        return (
            f"no answer in time; if it is on, its certificate may not be the pinned one: `plc browse` tells ({error!r})"
        )
    return repr(error)


def _thumbprint(certificate: Path) -> str:
    """In brackets; "" where the file has been replaced by something else since it was shown to the PLC."""
    try:
        return f" (thumbprint {read_facts(certificate).thumbprint})"
    except ConfigurationError:
        return ""


async def why_not(plc: Plc, *, plant_dir: Path) -> str | None:
    """Why the encrypted session with a PLC that answers cannot come to stand: it shows a certificate that we do not trust.

    None where that is not the reason, or the PLC does not answer. Takes some seconds. Raises `ConfigurationError` where the PLC
    offers no encryption.
    """
    if plc.security == "none":
        return None
    try:
        shown, _ = await served_certificate(plc)
    except ServiceAway:
        return None
    why = trust_list(plc, files_of(plc, plant_dir=plant_dir)).why_not(shown)
    return f"PLC {plc.name} at {plc.endpoint}: {why}" if why else None
