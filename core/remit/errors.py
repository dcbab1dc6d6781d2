"""Every failure of Remit, in one tree.

::

    RemitError
    ├── Denied (also a PermissionError)   a refusal, with a stable ``code``
    │   ├── TokenRejected                 the token, its chain, its proof or its bearer
    │   ├── CapabilityDenied              what was asked for is not in the grant
    │   ├── LimitExceeded                 it is in the grant, but used up
    │   └── SecretDenied                  the secret may not, or cannot, be had
    ├── AttenuationError                  a child would be wider than its parent
    ├── KeyFileError                      a key or credential file cannot be used
    └── ConfigError                       an argument or a setting makes no sense

A ``reason`` is one sentence, fit to be shown to a model: it names parameters and limits, never
the values of arguments, secrets or tokens.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

__all__ = [
    "AttenuationError",
    "CapabilityDenied",
    "ConfigError",
    "DenialCode",
    "Denied",
    "KeyFileError",
    "LimitExceeded",
    "RemitError",
    "SecretDenied",
    "TokenRejected",
    "shown",
]

DenialCode = Literal[
    "token_malformed",
    "token_signature_invalid",
    "token_issuer_untrusted",
    "token_expired",
    "token_not_yet_valid",
    "token_revoked",
    "token_chain_invalid",
    "proof_missing",
    "proof_invalid",
    "proof_replayed",
    "audience_mismatch",
    "agent_mismatch",
    "session_mismatch",
    "task_mismatch",
    "capability_missing",
    "argument_denied",
    "limit_exceeded",
    "delegate_only",
    "not_bound",
    "credential_closed",
    "secret_denied",
    "secret_not_found",
    "secret_backend_error",
    "revocations_stale",
    "ledger_unavailable",
    "audit_unavailable",
]

CODES: Final[frozenset[str]] = frozenset(get_args(DenialCode))

_MAX_SHOWN: Final = 80
_MAX_REASON: Final = 500


def shown(text: object) -> str:
    """Return `text` quoted for a message: printable, on one line, at most 80 characters long.

    Names in tokens and calls may come from a model; quoting keeps control characters and
    endless names out of prompts, terminals and logs.
    """
    if not isinstance(text, str):
        return f"<{type(text).__name__}>"
    return ascii(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…")


class RemitError(Exception):
    """Base of every error that Remit raises."""


class Denied(RemitError, PermissionError):
    """A refusal.

    Being a `PermissionError`, it is not retried by the default retry policies of agent frameworks.

    Args:
        code: one of the stable codes of `DenialCode`.
        reason: one sentence that says what was refused and why, fit to show to a model.
        capability: the capability that was asked for, where the refusal concerns one.
        argument: the argument that was refused, where the refusal concerns one.
        link: the position in the chain (0 is the root) of the token that refused.
    """

    code: DenialCode
    reason: str
    capability: str | None
    argument: str | None
    link: int | None

    def __init__(
        self,
        code: DenialCode,
        reason: str,
        *,
        capability: str | None = None,
        argument: str | None = None,
        link: int | None = None,
    ) -> None:
        self.reason = reason if len(reason) <= _MAX_REASON else reason[: _MAX_REASON - 1] + "…"
        super().__init__(self.reason)
        self.code = code
        self.capability = capability
        self.argument = argument
        self.link = link

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"

    def __reduce__(self) -> tuple[object, ...]:
        state = {"capability": self.capability, "argument": self.argument, "link": self.link}
        return (type(self), (self.code, self.reason), state)

    def to_dict(self) -> dict[str, object]:
        """Return the refusal as a JSON object: `code`, `reason`, and what else is known."""
        extra = {"capability": self.capability, "argument": self.argument, "link": self.link}
        return {"code": self.code, "reason": self.reason, **{k: v for k, v in extra.items() if v is not None}}


class TokenRejected(Denied):
    """The token, its chain, its proof of possession or its bearer was refused."""


class CapabilityDenied(Denied):
    """The token is sound, but does not allow this call."""


class LimitExceeded(Denied):
    """The token allows this call, but its uses, rate or budget are spent."""


class SecretDenied(Denied):
    """The secret is outside the grant, or its backend could not give it."""


class AttenuationError(RemitError):
    """A delegated token would be wider than its parent; the message says where.

    Args:
        message: what would widen.
        capability: the capability that would widen, where one would.
        argument: the argument whose constraint would widen, where one would.
    """

    capability: str | None
    argument: str | None

    def __init__(self, message: str, *, capability: str | None = None, argument: str | None = None) -> None:
        super().__init__(message)
        self.capability = capability
        self.argument = argument


class KeyFileError(RemitError):
    """A key, anchor or credential file cannot be read, written or trusted."""


class ConfigError(RemitError, ValueError):
    """An argument or a setting makes no sense; the message says which, and what was meant."""
