"""The file of a SQLite ledger: what is in it, how it is made, and how an older one is brought up to date.

Invariants:

- a file that is no ledger, or one of a newer Remit, is refused and not written to;
- a file is brought up to date wholly or not at all, by one process while the others wait;
- only its owner may read a file that is made here, from its first moment on.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple
from urllib.parse import quote

from remit.errors import ConfigError, shown
from remit.files import PRIVATE_MODE

__all__ = ["APPLICATION_ID", "STEPS", "FileId", "connect", "create", "file_id"]

APPLICATION_ID: Final = 0x52656D69
"""What `PRAGMA application_id` says of a ledger: `Remi`."""

_Steps = tuple[tuple[str, ...], ...]

STEPS: Final[_Steps] = (
    (
        """CREATE TABLE ledger (
            store TEXT NOT NULL, changes INTEGER NOT NULL, forgotten_until INTEGER NOT NULL)""",
        "INSERT INTO ledger VALUES (lower(hex(randomblob(8))), 0, 0)",
        """CREATE TABLE revocation (
            number INTEGER PRIMARY KEY, subject TEXT NOT NULL UNIQUE, revoked_at NOT NULL,
            expires_at INTEGER NOT NULL, issued_until, reason TEXT)""",
        "CREATE INDEX revocation_expiry ON revocation (expires_at)",
        """CREATE TABLE counter (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, total INTEGER NOT NULL, last_at,
            expires_at INTEGER NOT NULL)""",
        "CREATE INDEX counter_expiry ON counter (expires_at)",
        # When the last uses were: the use number n of a rate of m uses is in slot n % m.
        """CREATE TABLE rate_use (
            counter INTEGER NOT NULL, slot INTEGER NOT NULL, used_at NOT NULL,
            PRIMARY KEY (counter, slot)) WITHOUT ROWID""",
        "CREATE TABLE proof (key TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX proof_expiry ON proof (expires_at)",
        """CREATE TABLE token (
            token_id TEXT PRIMARY KEY, agent TEXT NOT NULL, issuer TEXT NOT NULL, holder TEXT NOT NULL,
            issued_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, capabilities TEXT NOT NULL,
            session TEXT, task TEXT, revoked_with TEXT NOT NULL) WITHOUT ROWID""",
        "CREATE INDEX token_expiry ON token (expires_at, token_id)",
    ),
)
"""What brings a file from each version to the next; `PRAGMA user_version` counts those that were taken."""

_OLDEST: Final = (3, 24, 0)
"""The first SQLite that can insert or update in one statement."""
_SMALLEST: Final = 512
"""Bytes of the smallest file that SQLite makes."""
_PAUSE: Final = 0.02
_making: Final = Lock()
"""Held while a file is made: closing it would end locks that another thread has on it (POSIX)."""


class FileId(NamedTuple):
    """Tells whether a path still leads to the file that it led to."""

    device: int
    inode: int


def file_id(path: Path) -> FileId:
    """Return which file is at `path`.

    Raises:
        FileNotFoundError: when there is none.
    """
    status = path.stat()
    return FileId(status.st_dev, status.st_ino)


def create(path: Path) -> None:
    """Make an empty file for a ledger, unless something is there already.

    Raises:
        ConfigError: when it cannot be made, or what is there is no regular file, or no database.
    """
    try:
        with _making:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE))
        _sync_folder(path.parent)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise ConfigError(
            f"the ledger {shown(str(path))} cannot be made: its folder does not exist"
        ) from None
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise ConfigError(f"the ledger {shown(str(path))} cannot be made: {why}") from None
    with suppress(OSError):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"the ledger {shown(str(path))} is not a regular file")
        if 0 < status.st_size < _SMALLEST:  # SQLite would take it for an empty one
            raise ConfigError(f"{shown(str(path))} is not a SQLite database")


def _sync_folder(folder: Path) -> None:
    """Have the name of a new file outlive a power cut, where folders can be synced."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def connect(path: Path, *, timeout: float, durable: bool, is_new: bool) -> tuple[sqlite3.Connection, FileId]:
    """Return a connection to the ledger at `path`, brought up to date, and which file that is.

    Args:
        path: where it is; the file exists.
        timeout: seconds to wait for other processes.
        durable: whether every commit is synced to the disk.
        is_new: whether an empty file may be made into a ledger, and one that cannot be written is refused.

    Raises:
        ConfigError: when it is no ledger, or one of a newer Remit, or cannot be opened or written.
    """
    name = shown(str(path))
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ConfigError(f"SqliteLedger needs SQLite 3.24 or newer, not {sqlite3.sqlite_version}")
    try:
        file = file_id(path)
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",  # never makes a file
            uri=True,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _prepare(connection, name, is_new=is_new, deadline=time.monotonic() + timeout)
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            replaced = file_id(path) != file
        except BaseException:  # it is raised again; an interrupt must leave nothing open either
            connection.close()
            raise
    except FileNotFoundError:
        raise ConfigError(f"the ledger {name} is not there") from None
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"the ledger {name} cannot be used: {error}") from error
    if replaced:
        connection.close()
        raise ConfigError(f"the ledger {name} was replaced while it was opened")
    return connection, file


def _prepare(connection: sqlite3.Connection, name: str, *, is_new: bool, deadline: float) -> None:
    """Bring the file up to date; when this raises, closing the connection takes all of it back."""
    connection.execute("BEGIN")  # what is read is of one moment
    version = _check(connection, name, is_new=is_new)  # before anything is written
    connection.execute("COMMIT")
    _use_wal(connection, deadline)
    if version == len(STEPS) and not is_new:
        return  # whoever only reads does not wait for those who write
    connection.execute("BEGIN IMMEDIATE")
    version = _check(connection, name, is_new=is_new)  # another process may have come first
    for step in STEPS[version:]:
        for statement in step:
            connection.execute(statement)
    if version < len(STEPS):
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    # Also when it is the same: only a write shows that the file can be written, BEGIN IMMEDIATE does not.
    connection.execute(f"PRAGMA user_version={len(STEPS)}")
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, name: str, *, is_new: bool) -> int:
    """Return the version of a ledger, 0 for a file that may become one."""
    [(application,)] = connection.execute("PRAGMA application_id")
    [(version,)] = connection.execute("PRAGMA user_version")
    if application == APPLICATION_ID and 0 < version <= len(STEPS):
        return int(version)
    if application == APPLICATION_ID and version > len(STEPS):
        raise ConfigError(
            f"the ledger {name} is of a newer Remit: its version is {version},"
            f" and this one knows {len(STEPS)}"
        )
    [(objects,)] = connection.execute("SELECT count(*) FROM sqlite_master")
    if application or version or objects:
        raise ConfigError(f"{name} is a database of another application")
    if not is_new:
        raise ConfigError(f"the ledger {name} was emptied")
    return 0


def _use_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Have readers and one writer not wait for each other, where the file system can do that.

    The mode stays with the file. While it changes, others are turned away at once, whatever their
    time-out, so this asks again.
    """
    while True:
        try:
            [(mode,)] = connection.execute("PRAGMA journal_mode")
            if mode != "wal":
                connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return
