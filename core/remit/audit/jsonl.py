"""An audit log as a file of JSON lines, for any number of threads and processes on one machine."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Final, NoReturn

from remit.audit.closing import Closing
from remit.audit.files import log_path, why
from remit.audit.journal import Journal
from remit.audit.line import body_of
from remit.audit.locks import OtherHolderError, lock, need_locks, unlock
from remit.audit.sealer import Sealer, whole_number
from remit.errors import ConfigError, TokenRejected, shown
from remit.forks import renew_in_child
from remit.names import seconds

if TYPE_CHECKING:
    from remit.issue import Issuer
    from remit.names import Duration
    from remit.record import AuditRecord

__all__ = ["JsonlAudit"]

_LEAST_BYTES: Final = 4096
_MOST_BYTES: Final = 1 << 50
_MOST_KEPT: Final = 1_000_000
_LONGEST_WAIT: Final = 600


class JsonlAudit(Closing):
    """Writes records to a file, one line each, every line holding the hash of the line before.

    Records that were written survive ``kill -9`` of any writer at any moment. What cannot be written
    raises, and the guard denies the call.

    Args:
        path: the log. It is made when it is not there, readable by its owner alone, and `PATH.head`
            beside it; its folder must exist, and be on a local disk.
        signer: signs the checkpoints. Guards hold nothing private, so this is an issuer that was made
            for the audit log alone; None leaves checkpoints unsigned.
        every: how often a checkpoint is due, in records; 1,000 by default. The same in all writers.
        max_bytes: how large a file may grow, at least 4,096 bytes; then it is renamed to `PATH.` and the
            number of its first record, and the log continues in a new one. None, the default, lets it grow.
        keep: how many renamed files are kept; None, the default, keeps all.
        fsync: whether a record is on the disk, and not only with the operating system, when the call
            goes on. Without it a machine that loses power may lose the last seconds.
        wait: how long another process may hold the log before a record fails; five seconds by default.

    Raises:
        ConfigError: when an argument makes no sense, the file cannot be used, or the log does not end
            as its head says; then the message says how to go on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        signer: Issuer | None = None,
        every: int = 1000,
        max_bytes: int | None = None,
        keep: int | None = None,
        fsync: bool = False,
        wait: Duration = 5,
    ) -> None:
        need_locks()
        self._path = log_path(path)
        self._sealer = Sealer(signer, every)
        self._max_bytes = (
            None if max_bytes is None else whole_number("max_bytes", max_bytes, _LEAST_BYTES, _MOST_BYTES)
        )
        if keep is not None and max_bytes is None:
            raise ConfigError("keep needs max_bytes: a log that is never continued has no old files")
        self._keep = None if keep is None else whole_number("keep", keep, 1, _MOST_KEPT)
        self._fsync = bool(fsync)
        self._wait = seconds("wait", wait, maximum=_LONGEST_WAIT)
        self._lock = Lock()
        self._closed = False
        self._last = 0.0
        try:
            self._journal: Journal | None = self._opened()
        except OSError as error:
            raise ConfigError(f"{shown(self._path)} cannot be opened: {why(error)}") from None
        except OtherHolderError as error:
            raise ConfigError(f"{shown(self._path)} cannot be opened: {error}") from None
        renew_in_child(self)

    def _opened(self) -> Journal:
        journal = Journal(
            self._path, self._sealer, max_bytes=self._max_bytes, keep=self._keep, fsync=self._fsync
        )
        lock(journal.handle, self._wait)
        try:
            journal.catch_up()
        finally:
            unlock(journal.handle)
        return journal

    def record(self, record: AuditRecord) -> None:
        """Write a record.

        Raises:
            Denied: with `audit_unavailable`, when it cannot be written.
            ConfigError: when it is not a record.
        """
        body = body_of(record)
        turn = self._lock
        if not turn.acquire(timeout=self._wait):
            _unavailable("other threads have been writing for too long")
        try:
            journal = self._journal
            if journal is None:
                journal = self._reopened()
            handle = journal.handle
            lock(handle, self._wait)
            try:
                journal.append(body, record.at)
                self._last = record.at
            finally:
                unlock(handle)
        except (OSError, OtherHolderError, ConfigError) as error:
            _unavailable(why(error), error)
        finally:
            turn.release()

    def _reopened(self) -> Journal:
        if self._closed:
            _unavailable("it was closed")
        self._journal = self._opened()
        return self._journal

    def close(self) -> None:
        """Write a checkpoint, if anything was recorded since the last one, and close the files.

        Raises:
            Denied: with `audit_unavailable`, when the checkpoint cannot be written; the files are closed.
        """
        with self._lock:
            journal, self._journal, self._closed = self._journal, None, True
            if journal is None:
                return
            try:
                if journal.unsealed:
                    lock(journal.handle, self._wait)  # closing gives it back
                    journal.seal(self._last)
            except (OSError, OtherHolderError, ConfigError) as error:
                _unavailable(why(error), error)
            finally:
                journal.close()

    def __repr__(self) -> str:
        return f"JsonlAudit({self._path!r})"

    def renew(self) -> None:
        """Let go of what a child process shares with its parent; it opens the log anew when it records."""
        self._lock = Lock()
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()


def _unavailable(problem: str, error: Exception | None = None) -> NoReturn:
    raise TokenRejected("audit_unavailable", f"The audit log cannot be written: {problem}.") from error
