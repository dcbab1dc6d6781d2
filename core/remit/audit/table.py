"""Where the lines of a log in a table are read from. Nothing is changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from remit.audit.findings import Finding, Place
from remit.audit.head import Head
from remit.audit.line import GENESIS, MAX_LINE
from remit.audit.source import ChangedMeanwhileError, Snapshot
from remit.errors import ConfigError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ["TableSource"]

_TABLES: Final = (
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('audit_lines', 'audit_head')"
)
_HEAD: Final = "SELECT seq, hash, log FROM audit_head"
_LINE: Final = "SELECT line FROM audit_lines WHERE seq = ?"
_UP: Final = "SELECT seq FROM audit_lines WHERE seq > ? ORDER BY seq"
_DOWN: Final = "SELECT seq FROM audit_lines ORDER BY seq DESC"
_BEFORE_ALL: Final = -(1 << 63)


class TableSource:
    """A log in a table, as `SqliteAudit` writes it.

    Args:
        path: the absolute path of the database.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def snapshot(self) -> Generator[Snapshot]:
        """Return what there is now, to be read in the block.

        Raises:
            ConfigError: when there is no log, or it cannot be read.
            ChangedMeanwhileError: when somebody began to write after the look had begun.
        """
        resting = self._resting()
        try:
            with closing(self._opened(resting=resting is not None)) as connection:
                self._connection = connection
                connection.execute("BEGIN")
                if connection.execute(_TABLES).fetchone() != (2,):
                    raise ConfigError(f"{shown(self._path)} is a database without an audit log")
                yield self._taken(connection)
        except sqlite3.Error as error:
            if resting is None or resting == self._resting():
                raise ConfigError(f"the audit log {shown(self._path)} cannot be read: {error}") from None
        finally:
            self._connection = None
        if resting is not None and resting != self._resting():
            raise ChangedMeanwhileError(f"{shown(self._path)} was changed while it was read")

    def _resting(self) -> tuple[int, int] | None:
        """Return the state of the file when nobody has it open to write, else None.

        A database that somebody writes has a file `-wal` beside it, and a reader takes part in its
        upkeep. One at rest is read without touching anything.
        """
        if Path(f"{self._path}-wal").exists():
            return None
        status = Path(self._path).stat()
        return status.st_mtime_ns, status.st_size

    def _opened(self, *, resting: bool) -> sqlite3.Connection:
        mode = "mode=ro&immutable=1" if resting else "mode=ro"
        connection = sqlite3.connect(f"file:{quote(self._path)}?{mode}", uri=True, isolation_level=None)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MAX_LINE)
        return connection

    def _taken(self, connection: sqlite3.Connection) -> Snapshot:
        rows = connection.execute(_HEAD).fetchmany(2)
        if not rows:
            missing = "there is no head beside the lines, so a cut at their end would not be found"
            return Snapshot((), None, 0, None, Finding("head_missing", missing, self._path))
        head = _head(rows[0]) if len(rows) == 1 else None
        problem = None if head is not None else Finding("head_wrong", "the head is not one", self._path)
        return Snapshot((), None, 0, head, problem)

    def size(self, snapshot: Snapshot) -> int:
        """Return what the head of a table has as the size."""
        return snapshot.end

    def files(self, snapshot: Snapshot) -> int:
        """Return how many files it has."""
        del snapshot  # a database counts as one
        return 1

    def lines(self, snapshot: Snapshot) -> Iterator[tuple[Place, bytes]]:
        """Yield the lines of a snapshot, oldest first, with where they stand."""
        del snapshot  # the transaction is the snapshot
        for number, (_, line) in enumerate(self._rows(self._known(), _UP, _BEFORE_ALL), 1):
            yield Place(self._path, number), line

    def last_lines(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the lines of a snapshot, newest first."""
        del snapshot  # as above
        return (line for _, line in self._rows(self._known(), _DOWN))

    def new_lines(self, snapshot: Snapshot, last: int, pause: Callable[[], None]) -> Iterator[bytes]:
        """Yield what is written after a snapshot, for ever, and `pause` when there is nothing."""
        del snapshot  # it ends here, and what was opened as one at rest never sees anything new
        with closing(self._opened(resting=False)) as connection:
            while True:
                for seq, line in self._rows(connection, _UP, last):
                    last = seq
                    yield line
                pause()

    def _known(self) -> sqlite3.Connection:
        if self._connection is None:
            raise ConfigError("a snapshot is read in its block")
        return self._connection

    def _rows(
        self, connection: sqlite3.Connection, numbers: str, *parameters: int
    ) -> Iterator[tuple[int, bytes]]:
        for (seq,) in connection.execute(numbers, parameters):
            try:
                row = connection.execute(_LINE, (seq,)).fetchone()
            except (sqlite3.DataError, sqlite3.OperationalError):  # too long, or not UTF-8
                row = None
            line: object = None if row is None else row[0]
            yield seq, line.encode("utf-8", "surrogatepass") + b"\n" if isinstance(line, str) else b"\n"


def _head(row: tuple[object, ...]) -> Head | None:
    seq, digest, log = row
    if type(seq) is not int or seq < 0 or not isinstance(digest, str) or not isinstance(log, str):
        return None
    return Head(seq, digest, 0, log) if len(digest) == len(GENESIS) else None
