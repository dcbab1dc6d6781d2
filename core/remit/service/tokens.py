"""Tokens over HTTP: issue, verify, revoke, list; and nonces for proofs.

Invariants:

- a token is nowhere but in the answer in which it is issued;
- where a caller says which tool it is about, a proof is needed, and counts once at every instance;
- a proof that carries a nonce carries one of this service's, whether or not one is required.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from remit.capability import SECRET_PREFIX, Capability
from remit.encoding import JsonObject
from remit.errors import ConfigError, Denied
from remit.service import tokendocs
from remit.service.asked import check_members, invalid, read_issue
from remit.service.chains import check_agents, nonce_in
from remit.service.details import scope_of
from remit.service.errors import status_of
from remit.service.intake import read_json, read_query
from remit.service.nonces import Nonces
from remit.service.register import Register
from remit.service.telemetry import note
from remit.token import unverified_claims

if TYPE_CHECKING:
    from collections.abc import Iterable

    from remit.service.gate import Gate
    from remit.service.instance import Instance

__all__ = ["NONCE", "router"]

NONCE: Final = "Remit-Nonce"
"""The header of a refusal with a nonce for another try."""

_VERIFY_MEMBERS: Final = (
    "token", "aat_chain", "aat_pop", "tool", "arguments", "agent", "session", "task",
)  # fmt: skip
_BEARER_MEMBERS: Final = ("agent", "session", "task")
_NOT_UTF8: Final = "\ufffd"
"""What stands in a path for bytes that are not UTF-8."""
_CHALLENGE: Final = 'Bearer realm="remit", error="invalid_token"'


def router(instance: Instance, gate: Gate) -> APIRouter:
    """Return the routes under `/v1` that concern tokens."""
    tokens = _Tokens(instance, gate)

    async def admin(request: Request) -> None:
        gate.admin(request)

    async def verifier(request: Request) -> None:
        gate.verifier(request)

    restricted: dict[str, Any] = {"dependencies": [Depends(admin)]}
    routes = APIRouter(tags=["tokens"])
    routes.add_api_route("/v1/tokens", tokens.issue, methods=["POST"], **restricted, **tokendocs.ISSUE)
    routes.add_api_route("/v1/tokens", tokens.listed, methods=["GET"], **restricted, **tokendocs.LIST)
    routes.add_api_route(
        "/v1/tokens/verify",
        tokens.verify,
        methods=["POST"],
        dependencies=[Depends(verifier)],
        **tokendocs.VERIFY,
    )
    routes.add_api_route(
        "/v1/tokens/{token_id}", tokens.revoke, methods=["DELETE"], **restricted, **tokendocs.REVOKE
    )
    routes.add_api_route("/v1/nonce", tokens.nonce, methods=["GET"], **tokendocs.NONCE)
    return routes


class _Tokens:
    def __init__(self, instance: Instance, gate: Gate) -> None:
        self._instance, self._gate = instance, gate
        self._nonces = Nonces(instance)
        self._register = Register(instance)

    def issue(self, request: Request, body: Annotated[JsonObject, Depends(read_json)]) -> JSONResponse:
        """Issue a root token to whoever holds the private key of `subject_pubkey`."""
        read_query(request, ())
        keywords, holder = read_issue(self._instance.config, body)
        check_agents(self._instance, [keywords["agent"]])
        issuer = self._instance.keys.signing()
        try:
            credential = issuer.issue(**keywords, holder=holder.jwk)
        except ConfigError as error:
            raise invalid(f"{str(error).removesuffix('.')}.") from None
        note(request, token_id=credential.token_id, issued=True)
        return JSONResponse(
            {
                "token": credential.token,
                "token_id": credential.token_id,
                "expires_at": int(credential.expires_at.timestamp()),
                "scope": self._scope(credential.capabilities),
                "subject_pubkey": holder.x,
                "agent": credential.agent,
            },
            headers={"Cache-Control": "no-store"},
        )

    def verify(self, request: Request, body: Annotated[JsonObject, Depends(read_json)]) -> JSONResponse:
        """Say what a token is good for; with `tool`, decide about one call of it and charge that.

        A token alone proves nothing about whoever shows it. With `tool` a proof is needed, as it is made
        by `Credential.present`.
        """
        read_query(request, ())
        presented = _Presented(body)
        try:
            if presented.tool is None:
                self._instance.guard.validate(presented.chain, **presented.bearer)
            else:
                self._decide(presented, presented.tool)
        except Denied as denial:
            return self._denied(request, denial)
        return JSONResponse(self._said(request, presented))

    def revoke(self, request: Request, token_id: str) -> JSONResponse:
        """Revoke a token, and with it all that were derived from it. It can be done twice."""
        reason = read_query(request, {"reason"}).get("reason")
        if _NOT_UTF8 in token_id:
            raise invalid("The path is not UTF-8.")
        try:
            is_new = self._instance.guard.revoke(token_id, reason=reason)
        except ConfigError as error:
            raise invalid(f"{str(error).removesuffix('.')}.") from None
        note(request, token_id=token_id)
        return JSONResponse({"token_id": token_id, "revoked": True, "already": not is_new})

    def listed(self, request: Request) -> JSONResponse:
        """List the root tokens that have not expired, those that live longest first."""
        page, cursor = self._register.page(read_query(request, {"limit", "cursor", "agent"}))
        return JSONResponse({"tokens": page, "next": cursor})

    def nonce(self, request: Request) -> JSONResponse:
        """Give a nonce for a proof."""
        read_query(request, ())
        nonce, expires_at = self._nonces.make()
        return JSONResponse({"nonce": nonce, "expires_at": expires_at})

    def _decide(self, presented: _Presented, tool: str) -> None:
        carried = nonce_in(presented.proof)
        asked: str | None = None
        if carried is not None or self._instance.config.service.require_nonce:
            # A nonce that is not this service's is not the one that is asked for, whichever that is.
            is_own = isinstance(carried, str) and self._nonces.accepts(carried)
            asked = cast("str", carried) if is_own else self._nonces.make()[0]
        presentation = {"aat_chain": presented.chain, "aat_pop": presented.proof}
        self._instance.guard.verify(presentation, tool, presented.arguments, nonce=asked, **presented.bearer)

    def _denied(self, request: Request, denial: Denied) -> JSONResponse:
        status = status_of(denial)
        request.state.code = denial.code
        headers = {NONCE: self._nonces.make()[0]}
        if status == HTTPStatus.UNAUTHORIZED:
            self._gate.failed_verification(request)
            headers["WWW-Authenticate"] = _CHALLENGE
        return JSONResponse(denial.to_dict(), status, headers=headers)

    def _scope(self, granted: Iterable[Capability]) -> str:
        by_name = {one.name: one for one in granted if not one.name.startswith(SECRET_PREFIX)}
        return scope_of(self._instance.config.scopes, dict(sorted(by_name.items())))

    def _said(self, request: Request, presented: _Presented) -> dict[str, object]:
        """Return what a chain says, which has just been verified."""
        links = [unverified_claims(token)[1] for token in presented.chain]
        leaf = links[-1]
        granted = list((leaf.tools or {}).values())
        note(request, token_id=leaf.id)
        said: dict[str, object] = {
            "scope": self._scope(granted),
            "expires_at": min(link.expires_at for link in links),
            "subject_pubkey": leaf.holder.x,
            "agent": leaf.agent_name,
            "token_id": leaf.id,
            "chain": [link.id for link in links],
            "issuer": links[0].issuer,
            "capabilities": [one.name for one in granted if not one.name.startswith(SECRET_PREFIX)],
        }
        return said if presented.tool is None else {**said, "tool": presented.tool}


class _Presented:
    """What somebody wants to have verified."""

    def __init__(self, body: JsonObject) -> None:
        check_members(body, _VERIFY_MEMBERS)
        if ("token" in body) == ("aat_chain" in body):
            raise invalid("Either token or aat_chain is needed: a token, or a chain of them, root first.")
        given = body["token"] if "token" in body else body["aat_chain"]
        chain = [given] if isinstance(given, str) and "token" in body else given
        texts = [token for token in chain if isinstance(token, str)] if isinstance(chain, list) else []
        if texts != chain:
            raise invalid("A chain must be a list of tokens, which are text.")
        self.chain = texts
        self.proof = _text(body, "aat_pop")
        self.tool = _text(body, "tool")
        arguments = body.get("arguments", {})
        if self.tool is None and ("aat_pop" in body or "arguments" in body):
            raise invalid("A proof and arguments are for a tool: name it in tool.")
        if not isinstance(arguments, dict):
            raise invalid("arguments must be an object.")
        self.arguments = arguments
        self.bearer = {name: _text(body, name) for name in _BEARER_MEMBERS}


def _text(body: JsonObject, name: str) -> str | None:
    value = body.get(name)
    if name in body and not isinstance(value, str):
        raise invalid(f"{name} must be text.")
    return cast("str | None", value)
