"""Revoking: taking back what was granted, before it expires by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from remit.checks import MAX_SKEW
from remit.credential import Credential
from remit.encoding import EncodingError, b64url_decode
from remit.errors import ConfigError, Denied, shown
from remit.keys import public_key
from remit.ledger import NEVER, Revocation
from remit.names import LONGEST_TTL, check_name, check_reason, exact, items, mapping, read_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from remit.enforce import Enforcement

__all__ = ["Revoker"]


_THUMBPRINT: Final = 43
_DIGEST_SIZE: Final = 32


class Revoker:
    """The side of a guard that writes to the ledger what its checks then find there.

    Args:
        enforcement: makes the guard's decisions, and knows its ledger, its clock and its trail.
    """

    def __init__(self, enforcement: Enforcement) -> None:
        self._enforcement = enforcement

    def revoke(self, token_id: str, *, reason: str | None = None) -> bool:
        """Revoke a token, and with it every token derived from it.

        Args:
            token_id: its `jti`.
            reason: why; kept with the revocation.

        Returns:
            True when this is new, False when it was done already.

        Raises:
            ConfigError: when the identifier is blank.
            Denied: with `ledger_unavailable`, when the ledger does not answer.
        """
        return self.revoke_many([token_id], reason=reason) == 1

    def revoke_credential(self, credential: Credential, *, reason: str | None = None) -> bool:
        """Revoke the token of a credential at hand, whose expiry need not be guessed.

        Returns:
            True when this is new, False when it was done already.

        Raises:
            ConfigError: when there is no credential.
            Denied: with `ledger_unavailable`, when the ledger does not answer.
        """
        if not isinstance(credential, Credential):
            raise ConfigError(f"a Credential is needed, not {shown(credential)}")
        now = read_clock(self._enforcement.clock)
        entry = Revocation(
            revoked_at=now,
            expires_at=self._expiry_of(credential, now),
            token_id=credential.token_id,
            reason=check_reason(reason),
        )
        return self._revoke([entry])[0]

    def revoke_many(self, token_ids: Iterable[str], *, reason: str | None = None) -> int:
        """Revoke several tokens at once; return how many of them had not been revoked before."""
        now = read_clock(self._enforcement.clock)
        entries = [
            Revocation(
                revoked_at=now,
                expires_at=self._expiry(token_id, now),
                token_id=token_id,
                reason=check_reason(reason),
            )
            for token_id in [check_name("a token id", token_id) for token_id in items("token ids", token_ids)]
        ]
        return sum(self._revoke(entries))

    def revoke_agent(self, agent: str, *, reason: str | None = None) -> bool:
        """Revoke every token of an agent that was issued up to now, and all that were derived from them.

        Tokens that are issued to the agent later are not concerned. Clocks of issuers may differ by
        up to 30 seconds, so a token issued within that time is still taken for an old one.

        Returns:
            True when this is new, False when it was done already.

        Raises:
            ConfigError: when the name is blank.
            Denied: with `ledger_unavailable`, when the ledger does not answer.
        """
        now = read_clock(self._enforcement.clock)
        entry = Revocation(
            revoked_at=now,
            expires_at=self._latest(now),
            agent=check_name("agent", agent),
            issued_until=now + MAX_SKEW,
            reason=check_reason(reason),
        )
        return self._revoke([entry])[0]

    def revoke_key(self, key: str | Mapping[str, object], *, reason: str | None = None) -> bool:
        """Revoke a key for ever: every token it holds or, as an issuer's, has signed, now or later.

        Args:
            key: its JWK, or the thumbprint (RFC 7638) of one, as in a token's `kid`.
            reason: why; kept with the revocation.

        Returns:
            True when this is new, False when it was done already.

        Raises:
            ConfigError: when it is neither.
            Denied: with `ledger_unavailable`, when the ledger does not answer.
        """
        entry = Revocation(
            revoked_at=read_clock(self._enforcement.clock),
            expires_at=NEVER,
            key=_thumbprint(key),
            reason=check_reason(reason),
        )
        return self._revoke([entry])[0]

    def _revoke(self, entries: list[Revocation]) -> list[bool]:
        enforcement = self._enforcement
        news = enforcement.ask_ledger(enforcement.ledger.revoke, entries)
        enforcement.view.note(entries)
        for entry, is_news in zip(entries, news, strict=True):
            if is_news:
                enforcement.trail.revoked(entry.revoked_at, entry.subject, entry.reason)
        return news

    def _expiry_of(self, credential: Credential, now: float) -> int:
        """Return when a credential expires; what it says counts only when its signatures hold."""
        try:
            return self._enforcement.verifier.verify(credential.chain).expires_at
        except Denied:
            return self._expiry(credential.token_id, now)

    def _expiry(self, token_id: str, now: float) -> int:
        """Return when a token expires: as this guard or the ledger has seen, else the latest it could."""
        known = self._enforcement.verifier.expiry_of(token_id)
        if known is None:
            issued = self._enforcement.ask_ledger(self._enforcement.ledger.token, token_id)
            known = None if issued is None else issued.expires_at
        return self._latest(now) if known is None else known

    def _latest(self, now: float) -> int:
        return int(now) + MAX_SKEW + LONGEST_TTL

    def revocations(self) -> list[Revocation]:
        """Return what is revoked, newest first."""
        return self._enforcement.ask_ledger(self._enforcement.ledger.revocations)

    def purge(self) -> int:
        """Remove from the ledger what has been expired for more than a day; return the number of entries."""
        now = read_clock(self._enforcement.clock)
        return self._enforcement.ask_ledger(self._enforcement.ledger.purge, now)


def _thumbprint(key: object) -> str:
    if isinstance(key, str):
        try:
            if len(key) == _THUMBPRINT and len(b64url_decode(key)) == _DIGEST_SIZE:
                return exact(key)
        except EncodingError:
            pass  # said below
        raise ConfigError(f"a key must be a JWK or its SHA-256 thumbprint, not {shown(key)}")
    try:
        return public_key(mapping("the key", key)).thumbprint
    except EncodingError as error:
        raise ConfigError(f"the key {error}") from None
