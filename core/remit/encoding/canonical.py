"""JSON text out: the JSON Canonicalization Scheme (RFC 8785)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from remit.encoding.failure import EncodingError
from remit.encoding.numbers import number_text

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from remit.encoding.values import JsonValue

__all__ = ["canonicalize", "comparable"]

_SAFE: Final = 2**53
_encode: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), sort_keys=True
).encode
_quote: Final = json.JSONEncoder(ensure_ascii=False).encode
_TRUE: Final = (b"true",)
_FALSE: Final = (b"false",)


def _plain(value: JsonValue) -> bool:
    """Tell whether Python's own encoder writes `value` as RFC 8785 wants it.

    It differs for floats, for integers beyond 2^53, and in the order of names outside the basic
    plane, so those take the slower way.
    """
    if isinstance(value, dict):
        return all(map(str.isascii, value)) and _all_plain(value.values())
    return _all_plain(value if isinstance(value, list) else (value,))


def _all_plain(values: Iterable[JsonValue]) -> bool:
    for value in values:
        kind = type(value)
        if kind is str or kind is bool or value is None:
            continue
        if kind is int:
            if not -_SAFE <= value <= _SAFE:  # type: ignore[operator]  # kind is int
                return False
        elif kind is float or not _plain(value):
            return False
    return True


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be")


def _write(value: JsonValue) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_write, value)) + "]"
    names = sorted(value, key=_utf16)
    return "{" + ",".join(f"{_quote(name)}:{_write(value[name])}" for name in names) + "}"


def canonicalize(value: JsonValue) -> bytes:
    """Return `value`, a JSON value as `snapshot` or `parse_object` make them, as RFC 8785 bytes.

    Raises:
        EncodingError: when a string holds a lone surrogate or a number is not finite.
    """
    try:
        return (_encode(value) if _plain(value) else _write(value)).encode("utf-8")
    except UnicodeEncodeError:
        raise EncodingError("holds a lone surrogate") from None


def comparable(value: JsonValue) -> Hashable:
    """Return a hashable key that is equal for two JSON values exactly when their RFC 8785 forms are.

    Strings, numbers and null are their own keys (Python compares 1 and 1.0 as equal, and so does
    RFC 8785); `True` equals 1 in Python, so booleans are set apart.
    """
    if value is True:
        return _TRUE
    if value is False:
        return _FALSE
    if isinstance(value, list | dict):
        return (canonicalize(value),)
    return value
