"""What a ledger is, and what goes in and out of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from remit.errors import LimitExceeded, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from remit.proof import Proof

__all__ = ["PURGE_MARGIN", "Charge", "Ledger", "Revocation"]

PURGE_MARGIN = 86_400
"""Seconds an entry outlives its token, so that a clock that steps back revives nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One thing that was revoked: a token, or an agent. With it goes everything derived from it."""

    revoked_at: float
    """Seconds since the epoch, by the guard's clock."""
    expires_at: int
    """When the last token it concerns has expired, as far as is known."""
    token_id: str | None = None
    """The `jti` of the token that was revoked."""
    agent: str | None = None
    """The agent whose tokens were revoked."""
    issued_until: float | None = None
    """For an agent: tokens issued up to then are revoked; later ones are not."""
    reason: str | None = None
    """Why, as the operator said."""

    @property
    def subject(self) -> str:
        """What a chain is compared with."""
        return f"token:{self.token_id}" if self.token_id is not None else f"agent:{self.agent}"

    def concerns(self, token_id: str, agent: str, issued_at: int) -> bool:
        """Tell whether a token with these claims is revoked by this."""
        if self.token_id is not None:
            return self.token_id == token_id
        return self.agent == agent and (self.issued_until is None or issued_at <= self.issued_until)

    def to_dict(self) -> dict[str, object]:
        """Return the revocation as a JSON object, what is not set left out."""
        names = ("token_id", "agent", "reason", "revoked_at", "issued_until", "expires_at")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Charge:
    """One counter to be charged by one call.

    Counters are keyed by the digest of the token that states the limit, which nobody can choose.
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


class Ledger(Protocol):
    """Shared state of guards: revocations, use counts, rates, budgets, proofs that were seen.

    All times are by the guard's clock, in seconds. Every method is safe to call from many threads,
    and each call is atomic. A ledger that cannot answer raises `Denied` with `ledger_unavailable`.
    """

    def revoke(self, revocations: Sequence[Revocation]) -> list[bool]:
        """Add revocations; for each, whether it says something new."""
        ...

    def revoked(self, subjects: Iterable[str]) -> Sequence[Revocation]:
        """Return the revocations that name one of `subjects`."""
        ...

    def as_of(self, now: float) -> float:
        """Return the time for which `revoked` is known to be complete; `now` for one that never lags."""
        ...

    def revocations(self) -> list[Revocation]:
        """Return all revocations, newest first."""
        ...

    def commit(self, charges: Sequence[Charge], proof: Proof | None, now: float) -> None:
        """Charge every counter and remember the proof, or do nothing at all.

        Raises:
            LimitExceeded: when a counter has no room.
            TokenRejected: with `proof_replayed`, when the proof was seen before.
        """
        ...

    def probe(self, charges: Sequence[Charge], now: float) -> None:
        """Raise what `commit` would raise for these charges, and charge nothing."""
        ...

    def purge(self, now: float) -> int:
        """Remove what has been expired for longer than the margin; return the number of entries."""
        ...
