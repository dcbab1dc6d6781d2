"""Trust anchors that the service publishes: its keys as a JWK Set (RFC 7517).

Invariants:

- only sound Ed25519 keys for signatures become anchors; one that is not sound, or was published with its
  private half, never does, and takes no other key with it;
- whose keys they are, the operator says, or the service itself at the URL that the operator named
  (RFC 8414, Section 3.3);
- a document without a key, or none at all, changes nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from remit.anchor import TrustAnchor
from remit.encoding import EncodingError
from remit.errors import ConfigError
from remit.keys import public_key
from remit.names import check_uri, seconds
from remit.remote.http import Http, NoAnswer, check_url
from remit.trust import WatchedAnchors

if TYPE_CHECKING:
    import os
    from typing import NoReturn

    from remit.encoding import JsonObject
    from remit.keys import PublicKey
    from remit.names import Duration

__all__ = ["RemoteAnchors"]

_METADATA: Final = "/.well-known/oauth-authorization-server"
_MOST: Final = 262_144
"""Bytes of a document."""
_MAX_KEYS: Final = 100
_LONGEST: Final = 86_400
_OK: Final = 200
_ALGORITHMS: Final = (None, "Ed25519", "EdDSA")
_FRESH: Final = (("accept", "application/jwk-set+json, application/json"), ("cache-control", "no-cache"))
_log: Final = logging.getLogger("remit")


class RemoteAnchors:
    """The trust anchors of an issuer, as its service publishes them: `Guard(trust=RemoteAnchors(url))`.

    They are read when this is made, then every `max_age` by a thread, and when a token names a key that is
    not among them: ten times in a row at most, and once more each second. Where that fails, those of before
    stay, and the next attempt is ten seconds away. A key that is gone from the document is not trusted from
    the next reading on; a key that was revoked is refused at once, through the ledger or the feed.

    Args:
        url: the service's base URL, whose metadata (RFC 8414) says who it is and where its keys are; or,
            with `issuer`, the URL of a JWK Set. `https`, or `http` on this machine.
        issuer: the URI of the issuer whose keys a JWK Set holds.
        timeout: how long one exchange may take, in seconds.
        max_age: after how long they are read again, while they are in use; five minutes by default.
        ca_file: the certificates (PEM) that the server's must lead to; those of the system by default.

    Raises:
        ConfigError: when an argument makes no sense, or there are no keys to be had now: a guard that
            trusts nobody is no use.
    """

    def __init__(
        self,
        url: str,
        *,
        issuer: str | None = None,
        timeout: Duration = 5,
        max_age: Duration = "5m",
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self._http = Http(url, timeout=timeout, ca_file=ca_file)
        self._issuer = None if issuer is None else check_uri("the issuer", issuer)
        self._source: tuple[str, str] | None = None
        """The issuer, and the URL of its keys, once they are known."""
        every = seconds("max_age", max_age, maximum=_LONGEST)
        try:
            self._watched = WatchedAnchors(self._read, every=every, waits=True)
        except NoAnswer as error:
            raise ConfigError(f"no keys can be had: the service {error}") from None

    @property
    def waits(self) -> bool:
        """Whether looking may wait for a network: it does."""
        return self._watched.waits

    def anchors(self) -> tuple[TrustAnchor, ...]:
        """Return the anchors that are trusted now; the same object for as long as nothing changes."""
        return self._watched.anchors()

    def refresh(self, kid: str) -> None:
        """Read them again to find the key `kid`, if that may be done now."""
        self._watched.refresh(kid)

    def close(self) -> None:
        """Disconnect, and end the thread. They may be used again afterwards."""
        self._watched.close()
        self._http.close()

    def _read(self) -> list[TrustAnchor]:
        source = self._source or self._located()
        self._source = None  # when they are not where they were, they are looked for anew
        issuer, url = source
        document = self._document(url)
        self._source = source
        found = [TrustAnchor(issuer, dict[str, object](key.jwk)) for key in _keys(document)]
        if not found:
            raise NoAnswer("publishes no key that can be used")
        return found

    def _located(self) -> tuple[str, str]:
        if self._issuer is not None:
            return self._issuer, self._http.url
        parts = urlsplit(self._http.url)
        origin = f"{parts.scheme}://{parts.netloc}"
        members = self._document(f"{origin}{_METADATA}{parts.path}")
        if members.get("issuer") != self._http.url:
            raise NoAnswer("says in its metadata that it is another one")
        try:
            url = check_url("jwks_uri", members.get("jwks_uri"))
        except ConfigError:
            raise NoAnswer("has no sound jwks_uri in its metadata") from None
        if not url.startswith(f"{origin}/"):
            raise NoAnswer("has its keys at another server")
        try:  # a service that is not where its issuer's URI says
            return check_uri("the issuer", members.get("remit_token_issuer", self._http.url)), url
        except ConfigError:
            raise NoAnswer("does not say whose tokens it issues") from None

    def _document(self, url: str) -> JsonObject:
        answer = self._http.ask("GET", url, most=_MOST, headers=_FRESH)
        if answer.status != _OK:
            raise NoAnswer(f"answered with status {answer.status} where its keys should be")
        return answer.members()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("anchors that are read from a service are not pickled or copied")

    def __repr__(self) -> str:
        return f"<RemoteAnchors of {self._source[0] if self._source else self._issuer}>"


def _keys(document: JsonObject) -> list[PublicKey]:
    """Return the keys of a JWK Set that can be trusted, each once."""
    entries = document.get("keys")
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise NoAnswer("publishes something that is no JWK Set")
    keys = [entry for entry in entries if isinstance(entry, dict)]
    given_away = {x for entry in keys if "d" in entry and isinstance(x := entry.get("x"), str)}
    found: dict[PublicKey, None] = {}
    for entry in filter(_is_ours, keys):
        try:
            key = public_key(entry)
        except EncodingError as error:
            _log.warning("remit: the service publishes a key that %s; it is not trusted", error)
            continue
        if key.x in given_away:
            _log.warning("remit: the service publishes the private half of a key; it is not trusted")
            continue
        found[key] = None
    return list(found)


def _is_ours(entry: JsonObject) -> bool:
    """Tell whether a key is one for signatures with Ed25519; others may stand beside it (RFC 7517)."""
    return (
        (entry.get("kty"), entry.get("crv")) == ("OKP", "Ed25519")
        and entry.get("use", "sig") == "sig"
        and entry.get("alg") in _ALGORITHMS
    )
