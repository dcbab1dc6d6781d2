"""What comes in: read strictly, within bounds.

Invariants:

- a body counts as JSON or as a form only where its content type says so, and only in one reading: no
  member twice, no NaN, no parameter twice, nothing but UTF-8;
- nothing of a body beyond `MAX_BODY` is kept, whatever its length was said to be;
- JSON of more than `MAX_PARTS` parts is not parsed, and what is large is read in a thread: reading never
  holds up the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from remit.encoding import EncodingError, parse_object
from remit.errors import shown
from remit.service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Collection

    from remit.encoding import JsonObject

__all__ = ["MAX_BODY", "MAX_PARTS", "parse_json", "read_form", "read_json", "read_query"]

MAX_BODY: Final = 1_048_576
"""Bytes of a body; more is refused (413) without being read."""
MAX_PARTS: Final = 20_000
"""How many commas, colons and opening brackets JSON may have; to parse it takes time for each of them."""

_SMALL: Final = 16_384
_STRUCTURE: Final = (b",", b":", b"[", b"{")
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 100


def parse_json(body: bytes) -> JsonObject:
    """Return the JSON object that `body` spells.

    Raises:
        ServiceError: 400, when it is not one, has more than `MAX_PARTS` parts, or two parsers could read it
            differently.
    """
    _check_parts("The body", body)
    try:
        return parse_object(body)
    except EncodingError as error:
        raise ServiceError(400, "invalid_request", f"The body {error}.") from None


async def read_json(request: Request) -> JsonObject:
    """Return the JSON object in the body of a request.

    Raises:
        ServiceError: 415 for another content type, 400 when the body is no strict JSON object.
    """
    _check_type(request, _JSON)
    body = await request.body()
    return parse_json(body) if len(body) <= _SMALL else await run_in_threadpool(parse_json, body)


async def read_form(request: Request) -> dict[str, str]:
    """Return the parameters in the body of a request, each of which stands there once (RFC 6749, 3.2).

    Raises:
        ServiceError: 415 for another content type, 400 when the body is no form in UTF-8, names a
            parameter twice, or holds JSON of more than `MAX_PARTS` parts.
    """
    _check_type(request, _FORM)
    body = await request.body()
    return _parameters(body) if len(body) <= _SMALL else await run_in_threadpool(_parameters, body)


def read_query(request: Request, known: Collection[str]) -> dict[str, str]:
    """Return the parameters in the query of a request.

    Args:
        request: the request.
        known: the names that it may have.

    Raises:
        ServiceError: 400, when there is another one, one stands there twice, or it is not UTF-8.
    """
    found = _pairs("The query", request.scope.get("query_string", b""))
    for name in found:
        if name not in known:
            raise ServiceError(400, "invalid_request", f"The query has an unknown parameter {shown(name)}.")
    return found


def _parameters(body: bytes) -> dict[str, str]:
    found = _pairs("The body", body)
    for value in found.values():
        _check_parts("A parameter", value.encode("utf-8"))
    return found


def _check_parts(what: str, text: bytes) -> None:
    """Refuse what would take long to parse, if it is JSON. What stands in its strings does not count."""
    if _parts(text) <= MAX_PARTS:
        return
    bare = text.replace(rb"\\", b"").replace(rb"\"", b"")
    # Between two strings there is a comma or a colon, so that more quotes than these are too many parts.
    if bare.count(b'"') > 2 * MAX_PARTS or _parts(b"".join(bare.split(b'"')[::2])) > MAX_PARTS:
        raise ServiceError(400, "invalid_request", f"{what} has more than {MAX_PARTS} parts.")


def _parts(text: bytes) -> int:
    return sum(map(text.count, _STRUCTURE))


def _pairs(what: str, data: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            data.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(data),
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:
        raise ServiceError(400, "invalid_request", f"{what} is not a form in UTF-8.") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ServiceError(400, "invalid_request", f"{what} has a parameter twice.")
    return found


def _check_type(request: Request, wanted: str) -> None:
    given = request.headers.getlist("content-type")
    kind, _, parameter = given[0].partition(";") if len(given) == 1 else ("", "", "")
    charset = parameter.replace(" ", "").replace('"', "").lower()
    if kind.strip().lower() != wanted or charset not in {"", "charset=utf-8"}:
        raise ServiceError(415, "unsupported_media_type", f"The body must be of the type {wanted}.")
