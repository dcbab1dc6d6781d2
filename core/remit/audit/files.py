"""The files of a log: opened so that nothing else is written to, locked for a bounded time, read from the end.

A log at ``PATH`` has ``PATH.head`` beside it, which is also what its writers lock; the files that it
was continued from are ``PATH.000000000001`` and so on, each named by the number of its first record.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from remit.audit.line import MAX_LINE
from remit.errors import ConfigError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # not on this system
    fcntl = None  # type: ignore[assignment]  # asked for before it is used

__all__ = [
    "OtherHolderError",
    "Segment",
    "head_of",
    "lines_from",
    "lines_until",
    "locked",
    "need_locks",
    "open_own",
    "segments_of",
    "unlocked",
]

_OWN: Final = 0o600
_BLOCK: Final = 1 << 16
_DIGITS: Final = 12
_OTHERS_WRITE: Final = 0o002
_FIRST_PAUSE: Final = 0.0002
_LONGEST_PAUSE: Final = 0.01


class OtherHolderError(Exception):
    """Another process has held a log's lock for longer than was to be waited."""


class Segment(NamedTuple):
    """A file that a log was continued from."""

    first: int
    """The number of its first record."""
    path: str


def need_locks() -> None:
    """Check that this system has what several writers need.

    Raises:
        ConfigError: when it has not.
    """
    if fcntl is None:
        raise ConfigError("JsonlAudit needs file locks (fcntl), which this system lacks; use SqliteAudit")


def head_of(path: str) -> str:
    """Return the path of a log's head."""
    return f"{path}.head"


def segment_path(path: str, first: int) -> str:
    """Return the path of the file that holds the records from number `first` on, once it is full."""
    return f"{path}.{first:0{_DIGITS}d}"


def segments_of(path: str) -> list[Segment]:
    """Return the files that the log at `path` was continued from, oldest first.

    Raises:
        OSError: when its folder cannot be read.
    """
    folder, name = os.path.split(path)
    found: list[Segment] = []
    with os.scandir(folder or ".") as entries:
        for entry in entries:
            base, _, number = entry.name.rpartition(".")
            if base == name and len(number) >= _DIGITS and number.isascii() and number.isdecimal():
                found.append(Segment(int(number[:18]), os.path.join(folder, entry.name)))  # noqa: PTH118 - a hot name
    return sorted(found)


def open_own(path: str, *, create: bool, append: bool) -> int:
    """Open a file of a log for reading and writing, and return its handle.

    Args:
        path: where; a symbolic link is refused.
        create: whether to make it, readable by its owner alone, when it is not there.
        append: whether what is written goes to its end.

    Raises:
        OSError: when it cannot be opened; FileNotFoundError when it is not there and not to be made.
        ConfigError: when it is not a regular file, or anybody can write it.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    flags |= (os.O_CREAT if create else 0) | (os.O_APPEND if append else 0)
    handle = os.open(path, flags, _OWN)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{shown(path)} is not a regular file")
        if status.st_mode & _OTHERS_WRITE:
            raise ConfigError(f"anybody can write {shown(path)}; make its mode 0600")
    except BaseException:  # whatever it is, the handle is not left open
        os.close(handle)
        raise
    return handle


def locked(handle: int, wait: float) -> None:
    """Take the lock of a log.

    Raises:
        OtherHolderError: when another process has it for `wait` seconds on end.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        return
    pause, deadline = _FIRST_PAUSE, time.monotonic() + wait
    while True:
        time.sleep(pause)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise OtherHolderError(f"another process has held the log for {wait:g} seconds") from None
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            return


def unlocked(handle: int) -> None:
    """Give the lock of a log back."""
    fcntl.flock(handle, fcntl.LOCK_UN)


def lines_until(handle: int, end: int) -> Iterator[bytes]:
    """Yield the lines before offset `end`, the last one first, each with its line feed.

    What is too long to be a line ends it.
    """
    rest, start = b"", end
    while start > 0 and len(rest) <= MAX_LINE:
        size = min(_BLOCK, start)
        start -= size
        rest = _read_at(handle, size, start) + rest
        while (cut := rest.rfind(b"\n", 0, -1)) >= 0:
            yield rest[cut + 1 :]
            rest = rest[: cut + 1]
    if rest and start == 0:
        yield rest


def lines_from(handle: int, start: int, end: int) -> Iterator[bytes]:
    """Yield the lines from offset `start` to `end`, each with its line feed.

    The last one has none when the file does not end with one. Of what is longer than a line can be,
    only a beginning is given, also without a line feed.
    """
    rest, position, skipping = b"", start, False
    while position < end:
        block = _read_at(handle, min(_BLOCK, end - position), position)
        if not block:
            break  # the file is shorter than it was
        position += len(block)
        *whole, rest = (rest + block).split(b"\n")
        for piece in whole:
            if not skipping:
                yield piece + b"\n"
            skipping = False
        if skipping:
            rest = b""
        elif len(rest) > MAX_LINE:
            yield rest
            rest, skipping = b"", True
    if rest:
        yield rest


def _read_at(handle: int, size: int, offset: int) -> bytes:
    os.lseek(handle, offset, os.SEEK_SET)
    return os.read(handle, size)
