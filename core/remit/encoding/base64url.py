"""base64url without padding (RFC 7515, Section 2), accepting one spelling for each byte string."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from typing import Final

from remit.encoding.failure import EncodingError

__all__ = ["b64url_decode", "b64url_encode"]

_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_PADDING: Final = {0: b"", 2: b"==", 3: b"="}


def b64url_encode(data: bytes) -> str:
    """Return `data` as base64url without padding."""
    return b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    """Return the bytes that `text` spells.

    Raises:
        EncodingError: for padding, white space, letters outside the alphabet, an impossible
            length, or unused bits that are not zero (a second spelling of the same bytes).
    """
    padding = _PADDING.get(len(text) % 4)
    if padding is None or "=" in text or "+" in text or "/" in text:
        raise EncodingError("is not base64url")
    try:
        data = a2b_base64(text.encode("ascii").translate(_TO_STANDARD) + padding, strict_mode=True)
    except (Error, UnicodeEncodeError):
        raise EncodingError("is not base64url") from None
    # Only the last letter can hold unused bits; encoding the last group again shows them.
    if padding and b64url_encode(data[-(3 - len(padding)) :]) != text[len(text) // 4 * 4 :]:
        raise EncodingError("is not canonical base64url")
    return data
