"""A ledger in memory, for tests and for one process."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING

from remit.errors import TokenRejected
from remit.ledger.base import PURGE_MARGIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from remit.ledger.base import Charge, Revocation
    from remit.proof import Proof

__all__ = ["MemoryLedger"]


@dataclass(slots=True)
class _Counter:
    expires_at: int
    total: int = 0
    uses: deque[float] = field(default_factory=deque[float])
    """For a rate: when the last uses were, as many as the rate allows, oldest first."""

    def has_room(self, charge: Charge, now: float) -> bool:
        if charge.window is None:
            return self.total + charge.amount <= charge.ceiling
        # Uses are forgotten because newer ones take their place, never because of the time, so that
        # a clock that jumps ahead and back gives no more of them. One in the future still counts.
        return len(self.uses) < charge.ceiling or self.uses[0] <= now - charge.window

    def add(self, charge: Charge, now: float) -> None:
        if charge.window is None:
            self.total += charge.amount
            return
        self.uses.append(max(now, self.uses[-1]) if self.uses else now)
        while len(self.uses) > charge.ceiling:
            self.uses.popleft()


class MemoryLedger:
    """Holds everything in this process, safe for threads, and forgets it with the process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._revoked: dict[str, Revocation] = {}
        self._counters: dict[str, _Counter] = {}
        self._proofs: dict[str, int] = {}
        self._proofs_by_expiry: deque[tuple[int, str]] = deque()
        self._forgotten_until = 0

    def revoke(self, revocations: Sequence[Revocation]) -> list[bool]:
        """Add revocations; for each, whether it says something new."""
        with self._lock:
            return [self._add(revocation) for revocation in revocations]

    def _add(self, revocation: Revocation) -> bool:
        known = self._revoked.get(revocation.subject)
        if known is None:
            self._revoked[revocation.subject] = revocation
            return True
        # An agent's new tokens are news; what the entry covered already is not, but it may reach further.
        is_news = known.issued_until is not None and revocation.revoked_at > known.issued_until
        if is_news:
            del self._revoked[revocation.subject]  # so that it becomes the newest
        self._revoked[revocation.subject] = replace(
            revocation if is_news else known,
            issued_until=None
            if known.issued_until is None
            else max(known.issued_until, revocation.issued_until or 0),
            expires_at=max(known.expires_at, revocation.expires_at),
        )
        return is_news

    def revoked(self, subjects: Iterable[str]) -> Sequence[Revocation]:
        """Return the revocations that name one of `subjects`."""
        with self._lock:
            if self._revoked.keys().isdisjoint(subjects):
                return ()
            found = [self._revoked.get(subject) for subject in subjects]
        return [revocation for revocation in found if revocation is not None]

    def as_of(self, now: float) -> float:
        """Return `now`: nothing lies between this ledger and its guards."""
        return now

    def revocations(self) -> list[Revocation]:
        """Return all revocations, newest first."""
        with self._lock:
            return list(reversed(self._revoked.values()))

    def commit(self, charges: Sequence[Charge], proof: Proof | None, now: float) -> None:
        """Charge every counter and remember the proof, or do nothing at all."""
        with self._lock:
            if proof is not None:
                self._forget_proofs(now)
                # A proof that would be forgotten by now cannot be told from one that was.
                if proof.key in self._proofs or proof.expires_at <= self._forgotten_until:
                    raise TokenRejected("proof_replayed", "The proof of possession was used before.")
            self._check_room(charges, now)
            for charge in charges:
                counter = self._counters.setdefault(charge.counter, _Counter(charge.expires_at))
                counter.add(charge, now)
            if proof is not None:
                self._proofs[proof.key] = proof.expires_at
                self._proofs_by_expiry.append((proof.expires_at, proof.key))

    def probe(self, charges: Sequence[Charge], now: float) -> None:
        """Raise what `commit` would raise for these charges, and charge nothing."""
        with self._lock:
            self._check_room(charges, now)

    def _check_room(self, charges: Sequence[Charge], now: float) -> None:
        for charge in charges:
            counter = self._counters.get(charge.counter)
            if not (counter or _Counter(charge.expires_at)).has_room(charge, now):
                raise charge.exceeded()

    def _forget_proofs(self, now: float) -> int:
        count = 0
        while self._proofs_by_expiry and self._proofs_by_expiry[0][0] <= now:
            expires_at, key = self._proofs_by_expiry.popleft()
            del self._proofs[key]
            self._forgotten_until = max(self._forgotten_until, expires_at)
            count += 1
        return count

    def purge(self, now: float) -> int:
        """Remove what has been expired for longer than the margin; return the number of entries."""
        limit = now - PURGE_MARGIN
        with self._lock:
            revoked = [subject for subject, entry in self._revoked.items() if entry.expires_at <= limit]
            for subject in revoked:
                del self._revoked[subject]
            spent = [name for name, counter in self._counters.items() if counter.expires_at <= limit]
            for name in spent:
                del self._counters[name]
            return len(revoked) + len(spent) + self._forget_proofs(now)
