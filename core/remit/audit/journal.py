"""A log on disk, as its writers see it: how it ends, and how it goes on.

Invariants, which hold after ``kill -9`` at any moment:

- a line is written first, in one write, and the head that speaks of it second; so the log is never
  behind its head, unless somebody cut it or a machine without `fsync` lost power;
- lines that the head does not know are taken over only when they follow from it, and that is recorded;
- what was begun and never finished is put aside, recorded, and only then removed from the log;
- a file is full before it is renamed, and named before the next one begins; an empty file always
  continues what is before it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from remit.audit.files import (
    Segment,
    head_of,
    lines_from,
    lines_until,
    open_own,
    own_segments,
    segment_path,
)
from remit.audit.head import Head, read_head, write_head
from remit.audit.line import GENESIS, MAX_LINE, Line, Tail, digest_of, link, parse_line
from remit.encoding import EncodingError, b64url_encode
from remit.errors import ConfigError, shown

if TYPE_CHECKING:
    from remit.audit.sealer import Sealer
    from remit.encoding import JsonObject

__all__ = ["Journal"]

_ADVICE: Final = (
    "look at it with `remit audit verify`, then move it aside, with its head and the files it was "
    "continued from, and begin a new one"
)
_AROUND: Final = 80  # bytes of a line beside its record, about
_LOOK_EVERY: Final = 0.05
"""Seconds in which a file that somebody put in the log's place is noticed. (On Linux a look at a file's
times makes the next write to it several times as slow, so not every record looks.)"""


class Journal:
    """The files of one log. Whoever calls a method holds the lock on `handle`.

    Args:
        path: the absolute path of the log.
        sealer: adds what is recorded to the chain.
        max_bytes: how large a file may grow before the log is continued in a new one; None is for ever.
        keep: how many files that the log was continued from are kept; None keeps all.
        fsync: whether a record is on the disk when it was written, and not only with the system.

    Raises:
        OSError: when its head cannot be opened.
        ConfigError: when there is a log without a head.
    """

    def __init__(
        self, path: str, sealer: Sealer, *, max_bytes: int | None, keep: int | None, fsync: bool
    ) -> None:
        self._path = path
        self._sealer = sealer
        self._max_bytes = max_bytes
        self._keep = keep
        self._fsync = fsync
        self._log = -1
        self._file = (0, 0)
        self._size = -1
        self._tail = Tail(0, GENESIS)
        self._id = ""
        self._adopted = self._torn = 0
        self._look_again = 0.0
        self._head: Head | None = None
        """What the head said when it was last read or written here; a log only ever goes on from there."""
        self.unsealed: bool = False
        """Whether something was recorded here since the last checkpoint."""
        self.handle: int = self._open_head()

    def _open_head(self) -> int:
        # In this order: a writer that begins a log makes the head before the first line.
        begun = bool(own_segments(self._path))
        with suppress(FileNotFoundError):
            status = os.lstat(self._path)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{shown(self._path)} is not a regular file")
            begun = begun or status.st_size > 0
        try:
            return open_own(head_of(self._path), create=not begun, append=False)
        except FileNotFoundError:
            if begun:
                raise self._refusal("has records, but no head that says how it ends") from None
            raise

    def _refusal(self, problem: str) -> ConfigError:
        return ConfigError(f"the audit log {shown(self._path)} {problem}; {_ADVICE}")

    def close(self) -> None:
        """Close the files; afterwards the journal is of no use."""
        handles, self._log, self.handle = (self._log, self.handle), -1, -1
        for handle in handles:
            if handle >= 0:
                os.close(handle)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self.close()

    # ── how it ends ─────────────────────────────────────────────────────────────────────────────────────────

    def catch_up(self) -> None:
        """Find out how the log ends now, whatever other writers did, or were doing when they died.

        Raises:
            ConfigError: when the log is not what its head says.
            OSError: when a file cannot be read or made.
        """
        self._size = -1  # until it is known again, nothing is appended
        try:
            self._size = self._find_end()
        finally:
            self._look_again = 0.0

    def _find_end(self) -> int:
        """Return up to where the file is in order, and note what comes then."""
        try:
            head = read_head(self.handle)
        except EncodingError:
            raise self._refusal("has a head that cannot be read") from None
        same = self._reopen(head)
        status = os.fstat(self._log)
        if head is None:
            if status.st_size or own_segments(self._path):
                raise self._refusal("has records, but an empty head")
            head = Head(0, GENESIS, 0, os.urandom(16).hex())
            write_head(self.handle, head)
        last = self._head
        if last is not None and not (head.log == last.log and (head.seq > last.seq or head == last)):
            raise self._refusal(f"was put back to before record {last.seq}, or replaced")
        self._head = head
        known = same and head.size == status.st_size and head.seq > self._tail.seq
        base = head.size if known else self._join(head, status.st_size)
        self._file = (status.st_ino, status.st_dev)
        self._tail, self._id = Tail(head.seq, head.digest), head.log
        self._adopted = self._torn = 0
        return self._adopt(base, status.st_size)

    def _reopen(self, head: Head | None) -> bool:
        """Open the log's file; tell whether it is still the one that was open before."""
        try:
            status = os.lstat(self._path)
        except FileNotFoundError:
            if head is not None and head.seq > 0 and not self._was_renamed(head):
                raise self._refusal("is gone, but its head is there") from None
        else:
            if self._log >= 0 and (status.st_ino, status.st_dev) == self._file:
                return True
        if self._log >= 0:
            handle, self._log = self._log, -1
            os.close(handle)
        self._log = open_own(self._path, create=True, append=True)
        self._sync_folder()
        return False

    def _join(self, head: Head, size: int) -> int:
        """Return where in the file the lines begin that the head does not know."""
        if head.seq == 0:
            return 0
        if head.size <= size and _ends_with(self._log, head):
            return head.size
        if self._was_renamed(head):
            return 0
        if size < head.size:
            raise self._refusal(f"is shorter than its head says: record {head.seq} was written")
        raise self._refusal(f"does not hold record {head.seq} where its head says")

    def _was_renamed(self, head: Head) -> bool:
        """Tell whether the head speaks of the file that this one continues."""
        segments = own_segments(self._path)
        if not segments:
            return False
        handle = os.open(segments[-1].path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.fstat(handle).st_size == head.size and _ends_with(handle, head)
        finally:
            os.close(handle)

    def _adopt(self, base: int, end: int) -> int:
        """Take over complete lines that the head does not know; return where they end."""
        for data in lines_from(self._log, base, end):
            if not data.endswith(b"\n") and len(data) <= MAX_LINE:
                self._torn = end - base
                break
            try:
                line = parse_line(data)
            except EncodingError as error:
                raise self._refusal(f"goes on after record {self._tail.seq} with what {error}") from None
            if base and "first" in line.members:  # only a file's first line says what was removed before it
                raise self._refusal(f"goes on after record {self._tail.seq} as if it began there")
            if (line.seq - 1, line.prev) != self._tail or line.members.get("log", self._id) != self._id:
                raise self._refusal(f"goes on after record {self._tail.seq} with what does not follow")
            self._tail = Tail(line.seq, digest_of(data))
            base += len(data)
            self._adopted += 1
        return base

    # ── how it goes on ──────────────────────────────────────────────────────────────────────────────────────

    def append(self, body: str, at: float) -> None:
        """Write a record.

        Args:
            body: its members, as `body_of` makes them.
            at: its time; checkpoints have no other clock.

        Raises:
            OSError: when it cannot be written; then the log is as it was.
            ConfigError: when the log is not what its head says, or the record is too long.
        """
        self._look()
        tail, size = self._tail, self._size
        plain = size and not (self._torn or self._adopted or self._sealer.due(tail))
        if not plain or (self._max_bytes is not None and size + len(body) + _AROUND > self._max_bytes):
            self._prepare(len(body), at)
            tail = self._tail
        line = link(tail, body)
        self._write(line, Tail(tail.seq + 1, digest_of(line)))
        self.unsealed = True

    def seal(self, at: float) -> None:
        """Write a checkpoint.

        Raises:
            OSError: as `append`.
            ConfigError: as `append`.
        """
        self._look()
        self._checkpoint(at)

    def _look(self) -> None:
        """Catch up when the log is not as it was left.

        Every writer makes the file longer before it does anything else, so its size tells. Whether
        somebody put another file in its place costs more to find out, and is asked now and then.
        """
        same_size = self._size >= 0 and os.lseek(self._log, 0, os.SEEK_END) == self._size
        if same_size and os.access(self._path, os.F_OK):
            now = time.monotonic()
            if now < self._look_again:
                return
            if not os.path.samestat(os.lstat(head_of(self._path)), os.fstat(self.handle)):
                raise self._refusal("has another head than the one it was written with")
            status = os.lstat(self._path)
            if (status.st_ino, status.st_dev) == self._file:
                self._look_again = now + _LOOK_EVERY
                return
        self.catch_up()

    def _prepare(self, size: int, at: float) -> None:
        """Write what has to stand before the next record."""
        if self._adopted or self._torn or (self._size and self._sealer.due(self._tail)):
            self._checkpoint(at)
        if self._max_bytes is not None and self._size and self._size + size + _AROUND > self._max_bytes:
            self._continue(at)
        if not self._size:
            self._checkpoint(at)

    def _checkpoint(self, at: float) -> None:
        remarks = self._recover()
        first, outdated = (None, []) if self._size else self._retention()
        self._write(*self._sealer.checkpoint(self._tail, at, self._id, first=first, remarks=remarks))
        self.unsealed = False
        for segment in outdated:
            with suppress(OSError):  # it is tried again the next time
                Path(segment.path).unlink()

    def _recover(self) -> JsonObject:
        """Put aside what a writer left unfinished; return what is to be said of it."""
        remarks: JsonObject = {}
        reasons: list[str] = []
        if self._adopted:
            remarks["adopted"] = self._adopted
            reasons.append(f"the head did not know {self._adopted} of the records before this one")
        if self._torn:
            torn = os.pread(self._log, self._torn, self._size)
            name = f"{self._path}.torn-{self._tail.seq + 1}-{os.urandom(4).hex()}"
            _save(name, torn)
            os.ftruncate(self._log, self._size)
            digest = b64url_encode(hashlib.sha256(torn).digest())
            remarks["torn"] = {"file": Path(name).name, "size": len(torn), "digest": digest}
            reasons.append(f"{len(torn)} bytes of an unfinished line were put aside")
        if reasons:
            remarks["reason"] = "; ".join(reasons)
        self._adopted = self._torn = 0
        return remarks

    def _retention(self) -> tuple[int, list[Segment]]:
        """Return the first record that is kept, and the files before it, which are not."""
        segments = own_segments(self._path)
        outdated = segments[: -self._keep] if self._keep else []
        if outdated:
            return segments[len(outdated)].first, outdated
        if not segments:
            return 1, []
        handle = os.open(segments[-1].path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            first = self._first_line(handle).members.get("first")
        finally:
            os.close(handle)
        return (first if type(first) is int else 1), []

    def _continue(self, at: float) -> None:
        """Give the file its final name, and begin the next one."""
        self._checkpoint(at)  # also tells the other writers that something happened
        target = segment_path(self._path, self._first_line(self._log).seq)
        if os.path.lexists(target):
            raise self._refusal(f"cannot be continued, since {shown(target)} is there already")
        Path(self._path).rename(target)
        self._sync_folder()
        self.catch_up()

    def _first_line(self, handle: int) -> Line:
        try:
            return parse_line(next(lines_from(handle, 0, os.fstat(handle).st_size), b""))
        except EncodingError as error:
            raise self._refusal(f"has a first line that {error}") from None

    def _write(self, line: bytes, tail: Tail) -> None:
        size = self._size + len(line)
        try:
            _write_whole(self._log, line)
            if self._fsync:
                os.fsync(self._log)
            head = Head(tail.seq, tail.digest, size, self._id)
            write_head(self.handle, head)
        except OSError:
            with suppress(OSError):  # then the next writer finds it and puts it aside
                os.ftruncate(self._log, self._size)
            raise
        self._size, self._tail, self._head = size, tail, head

    def _sync_folder(self) -> None:
        if self._fsync:
            handle = os.open(Path(self._path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _write_whole(handle: int, data: bytes) -> None:
    if os.write(handle, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _ends_with(handle: int, head: Head) -> bool:
    line = next(lines_until(handle, head.size), b"")
    return line.endswith(b"\n") and digest_of(line) == head.digest


def _save(path: str, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            Path(path).unlink()
        raise
