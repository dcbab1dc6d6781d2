"""The checks of one call, on every link of a verified chain (design, flow, steps 3 to 5 and 8).

Each function is one step: it returns what the next one needs, or raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from remit.capability import SECRET_PREFIX
from remit.errors import CapabilityDenied, SecretDenied, TokenRejected, shown
from remit.ledger import Charge
from remit.limit import micros

if TYPE_CHECKING:
    from collections.abc import Collection

    from remit.capability import Capability
    from remit.encoding import JsonObject
    from remit.errors import DenialCode
    from remit.limit import Limit
    from remit.verify import VerifiedChain

__all__ = [
    "MAX_SKEW",
    "Bearer",
    "ChainGrant",
    "argument_denied",
    "charges_of",
    "check_arguments",
    "check_audience",
    "check_bearer",
    "check_secret",
    "check_times",
    "grant_of",
]

_MAX_WORK: Final = 1 << 20
"""Size of the arguments times constraints they are compared with: 256 KiB with 4, 4 KiB with 256."""

MAX_SKEW: Final = 30
"""Seconds that a token's `iat` may lie in the future (draft Section 4.4, MAX_IAT_SKEW)."""


@dataclass(slots=True)
class Bearer:
    """Who is calling, in which session, for which task, as far as the caller says.

    None says nothing; a blank name is a name that no token carries.
    """

    agent: str | None = None
    session: str | None = None
    task: str | None = None


@dataclass(frozen=True, slots=True)
class ChainGrant:
    """What a chain says about one capability: every link's constraints and limits."""

    name: str
    links: tuple[Capability, ...]
    limits: tuple[tuple[int, Limit], ...]
    """Each limit with the position of the link that states it."""
    named: frozenset[str]
    """The arguments that some link constrains or charges."""
    max_size: int
    """How large arguments may be, so that comparing them with all constraints takes no time to speak of."""
    uses: tuple[Charge, ...]
    """The charges that are the same for every call."""


def check_times(chain: VerifiedChain, now: float) -> None:
    """Step 3: every link is inside its window, by the guard's clock."""
    # Positive conditions, so that a time that compares with nothing is refused.
    if chain.not_before <= now < chain.expires_at and chain.issued_at <= now + MAX_SKEW:
        return
    for position, link in enumerate(chain.links):
        if not now < link.expires_at:
            raise TokenRejected("token_expired", "The token has expired.", link=position)
        if link.not_before is not None and not link.not_before <= now:
            raise TokenRejected(
                "token_not_yet_valid", "The token's window has not opened yet.", link=position
            )
        if not link.issued_at <= now + MAX_SKEW:
            raise TokenRejected("token_not_yet_valid", "The token was issued in the future.", link=position)


def check_bearer(chain: VerifiedChain, bearer: Bearer) -> None:
    """Step 4: the agent is the leaf's, the session and the task are those of every link that names one."""
    agent: object = bearer.agent
    if agent is not None and not (isinstance(agent, str) and agent == chain.leaf.agent_name):
        raise TokenRejected(
            "agent_mismatch", "The token belongs to another agent.", link=len(chain.links) - 1
        )
    for what, given in (("session", bearer.session), ("task", bearer.task)):
        if given is not None and not (isinstance(given, str) and given.strip()):
            raise _not_bound_to(what, None)
    for position, link in enumerate(chain.links):
        if link.session is not None and link.session != bearer.session:
            raise _not_bound_to("session", position)
        if link.task is not None and link.task != bearer.task:
            raise _not_bound_to("task", position)


def _not_bound_to(what: str, link: int | None) -> TokenRejected:
    code: DenialCode = "session_mismatch" if what == "session" else "task_mismatch"
    return TokenRejected(code, f"The token is bound to another {what} than this one.", link=link)


def check_audience(chain: VerifiedChain, audiences: Collection[str], *, required: bool) -> None:
    """Step 4, and 6c of the draft: every link that names enforcement points names this one."""
    named = False
    for position, link in enumerate(chain.links):
        if link.audience is not None:
            named = True
            if not any(audience in audiences for audience in link.audience):
                raise TokenRejected(
                    "audience_mismatch", "The token was issued for another enforcement point.", link=position
                )
    if required and not named:
        raise TokenRejected("audience_mismatch", "The token does not name this enforcement point.")


def grant_of(chain: VerifiedChain, name: str) -> ChainGrant:
    """Step 5, first half: the capability is granted by every link, and may be used by the leaf."""
    known: ChainGrant | None = chain.grants.get(name)
    if known is not None:
        return known
    links: list[Capability] = []
    for position, link in enumerate(chain.links):
        capability = (link.tools or {}).get(name) if not name.startswith(SECRET_PREFIX) else None
        if capability is None:
            raise CapabilityDenied(
                "capability_missing", f"You may not use {shown(name)}.", capability=name, link=position
            )
        links.append(capability)
    _check_delegate_only(chain, name)
    limits = tuple(
        (position, link.limits[name]) for position, link in enumerate(chain.links) if name in link.limits
    )
    uses = tuple(charge for position, limit in limits for charge in _uses(chain, name, position, limit))
    nodes = sum(capability.nodes for capability in links)
    named = {argument for capability in links for argument in capability.constraints}
    named.update(argument for _, limit in limits for argument in limit.budget)
    grant = ChainGrant(name, tuple(links), limits, frozenset(named), _MAX_WORK // nodes, uses)
    chain.grants[name] = grant  # only names that are granted, so a caller cannot make it grow
    return grant


def _check_delegate_only(chain: VerifiedChain, name: str) -> None:
    leaf = chain.leaf
    for position, link in enumerate(chain.links):
        # Whoever may only pass a right on does not get it by passing it to itself.
        is_self = link is leaf or link.holder == leaf.holder or link.agent_name == leaf.agent_name
        if name in link.delegate_only and is_self:
            raise CapabilityDenied(
                "delegate_only",
                f"You may pass {shown(name)} on to another agent, but not use it.",
                capability=name,
                link=position,
            )


def check_arguments(grant: ChainGrant, arguments: JsonObject, defaults: JsonObject) -> None:
    """Step 5, second half: every link's constraints allow the arguments.

    Args:
        grant: what the chain says about the capability.
        arguments: what the caller passes, in its JSON form.
        defaults: the JSON form of what the tool takes for parameters that were not passed.
    """
    for capability in reversed(grant.links):  # the leaf is the narrowest, so its reason is the one to heed
        refusal = capability.refusal(arguments, defaults)
        if refusal is not None:
            refusing = [link.refusal(arguments, defaults) is not None for link in grant.links]
            raise argument_denied(grant.name, refusal.problem, refusal.argument, refusing.index(True))


def argument_denied(
    capability: str, problem: str, argument: str | None, link: int | None = None
) -> CapabilityDenied:
    """Return the refusal of a call because of its arguments."""
    return CapabilityDenied(
        "argument_denied",
        f"Your call of {shown(capability)} {problem}.",
        capability=capability,
        argument=argument,
        link=link,
    )


def check_secret(chain: VerifiedChain, name: str, tool: str) -> None:
    """Step 5 for a secret: every link lets it be resolved from within `tool`."""
    for position, link in enumerate(chain.links):
        capability = (link.tools or {}).get(SECRET_PREFIX + name)
        if capability is None or capability.refusal({"tool": tool}) is not None:
            raise SecretDenied(
                "secret_denied",
                f"You may not use the secret {shown(name)} with {shown(tool)}.",
                capability=SECRET_PREFIX + name,
                link=position,
            )


def _uses(chain: VerifiedChain, name: str, position: int, limit: Limit) -> list[Charge]:
    counter, expires_at = f"{chain.digests[position]}:{name}", chain.links[position].expires_at
    charges: list[Charge] = []
    if limit.max_uses is not None:
        phrase = "the one use" if limit.max_uses == 1 else f"the {limit.max_uses} uses"
        charges.append(Charge(f"{counter}:uses", 1, limit.max_uses, None, expires_at, position, name, phrase))
    if limit.rate is not None:
        uses, window = limit.rate
        count = "one use" if uses == 1 else f"{uses} uses"
        phrase = f"the {count} in {window} seconds"
        charges.append(Charge(f"{counter}:rate", 1, uses, window, expires_at, position, name, phrase))
    return charges


def charges_of(chain: VerifiedChain, grant: ChainGrant, arguments: JsonObject) -> tuple[Charge, ...]:
    """Step 8, prepared: what a call charges to the limits of every link; `arguments` include the defaults."""
    charges = list(grant.uses)
    for position, limit in grant.limits:
        for argument, total in limit.budget.items():
            amount = micros(arguments.get(argument))
            if amount is None:
                raise argument_denied(
                    grant.name,
                    f"needs {shown(argument)}, which is charged to a budget, to be a number of zero or more"
                    " with at most six decimals",
                    argument,
                    position,
                )
            counter = f"{chain.digests[position]}:{grant.name}:budget:{argument}"
            phrase = f"the budget for {shown(argument)}"
            expires_at = chain.links[position].expires_at
            charges.append(Charge(counter, amount, total, None, expires_at, position, grant.name, phrase))
    return tuple(charges)
