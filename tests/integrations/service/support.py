"""An issuer, a guard, and applications behind the middleware; requests to them, also such as no client makes."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

import remit
from remit.testing import FrozenClock
from remit_service import CapabilityMiddleware, headers

AUDIENCE: Final = "https://trades.acme.example"
ROUTES: Final = {
    "POST /trades/{account}": "trades:propose",
    "GET /trades/{account}": "trades:read",
    "GET /search": "trades:search",
    "POST /echo?to": "echo",
}
PUBLIC: Final = ("GET /healthz",)
GRANTED: Final = (
    remit.Capability("trades:propose", account="A-1", symbol="ACME", amount=remit.Range(max=1_000)),
    remit.Capability("trades:read", account="A-1", depth=remit.OneOf("1", "2").optional()),
    "trades:search",
    "echo",
)


@dataclass
class World:
    """Whoever plays a part."""

    clock: FrozenClock = field(default_factory=FrozenClock)
    audit: remit.MemoryAudit = field(default_factory=remit.MemoryAudit)
    before: int = 0
    """How many records are none of this test's."""

    def __post_init__(self) -> None:
        self.issuer = remit.Issuer.generate("https://auth.acme.example", clock=self.clock)
        self.guard = self.another_guard()
        self.credential = self.issue("trader")

    def another_guard(self, **options: Any) -> remit.Guard:
        settings: dict[str, Any] = {
            "audit": self.audit,
            "audience": AUDIENCE,
            "require_proof_audience": True,
            "clock": self.clock,
        }
        return remit.Guard([self.issuer.anchor], **{**settings, **options})

    def issue(self, agent: str, capabilities: Iterable[Any] = GRANTED, **options: Any) -> remit.Credential:
        return self.issuer.issue(agent, list(capabilities), **options)

    def presented(
        self,
        capability: str,
        arguments: dict[str, Any],
        *,
        credential: remit.Credential | None = None,
        audience: str | None = AUDIENCE,
    ) -> remit.Presentation:
        return (credential or self.credential).present(capability, arguments, audience=audience)

    def header(self, capability: str, arguments: dict[str, Any], **options: Any) -> dict[str, str]:
        return headers(self.presented(capability, arguments, **options))

    def events(self) -> list[tuple[str, bool, str | None]]:
        """What was recorded: the event, whether it went well, and the code or the reason why not."""
        records = self.audit.records[self.before :]
        return [(each.event, each.allowed, each.code or each.reason) for each in records]


class Trade(BaseModel):
    symbol: str
    amount: float


@remit.requires_capability("trades:propose")
def propose(account: str, symbol: str, amount: float) -> str:
    return f"{account} {symbol} {amount}"


def fastapi_app(world: World, **options: Any) -> FastAPI:
    """FastAPI with the middleware added to it, as people do."""
    app = FastAPI(**options)
    app.add_middleware(CapabilityMiddleware, guard=world.guard, routes=ROUTES, public=PUBLIC)

    @app.post("/trades/{account}")
    def trade(account: str, trade: Trade) -> dict[str, str]:
        return {"done": propose(account, trade.symbol, trade.amount)}

    @app.get("/trades/{account}")
    async def read(account: str, request: Request, depth: str = "none") -> dict[str, Any]:
        permit: remit.Permit = request.scope["remit"]
        return {"account": account, "depth": depth, "agent": permit.agent, "token_id": permit.token_id}

    @app.get("/search")
    def search(q: str) -> dict[str, str]:
        return {"q": q}

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, Any]:
        return await seen(request)

    @app.get("/healthz")
    def health() -> str:
        return "ok"

    @app.get("/admin")
    def admin() -> str:
        return "the crown jewels"

    return app


def starlette_app(world: World, *more: Route, routes: dict[str, str] = ROUTES) -> CapabilityMiddleware:
    """Starlette with the middleware around it."""

    async def trade(request: StarletteRequest) -> JSONResponse:
        body = await request.json()
        return JSONResponse({"done": propose(request.path_params["account"], **body)})

    async def read(request: StarletteRequest) -> JSONResponse:
        permit: remit.Permit = request.scope["remit"]
        depth = request.query_params.get("depth", "none")
        account = request.path_params["account"]
        return JSONResponse(
            {"account": account, "depth": depth, "agent": permit.agent, "token_id": permit.token_id}
        )

    async def search(request: StarletteRequest) -> JSONResponse:
        return JSONResponse(dict(request.query_params))

    async def echo(request: StarletteRequest) -> JSONResponse:
        return JSONResponse(await seen(request))

    async def open_to_all(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse("ok" if request.url.path == "/healthz" else "the crown jewels")

    app = Starlette(
        routes=[
            Route("/trades/{account}", trade, methods=["POST"]),
            Route("/trades/{account}", read),
            Route("/search", search),
            Route("/echo", echo, methods=["POST"]),
            Route("/healthz", open_to_all),
            Route("/admin", open_to_all),
            *more,
        ]
    )
    return CapabilityMiddleware(app, world.guard, routes=routes, public=PUBLIC)


async def seen(request: StarletteRequest) -> dict[str, Any]:
    """All that a handler can see of a request."""
    return {
        "headers": [[name, value] for name, value in request.headers.items()],
        "query": request.url.query,
        "body": (await request.body()).decode(),
    }


APPS: Final[dict[str, Callable[[World], Any]]] = {"fastapi": fastapi_app, "starlette": starlette_app}


async def send(
    app: Any, method: str, url: str, *, raise_app_exceptions: bool = True, **options: Any
) -> httpx.Response:
    """One request, as a client makes it."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=raise_app_exceptions)
    async with (
        asyncio.timeout(30),
        httpx.AsyncClient(transport=transport, base_url="http://service.test") as client,
    ):
        return await client.request(method, url, **options)


@dataclass
class Answer:
    """What the application sent."""

    messages: list[dict[str, Any]]

    @property
    def status(self) -> int:
        return next(int(m["status"]) for m in self.messages if m["type"] == "http.response.start")

    @property
    def headers(self) -> dict[str, str]:
        start = next(m for m in self.messages if m["type"] == "http.response.start")
        return {name.decode(): value.decode() for name, value in start["headers"]}

    @property
    def text(self) -> str:
        return b"".join(
            m.get("body", b"") for m in self.messages if m["type"] == "http.response.body"
        ).decode()

    def json(self) -> Any:
        return json.loads(self.text)


async def raw(
    app: Any,
    method: str = "GET",
    path: str = "/",
    *,
    header: Iterable[tuple[str | bytes, str | bytes]] = (),
    body: bytes = b"",
    chunks: Iterable[dict[str, Any]] | None = None,
    **scope: Any,
) -> Answer:
    """One request as a server hands it on, whatever it holds."""
    pairs = [(_bytes(name), _bytes(value)) for name, value in header]
    messages = (
        list(chunks) if chunks is not None else [{"type": "http.request", "body": body, "more_body": False}]
    )
    messages.append({"type": "http.disconnect"})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else await asyncio.Event().wait()  # type: ignore[return-value]

    async def answer(message: Any) -> None:
        sent.append(dict(message))

    whole = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "root_path": "",
        "headers": pairs,
        "client": ("203.0.113.7", 4711),
        "server": ("service.test", 80),
    }
    async with asyncio.timeout(30):
        await app({**whole, **scope}, receive, answer)
    return Answer(sent)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def packed(value: object) -> str:
    """A value as the header of a presentation has it."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()
