"""Bytes on the wire: strict base64url and JSON in, canonical JSON out.

No JOSE library is as strict as tokens that carry authority need, so this layer is Remit's own.
What it refuses raises `EncodingError`, which never leaves the package: the layer that asked turns
it into a refusal that says what was malformed.
"""

from remit.encoding.base64url import b64url_decode, b64url_encode
from remit.encoding.canonical import canonicalize, comparable
from remit.encoding.failure import ArgumentError, EncodingError
from remit.encoding.jsontext import parse_object
from remit.encoding.values import JsonObject, JsonValue, snapshot

__all__ = [
    "ArgumentError",
    "EncodingError",
    "JsonObject",
    "JsonValue",
    "b64url_decode",
    "b64url_encode",
    "canonicalize",
    "comparable",
    "parse_object",
    "snapshot",
]
