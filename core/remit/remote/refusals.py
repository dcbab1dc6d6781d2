"""What the service says when it does not do what it was asked, as Remit's own errors.

A refusal with one of Remit's codes is that refusal. A request that makes no sense to the service is a
`ConfigError` with its reason. Where nobody knows, or the service cannot answer now, it is a `TokenRejected`
with `ledger_unavailable`: like a ledger, the service may be asked again.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from remit.errors import (
    CODES,
    CapabilityDenied,
    ConfigError,
    Denied,
    LimitExceeded,
    SecretDenied,
    TokenRejected,
)
from remit.remote.http import NoAnswer

if TYPE_CHECKING:
    from remit.encoding import JsonObject
    from remit.errors import DenialCode, RemitError
    from remit.remote.http import Answer

__all__ = ["members_of", "unavailable"]

_KINDS: Final[dict[str, type[Denied]]] = {
    **dict.fromkeys(
        ("capability_missing", "argument_denied", "delegate_only", "not_bound"), CapabilityDenied
    ),
    "limit_exceeded": LimitExceeded,
    **dict.fromkeys(("secret_denied", "secret_not_found", "secret_backend_error"), SecretDenied),
}
_LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_MAX_REASON: Final = 300


def members_of(answer: Answer) -> JsonObject:
    """Return the JSON of an answer that says that all is well.

    Raises:
        Denied, ConfigError: when it says something else.
    """
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        try:
            return answer.members()
        except NoAnswer as error:
            raise unavailable(error) from None
    raise _refusal(answer)


def unavailable(error: NoAnswer) -> TokenRejected:
    """Return the refusal where the service gave no answer that can be used."""
    return TokenRejected("ledger_unavailable", f"The service {error}.")


def _refusal(answer: Answer) -> RemitError:
    try:
        said = answer.members()
    except NoAnswer:
        said = {}
    code = said.get("code", said.get("error"))
    reason = _reason(said.get("reason", said.get("error_description")))
    if isinstance(code, str) and code in CODES:
        kind = _KINDS.get(code, TokenRejected)
        return kind(cast("DenialCode", code), reason or "The service refuses it.")
    status = answer.status
    if status in _LATER or not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return TokenRejected(
            "ledger_unavailable", f"The service cannot do it now (status {status}). {reason}".rstrip()
        )
    return ConfigError(f"the service refuses the request (status {status}): {reason or 'it says no reason'}")


def _reason(text: object) -> str:
    """Return a reason on one line, printable and not too long."""
    if not isinstance(text, str):
        return ""
    plain = "".join([char if char.isprintable() else "?" for char in text])
    return plain if len(plain) <= _MAX_REASON else plain[: _MAX_REASON - 1] + "…"
