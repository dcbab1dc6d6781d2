"""Nonces that the service asks proofs to carry: made from the issuer's key, and kept nowhere.

Any instance knows the nonces of any other that signs with the same key, or has done so since it started.
That a proof is used once, the ledger knows; a nonce shows that it was not made in advance.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final

from remit.encoding import b64url_encode
from remit.names import read_clock

if TYPE_CHECKING:
    from remit.service.instance import Instance

__all__ = ["LIFETIME", "Nonces"]

LIFETIME: Final = 300
"""Seconds for which a nonce is good."""

_PURPOSE: Final = "nonces"
_RANDOM: Final = 12
_NONCE: Final = re.compile(r"([0-9]{1,12}\.[A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{43})", re.ASCII)


class Nonces:
    """Makes the nonces of an instance, and knows them and those of other instances again.

    Args:
        instance: whose keys they are made from.
    """

    def __init__(self, instance: Instance) -> None:
        self._keys, self._clock = instance.keys, instance.clock

    def make(self) -> tuple[str, int]:
        """Return a new nonce, and until when it is good, in seconds since the epoch."""
        expires_at = int(read_clock(self._clock)) + LIFETIME
        said = f"{expires_at}.{b64url_encode(secrets.token_bytes(_RANDOM))}"
        newest = next(iter(self._keys.derived(_PURPOSE).values()))
        return f"{said}.{_mac(newest, said)}", expires_at

    def accepts(self, nonce: str) -> bool:
        """Tell whether a nonce is one of this service's, and still good."""
        match = _NONCE.fullmatch(nonce)
        if match is None:
            return False
        said, mac = match.groups()
        if read_clock(self._clock) >= int(said.partition(".")[0]):
            return False
        keys = self._keys.derived(_PURPOSE).values()
        return any(hmac.compare_digest(mac, _mac(key, said)) for key in keys)


def _mac(key: bytes, said: str) -> str:
    return b64url_encode(hmac.digest(key, said.encode("ascii"), hashlib.sha256))
