"""What a guard knows of revocations, in memory, and since when.

Invariants:

- whether something is revoked is answered from memory, at the same price however much is revoked;
- what is known is never older than `refresh` says, in the time of the guard that asks, wherever its
  clock was set meanwhile;
- what was once known stays known until the token has been expired for the margin, also when the
  ledger loses it; a clock that comes back from the future has the ledger read again;
- a ledger on this machine is asked on every check; a remote one is followed from a thread, and is
  asked by the check itself only when what is known is older than the guard allows.
"""

from __future__ import annotations

import logging
import math
import time
import weakref
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Final

from remit.forks import renew_in_child
from remit.ledger.base import PAGE, RemoteLedger
from remit.ledger.entries import PURGE_MARGIN, Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from remit.ledger.base import Ledger
    from remit.ledger.entries import Change, Revocation
    from remit.names import Clock

__all__ = ["RevocationView", "view_of"]

_HEARTBEAT: Final = 1.0
"""Seconds after which a remote ledger is asked, when it has pushed nothing."""
_BACKOFF: Final = 0.2
"""Seconds between attempts to reach a remote ledger that does not answer."""
_HOUR: Final = 3600
"""Seconds: revocations that expire in the same hour are forgotten together."""
_log: Final = logging.getLogger("remit")


@dataclass(slots=True)
class _Known:
    """Revocations by subject, in about 150 bytes each."""

    hours: dict[str, int] = field(default_factory=dict[str, int])
    """Subject to the hour from which on it may be forgotten."""
    agents: dict[str, float] = field(default_factory=dict[str, float])
    """For an agent: tokens issued up to then are revoked."""
    buckets: dict[int, tuple[int, list[str]]] = field(default_factory=dict[int, tuple[int, list[str]]])
    """What may be forgotten from an hour on; the hour once more, to be shared by all its entries."""

    def add(self, entries: Iterable[Change | tuple[str, int, float | None]]) -> None:
        hours, buckets, agents = self.hours, self.buckets, self.agents
        for subject, expires_at, until in entries:
            key = (expires_at + PURGE_MARGIN) // _HOUR + 1
            bucket = buckets.get(key)
            if bucket is None:
                bucket = buckets[key] = (key, [])
            if until is not None:
                agents[subject] = max(until, agents.get(subject, until))
            if hours.get(subject, -1) < key:
                bucket[1].append(subject)
                hours[subject] = bucket[0]

    def forget(self, now: float) -> None:
        for hour in [hour for hour in self.buckets if hour * _HOUR <= now]:
            for subject in self.buckets.pop(hour)[1]:
                if self.hours.get(subject) == hour:  # else its expiry was put off
                    del self.hours[subject]
                    self.agents.pop(subject, None)


class RevocationView:
    """What is known of one ledger's revocations, shared by the guards of a process.

    Args:
        ledger: what it follows.
        clock: the clock of the guards that ask; one view is for one clock.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.ledger = ledger
        self.clock = clock
        self._remote = ledger if isinstance(ledger, RemoteLedger) else None
        self._known = _Known()
        self._hours = self._known.hours
        self._position = Position("", 0)
        self._lock = Lock()
        self._good: float | None = None
        """When the ledger last answered, by this process's monotonic clock."""
        self._failed = -math.inf
        self._last: tuple[float, float] | None = None
        """The guard's time of the last check, and the monotonic time then."""
        self._stamp: tuple[float | None, float] = (None, -math.inf)
        """The last answer, as `_good` and in the guard's time."""
        self._following: Event | None = None
        """Set it, and the thread that follows the ledger ends."""
        self._deaf = False
        """Whether it was said that the ledger does not push."""
        self._forgotten_at = -math.inf
        """The latest time for which entries were forgotten."""
        renew_in_child(self)

    def revoked(self, subjects: frozenset[str]) -> Sequence[tuple[str, float]]:
        """Return which of `subjects` are revoked, and up to which time of issue (`inf`: always)."""
        if self._hours.keys().isdisjoint(subjects):
            return ()
        agents = self._known.agents
        return [(subject, agents.get(subject, math.inf)) for subject in subjects if subject in self._hours]

    def refresh(self, now: float, bound: float) -> float:
        """Bring what is known up to date, as far as `bound` needs it; return for which time it is complete.

        Args:
            now: the guard's time.
            bound: how old, in seconds, what is known may be.

        Returns:
            A time by the guard's clock; `-inf` when the ledger never answered.
        """
        if now < self._forgotten_at - PURGE_MARGIN:
            self._start_over(now)
        if self._remote is None:
            known_at = now if self._is_read(now) else self._as_of(now)
        else:
            if self._following is None:
                self._follow(self._remote)
            known_at = self._as_of(now)
            if not now - known_at <= bound and self.sync():
                known_at = self._as_of(now)
        if now - self._forgotten_at > _HOUR:
            self._forget(now)
        return known_at

    def _is_read(self, now: float) -> bool:
        """Read what is new in a ledger on this machine; tell whether that could be done."""
        try:
            if self.ledger.position() != self._position:
                self._load()
        except Exception as error:  # noqa: BLE001 - whatever it raises, nothing was learned from it
            self.failed(error)
            return False
        good = self._good = time.monotonic()
        self._stamp, self._last = (good, now), (now, good)
        if self._failed != -math.inf:
            self._answered()
        return True

    def _as_of(self, now: float) -> float:
        """Return the guard's time at which the ledger last answered.

        The guard's clock need not run with this process's, and may be set. The last answer is placed in
        the guard's time by what that was at the check before it, so that a clock that was set ahead
        makes what is known look older; one that was set back takes the answer back with it; and
        nothing is younger than the time that has really passed.
        """
        elapsed, good, last = time.monotonic(), self._good, self._last
        if good is None:
            return -math.inf
        stamped, stamp = self._stamp
        if good != stamped:
            then, at = last or (now, elapsed)
            stamp = min(now, then + (good - at))
        elif last is not None and now < last[0]:
            stamp -= last[0] - now
        self._stamp = (good, stamp)
        self._last = (now, elapsed)
        return min(stamp, now - (elapsed - good))

    def _start_over(self, now: float) -> None:
        """Know nothing for sure: a clock came back from beyond the margin, for which much was forgotten."""
        with self._lock:
            self._position, self._good, self._forgotten_at = Position("", 0), None, now

    def _forget(self, now: float) -> None:
        with self._lock:
            self._forgotten_at = max(now, self._forgotten_at)
            self._known.forget(now)

    def sync(self) -> bool:
        """Ask the ledger now for what is new; tell whether it answered.

        One that has just failed is not asked again at once, so that calls are denied without delay.
        """
        if time.monotonic() - self._failed < _HEARTBEAT:
            return False
        try:
            self.catch_up()
        except Exception as error:  # noqa: BLE001 - as above
            self.failed(error)
            return False
        return True

    def catch_up(self) -> None:
        """Ask the ledger now for what is new, and raise whatever it raises."""
        asked = time.monotonic()  # what happens while the answer is under way is not in it
        if self.ledger.position() != self._position or self._good is None:
            self._load()
        self._good = asked
        if self._failed != -math.inf:
            self._answered()

    def _answered(self) -> None:
        self._failed = -math.inf
        _log.warning("remit: the ledger answers again; what is known of revocations is up to date")

    def failed(self, error: Exception) -> None:
        """Note that the ledger did not answer; logged when it is the first time."""
        if self._failed == -math.inf:
            _log.warning(
                "remit: the ledger does not answer (%s); revocations are as of before", type(error).__name__
            )
        self._failed = time.monotonic()

    def lost(self, error: Exception, *, listening: bool) -> bool:
        """Note that following failed; tell whether the ledger answers all the same, and does not push."""
        try:
            self.catch_up()
        except Exception as failure:  # noqa: BLE001 - as above
            self.failed(failure)
            return False
        if listening or not self._deaf:
            kind = type(error).__name__
            _log.warning("remit: the ledger does not push (%s); it is asked every second", kind)
        self._deaf = True
        return True

    def _load(self) -> None:
        with self._lock:
            while True:
                since = self._position
                page = self.ledger.changes(since.number)
                if since.number and (
                    page.position.store != since.store or page.position.number < since.number
                ):
                    # Another store, or an older state of it: read it all, and forget nothing.
                    self._position = Position(page.position.store, 0)
                    continue
                self._known.add(page.entries)
                self._position = page.position
                if len(page.entries) < PAGE:
                    return

    def note(self, revocations: Iterable[Revocation]) -> None:
        """Know of revocations that the ledger has just taken from this process."""
        with self._lock:
            self._known.add((entry.subject, entry.expires_at, entry.issued_until) for entry in revocations)

    def _follow(self, ledger: RemoteLedger) -> None:
        with self._lock:
            if self._following is not None:
                return
            ended = self._following = Event()
            try:
                arguments = (weakref.ref(self), weakref.ref(ledger), ended)
                Thread(target=_follow, args=arguments, name="remit-revocations", daemon=True).start()
            except (RuntimeError, TypeError) as error:  # no more threads, or no weak references
                self._following = None
                _log.warning("remit: the ledger cannot be followed (%s); checks ask it", type(error).__name__)

    def reread(self) -> None:
        """Read the whole ledger the next time: it was out of sight, and may have been set back."""
        with self._lock:
            self._position = Position("", 0)

    def renew(self) -> None:
        """Follow anew in this process, to which a fork took neither the thread nor its hold on the lock."""
        self._lock, self._following = Lock(), None

    def close(self) -> None:
        """Stop following, until something is asked again."""
        following, self._following = self._following, None
        if following is not None:
            following.set()


def _follow(
    view_ref: weakref.ref[RevocationView], ledger_ref: weakref.ref[RemoteLedger], ended: Event
) -> None:
    """Keep a view of a remote ledger up to date, as long as there are both."""
    listening = False
    while not ended.is_set():
        view, ledger = view_ref(), ledger_ref()
        if view is None or ledger is None:
            return
        try:
            if not listening:
                ledger.wait(0)  # from here on it pushes; what came before is read now
                view.reread()
                listening = True
            view.catch_up()
            del view
            ledger.wait(_HEARTBEAT)
        except Exception as error:  # noqa: BLE001 - the network, the server: it is tried again
            view = view_ref()
            answers = view is not None and view.lost(error, listening=listening)
            listening = False
            del view
            ended.wait(_HEARTBEAT if answers else _BACKOFF)
        del ledger


_views: Final[weakref.WeakValueDictionary[tuple[int, int], RevocationView]] = weakref.WeakValueDictionary()


def view_of(ledger: Ledger, clock: Clock) -> RevocationView:
    """Return the view of `ledger`, which all guards of this process with the same clock share."""
    key = (id(ledger), id(clock))  # theirs alone while the view, which holds both, lives
    view = _views.get(key)
    if view is None:
        view = _views[key] = RevocationView(ledger, clock)
    return view
