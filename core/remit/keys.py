"""Ed25519 keys as JWK (RFC 8037) and their thumbprints (RFC 7638).

Every public key that enters Remit, as a trust anchor, a holder key or a `cnf`, goes through
`public_key`, which refuses what `cryptography` would accept: encodings of no point's own spelling,
and the points of small order, under which one signature fits any message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from remit.encoding import EncodingError, b64url_decode, b64url_encode
from remit.errors import ConfigError
from remit.names import mapping

__all__ = ["THUMBPRINT_URI", "HolderKey", "PublicKey", "private_key", "public_key"]

THUMBPRINT_URI: Final = "urn:ietf:params:oauth:jwk-thumbprint:sha-256:"
"""Prefix of a JWK Thumbprint URI (RFC 9278)."""

_SIZE: Final = 32
_FIELD: Final = 2**255 - 19
_SIGN_BIT: Final = 1 << 255
_ALL_BUT_SIGN: Final = 0x7F


def _encodings(y: int) -> set[bytes]:
    return {y.to_bytes(_SIZE, "little"), (y | _SIGN_BIT).to_bytes(_SIZE, "little")}


# The y coordinates of the eight points of small order: the identity, the point of order two, two of
# order four (y = 0) and four of order eight. The sign of x does not matter: all of them are refused.
_ORDER_EIGHT: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER: Final[frozenset[bytes]] = frozenset[bytes]().union(
    *map(_encodings, (0, 1, _FIELD - 1, _ORDER_EIGHT, _FIELD - _ORDER_EIGHT))
)


def _is_canonical(raw: bytes) -> bool:
    """Tell whether y is below the field's prime, so that the point has no shorter spelling (RFC 8032)."""
    if raw[-1] & _ALL_BUT_SIGN != _ALL_BUT_SIGN:  # far below, as nearly all are
        return True
    return int.from_bytes(raw, "little") & ~_SIGN_BIT < _FIELD


class PublicKey:
    """A sound Ed25519 public key. Made by `public_key`; compares by its bytes."""

    __slots__ = ("_key", "_thumbprint", "raw", "x")

    raw: bytes
    """The 32 bytes of the key."""
    x: str
    """The same in base64url, as a JWK holds it."""

    def __init__(self, raw: bytes, x: str | None = None) -> None:
        if len(raw) != _SIZE or not _is_canonical(raw):
            raise EncodingError("is not the canonical encoding of an Ed25519 public key")
        if raw in _SMALL_ORDER:
            raise EncodingError("is a key of small order, which would fit any signature")
        self.raw = raw
        self.x = b64url_encode(raw) if x is None else x
        self._key: Ed25519PublicKey | None = None
        self._thumbprint: str | None = None

    @property
    def thumbprint(self) -> str:
        """SHA-256 JWK thumbprint (RFC 7638), base64url."""
        if self._thumbprint is None:
            required = f'{{"crv":"Ed25519","kty":"OKP","x":"{self.x}"}}'
            self._thumbprint = b64url_encode(hashlib.sha256(required.encode("ascii")).digest())
        return self._thumbprint

    @property
    def jwk(self) -> dict[str, str]:
        """The key as a JWK (RFC 8037), a new dictionary each time."""
        return {"crv": "Ed25519", "kty": "OKP", "x": self.x}

    @property
    def uri(self) -> str:
        """The JWK Thumbprint URI (RFC 9278), which names the key as an issuer of derived tokens."""
        return THUMBPRINT_URI + self.thumbprint

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether `signature` is this key's over `message` (RFC 8032)."""
        if self._key is None:
            self._key = Ed25519PublicKey.from_public_bytes(self.raw)
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.thumbprint!r})"


def public_key(jwk: Mapping[str, object]) -> PublicKey:
    """Return the public key that `jwk` holds.

    Raises:
        EncodingError: when it is not an Ed25519 public JWK, holds private members, is not in
            canonical form or is of small order.
    """
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise EncodingError("is not an Ed25519 JWK")
    if "d" in jwk:
        raise EncodingError("holds a private key")
    x = jwk.get("x")
    if type(x) is not str or len(x) > _SIZE * 2:
        raise EncodingError("has no public key in x")
    return PublicKey(b64url_decode(x), x)


class HolderKey:
    """An Ed25519 private key that signs: an issuer's, or a holder's. Never shown, never pickled."""

    __slots__ = ("_key", "public")

    public: PublicKey
    """The public half."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> HolderKey:
        """Return a fresh key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object]) -> HolderKey:
        """Return the private key of `jwk` (RFC 8037, Section 2).

        Raises:
            EncodingError: when there is no sound private key, or `x` is another key's.
        """
        seed = jwk.get("d")
        if type(seed) is not str:
            raise EncodingError("holds no private key")
        raw = b64url_decode(seed)
        if len(raw) != _SIZE:
            raise EncodingError("holds a private key of the wrong length")
        key = cls(Ed25519PrivateKey.from_private_bytes(raw))
        if public_key({name: value for name, value in jwk.items() if name != "d"}) != key.public:
            raise EncodingError("holds a public key that is not the private key's")
        return key

    def to_pem(self, passphrase: bytes | None) -> str:
        """Return the private key as PKCS#8 (RFC 5958) in PEM, encrypted when there is a passphrase."""
        from cryptography.hazmat.primitives import serialization  # slow to import, and seldom needed

        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            encryption = serialization.BestAvailableEncryption(passphrase)
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return self._key.private_bytes(pem, pkcs8, encryption).decode("ascii")

    @classmethod
    def from_pem(cls, pem: str, passphrase: bytes | None) -> HolderKey:
        """Return the private key that `to_pem` wrote.

        Raises:
            EncodingError: when there is none that the passphrase, or the lack of one, opens.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization

        try:
            key = serialization.load_pem_private_key(pem.encode("utf-8"), passphrase)
        except (TypeError, ValueError, UnsupportedAlgorithm):
            raise EncodingError("holds no key that this passphrase, or the lack of one, opens") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise EncodingError("holds a key that is not Ed25519")
        return cls(key)

    def private_jwk(self) -> dict[str, str]:
        """Return the key with its private part as a JWK, for a file that only its holder can read."""
        return {**self.public.jwk, "d": b64url_encode(self._key.private_bytes_raw())}

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature (RFC 8032) of `message`."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"<HolderKey {self.public.thumbprint}>"

    def __reduce__(self) -> str:
        raise TypeError("private keys are not pickled")


def private_key(key: object) -> HolderKey:
    """Return the private key that a person gives as a JWK or as a key of `cryptography`.

    Raises:
        ConfigError: when it is neither, or not sound.
    """
    if isinstance(key, Ed25519PrivateKey):
        return HolderKey(key)
    try:
        return HolderKey.from_jwk(mapping("holder_key", key))
    except EncodingError as error:
        raise ConfigError(f"holder_key {error}") from None
