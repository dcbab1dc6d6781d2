"""Trust anchors: what a guard knows of an issuer, and nothing secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from remit.encoding import EncodingError
from remit.errors import ConfigError, KeyFileError, shown
from remit.files import read_object, write_new
from remit.keys import PublicKey, public_key
from remit.names import check_uri, items, mapping

if TYPE_CHECKING:
    import os

__all__ = ["TrustAnchor", "check_anchors"]


class TrustAnchor:
    """An issuer and its public key (AAT draft, Section 2, "Trust Anchor"). Immutable.

    Args:
        issuer: the issuer's URI, which the `iss` of its root tokens equals.
        jwk: its Ed25519 public key as a JWK (RFC 8037).

    Raises:
        ConfigError: when the URI is none, or the JWK is not a sound public key: private members,
            encodings that are not canonical and keys of small order are refused.
    """

    __slots__ = ("_issuer", "_key")

    def __init__(self, issuer: str, jwk: Mapping[str, object]) -> None:
        self._issuer = check_uri("the issuer", issuer)
        try:
            self._key = public_key(mapping(f"the key of {shown(issuer)}", jwk))
        except EncodingError as error:
            raise ConfigError(f"the key of {shown(issuer)} {error}") from None

    @property
    def issuer(self) -> str:
        """The issuer's URI."""
        return self._issuer

    @property
    def key(self) -> PublicKey:
        """The issuer's public key."""
        return self._key

    @property
    def jwk(self) -> dict[str, str]:
        """The public key as a JWK, a new dictionary each time."""
        return self._key.jwk

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the anchor to a new file that anyone may read.

        Raises:
            KeyFileError: when the file exists or cannot be written.
        """
        write_new(path, {"issuer": self._issuer, "jwk": dict[str, object](self._key.jwk)}, mode=0o644)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrustAnchor:
        """Return the anchor in a file that `save` wrote.

        Raises:
            KeyFileError: when the file cannot be read, others can write it, or it holds no anchor.
        """
        members = read_object(path, forbidden_mode=0o002)
        issuer, jwk = members.get("issuer"), members.get("jwk")
        if not isinstance(issuer, str) or not isinstance(jwk, dict):
            raise KeyFileError(f"{shown(str(path))} holds no trust anchor")
        try:
            return cls(issuer, jwk)
        except ConfigError as error:
            raise KeyFileError(f"{shown(str(path))}: {error}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrustAnchor) and (self._issuer, self._key) == (other._issuer, other._key)

    def __hash__(self) -> int:
        return hash((self._issuer, self._key))

    def __repr__(self) -> str:
        return f"TrustAnchor({self._issuer!r}, {self._key.jwk!r})"


def check_anchors(trust: object) -> list[TrustAnchor]:
    """Return the anchors a guard is to trust.

    Raises:
        ConfigError: when there is none, or something among them is not one.
    """
    anchors: list[TrustAnchor] = []
    for anchor in items("trust", trust):
        if not isinstance(anchor, TrustAnchor):
            raise ConfigError(f"trust must hold TrustAnchors such as issuer.anchor, not {shown(anchor)}")
        anchors.append(TrustAnchor(anchor.issuer, anchor.jwk))  # a copy that nobody else can change
    if not anchors:
        raise ConfigError("trust needs at least one TrustAnchor; a guard that trusts nobody is no use")
    return anchors
