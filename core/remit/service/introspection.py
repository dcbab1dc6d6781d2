"""What a token is good for (RFC 7662), and giving one back (RFC 7009).

Invariants:

- a token is active only where all of its chain is, as the ledger says now; where it says nothing, nobody
  says that the token is active;
- what is told of it is what its holder may do with it, and no more;
- a client gives back its own root tokens and no others. What holders derive, they name themselves, and
  might give it the identifier of somebody else's token;
- nobody is told that a token was given back which was none only for an instance that lags behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from remit.capability import SECRET_PREFIX, Capability
from remit.checks import grant_of
from remit.credential import Credential
from remit.encoding import EncodingError
from remit.errors import AttenuationError, CapabilityDenied, Denied
from remit.exchange import common_audience, origin, secrets_within
from remit.names import read_clock
from remit.service.chains import asked_of_ledger, tokens_in
from remit.service.details import DETAILS_TYPE, scope_of
from remit.service.errors import ServiceError, status_of
from remit.token import TOKEN, Envelope
from remit.trail import Entry, Trail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remit.config import Agent
    from remit.encoding import JsonObject
    from remit.service.chains import Chains
    from remit.service.instance import Instance
    from remit.verify import VerifiedChain

__all__ = ["TOKEN_TYPE", "Introspection"]

TOKEN_TYPE: Final = "aat"  # noqa: S105 - the name of a type
_SERVER: Final = 500
_NOT_OURS: Final = frozenset({"token_signature_invalid", "token_issuer_untrusted"})
"""What is said of a token that no key verifies which is known here."""


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
        usable = dict(_usable(chain))
        optional = {
            "nbf": chain.not_before or None,
            "aud": audience and (audience[0] if len(audience) == 1 else list(audience)),
            "sid": next((link.session for link in links if link.session is not None), None),
            "task": next((link.task for link in links if link.task is not None), None),
            "delegate_only": _held_back(chain, usable) or None,
            "limits": _limits(chain, usable) or None,
        }
        return {
            "active": True,
            "scope": scope_of(self._instance.config.scopes, usable),
            "client_id": origin(chain.root),
            "sub": leaf.agent_name,
            "token_type": TOKEN_TYPE,
            "exp": chain.expires_at,
            "iat": leaf.issued_at,
            "iss": chain.root.issuer,
            "jti": leaf.id,
            "cnf": {"jwk": leaf.holder.jwk},
            "authorization_details": [{"type": DETAILS_TYPE, "tools": _tools(chain, usable)}],
            "chain": [link.id for link in links],
            **{name: value for name, value in optional.items() if value is not None},
        }

    def give_back(self, text: str, client: Agent | None) -> None:
        """Revoke a token, when it is one and may be revoked by whoever asks; else do nothing.

        Args:
            text: the token.
            client: who asks; None for the administrator.

        Raises:
            ServiceError: 400 `unsupported_token_type`, for a client and a token that was derived; 400 for
                one that has the identifier of another; 503, when it may be one whose key is not known here
                yet.
            Denied: when the ledger does not answer.
        """
        try:
            chain = self._chains.genuine(tokens_in(text))
        except Denied as denial:
            if denial.code in _NOT_OURS:
                self._check_key(text)
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
        self._check_identifier(chain)
        credential = Credential.from_token(chain.tokens)
        self._instance.guard.revoke_credential(credential, reason=_reason(client))

    def _check_key(self, text: str) -> None:
        """Refuse to say anything of a token that names this issuer, and a key that is not known here.

        The key may be the next one, which another instance signs with already.
        """
        try:
            envelope = Envelope.read(tokens_in(text)[0], TOKEN)
            issuer = envelope.unverified_payload().get("iss")
        except EncodingError:
            return
        kid = envelope.header.kid  # this issuer always names its key
        known = {anchor.key.thumbprint for anchor in self._instance.keys.anchors()}
        if kid is not None and kid not in known and issuer == self._instance.keys.issuer().uri:
            reason = "The key that the token names is not known here; try again."
            raise ServiceError(
                HTTPStatus.SERVICE_UNAVAILABLE, "key_unknown", reason, headers={"Retry-After": "1"}
            )

    def _check_identifier(self, chain: VerifiedChain) -> None:
        """Refuse a token that has the identifier of one that was issued here, which it is not.

        Whoever derives a token chooses its identifier, and so could have another's revoked in its place.
        """
        noted = asked_of_ledger(self._instance.ledger.token, chain.leaf.id)
        if noted is None or (len(chain.links) == 1 and noted.issuer == chain.root.issuer):
            return
        raise ServiceError(
            400, "invalid_request", "The token has the identifier of another one; revoke one that it is from."
        )

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


def _held_back(chain: VerifiedChain, usable: Mapping[str, Capability]) -> list[str]:
    """Return what the holder may only pass on."""
    return [
        name for name in chain.leaf.tools or {} if not name.startswith(SECRET_PREFIX) and name not in usable
    ]


def _tools(chain: VerifiedChain, usable: Mapping[str, Capability]) -> dict[str, JsonObject]:
    """Return what the holder may use, and the secrets that it may have resolved with that, as in a token."""
    secrets = [Capability.secret(name, tools) for name, tools in secrets_within(chain, usable).items()]
    return {tool.name: tool.to_json() for tool in (*usable.values(), *secrets)}


def _limits(chain: VerifiedChain, usable: Mapping[str, Capability]) -> dict[str, list[JsonObject]]:
    """Return the limits of each capability: of every link that states some, root first, with its `jti`."""
    stated = {name: [link for link in chain.links if name in link.limits] for name in usable}
    return {
        name: [{"jti": link.id, **link.limits[name].to_json()} for link in links]
        for name, links in stated.items()
        if links
    }


def _reason(client: Agent | None) -> str:
    return "revoked by the administrator" if client is None else f"given back by {client.name}"
