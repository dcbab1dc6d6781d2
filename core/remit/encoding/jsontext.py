"""JSON text in (RFC 8259), with everything refused that two parsers could read differently."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NoReturn

from remit.encoding.failure import EncodingError
from remit.encoding.numbers import parse_fraction, parse_whole

if TYPE_CHECKING:
    from remit.encoding.values import JsonObject, JsonValue

__all__ = ["parse_object"]

_MAX_DEPTH: Final = 100
"""Thirty-two nested constraints take two levels each; nothing sound is deeper than this."""


def _members(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise EncodingError("repeats a member name")
    return members


def _no_constant(name: str) -> NoReturn:
    raise EncodingError(f"holds {name}, which is not JSON")


def _refuse_depth(value: JsonValue) -> None:
    level: list[JsonValue] = [value]
    for _ in range(_MAX_DEPTH + 1):
        below: list[JsonValue] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return
        level = below
    raise EncodingError("nests too deeply")


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=parse_whole,
    parse_float=parse_fraction,
    parse_constant=_no_constant,
).decode


def parse_object(data: bytes) -> JsonObject:
    """Return the JSON object that `data` spells.

    Raises:
        EncodingError: when `data` is not UTF-8, not one JSON object, repeats a member name at any
            depth, holds NaN, Infinity, a lone surrogate or a number that a double would change,
            or nests too deeply to parse.
    """
    try:
        text = data.decode("utf-8")
        value: JsonValue = _decode(text)
        if data.count(b"[") + data.count(b"{") > _MAX_DEPTH:
            _refuse_depth(value)
        if "\\u" in text:  # only an escape can smuggle a lone surrogate past UTF-8
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except EncodingError:
        raise
    except (ValueError, RecursionError):
        raise EncodingError("is not JSON") from None
    if not isinstance(value, dict):
        raise EncodingError("is not a JSON object")
    return value
