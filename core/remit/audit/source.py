"""Where the lines of a log are read from: its files, oldest first, or a table. Nothing is changed.

A snapshot is taken under the lock that writers hold: which files there are, how long the last one is,
and what the head says at that moment. What is written afterwards is not looked at.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from remit.audit.files import head_of, lines_from, lines_until, log_path, segments_of, why
from remit.audit.findings import Finding, Place
from remit.audit.head import read_head
from remit.audit.line import parse_line
from remit.audit.locks import shared
from remit.encoding import EncodingError
from remit.errors import ConfigError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

    from remit.audit.head import Head

__all__ = ["ChangedMeanwhileError", "FileSource", "Snapshot", "Source", "opened", "source_of", "unreadable"]

_SQLITE: Final = b"SQLite format 3\0"


class ChangedMeanwhileError(OSError):
    """A log was changed in a way that needs it to be looked at again from the beginning."""


class Snapshot(NamedTuple):
    """A log as it was at one moment."""

    older: tuple[str, ...]
    """The files it was continued from, oldest first."""
    handle: int | None
    """Its last file, open; None when there is none, or the log is a table."""
    end: int
    """How many bytes of the last file count."""
    head: Head | None
    problem: Finding | None
    """What is wrong with the head."""


class Source(Protocol):
    """A log that can be read."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Return what there is now, to be read in the block."""
        ...

    def size(self, snapshot: Snapshot) -> int:
        """Return what the head should have as the size."""
        ...

    def files(self, snapshot: Snapshot) -> int:
        """Return how many files it has."""
        ...

    def lines(self, snapshot: Snapshot) -> Iterator[tuple[Place, bytes]]:
        """Yield the lines of a snapshot, oldest first, with where they stand."""
        ...

    def last_lines(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the lines of a snapshot, newest first."""
        ...

    def new_lines(self, snapshot: Snapshot, last: int, pause: Callable[[], None]) -> Iterator[bytes]:
        """Yield what is written after a snapshot, for ever, and `pause` when there is nothing.

        Args:
            snapshot: whose lines are known.
            last: the number of its last record.
            pause: waits a moment.
        """
        ...


def source_of(path: str | os.PathLike[str]) -> Source:
    """Return the log at `path`, whichever kind it is.

    Raises:
        ConfigError: when there is none, or it cannot be read.
    """
    where = log_path(path)
    table = False
    try:
        if not Path(head_of(where)).exists():  # a table's head is in the table
            with opened(where) as handle:
                table = os.read(handle, len(_SQLITE)) == _SQLITE
    except FileNotFoundError:
        pass
    except OSError as error:
        raise unreadable(where, error) from None
    if table:
        from remit.audit.table import TableSource

        return TableSource(where)
    return FileSource(where)


def unreadable(path: str, error: OSError) -> ConfigError:
    """Return what to raise when a log cannot be read."""
    return ConfigError(f"the audit log {shown(path)} cannot be read: {why(error)}")


@contextmanager
def opened(path: str) -> Generator[int]:
    """Open a regular file for reading.

    Raises:
        OSError: when it cannot be opened.
        ConfigError: when it is something else than a file.
    """
    flags = (
        os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    )
    handle = os.open(path, flags)  # without O_NONBLOCK a pipe would wait for ever
    try:
        _check_regular(path, handle)
        yield handle
    finally:
        os.close(handle)


def _check_regular(path: str, handle: int) -> None:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise ConfigError(f"{shown(path)} is not a regular file")


class FileSource:
    """A log in files.

    Args:
        path: its absolute path.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    @contextmanager
    def snapshot(self) -> Generator[Snapshot]:
        """Return what there is now, to be read in the block.

        Raises:
            ConfigError: when there is no log, or it cannot be read.
        """
        with ExitStack() as stack:
            try:
                snapshot = self._taken(stack)
            except OSError as error:
                raise unreadable(self._path, error) from None
            if snapshot.handle is None and not snapshot.older and snapshot.head is None:
                raise ConfigError(f"there is no audit log {shown(self._path)}")
            yield snapshot

    def _taken(self, stack: ExitStack) -> Snapshot:
        beside, head, problem = head_of(self._path), None, None
        missing = "there is no head beside the log, so a cut at its end would not be found"
        with ExitStack() as lock:
            try:
                handle = lock.enter_context(opened(beside))
            except FileNotFoundError:
                problem = Finding("head_missing", missing, beside)
            else:
                lock.enter_context(shared(handle))
                try:
                    head = read_head(handle)
                except EncodingError as error:
                    problem = Finding("head_wrong", f"the head {error}", beside)
                if head is None and problem is None:
                    problem = Finding("head_missing", missing, beside)
            older = tuple(segment.path for segment in segments_of(self._path))
            try:
                last = stack.enter_context(opened(self._path))
            except FileNotFoundError:
                return Snapshot(older, None, 0, head, problem)
            return Snapshot(older, last, os.fstat(last).st_size, head, problem)

    def size(self, snapshot: Snapshot) -> int:
        """Return how many bytes the last file has that has any."""
        if snapshot.end == 0 and snapshot.older:
            return Path(snapshot.older[-1]).stat().st_size
        return snapshot.end

    def files(self, snapshot: Snapshot) -> int:
        """Return how many files it has."""
        return len(snapshot.older) + (snapshot.handle is not None)

    def lines(self, snapshot: Snapshot) -> Iterator[tuple[Place, bytes]]:
        """Yield the lines of a snapshot, oldest first, with where they stand.

        Raises:
            OSError: when a file cannot be read.
        """
        for path in snapshot.older:
            with opened(path) as handle:
                for number, data in enumerate(lines_from(handle, 0, os.fstat(handle).st_size), 1):
                    yield Place(path, number), data
        if snapshot.handle is not None:
            for number, data in enumerate(lines_from(snapshot.handle, 0, snapshot.end), 1):
                yield Place(self._path, number), data

    def last_lines(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the lines of a snapshot, newest first.

        Raises:
            OSError: when a file cannot be read.
        """
        if snapshot.handle is not None:
            yield from lines_until(snapshot.handle, snapshot.end)
        for path in reversed(snapshot.older):
            with opened(path) as handle:
                yield from lines_until(handle, os.fstat(handle).st_size)

    def new_lines(self, snapshot: Snapshot, last: int, pause: Callable[[], None]) -> Iterator[bytes]:
        """Yield what is written after a snapshot, for ever, and `pause` when there is nothing.

        Raises:
            OSError: when a file cannot be read.
        """
        handle, offset = snapshot.handle, snapshot.end
        with ExitStack() as own:
            while True:
                if handle is not None:
                    current = self._is_current(handle)  # asked before the rest is read
                    for data in lines_from(handle, offset, os.fstat(handle).st_size):
                        if not data.endswith(b"\n"):
                            break  # it is being written
                        offset, last = offset + len(data), _number(data, last)
                        yield data
                    if current:
                        pause()
                        continue
                own.close()
                segment = next((s for s in segments_of(self._path) if s.first > last), None)
                try:
                    handle = own.enter_context(opened(self._path if segment is None else segment.path))
                except FileNotFoundError:  # between two files
                    handle = None
                    pause()
                offset, last = 0, last if segment is None else segment.first

    def _is_current(self, handle: int) -> bool:
        try:
            named = Path(self._path).stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(handle))


def _number(data: bytes, otherwise: int) -> int:
    try:
        return parse_line(data).seq
    except EncodingError:
        return otherwise
