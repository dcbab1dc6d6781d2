"""Exchanging a chain for a root token that another key holds, no wider than any of its links (RFC 8693).

Invariants:

- nothing is gained: capabilities, secrets, lifetime, window, session, task, audience and what is left of
  the depth are those of the chain, or less;
- nothing is shaken off: whatever would revoke the chain revokes what it was exchanged for, be it a token,
  a holder's key or an agent of any link, the key that signed the root, or what the chain was exchanged
  for itself;
- nothing is counted anew: limits belong to the token that states them, so what some link limits is not
  exchanged. Nor is what some link may only pass on;
- whoever exchanges has proved to hold the chain. That is for whoever calls this to see to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from remit.capability import SECRET_PREFIX
from remit.delegate import derive
from remit.errors import AttenuationError, shown
from remit.grant import build_grant, build_terms, holder_of
from remit.names import items, mapping
from remit.proof import EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from remit.capability import Capability
    from remit.grant import Capabilities, Grant, Terms
    from remit.keys import PublicKey
    from remit.names import Duration
    from remit.token import Claims
    from remit.verify import VerifiedChain

__all__ = ["Exchange", "ancestors", "common_audience", "origin", "secrets_within"]

_AGENT: Final = "agent:"
_TOKEN: Final = "token:"  # noqa: S105 - the prefix of a subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A chain, and what it is to be exchanged for. Made by `asked`."""

    chain: VerifiedChain
    holder: PublicKey
    grant: Grant
    terms: Terms
    ttl: Duration | None

    @classmethod
    def asked(
        cls,
        chain: VerifiedChain,
        capabilities: Capabilities,
        *,
        holder: Mapping[str, object],
        agent: str | None = None,
        ttl: Duration | None = None,
        session: str | None = None,
        task: str | None = None,
        audience: str | Iterable[str] | None = None,
        max_depth: int = 0,
    ) -> Exchange:
        """Return an exchange of `chain`.

        Args:
            chain: what is exchanged. That it may be used now, that nothing of it was revoked and that its
                holder asks has been seen to.
            capabilities: what the new token is to grant. Secrets come along as far as every link lets
                them be resolved from these.
            holder: the public JWK of the new holder, whose key is none of the chain's.
            agent: the new holder's name; by default that of the leaf.
            ttl: how long it lives; by default as long as the chain.
            session: as for `Credential.delegate`.
            task: as for `Credential.delegate`.
            audience: as for `Credential.delegate`.
            max_depth: how many times it may be passed on; 0 by default.

        Raises:
            ConfigError: when an argument makes no sense.
        """
        named = list(items("capabilities", capabilities))
        grant = build_grant(named, None, None, None)
        secrets = secrets_within(chain, grant.tools)
        terms = build_terms(
            chain.leaf.agent_name if agent is None else agent,
            session=session,
            task=task,
            audience=audience,
            not_before=None,
            max_depth=max_depth,
        )
        public, _ = holder_of(mapping("holder", holder))
        return cls(
            chain=chain,
            holder=public,
            grant=build_grant(named, secrets, None, None) if secrets else grant,
            terms=terms,
            ttl=ttl,
        )

    def claims(self, issuer: str, now: float) -> Claims:
        """Return the claims of the token that `issuer` gives for the chain.

        Raises:
            AttenuationError: when it would be wider than the chain, and in what.
            ConfigError: when the ttl makes no sense.
        """
        chain, terms = self.chain, self.terms
        if chain.root.issuer != issuer:
            raise AttenuationError("only what this issuer has issued can be exchanged here")
        if f"key:{self.holder.thumbprint}" in chain.subjects:
            raise AttenuationError("an exchange is for a key that has no part in the chain yet")
        for link in chain.links:
            _check_link(link, self.grant.tools)
        derived = derive(
            chain.links, chain.digests[-1], self.grant, terms, holder=self.holder, ttl=self.ttl, now=now
        )
        return replace(
            derived,
            issuer=issuer,
            issued_at=int(now),  # never what a holder says, from which an agent's revocation counts
            depth=0,
            max_depth=terms.max_depth,
            parent_hash=None,
            not_before=chain.not_before or None,
            session=_carried("session", [terms.session, *(link.session for link in chain.links)]),
            task=_carried("task", [terms.task, *(link.task for link in chain.links)]),
            audience=common_audience([*(link.audience for link in chain.links), terms.audience]),
            exchanged=_subjects(chain),
        )


def secrets_within(chain: VerifiedChain, names: Iterable[str]) -> dict[str, list[str]]:
    """Return the secrets that every link lets be resolved from some of the capabilities `names`."""
    granted = [link.tools or {} for link in chain.links]
    candidates = list(names)
    found: dict[str, list[str]] = {}
    for name in granted[-1]:
        if name.startswith(SECRET_PREFIX):
            tools = [tool for tool in candidates if all(_resolves(held.get(name), tool) for held in granted)]
            if tools:
                found[name.removeprefix(SECRET_PREFIX)] = tools
    return found


def common_audience(audiences: Iterable[Sequence[str] | None]) -> tuple[str, ...] | None:
    """Return the enforcement points that all of `audiences` name; those that are None name any.

    Raises:
        AttenuationError: when there is none.
    """
    common: tuple[str, ...] | None = None
    for audience in audiences:
        if audience is not None:
            common = tuple([name for name in (common or audience) if name in audience])
            if not common:
                raise AttenuationError("no enforcement point is left in the audience of the chain")
    return common


def origin(root: Claims) -> str:
    """Return the agent that the issuer gave the first token to, from which a root token comes.

    Whoever exchanges says who the new holder is; this they do not say.
    """
    agents = [subject for subject in root.exchanged if subject.startswith(_AGENT)]
    return agents[0].removeprefix(_AGENT) if agents else root.agent_name


def ancestors(claims: Claims) -> tuple[str, ...]:
    """Return the identifiers of the tokens that a token was exchanged for."""
    named = [subject for subject in claims.exchanged if subject.startswith(_TOKEN)]
    return tuple(subject.removeprefix(_TOKEN) for subject in named)


def _resolves(secret: Capability | None, tool: str) -> bool:
    return secret is not None and secret.refusal({"tool": tool}) is None


def _check_link(link: Claims, tools: Mapping[str, Capability]) -> None:
    """Refuse what is not within a link, or what it holds back in a way that a new root would not."""
    held = link.tools or {}
    for name, capability in tools.items():
        if name == EXCHANGE:
            raise AttenuationError(f"{shown(name)} is the exchange itself", capability=name)
        if name not in held:
            raise AttenuationError(f"{shown(name)} is not among what the chain grants", capability=name)
        widening = held[name].widening(capability)
        if widening is not None:
            raise AttenuationError(
                f"{shown(name)} {widening.problem}", capability=name, argument=widening.argument
            )
        if name in link.limits:
            raise AttenuationError(
                f"{shown(name)} is limited in the chain, which counts its uses; delegate it instead",
                capability=name,
            )
        if name in link.delegate_only:
            raise AttenuationError(
                f"{shown(name)} may only be passed on in the chain; delegate it instead", capability=name
            )


def _carried(what: str, given: Iterable[str | None]) -> str | None:
    named = {value for value in given if value is not None}
    if len(named) > 1:
        raise AttenuationError(f"the chain is bound to another {what}")
    return next(iter(named), None)


def _subjects(chain: VerifiedChain) -> tuple[str, ...]:
    """Return all that a revocation of the chain may name: where it comes from first, then its tokens."""
    root = chain.root
    before = (*root.exchanged, f"{_AGENT}{origin(root)}", *(f"{_TOKEN}{link.id}" for link in chain.links))
    return tuple(dict.fromkeys([*before, *sorted(chain.subjects)]))
