"""A token that the service has issued, compared with what was asked for.

Invariants:

- a credential comes out only for our own key, our agent, and no more than was asked for;
- a restriction that was asked for is in the token. What the service restricts beyond that is its right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from remit.capability import SECRET_PREFIX, Capability, Limit
from remit.checks import MAX_SKEW
from remit.credential import Credential
from remit.encoding import EncodingError
from remit.errors import TokenRejected, shown
from remit.names import LONGEST_TTL, read_clock
from remit.token import Claims, unverified_claims

if TYPE_CHECKING:
    from remit.encoding import JsonValue
    from remit.keys import HolderKey
    from remit.names import Clock
    from remit.remote.asked import Asked

__all__ = ["received"]


def received(token: JsonValue, asked: Asked, key: HolderKey | None, clock: Clock) -> Credential:
    """Return the credential for a token that came in answer to a request.

    Its signature is not looked at: a guard does that, and it came from the service itself.

    Args:
        token: what came.
        asked: what was asked for.
        key: the private key that it is to be bound to, when that was made here.
        clock: seconds since the epoch, for this and for the credential.

    Raises:
        TokenRejected: with `token_malformed`, when it is not what was asked for.
    """
    text = token if isinstance(token, str) else ""
    try:
        envelope, claims = unverified_claims(text)
    except EncodingError as error:
        raise _refusal(f"{error}") from None
    problem = next(_problems(claims, asked, read_clock(clock)), None)
    if problem is not None:
        raise _refusal(problem)
    return Credential.made((text,), (claims,), envelope.digest, key, clock)


def _refusal(problem: str) -> TokenRejected:
    return TokenRejected("token_malformed", f"The token that the service issued {problem}.")


def _problems(claims: Claims, asked: Asked, now: float) -> Iterator[str]:
    terms = asked.terms
    if claims.holder != asked.holder:
        yield "is bound to another key than ours"
    if claims.agent != terms.agent:
        yield "is for another agent"
    if claims.depth != 0 or claims.parent_hash is not None:
        yield "is not a root"
    if claims.max_depth > terms.max_depth:
        yield "may be passed on more often than was asked for"
    if terms.session not in {None, claims.session}:
        yield "is not bound to the session that was asked for"
    if terms.task not in {None, claims.task}:
        yield "is not bound to the task that was asked for"
    if terms.audience is not None and not set(claims.audience or ("",)) <= set(terms.audience):
        yield "may be used elsewhere than was asked for"
    yield from _lifetimes(claims, asked, now)
    yield from _wider(claims, asked)


def _lifetimes(claims: Claims, asked: Asked, now: float) -> Iterator[str]:
    longest = LONGEST_TTL if asked.ttl is None else asked.ttl
    if not 0 < claims.expires_at - claims.issued_at <= longest or claims.issued_at > now + MAX_SKEW:
        yield "lives longer than was asked for"
    if claims.expires_at > asked.expires_by:
        yield "outlives what it was exchanged for"
    if claims.expires_at <= now - MAX_SKEW:
        yield "has expired already"


def _wider(claims: Claims, asked: Asked) -> Iterator[str]:
    granted = claims.tools or {}
    if not granted:
        yield "grants nothing"
    grant = asked.grant
    if grant is None:
        return
    for name, capability in granted.items():
        if name.startswith(SECRET_PREFIX) and not asked.says_secrets:
            if not _only_from(capability, granted):
                yield f"lets {shown(name)} be resolved from elsewhere"
            continue
        held = grant.tools.get(name)
        if held is None or held.widening(capability) is not None:
            yield f"grants {shown(name)} more widely than was asked for"
    for name, limit in grant.limits.items():
        if name in granted and not _is_within(limit, claims.limits.get(name)):
            yield f"does not limit {shown(name)} as was asked for"
    if not set(grant.delegate_only) & granted.keys() <= set(claims.delegate_only):
        yield "lets be used what was to be passed on only"


def _only_from(secret: Capability, granted: Mapping[str, Capability]) -> bool:
    """Tell whether a secret can be resolved from what is granted beside it, and from nowhere else."""
    names = sorted(name for name in granted if not name.startswith(SECRET_PREFIX))
    return bool(names) and Capability.secret("any", names).widening(secret) is None


def _is_within(asked: Limit, given: Limit | None) -> bool:
    """Tell whether a limit leaves no more than another does."""
    if given is None:
        return False
    if asked.max_uses is not None and (given.max_uses is None or given.max_uses > asked.max_uses):
        return False
    if asked.rate is not None and given.rate != asked.rate:
        return False
    budget = given.budget
    return all(name in budget and budget[name] <= total for name, total in asked.budget.items())
