"""Tokens for agents that sign in as OAuth clients: what the policy file grants them, or less.

The AAT draft, Section 6.1, on top of client credentials (RFC 6749, Section 4.4).

Invariants:

- nothing that is asked for is left out: what the file decides is refused where it is asked for;
- a limit of the file cannot be had twice. Limits are counted by token, so of the tokens with which a
  client may use what the file limits, there is one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from remit.capability import SECRET_PREFIX, Capability
from remit.errors import LimitExceeded, TokenRejected, shown
from remit.ledger import NEVER, Charge
from remit.names import DEFAULT_TTL, read_clock, seconds
from remit.service.asked import check_honoured, invalid
from remit.service.chains import asked_of_ledger, check_agents
from remit.service.details import (
    BAD_DETAILS,
    BAD_SCOPE,
    DETAILS,
    SCOPE,
    check_secrets,
    check_within,
    details_in,
    holder_in,
    scope_in,
)
from remit.service.errors import ServiceError

if TYPE_CHECKING:
    from remit.config import Agent, IssueKeywords
    from remit.credential import Credential
    from remit.issue import Issuer
    from remit.service.instance import Instance

__all__ = ["client_credential"]

_PAUSE: Final = 60
"""Seconds after which a client may ask again for what is limited, at most; it may have expired sooner."""


def client_credential(
    instance: Instance, issuer: Issuer, agent: Agent, form: Mapping[str, str]
) -> Credential:
    """Issue a token to an agent that signed in.

    The limits, the lifetime, the audience and all else that the file says of the agent stay as they are.

    Raises:
        ServiceError: when what it asks for is not granted to it, or makes no sense; 429 `limit_exceeded`,
            when a token of its with a limited capability may not have expired; 503 `agent_revoked`.
        Denied: when nothing can be issued now. Where a limited capability is asked for, that may have been
            counted already: the next token with it may then only be had after the lifetime of this one.
    """
    check_honoured(form)
    holder = holder_in(form.get("req_cnf"))
    keywords = _narrowed(agent, _asked(instance, agent, form))
    check_agents(instance, [agent.name])
    if keywords.get("limits"):
        keywords["ttl"] = _counted(instance, keywords)
    return issuer.issue(**keywords, holder=holder)


def _asked(instance: Instance, agent: Agent, form: Mapping[str, str]) -> list[Capability]:
    held = {capability.name: capability for capability in agent.capabilities}
    if DETAILS in form and SCOPE in form:
        raise invalid(f"Ask by {DETAILS} or by {SCOPE}, not by both.")
    if DETAILS in form:
        asked, secrets = details_in(form[DETAILS])
        check_within(held, asked, BAD_DETAILS)
        coming = _secrets(agent, {capability.name for capability in asked})
        check_secrets(_as_capabilities(agent.secrets), _as_capabilities(coming), secrets)
        return asked
    if SCOPE in form:
        scopes = {name: instance.config.scopes[name] for name in agent.scope}
        asked = scope_in(form[SCOPE], scopes, held)
        check_within(held, asked, BAD_SCOPE)
        return asked
    return list(held.values())


def _narrowed(agent: Agent, capabilities: list[Capability]) -> IssueKeywords:
    """Return the keywords of `Issuer.issue` for some of what the file grants an agent."""
    keywords = agent.keywords()
    names = {capability.name for capability in capabilities}
    keywords["capabilities"] = capabilities
    keywords["secrets"] = _secrets(agent, names)
    keywords["limits"] = {name: limit for name, limit in keywords.get("limits", {}).items() if name in names}
    keywords["delegate_only"] = [name for name in keywords.get("delegate_only", []) if name in names]
    return keywords


def _secrets(agent: Agent, names: set[str]) -> dict[str, list[str]]:
    """Return the secrets that come with capabilities, and from which of these they may be resolved."""
    coming = {name: [tool for tool in tools if tool in names] for name, tools in agent.secrets.items()}
    return {name: tools for name, tools in coming.items() if tools}


def _as_capabilities(secrets: Mapping[str, Iterable[str]]) -> dict[str, Capability]:
    return {f"{SECRET_PREFIX}{name}": Capability.secret(name, list(tools)) for name, tools in secrets.items()}


def _counted(instance: Instance, keywords: IssueKeywords) -> int:
    """Count a token that is to be issued; return the seconds that it may live.

    The ledger remembers for each limited capability when the last token was issued, and the next has to
    wait until that one has expired, whatever became of it: a token that was revoked has been used up as
    far as it was. A token that was issued when the file said a longer `ttl` is waited for no longer.

    Raises:
        ServiceError: 429, when there may be one that has not expired.
        Denied: when the ledger does not answer.
    """
    agent, ttl = keywords["agent"], keywords.get("ttl", seconds("ttl", DEFAULT_TTL))
    now = int(read_clock(instance.clock))  # whole seconds, as the times in tokens are
    charges = [
        # It is of use for as long as the file names the client; that makes one counter for each.
        Charge(_counter(agent, name), 1, 1, ttl, NEVER, 0, name, "the one token at a time")
        for name in keywords.get("limits", {})
    ]
    try:
        asked_of_ledger(instance.ledger.commit, charges, None, now)
    except LimitExceeded as error:
        raise ServiceError(
            HTTPStatus.TOO_MANY_REQUESTS,
            error.code,
            f"There is a token with {shown(error.capability)} already, and it is limited: use that one, ask"
            " again when it expires, or ask without that capability.",
            headers={"Retry-After": str(min(ttl, _PAUSE))},
        ) from None
    # However long that took, the token has expired when the next may be issued.
    left = ttl - max(int(read_clock(instance.clock)) - now, 0)
    if left <= 0:
        raise TokenRejected("ledger_unavailable", "The ledger did not answer in time.")
    return left


def _counter(agent: str, capability: str) -> str:
    """Return a counter's name: no other agent's, and none of a token's, which begin with a digest."""
    return f"client:{json.dumps([agent, capability])}"
