"""What a token is good for (RFC 7662), and giving one back (RFC 7009).

Invariants:

- a token is active only where all of its chain is, as the ledger says now; where it says nothing, nobody
  says that the token is active;
- a client gives back its own root tokens and no others. What holders derive, they name themselves, and
  might give it the identifier of somebody else's token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from remit.checks import grant_of
from remit.credential import Credential
from remit.errors import AttenuationError, CapabilityDenied, Denied
from remit.exchange import common_audience, origin
from remit.names import read_clock
from remit.service.chains import tokens_in
from remit.service.details import scope_of
from remit.service.errors import ServiceError, status_of
from remit.trail import Entry, Trail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remit.capability import Capability
    from remit.config import Agent
    from remit.service.chains import Chains
    from remit.service.instance import Instance
    from remit.verify import VerifiedChain

__all__ = ["TOKEN_TYPE", "Introspection"]

TOKEN_TYPE: Final = "aat"  # noqa: S105 - the name of a type
_SERVER: Final = 500


class Introspection:
    """Answers questions about tokens at one instance.

    Args:
        instance: what it works with.
        chains: verifies what is presented.
    """

    def __init__(self, instance: Instance, chains: Chains) -> None:
        self._instance, self._chains = instance, chains
        self._trail = Trail(instance.audit)

    def document(self, text: str) -> dict[str, object]:
        """Return what is to be said of a token; recorded as a decision.

        Raises:
            Denied: when nobody knows whether it was revoked, or the answer cannot be recorded.
        """
        now = read_clock(self._instance.clock)
        entry = Entry(now, self._trail.new_call(), None, None)
        try:
            chain = self._chains.genuine(tokens_in(text))
            entry = replace(entry, chain=chain)
            self._chains.check_good(chain, now)
            said = self._said(chain)
        except Denied as denial:
            self._trail.decided(entry, None, denial)
            if status_of(denial) >= _SERVER:
                raise
            return {"active": False}
        self._trail.decided(entry, None, None)
        return said

    def _said(self, chain: VerifiedChain) -> dict[str, object]:
        leaf, links = chain.leaf, chain.links
        try:
            audience = common_audience(link.audience for link in links)
        except AttenuationError:
            raise CapabilityDenied("audience_mismatch", "No enforcement point takes this chain.") from None
        optional = {
            "nbf": chain.not_before or None,
            "aud": audience and (audience[0] if len(audience) == 1 else list(audience)),
            "sid": next((link.session for link in links if link.session is not None), None),
            "task": next((link.task for link in links if link.task is not None), None),
            "delegate_only": list(leaf.delegate_only) or None,
        }
        return {
            "active": True,
            "scope": scope_of(self._instance.config.scopes, dict(_usable(chain))),
            "client_id": origin(chain.root),
            "sub": leaf.agent_name,
            "token_type": TOKEN_TYPE,
            "exp": chain.expires_at,
            "iat": leaf.issued_at,
            "iss": chain.root.issuer,
            "jti": leaf.id,
            "cnf": {"jwk": leaf.holder.jwk},
            "authorization_details": leaf.payload()["authorization_details"],
            "chain": [link.id for link in links],
            **{name: value for name, value in optional.items() if value is not None},
        }

    def give_back(self, text: str, client: Agent | None) -> None:
        """Revoke a token, when it is one and may be revoked by whoever asks; else do nothing.

        Args:
            text: the token.
            client: who asks; None for the administrator.

        Raises:
            ServiceError: 400 `unsupported_token_type`, for a client and a token that was derived.
            Denied: when the ledger does not answer.
        """
        try:
            chain = self._chains.genuine(tokens_in(text))
        except Denied:
            return  # RFC 7009, Section 2.2: what is no token is as good as revoked
        if client is not None:
            if len(chain.links) > 1:
                raise ServiceError(
                    400,
                    "unsupported_token_type",
                    "A token that was derived is revoked by the administrator, or with its root.",
                )
            if not self._issued_to(client, chain):
                return
        credential = Credential.from_token(chain.tokens)
        self._instance.guard.revoke_credential(credential, reason=_reason(client))

    def _issued_to(self, client: Agent, chain: VerifiedChain) -> bool:
        issued_here = chain.root.issuer == self._instance.keys.issuer().uri
        return issued_here and client.name in {chain.root.agent, origin(chain.root)}


def _usable(chain: VerifiedChain) -> Iterator[tuple[str, Capability]]:
    """Yield what the holder may use itself, and not only pass on; no secrets."""
    for name, tool in (chain.leaf.tools or {}).items():
        try:
            grant_of(chain, name)
        except CapabilityDenied:
            continue
        yield name, tool


def _reason(client: Agent | None) -> str:
    return "revoked by the administrator" if client is None else f"given back by {client.name}"
