"""What is asked of the service, as it is spelled: a JSON body or a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from remit.capability import SECRET_PREFIX
from remit.encoding import canonicalize

if TYPE_CHECKING:
    from remit.constraints import OneOf
    from remit.encoding import JsonObject
    from remit.grant import Grant
    from remit.remote.asked import Asked

__all__ = ["admin_body", "client_form", "exchange_form"]

_DETAILS: Final = "authorization_details"
_DETAILS_TYPE: Final = "attenuating_agent_token"
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_PRESENTATION: Final = "urn:remit:params:oauth:token-type:presentation"


def admin_body(asked: Asked) -> JsonObject:
    """Return the body of `POST /v1/tokens`; what is not said, the service decides."""
    terms = asked.terms
    body: JsonObject = {"agent": terms.agent, "subject_pubkey": asked.holder.x}
    optional: JsonObject = {
        "expires_in_seconds": asked.ttl,
        "session": terms.session,
        "task": terms.task,
        "audience": None if terms.audience is None else list(terms.audience),
        "max_depth": terms.max_depth if asked.says_depth else None,
    }
    if asked.grant is not None:
        optional.update(_granting(asked.grant))
    body.update({name: value for name, value in optional.items() if value is not None})
    return body


def _granting(grant: Grant) -> dict[str, Any]:
    secrets = {
        name.removeprefix(SECRET_PREFIX): cast("OneOf", tool.constraints["tool"]).values
        for name, tool in grant.tools.items()
        if name.startswith(SECRET_PREFIX)
    }
    return {
        _DETAILS: _details(grant),
        "secrets": {name: list(sources) for name, sources in secrets.items()} or None,
        "limits": {name: limit.to_json() for name, limit in grant.limits.items()} or None,
        "delegate_only": list(grant.delegate_only) or None,
    }


def _details(grant: Grant) -> list[dict[str, Any]]:
    """Return the authorization details (RFC 9396) that ask for a grant; secrets are asked for beside them."""
    tools = {name: tool.to_json() for name, tool in grant.tools.items() if not name.startswith(SECRET_PREFIX)}
    return [{"type": _DETAILS_TYPE, "tools": tools}]


def client_form(asked: Asked) -> dict[str, str]:
    """Return the form of a client that asks for a token (AAT draft, Section 6.1)."""
    form = {"grant_type": "client_credentials", "req_cnf": _cnf(asked)}
    if asked.grant is not None:
        form[_DETAILS] = _text(_details(asked.grant))
    return form


def exchange_form(asked: Asked, nonce: str) -> tuple[dict[str, str], JsonObject]:
    """Return the form of an exchange (RFC 8693) without its subject, and what the proof is to cover.

    The proof covers every parameter but the subject itself; for the key it has the thumbprint.
    """
    terms = asked.terms
    form: dict[str, str] = {
        "grant_type": _EXCHANGE,
        "subject_token_type": _PRESENTATION,
        "req_cnf": _cnf(asked),
        "agent": terms.agent,
        "max_depth": str(terms.max_depth),
        "nonce": nonce,
    }
    if asked.grant is not None:
        form[_DETAILS] = _text(_details(asked.grant))
    if asked.ttl is not None:
        form["expires_in_seconds"] = str(asked.ttl)
    if terms.session is not None:
        form["session"] = terms.session
    if terms.task is not None:
        form["task"] = terms.task
    if terms.audience is not None:
        form["audience"] = terms.audience[0]
    return form, {**form, "req_cnf": asked.holder.thumbprint}


def _cnf(asked: Asked) -> str:
    return _text({"jwk": asked.holder.jwk})


def _text(value: Any) -> str:
    return canonicalize(value).decode("utf-8")
