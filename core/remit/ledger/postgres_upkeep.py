"""Making, upgrading and examining the schema of a PostgreSQL ledger."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg import errors
from psycopg.sql import SQL, Composed, Identifier, Literal

from remit.errors import ConfigError, shown
from remit.ledger.postgres_schema import FUNCTIONS, MIGRATIONS, TRUSTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from remit.ledger.postgres_pool import Connection

__all__ = ["begin", "calls_of", "channel_of", "examine", "grant", "migrate", "version_of"]

_PATIENCE: Final = 60
"""Seconds that making or upgrading a schema may take, waiting for another process that does so included."""
_LOCK: Final = 0x52454D4954
"""Taken, beside one for the schema, by whoever makes or upgrades: the letters REMIT."""


def channel_of(schema: str) -> str:
    """Return the channel on which a ledger says that something was revoked."""
    return f"{schema}_revoked"


def calls_of(schema: str) -> dict[str, bytes]:
    """Return the statement that calls each function, with a place for each value that it takes."""
    calls: dict[str, bytes] = {}
    for name, types in FUNCTIONS.items():
        places = SQL(", ".join(f"%s::{kind}" for kind in types.split(", ") if kind))
        call = _sql("SELECT * FROM {schema}.{name}({places})", schema, name=SQL(name), places=places)
        calls[name] = call.as_bytes()
    return calls


def version_of(connection: Connection, schema: str) -> int:
    """Return the version of a schema, 0 when it was not made.

    Raises:
        ConfigError: when this role may not know.
    """
    try:
        table = f'"{schema}".version'
        exists = connection.execute("SELECT pg_catalog.to_regclass(%s)::pg_catalog.text", (table,)).fetchone()
        if exists is None or exists[0] is None:
            return 0
        row = connection.execute(_sql("SELECT number FROM {schema}.version", schema)).fetchone()
    except errors.InsufficientPrivilege:
        raise ConfigError(
            f"this role may not use the schema {shown(schema)}; let its owner call migrate(grant_to=[role])"
        ) from None
    return int(row[0]) if row else 0


def begin(connection: Connection, mode: LiteralString, patience: float) -> None:
    """Begin a transaction of several statements; the server ends it when this process does not.

    Args:
        connection: where.
        mode: what kind of transaction it is, in SQL.
        patience: seconds that a statement, a lock, or the time between two statements may take.
    """
    connection.execute(
        SQL(
            "BEGIN {mode}; SET LOCAL statement_timeout = {wait}; SET LOCAL lock_timeout = {wait};"
            "SET LOCAL idle_in_transaction_session_timeout = {wait};"
            "SET LOCAL search_path = pg_catalog, pg_temp"
        ).format(mode=SQL(mode), wait=Literal(round(patience * 1000)))
    )


def migrate(connection: Connection, schema: str) -> None:
    """Make the schema, or bring it to the newest version, as far as it is not; or change nothing.

    Raises:
        ConfigError: when it is newer than this program knows, or this role may not make it.
    """
    if _up_to_date(connection, schema):
        return
    patience, connection.patience = connection.patience, _PATIENCE + 5.0
    try:
        begin(connection, "READ WRITE", _PATIENCE)
        connection.execute(
            "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(%s, %s))", (schema, _LOCK)
        )
        exists = connection.execute("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (schema,))
        if exists.fetchone() is None:
            connection.execute(_sql("CREATE SCHEMA {schema}", schema))
        _upgrade(connection, schema)
        connection.execute("COMMIT")
    except errors.InsufficientPrivilege:
        connection.close()
        raise ConfigError(
            f"this role may not make the schema {shown(schema)}; let one that may call migrate()"
        ) from None
    finally:
        connection.patience = patience


def _up_to_date(connection: Connection, schema: str) -> bool:
    version = version_of(connection, schema)
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"the schema {shown(schema)} has version {version}, and this release of remit knows"
            f" {len(MIGRATIONS)} at most"
        )
    return version == len(MIGRATIONS)


def _upgrade(connection: Connection, schema: str) -> None:
    """Run the migrations that are missing; whoever held the lock before may have done so."""
    if _up_to_date(connection, schema):
        return
    version = version_of(connection, schema)
    if version == 0:
        connection.execute(_sql("CREATE TABLE {schema}.version (number integer NOT NULL)", schema))
        connection.execute(_sql("INSERT INTO {schema}.version VALUES (0)", schema))
    for migration in MIGRATIONS[version:]:
        connection.execute(_sql(migration, schema, channel=Literal(channel_of(schema)), trusted=SQL(TRUSTED)))
    connection.execute(_sql("UPDATE {schema}.version SET number = {number}", schema, number=len(MIGRATIONS)))
    connection.execute(_sql("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC", schema))


def _sql(statement: LiteralString, schema: str, **parts: object) -> Composed:
    return SQL(statement).format(schema=Identifier(schema), **parts)


def grant(connection: Connection, schema: str, roles: Sequence[str], *, may_purge: bool) -> None:
    """Let roles use a ledger: call its functions, and touch none of its tables themselves.

    Raises:
        ConfigError: when there is no such role, or this one may not let it.
    """
    functions: list[LiteralString] = [name for name in FUNCTIONS if may_purge or name != "purge"]
    refused = ConfigError(
        f"this role may not let {', '.join(map(shown, roles))} use the schema {shown(schema)}"
    )
    begin(connection, "READ WRITE", connection.patience)
    for role in roles:
        try:
            _grant(connection, schema, role, functions)
        except (errors.InsufficientPrivilege, errors.UndefinedObject):
            raise refused from None
        # To grant what one may not is no error to PostgreSQL.
        last = (role, schema, role, f'"{schema}"."token"(text)')
        may = "SELECT has_schema_privilege(%s, %s, 'USAGE') AND has_function_privilege(%s, %s, 'EXECUTE')"
        if connection.execute(may, last).fetchone() != (True,):
            raise refused
    connection.execute("COMMIT")


def _grant(connection: Connection, schema: str, role: str, functions: Sequence[LiteralString]) -> None:
    to = Identifier(role)
    connection.execute(_sql("GRANT USAGE ON SCHEMA {schema} TO {role}", schema, role=to))
    connection.execute(_sql("GRANT SELECT ON {schema}.version TO {role}", schema, role=to))
    for name in functions:
        call = _sql("GRANT EXECUTE ON FUNCTION {schema}.{name} TO {role}", schema, name=SQL(name), role=to)
        connection.execute(call)


def examine(connection: Connection, schema: str) -> list[str]:
    """Return what makes this server lose what it is told, or lets others at it, in plain sentences."""
    begin(connection, "READ ONLY", connection.patience)
    found = [
        *_of_settings(connection),
        *_of_connection(connection),
        *_of_rights(connection, schema),
    ]
    connection.execute("COMMIT")
    return found


def _of_settings(connection: Connection) -> Iterator[str]:
    harm = {
        "fsync": "a crash of its machine can destroy the ledger",
        "full_page_writes": "a crash of its machine can destroy pages of the ledger",
        "synchronous_commit": "a crash loses the last charges and revocations that it has confirmed",
    }
    rows = connection.execute(
        "SELECT s.name FROM pg_catalog.pg_settings s WHERE s.setting = 'off' AND s.name = ANY (%s)",
        (list(harm),),
    )
    for (name,) in sorted(rows):
        yield f"PostgreSQL runs with {name} = off: {harm[name]}"


def _of_connection(connection: Connection) -> Iterator[str]:
    address = connection.info.hostaddr
    if connection.info.host.startswith("/") or not address or ip_address(address).is_loopback:
        return
    if not connection.pgconn.ssl_in_use:
        yield "the connection to PostgreSQL is not encrypted: add sslmode=verify-full to its URL"
    elif connection.info.get_parameters().get("sslmode") not in {"verify-full", "verify-ca"}:
        yield "the certificate of PostgreSQL is not verified: add sslmode=verify-full to its URL"


_WIDE: Final = """
SELECT 'the schema', a.privilege_type FROM pg_catalog.pg_namespace n,
    pg_catalog.aclexplode(n.nspacl) a WHERE n.nspname = %(schema)s AND a.grantee = 0
UNION
SELECT 'the table ' || c.relname, a.privilege_type FROM pg_catalog.pg_class c,
    pg_catalog.aclexplode(c.relacl) a WHERE c.relnamespace = (
        SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = %(schema)s)
    AND c.relkind = 'r' AND a.grantee = 0
ORDER BY 1, 2
"""
_UNLOGGED: Final = """
SELECT c.relname FROM pg_catalog.pg_class c, pg_catalog.pg_namespace n
WHERE n.oid = c.relnamespace AND n.nspname = %(schema)s AND c.relkind = 'r' AND c.relpersistence = 'u'
ORDER BY 1
"""
_ROLE: Final = "SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user"


def _of_rights(connection: Connection, schema: str) -> Iterator[str]:
    values: dict[str, Any] = {"schema": schema}
    for (table,) in connection.execute(_UNLOGGED, values):
        yield f"the table {table} is UNLOGGED: PostgreSQL empties it after a crash"
    for what, right in connection.execute(_WIDE, values):
        yield f"every role has the right {right} on {what} of the ledger"
    role = connection.execute(_ROLE).fetchone()
    if role is not None and role[0]:
        yield "the ledger is used by a superuser: use a role that migrate(grant_to=[role]) lets use it"
