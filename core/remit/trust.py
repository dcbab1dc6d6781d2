"""Whom a guard trusts, also where that changes while it runs.

Invariants:

- a verifier never mixes two states: it sees all anchors of before a change, or all of after;
- what an attacker sends has anchors looked for at most once a second, whatever it names;
- where looking fails, what was known stays: nobody is locked out by an outage, and nobody is let in.
"""

from __future__ import annotations

import logging
import math
import time
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, runtime_checkable

from remit.anchor import TrustAnchor, check_anchors
from remit.errors import RemitError
from remit.forks import renew_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["AnchorSource", "FixedAnchors", "Trust", "WatchedAnchors", "trusted"]

_PAUSE: Final = 1.0
"""Seconds between two looks for a key that is not known."""
_RETRY: Final = 10.0
"""Seconds after which they are read again when that failed, if not sooner."""
_log: Final = logging.getLogger("remit")


@runtime_checkable
class AnchorSource(Protocol):
    """Where the anchors of a guard come from, when they may change while it runs."""

    def anchors(self) -> tuple[TrustAnchor, ...]:
        """Return the anchors that are trusted now; the same object for as long as nothing changes."""
        ...

    def refresh(self, kid: str) -> None:
        """Look for the key `kid`, which no anchor has: once, and not at once again."""
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
        self._lock = Lock()
        self._anchors = tuple(check_anchors(load()))
        self._due = ticks() + every
        """When they are read anew at the latest."""
        self._looked = -math.inf
        """When the last look for a key that is not known had ended."""
        self._failing = False
        renew_in_child(self)

    def renew(self) -> None:
        """Have a lock of its own in a process that was forked."""
        self._lock = Lock()

    def anchors(self) -> tuple[TrustAnchor, ...]:
        """Return the anchors that are trusted now; the same object for as long as nothing changes."""
        if self._ticks() >= self._due and self._lock.acquire(blocking=False):
            try:
                self._reread()
            finally:
                self._lock.release()
        return self._anchors

    def refresh(self, kid: str) -> None:
        """Read them anew to find the key `kid`, unless that was tried within the last second."""
        with self._lock:  # whoever comes while another looks waits for what that finds
            if any(anchor.key.thumbprint == kid for anchor in self._anchors):
                return
            if self._ticks() - self._looked < _PAUSE:
                return
            self._reread()
            self._looked = self._ticks()  # so that those who waited do not look one after the other

    def _reread(self) -> None:
        try:
            found = tuple(check_anchors(self._load()))
        except Exception as error:  # noqa: BLE001 - files, a network, JSON: what was known stays
            self._due = self._ticks() + min(self._every, _RETRY)
            if not self._failing:
                said = error if isinstance(error, RemitError) else type(error).__name__
                _log.warning("remit: trust anchors cannot be read (%s); those of before stay", said)
            self._failing = True
            return
        self._due = self._ticks() + self._every
        if self._failing:
            _log.warning("remit: trust anchors can be read again")
        self._failing = False
        if found != self._anchors:
            self._anchors = found


def trusted(trust: Trust) -> AnchorSource:
    """Return `trust` as a source of anchors.

    Raises:
        ConfigError: when there is no anchor, or something among them is none.
    """
    return trust if isinstance(trust, AnchorSource) else FixedAnchors(trust)
