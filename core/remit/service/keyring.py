"""The issuer's keys, as they are on disk now: which one signs, and which are trusted.

`remit keys rotate` changes the files under a running service. The anchor of a new key is there before the
key signs (see `remit.cli.rotation`), so reading the key first and the anchors after it leaves no moment in
which an instance signs with a key that it does not publish.
"""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from remit.errors import RemitError
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
        self._trust = WatchedAnchors(config.anchors, every=_EVERY, waits=False)
        self._trust.refresh(self._kid(self._issuers[0]))

    @property
    def waits(self) -> bool:
        """Whether looking for a key may wait for a network: it is in files."""
        return False

    def issuer(self) -> Issuer:
        """Return the issuer, with the key that signs now."""
        stamp = self._stamped()
        if stamp != self._stamp:
            self._reload(stamp)
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

    def _stamped(self) -> tuple[int, int, int] | None:
        path = self._config.key_path
        if path is None:
            return None
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _loaded(self) -> Issuer:
        return self._config.issuer(audit=self._audit, ledger=self._ledger, clock=self._clock)

    def _reload(self, stamp: tuple[int, int, int] | None) -> None:
        try:
            issuer = self._loaded()
        except RemitError as error:  # half deployed, or gone: the key that is known signs on
            _log.warning("remit: the issuer's key cannot be read anew: %s", error)
            self._stamp = stamp
            return
        self._trust.refresh(self._kid(issuer))
        if self._kid(issuer) != self._kid(self._issuers[0]):
            self._issuers = [issuer, *self._issuers][:_KEPT]
            _log.warning("remit: key %s signs from now on", self._kid(issuer))
        self._stamp = stamp
