"""The issuer's keys, as they are on disk now: which one signs, and which are trusted.

Invariants:

- the key that signs is always among the anchors: an instance never refuses what it has itself signed;
- a key that cannot be used now, or whose anchors cannot be read, changes nothing and is tried again.

`remit keys rotate` changes the files under a running service. The anchor of a new key is there before the
key signs (see `remit.cli.rotation`), so reading the key first and the anchors after it leaves no moment in
which an instance signs with a key that it does not publish.
"""

from __future__ import annotations

import logging
import math
import time
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Final

from remit.errors import RemitError
from remit.forks import renew_in_child
from remit.ledger import view_of
from remit.names import read_clock
from remit.service.errors import ServiceError
from remit.standing import DEFAULT_FRESH
from remit.trust import WatchedAnchors

if TYPE_CHECKING:
    from remit.anchor import TrustAnchor
    from remit.config import Config
    from remit.issue import Issuer
    from remit.ledger import Ledger
    from remit.names import Clock
    from remit.record import AuditSink

__all__ = ["Keyring"]

_EVERY: Final = 1.0
"""Seconds after which anchor files are read anew."""
_RETRY: Final = 1.0
"""Seconds after which a key that could not be used is tried again."""
_KEPT: Final = 4
"""How many signing keys, the newest included, a process remembers to have had."""
_log: Final = logging.getLogger("remit")


class Keyring:
    """The keys of one instance. It is a source of anchors for a guard (`remit.trust.AnchorSource`).

    Args:
        config: the policy file.
        audit: where what is issued is recorded.
        ledger: where what is issued is noted, and keys are revoked.
        clock: seconds since the epoch; `time.time` by default.

    Raises:
        ConfigError, KeyFileError: when the file names no key, or it cannot be used.
    """

    def __init__(
        self, config: Config, *, audit: AuditSink | None, ledger: Ledger, clock: Clock | None
    ) -> None:
        self._config, self._audit, self._ledger, self._clock = config, audit, ledger, clock
        self._ticks = time.time if clock is None else clock
        self._view = view_of(ledger, self._ticks)
        self._stamp = self._stamped()
        self._issuers = [self._loaded()]
        self._own: list[TrustAnchor] = [self._issuers[0].anchor]
        """Of the key that signs now, and of one that is about to."""
        self._again = math.inf
        """When a key that could not be used is tried again, by the monotonic clock."""
        self._trust = WatchedAnchors(self._trusted, every=_EVERY, waits=False)
        self._lock = Lock()
        renew_in_child(self)

    def renew(self) -> None:
        """Have a lock of its own in a process that was forked."""
        self._lock = Lock()

    @property
    def waits(self) -> bool:
        """Whether looking for a key may wait for a network: it is in files."""
        return False

    def issuer(self) -> Issuer:
        """Return the issuer, with the key that signs now."""
        if self._is_due():
            with self._lock:
                if self._is_due():  # nobody did while this waited
                    self._reload()
        return self._issuers[0]

    def signing(self) -> Issuer:
        """Return the issuer for something to be signed.

        Raises:
            ServiceError: 503, when the key that signs was revoked: what it signs, nobody accepts.
        """
        issuer = self.issuer()
        if self.is_revoked(self._kid(issuer)):
            reason = "The key that signs here was revoked; it must be rotated."
            raise ServiceError(HTTPStatus.SERVICE_UNAVAILABLE, "key_revoked", reason)
        return issuer

    def anchors(self) -> tuple[TrustAnchor, ...]:
        """Return the anchors that are trusted now."""
        return self._trust.anchors()

    def refresh(self, kid: str) -> None:
        """Look for the key `kid`, which no anchor has."""
        self._trust.refresh(kid)

    def published(self) -> list[TrustAnchor]:
        """Return the anchors of the issuer's own keys that were not revoked, the one that signs first."""
        active = self.issuer().anchor
        own = [anchor for anchor in self.anchors() if anchor.issuer == active.issuer and anchor != active]
        return [anchor for anchor in (active, *own) if not self.is_revoked(anchor.key.thumbprint)]

    def derived(self, purpose: str) -> dict[str, bytes]:
        """Return secret keys for a purpose by `kid`: that of the key that signs now, then of those before."""
        self.issuer()
        return {self._kid(issuer): issuer.derive_key(purpose) for issuer in self._issuers}

    def is_revoked(self, kid: str) -> bool:
        """Tell whether a key was revoked, as far as this process knows."""
        subject = f"key:{kid}"
        self._view.refresh(read_clock(self._ticks), DEFAULT_FRESH)
        return bool(self._view.revoked(frozenset({subject})))

    @staticmethod
    def _kid(issuer: Issuer) -> str:
        return issuer.anchor.key.thumbprint

    def _stamped(self) -> tuple[int, ...] | None:
        path = self._config.key_path
        if path is None:
            return None
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode

    def _loaded(self) -> Issuer:
        return self._config.issuer(audit=self._audit, ledger=self._ledger, clock=self._clock)

    def _trusted(self) -> list[TrustAnchor]:
        named = [] if self._config.tables.issuer.anchors is None else self._config.anchors()
        return list(dict.fromkeys([*named, *self._own]))

    def _is_due(self) -> bool:
        return self._stamped() != self._stamp or time.monotonic() >= self._again

    def _reload(self) -> None:
        stamp, failing = self._stamped(), self._again != math.inf
        problem = self._take_over()
        self._again = math.inf if problem is None else time.monotonic() + _RETRY
        if problem is not None and not failing:  # half deployed, or gone: the key that is known signs on
            _log.warning("remit: the issuer's key cannot be read anew: %s", problem)
        self._stamp = stamp

    def _take_over(self) -> str | None:
        """Sign with the key that is on disk from now on; return what is in the way, if anything is."""
        try:
            issuer = self._loaded()
        except RemitError as error:
            return f"{error}"
        self._own.append(issuer.anchor)
        readable = self._trust.reread()
        if readable and self._kid(issuer) != self._kid(self._issuers[0]):
            self._issuers = [issuer, *self._issuers][:_KEPT]
            _log.warning("remit: key %s signs from now on", self._kid(issuer))
        self._own = [self._issuers[0].anchor]
        return None if readable else "the trust anchors cannot be read"
