"""Sessions of the console: who has shown the admin token, for an hour.

Invariants:

- a session is what its cookie says, under a MAC: nothing is kept here, and every instance that has the
  issuer's key and the same admin token knows it;
- the cookie holds no secret but itself: a key's identifier, a time, random bytes and the MAC;
- with another admin token, no session from before is one. Whoever has the issuer's key alone, say after it
  was lost, can make none; so the key may be a revoked one, and the console stays open when it is needed most;
- a form counts only with the token that was made for this very session.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from remit.encoding import b64url_encode
from remit.names import read_clock

if TYPE_CHECKING:
    from remit.names import Clock
    from remit.service.keyring import Keyring

__all__ = ["LIFETIME", "Session", "Sessions"]

LIFETIME: Final = 3600
"""Seconds from signing in to the end of a session, used or not."""

_SKEW: Final = 60
"""Seconds by which the clocks of two instances may differ."""
_COOKIE: Final = re.compile(
    r"(?P<stated>(?P<kid>[A-Za-z0-9_-]{43})\.(?P<expires>[1-9][0-9]{0,11})\.[A-Za-z0-9_-]{22})"
    r"\.(?P<mac>[A-Za-z0-9_-]{43})",
    re.ASCII,
)
_PURPOSE: Final = "console"
_SESSION: Final = b"session"
_FORM: Final = b"form"


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """A session that is one."""

    cookie: str
    form_token: str
    """What every form of this session carries."""
    expires_at: int
    """Seconds since the epoch."""

    def is_form_token(self, presented: str) -> bool:
        """Tell whether a form was made for this session, in constant time."""
        return hmac.compare_digest(presented.encode("utf-8", "replace"), self.form_token.encode("ascii"))


class Sessions:
    """Makes sessions, and knows them again.

    Args:
        keys: what a session is signed with is derived from them.
        admin: the hash of the admin token; None where nobody may sign in.
        clock: seconds since the epoch.
    """

    def __init__(self, keys: Keyring, admin: bytes | None, clock: Clock) -> None:
        self._keys, self._admin, self._clock = keys, admin, clock

    def start(self) -> Session:
        """Return a new session, for whoever has just shown the admin token."""
        kid, secret = next(iter(self._keys.derived(_PURPOSE).items()))
        expires_at = int(read_clock(self._clock)) + LIFETIME
        stated = f"{kid}.{expires_at}.{b64url_encode(os.urandom(16))}"
        return self._session(secret, stated, expires_at)

    def read(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, or None when it is none, or over."""
        match = None if cookie is None or self._admin is None else _COOKIE.fullmatch(cookie)
        if match is None or cookie is None:
            return None
        secret = self._keys.derived(_PURPOSE).get(match["kid"])
        if secret is None:
            return None
        expires_at = int(match["expires"])
        session = self._session(secret, match["stated"], expires_at)
        if not hmac.compare_digest(session.cookie, cookie):
            return None
        left = expires_at - read_clock(self._clock)
        return session if 0 < left <= LIFETIME + _SKEW else None

    def _session(self, secret: bytes, stated: str, expires_at: int) -> Session:
        cookie = f"{stated}.{self._mac(secret, _SESSION, stated)}"
        return Session(cookie, self._mac(secret, _FORM, stated), expires_at)

    def _mac(self, secret: bytes, purpose: bytes, stated: str) -> str:
        # Each part before `stated` is of a fixed length or a constant, so that no two inputs read the same.
        message = b"\0".join((purpose, (self._admin or b"").hex().encode(), stated.encode("ascii")))
        return b64url_encode(hmac.digest(secret, message, hashlib.sha256))
