"""Work that may wait for a network, done in threads of Remit's own, so that an event loop need not wait.

Not in those of the loop's default executor: what fills that, be it name resolution or tools that wait
for guarded coroutines, would hold up checks, and a ledger that hangs would hold up all of that.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from remit.errors import ConfigError, TokenRejected
from remit.forks import renew_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_thread"]

T = TypeVar("T")

_THREADS: Final = 32


class _Pool:
    """The threads, made when they are first needed, and anew in a process that was forked."""

    def __init__(self) -> None:
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        self._lock = Lock()
        self._executor: ThreadPoolExecutor | None = None

    def executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(_THREADS, "remit-check")
            return self._executor


_pool: Final = _Pool()


class _Errand(Generic[T]):
    """One piece of work, whose result is given up when nobody waits for it any more."""

    def __init__(self, work: Callable[[], T], give_up: Callable[[T, BaseException], None]) -> None:
        self._work = work
        self._give_up = give_up
        self._lock = Lock()
        self._results: list[T] = []
        self._gone: BaseException | None = None

    def run(self) -> T:
        result = self._work()
        with self._lock:
            self._results.append(result)
            gone = self._gone
        if gone is not None:
            self._give_up(result, gone)
        return result

    def leave(self, reason: BaseException) -> None:
        with self._lock:
            self._gone = reason
            results = list(self._results)
        for result in results:
            self._give_up(result, reason)


async def in_thread(work: Callable[[], T], give_up: Callable[[T, BaseException], None]) -> T:
    """Return what `work` returns, having done it in a thread, in a copy of the context.

    Args:
        work: what is done.
        give_up: called once with the result and the reason, when whoever waits is gone before it is
            there: cancelled, closed, or ended with its loop.

    Raises:
        ConfigError: when no event loop of asyncio is running.
        Denied: with `ledger_unavailable`, when the program is ending.
    """
    import asyncio  # only those who use it pay for it

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigError("a guard whose checks wait for a network needs asyncio to run coroutines") from None
    errand = _Errand(work, give_up)
    try:
        future = loop.run_in_executor(_pool.executor(), copy_context().run, errand.run)
    except RuntimeError as error:  # no more threads are started
        raise TokenRejected(
            "ledger_unavailable", "The check cannot be made: the program is ending."
        ) from error
    try:
        return await future
    except BaseException as reason:  # cancelled or closed; of work that failed there is no result
        errand.leave(reason)
        raise
