"""The schema of a `PostgresLedger`: who makes it, who may use it, and what else may be in its database."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any, Final

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from remit.errors import ConfigError
from remit.ledger import PURGE_MARGIN
from remit.ledger import postgres_upkeep as upkeep
from remit.ledger.postgres import PostgresLedger, _digest
from remit.ledger.postgres_schema import MIGRATIONS

from .contract import NOW, charge, live, of_token, outcome, proof
from .postgres_server import PostgresServer
from .threads import together

pytestmark = pytest.mark.servers

_schemas = count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One server for the module; each test has a schema of its own."""
    running = PostgresServer()
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
    """Makes ledgers of a role on the test's own schema."""
    made: list[PostgresLedger] = []

    def new(role: str | None = None, **options: Any) -> PostgresLedger:
        dsn = server.dsn() if role is None else server.dsn(role)
        made.append(PostgresLedger(dsn, schema=schema, **options))
        return made[-1]

    yield new
    for ledger in made:
        ledger.close()


def use(ledger: PostgresLedger) -> None:
    """Call everything that a ledger has."""
    assert ledger.revoke([of_token("a"), of_token("a")]) == [True, False]
    assert ledger.changes(0).position == ledger.position()
    assert len(ledger.changes(0).entries) == len(ledger.revocations()) == 1
    ledger.commit([charge("c", 2), charge("r", 1, window=60)], proof(), NOW)
    assert outcome(lambda: ledger.probe([charge("r", 1, window=60)], NOW)) == "limit_exceeded"
    assert outcome(lambda: ledger.commit([charge("c", 2)], proof(), NOW)) == "proof_replayed"
    ledger.enroll(live())
    assert ledger.tokens(NOW) == [ledger.token("t-1")]
    ledger.wait(0)
    assert ledger.purge(NOW + 600 + PURGE_MARGIN) == 5


# ── making and upgrading ────────────────────────────────────────────────────────────────────────────────────


def test_of_8_processes_that_start_at_once_all_find_the_schema(server: PostgresServer, schema: str) -> None:
    program = (
        "import sys\n"
        "from remit.ledger.postgres import PostgresLedger\n"
        "ledger = PostgresLedger(sys.argv[1], schema=sys.argv[2])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(ledger.position().store)\n"
    )
    command = [sys.executable, "-c", program, server.dsn(), schema]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started = [subprocess.Popen(command, text=True, **pipes) for _ in range(8)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    said = [process.communicate("go\n", timeout=60) for process in started]
    assert [errors for _, errors in said] == [""] * 8
    assert len({store for store, _ in said}) == 1


def test_of_many_threads_that_start_at_once_all_find_the_schema(
    new_ledger: Callable[..., PostgresLedger],
) -> None:
    ledgers = [new_ledger() for _ in range(3)]
    assert len(set(together(lambda n: ledgers[n % 3].position(), 24))) == 1


@pytest.fixture
def next_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release whose schema has a version more."""
    more = """
    ALTER TABLE {schema}.revocations ADD COLUMN revoked_by text;
    CREATE FUNCTION {schema}.revoked_by(name text) RETURNS text {trusted} AS $$
    BEGIN
        RETURN (SELECT r.revoked_by FROM {schema}.revocations r WHERE r.subject = name);
    END $$;
    """
    monkeypatch.setattr(upkeep, "MIGRATIONS", (*MIGRATIONS, more))


def test_an_older_schema_is_brought_up_to_date_with_all_that_is_in_it(
    new_ledger: Callable[..., PostgresLedger],
    server: PostgresServer,
    schema: str,
    request: pytest.FixtureRequest,
) -> None:
    before = new_ledger()
    before.revoke([of_token("a", reason="old")])
    before.commit([charge("c", 1), charge("r", 1, window=60)], proof(), NOW)
    before.enroll(live())
    kept = before.revocations(), before.position(), before.token("t-1")
    request.getfixturevalue("next_release")
    ledgers = [new_ledger() for _ in range(8)]
    together(lambda n: ledgers[n].position(), 8)
    after = ledgers[0]
    assert (after.revocations(), after.position(), after.token("t-1")) == kept
    assert outcome(lambda: after.commit([charge("c", 1)], None, NOW)) == "limit_exceeded"
    assert outcome(lambda: after.commit([charge("r", 1, window=60)], None, NOW)) == "limit_exceeded"
    assert outcome(lambda: after.commit([], proof(), NOW)) == "proof_replayed"
    assert server.execute("SELECT number FROM version", schema=schema) == [(2,)]
    assert server.execute("SELECT revoked_by('token:a')", schema=schema) == [(None,)]
    stranger = server.new_role()
    asked = "SELECT has_function_privilege(%s, 'revoked_by(text)', 'EXECUTE')"
    assert server.execute(asked, stranger, schema=schema) == [(False,)]
    assert before.revoke([of_token("b")]) == [True]  # a process of the old release, that had begun before


def test_an_upgrade_that_fails_changes_nothing(
    new_ledger: Callable[..., PostgresLedger],
    server: PostgresServer,
    schema: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new_ledger().revoke([of_token("a")])
    broken = "ALTER TABLE {schema}.revocations ADD COLUMN more text; SELECT 1 / 0;"
    monkeypatch.setattr(upkeep, "MIGRATIONS", (*MIGRATIONS, broken))
    ledger = new_ledger()
    for _ in range(2):
        with pytest.raises(psycopg.DataError):
            ledger.position()
    assert server.execute("SELECT number FROM version", schema=schema) == [(1,)]
    monkeypatch.undo()
    assert [entry.token_id for entry in new_ledger().revocations()] == ["a"]


def test_a_newer_schema_is_left_alone(
    new_ledger: Callable[..., PostgresLedger], server: PostgresServer, schema: str
) -> None:
    new_ledger().revoke([of_token("a")])
    server.execute("UPDATE version SET number = 9", schema=schema)
    ledger = new_ledger()
    for ask in (ledger.position, ledger.migrate, lambda: ledger.commit([charge()], None, NOW)):
        with pytest.raises(ConfigError, match="version 9, and this release of remit knows 1 at most"):
            ask()
    assert server.execute("SELECT number FROM version", schema=schema) == [(9,)]


def test_a_ledger_that_vanished_is_not_replaced_by_an_empty_one(
    new_ledger: Callable[..., PostgresLedger], server: PostgresServer, schema: str
) -> None:
    """All limits would be unused again."""
    ledger = new_ledger()
    ledger.commit([charge()], None, NOW)
    first = ledger.position()
    server.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))
    for _ in range(3):
        with pytest.raises(psycopg.errors.InvalidSchemaName):
            ledger.commit([charge()], None, NOW)
    ledger.migrate()  # somebody says so
    assert outcome(lambda: ledger.commit([charge()], None, NOW)) == "done"
    assert ledger.position().store != first.store


def test_a_database_of_another_encoding_is_refused(server: PostgresServer) -> None:
    name = server.new_database(ENCODING="'SQL_ASCII'", TEMPLATE="template0")
    with pytest.raises(ConfigError, match="UTF8, not SQL_ASCII"):
        PostgresLedger(server.dsn(database=name)).position()


def test_a_server_that_takes_no_writes_is_not_asked(server: PostgresServer) -> None:
    """A standby is behind: what it knows of revocations is old, and nobody could tell."""
    name = server.new_database()
    PostgresLedger(server.dsn(database=name)).position()
    server.execute(SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(Identifier(name)))
    with pytest.raises(psycopg.OperationalError, match="read-only"):
        PostgresLedger(server.dsn(database=name)).position()


def test_an_old_server_is_refused(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.ledger.postgres_pool._OLDEST", 990_000)
    with pytest.raises(ConfigError, match="PostgreSQL 99 or newer"):
        PostgresLedger(server.dsn()).position()


# ── roles ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_role_that_may_create_nothing_uses_a_schema_that_was_made(
    new_ledger: Callable[..., PostgresLedger], server: PostgresServer, schema: str
) -> None:
    guard, stranger = server.new_role(), server.new_role()
    with pytest.raises(ConfigError, match="may not make the schema"):
        new_ledger(guard).position()
    new_ledger().migrate(grant_to=[guard], may_purge=True)
    ledger = new_ledger(guard)
    use(ledger)
    ledger.migrate()  # there is nothing to do, so it may
    with pytest.raises(ConfigError, match=r"may not use the schema .* migrate\(grant_to="):
        new_ledger(stranger).position()
    with pytest.raises(ConfigError, match="may not let 'role_"):
        ledger.migrate(grant_to=[stranger])
    assert server.execute("SELECT has_schema_privilege(%s, %s, 'USAGE')", stranger, schema) == [(False,)]


TAMPERING: Final = (
    "UPDATE counters SET total = 0",
    "DELETE FROM counters",
    "DELETE FROM revocations",
    "UPDATE revocations SET expires_at = 0",
    "INSERT INTO proofs VALUES ('x', 1)",
    "TRUNCATE uses",
    "UPDATE feed SET number = 0",
    "UPDATE forgotten SET until = 0",
    "SELECT * FROM tokens",
    "UPDATE version SET number = 9",
    "DROP TABLE counters",
    "CREATE TABLE more (x integer)",
    "CREATE OR REPLACE FUNCTION forget(moment bigint, most integer) RETURNS integer LANGUAGE sql AS 'SELECT 0'",
    "ALTER FUNCTION forget RESET ALL",
    "SELECT purge(1, 1, 1)",
    "SELECT forget(9999999999, 1000)",
)


def test_a_guards_role_cannot_undo_what_was_done(
    new_ledger: Callable[..., PostgresLedger], server: PostgresServer, schema: str
) -> None:
    """Whoever steals the password of a guard can charge and revoke, and not give anything back."""
    guard = server.new_role()
    new_ledger().migrate(grant_to=[guard])
    ledger = new_ledger(guard)
    ledger.revoke([of_token("a")])
    ledger.commit([charge()], proof(), NOW)
    with psycopg.connect(server.dsn(guard), autocommit=True, options=f"-c search_path={schema}") as thief:
        for statement in TAMPERING:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                thief.execute(statement)
        # What it may call gives nothing back either, whatever it passes.
        negative = "SELECT charge('{1}', ARRAY[%s::bytea], '{-1}', '{9}', '{NULL}', '{1}', NULL, NULL, 9e99)"
        with pytest.raises(psycopg.DataError):
            thief.execute(negative, (_digest("c"),))
        # A counter that it makes before the token's holder does is not purged before its time.
        early = "SELECT charge('{1}', ARRAY[%s::bytea], '{0}', '{9}', '{NULL}', '{1}', NULL, NULL, 1)"
        thief.execute(early, (_digest("later"),))
    ledger.commit([charge("later")], None, NOW)
    assert new_ledger().purge(NOW) == 0
    assert outcome(lambda: ledger.commit([charge("later")], None, NOW)) == "limit_exceeded"
    assert outcome(lambda: ledger.commit([charge()], None, NOW)) == "limit_exceeded"
    assert outcome(lambda: ledger.commit([], proof(), NOW)) == "proof_replayed"
    assert [entry.token_id for entry in ledger.revocations()] == ["a"]


def test_a_role_with_a_schema_of_its_own_may_make_the_tables(
    new_ledger: Callable[..., PostgresLedger], server: PostgresServer, schema: str
) -> None:
    """It may not create schemas in the database."""
    role = server.new_role()
    server.execute(SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(Identifier(schema), Identifier(role)))
    use(new_ledger(role))


@pytest.mark.parametrize("role", ["", " ", 'a"b; DROP', "nobody-knows-me", None], ids=repr)
def test_a_role_that_does_not_exist_is_granted_nothing(
    new_ledger: Callable[..., PostgresLedger], role: Any
) -> None:
    with pytest.raises(ConfigError, match="role"):
        new_ledger().migrate(grant_to=[role])


def test_roles_are_given_as_a_list(new_ledger: Callable[..., PostgresLedger]) -> None:
    with pytest.raises(ConfigError, match="grant_to must be a list"):
        new_ledger().migrate(grant_to="guards")


# ── what else may be in the database ────────────────────────────────────────────────────────────────────────

EVIL: Final = """
CREATE SCHEMA evil;
CREATE TABLE evil.caught (what text);
CREATE FUNCTION evil.caught(what text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN INSERT INTO evil.caught VALUES (what); RETURN true; END $$;
CREATE FUNCTION evil.eq(a bytea, b bytea) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.caught('bytea =') $$;
CREATE OPERATOR evil.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = evil.eq);
CREATE FUNCTION evil.eq(a text, b text) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.caught('text =') $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
CREATE FUNCTION evil.eq(a name, b text) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.caught('name =') $$;
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = text, FUNCTION = evil.eq);
CREATE FUNCTION evil.eq(a name, b name) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.caught('name = name') $$;
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.eq);
CREATE FUNCTION evil.lte(a bigint, b bigint) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.caught('<=') $$;
CREATE OPERATOR evil.<= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.lte);
CREATE FUNCTION evil.plus(a bigint, b bigint) RETURNS bigint LANGUAGE sql AS $$
    SELECT evil.caught('+')::integer::bigint $$;
CREATE OPERATOR evil.+ (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.plus);
CREATE FUNCTION evil.floor(a double precision) RETURNS double precision LANGUAGE sql AS $$
    SELECT evil.caught('floor')::integer::double precision $$;
CREATE FUNCTION evil.cardinality(a bytea[]) RETURNS integer LANGUAGE sql AS $$
    SELECT evil.caught('cardinality')::integer $$;
CREATE FUNCTION evil.pg_notify(a text, b text) RETURNS void LANGUAGE sql AS $$ SELECT evil.caught('notify') $$;
CREATE FUNCTION evil.gen_random_uuid() RETURNS text LANGUAGE sql AS $$ SELECT evil.caught('uuid')::text $$;
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$
    SELECT NULL::timestamptz WHERE evil.caught('clock') $$;
CREATE DOMAIN evil.bytea AS text CHECK (evil.caught('bytea'));
CREATE DOMAIN evil.json AS text CHECK (evil.caught('json'));
CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.caught('text'));
CREATE TABLE evil.counters AS SELECT 1; CREATE TABLE evil.version AS SELECT 1 AS number;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
"""


def test_nothing_that_lies_on_the_path_of_a_role_is_called(
    new_ledger: Callable[..., PostgresLedger], server: PostgresServer
) -> None:
    with server.connect() as owner:
        owner.execute(EVIL)
    maker, guard = server.new_role("SUPERUSER"), server.new_role()
    for role in (maker, guard):
        server.execute(
            SQL("ALTER ROLE {} SET search_path = evil, pg_catalog, public").format(Identifier(role))
        )
    with psycopg.connect(server.dsn(guard), autocommit=True) as witness:
        assert witness.execute("SELECT floor(1.0::double precision)").fetchone() == (1.0,)
        assert server.execute("SELECT what FROM evil.caught") == [("floor",)]  # the trap works
        server.execute("TRUNCATE evil.caught")
    new_ledger(maker).migrate(grant_to=[guard], may_purge=True)
    use(new_ledger(guard))
    new_ledger(maker).examine()
    another = PostgresLedger(server.dsn(maker), schema="of_the_maker")
    use(another)
    another.close()
    assert server.execute("SELECT what FROM evil.caught") == []


def test_two_schemas_in_one_database_know_nothing_of_one_another(
    server: PostgresServer, new_ledger: Callable[..., PostgresLedger], schema: str
) -> None:
    ledger = new_ledger()
    other = PostgresLedger(server.dsn(), schema=f"{schema}_other")
    ledger.revoke([of_token()])
    ledger.commit([charge()], proof(), NOW)
    assert other.revocations() == []
    assert outcome(lambda: other.commit([charge()], proof(), NOW)) == "done"
    assert ledger.position().store != other.position().store
    other.close()


# ── examining ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sound_deployment_has_nothing_to_say(
    new_ledger: Callable[..., PostgresLedger], server: PostgresServer
) -> None:
    guard = server.new_role()
    new_ledger().migrate(grant_to=[guard])
    assert new_ledger(guard).examine() == []


def test_what_lets_others_at_it_or_loses_it_is_told(
    new_ledger: Callable[..., PostgresLedger],
    server: PostgresServer,
    schema: str,
) -> None:
    ledger = new_ledger()
    ledger.position()
    assert ledger.examine() == [
        "the ledger is used by a superuser: use a role that migrate(grant_to=[role]) lets use it"
    ]
    with server.connect(schema) as owner:
        owner.execute("ALTER TABLE counters SET UNLOGGED")
        owner.execute("GRANT UPDATE ON counters TO PUBLIC")
        owner.execute(SQL("GRANT USAGE, CREATE ON SCHEMA {} TO PUBLIC").format(Identifier(schema)))
    told = ledger.examine()
    assert told[:4] == [
        "the table counters is UNLOGGED: PostgreSQL empties it after a crash",
        "every role has the right CREATE on the schema of the ledger",
        "every role has the right USAGE on the schema of the ledger",
        "every role has the right UPDATE on the table counters of the ledger",
    ]
    assert len(told) == 5


def test_a_server_that_forgets_in_a_crash_is_told() -> None:
    running = PostgresServer(fsync="off", synchronous_commit="off", full_page_writes="off")
    try:
        ledger = PostgresLedger(running.start().dsn())
        assert [line.partition(":")[0] for line in ledger.examine()][:3] == [
            "PostgreSQL runs with fsync = off",
            "PostgreSQL runs with full_page_writes = off",
            "PostgreSQL runs with synchronous_commit = off",
        ]
        ledger.close()
    finally:
        running.remove()


@pytest.mark.parametrize(
    ("host", "address", "encrypted", "mode", "told"),
    [
        ("db.example", "192.0.2.7", False, "prefer", "is not encrypted"),
        ("db.example", "2001:db8::7", False, "disable", "is not encrypted"),
        ("db.example", "192.0.2.7", True, "require", "is not verified"),
        ("db.example", "192.0.2.7", True, "verify-full", None),
        ("localhost", "127.0.0.1", False, "prefer", None),
        ("localhost", "::1", False, "prefer", None),
        ("/var/run/postgresql", "", False, "prefer", None),
    ],
)
def test_a_connection_over_a_network_is_to_be_encrypted(
    host: str, address: str, encrypted: bool, mode: str, told: str | None
) -> None:
    connection: Any = SimpleNamespace(
        info=SimpleNamespace(host=host, hostaddr=address, get_parameters=lambda: {"sslmode": mode}),
        pgconn=SimpleNamespace(ssl_in_use=encrypted),
    )
    said = list(upkeep._of_connection(connection))
    assert len(said) == (told is not None)
    assert all(told in line for line in said if told is not None)


def test_the_servers_own_clock_is_told(server: PostgresServer) -> None:
    ledger = PostgresLedger(server.dsn(), schema="never_made")
    before = time.time()
    assert before - 1 <= ledger.server_time() <= time.time() + 1
    ledger.close()
