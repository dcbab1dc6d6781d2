"""A ledger on a Redis server, for guards on many machines.

Invariants beyond those of every ledger:

- whatever is said or asked is one script on the server, so that it is atomic among all processes;
- nothing is said twice: a call whose answer is lost fails, and whether it was done is not known;
- all keys have one hash tag, so that a cluster keeps them on one node;
- nothing grows for ever: counters expire by themselves, and each call that adds something of another
  kind removes a few of those that are long gone.
"""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from remit.errors import ConfigError, TokenRejected, shown
from remit.ledger.base import PAGE
from remit.ledger.entries import PURGE_MARGIN, Changes, LiveToken, Position, Revocation
from remit.ledger.redis_examine import examine
from remit.ledger.redis_link import Address, Link
from remit.ledger.redis_scripts import (
    COMMIT,
    ENROLL,
    FORGET_COUNTERS,
    FORGET_PROOFS,
    FORGET_REVOKED,
    FORGET_TOKENS,
    POSITION,
    PROBE,
    READ,
    REVOKE,
    SPENT_COUNTERS,
    TOKENS,
    Script,
)
from remit.names import check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remit.ledger.entries import Charge
    from remit.names import Duration
    from remit.proof import Proof

__all__ = ["RedisLedger"]

_BATCH: Final = 2000
"""Revocations that one script reads: it is done in a few milliseconds, in which nobody else is served."""
_FEW: Final = 500
"""Entries that one script forgets, tokens that one lists."""
_PER_SECOND: Final = 5_000
"""Revocations that any server takes in a second; longer lists are given more time than the time-out."""
_LONG_GONE: Final = 90 * 86_400
"""Seconds after its expiry when what nobody purged is removed beside something else.

That is much longer than the margin, as a purge is meant, and this happens by itself: the clock of the
guard that adds something may be wrong.
"""
_MAX_PREFIX: Final = 64
_LATEST: Final = 10**12 - 1
_ABOVE: Final = 2**53
"""Greater than the number of any change."""


class RedisLedger:
    """Holds everything on a Redis server (or Valkey), or a node of a cluster. Safe for threads and forks.

    The server is reached on use: one that is down when a ledger is made is no error. Use it with
    `maxmemory-policy noeviction` and an append-only file; `examine` says what is not as it should be. A
    server whose clock is set ahead by more than a day may forget counters too early, and nothing else.

    Args:
        url: `redis://[user:password@]host[:port][/database]`, `rediss://` with TLS, `unix:///path`. The
            options `?ssl_ca_certs=`, `ssl_certfile=`, `ssl_keyfile=`, `ssl_cert_reqs=` and
            `ssl_check_hostname=` are those of redis-py; `?prefix=` is as below.
        prefix: what all keys begin with, in braces; `remit` by default. Ledgers with different prefixes
            have nothing in common.
        timeout: the longest that connecting may take, and that waiting for an answer may, in whole
            seconds, at most 60; 2 seconds by default.

    Raises:
        ConfigError: when an argument makes no sense, or redis-py is missing.
    """

    def __init__(self, url: str, *, prefix: str | None = None, timeout: Duration = 2) -> None:
        address = Address.read(url)
        if prefix is not None and address.prefix is not None and prefix != address.prefix:
            raise ConfigError("the URL of the Redis ledger names another prefix than the argument")
        named = address.prefix if prefix is None else prefix
        self._prefix = _check_prefix("remit" if named is None else named)
        self._link = Link(address, timeout)
        tag = f"{{{self._prefix}}}:"
        self._counter = f"{tag}counter:".encode()
        self._channel = f"{tag}revoked"
        self._meta = f"{tag}meta"
        self._revoked = (self._meta, f"{tag}order", f"{tag}revoked", f"{tag}expiry")
        self._proofs, self._counters = f"{tag}proofs", f"{tag}counters"
        self._tokens = (self._meta, f"{tag}tokens", f"{tag}lifetimes")

    def revoke(self, revocations: Sequence[Revocation]) -> list[bool]:
        """Add revocations; for each, whether it says something new."""
        if not revocations:
            return []
        gone = revocations[0].revoked_at - _LONG_GONE
        lines = "".join(_line(entry) for entry in revocations)
        said = self._link.run(
            REVOKE,
            self._revoked,
            (_new_name(), self._channel, repr(gone), lines),
            more=len(revocations) // _PER_SECOND,
        )
        return [news == ord("1") for news in cast("bytes", said)]

    def position(self) -> Position:
        """Return how far the ledger has come. A server that was restarted counts as another store."""
        return _position(self._link.run(POSITION, (self._meta,), (_new_name(),)))

    def changes(self, since: int, limit: int = PAGE) -> Changes:
        """Return the oldest `limit` changes whose number is greater than `since`, 0 for all."""
        entries: list[tuple[str, int, float | None]] = []
        store: str | None = None
        while True:
            wanted = min(limit + 1 - len(entries), _BATCH)
            position, rows = self._read("up", since, wanted)
            if store is not None and position.store != store:  # it was replaced: the next page will tell
                return Changes(Position(store, since), entries)
            store = position.store
            kept = rows[: limit - len(entries)]
            entries += [(subject, expires_at, until) for _, expires_at, until, _, subject, _ in kept]
            since = kept[-1][0] if kept else since
            if len(kept) < len(rows):
                return Changes(Position(store, since), entries)
            if len(rows) < wanted:
                return Changes(position, entries)

    def revocations(self, limit: int | None = None) -> list[Revocation]:
        """Return the newest `limit` revocations, or all, newest first."""
        found: dict[str, list[Any]] = {}
        first, bound = None, _ABOVE
        while limit is None or len(found) < limit:
            position, rows = self._read("down", bound, _BATCH)
            first = first or position
            found.update((row[4], row) for row in rows)
            if len(rows) < _BATCH:
                break
            bound = rows[-1][0]
        # What was changed meanwhile went from the part still to be read to the part that was read.
        since = None if first is None or len(found) < _BATCH else first.number
        while since is not None:
            _, rows = self._read("up", since, _BATCH)
            found.update((row[4], row) for row in rows)
            since = rows[-1][0] if len(rows) == _BATCH else None
        newest = sorted(found.values(), key=_number, reverse=True)[:limit]
        return [
            Revocation.of(subject, revoked_at, expires_at, until, reason)
            for _, expires_at, until, revoked_at, subject, reason in newest
        ]

    def _read(self, order: str, beyond: int, limit: int) -> tuple[Position, list[list[Any]]]:
        said = self._link.run(READ, self._revoked[:2], (_new_name(), order, f"({beyond}", limit))
        return _position(said), json.loads(said[2])

    def commit(self, charges: Sequence[Charge], proof: Proof | None, now: float) -> None:
        """Charge every counter and remember the proof, or do nothing at all."""
        self._charge(COMMIT, charges, proof, now)

    def probe(self, charges: Sequence[Charge], now: float) -> None:
        """Raise what `commit` would raise for these charges, and charge nothing."""
        self._charge(PROBE, charges, None, now)

    def _charge(self, script: Script, charges: Sequence[Charge], proof: Proof | None, now: float) -> None:
        if not charges and proof is None:
            return
        keys: list[str | bytes] = [self._meta, self._proofs, self._counters]
        arguments: list[str | bytes] = [
            repr(now),
            b"" if proof is None else _bytes(proof.key),
            "" if proof is None else repr(proof.expires_at),
            repr(now - _LONG_GONE),
        ]
        for charge in charges:
            keys.append(self._counter + _bytes(charge.counter))
            arguments += (
                repr(charge.amount),
                repr(charge.ceiling),
                "" if charge.window is None else repr(charge.window),
                repr(charge.expires_at),
                str(math.ceil(max(charge.expires_at - now, 0)) + PURGE_MARGIN),
            )
        said: int = self._link.run(script, keys, arguments)
        if said == -1:
            raise TokenRejected("proof_replayed", "The proof of possession was used before.")
        if said:
            raise charges[said - 1].exceeded()

    def enroll(self, token: LiveToken) -> None:
        """Keep the metadata of a token that was issued."""
        metadata = json.dumps(token.to_dict(), separators=(",", ":"))
        gone = _digits(token.issued_at - _LONG_GONE)
        arguments = (_bytes(token.token_id), f"{_digits(token.expires_at)}:", metadata, gone)
        self._link.run(ENROLL, self._tokens, arguments)

    def token(self, token_id: str) -> LiveToken | None:
        """Return the metadata of a token that was issued, when it is known."""
        said = self._link.ask("HGET", self._tokens[1], _bytes(token_id))
        return None if said is None else _live_token(said)

    def tokens(self, now: float, *, limit: int = 100, before: LiveToken | None = None) -> list[LiveToken]:
        """Return tokens that have not expired, those that live longest first (then by identifier)."""
        lowest = f"[{_digits(math.floor(now) + 1)}"
        found: list[LiveToken] = []
        while len(found) < limit:
            highest = (
                b"+"
                if before is None
                else f"({_digits(before.expires_at)}:".encode() + _bytes(before.token_id)
            )
            wanted = min(limit - len(found), _FEW)
            page = [
                _live_token(each) for each in self._link.run(TOKENS, self._tokens, (highest, lowest, wanted))
            ]
            found += page
            if len(page) < wanted:
                break
            before = page[-1]
        return found

    def purge(self, now: float) -> int:
        """Remove what has been expired for longer than the margin; return the number of entries."""
        expired = repr(now - PURGE_MARGIN)
        count = self._forget(FORGET_REVOKED, self._revoked, expired)
        count += self._forget(FORGET_PROOFS, (self._meta, self._proofs), repr(now))
        count += self._forget(FORGET_TOKENS, self._tokens, _digits(math.floor(now - PURGE_MARGIN) + 1))
        while True:
            spent = self._link.run(SPENT_COUNTERS, (self._meta, self._counters), (expired, _FEW))
            if spent:
                count += self._link.run(FORGET_COUNTERS, (self._meta, self._counters, *spent), (expired,))
            if len(spent) < _FEW:
                return count

    def _forget(self, script: Script, keys: Sequence[str], bound: str) -> int:
        count = 0
        while True:
            some: int = self._link.run(script, keys, (bound, _FEW))
            count += some
            if some < _FEW:
                return count

    def wait(self, timeout: float) -> None:
        """Wait until something may have been revoked, or for `timeout` seconds; raise when that fails."""
        self._link.wait(self._channel, timeout)

    def examine(self) -> list[str]:
        """Say what about the server makes it forget, or lets others in; nothing when all is well.

        Raises:
            RedisError: when the server does not answer.
        """
        return examine(self._link)

    def server_time(self) -> float:
        """Return the server's time, in seconds since the epoch: for comparing clocks, and nothing else.

        Raises:
            RedisError: when the server does not answer.
        """
        seconds, micros = map(int, self._link.ask("TIME"))
        return seconds + micros / 1_000_000

    def close(self) -> None:
        """Disconnect. A ledger may be used again afterwards, and connects then."""
        self._link.close()

    def __repr__(self) -> str:
        return f"<RedisLedger {self._prefix!r} at {self._link.address.name}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a ledger is not pickled or copied")


def _check_prefix(prefix: object) -> str:
    name = check_name("the prefix of a Redis ledger", prefix)
    if len(name) > _MAX_PREFIX or not name.isascii() or "{" in name or "}" in name:
        raise ConfigError(
            f"the prefix of a Redis ledger must be ASCII without braces, at most {_MAX_PREFIX} characters,"
            f" not {shown(name)}"
        )
    return name


def _new_name() -> str:
    return os.urandom(8).hex()


def _position(said: Any) -> Position:
    return Position(said[0].decode(), said[1])


def _number(row: list[Any]) -> int:
    number: int = row[0]
    return number


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _digits(time: int) -> str:
    """Return a time so that texts are in the order of the times."""
    return f"{max(0, min(time, _LATEST)):012d}"


def _line(entry: Revocation) -> str:
    parts = (entry.subject, entry.expires_at, entry.issued_until, entry.revoked_at, entry.reason)
    return "\t".join([json.dumps(part) for part in parts]) + "\n"


def _live_token(said: bytes) -> LiveToken:
    members: dict[str, Any] = json.loads(said.partition(b":")[2])
    for name in ("capabilities", "revoked_with"):
        members[name] = tuple(members[name])
    return LiveToken(**members)
