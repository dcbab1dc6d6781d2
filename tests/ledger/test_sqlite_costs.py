"""What a `SqliteLedger` costs: purge and lists by what they return, a guard's view by what it knows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from remit.ledger import PURGE_MARGIN, RevocationView
from remit.ledger import sqlite_statements as statements
from remit.ledger.sqlite import SqliteLedger

from .contract import NOW, charge, live, of_token, proof

FEW, MANY = 200, 6_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    opened = SqliteLedger(tmp_path / "ledger.db")
    yield opened
    opened.close()


def plan(ledger: SqliteLedger, query: str, *values: object) -> str:
    """How SQLite goes about a query."""
    assert ledger._connection is not None
    rows = ledger._connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
    return "\n".join(row[3] for row in rows)


def test_what_is_asked_for_is_found_by_an_index_and_nothing_is_sorted(ledger: SqliteLedger) -> None:
    token, before = statements.LIVE, "AND (expires_at, token_id) < (?, ?)"
    plans = {
        plan(ledger, f"{token} {statements.ORDER}", NOW, 10): "token_expiry",
        plan(ledger, f"{token} {before} {statements.ORDER}", NOW, NOW, "t", 10): "token_expiry",
        plan(ledger, statements.PURGE[0], NOW, 10): "revocation_expiry",
        plan(ledger, statements.PURGE[1], NOW, 10): "token_expiry",
    }
    for said, index in plans.items():
        assert f"INDEX {index}" in said
        assert "TEMP B-TREE FOR ORDER" not in said
        assert "SCAN" not in said.replace("SCAN LIST", "")


def steps(ledger: SqliteLedger, call: Callable[[], object]) -> int:
    """How many instructions of SQLite's machine a call takes."""
    assert ledger._connection is not None
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return 0

    ledger._connection.set_progress_handler(counted, 1)
    call()
    ledger._connection.set_progress_handler(None, 1)
    return count


def fill(ledger: SqliteLedger, first: int, last: int) -> None:
    """Entries of every kind, of which ten have expired by `NOW + 600`."""
    assert ledger._connection is not None
    ledger._connection.execute("BEGIN")
    expiry = [NOW + 600 if number < 10 else NOW + 90_000 + number for number in range(first, last)]
    numbered = list(enumerate(expiry, first))
    statements.revoke(ledger._connection, [of_token(f"t-{n}", expires_at=until) for n, until in numbered])
    for number, until in numbered:
        charges = [
            charge(f"c-{number}", expires_at=until),
            charge(f"r-{number}", 1, window=9, expires_at=until),
        ]
        statements.commit(ledger._connection, charges, proof(f"p-{number}", until), NOW)
        statements.enroll(ledger._connection, live(f"t-{number}", expires_at=until))
    ledger._connection.execute("COMMIT")


QUESTIONS: dict[str, Callable[[SqliteLedger], Any]] = {
    "the newest revocations": lambda ledger: ledger.revocations(10),
    "the first page of tokens": lambda ledger: ledger.tokens(NOW, limit=10),
    "a page in the middle": lambda ledger: ledger.tokens(
        NOW, limit=10, before=live("t-100", expires_at=NOW + 90_100)
    ),
    "a token": lambda ledger: ledger.token("t-7"),
    "the position": lambda ledger: ledger.position(),
    "what changed last": lambda ledger: ledger.changes(ledger.position().number - 10),
    "a page of what changed": lambda ledger: ledger.changes(50, 10),
    "a charge": lambda ledger: ledger.commit([charge("c", 100), charge("r", 100, window=60)], None, NOW),
    "a revocation": lambda ledger: ledger.revoke([of_token("once more")]),
    "purging ten of each kind": lambda ledger: ledger.purge(NOW + 600 + PURGE_MARGIN),
}


def test_every_question_costs_what_it_returns_and_not_what_there_is(tmp_path: Path) -> None:
    small, large = SqliteLedger(tmp_path / "small.db"), SqliteLedger(tmp_path / "large.db")
    fill(small, 0, FEW)
    fill(large, 0, MANY)
    for question, ask in QUESTIONS.items():
        few, many = steps(small, partial(ask, small)), steps(large, partial(ask, large))
        assert few > 0, question
        assert many <= few * 1.2 + 20, question
    small.close()
    large.close()


def test_a_view_knows_a_revocation_in_150_bytes(ledger: SqliteLedger) -> None:
    count = 200_000
    assert ledger._connection is not None
    with ledger._connection as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO revocation VALUES (?, ?, ?, ?, NULL, 'the task ended')",
            ((n, f"token:{n:08}-0000-7000-8000-{n:012}", NOW, NOW + n * 30) for n in range(1, count + 1)),
        )
        connection.execute("UPDATE ledger SET changes = ?", (count,))
    view = RevocationView(ledger, lambda: NOW)
    tracemalloc.start()
    try:
        assert view.refresh(NOW, 60) == NOW
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(view._hours) == count
    assert size / count <= 150
