"""The revocation feed: what was revoked, signed, for guards that have no access to the ledger.

It is public, as a CRL is: a page names tokens, agents and keys, and no reasons. A page answers one
question: it repeats from where on was asked, and the nonce of whoever asked, so that nobody can serve an
old one for a new one.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request, Response

from remit.names import read_clock
from remit.service.errors import ServiceError
from remit.service.intake import read_query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from remit.encoding import JsonObject
    from remit.ledger import Changes
    from remit.service.gate import Gate
    from remit.service.instance import Instance

__all__ = ["router"]

_PATH: Final = "/v1/revocations"
_PARAMETERS: Final = ("since", "limit", "nonce")
_USUAL: Final = 500
_MOST: Final = 5_000
"""Entries of one page: a few megabytes, with the longest names that there are."""
_HIGHEST: Final = 2**53 - 1
"""The highest number that every ledger, and every parser of JSON, keeps as it is."""
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_NONCE: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}", re.ASCII)


def _parameter(name: str, about: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": about, "schema": schema}


_OPENAPI: Final[dict[str, Any]] = {
    "parameters": [
        _parameter(
            "since",
            "The number that the page before ended with; 0 for all.",
            {"type": "integer", "minimum": 0, "maximum": _HIGHEST, "default": 0},
        ),
        _parameter(
            "limit",
            "How many entries at most.",
            {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _USUAL},
        ),
        _parameter(
            "nonce",
            "Something random, which the page repeats.",
            {"type": "string", "pattern": f"^{_NONCE.pattern}$"},
        ),
    ]
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A page, as a compact JWS of the type `remit-revocations+jwt`.",
        "content": {"application/jwt": {"schema": {"type": "string"}}},
    },
    400: {"description": "A parameter makes no sense."},
    503: {"description": "The ledger does not answer, or the key that signs was revoked."},
}


def router(instance: Instance, gate: Gate) -> APIRouter:  # noqa: ARG001 - anybody may ask
    """Return the route of the feed."""
    routes = APIRouter(tags=["revocations"])

    @routes.get(
        _PATH,
        summary="What was revoked since",
        response_class=Response,
        responses=_RESPONSES,
        openapi_extra=_OPENAPI,
    )
    def revocations(request: Request) -> Response:
        """Return a signed page of what was revoked: oldest first, without reasons."""
        query = read_query(request, _PARAMETERS)
        since = _number(query, "since", 0, least=0, most=_HIGHEST)
        limit = _number(query, "limit", _USUAL, least=1, most=_MOST)
        page = _page(instance, since, limit, _nonce(query))
        return Response(page, media_type="application/jwt", headers={"Cache-Control": "no-store"})

    return routes


def _page(instance: Instance, since: int, limit: int, nonce: str | None) -> str:
    """Return a page of the feed, signed."""
    issuer = instance.keys.signing()
    found = _changes(instance, since, limit)
    statement: JsonObject = {
        "iat": int(read_clock(instance.clock)),
        "since": since,
        "store": found.position.store,
        "number": found.position.number,
        "more": len(found.entries) >= limit,  # then the next page says whether there were any
        "entries": [[*entry] for entry in found.entries],
    }
    if nonce is not None:
        statement["nonce"] = nonce
    return issuer.publish(statement)


def _changes(instance: Instance, since: int, limit: int) -> Changes:
    try:
        return instance.ledger.changes(since, limit)
    except Exception as error:  # whatever a ledger raises, it gave no answer
        raise ServiceError(
            HTTPStatus.SERVICE_UNAVAILABLE, "ledger_unavailable", "The ledger does not answer."
        ) from error


def _number(query: Mapping[str, str], name: str, usual: int, *, least: int, most: int) -> int:
    given = query.get(name)
    if given is None:
        return usual
    if not _NUMBER.fullmatch(given) or not least <= int(given) <= most:
        raise _bad(f"{name} must be a whole number from {least} to {most}.")
    return int(given)


def _nonce(query: Mapping[str, str]) -> str | None:
    nonce = query.get("nonce")
    if nonce is not None and not _NONCE.fullmatch(nonce):
        raise _bad("nonce must be 1 to 128 letters, digits or any of '._~-'.")
    return nonce


def _bad(reason: str) -> ServiceError:
    return ServiceError(HTTPStatus.BAD_REQUEST, "invalid_request", reason)
