"""The OAuth face: tokens for agents that sign in or exchange what they hold; introspection and revocation.

Invariants:

- whatever decides is in the body, once: a query is refused, and so is a parameter that stands there twice;
- a client gets what the policy file grants it, whoever exchanges what the chain grants, and nobody more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from remit.names import read_clock
from remit.service import oauthdocs
from remit.service.asked import invalid
from remit.service.chains import Chains
from remit.service.clientgrant import client_credential
from remit.service.details import scope_of
from remit.service.exchanges import ISSUED_TYPE, Exchanges
from remit.service.intake import read_form, read_query
from remit.service.introspection import TOKEN_TYPE, Introspection
from remit.service.oautherrors import NO_STORE, OAuthRoute
from remit.service.telemetry import note
from remit.token import unverified_claims

if TYPE_CHECKING:
    from remit.credential import Credential
    from remit.service.gate import Gate
    from remit.service.instance import Instance

__all__ = ["CLIENT_CREDENTIALS", "TOKEN_EXCHANGE", "router"]

CLIENT_CREDENTIALS: Final = "client_credentials"
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a grant type


async def _given(request: Request) -> dict[str, str]:
    """Return the parameters of a request; one without a value counts as left out (RFC 6749, Section 3.2)."""
    read_query(request, ())
    return {name: value for name, value in (await read_form(request)).items() if value}


Form = Annotated[dict[str, str], Depends(_given)]


def router(instance: Instance, gate: Gate) -> APIRouter:
    """Return the routes."""
    face = _Face(instance, gate)
    routes = APIRouter(tags=["oauth"], route_class=OAuthRoute)
    add: Callable[..., None] = routes.add_api_route
    add("/token", face.token, methods=["POST"], **oauthdocs.TOKEN)
    add("/introspect", face.introspect, methods=["POST"], **oauthdocs.INTROSPECT)
    add("/revoke", face.revoke, methods=["POST"], **oauthdocs.REVOKE)
    return routes


class _Face:
    def __init__(self, instance: Instance, gate: Gate) -> None:
        chains = Chains(instance)
        self._instance, self._gate = instance, gate
        self._exchanges = Exchanges(instance, chains)
        self._introspection = Introspection(instance, chains)

    def token(self, request: Request, form: Form) -> JSONResponse:
        """Issue a root token: to an agent that signs in, or for a chain whose holder proves to be that."""
        kind = form.get("grant_type")
        more: dict[str, str] = {}
        if kind == CLIENT_CREDENTIALS:
            agent = self._gate.client(request, form)
            credential = client_credential(self._instance, self._instance.keys.signing(), agent, form)
        elif kind == TOKEN_EXCHANGE:
            if "client_secret" in form or "authorization" in request.headers:
                self._gate.client(request, form)  # not needed, as the proof is; but nobody signs in wrongly
            credential = self._exchanges.credential(self._instance.keys.signing(), form)
            more["issued_token_type"] = ISSUED_TYPE
        elif kind is None:
            raise invalid("grant_type is missing.")
        else:
            raise invalid("There is no such grant type here.", code="unsupported_grant_type")
        note(request, token_id=credential.token_id, issued=True)
        return JSONResponse({**self._issued(credential), **more}, headers=NO_STORE)

    def introspect(self, request: Request, form: Form) -> JSONResponse:
        """Say what a token is good for: one token, or the JSON of a chain or of a presentation."""
        self._gate.admin_or_client(request, form)
        said = self._introspection.document(_token(form))
        return JSONResponse(said, headers=NO_STORE)

    def revoke(self, request: Request, form: Form) -> Response:
        """Revoke a token. For what is none, or is not the client's, nothing is done, and nothing said."""
        client = self._gate.admin_or_client(request, form)
        self._introspection.give_back(_token(form), client)
        return Response(headers=NO_STORE)

    def _issued(self, credential: Credential) -> dict[str, Any]:
        """Return the answer of RFC 6749, Section 5.1, and RFC 9396, Section 7."""
        _, claims = unverified_claims(credential.token)
        granted = {capability.name: capability for capability in credential.capabilities}
        return {
            "access_token": credential.token,
            "token_type": TOKEN_TYPE,
            "expires_in": claims.expires_at - int(read_clock(self._instance.clock)),
            "scope": scope_of(self._instance.config.scopes, granted),
            "authorization_details": claims.payload()["authorization_details"],
        }


def _token(form: dict[str, str]) -> str:
    if "token" not in form:
        raise invalid("token is missing.")
    return form["token"]
