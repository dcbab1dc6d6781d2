"""Rows on state that survives and is shared: ledgers beside bare round trips to their engines, and audit."""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from timing import micros

import remit
from remit.ledger import Charge, Revocation, RevocationView

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for the servers of the tests of the ledgers

EXPIRES = 2**33
Row = Callable[..., None]


def charge(number: int = 0) -> Charge:
    """Return a charge that always has room."""
    return Charge(f"{'d' * 43}:{number}:t:uses", 1, 2**50, None, EXPIRES, 0, "t", "the uses")


def many(count: int) -> list[Revocation]:
    """Return revocations of tokens."""
    return [
        Revocation(revoked_at=1.0, expires_at=EXPIRES, token_id=f"019471f8-0000-7000-8000-{number:012x}")
        for number in range(count)
    ]


def bare_sqlite(folder: Path) -> float:
    """Return the time of a bare committed update in SQLite, WAL."""
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = NORMAL")
    bare.execute("CREATE TABLE counter (name TEXT PRIMARY KEY, total INTEGER) WITHOUT ROWID")
    bare.execute("INSERT INTO counter VALUES ('x', 0)")
    takes = micros(lambda: bare.execute("UPDATE counter SET total = total + 1 WHERE name = 'x'"))
    bare.close()
    return takes


@contextmanager
def redis() -> Iterator[tuple[remit.Ledger, float]]:
    """A Redis ledger, and the time of a bare round trip to its server."""
    import redis as client
    from ledger.redis_server import RedisServer

    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder) / "server") as server:
        bare = client.Redis.from_url(server.url)
        yield remit.RedisLedger(server.url), micros(bare.ping)


@contextmanager
def postgres() -> Iterator[tuple[remit.Ledger, float]]:
    """A PostgreSQL ledger, and the time of a bare committed update on its server."""
    import psycopg
    from ledger.postgres_server import PostgresServer

    server = PostgresServer()
    try:
        server.start()
        with psycopg.connect(server.dsn(), autocommit=True) as bare:
            bare.execute("CREATE TABLE counter (name text PRIMARY KEY, total bigint)")
            bare.execute("INSERT INTO counter VALUES ('x', 0)")
            update = "UPDATE counter SET total = total + 1 WHERE name = 'x'"
            yield remit.PostgresLedger(server.dsn()), micros(lambda: bare.execute(update))
    finally:
        server.remove()


def ledgers(row: Row) -> None:
    """Charges, loads, lists and purges."""
    with tempfile.TemporaryDirectory() as folder:
        sqlite = remit.SqliteLedger(str(Path(folder) / "ledger.db"))
        charging(row, "SQLite", sqlite, bare_sqlite(Path(folder)), "<= 100")
        loading(row, sqlite)
        keeping(row, sqlite)
        sqlite.close()
    for name, opened in (("Redis", redis), ("PostgreSQL", postgres)):
        with opened() as (ledger, bare):
            charging(row, name, ledger, bare, "<= 3.00x")
            ledger.close()


def charging(row: Row, name: str, ledger: remit.Ledger, bare: float, target: str) -> None:
    """Charge one counter, and two at once."""
    takes = micros(lambda: ledger.commit([charge()], None, 1.0))
    row(f"charge on {name}, beside a bare round trip", remit_takes=takes, floor=bare, target=target)
    two = [charge(1), charge(2)]
    row(
        f"charge two counters on {name}",
        remit_takes=micros(lambda: ledger.commit(two, None, 1.0)),
        floor=bare,
    )


def loading(row: Row, ledger: remit.Ledger, count: int = 1_000_000) -> None:
    """Load a million revocations into a guard's view."""
    entries = many(count)
    for start in range(0, count, 100_000):
        ledger.revoke(entries[start : start + 100_000])
    del entries
    view = RevocationView(ledger, time.time)
    started = time.perf_counter()
    view.refresh(1.0, 60)
    row(
        f"load {count:,} revocations",
        remit_takes=(time.perf_counter() - started) * 1e6,
        target="<= 2,000,000",
    )
    del view
    tracemalloc.start()
    view = RevocationView(ledger, time.time)
    view.refresh(1.0, 60)
    print(f"{'bytes a revocation, in memory':<44}{tracemalloc.get_traced_memory()[0] / count:10.1f}")
    tracemalloc.stop()


def keeping(row: Row, ledger: remit.Ledger) -> None:
    """Lists and purges beside a million entries: they cost what they return."""
    row("list the 10 newest of 1,000,000 revocations", remit_takes=micros(lambda: ledger.revocations(10)))
    row("purge that finds nothing, of 1,000,000", remit_takes=micros(lambda: ledger.purge(1.0)))
    for number in range(10_000):
        ledger.enroll(
            remit.LiveToken(
                token_id=f"t-{number}", agent="a", issuer="i:x", holder="h", issued_at=0, expires_at=EXPIRES
            )
        )
    row("list 100 of 10,000 live tokens", remit_takes=micros(lambda: ledger.tokens(1.0)))


def audits(row: Row, check: Callable[[remit.Guard], Callable[[], Any]], anchor: remit.TrustAnchor) -> None:
    """A warm check with each durable sink."""
    with tempfile.TemporaryDirectory() as folder:
        line = os.open(Path(folder) / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        text = b"x" * 400
        floor = micros(lambda: os.write(line, text))
        os.close(line)
        for name, sink in (
            ("hash-chained JSON lines", remit.JsonlAudit(str(Path(folder) / "audit.jsonl"))),
            ("hash-chained SQLite rows", remit.SqliteAudit(str(Path(folder) / "audit.db"))),
        ):
            guard = remit.Guard([anchor], audit=sink)
            target = "<= 25" if "JSON" in name else ""
            row(f"warm check, audit as {name}", remit_takes=micros(check(guard)), floor=floor, target=target)
            sink.close()


def propagation(row: Row) -> None:
    """How long a revocation takes to another guard, through each engine that pushes."""
    for name, opened in (("Redis", redis), ("PostgreSQL", postgres)):
        with opened() as (ledger, _):
            other = RevocationView(ledger, time.time)
            other.refresh(time.time(), 60)
            time.sleep(0.5)
            waits = []
            for entry in many(50):
                started = time.perf_counter()
                ledger.revoke([entry])
                subject = frozenset({entry.subject})
                while not other.revoked(subject) and time.perf_counter() - started < 5:
                    time.sleep(0)
                waits.append(time.perf_counter() - started)
            other.close()
            ledger.close()
            row(
                f"a revocation reaches another guard, {name}",
                remit_takes=statistics.median(waits) * 1e6,
                target="<= 100,000",
                slowest=max(waits) * 1e6,
            )
