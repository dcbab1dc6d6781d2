"""How a call travels in a request. It is read once, strictly, and handed on as it was read."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode

import remit

from .refusal import Receive, Refusal, Scope

__all__ = ["MAX_BODY", "OVERRIDE", "Asked", "headers", "read"]

MAX_BODY: Final = 1_048_576
"""Bytes of a request's body, which holds no more than a proof with its arguments could."""
_PATIENCE: Final = 30
"""Seconds in which a body must be there."""
_MEMBERS: Final = {"aat_chain", "aat_pop"}
_JSON: Final = re.compile(rb'application/json[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?', re.IGNORECASE)
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_HEADER: Final = b"remit-presentation"
_ONCE: Final = {_HEADER, b"content-length", b"content-type", b"content-encoding", b"transfer-encoding"}
"""Headers that count. The application gets none of them, but those of the body as it is written anew."""
OVERRIDE: Final = re.compile(rb"x[-_](?:http[-_]method(?:[-_]override)?|method[-_]override)", re.IGNORECASE)
"""A header by which some applications take a request for one of another method; `_` is `-` for CGI."""


def headers(presentation: remit.Presentation) -> dict[str, str]:
    """Return the header that carries a presentation: base64url, without padding, of the draft's JSON object.

    Servers bound the size of headers, often to 64 KiB in all. A long chain goes into the body.
    """
    text = json.dumps(presentation.to_dict(), separators=(",", ":")).encode()
    return {"Remit-Presentation": base64.urlsafe_b64encode(text).rstrip(b"=").decode()}


@dataclass(frozen=True, slots=True, repr=False)
class Asked:
    """A request: what is presented, and for which arguments."""

    presentation: remit.Presentation | dict[str, Any]
    arguments: dict[str, Any]
    """All of them by name, whichever place they come from."""
    query: dict[str, str]
    body: dict[str, Any] | None
    """None where the request has none."""

    def handed_on(self, scope: Scope, permit: remit.Permit) -> tuple[Scope, bytes]:
        """Return the scope and the body that the application gets: what was checked, and nothing else."""
        own, body = [pair for pair in scope["headers"] if pair[0].lower() not in _ONCE], b""
        if self.body is not None:
            checked = permit.arguments
            body = json.dumps({name: checked[name] for name in self.body}, allow_nan=False).encode()
            own += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        query = urlencode(self.query).encode()
        return {**scope, "headers": own, "query_string": query, "remit": permit}, body


async def read(scope: Scope, receive: Receive, path: dict[str, str], beside: set[str] | None) -> Asked:
    """Return what a request asks for.

    Args:
        scope: of the request.
        receive: gives its body.
        path: the parameters of its path.
        beside: the arguments that are in the query, and the others in the body; None: all are in the query.

    Raises:
        Refusal: when it could be read in more than one way, holds what is not in its place, or is too large.
    """
    given = _once([(name.lower(), value) for name, value in scope["headers"] if name.lower() in _ONCE])
    query = _query(scope["query_string"])
    body = _members(given, await _received(given, receive))
    presentation: remit.Presentation | dict[str, Any] = remit.Presentation((), "")  # none: a guard says so
    if _HEADER in given:
        presentation = _presented(given[_HEADER])
    if body is not None and body.keys() & _MEMBERS:
        presentation = {name: body.pop(name) for name in _MEMBERS & body.keys()}
        arguments: Any = body.pop("arguments", {})
        if body or _HEADER in given or not isinstance(arguments, dict):
            raise Refusal("A presentation in a body has an object named arguments beside it, and no header.")
        body = cast("dict[str, Any]", arguments)
    if beside is None and body is not None:
        raise Refusal("The arguments of this request belong in its query, and it has a body.")
    if beside is not None and (query.keys() - beside or beside & (body or {}).keys()):
        raise Refusal("An argument that belongs in the body is in the query, or the other way round.")
    return Asked(presentation, _once([*path.items(), *query.items(), *(body or {}).items()]), query, body)


def _once(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    if len(dict(pairs)) < len(pairs):
        raise Refusal("An argument, a member, or a header that counts is given more than once.")
    return dict(pairs)


def _query(text: bytes) -> dict[str, str]:
    try:
        strict: Any = {"keep_blank_values": True, "strict_parsing": bool(text), "errors": "strict"}
        return _once(parse_qsl(text.decode("ascii"), **strict))
    except ValueError:
        raise Refusal("The query cannot be read.") from None


async def _received(given: dict[bytes, bytes], receive: Receive) -> bytes:
    length, data, more = given.get(b"content-length", b"0"), bytearray(), True
    if not _LENGTH.fullmatch(length) or {b"content-length", b"transfer-encoding"} <= given.keys():
        raise Refusal("The length of the body is not clear.")
    try:
        async with asyncio.timeout(_PATIENCE):
            while more and max(int(length), len(data)) <= MAX_BODY:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refusal("The client left before its request was whole.")
                data += message.get("body", b"")
                more = message.get("more_body", False)
    except TimeoutError:
        raise Refusal(f"The body was not there in {_PATIENCE} seconds.", 408) from None
    if max(int(length), len(data)) > MAX_BODY:
        raise Refusal(f"The body is larger than {MAX_BODY} bytes.", 413)
    return bytes(data)


def _members(given: dict[bytes, bytes], data: bytes) -> dict[str, Any] | None:
    if data and (b"content-encoding" in given or not _JSON.fullmatch(given.get(b"content-type", b""))):
        raise Refusal("A body is application/json, in UTF-8, and not compressed.", 415)
    try:
        return _parsed(data) if data else None
    except (ValueError, RecursionError):
        raise Refusal("The body is not one JSON object that can be read in one way only.") from None


def _presented(header: bytes) -> dict[str, Any]:
    """Return what a header carries; nothing when it is no presentation, which a guard then refuses."""
    try:
        found = _parsed(base64.b64decode(header + b"=" * (-len(header) % 4), b"-_", validate=True))
    except (ValueError, RecursionError, Refusal):
        return {}
    return found if found.keys() == _MEMBERS else {}


def _parsed(data: bytes) -> dict[str, Any]:
    found: object = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else _no_number("no object")


def _no_number(found: str) -> Any:
    raise ValueError(f"holds {found}")
