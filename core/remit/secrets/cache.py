"""Asking backends that may block: within a time limit, once for all who wait, remembered for a while.

Invariants:

- each question is asked in a thread of its own, so that no backend holds a caller up beyond the limit;
- whoever asks while the same question is under way waits for its answer;
- only values are kept, and none for longer than `ttl` from before it was asked for: no failure is, nor an
  answer that came after the time limit, after `forget`, or in the parent of a forked process.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeAlias

from remit.forks import renew_in_child
from remit.secrets.backend import BackendFailure, why_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Cache"]

Key: TypeAlias = "tuple[str, str]"
"""The text of a reference and the path in it: what is named like a reference is not taken for it."""

_TOO_LATE: Final = "it did not answer in time"
_NO_THREAD: Final = "there is no thread to ask it in"


class _Flight:
    """One question that is under way."""

    __slots__ = ("answer", "done", "failure")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: object = None
        self.failure: str | None = _TOO_LATE


class _Kept:
    """A value, and when it was asked for."""

    __slots__ = ("at", "value")

    def __init__(self, value: object, at: float) -> None:
        self.value = value
        self.at = at


class Cache:
    """Answers of backends, by the text of the reference that was asked about. Safe for threads.

    Args:
        ttl: seconds for which a value is kept; None keeps nothing.
        timeout: seconds that a caller waits at most.
        clock: monotonic seconds.
    """

    def __init__(self, ttl: int | None, timeout: int, clock: Callable[[], float]) -> None:
        self._ttl = ttl
        self._timeout = timeout
        self._clock = clock
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Start empty, with a lock that nobody holds, as the child of a forked process must."""
        self._lock = threading.Lock()
        self._kept: dict[Key, _Kept] = {}
        self._flights: dict[Key, _Flight] = {}

    def forget(self) -> None:
        """Drop every value, and what is under way: whoever asks from now on gets a fresh answer."""
        with self._lock:
            self._kept.clear()
            self._flights.clear()

    def ask(self, key: Key, question: Callable[[], object]) -> object:
        """Return what `question` returns, or returned lately.

        Raises:
            BackendFailure: when it failed, or did not answer in time. It is not linked to the error
                that the question raised, which may quote a value.
        """
        now = self._clock()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and self._ttl is not None and 0 <= now - kept.at < self._ttl:
                return kept.value
            self._kept.pop(key, None)
            flight = self._flights.get(key) if self._ttl is not None else None
            leads = flight is None
            if flight is None:
                flight = _Flight()
                if self._ttl is not None:
                    self._flights[key] = flight
        if leads:
            self._start(key, flight, question, now)
        if not flight.done.wait(self._timeout):
            self._land(key, flight)
            raise BackendFailure(_TOO_LATE)
        if flight.failure is not None:
            raise BackendFailure(flight.failure)
        return flight.answer

    def _start(self, key: Key, flight: _Flight, question: Callable[[], object], at: float) -> None:
        thread = threading.Thread(
            target=self._fly, args=(key, flight, question, at), name="remit-secret", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads, or the interpreter is ending
            flight.failure = _NO_THREAD
            self._land(key, flight)
            flight.done.set()

    def _fly(self, key: Key, flight: _Flight, question: Callable[[], object], at: float) -> None:
        from remit.secrets.silence import silence  # not needed before a remote backend is asked

        try:
            with silence():
                flight.answer = question()
            flight.failure = None
        except BackendFailure as failure:
            flight.failure = why_of(failure)
        except BaseException as error:  # noqa: BLE001 - nobody may wait for ever, whatever a backend raises
            flight.failure = f"it failed with {type(error).__name__}"
        finally:
            self._land(key, flight, at)
            flight.done.set()

    def _land(self, key: Key, flight: _Flight, at: float | None = None) -> None:
        """Let the next one ask anew; keep the value when it came in time."""
        with self._lock:
            if self._flights.get(key) is not flight:
                return
            del self._flights[key]
            if at is not None and flight.failure is None and isinstance(flight.answer, str) and flight.answer:
                self._kept[key] = _Kept(flight.answer, at)
