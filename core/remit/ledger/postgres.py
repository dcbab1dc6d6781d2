"""A ledger in PostgreSQL, shared by the guards of many machines."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final, cast

from remit.errors import ConfigError, TokenRejected, shown
from remit.ledger.base import PAGE
from remit.ledger.entries import PURGE_MARGIN, Changes, LiveToken, Position, Revocation
from remit.ledger.postgres_pool import Listener, Pool, Server
from remit.ledger.postgres_upkeep import begin, calls_of, channel_of, examine, grant, migrate
from remit.names import Duration, check_name, items, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from remit.ledger.entries import Charge
    from remit.ledger.postgres_pool import Connection
    from remit.proof import Proof

__all__ = ["PostgresLedger"]

_SCHEMA: Final = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,47}", re.ASCII)
_LONGEST_WAIT: Final = 60
"""Seconds: the longest `timeout`."""
_MOST_CONNECTIONS: Final = 100
_BATCH: Final = 5_000
"""How many entries of a kind are removed, or read, in one statement."""
_PER_SECOND: Final = 10_000
"""How many revocations are taken in a second at least, when many are made at once."""
_HIGHEST: Final = 2**63 - 1

_ODD: Final = re.compile("[\\\\\x00\ud800-\udfff]")
"""What PostgreSQL does not keep in text, and the backslash that stands in front of what stands for it."""
_WRITTEN: Final = re.compile(r"\\u([0-9a-f]{4})")


class PostgresLedger:
    """Holds everything in one schema of a PostgreSQL database (13 or newer).

    It connects when it is first used, and makes or upgrades the schema then if its role may. A charge is
    one round trip and one flush to the server's disk. Revocations are announced by `NOTIFY`; where a
    pooler in transaction mode lies between, which hands on none, guards learn of them within a second.

    Args:
        dsn: a URL or connection string as libpq reads them, such as `postgresql://user@host/database`;
            what it leaves out comes from the environment (`PGPASSWORD` and others). It may name several
            hosts: the one that takes writes is used.
        schema: where in the database everything is kept, `remit` by default: at most 48 lower-case
            letters, digits and `_`. A URL can say it too, as `?schema=name`.
        timeout: how long connecting may take (two seconds at least), how long the server may say nothing,
            and how long a call waits for a free connection: at most a minute. Looking up the server's
            name is not in it.
        pool_size: how many connections a process has at most, beside one that listens.

    Raises:
        ConfigError: when psycopg is missing or something of the above makes no sense. From the first
            call on: when the schema is newer than this release knows, or the role may not use or make
            it. No message shows the DSN.
    """

    def __init__(
        self, dsn: str, *, schema: str | None = None, timeout: Duration = "2s", pool_size: int = 5
    ) -> None:
        if type(pool_size) is not int or not 0 < pool_size <= _MOST_CONNECTIONS:
            raise ConfigError(f"pool_size must be a whole number from 1 to {_MOST_CONNECTIONS}")
        self._server = Server(dsn, seconds("timeout", timeout, maximum=_LONGEST_WAIT))
        self._schema = schema = _check_schema(self._server.schema, schema)
        self._pool = Pool(self._server, pool_size)
        self._listener = Listener(self._server, channel_of(schema))
        self._is_ready = False
        self._calls = calls_of(schema)

    def __repr__(self) -> str:
        return f"PostgresLedger({str(self._server)!r}, schema={self._schema!r})"

    def __reduce__(self) -> str:
        raise TypeError("a ledger is not pickled")

    def _ready(self, connection: Connection) -> Connection:
        """Return a connection once its server is known to have the schema."""
        if not self._is_ready:
            migrate(connection, self._schema)
            self._is_ready = True  # and stays: a ledger that has vanished is not replaced by an empty one
        return connection

    def _ask(self, function: str, *values: object) -> list[tuple[Any, ...]]:
        """Call one of the schema's functions, in a transaction of its own; return its rows."""
        with self._pool.connection() as connection:
            return self._call(self._ready(connection), function, *values)

    def _call(self, connection: Connection, function: str, *values: object) -> list[tuple[Any, ...]]:
        return connection.execute(self._calls[function], values).fetchall()

    def migrate(self, *, grant_to: Iterable[str] = (), may_purge: bool = False) -> None:
        """Make or upgrade the schema now, with this ledger's role, and let other roles use it.

        Args:
            grant_to: roles that may charge, revoke, enroll and look things up from then on. They cannot
                touch the tables themselves, so they cannot undo anything.
            may_purge: whether they may `purge` too. Who may, says what time it is, and so can have
                everything removed; leave it to the role that owns the schema.

        Raises:
            ConfigError: when this role may not make the schema or let others use it, there is no such
                role, or the schema is newer than this release knows.
            psycopg.Error: when the server does not answer.
        """
        roles = [check_name("a role", role) for role in items("grant_to", grant_to)]
        with self._pool.connection() as connection:
            migrate(connection, self._schema)
            grant(connection, self._schema, roles, may_purge=may_purge)
        self._is_ready = True

    def examine(self) -> list[str]:
        """Return what makes this deployment lose data or lets others at it, in plain sentences."""
        with self._pool.connection() as connection:
            return examine(connection, self._schema)

    def server_time(self) -> float:
        """Return the server's time, in seconds since the epoch: for comparing clocks, and nothing else."""
        question = "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8"
        with self._pool.connection() as connection:
            [(seconds,)] = connection.execute(question).fetchall()
        return float(seconds)

    def revoke(self, revocations: Sequence[Revocation]) -> list[bool]:
        """Add revocations; for each, whether it says something new."""
        parts = _parts([_entry(revocation) for revocation in revocations])
        news: list[bool] = []
        if not parts:
            return news
        with self._pool.connection(self._server.patience + len(revocations) / _PER_SECOND) as connection:
            self._ready(connection)
            if len(parts) > 1:
                begin(connection, "READ WRITE", connection.patience)
            for part in parts:
                news += self._call(connection, "revoke", json.dumps(part, allow_nan=False))[0][0]
            if len(parts) > 1:
                connection.execute("COMMIT")
        return news

    def position(self) -> Position:
        """Return how far the ledger has come."""
        return Position(*self._ask("position")[0])

    def changes(self, since: int, limit: int = PAGE) -> Changes:
        """Return the oldest `limit` changes whose number is greater than `since`, 0 for all."""
        *rows, (newest, store, _, _) = self._ask("changes", since, limit + 1)
        if len(rows) > limit:
            del rows[limit:]
            newest = rows[-1][0] if rows else since
        entries = [(_read(subject), expires_at, until) for _, subject, expires_at, until in rows]
        return Changes(Position(store, newest), entries)

    def revocations(self, limit: int | None = None) -> list[Revocation]:
        """Return the newest `limit` revocations, or all, newest first."""
        wanted = _HIGHEST if limit is None else limit
        if wanted <= _BATCH:
            return [_revoked(*row) for row in self._ask("revocations", _HIGHEST, wanted)]
        found: list[Revocation] = []
        with self._pool.connection() as connection:
            # As of one moment, since what changes in between would come with a number read past.
            begin(self._ready(connection), "ISOLATION LEVEL REPEATABLE READ READ ONLY", connection.patience)
            below = _HIGHEST
            while len(found) < wanted:
                page = self._call(connection, "revocations", below, min(_BATCH, wanted - len(found)))
                found += [_revoked(*row) for row in page]
                if len(page) < _BATCH:
                    break
                below = page[-1][0]
            connection.execute("COMMIT")
        return found

    def commit(self, charges: Sequence[Charge], proof: Proof | None, now: float) -> None:
        """Charge every counter and remember the proof, or do nothing at all.

        It is not tried again when the answer is lost: it may have been done.
        """
        if not charges and proof is None:
            return
        key, expires_at = (None, None) if proof is None else (_digest(proof.key), proof.expires_at)
        _judge(self._ask("charge", *_arrays(charges), key, expires_at, now), charges)

    def probe(self, charges: Sequence[Charge], now: float) -> None:
        """Raise what `commit` would raise for these charges, and charge nothing."""
        if charges:
            _judge(self._ask("probe", *_arrays(charges)[:-1], now), charges)

    def enroll(self, token: LiveToken) -> None:
        """Keep the metadata of a token that was issued."""
        entry = {name: _written(value) for name, value in token.to_dict().items()}
        self._ask("enroll", json.dumps(entry))

    def token(self, token_id: str) -> LiveToken | None:
        """Return the metadata of a token that was issued, when it is known."""
        rows = self._ask("token", _written(token_id))
        return _token(*rows[0]) if rows else None

    def tokens(self, now: float, *, limit: int = 100, before: LiveToken | None = None) -> list[LiveToken]:
        """Return tokens that have not expired, those that live longest first (then by identifier)."""
        below = (_HIGHEST, "") if before is None else (before.expires_at, _written(before.token_id))
        return [_token(*row) for row in self._ask("tokens", math.floor(now), limit, *below)]

    def purge(self, now: float) -> int:
        """Remove what has been expired for longer than the margin; return the number of entries.

        It is done in parts, so that nobody waits for it.
        """
        count, more = 0, True
        while more:
            [(removed, more)] = self._ask("purge", math.floor(now - PURGE_MARGIN), math.floor(now), _BATCH)
            count += removed
        return count

    def wait(self, timeout: float) -> None:
        """Wait until something may have been revoked, or for `timeout` seconds; it listens afterwards.

        Raises:
            psycopg.OperationalError: when the connection is lost, or none is to be had.
        """
        self._listener.wait(timeout)

    def close(self) -> None:
        """Close all connections; those in use are closed when their call ends."""
        self._listener.close()
        self._pool.close()


def _check_schema(in_url: str | None, given: object) -> str:
    if in_url is not None and given is not None and in_url != given:
        raise ConfigError("the URL of the PostgreSQL ledger names another schema than the argument")
    schema = given if in_url is None else in_url
    if schema is None:
        return "remit"
    if not isinstance(schema, str) or not _SCHEMA.fullmatch(schema):
        raise ConfigError(
            f"schema {shown(schema)} must be at most 48 lower-case letters, digits and '_', and not begin"
            " with a digit or 'pg_'"
        )
    return schema


def _digest(name: str) -> bytes:
    """Return what a counter or proof is kept by: always as long, whatever its name."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()


def _arrays(charges: Sequence[Charge]) -> tuple[str, ...]:
    """Return what the function `charge` takes, as array literals: numbers and hexadecimal digits only."""
    keyed = sorted((_digest(charge.counter).hex(), place, charge) for place, charge in enumerate(charges, 1))
    rows = [
        (
            f"{place:d}",
            rf'"\\x{key}"',
            f"{charge.amount:d}",
            f"{charge.ceiling:d}",
            "NULL" if charge.window is None else f"{charge.window:d}",
            f"{charge.expires_at:d}",
        )
        for key, place, charge in keyed
    ]
    return tuple(f"{{{','.join(column)}}}" for column in zip(*rows, strict=True)) or ("{}",) * 6


def _judge(rows: list[tuple[Any, ...]], charges: Sequence[Charge]) -> None:
    """Raise the refusal that the functions `charge` and `probe` return as a place."""
    place: int = rows[0][0]
    if place < 0:
        raise TokenRejected("proof_replayed", "The proof of possession was used before.")
    if place > 0:
        raise charges[place - 1].exceeded()


def _written(value: Any) -> Any:
    """Return a value as it is kept: text so that every text can be."""
    if isinstance(value, list):
        return [_written(element) for element in cast("list[object]", value)]
    if not isinstance(value, str) or not _ODD.search(value):
        return value
    return _ODD.sub(lambda match: f"\\u{ord(match[0]):04x}", value)


def _read(text: Any) -> Any:
    """Return text that was kept as it was before."""
    if text is None or "\\" not in text:
        return text
    return _WRITTEN.sub(lambda match: chr(int(match[1], 16)), text)


def _entry(revocation: Revocation) -> dict[str, Any]:
    return {
        "subject": _written(revocation.subject),
        "revoked_at": revocation.revoked_at,
        "expires_at": revocation.expires_at,
        "issued_until": revocation.issued_until,
        "reason": _written(revocation.reason),
    }


def _parts(entries: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Cut a list so that no part names a subject twice: what is said second comes after the first."""
    parts: list[list[dict[str, Any]]] = []
    seen: set[str] = set()
    for entry in entries:
        if not parts or entry["subject"] in seen:
            parts.append([])
            seen = set()
        parts[-1].append(entry)
        seen.add(entry["subject"])
    return parts


def _revoked(
    _number: int, subject: str, at: float, expires_at: int, until: float | None, reason: str | None
) -> Revocation:
    return Revocation.of(_read(subject), at, expires_at, until, _read(reason))


def _token(token_id: str, agent: str, issuer: str, holder: str, *rest: Any) -> LiveToken:
    issued_at, expires_at, capabilities, session, task, revoked_with = rest
    return LiveToken(
        token_id=_read(token_id),
        agent=_read(agent),
        issuer=_read(issuer),
        holder=_read(holder),
        issued_at=issued_at,
        expires_at=expires_at,
        capabilities=tuple(map(_read, capabilities)),
        session=_read(session),
        task=_read(task),
        revoked_with=tuple(map(_read, revoked_with)),
    )
