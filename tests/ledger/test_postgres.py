"""`PostgresLedger` keeps the contract, on a real server; and what only it has to show."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, ClassVar, Final

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from remit.errors import ConfigError
from remit.ledger import PURGE_MARGIN, Charge, RemoteLedger, open_ledger
from remit.ledger.postgres import PostgresLedger

from .contract import (
    NOW,
    LedgerContract,
    NewStore,
    Opener,
    charge,
    live,
    of_agent,
    of_token,
    outcome,
    proof,
    subjects,
)
from .postgres_server import PASSWORD, PostgresServer
from .threads import together

pytestmark = pytest.mark.servers

_schemas = count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One server for the module; each store has a schema of its own. It is not to outlive a power cut."""
    running = PostgresServer(fsync="off")
    try:
        yield running.start()
    finally:
        running.remove()


@pytest.fixture
def schema() -> str:
    """The name of a schema that nobody has made."""
    return f"s_{next(_schemas)}"


@pytest.fixture
def new_ledger(server: PostgresServer, schema: str) -> Iterator[Callable[..., PostgresLedger]]:
    """Makes ledgers on the test's own schema."""
    made: list[PostgresLedger] = []
    usual: dict[str, Any] = {"schema": schema}

    def new(dsn: str | None = None, **options: Any) -> PostgresLedger:
        made.append(PostgresLedger(dsn or server.dsn(), **{**usual, **options}))
        return made[-1]

    yield new
    for ledger in made:
        ledger.close()


@pytest.fixture
def ledger(new_ledger: Callable[..., PostgresLedger]) -> PostgresLedger:
    """An empty ledger."""
    return new_ledger()


def connections(server: PostgresServer, name: str = "remit") -> int:
    """How many connections of ledgers the server has."""
    counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    return int(server.execute(counted, name)[0][0])


def settled(question: Callable[[], object], expected: object) -> object:
    """What a question is answered with once it is what is expected, or after a while."""
    deadline = time.monotonic() + 20
    while (said := question()) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return said


class TestPostgresLedger(LedgerContract):
    """Each schema is one store."""

    examples: ClassVar[int] = 10

    @pytest.fixture
    def new_store(self, server: PostgresServer) -> NewStore:
        """A schema that nobody has made."""

        def new() -> Opener:
            schema = f"contract_{next(_schemas)}"
            return lambda: PostgresLedger(server.dsn(), schema=schema)

        return new


# ── how it is made ──────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_connected_or_started_before_it_is_used(server: PostgresServer) -> None:
    threads = threading.active_count()
    ledger = PostgresLedger(server.dsn(application_name="lazy"), schema="lazy")
    assert isinstance(ledger, RemoteLedger)
    assert connections(server, "lazy") == 0
    ledger.position()
    assert connections(server, "lazy") == 1
    assert threading.active_count() == threads  # nor later
    ledger.close()
    assert settled(lambda: connections(server, "lazy"), 0) == 0


def test_a_server_that_is_not_there_is_no_error_until_it_is_asked() -> None:
    ledger = PostgresLedger("postgresql://u:p@127.0.0.1:1/db")
    started = time.monotonic()
    for ask in (ledger.position, lambda: ledger.commit([charge()], None, NOW), lambda: ledger.wait(0)):
        with pytest.raises(psycopg.OperationalError):
            ask()
    assert time.monotonic() - started < 2  # refused at once, not after a time-out each
    ledger.close()


def test_the_url_of_a_policy_file_opens_it(server: PostgresServer) -> None:
    for scheme in ("postgresql", "postgres"):
        ledger = open_ledger(scheme + server.dsn().removeprefix("postgresql"))
        assert isinstance(ledger, PostgresLedger)
        assert ledger.position().number == 0
        ledger.close()


SECRET: Final = "hunter2"


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "  ",
        None,
        7,
        b"postgresql://localhost/db",
        f"postgresql://u:{SECRET}@host/db?no_such_parameter={SECRET}",
        f"host=localhost password='{SECRET}",
        f"host=localhost {SECRET}",
        f"postgresql://u:{SECRET}%zz@host/db",
        f"postgresql://u:x/{SECRET}@host/db",  # the password begins with a slash: read as a path
        f"postgresql://u:1/{SECRET}@host/db",
        f"postgresql://u:x@{SECRET}@host/db",
        f"postgresql://u:{SECRET}/x@host:5432/db",
        f"postgresql://host:{SECRET}/db",
        f"postgresql://[{SECRET}/db",
    ],
)
def test_a_dsn_that_cannot_be_read_is_named_without_being_shown(dsn: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        PostgresLedger(dsn)
    shown = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert "postgresql://" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert SECRET not in "".join(line for line in shown.splitlines() if "Error" in line)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "Remit",
        "1a",
        "a b",
        'a"b',
        "a;DROP SCHEMA remit",
        "a-b",
        "a.b",
        "pg_remit",
        "é",
        "a\n",
        "a" * 49,
        3,
    ],
)
def test_a_schema_has_a_plain_name(server: PostgresServer, schema: Any) -> None:
    with pytest.raises(ConfigError, match="schema"):
        PostgresLedger(server.dsn(), schema=schema)


def test_a_url_can_name_the_schema(server: PostgresServer, schema: str) -> None:
    url = server.dsn(application_name="named", schema=schema, sslmode="prefer")
    ledger = open_ledger(url)
    ledger.revoke([of_token()])
    assert repr(ledger) == f"PostgresLedger('127.0.0.1:{server.port}/ledgers', schema='{schema}')"
    assert connections(server, "named") == 1
    again = PostgresLedger(f"{server.dsn()}?schema={schema}", schema=schema)
    assert again.revocations() == [of_token()]
    for each in (ledger, again):
        each.close()
    for bad in (f"{url}&schema={schema}", f"{server.dsn()}?schema=", f"{server.dsn()}?schema=a%20b"):
        with pytest.raises(ConfigError, match="schema"):
            PostgresLedger(bad)
    with pytest.raises(ConfigError, match="another schema than"):
        PostgresLedger(url, schema="other")


@pytest.mark.parametrize(
    "options",
    [{"timeout": 0}, {"timeout": "61s"}, {"timeout": 0.5}, {"timeout": None}]
    + [{"pool_size": size} for size in (0, -1, 101, True, 2.0, "5", None)],
)
def test_settings_that_make_no_sense_are_refused(server: PostgresServer, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        PostgresLedger(server.dsn(), **options)


@pytest.mark.parametrize("missing", ["psycopg", "psycopg.pq"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from remit.ledger import open_ledger\n"
        "try: open_ledger('postgresql://localhost/db')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "ConfigError PostgresLedger needs psycopg: pip install 'remit[postgres]'\n"


def test_opening_another_ledger_loads_nothing_of_it() -> None:
    program = "import sys, remit; remit.MemoryLedger(); sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_password_is_in_nothing_that_can_be_seen(
    server: PostgresServer, new_ledger: Callable[..., PostgresLedger], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ledgers = [
        new_ledger(),
        new_ledger(server.dsn(password=f"not {PASSWORD}")),
        new_ledger(server.dsn().replace(f":{server.port}/", ":1/")),
        new_ledger(server.dsn(database="no_such_database")),
    ]
    seen: list[str] = []
    for ledger in ledgers:
        seen += [repr(ledger), str(ledger), f"{ledger}"]
        for ask in (ledger.position, lambda ledger=ledger: ledger.wait(0)):
            try:
                ask()
            except psycopg.Error as error:
                seen += [str(error), repr(error)]
                told = traceback.TracebackException.from_exception(error, capture_locals=True)
                seen += told.format()
    seen += [record.getMessage() for record in caplog.records] + [server.log]
    assert len(seen) > 40  # it did fail, and was told
    text = "\n".join(seen)
    assert f"127.0.0.1:{server.port}/" in text
    for part in (PASSWORD, "the%40password", "the@password", "canary"):
        assert part not in text


# ── what PostgreSQL does not keep in text ───────────────────────────────────────────────────────────────────

STRANGE: Final = (
    "a\x00b",
    "a\\u0000b",
    "a\\",
    "\\",
    "\ud800",
    "\udfff\ud800",
    "\\ud800",
    "\x00",
    "a\nb",
    "\ufeff\uffff",
)


@pytest.mark.parametrize("name", STRANGE, ids=ascii)
def test_what_text_in_postgres_cannot_hold_is_kept_all_the_same(ledger: PostgresLedger, name: str) -> None:
    entry = of_token(name, reason=name)
    assert ledger.revoke([entry, of_agent(name)]) == [True, True]
    assert ledger.revoke([entry]) == [False]
    assert ledger.revocations() == [of_agent(name), entry]
    assert subjects(ledger.changes(0).entries) == [f"token:{name}", f"agent:{name}"]
    token = live(name, agent=name, session=name, capabilities=(name,))
    ledger.enroll(token)
    assert ledger.token(name) == token
    assert ledger.tokens(NOW) == [token]
    assert ledger.tokens(NOW, before=token) == []
    ledger.commit([charge(name)], proof(name), NOW)
    assert outcome(lambda: ledger.commit([charge(name)], None, NOW)) == "limit_exceeded"
    assert outcome(lambda: ledger.commit([], proof(name), NOW)) == "proof_replayed"


def test_strange_names_are_not_taken_for_one_another(ledger: PostgresLedger) -> None:
    assert ledger.revoke([of_token(name) for name in STRANGE]) == [True] * len(STRANGE)
    assert [entry.token_id for entry in ledger.revocations()] == list(reversed(STRANGE))


@pytest.mark.parametrize("field", ["amount", "ceiling", "window", "expires_at"])
def test_no_number_of_a_charge_is_pasted_into_sql(ledger: PostgresLedger, field: str) -> None:
    fields: dict[str, Any] = {"window": 60, field: "1},{1"}
    with pytest.raises(ValueError, match="format"):
        ledger.commit([charge("c", **{"ceiling": 5, **fields})], None, NOW)
    assert ledger.purge(NOW + 10 * PURGE_MARGIN) == 0


# ── rows, locks and plans ───────────────────────────────────────────────────────────────────────────────────


def test_calls_that_charge_the_same_counters_in_another_order_do_not_wait_for_one_another_for_ever(
    server: PostgresServer, ledger: PostgresLedger, new_ledger: Callable[..., PostgresLedger]
) -> None:
    names = [f"counter-{number}" for number in range(6)]
    ledgers = [ledger, new_ledger()]
    for number in range(200):
        ledger.commit([], proof(f"old-{number}", NOW + number // 5), NOW - 1)  # to be forgotten on the way
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(40):
                order = names[step % 6 :] + names[: step % 6]
                order = order[::-1] if number % 2 else order
                charges = [charge(name, 10**9, window=60 if name == names[0] else None) for name in order]
                ledgers[number % 2].commit(charges, proof(f"{number}-{step}", NOW + 301), NOW + step)
                if step % 10 == 0:
                    ledgers[number % 2].purge(NOW + step)
        except Exception as error:  # noqa: BLE001 - whatever went wrong
            failures.append(error)

    together(work, 8)
    assert failures == []
    assert "deadlock" not in server.log
    assert outcome(lambda: ledger.probe([charge(names[1], 10**9, amount=10**9 - 320)], NOW)) == "done"
    assert (
        outcome(lambda: ledger.probe([charge(names[1], 10**9, amount=10**9 - 319)], NOW)) == "limit_exceeded"
    )


def test_a_proof_that_is_forgotten_and_replayed_in_the_same_moment_is_refused(ledger: PostgresLedger) -> None:
    """Whoever forgets it says so in the transaction that does."""
    for turn in range(30):
        old = proof(f"old-{turn}", NOW + 10 * turn + 1)
        ledger.commit([], old, NOW + 10 * turn)

        def work(number: int, turn: int = turn, old: Any = old) -> str:
            if number == 0:
                new = proof(f"new-{turn}", NOW + 10**6)
                return outcome(lambda: ledger.commit([], new, NOW + 10 * turn + 5))
            return outcome(lambda: ledger.commit([], old, NOW + 10 * turn))

        assert together(work, 4) == ["done"] + ["proof_replayed"] * 3


def test_purging_goes_in_parts(
    ledger: PostgresLedger, server: PostgresServer, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.ledger.postgres._BATCH", 7)
    ledger.revoke([of_token(f"t-{number}") for number in range(20)])
    for number in range(10):
        ledger.commit([charge(f"c-{number}"), charge("r", 30, window=60)], proof(f"p-{number}"), NOW)
        ledger.enroll(live(f"t-{number}"))
    for _ in range(15):
        ledger.commit([charge("r", 30, window=60)], None, NOW)
    assert ledger.purge(NOW + 600 + PURGE_MARGIN) == 20 + 11 + 10 + 10
    for table in ("revocations", "counters", "uses", "proofs", "tokens"):
        assert server.execute(SQL("SELECT count(*) FROM {}").format(Identifier(schema, table))) == [(0,)]
    assert len(ledger.revocations()) == 0


def test_all_revocations_are_listed_as_of_one_moment(
    ledger: PostgresLedger, new_ledger: Callable[..., PostgresLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that changes while they are read page by page, and so gets a new number, is not left out."""
    monkeypatch.setattr("remit.ledger.postgres._BATCH", 3)
    ledger.revoke([of_token(f"t-{number}") for number in range(10)])
    other = new_ledger()
    asked = ledger._call

    def meanwhile(connection: Any, function: str, *values: object) -> Any:
        page = asked(connection, function, *values)
        other.revoke([of_token("t-2", expires_at=NOW + 700 + len(other.changes(0).entries))])
        other.revoke([of_token(f"later-{time.monotonic_ns()}")])
        return page

    monkeypatch.setattr(ledger, "_call", meanwhile)
    assert [entry.token_id for entry in ledger.revocations()] == [f"t-{n}" for n in range(9, -1, -1)]
    assert next(entry.token_id for entry in ledger.revocations(4)).startswith("later")  # type: ignore[union-attr]


def fill(server: PostgresServer, schema: str, first: int, last: int) -> None:
    """Have so many more entries of each kind, which expire one a second."""
    with server.connect(schema) as owner:
        owner.execute(
            SQL("""
            CREATE TEMPORARY VIEW many AS
                SELECT n, sha256(n::text::bytea) AS key, 1704067500 + n AS expiry FROM generate_series({}, {}) n
            """).format(first, last)
        )
        owner.execute("""
            INSERT INTO revocations SELECT 'token:' || n, -n, 1, expiry, NULL, NULL FROM many ON CONFLICT DO NOTHING;
            INSERT INTO counters SELECT key, 1, 1, expiry FROM many;
            INSERT INTO uses SELECT sha256('r'), n, 1 FROM many ON CONFLICT DO NOTHING;
            INSERT INTO proofs SELECT key, expiry FROM many;
            INSERT INTO tokens SELECT 't-' || n, 'a', 'i', 'h', 1, expiry, ARRAY['c'], NULL, NULL, '{}' FROM many;
            """)


def reads(server: PostgresServer, ledger: PostgresLedger, schema: str) -> tuple[dict[str, int], int]:
    """How often each table was read from end to end, and how many entries were read by an index."""
    with ledger._pool.connection() as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
    rows = server.execute(
        "SELECT t.relname, t.seq_scan, coalesce(sum(i.idx_tup_read), 0)::bigint FROM pg_stat_user_tables t"
        " JOIN pg_stat_user_indexes i USING (relid) WHERE t.schemaname = %s"
        " AND t.relname NOT IN ('feed', 'forgotten') GROUP BY 1, 2",
        schema,
    )
    return {name: scans for name, scans, _ in rows}, sum(read for *_, read in rows)


@pytest.mark.parametrize("before", [0, 200, 20_000])
def test_what_is_asked_often_is_found_by_an_index(
    server: PostgresServer, ledger: PostgresLedger, schema: str, before: int
) -> None:
    """Purging, listing and following cost what they return, however much there is, and was before.

    The server has made its plans when there was next to nothing, or little, or as much as now.
    """

    def ask() -> int:
        ledger.changes(0, 10)
        ledger.changes(-10, 10)
        ledger.revocations(10)
        ledger.revoke([of_token("new"), of_token("19"), of_agent("new")])
        charges = [charge("c", 99), charge("r", 99, window=60)]
        ledger.commit(charges, proof(f"p-{time.monotonic_ns()}", NOW + 10**7), NOW - 10)
        ledger.probe(charges, NOW)
        ledger.tokens(NOW, limit=10, before=live("t-9000", expires_at=NOW + 9_000))
        ledger.token("t-17")
        ledger.enroll(live("t-new"))
        return ledger.purge(NOW - 10**6)

    ledger.position()
    fill(server, schema, 1, before)
    server.execute("ANALYZE")
    for _ in range(8):  # so often that it keeps its plans
        ask()
    fill(server, schema, before + 1, 20_000)
    scans, read = reads(server, ledger, schema)
    assert set(scans) == {"revocations", "counters", "uses", "proofs", "tokens"}
    assert ask() == 0
    scans_after, read_after = reads(server, ledger, schema)
    assert scans_after == scans
    assert 20 < read_after - read < 1_000
    assert ledger.purge(NOW + 3 + PURGE_MARGIN) == 9 + 20_000
    assert reads(server, ledger, schema)[0] == scans


def test_a_million_uses_later_a_charge_reads_no_more(
    server: PostgresServer, ledger: PostgresLedger, schema: str
) -> None:
    """A rate's ring is found slot by slot."""
    charges = [charge("r", 100_000, window=3_600)]
    ledger.commit(charges, None, NOW)
    server.execute("UPDATE counters SET total = 1000000", schema=schema)
    ring = "INSERT INTO uses SELECT counter, n, %s FROM counters, generate_series(1, 99999) n"
    server.execute(ring, NOW, schema=schema)
    assert outcome(lambda: ledger.commit(charges, None, NOW + 3_599)) == "limit_exceeded"
    ledger.commit(charges, None, NOW + 3_600)
    later = server.execute("SELECT slot, used_at FROM uses WHERE used_at > %s", NOW, schema=schema)
    assert later == [(0, NOW + 3_600)]


# ── following ───────────────────────────────────────────────────────────────────────────────────────────────


def waited(ledger: PostgresLedger, timeout: float) -> float:
    """How long a wait took."""
    started = time.monotonic()
    ledger.wait(timeout)
    return time.monotonic() - started


def test_who_waits_is_woken_by_what_another_revokes(
    ledger: PostgresLedger, new_ledger: Callable[..., PostgresLedger]
) -> None:
    other = new_ledger()
    ledger.wait(0)  # it listens from here on
    other.revoke([of_token("early")])
    assert waited(ledger, 20) < 10
    revoking = threading.Timer(0.2, lambda: other.revoke([of_token("late")]))
    revoking.start()
    assert 0.1 < waited(ledger, 20) < 10
    revoking.join()
    assert len(ledger.changes(0).entries) == 2


def test_who_waits_is_not_woken_when_nothing_changed(
    ledger: PostgresLedger, new_ledger: Callable[..., PostgresLedger], schema: str
) -> None:
    other, stranger = new_ledger(), new_ledger(schema=f"{schema}_other")
    other.revoke([of_token()])
    ledger.wait(0)
    other.revoke([of_token()])
    other.commit([charge()], proof(), NOW)
    other.enroll(live())
    other.purge(NOW + 10**6)
    stranger.revoke([of_token("of another ledger")])
    assert waited(ledger, 0.3) >= 0.29


def test_who_did_not_listen_does_not_wait(ledger: PostgresLedger) -> None:
    """Something may have been missed, so it is to be read first."""
    assert waited(ledger, 20) < 10
    assert waited(ledger, 0.2) >= 0.19


def test_closing_wakes_who_waits(ledger: PostgresLedger) -> None:
    ledger.wait(0)
    closing = threading.Timer(0.2, ledger.close)
    closing.start()
    assert waited(ledger, 30) < 15
    closing.join()
    ledger.close()
    ledger.wait(0)  # and it can be used again


def test_two_that_wait_both_hear_it(
    ledger: PostgresLedger, new_ledger: Callable[..., PostgresLedger]
) -> None:
    other = new_ledger()
    ledger.wait(0)
    revoking = threading.Timer(0.3, lambda: other.revoke([of_token()]))
    revoking.start()
    assert max(together(lambda _: waited(ledger, 20), 2)) < 10
    revoking.join()


def test_a_listening_connection_that_is_lost_is_told_and_replaced(
    server: PostgresServer, ledger: PostgresLedger
) -> None:
    ledger.wait(0)
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %%'")
    with pytest.raises(psycopg.OperationalError):  # noqa: PT012 - the server's last words may come before
        for _ in range(3):
            ledger.wait(20)
    ledger.wait(0)
    ledger.revoke([of_token()])
    assert waited(ledger, 20) < 10


# ── connections ─────────────────────────────────────────────────────────────────────────────────────────────


def test_no_more_connections_than_it_may_have(
    server: PostgresServer, new_ledger: Callable[..., PostgresLedger]
) -> None:
    ledger = new_ledger(server.dsn(application_name="few"), pool_size=2)
    ledger.position()
    most = together(
        lambda n: connections(server, "few") if n % 8 == 0 else ledger.commit([charge(f"c-{n}")], None, NOW),
        32,
    )
    assert max(each for each in most if each is not None) <= 2
    assert connections(server, "few") <= 2


def test_when_all_connections_are_busy_a_call_fails_in_time(
    server: PostgresServer, new_ledger: Callable[..., PostgresLedger], schema: str
) -> None:
    ledger = new_ledger(pool_size=1, timeout=1)
    ledger.commit([charge("c", 5)], None, NOW)
    with server.connect(schema) as owner, owner.transaction():
        owner.execute("LOCK TABLE counters")
        started = time.monotonic()
        said = together(lambda _: outcome_or_error(lambda: ledger.commit([charge("c", 5)], None, NOW)), 3)
        assert said == ["OperationalError"] * 3
        assert time.monotonic() - started < 5
    assert (
        settled(lambda: outcome_or_error(lambda: ledger.commit([charge("c", 5)], None, NOW)), "done")
        == "done"
    )


def outcome_or_error(call: Callable[[], object]) -> str:
    """`done`, the code of the refusal, or the name of the error."""
    try:
        return outcome(call)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return type(error).__name__


def test_nothing_is_left_in_a_session(ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a pooler may give each transaction another one."""
    monkeypatch.setattr("remit.ledger.postgres._BATCH", 1)
    ledger.revoke([of_token("a"), of_token("a"), of_token("b")])
    for _ in range(10):
        ledger.commit([charge("c", 99)], None, NOW)
        ledger.position()
    assert len(ledger.revocations()) == 2
    with ledger._pool.connection() as connection:
        kept = connection.execute("SELECT name FROM pg_prepared_statements").fetchall()
        kept += connection.execute("SELECT name FROM pg_settings WHERE source = 'session'").fetchall()
        kept += connection.execute(
            "SELECT locktype FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'"
        ).fetchall()
    assert kept == []


def test_connections_that_the_server_closed_are_replaced_before_they_are_used(
    server: PostgresServer, new_ledger: Callable[..., PostgresLedger]
) -> None:
    ledger = new_ledger(server.dsn(application_name="cut"))
    together(lambda n: ledger.commit([charge(f"c-{n}")], None, NOW), 5)
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'")
    assert settled(lambda: connections(server, "cut"), 0) == 0
    for number in range(10):  # not one of them fails
        assert outcome(lambda number=number: ledger.commit([charge(f"d-{number}")], None, NOW)) == "done"  # type: ignore[misc]


def test_a_connection_that_nobody_used_for_long_is_not_used_again(
    server: PostgresServer, new_ledger: Callable[..., PostgresLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = new_ledger(server.dsn(application_name="old"))
    pid = "SELECT pid FROM pg_stat_activity WHERE application_name = 'old'"
    ledger.position()
    first = server.execute(pid)
    ledger.position()
    assert server.execute(pid) == first
    monkeypatch.setattr("remit.ledger.postgres_pool._IDLE", 0)
    ledger.position()
    settled(lambda: connections(server, "old"), 1)
    assert server.execute(pid) != first


def test_an_error_of_the_server_does_nothing_and_costs_no_connection(
    server: PostgresServer, new_ledger: Callable[..., PostgresLedger]
) -> None:
    ledger = new_ledger(server.dsn(application_name="errors"))
    ledger.position()
    mine = "SELECT pid FROM pg_stat_activity WHERE application_name = 'errors'"
    before = server.execute(mine)
    with pytest.raises(psycopg.DataError):
        ledger.revoke([of_token("a"), of_token("b", expires_at=2**70)])
    with pytest.raises(ValueError, match="JSON"):
        ledger.revoke([of_token(revoked_at=float("nan"))])
    assert server.execute(mine) == before
    with pytest.raises(psycopg.DataError):  # in the middle of a transaction
        ledger.revoke([of_token("a"), of_token("b"), of_token("a", expires_at=2**70)])
    assert ledger.revocations() == []
    assert ledger.position().number == 0
    assert settled(lambda: connections(server, "errors"), 1) == 1


def test_a_ledger_that_is_dropped_closes_what_it_had(server: PostgresServer, schema: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ledger = PostgresLedger(server.dsn(application_name="dropped"), schema=schema)
        ledger.wait(0)
        ledger.position()
        assert connections(server, "dropped") == 2
        del ledger
        gc.collect()
    assert settled(lambda: connections(server, "dropped"), 0) == 0


def test_a_fork_has_connections_of_its_own(
    server: PostgresServer, new_ledger: Callable[..., PostgresLedger]
) -> None:
    ledger, other = new_ledger(server.dsn(application_name="parent")), new_ledger()
    ledger.position()
    ledger.wait(0)
    mine = "SELECT pid FROM pg_stat_activity WHERE application_name = 'parent' ORDER BY pid"
    before = server.execute(mine)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ledger.commit([charge()], None, NOW)
            ledger.wait(0)
            ledger.revoke([of_token()])
            ledger.wait(10)
            ledger.close()
            del ledger
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert settled(lambda: server.execute(mine), before) == before
    assert waited(ledger, 20) < 10  # it hears what its child has revoked
    assert outcome(lambda: ledger.commit([charge()], None, NOW)) == "limit_exceeded"
    assert server.execute(mine) == before
    other.revoke([of_token("more")])
    assert waited(ledger, 20) < 10


def test_a_client_that_is_stopped_in_the_middle_of_a_list_holds_nobody_up_for_long(
    server: PostgresServer, new_ledger: Callable[..., PostgresLedger], schema: str
) -> None:
    """The server ends its transaction, with nothing of it done."""
    ledger = new_ledger()
    ledger.revoke([of_token("first")])
    program = (
        "import os, signal, sys\n"
        "from remit.ledger import Revocation\n"
        "from remit.ledger.postgres import PostgresLedger\n"
        "ledger = PostgresLedger(sys.argv[1], schema=sys.argv[2], timeout=1)\n"
        "asked = ledger._call\n"
        "def stop(connection, function, *values):\n"
        "    said = asked(connection, function, *values)\n"
        "    print('half', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    return said\n"
        "ledger._call = stop\n"
        "one = Revocation(revoked_at=1, expires_at=2, token_id='half')\n"
        "ledger.revoke([one, one])\n"
    )
    stopped = subprocess.Popen(
        [sys.executable, "-c", program, server.dsn(), schema], stdout=subprocess.PIPE, text=True
    )
    try:
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == "half\n"
        said = settled(lambda: outcome_or_error(lambda: ledger.revoke([of_token("second")])), "done")
        assert said == "done"
        assert [entry.token_id for entry in ledger.revocations()] == ["second", "first"]
    finally:
        stopped.send_signal(signal.SIGKILL)
        stopped.communicate()


def test_many_charges_at_once_arrive_as_they_are(ledger: PostgresLedger) -> None:
    """An empty list of charges with a proof, and many charges at once, arrive as they are."""
    ledger.commit([], proof(), NOW)
    many = [Charge(f"m-{n}", n, 10**6, None, NOW + n, 0, "tool:use", "it") for n in range(300)]
    ledger.commit(many, None, NOW)
    exact = [
        Charge(each.counter, 10**6 - each.amount, 10**6, None, NOW, 0, "tool:use", "it") for each in many
    ]
    ledger.probe(exact, NOW)
    ledger.commit(exact, None, NOW)
    for each in many[1:5]:
        assert outcome(lambda each=each: ledger.commit([each], None, NOW)) == "limit_exceeded"  # type: ignore[misc]
