"""The files of a log: opened so that nothing else is written to, and read from either end.

A log at ``PATH`` has ``PATH.head`` beside it, which is also what its writers lock; the files that it
was continued from are ``PATH.000000000001`` and so on, each named by the number of its first record.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from remit.audit.line import MAX_LINE, parse_line
from remit.encoding import EncodingError
from remit.errors import ConfigError, shown
from remit.files import as_path

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Segment",
    "head_of",
    "lines_from",
    "lines_until",
    "log_path",
    "open_own",
    "own_segments",
    "segment_path",
    "segments_of",
    "why",
]

_OWN: Final = 0o600
_BLOCK: Final = 1 << 16
_DIGITS: Final = 12
_MOST_DIGITS: Final = 18
_OTHERS_WRITE: Final = 0o002


class Segment(NamedTuple):
    """A file that a log was continued from."""

    first: int
    """The number of its first record."""
    path: str


def log_path(path: str | os.PathLike[str]) -> str:
    """Return the absolute path of a log.

    Raises:
        ConfigError: when it is no path.
    """
    return str(as_path(path).absolute())


def why(error: Exception) -> str:
    """Return what an error says, without the path that one of the system's would show."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


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
    log, found = Path(path), list[Segment]()
    with os.scandir(log.parent) as entries:
        for entry in entries:
            base, _, number = entry.name.rpartition(".")
            if base == log.name and _DIGITS <= len(number) <= _MOST_DIGITS and _is_number(number):
                found.append(Segment(int(number), entry.path))
    return sorted(found)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def own_segments(path: str) -> list[Segment]:
    """Return the files that the log at `path` was continued from, without what only has such a name.

    Raises:
        OSError: when its folder, or one of them, cannot be read.
    """
    return [segment for segment in segments_of(path) if _first_of(segment.path) == segment.first]


def _first_of(path: str) -> int | None:
    """Return the number of the first record in a file, or None when there is none."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return None
        return parse_line(next(lines_from(handle, 0, status.st_size), b"")).seq
    except EncodingError:
        return None
    finally:
        os.close(handle)


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
    flags = os.O_RDWR | (os.O_CREAT if create else 0) | (os.O_APPEND if append else 0)
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # no system has all of them
        flags |= getattr(os, name, 0)
    handle = os.open(path, flags, _OWN)
    try:
        _check_own(path, os.fstat(handle).st_mode)
    except ConfigError:
        os.close(handle)
        raise
    return handle


def _check_own(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{shown(path)} is not a regular file")
    if os.name == "posix" and mode & _OTHERS_WRITE:
        raise ConfigError(f"anybody can write {shown(path)}; make its mode 0600")


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
