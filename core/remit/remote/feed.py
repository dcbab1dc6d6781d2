"""A ledger for guards that have no access to the service's: revocations come from its feed.

Invariants:

- what was revoked goes into the local ledger, from the feed as from here, and never comes out again before
  its time: not when the service loses it, is set back, or sends another store;
- an issuer's key is revoked by a page of that issuer alone;
- what is known is only as recent as the last page that was asked for and verified (`remit.remote.page`);
- what is counted, and which proofs were seen, the local ledger knows alone.
"""

from __future__ import annotations

import base64
import logging
import os
import time
from threading import Lock
from typing import TYPE_CHECKING, Final

from remit.errors import ConfigError
from remit.forks import renew_in_child
from remit.ledger import PAGE, Change, MemoryLedger, Position, RemoteLedger, Revocation
from remit.names import check_clock, read_clock
from remit.remote.http import Http, NoAnswer
from remit.remote.page import MAX_ENTRIES, MAX_PAGE, read_page
from remit.trust import trusted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from remit.ledger import Changes, Charge, Ledger, LiveToken
    from remit.names import Clock, Duration
    from remit.proof import Proof
    from remit.remote.page import Page
    from remit.trust import Trust

__all__ = ["RevocationFeed"]

_PATH: Final = "/v1/revocations"
_KIND: Final = "application/jwt"
_OK: Final = 200
_PAGES: Final = 1_000
"""How many pages are read at once; where they end, the next reading goes on."""
_RESTARTS: Final = 3
_LOOK: Final = 0.25
"""Seconds between two looks at a local ledger that other processes share."""
_NONCE_BYTES: Final = 16
_log: Final = logging.getLogger("remit")


class RevocationFeed:
    """Follows a service's revocations, and keeps all else on this machine: `Guard(ledger=RevocationFeed(…))`.

    A guard asks it every second, from a thread, and by itself when what it knows is older than its
    staleness bound. When the service is away for longer than that, calls are denied with
    `revocations_stale`. What this guard revokes counts at once for it and for the guards on the same local
    ledger, within a second; the service is not told (`RemoteIssuer.revoke` does that).

    A feed is one issuer's. An entry for the key of another issuer in `trust` is not believed. Tokens and
    agents are known by name alone, so that entries for these count for every issuer that the guard trusts:
    follow nobody who is not trusted with that.

    Limits and proofs are counted in the local ledger: guards that do not share it do not know of each
    other's.

    Args:
        url: the service's base URL; `https`, or `http` on this machine.
        trust: the anchors of the issuers whose pages count, or where they come from: give the guard's.
        ledger: where all is kept; in memory by default. A `SqliteLedger` outlives this process, and is
            shared by the processes of this machine.
        timeout: how long one exchange may take, in seconds.
        clock: seconds since the epoch, the guard's; `time.time` by default.
        ca_file: the certificates (PEM) that the server's must lead to; those of the system by default.

    Raises:
        ConfigError: when an argument makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        trust: Trust,
        ledger: Ledger | None = None,
        timeout: Duration = 5,
        clock: Clock | None = None,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self._http = Http(url, timeout=timeout, ca_file=ca_file)
        self._trust = trusted(trust)
        if ledger is not None and not callable(getattr(ledger, "commit", None)):
            raise ConfigError("ledger must be a ledger such as SqliteLedger(path)")
        self._local: Ledger = MemoryLedger() if ledger is None else ledger
        self._clock: Clock = time.time if clock is None else check_clock(clock)
        self._revoked = _RevokedKeys(self._local)
        self._disbelieved: set[str] = set()
        """The entries that are not believed, and of which that was said."""
        self._at = Position("", 0)
        """How far the feed was read."""
        self._told: Position | None = None
        """The local ledger's position, as it was last told."""
        self._begun = 0
        """How many readings have begun."""
        self._failure: str | None = None
        """What went wrong with the last one."""
        self._lock = Lock()
        renew_in_child(self)

    def renew(self) -> None:
        """Have a lock of its own in a process that was forked."""
        self._lock = Lock()

    # ── revocations ─────────────────────────────────────────────────────────────────────────────────────────

    def position(self) -> Position:
        """Return how far the local ledger has come, having read what is new in the feed.

        Raises:
            NoAnswer: when the service does not answer, or with nothing that can be believed.
        """
        self._read_once()
        self._told = self._local.position()
        return self._told

    def changes(self, since: int, limit: int = PAGE) -> Changes:
        """Return what is new in the local ledger since a number."""
        return self._local.changes(since, limit)

    def revoke(self, revocations: Sequence[Revocation]) -> list[bool]:
        """Add revocations to the local ledger; for each, whether it says something new."""
        return self._local.revoke(revocations)

    def revocations(self, limit: int | None = None) -> list[Revocation]:
        """Return what is known to be revoked, newest first; those of the feed have no reasons."""
        return self._local.revocations(limit)

    def wait(self, timeout: float) -> None:
        """Wait for `timeout` seconds, or until the local ledger has something new; the feed does not push."""
        if isinstance(self._local, RemoteLedger):
            self._local.wait(timeout)
            return
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK))
            if self._local.position() != self._told:
                return

    def _read_once(self) -> None:
        """Read the feed. Whoever asks while others read shares what the next reading finds."""
        asked = self._begun
        with self._lock:
            if self._begun > asked:  # it began after this was asked, and is over
                if self._failure is not None:
                    raise NoAnswer(self._failure)
                return
            self._begun += 1
            self._failure = "failed"
            try:
                self._read_on()
            except NoAnswer as error:
                self._failure = str(error)
                raise
            self._failure = None

    def _read_on(self) -> None:
        restarts = 0
        for _ in range(_PAGES):
            since, known = self._at.number, self._at
            page = self._page(since)
            if since and (page.position.store != known.store or page.position.number < since):
                restarts += 1
                if restarts > _RESTARTS:
                    raise NoAnswer("tells of another store each time")
                _log.warning("remit: the revocation feed was set back or replaced; nothing is forgotten")
                self._at = Position(page.position.store, 0)
                continue
            self._take(self._believed(page))
            if self._revoked.has(page.signer):  # it says so itself; what it takes away is taken away
                raise NoAnswer("sent a page that revokes the key it was signed with")
            self._at = page.position
            if not page.more:
                return
            if page.position.number <= since:
                raise NoAnswer("sent a page that leads nowhere")
        raise NoAnswer("has more revocations than are read at once; the rest follows")

    def _page(self, since: int) -> Page:
        nonce = base64.urlsafe_b64encode(os.urandom(_NONCE_BYTES)).decode("ascii").rstrip("=")
        answer = self._http.ask(
            "GET", f"{_PATH}?since={since}&limit={MAX_ENTRIES}&nonce={nonce}", most=MAX_PAGE
        )
        if answer.status != _OK:
            raise NoAnswer(f"answered with status {answer.status} where its revocations should be")
        if answer.kind != _KIND:
            raise NoAnswer("answered with something that is no signed page")
        return read_page(
            answer.body.decode("latin-1"),
            trust=self._trust,
            is_revoked=self._revoked.has,
            since=since,
            nonce=nonce,
        )

    def _believed(self, page: Page) -> list[Change]:
        """Return the entries of a page without those for keys of other issuers than the one it is of."""
        anchors = self._trust.anchors()
        names = {anchor.issuer for anchor in anchors if anchor.key.thumbprint == page.signer}
        if not names:
            raise NoAnswer("sent a page of an issuer that is trusted no more")
        own = {anchor.key.thumbprint for anchor in anchors if anchor.issuer in names}
        foreign = {f"key:{anchor.key.thumbprint}" for anchor in anchors} - {f"key:{kid}" for kid in own}
        for subject in foreign.intersection(entry.subject for entry in page.entries) - self._disbelieved:
            _log.warning(
                "remit: the revocation feed revokes %s of another issuer; it is not believed", subject
            )
            self._disbelieved.add(subject)
        return [entry for entry in page.entries if entry.subject not in foreign]

    def _take(self, entries: Sequence[Change]) -> None:
        if not entries:
            return
        now = read_clock(self._clock)
        self._local.revoke(
            [
                # When it was revoked, the feed does not say; not after what it covers of an agent.
                Revocation.of(subject, now if until is None else min(now, until), expires_at, until, None)
                for subject, expires_at, until in entries
            ]
        )

    # ── counters, proofs and tokens: the local ledger's ─────────────────────────────────────────────────────

    def commit(self, charges: Sequence[Charge], proof: Proof | None, now: float) -> None:
        """Charge every counter and remember the proof, or do nothing at all."""
        self._local.commit(charges, proof, now)

    def probe(self, charges: Sequence[Charge], now: float) -> None:
        """Raise what `commit` would raise for these charges, and charge nothing."""
        self._local.probe(charges, now)

    def enroll(self, token: LiveToken) -> None:
        """Keep the metadata of a token that was issued here."""
        self._local.enroll(token)

    def token(self, token_id: str) -> LiveToken | None:
        """Return the metadata of a token that was issued here, when it is known."""
        return self._local.token(token_id)

    def tokens(self, now: float, *, limit: int = 100, before: LiveToken | None = None) -> list[LiveToken]:
        """Return tokens that were issued here and have not expired; `RemoteIssuer.tokens` has the others."""
        return self._local.tokens(now, limit=limit, before=before)

    def purge(self, now: float) -> int:
        """Remove what has been expired for longer than the margin; return the number of entries."""
        return self._local.purge(now)

    def close(self) -> None:
        """Give back the connections, the local ledger's too. It may be used again afterwards."""
        self._http.close()
        self._local.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a ledger is not pickled or copied")

    def __repr__(self) -> str:
        return f"<RevocationFeed of {self._http.url}>"


class _RevokedKeys:
    """The keys that a ledger says are revoked, followed as far as it has come."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._at = Position("", 0)
        self._keys: set[str] = set()

    def has(self, kid: str) -> bool:
        """Tell whether a key, by its thumbprint, is among them."""
        if self._ledger.position() != self._at:
            self._follow()
        return kid in self._keys

    def _follow(self) -> None:
        while True:
            since = self._at
            page = self._ledger.changes(since.number)
            if since.number and (page.position.store != since.store or page.position.number < since.number):
                self._at = Position(page.position.store, 0)
                continue
            subjects = [subject for subject, _, _ in page.entries if subject.startswith("key:")]
            self._keys.update(subject.removeprefix("key:") for subject in subjects)
            self._at = page.position
            if len(page.entries) < PAGE:
                return
