"""What goes in and out of a ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from remit.errors import LimitExceeded, shown
from remit.metadata import LiveToken

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NEVER", "PURGE_MARGIN", "Change", "Changes", "Charge", "LiveToken", "Position", "Revocation"]

PURGE_MARGIN: Final = 86_400
"""Seconds an entry outlives its token, so that a clock that steps back revives nothing."""
NEVER: Final = 253_402_300_799
"""The expiry of what is kept for ever: the last second that a datetime can show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One thing that was revoked: a token, an agent, or a key. With it goes everything derived from it."""

    revoked_at: float
    """Seconds since the epoch, by the guard's clock."""
    expires_at: int
    """When the last token it concerns has expired, as far as is known."""
    token_id: str | None = None
    """The `jti` of the token that was revoked."""
    agent: str | None = None
    """The agent whose tokens were revoked."""
    key: str | None = None
    """The thumbprint (RFC 7638) of the holder's or issuer's key that was revoked."""
    issued_until: float | None = None
    """For an agent: tokens issued up to then are revoked; later ones are not."""
    reason: str | None = None
    """Why, as the operator said."""

    @property
    def subject(self) -> str:
        """What a chain is compared with."""
        if self.token_id is not None:
            return f"token:{self.token_id}"
        return f"agent:{self.agent}" if self.agent is not None else f"key:{self.key}"

    @classmethod
    def of(
        cls,
        subject: str,
        revoked_at: float,
        expires_at: int,
        issued_until: float | None,
        reason: str | None,
    ) -> Revocation:
        """Return the revocation that a ledger keeps as these values."""
        kind, _, name = subject.partition(":")
        return cls(
            revoked_at=revoked_at,
            expires_at=expires_at,
            token_id=name if kind == "token" else None,
            agent=name if kind == "agent" else None,
            key=name if kind == "key" else None,
            issued_until=issued_until,
            reason=reason,
        )

    def after(self, known: Revocation | None) -> tuple[Revocation, bool]:
        """Return what a ledger keeps when this comes after what it `known`, and whether it is news.

        What was revoked already is no news. An agent's tokens issued since then are: its entry then
        is this one. An entry never covers less, nor for a shorter time, than it did before.
        """
        if known is None:
            return self, True
        is_news = known.issued_until is not None and self.revoked_at > known.issued_until
        newest = self if is_news else known
        until = None
        if known.issued_until is not None:
            until = max(known.issued_until, -math.inf if self.issued_until is None else self.issued_until)
        expires_at = max(known.expires_at, self.expires_at)
        return Revocation.of(newest.subject, newest.revoked_at, expires_at, until, newest.reason), is_news

    def to_dict(self) -> dict[str, object]:
        """Return the revocation as a JSON object, what is not set left out."""
        names = ("token_id", "agent", "key", "reason", "revoked_at", "issued_until", "expires_at")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class Position(NamedTuple):
    """How far a ledger has come; it differs whenever something was revoked."""

    store: str
    """Names the store itself; another name means that it was lost or replaced."""
    number: int
    """The number of the newest change."""


class Change(NamedTuple):
    """What a guard must know of one revocation."""

    subject: str
    expires_at: int
    issued_until: float | None


class Changes(NamedTuple):
    """Revocations in the order in which they were made, from some position on."""

    position: Position
    """The position of the last of them; that of the ledger when there are no more."""
    entries: Sequence[Change | tuple[str, int, float | None]]


@dataclass(frozen=True, slots=True)
class Charge:
    """One counter to be charged by one call.

    Counters are keyed by the digest of the token that states the limit, which nobody can choose. A
    counter always has the same ceiling and the same window: they are part of that token.
    """

    counter: str
    """Names the counter: the token's digest, the capability, and which limit of it."""
    amount: int
    """What is added: 1 for a use, millionths for a budget."""
    ceiling: int
    """The most the counter may hold."""
    window: int | None
    """For a rate, the seconds after which a use counts no more; None for a counter that only grows."""
    expires_at: int
    """When the token that states the limit expires, and the counter is of no more use."""
    link: int
    """The position in the chain of the token that states the limit."""
    capability: str
    limit: str
    """Which limit it is, as a phrase for the reason of a denial."""

    def exceeded(self) -> LimitExceeded:
        """Return the refusal of a call for which this counter has no room."""
        return LimitExceeded(
            "limit_exceeded",
            f"You have used up {self.limit} of {shown(self.capability)}.",
            capability=self.capability,
            link=self.link,
        )
