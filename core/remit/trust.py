"""Whom a guard trusts, also where that changes while it runs.

Invariants:

- a verifier never mixes two states: it sees all anchors of before a change, or all of after;
- what an attacker sends has anchors looked for a few times in a row and then now and then, whatever it
  names: each second where that takes a network, and not for ten while the network fails;
- a check whose key is known waits for no network, unless no thread can be started. One whose key is not may
  look; others wait for that look for a second at most, no more than some of them, and none while it fails;
- where looking fails, what was known stays: nobody is locked out by an outage, and nobody is let in.
"""

from __future__ import annotations

import logging
import time
import weakref
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, runtime_checkable

from remit.anchor import TrustAnchor, check_anchors
from remit.errors import RemitError
from remit.forks import renew_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["AnchorSource", "FixedAnchors", "Trust", "WatchedAnchors", "trusted"]

_BURST: Final = 10
"""How many looks for keys that are not known may follow one another."""
_PAUSE: Final = 1.0
"""Seconds after which there may be one more, and one for the same key, where looking waits for a network."""
_SHORT_PAUSE: Final = 0.05
"""The same, where it does not."""
_RETRY: Final = 10.0
"""Seconds after which they are read again when that failed, if not sooner."""
_PATIENCE: Final = 1.0
"""Seconds for which somebody waits for another's look."""
_SEATS: Final = 24
"""How many wait for a look that waits for a network: fewer than there are threads (`remit.offload`)."""
_HEARTBEAT: Final = 1.0
"""Seconds after which the thread that reads them looks whether it is time."""
_log: Final = logging.getLogger("remit")


@runtime_checkable
class AnchorSource(Protocol):
    """Where the anchors of a guard come from, when they may change while it runs."""

    def anchors(self) -> tuple[TrustAnchor, ...]:
        """Return the anchors that are trusted now; the same object for as long as nothing changes."""
        ...

    def refresh(self, kid: str) -> None:
        """Look for the key `kid`, which no anchor has: once, and only as often as is good for the source."""
        ...

    @property
    def waits(self) -> bool:
        """Whether looking may wait for a network."""
        ...


Trust: TypeAlias = "Iterable[TrustAnchor] | AnchorSource"
"""Anchors, or where they come from."""


class FixedAnchors:
    """Anchors that stay as they are."""

    def __init__(self, anchors: Iterable[TrustAnchor]) -> None:
        self._anchors = tuple(check_anchors(anchors))

    @property
    def waits(self) -> bool:
        """Whether looking may wait for a network: there is nothing to look for."""
        return False

    def anchors(self) -> tuple[TrustAnchor, ...]:
        """Return them."""
        return self._anchors

    def refresh(self, kid: str) -> None:
        """Do nothing: there are no others."""


class WatchedAnchors:
    """Anchors that are read anew now and then, and when a token names a key that none of them has.

    Where reading waits for a network, a thread reads them when it is time. It begins when they are first
    asked for after that, and ends with them.

    Args:
        load: reads them. Whatever it raises the first time comes out of here; later it is logged.
        every: seconds after which they are read anew.
        waits: whether reading may wait for a network.
        ticks: seconds of a clock that is never set.

    Raises:
        ConfigError: when there is none.
    """

    def __init__(
        self,
        load: Callable[[], Iterable[TrustAnchor]],
        *,
        every: float,
        waits: bool,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.waits = waits
        """Whether looking may wait for a network."""
        self._load, self._every, self._ticks = load, every, ticks
        self._anchors = tuple(check_anchors(load()))
        self._due = ticks() + every
        """When they are read anew at the latest."""
        self._looks = _Looks(_PAUSE if waits else _SHORT_PAUSE, ticks())
        self._begun = 0
        """How many readings have begun."""
        self._failing = False
        """Whether the last one failed."""
        self._given_up = -1
        """Which of them took longer than somebody waited, lately."""
        self._following: Event | None = None
        """Set it, and the thread that reads them ends."""
        self._lock, self._starting, self._seats = Lock(), Lock(), BoundedSemaphore(_SEATS)
        renew_in_child(self)

    def renew(self) -> None:
        """Have locks of its own in a process that was forked, to which the fork did not take the thread."""
        self._lock, self._starting, self._seats = Lock(), Lock(), BoundedSemaphore(_SEATS)
        self._following = None

    def anchors(self) -> tuple[TrustAnchor, ...]:
        """Return the anchors that are trusted now; the same object for as long as nothing changes."""
        if self._ticks() >= self._due:
            self._overdue()
        return self._anchors

    def refresh(self, kid: str) -> None:
        """Read them anew to find the key `kid`, if that may be done now."""
        asked, lock = self._begun, self._lock
        if not self._entered(lock):
            return
        try:
            if self._begun > asked:  # what was read since then has the key, or nothing has
                return
            if any(anchor.key.thumbprint == kid for anchor in self._anchors) or self._is_barred():
                return
            if self._looks.may_look(kid, self._ticks()):
                self._read()
        finally:
            lock.release()

    def reread(self) -> bool:
        """Read them anew now, however often that was done; tell whether that worked."""
        with self._lock:
            return self._read()

    def catch_up(self) -> None:
        """Read them anew if it is time."""
        if self._ticks() < self._due:
            return
        with self._lock:
            if self._ticks() >= self._due:  # nobody did while this waited
                self._read()

    def close(self) -> None:
        """End the thread that reads them; it begins again as it began before."""
        following, self._following = self._following, None
        if following is not None:
            following.set()

    def _entered(self, lock: Lock) -> bool:
        """Take the lock, if need be after the look that is under way; tell whether that worked."""
        if lock.acquire(blocking=False):
            return True
        if not self.waits:
            return lock.acquire(timeout=_PATIENCE)
        if self._failing or self._given_up == self._begun:  # nobody need find that out again
            return False
        seats = self._seats
        if not seats.acquire(blocking=False):
            return False
        try:
            entered = lock.acquire(timeout=_PATIENCE)
        finally:
            seats.release()
        if not entered:
            self._given_up = self._begun
        return entered

    def _is_barred(self) -> bool:
        """Tell whether the network failed just now."""
        return self.waits and self._failing and self._ticks() < self._due

    def _overdue(self) -> None:
        if self.waits and self._follows():
            return
        lock = self._lock
        if lock.acquire(blocking=False):
            try:
                self._read()
            finally:
                lock.release()

    def _follows(self) -> bool:
        """Have a thread that reads them; tell whether there is one."""
        starting = self._starting
        if self._following is not None or not starting.acquire(blocking=False):
            return True
        try:
            if self._following is None:
                ended = Event()
                arguments = (weakref.ref(self), ended)
                Thread(target=_follow, args=arguments, name="remit-anchors", daemon=True).start()
                self._following = ended
        except RuntimeError:  # no more threads are started
            return False
        finally:
            starting.release()
        return True

    def _read(self) -> bool:
        self._begun += 1
        try:
            found = tuple(check_anchors(self._load()))
        except Exception as error:  # noqa: BLE001 - files, a network, JSON: what was known stays
            self._failed(error)
            return False
        self._due = self._ticks() + self._every
        if self._failing:
            _log.warning("remit: trust anchors can be read again")
        self._failing = False
        if found != self._anchors:
            self._anchors = found
        return True

    def _failed(self, error: Exception) -> None:
        self._due = self._ticks() + min(self._every, _RETRY)
        if not self._failing:
            said = error if isinstance(error, RemitError) else type(error).__name__
            _log.warning("remit: trust anchors cannot be read (%s); those of before stay", said)
        self._failing = True


class _Looks:
    """How often keys that are not known are looked for: some times in a row, then once each pause."""

    def __init__(self, pause: float, now: float) -> None:
        self._pause = pause
        self._left = float(_BURST)
        """How many looks may be made at once."""
        self._asked = now
        """When `_left` was right."""
        self._kids: dict[str, float] = {}
        """The keys of the last pause, and when they were looked for."""

    def may_look(self, kid: str, now: float) -> bool:
        """Tell whether the key `kid` may be looked for now; if so, that is counted."""
        self._left = min(_BURST, self._left + max(0.0, now - self._asked) / self._pause)
        self._asked = now
        self._kids = {other: at for other, at in self._kids.items() if now - at < self._pause}
        if self._left < 1 or kid in self._kids:
            return False
        self._left -= 1
        self._kids[kid] = now
        return True


def _follow(watched_ref: weakref.ref[WatchedAnchors], ended: Event) -> None:
    """Read anchors anew when it is time, as long as there is somebody who has them."""
    while not ended.is_set():
        watched = watched_ref()
        if watched is None:
            return
        watched.catch_up()
        del watched  # while nothing is read, this keeps nobody
        ended.wait(_HEARTBEAT)


def trusted(trust: Trust) -> AnchorSource:
    """Return `trust` as a source of anchors.

    Raises:
        ConfigError: when there is no anchor, or something among them is none.
    """
    return trust if isinstance(trust, AnchorSource) else FixedAnchors(trust)
