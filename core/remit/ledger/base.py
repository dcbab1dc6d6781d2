"""What a ledger is.

Invariants that every implementation holds, and that the contract suite in the tests shows:

- a call of `revoke` or `commit` is done wholly or not at all, also when its process is killed;
- changes are numbered in the order in which they can be read: whoever has read up to a number never
  misses one below it;
- a refused commit leaves no trace: no counter moved, no proof remembered;
- all times are by the guard's clock, handed in as `now`; a ledger asks no clock of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remit.ledger.entries import Changes, Charge, LiveToken, Position, Revocation
    from remit.proof import Proof

__all__ = ["PAGE", "Ledger", "RemoteLedger"]

PAGE = 100_000
"""How many changes are read at once."""


class Ledger(Protocol):
    """Shared state of guards: revocations, use counts, rates, budgets, proofs, metadata of tokens.

    Every method is safe to call from many threads, and each call is atomic. A ledger that cannot
    answer raises any exception but a `Denied` of its own; whoever asked takes that for a no.
    """

    def revoke(self, revocations: Sequence[Revocation]) -> list[bool]:
        """Add revocations; for each, whether it says something new (see `Revocation.after`)."""
        ...

    def position(self) -> Position:
        """Return how far the ledger has come. This is asked on every check of a ledger on this machine."""
        ...

    def changes(self, since: int, limit: int = PAGE) -> Changes:
        """Return the oldest `limit` changes whose number is greater than `since`, 0 for all."""
        ...

    def revocations(self, limit: int | None = None) -> list[Revocation]:
        """Return the newest `limit` revocations, or all, newest first."""
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

    def enroll(self, token: LiveToken) -> None:
        """Keep the metadata of a token that was issued."""
        ...

    def token(self, token_id: str) -> LiveToken | None:
        """Return the metadata of a token that was issued, when it is known."""
        ...

    def tokens(self, now: float, *, limit: int = 100, before: LiveToken | None = None) -> list[LiveToken]:
        """Return tokens that have not expired, those that live longest first (then by identifier).

        Args:
            now: the guard's time.
            limit: how many at most.
            before: the last token of the page before; None for the first page.
        """
        ...

    def purge(self, now: float) -> int:
        """Remove what has been expired for longer than the margin; return the number of entries."""
        ...

    def close(self) -> None:
        """Give back connections and threads. A ledger may be used again afterwards, and opens then."""
        ...


@runtime_checkable
class RemoteLedger(Ledger, Protocol):
    """A ledger that is reached over a network. Its guards follow it from a thread of their own."""

    def wait(self, timeout: float) -> None:
        """Wait until something may have been revoked, or for `timeout` seconds; raise when that fails.

        Called from one thread only. It may return early for no reason.
        """
        ...
