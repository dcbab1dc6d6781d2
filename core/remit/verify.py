"""Chains, verified: signatures and linkage from root to leaf (AAT draft, Section 8, steps 1 to 5).

Invariants:

- a `VerifiedChain` exists only for the exact tokens it was verified from; it is cached by them;
- it holds what never changes with time. Expiry, revocation, bearer, arguments and limits are
  looked at on every call, however often the chain was seen before;
- a chain whose beginning is known is verified from there: a new leaf costs one signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from remit.encoding import EncodingError
from remit.errors import TokenRejected, shown
from remit.forks import renew_in_child
from remit.token import MAX_DEPTH, TOKEN, Claims, Envelope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remit.anchor import TrustAnchor
    from remit.trust import AnchorSource

__all__ = ["MAX_CHAIN_SIZE", "ChainVerifier", "VerifiedChain", "check_size"]

MAX_CHAIN_SIZE: Final = 262_144
"""Bytes of a whole chain (draft Section 4.3.1, MAX_CHAIN_SIZE)."""

_CACHED_BYTES: Final = 4 * 1024 * 1024
_EXPIRIES: Final = 65_536


@dataclass(slots=True, repr=False)
class VerifiedChain:
    """A chain of tokens whose signatures and links hold. Made by `ChainVerifier` alone."""

    tokens: tuple[str, ...]
    links: tuple[Claims, ...]
    digests: tuple[str, ...]
    expires_at: int
    """When the first link expires."""
    not_before: int
    """When the last link's window opens."""
    issued_at: int
    """When the last link was signed."""
    signer: str
    """The thumbprint of the key that signed the root."""
    subjects: frozenset[str]
    """What a revocation of this chain, or a part of it, may name."""
    restricted: bool
    """Whether some link names a session, a task or an audience."""
    grants: dict[str, Any]
    """Filled by the guard: what the chain says about a capability, worked out once."""

    @property
    def leaf(self) -> Claims:
        """The last token's claims."""
        return self.links[-1]

    @property
    def root(self) -> Claims:
        """The first token's claims."""
        return self.links[0]


class ChainVerifier:
    """Verifies chains against trust anchors, remembering those that hold.

    Args:
        trust: the root issuers that are trusted.
        max_ttl: seconds that may lie between a root's `iat` and `exp` (MAX_TOKEN_LIFETIME).
    """

    def __init__(self, trust: AnchorSource, max_ttl: int) -> None:
        self._trust = trust
        self.max_ttl = max_ttl
        self._seen = _Seen(trust.anchors())
        self._expiries: dict[str, int] = {}
        self._lock = Lock()
        renew_in_child(self)

    def renew(self) -> None:
        """Have a lock of its own in a process that was forked."""
        self._lock = Lock()

    @property
    def waits(self) -> bool:
        """Whether verifying may wait for a network, to look for a key."""
        return self._trust.waits

    def verify(self, tokens: tuple[str, ...]) -> VerifiedChain:
        """Return the chain that `tokens` are, root first.

        Raises:
            TokenRejected: when they are not a sound chain under one of the anchors.
        """
        anchors, seen = self._trust.anchors(), self._seen
        if anchors is not seen.anchors:  # a chain's signer may be trusted no more
            seen = self._seen = _Seen(anchors)
        if sum(map(len, tokens)) <= MAX_CHAIN_SIZE:  # looking up hashes all of it
            known = seen.chains.get(tokens)
            if known is not None:
                return known
        check_size(tokens)
        chain: VerifiedChain | None = None
        for length in range(len(tokens) - 1, 0, -1):
            chain = seen.chains.get(tokens[:length])
            if chain is not None:
                break
        for position in range(len(chain.links) if chain else 0, len(tokens)):
            try:
                chain = self._extended(chain, tokens[position], anchors)
            except EncodingError as error:
                raise TokenRejected(
                    "token_malformed", f"Token {position} of the chain {error}.", link=position
                ) from None
            self._remember(chain, seen)
        if chain is None:
            raise TokenRejected("token_malformed", "The chain is empty.")
        return chain

    def expiry_of(self, token_id: str) -> int | None:
        """Return when a root token that was verified lately expires, or None."""
        return self._expiries.get(token_id)

    def _extended(
        self, parent: VerifiedChain | None, token: str, anchors: tuple[TrustAnchor, ...]
    ) -> VerifiedChain:
        envelope = Envelope.read(token, TOKEN)
        if parent is None:
            claims, signer = self._root(envelope, anchors)
        else:
            claims, signer = _child(envelope, parent), parent.signer
        subjects = {
            f"key:{signer}",
            f"key:{claims.holder.thumbprint}",
            f"token:{claims.id}",
            f"agent:{claims.agent_name}",
            *claims.exchanged,
        }
        start = claims.not_before or 0
        restricted = claims.session is not None or claims.task is not None or claims.audience is not None
        if parent is None:
            return VerifiedChain(
                tokens=(token,),
                links=(claims,),
                digests=(envelope.digest,),
                expires_at=claims.expires_at,
                not_before=start,
                issued_at=claims.issued_at,
                signer=signer,
                subjects=frozenset(subjects),
                restricted=restricted,
                grants={},
            )
        return VerifiedChain(
            tokens=(*parent.tokens, token),
            links=(*parent.links, claims),
            digests=(*parent.digests, envelope.digest),
            expires_at=min(parent.expires_at, claims.expires_at),
            not_before=max(parent.not_before, start),
            issued_at=max(parent.issued_at, claims.issued_at),
            signer=signer,
            subjects=parent.subjects | subjects,
            restricted=parent.restricted or restricted,
            grants={},
        )

    def _root(self, envelope: Envelope, anchors: tuple[TrustAnchor, ...]) -> tuple[Claims, str]:
        """Steps 3a to 3n. Returns the claims, and the thumbprint of the key that signed them."""
        anchor, payload = self._opened(envelope, anchors)
        claims = Claims.parse(payload, envelope.header.features)
        if claims.issuer != anchor.issuer:
            raise TokenRejected(
                "token_issuer_untrusted",
                "The token names another issuer than the one that signed it.",
                link=0,
            )
        if claims.depth != 0 or claims.parent_hash is not None:
            raise TokenRejected("token_chain_invalid", "The first token of the chain is not a root.", link=0)
        if claims.tools is None:
            raise EncodingError("grants nothing")
        self._check_lifetime(claims)
        return claims, anchor.key.thumbprint

    def _opened(self, envelope: Envelope, anchors: tuple[TrustAnchor, ...]) -> tuple[TrustAnchor, Any]:
        kid = envelope.header.kid
        opened = _signed(envelope, anchors)
        if opened is None and kid and all(anchor.key.thumbprint != kid for anchor in anchors):
            known = anchors
            self._trust.refresh(kid)
            anchors = self._trust.anchors()
            if anchors is not known:
                opened = _signed(envelope, anchors)
        if opened is not None:
            return opened
        if any(envelope.mentions_issuer(anchor.issuer) for anchor in anchors):
            raise TokenRejected("token_signature_invalid", "The token's signature does not verify.", link=0)
        raise TokenRejected(
            "token_issuer_untrusted", "The token was not signed by an issuer this guard trusts.", link=0
        )

    def _check_lifetime(self, claims: Claims) -> None:
        if claims.expires_at <= claims.issued_at:
            raise TokenRejected("token_malformed", "The token expires before it was issued.", link=0)
        if claims.expires_at - claims.issued_at > self.max_ttl:
            raise TokenRejected(
                "token_malformed",
                f"The token lives longer than the {self.max_ttl} seconds this guard accepts.",
                link=0,
            )
        if claims.max_depth > MAX_DEPTH:
            raise TokenRejected("token_chain_invalid", "The token may be passed on too often.", link=0)

    def _remember(self, chain: VerifiedChain, seen: _Seen) -> None:
        with self._lock:
            if chain.tokens in seen.chains:
                return
            seen.add(chain)
            # Roots only: a holder could give a short-lived child the identifier of somebody's token, and
            # have that token's revocation forgotten too early.
            root = chain.root
            self._expiries[root.id] = max(root.expires_at, self._expiries.pop(root.id, 0))
            while len(self._expiries) > _EXPIRIES:
                del self._expiries[next(iter(self._expiries))]


class _Seen:
    """The chains that were verified under some anchors, and are worth nothing under others."""

    __slots__ = ("_bytes", "anchors", "chains")

    def __init__(self, anchors: tuple[TrustAnchor, ...]) -> None:
        self.anchors = anchors
        self.chains: dict[tuple[str, ...], VerifiedChain] = {}
        self._bytes = 0

    def add(self, chain: VerifiedChain) -> None:
        """Remember a chain, and forget the oldest where there are too many."""
        self.chains[chain.tokens] = chain
        self._bytes += sum(map(len, chain.tokens))
        while self._bytes > _CACHED_BYTES:
            oldest = next(iter(self.chains))
            self._bytes -= sum(map(len, oldest))
            del self.chains[oldest]


def check_size(tokens: tuple[str, ...]) -> None:
    """Steps 1 and 2, before anything is decoded."""
    if not tokens:
        raise TokenRejected("token_malformed", "The chain is empty.")
    if len(tokens) > MAX_DEPTH + 1:
        raise TokenRejected("token_chain_invalid", f"The chain is longer than {MAX_DEPTH + 1} tokens.")
    if not all(type(token) is str for token in tokens):
        raise TokenRejected("token_malformed", "The chain holds something that is not text.")
    if sum(map(len, tokens)) > MAX_CHAIN_SIZE:
        raise TokenRejected("token_malformed", f"The chain is larger than {MAX_CHAIN_SIZE} bytes.")
    if len(set(tokens)) != len(tokens):
        raise TokenRejected("token_chain_invalid", "The chain holds the same token twice.")


def _signed(envelope: Envelope, anchors: tuple[TrustAnchor, ...]) -> tuple[TrustAnchor, Any] | None:
    """Return who of the anchors signed a token, and its payload; None when none did.

    An issuer may name its keys as it likes: where a `kid` is no thumbprint, every key is tried.
    """
    kid = envelope.header.kid
    named = [anchor for anchor in anchors if anchor.key.thumbprint == kid]
    for key in dict.fromkeys(anchor.key for anchor in named or anchors):
        payload = envelope.opened_with(key)
        if payload is not None:
            signers = [anchor for anchor in anchors if anchor.key == key]
            # One key may be trusted under several names; the token's own is the one that counts.
            return next((a for a in signers if a.issuer == payload.get("iss")), signers[0]), payload
    return None


def _child(envelope: Envelope, chain: VerifiedChain) -> Claims:
    """Steps 4a to 4q."""
    link = len(chain.links)
    parent = chain.leaf
    payload = envelope.opened_with(parent.holder)
    if payload is None:
        raise TokenRejected(
            "token_signature_invalid",
            "A token of the chain was not signed by the holder of its parent.",
            link=link,
        )
    claims = Claims.parse(payload, envelope.header.features)
    if claims.exchanged:
        raise EncodingError("says what it was exchanged for, which is for an issuer to say")
    broken = next(_broken_links(claims, chain), None)
    if broken is not None:
        raise TokenRejected("token_chain_invalid", f"Token {link} of the chain {broken}.", link=link)
    for name, capability in (claims.tools or {}).items():
        allowed = (parent.tools or {}).get(name)
        if allowed is None:
            raise TokenRejected(
                "token_chain_invalid",
                f"Token {link} grants {shown(name)}, which its parent does not.",
                link=link,
            )
        widening = allowed.widening(capability)
        if widening is not None:
            raise TokenRejected(
                "token_chain_invalid",
                f"Token {link}, capability {shown(name)}: {widening.problem}.",
                capability=name,
                argument=widening.argument,
                link=link,
            )
    return claims


def _broken_links(child: Claims, chain: VerifiedChain) -> Iterator[str]:
    parent = chain.leaf
    if child.issuer != parent.holder.uri:
        yield "does not name its parent's holder as its issuer"
    if any(child.id == link.id for link in chain.links):
        yield "has the identifier of another one"
    if child.depth != parent.depth + 1:
        yield "does not stand one level below its parent"
    if child.depth > parent.max_depth or child.depth > child.max_depth:
        yield "is deeper than its parent may pass on"
    if child.max_depth > parent.max_depth:
        yield "may be passed on more often than its parent"
    if child.expires_at > parent.expires_at:
        yield "outlives its parent"
    if child.issued_at < parent.issued_at:
        yield "was issued before its parent"
    if child.expires_at <= child.issued_at:
        yield "expires before it was issued"
    if child.parent_hash != chain.digests[-1]:
        yield "was not derived from its parent"
