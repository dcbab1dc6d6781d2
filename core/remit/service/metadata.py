"""What is published: the keys that verify tokens (RFC 7517), and where everything is (RFC 8414)."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter, Request, Response

from remit.encoding import b64url_encode
from remit.service.details import DETAILS_TYPE
from remit.service.errors import ServiceError
from remit.service.oauth import CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from remit.service.openapi import described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from remit.service.gate import Gate
    from remit.service.instance import Instance

__all__ = ["router"]

_JWKS: Final = "/.well-known/jwks.json"
_METADATA: Final = "/.well-known/oauth-authorization-server"
_CACHED: Final = "public, max-age=60"
_BY_SECRET: Final = ("client_secret_basic", "client_secret_post")
_UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {304: {"description": "It is as it was."}}
_KEYS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["keys"],
    "properties": {"keys": {"type": "array", "items": {"type": "object"}}},
}
_SERVER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["issuer", "token_endpoint", "jwks_uri", "aat_issuer"],
    "properties": {"issuer": {"type": "string"}, "aat_issuer": {"type": "boolean"}},
}


def router(instance: Instance, gate: Gate) -> APIRouter:  # noqa: ARG001 - anybody may ask
    """Return the routes."""
    published = _Published(instance)
    routes = APIRouter(tags=["metadata"])
    routes.add_api_route(
        _JWKS,
        published.keys,
        summary="The keys that verify tokens",
        responses={**described(_KEYS, example={"keys": []}), **_UNCHANGED},
    )
    routes.add_api_route(
        _METADATA,
        published.server,
        summary="What this authorization server offers, and where",
        responses={**described(_SERVER), **_UNCHANGED},
    )
    routes.add_api_route(f"{_METADATA}/{{path:path}}", published.server_at, include_in_schema=False)
    return routes


class _Published:
    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._path = unquote(urlsplit(instance.url).path).removeprefix("/")

    def keys(self, request: Request) -> Response:
        """Return the issuer's keys that are trusted now, the one that signs first."""
        published = [
            {**anchor.jwk, "kid": anchor.key.thumbprint, "alg": "Ed25519", "use": "sig"}
            for anchor in self._instance.keys.published()
        ]
        return _answer(request, {"keys": published})

    def server_at(self, request: Request, path: str) -> Response:
        """Return the metadata where they are of an issuer whose URL has a path (RFC 8414, Section 3.1)."""
        if not path or path != self._path:
            raise ServiceError(HTTPStatus.NOT_FOUND, "not_found", "Not Found.")
        return self.server(request)

    def server(self, request: Request) -> Response:
        """Return the metadata of the authorization server."""
        url = self._instance.url
        return _answer(
            request,
            {
                "issuer": url,
                "token_endpoint": f"{url}/token",
                "introspection_endpoint": f"{url}/introspect",
                "revocation_endpoint": f"{url}/revoke",
                "jwks_uri": f"{url}{_JWKS}",
                "response_types_supported": [],  # required, and there is no authorization endpoint
                "grant_types_supported": [CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
                "token_endpoint_auth_methods_supported": [*_BY_SECRET, "none"],
                "introspection_endpoint_auth_methods_supported": [*_BY_SECRET, "Bearer"],
                "revocation_endpoint_auth_methods_supported": list(_BY_SECRET),
                "authorization_details_types_supported": [DETAILS_TYPE],
                "aat_issuer": True,
                "remit_token_issuer": self._instance.keys.issuer().uri,
                "remit_revocations_uri": f"{url}/v1/revocations",
                "remit_nonce_uri": f"{url}/v1/nonce",
            },
        )


def _answer(request: Request, document: Mapping[str, object]) -> Response:
    """Return a document, or that it is what the client has already (RFC 9110, Section 13.1.2)."""
    body = json.dumps(document).encode("ascii")
    tag = f'"{b64url_encode(hashlib.sha256(body).digest())}"'
    headers = {"Cache-Control": _CACHED, "ETag": tag}
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
