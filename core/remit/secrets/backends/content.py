"""What a cloud keeps under one name: text, bytes, or a JSON object of several fields."""

from __future__ import annotations

import base64

from remit.encoding import EncodingError, parse_object
from remit.secrets.backend import BackendFailure

__all__ = ["content"]


def content(data: str | bytes, field: str | None = None) -> str | None:
    """Return what was kept as text.

    Args:
        data: text, or bytes; bytes that are no UTF-8 are returned in base64 (RFC 4648, section 4).
        field: the member to return of what is then a JSON object (strict: no member twice).

    Returns:
        The text, or None when the object has no such member.

    Raises:
        BackendFailure: when there is no JSON object, or its member is not text.
    """
    if field is None:
        return data if isinstance(data, str) else _text(data)
    try:
        members = parse_object(data.encode("utf-8") if isinstance(data, str) else data)
    except (EncodingError, UnicodeEncodeError):
        raise BackendFailure("it is not a JSON object, of which the reference names a field") from None
    value = members.get(field)
    if value is not None and not isinstance(value, str):
        raise BackendFailure("the field is not text")
    return value


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(data).decode("ascii")
