"""What a SQLite ledger does within a transaction, as statements on its tables.

Each function is one step of `SqliteLedger`, which begins the transaction, and takes all of it back when
the step raises.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from remit.errors import TokenRejected
from remit.ledger.entries import PURGE_MARGIN, LiveToken, Revocation

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from remit.ledger.entries import Charge
    from remit.proof import Proof

_FORGET: Final = 4
"""Proofs that have expired are forgotten so many at a time, more than are added."""
_BATCH: Final = 2_000
"""Entries of a kind that are purged in one transaction, so that nobody waits for long."""
ADD: Final = (
    "INSERT INTO counter (name, total, expires_at) VALUES (?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET total = total + excluded.total WHERE total + excluded.total <= ?"
)
PURGE: Final = (
    "DELETE FROM revocation WHERE number IN (SELECT number FROM revocation WHERE expires_at <= ? LIMIT ?)",
    "DELETE FROM token WHERE token_id IN (SELECT token_id FROM token WHERE expires_at <= ? LIMIT ?)",
)
LIVE: Final = "SELECT * FROM token WHERE expires_at > ?"
ORDER: Final = "ORDER BY expires_at DESC, token_id DESC LIMIT ?"


def revoke(connection: sqlite3.Connection, revocations: Sequence[Revocation]) -> list[bool]:
    """Add revocations, numbered from the last change on; for each, whether it says something new."""
    [(before,)] = connection.execute("SELECT changes FROM ledger")
    number, news = before, list[bool]()
    for revocation in revocations:
        subject = revocation.subject
        known = connection.execute(
            "SELECT revoked_at, expires_at, issued_until, reason FROM revocation WHERE subject = ?",
            (subject,),
        ).fetchone()
        entry = None if known is None else Revocation.of(subject, *known)
        kept, is_news = revocation.after(entry)
        if kept != entry:
            number += 1
            connection.execute(
                "INSERT OR REPLACE INTO revocation VALUES (?, ?, ?, ?, ?, ?)",
                (number, subject, kept.revoked_at, kept.expires_at, kept.issued_until, kept.reason),
            )
        news.append(is_news)
    if number != before:
        connection.execute("UPDATE ledger SET changes = ?", (number,))
    return news


def revocations(connection: sqlite3.Connection, limit: int) -> list[Revocation]:
    """Return the newest revocations, newest first; all when the limit is negative."""
    rows = connection.execute(
        "SELECT subject, revoked_at, expires_at, issued_until, reason FROM revocation"
        " ORDER BY number DESC LIMIT ?",
        (limit,),
    )
    return [Revocation.of(*row) for row in rows]


def commit(
    connection: sqlite3.Connection, charges: Sequence[Charge], proof: Proof | None, now: float
) -> None:
    """Remember the proof and charge every counter, or raise the refusal."""
    if proof is not None:
        # A proof that would be forgotten by now cannot be told from one that was.
        added = connection.execute(
            "INSERT INTO proof SELECT ?1, ?2 WHERE ?2 > (SELECT forgotten_until FROM ledger)"
            " ON CONFLICT DO NOTHING",
            (proof.key, proof.expires_at),
        )
        if added.rowcount != 1:
            raise TokenRejected("proof_replayed", "The proof of possession was used before.")
        _forget_proofs(connection, now, _FORGET)
    for charge in charges:
        has_room = _add(connection, charge) if charge.window is None else _use(connection, charge, now)
        if not has_room:
            raise charge.exceeded()


def _add(connection: sqlite3.Connection, charge: Charge) -> bool:
    """Add to a counter that only grows, if it has room."""
    if charge.amount > charge.ceiling:
        return False
    values = (charge.counter, charge.amount, charge.expires_at, charge.ceiling)
    return connection.execute(ADD, values).rowcount == 1


def _use(connection: sqlite3.Connection, charge: Charge, now: float) -> bool:
    """Put a use in the place of the oldest one that a rate remembers, if that has left the window."""
    known = connection.execute(
        "SELECT id, total, last_at FROM counter WHERE name = ?", (charge.counter,)
    ).fetchone()
    if known is None:
        made = connection.execute(
            "INSERT INTO counter (name, total, last_at, expires_at) VALUES (?, 1, ?, ?)",
            (charge.counter, now, charge.expires_at),
        )
        connection.execute("INSERT INTO rate_use VALUES (?, 0, ?)", (made.lastrowid, now))
        return True
    counter, total, last_at = known
    slot = total % charge.ceiling
    if total >= charge.ceiling:
        [(used_at,)] = connection.execute(
            "SELECT used_at FROM rate_use WHERE counter = ? AND slot = ?", (counter, slot)
        )
        if used_at > now - (charge.window or 0):
            return False
    used_at = max(now, last_at)
    connection.execute("INSERT OR REPLACE INTO rate_use VALUES (?, ?, ?)", (counter, slot, used_at))
    connection.execute("UPDATE counter SET total = total + 1, last_at = ? WHERE id = ?", (used_at, counter))
    return True


def _forget_proofs(connection: sqlite3.Connection, now: float, limit: int) -> int:
    expired = connection.execute(
        "SELECT key, expires_at FROM proof WHERE expires_at <= ? ORDER BY expires_at LIMIT ?", (now, limit)
    ).fetchall()
    if expired:
        connection.executemany("DELETE FROM proof WHERE key = ?", [(key,) for key, _ in expired])
        connection.execute("UPDATE ledger SET forgotten_until = max(forgotten_until, ?)", (expired[-1][1],))
    return len(expired)


def enroll(connection: sqlite3.Connection, token: LiveToken) -> None:
    """Keep the metadata of a token, in place of what was known of it."""
    connection.execute(
        "INSERT OR REPLACE INTO token VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            token.token_id,
            token.agent,
            token.issuer,
            token.holder,
            token.issued_at,
            token.expires_at,
            json.dumps(token.capabilities),
            token.session,
            token.task,
            json.dumps(token.revoked_with),
        ),
    )


def token(connection: sqlite3.Connection, token_id: str) -> LiveToken | None:
    """Return the metadata of a token, when it is known."""
    row = connection.execute("SELECT * FROM token WHERE token_id = ?", (token_id,)).fetchone()
    return None if row is None else _token(row)


def tokens(
    connection: sqlite3.Connection, now: float, limit: int, before: LiveToken | None
) -> list[LiveToken]:
    """Return one page of the tokens that have not expired."""
    if before is None:
        rows = connection.execute(f"{LIVE} {ORDER}", (now, limit))
    else:
        values = (now, before.expires_at, before.token_id, limit)
        rows = connection.execute(f"{LIVE} AND (expires_at, token_id) < (?, ?) {ORDER}", values)
    return [_token(row) for row in rows]


def _token(row: tuple[Any, ...]) -> LiveToken:
    token_id, agent, issuer, holder, issued_at, expires_at, capabilities, session, task, revoked_with = row
    return LiveToken(
        token_id=token_id,
        agent=agent,
        issuer=issuer,
        holder=holder,
        issued_at=issued_at,
        expires_at=expires_at,
        capabilities=tuple(json.loads(capabilities)),
        session=session,
        task=task,
        revoked_with=tuple(json.loads(revoked_with)),
    )


def purge(connection: sqlite3.Connection, now: float) -> tuple[int, bool]:
    """Remove at most a batch of each kind; return how many entries, and whether there may be more."""
    limit = now - PURGE_MARGIN
    proofs = _forget_proofs(connection, now, _BATCH)
    counters, weight = _purge_counters(connection, limit)
    others = [connection.execute(statement, (limit, _BATCH)).rowcount for statement in PURGE]
    return proofs + counters + sum(others), max(proofs, weight, *others) >= _BATCH


def _purge_counters(connection: sqlite3.Connection, limit: float) -> tuple[int, int]:
    """Return how many counters were removed, and how many with the uses that rates remember."""
    expired = connection.execute("SELECT id FROM counter WHERE expires_at <= ? LIMIT ?", (limit, _BATCH))
    count = weight = 0
    for (counter,) in expired.fetchall():
        weight += 1 + connection.execute("DELETE FROM rate_use WHERE counter = ?", (counter,)).rowcount
        connection.execute("DELETE FROM counter WHERE id = ?", (counter,))
        count += 1
        if weight >= _BATCH:  # one rate can remember more than there are counters
            break
    return count, weight
