"""base64url without padding (RFC 7515, Section 2), accepting one spelling for each byte string."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64encode
from typing import Final

from remit.encoding.failure import EncodingError

__all__ = ["b64url_decode", "b64url_encode"]

_ALPHABET: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_PADDING: Final = {0: b"", 2: b"==", 3: b"="}


def b64url_encode(data: bytes) -> str:
    """Return `data` as base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    """Return the bytes that `text` spells.

    Raises:
        EncodingError: for padding, white space, letters outside the alphabet, an impossible
            length, or unused bits that are not zero (a second spelling of the same bytes).
    """
    try:
        raw = text.encode("ascii")
    except UnicodeEncodeError:
        raise EncodingError("is not base64url") from None
    padding = _PADDING.get(len(raw) % 4)
    if padding is None or not _ALPHABET.issuperset(raw):
        raise EncodingError("is not base64url")
    data = binascii.a2b_base64(raw.translate(_TO_STANDARD) + padding)
    # Only the last letter can hold unused bits; encoding the last group again shows them.
    if padding and b64url_encode(data[-(3 - len(padding)) :]) != text[len(text) // 4 * 4 :]:
        raise EncodingError("is not canonical base64url")
    return data
