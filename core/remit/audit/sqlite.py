"""An audit log as a table of SQLite: the same lines, chained the same way."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import quote

from remit.audit.closing import Closing
from remit.audit.files import log_path, open_own, why
from remit.audit.line import GENESIS, Tail, body_of, digest_of, link
from remit.audit.sealer import Sealer
from remit.errors import ConfigError, TokenRejected, shown
from remit.forks import renew_in_child
from remit.names import seconds

if TYPE_CHECKING:
    from collections.abc import Generator

    from remit.issue import Issuer
    from remit.names import Duration
    from remit.record import AuditRecord

__all__ = ["SqliteAudit"]

_LONGEST_WAIT: Final = 600
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS audit_lines (seq INTEGER PRIMARY KEY, line TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS audit_head (
        one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash TEXT NOT NULL, log TEXT NOT NULL
    )""",
)
_HEAD: Final = "SELECT seq, hash, log FROM audit_head WHERE one = 1"


class SqliteAudit(Closing):
    """Writes records to a table of an SQLite database, for any number of threads and processes.

    The table `audit_lines` has one row a record, whose `line` is what `JsonlAudit` would write, without
    its line feed; `audit_head` says how the log ends. `verify_log` and `read_log` take the database's
    path. What cannot be written raises, and the guard denies the call.

    Args:
        path: the database. It is made when it is not there, readable by its owner alone; its folder must
            exist, and be on a local disk.
        signer: signs the checkpoints, as for `JsonlAudit`.
        every: how often a checkpoint is due, in records; 1,000 by default. The same in all writers.
        fsync: whether a record is on the disk when the call goes on; without it, a machine that loses
            power may lose the last seconds.
        wait: how long another process may hold the database before a record fails; five seconds by
            default.

    Raises:
        ConfigError: when an argument makes no sense, or the database cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        signer: Issuer | None = None,
        every: int = 1000,
        fsync: bool = False,
        wait: Duration = 5,
    ) -> None:
        self._path = log_path(path)
        self._sealer = Sealer(signer, every)
        self._fsync = bool(fsync)
        self._wait = seconds("wait", wait, maximum=_LONGEST_WAIT)
        self._lock = Lock()
        self._closed = self._unsealed = False
        self._last = 0.0
        self._file = (0, 0)
        self._known: tuple[str, Tail] | None = None
        """The log's identity and last line when it was last written here; it only ever goes on from there."""
        try:
            os.close(open_own(self._path, create=True, append=False))
            self._connection: sqlite3.Connection | None = self._opened()
        except OSError as error:
            raise ConfigError(f"{shown(self._path)} cannot be opened: {why(error)}") from None
        except sqlite3.Error as error:
            raise ConfigError(f"{shown(self._path)} cannot be used as a database: {error}") from None
        renew_in_child(self)

    def _opened(self) -> sqlite3.Connection:
        status = os.lstat(self._path)
        self._file = (status.st_ino, status.st_dev)
        connection = sqlite3.connect(
            f"file:{quote(self._path)}?mode=rw", uri=True, timeout=self._wait, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._fsync else 'NORMAL'}")
            for statement in _SCHEMA:
                connection.execute(statement)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def record(self, record: AuditRecord) -> None:
        """Write a record.

        Raises:
            Denied: with `audit_unavailable`, when it cannot be written.
            ConfigError: when it is not a record.
        """
        body = body_of(record)
        if not self._lock.acquire(timeout=self._wait):
            _unavailable("other threads have been writing for too long")
        try:
            self._write(body, record.at)
            self._last, self._unsealed = record.at, True
        except (OSError, sqlite3.Error, ConfigError) as error:
            _unavailable(why(error), error)
        finally:
            self._lock.release()

    def _write(self, body: str | None, at: float) -> None:
        """Write a record, or a checkpoint when there is none."""
        if self._closed:
            _unavailable("it was closed")
        if self._connection is None:
            self._connection = self._opened()
        status = os.lstat(self._path)
        if (status.st_ino, status.st_dev) != self._file:
            _unavailable("another file stands in its place")
        with _transaction(self._connection) as connection:
            row = connection.execute(_HEAD).fetchone()
            log, tail = (
                (os.urandom(16).hex(), Tail(0, GENESIS)) if row is None else (row[2], Tail(row[0], row[1]))
            )
            if self._known is not None and not _goes_on(self._known, log, tail):
                _unavailable(f"it was put back to before record {self._known[1].seq}, or replaced")
            lines: list[tuple[int, str]] = []
            if body is None or row is None or self._sealer.due(tail):
                first = 1 if row is None else None
                data, tail = self._sealer.checkpoint(tail, at, log, first=first)
                lines.append((tail.seq, data.decode("ascii").rstrip("\n")))
            if body is not None:
                data = link(tail, body)
                tail = Tail(tail.seq + 1, digest_of(data))
                lines.append((tail.seq, data.decode("ascii").rstrip("\n")))
            connection.executemany("INSERT INTO audit_lines (seq, line) VALUES (?, ?)", lines)
            connection.execute(
                "INSERT INTO audit_head (one, seq, hash, log) VALUES (1, ?, ?, ?)"
                " ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
                (tail.seq, tail.digest, log),
            )
        self._known = (log, tail)

    def close(self) -> None:
        """Write a checkpoint, if anything was recorded since the last one, and close the database.

        Raises:
            Denied: with `audit_unavailable`, when the checkpoint cannot be written; the database is closed.
        """
        with self._lock:
            try:
                if self._unsealed and not self._closed:
                    self._write(None, self._last)
            except (OSError, sqlite3.Error, ConfigError) as error:
                _unavailable(why(error), error)
            finally:
                connection, self._connection, self._closed = self._connection, None, True
                if connection is not None:
                    connection.close()

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def __repr__(self) -> str:
        return f"SqliteAudit({self._path!r})"

    def renew(self) -> None:
        """Let go of what a child process shares with its parent; when it records, it opens the log anew."""
        self._lock = Lock()
        connection, self._connection, self._unsealed = self._connection, None, False
        if connection is not None:
            _parents.append(connection)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:  # whatever it is, nothing of the transaction stays
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _goes_on(known: tuple[str, Tail], log: str, tail: Tail) -> bool:
    return log == known[0] and (tail.seq > known[1].seq or tail == known[1])


def _unavailable(problem: str, error: Exception | None = None) -> NoReturn:
    raise TokenRejected("audit_unavailable", f"The audit log cannot be written: {problem}.") from error


_parents: Final[list[sqlite3.Connection]] = []
"""Connections that a parent process opened: closing them here would take its locks away."""
