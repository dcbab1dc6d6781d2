"""Tokens for agents that sign in as OAuth clients: what the policy file grants them, or less.

The AAT draft, Section 6.1, on top of client credentials (RFC 6749, Section 4.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from remit.service.asked import invalid
from remit.service.details import (
    BAD_DETAILS,
    BAD_SCOPE,
    DETAILS,
    SCOPE,
    check_within,
    details_in,
    holder_in,
    scope_in,
)

if TYPE_CHECKING:
    from remit.capability import Capability
    from remit.config import Agent, IssueKeywords
    from remit.credential import Credential
    from remit.issue import Issuer
    from remit.service.instance import Instance

__all__ = ["client_credential"]


def client_credential(
    instance: Instance, issuer: Issuer, agent: Agent, form: Mapping[str, str]
) -> Credential:
    """Issue a token to an agent that signed in.

    The limits, the lifetime, the audience and all else that the file says of the agent stay as they are.

    Raises:
        ServiceError: when what it asks for is not granted to it, or makes no sense.
        Denied: when nothing can be issued now.
    """
    holder = holder_in(form.get("req_cnf"))
    return issuer.issue(**_narrowed(agent, _asked(instance, agent, form)), holder=holder)


def _asked(instance: Instance, agent: Agent, form: Mapping[str, str]) -> list[Capability]:
    held = {capability.name: capability for capability in agent.capabilities}
    if DETAILS in form and SCOPE in form:
        raise invalid(f"Ask by {DETAILS} or by {SCOPE}, not by both.")
    if DETAILS in form:
        asked = details_in(form[DETAILS])
        check_within(held, asked, BAD_DETAILS)
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
    secrets = {
        name: [tool for tool in tools if tool in names]
        for name, tools in keywords.get("secrets", {}).items()
        if not names.isdisjoint(tools)
    }
    keywords["secrets"] = secrets
    keywords["limits"] = {name: limit for name, limit in keywords.get("limits", {}).items() if name in names}
    keywords["delegate_only"] = [name for name in keywords.get("delegate_only", []) if name in names]
    return keywords
