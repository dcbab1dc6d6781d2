"""A ledger in memory, for tests and for one process."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING

from remit.errors import TokenRejected
from remit.forks import renew_in_child
from remit.ledger.base import PAGE
from remit.ledger.entries import PURGE_MARGIN, Change, Changes, Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remit.ledger.entries import Charge, LiveToken, Revocation
    from remit.proof import Proof

__all__ = ["MemoryLedger"]


@dataclass(slots=True)
class _Counter:
    expires_at: int
    total: int = 0
    uses: deque[float] = field(default_factory=deque[float])
    """For a rate: when the last uses were, as many as the rate allows, oldest first."""

    def has_room(self, charge: Charge, now: float, pending: int) -> bool:
        """Tell whether there is room, `pending` being what the same call has charged to it before."""
        if charge.window is None:
            return self.total + pending + charge.amount <= charge.ceiling
        # Uses are forgotten because newer ones take their place, never because of the time, so that
        # a clock that jumps ahead and back gives no more of them. One in the future still counts.
        oldest = len(self.uses) + pending - charge.ceiling
        return oldest < 0 or (oldest < len(self.uses) and self.uses[oldest] <= now - charge.window)

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
        renew_in_child(self)
        self._store = os.urandom(8).hex()
        self._revoked: dict[str, tuple[int, Revocation]] = {}
        """Subject to the number of its last change and its entry, in the order of those numbers."""
        self._count = 0
        self._counters: dict[str, _Counter] = {}
        self._proofs: set[str] = set()
        self._proofs_by_expiry: list[tuple[int, str]] = []
        """A heap: what expires first comes first."""
        self._forgotten_until = 0
        self._tokens: dict[str, LiveToken] = {}

    def renew(self) -> None:
        """Have a lock of its own in a process that was forked."""
        self._lock = Lock()

    def revoke(self, revocations: Sequence[Revocation]) -> list[bool]:
        """Add revocations; for each, whether it says something new."""
        named = [(revocation.subject, revocation) for revocation in revocations]
        with self._lock:
            return [self._add(subject, revocation) for subject, revocation in named]

    def _add(self, subject: str, revocation: Revocation) -> bool:
        _, known = self._revoked.get(subject, (0, None))
        kept, is_news = revocation.after(known)
        if kept != known:
            self._revoked.pop(subject, None)  # so that it becomes the newest
            self._count += 1
            self._revoked[subject] = (self._count, kept)
        return is_news

    def position(self) -> Position:
        """Return how far the ledger has come."""
        return Position(self._store, self._count)

    def changes(self, since: int, limit: int = PAGE) -> Changes:
        """Return the oldest `limit` changes whose number is greater than `since`, 0 for all."""
        with self._lock:
            count = self._count
            # From the newest back, as far as they are new: what there is to tell, not what there is.
            news: list[tuple[int, Revocation]] = []
            for number, entry in reversed(self._revoked.values()):
                if number <= since:
                    break
                news.append((number, entry))
        page = news[: -limit - 1 : -1]
        entries = [Change(entry.subject, entry.expires_at, entry.issued_until) for _, entry in page]
        return Changes(Position(self._store, page[-1][0] if len(news) > limit else count), entries)

    def revocations(self, limit: int | None = None) -> list[Revocation]:
        """Return the newest `limit` revocations, or all, newest first."""
        with self._lock:
            return [entry for _, entry in islice(reversed(self._revoked.values()), limit)]

    def commit(self, charges: Sequence[Charge], proof: Proof | None, now: float) -> None:
        """Charge every counter and remember the proof, or do nothing at all."""
        with self._lock:
            # A proof that would be forgotten by now cannot be told from one that was.
            if proof is not None and (proof.key in self._proofs or proof.expires_at <= self._forgotten_until):
                raise TokenRejected("proof_replayed", "The proof of possession was used before.")
            self._check_room(charges, now)
            for charge in charges:
                counter = self._counters.setdefault(charge.counter, _Counter(charge.expires_at))
                counter.add(charge, now)
            if proof is not None:
                self._forget_proofs(now)
                self._proofs.add(proof.key)
                heappush(self._proofs_by_expiry, (proof.expires_at, proof.key))

    def probe(self, charges: Sequence[Charge], now: float) -> None:
        """Raise what `commit` would raise for these charges, and charge nothing."""
        with self._lock:
            self._check_room(charges, now)

    def _check_room(self, charges: Sequence[Charge], now: float) -> None:
        pending: dict[str, int] = {}
        for charge in charges:
            counter, before = self._counters.get(charge.counter), pending.get(charge.counter, 0)
            if not (counter or _Counter(charge.expires_at)).has_room(charge, now, before):
                raise charge.exceeded()
            pending[charge.counter] = before + (charge.amount if charge.window is None else 1)

    def _forget_proofs(self, now: float) -> int:
        count = 0
        while self._proofs_by_expiry and self._proofs_by_expiry[0][0] <= now:
            expires_at, key = heappop(self._proofs_by_expiry)
            self._proofs.discard(key)
            self._forgotten_until = max(self._forgotten_until, expires_at)
            count += 1
        return count

    def enroll(self, token: LiveToken) -> None:
        """Keep the metadata of a token that was issued."""
        with self._lock:
            self._tokens[token.token_id] = token

    def token(self, token_id: str) -> LiveToken | None:
        """Return the metadata of a token that was issued, when it is known."""
        return self._tokens.get(token_id)

    def tokens(self, now: float, *, limit: int = 100, before: LiveToken | None = None) -> list[LiveToken]:
        """Return tokens that have not expired, those that live longest first (then by identifier)."""
        with self._lock:
            live = [token for token in self._tokens.values() if token.expires_at > now]
        live.sort(key=_lifetime, reverse=True)
        if before is not None:
            live = [token for token in live if _lifetime(token) < _lifetime(before)]
        return live[:limit]

    def purge(self, now: float) -> int:
        """Remove what has been expired for longer than the margin; return the number of entries."""
        limit = now - PURGE_MARGIN
        with self._lock:
            revoked = [name for name, (_, entry) in self._revoked.items() if entry.expires_at <= limit]
            for name in revoked:
                del self._revoked[name]
            spent = [name for name, counter in self._counters.items() if counter.expires_at <= limit]
            for name in spent:
                del self._counters[name]
            expired = [name for name, token in self._tokens.items() if token.expires_at <= limit]
            for name in expired:
                del self._tokens[name]
            return len(revoked) + len(spent) + len(expired) + self._forget_proofs(now)

    def close(self) -> None:
        """Do nothing: there is nothing to give back, and what it holds stays."""


def _lifetime(token: LiveToken) -> tuple[int, str]:
    return token.expires_at, token.token_id
