"""The lock of a log, which its writers take one after the other, and readers for a moment.

It is `flock` on the head: it ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from remit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["OtherHolderError", "lock", "need_locks", "shared", "unlock"]

_FIRST_PAUSE: Final = 0.0002
_LONGEST_PAUSE: Final = 0.01
_PATIENCE: Final = 2.0


class OtherHolderError(Exception):
    """Another process has held a log's lock for longer than was to be waited."""


if sys.platform == "win32":

    def need_locks() -> None:
        """Check that this system has what several writers need.

        Raises:
            ConfigError: when it has not.
        """
        raise ConfigError("JsonlAudit needs file locks (flock), which this system lacks; use SqliteAudit")

    def _try(handle: int, *, for_all: bool) -> bool:
        del handle
        return for_all  # nothing on this system writes such a log

    def unlock(handle: int) -> None:
        """Give the lock back."""

else:
    import fcntl

    def need_locks() -> None:
        """Check that this system has what several writers need, as it has."""

    def _try(handle: int, *, for_all: bool) -> bool:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if for_all else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(handle: int) -> None:
        """Give the lock back."""
        fcntl.flock(handle, fcntl.LOCK_UN)


def _wait(handle: int, seconds: float, *, for_all: bool) -> bool:
    pause, deadline = _FIRST_PAUSE, time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(pause)
        if _try(handle, for_all=for_all):
            return True
        pause = min(2 * pause, _LONGEST_PAUSE)
    return False


def lock(handle: int, wait: float) -> None:
    """Take the lock of a log, to write to it.

    Raises:
        OtherHolderError: when another process has it for `wait` seconds on end.
        OSError: when the file system has no locks.
    """
    if not _try(handle, for_all=False) and not _wait(handle, wait, for_all=False):
        raise OtherHolderError(f"another process has held the log for {wait:g} s")


@contextmanager
def shared(handle: int) -> Generator[None]:
    """Keep writers away for the block; one that does not let go for two seconds keeps nobody from looking."""
    with suppress(OSError):  # a file system without locks: then there is no writer either
        if not _try(handle, for_all=True):
            _wait(handle, _PATIENCE, for_all=True)
    try:
        yield
    finally:
        with suppress(OSError):
            unlock(handle)
