"""A ledger in one SQLite file, shared by the processes of one machine.

Invariants:

- everything is written in one transaction at a time, which ends with the process that made it;
- a connection is used by one thread at a time and never by two processes: it is closed before a fork;
- a file that was deleted, emptied or replaced by something else is never taken for a new ledger.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
import weakref
from threading import Lock
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from remit.errors import ConfigError, shown
from remit.files import PRIVATE_MODE, as_path
from remit.ledger import sqlite_statements as statements
from remit.ledger.base import PAGE
from remit.ledger.entries import Changes, Position
from remit.ledger.sqlite_schema import FileId, connect, create, file_id
from remit.names import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from remit.ledger.entries import Charge, LiveToken, Revocation
    from remit.names import Duration
    from remit.proof import Proof

__all__ = ["SqliteLedger"]

P = ParamSpec("P")
T = TypeVar("T")

_LOOK: Final = 1.0
"""Seconds after which a reader looks whether the file is still there; whoever writes always does."""
_LONGEST_TIMEOUT: Final = 3_600


class SqliteLedger:
    """Keeps everything in one SQLite file, for all processes of one machine. Safe for threads.

    A revocation is on the disk when `revoke` returns. What else is written outlives the process, also
    when it is killed; a power cut or a crash of the machine may take back the charges, proofs and
    tokens of the last moments, unless the ledger is `durable`. It never takes back a revocation, and
    never leaves a file that cannot be read.

    Args:
        path: the file. It is made, readable by its owner only, when it is not there; its folder is not.
            SQLite keeps two more files beside it, ending in `-wal` and `-shm`, which belong to it.
        durable: whether every charge is on the disk as well before a call is allowed; that takes as long
            as the disk takes to sync.
        timeout: how long to wait for the other processes' transactions, in whole seconds.

    Raises:
        ConfigError: when the file cannot be opened or written, is no ledger, or one of a newer Remit.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, durable: bool = False, timeout: Duration = "5s"
    ) -> None:
        if isinstance(path, str) and path == ":memory:":
            raise ConfigError("a ledger in memory is MemoryLedger(); SqliteLedger needs the path of a file")
        self._path: Path = as_path(path).absolute()  # wherever the process may go
        self._durable = bool(durable)
        self._timeout: float = seconds("timeout", timeout, maximum=_LONGEST_TIMEOUT)
        self._lock = Lock()
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._file: FileId | None = None
        self._looked = 0.0
        with _forking:
            _opened.add(self)
        with self._lock:
            create(self._path)
            self._open(is_new=True)

    # ── revocations ─────────────────────────────────────────────────────────────────────────────────────────

    def revoke(self, revocations: Sequence[Revocation]) -> list[bool]:
        """Add revocations, all or none; for each, whether it says something new.

        They are on the disk when this returns.
        """
        return self._write(statements.revoke, revocations, synced=True)

    def position(self) -> Position:
        """Return how far the ledger has come."""
        return self._read(self._position)

    def _position(self, connection: sqlite3.Connection) -> Position:
        [(store, number)] = connection.execute("SELECT store, changes FROM ledger")
        # A file that was put in place of another is another store, whatever it is a copy of.
        return Position(f"{store}-{self._file.inode:x}" if self._file else store, number)

    def changes(self, since: int, limit: int = PAGE) -> Changes:
        """Return the oldest `limit` changes whose number is greater than `since`, 0 for all."""
        return self._read(self._changes, since, limit)

    def _changes(self, connection: sqlite3.Connection, since: int, limit: int) -> Changes:
        connection.execute("BEGIN")  # the position and the changes are those of one moment
        position = self._position(connection)
        entries: list[tuple[str, int, float | None]] = connection.execute(
            "SELECT subject, expires_at, issued_until FROM revocation WHERE number > ?"
            " ORDER BY number LIMIT ?",
            (since, limit + 1),
        ).fetchall()
        if len(entries) > limit:
            del entries[limit:]
            [(last,)] = connection.execute("SELECT number FROM revocation WHERE subject = ?", entries[-1][:1])
            position = position._replace(number=last)
        connection.execute("COMMIT")
        return Changes(position, entries)

    def revocations(self, limit: int | None = None) -> list[Revocation]:
        """Return the newest `limit` revocations, or all, newest first."""
        return self._read(statements.revocations, -1 if limit is None else limit)

    # ── counters and proofs ─────────────────────────────────────────────────────────────────────────────────

    def commit(self, charges: Sequence[Charge], proof: Proof | None, now: float) -> None:
        """Charge every counter and remember the proof, or do nothing at all."""
        self._write(statements.commit, charges, proof, now)

    def probe(self, charges: Sequence[Charge], now: float) -> None:
        """Raise what `commit` would raise for these charges, and charge nothing."""
        self._write(statements.commit, charges, None, now, end="ROLLBACK")

    # ── tokens ──────────────────────────────────────────────────────────────────────────────────────────────

    def enroll(self, token: LiveToken) -> None:
        """Keep the metadata of a token that was issued."""
        self._write(statements.enroll, token)

    def token(self, token_id: str) -> LiveToken | None:
        """Return the metadata of a token that was issued, when it is known."""
        return self._read(statements.token, token_id)

    def tokens(self, now: float, *, limit: int = 100, before: LiveToken | None = None) -> list[LiveToken]:
        """Return tokens that have not expired, those that live longest first (then by identifier)."""
        return self._read(statements.tokens, now, limit, before)

    # ── housekeeping ────────────────────────────────────────────────────────────────────────────────────────

    def purge(self, now: float) -> int:
        """Remove what has been expired for longer than the margin; return the number of entries.

        Much is removed in several transactions, between which the others have as much time again.
        """
        count, is_more = 0, True
        while is_more:
            begun = time.monotonic()
            removed, is_more = self._write(statements.purge, now)
            count += removed
            if is_more:
                time.sleep(time.monotonic() - begun)
        return count

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the ledger to a new file that only its owner may read, while it is in use.

        Args:
            path: the copy, which must not exist.

        Raises:
            ConfigError: when it exists or cannot be made.
        """
        target = as_path(path)
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE))
        except OSError as error:
            raise ConfigError(f"the copy {shown(str(target))} cannot be made: {error.strerror}") from None
        copy = sqlite3.connect(target)
        try:
            self._read(sqlite3.Connection.backup, copy)
        finally:
            copy.close()

    def examine(self) -> list[str]:
        """Return, in plain sentences, what may lose data or is unsafe about this file and its place."""
        from remit.ledger.sqlite_examine import examine_file, examine_place

        return [*examine_place(self._path), *self._read(examine_file)]

    def close(self) -> None:
        """Close the file. The ledger may be used again afterwards, and opens it then."""
        if self._pid == os.getpid():  # what a parent has open is not for its child to close
            with self._lock:
                self._drop()

    def pause(self) -> bool:
        """Close the file before a fork, and let nobody in; tell whether nobody was."""
        if not self._lock.acquire(timeout=self._timeout):
            return False  # the child may then not use this ledger
        self._drop()
        return True

    def resume(self) -> None:
        """Let everybody in again after a fork, in either process."""
        self._pid = os.getpid()
        self._lock.release()

    def __repr__(self) -> str:
        return f"SqliteLedger({shown(str(self._path))})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a SqliteLedger is not pickled; open another one with its path")

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None and self._pid == os.getpid():
            connection.close()
        elif connection is not None:
            _stranded.append(connection)

    # ── the connection ──────────────────────────────────────────────────────────────────────────────────────

    def _read(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._enter()
        try:
            connection = self._current(look=time.monotonic() - self._looked >= _LOOK)
            try:
                return work(connection, *args, **kwargs)
            except BaseException as error:  # raised again: an interrupt leaves no transaction either
                self._undo(connection, error)
                raise
        finally:
            self._lock.release()

    def _write(self, work: Callable[..., T], *args: Any, synced: bool = False, end: str = "COMMIT") -> T:
        self._enter()
        try:
            connection = self._current(look=True)
            try:
                if synced:
                    connection.execute("PRAGMA synchronous=FULL")
                connection.execute("BEGIN IMMEDIATE")
                result = work(connection, *args)
                connection.execute(end)
            except BaseException as error:  # as above
                self._undo(connection, error)
                raise
            finally:
                if synced and not self._durable and self._connection is connection:
                    connection.execute("PRAGMA synchronous=NORMAL")
            return result
        finally:
            self._lock.release()

    def _enter(self) -> None:
        if self._pid != os.getpid():
            raise OSError(errno.ESTALE, "the ledger was open when this process was forked; open another one")
        if not self._lock.acquire(timeout=self._timeout):
            raise TimeoutError("other threads have kept the ledger busy for too long")

    def _current(self, *, look: bool) -> sqlite3.Connection:
        """Return the connection, to the file that is at the path now."""
        if self._connection is not None and look:
            found = file_id(self._path)  # fails when it was deleted: it is not made anew
            self._looked = time.monotonic()
            if found != self._file:
                self._drop()
        return self._connection or self._open(is_new=False)

    def _open(self, *, is_new: bool) -> sqlite3.Connection:
        connection, self._file = connect(
            self._path, timeout=self._timeout, durable=self._durable, is_new=is_new
        )
        self._connection, self._looked = connection, time.monotonic()
        return connection

    def _undo(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """Leave no transaction behind, nor a connection that may be broken."""
        is_broken = isinstance(error, sqlite3.Error) and not is_busy(error)
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            is_broken = True
        if is_broken:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether other processes have kept the ledger busy for too long, and nothing else is wrong."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


# ── forks ───────────────────────────────────────────────────────────────────────────────────────────────────

_opened: Final[weakref.WeakSet[SqliteLedger]] = weakref.WeakSet()
_forking: Final = Lock()
_paused: Final[list[SqliteLedger]] = []
_stranded: Final[list[sqlite3.Connection]] = []
"""Connections of the parent, which this process may neither use nor close."""


def _before_fork() -> None:
    """Close every ledger: what SQLite knows of its locks on a file is wrong in a process that was forked."""
    _forking.acquire()
    _paused[:] = [ledger for ledger in list(_opened) if ledger.pause()]


def _after_fork() -> None:
    while _paused:
        _paused.pop().resume()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
