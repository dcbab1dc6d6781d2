"""Which requests reach the application at all: nothing is open by accident, and no path has two readings."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import remit
from remit_service import CapabilityMiddleware

from .support import ROUTES, World, raw, send, starlette_app

ANY = remit.Capability("trades:read", account=remit.Anything()).with_other_arguments()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin"),
        ("GET", "/"),
        ("GET", "/nowhere"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("POST", "/healthz"),
        ("HEAD", "/healthz"),
        ("HEAD", "/trades/A-1"),
        ("OPTIONS", "/trades/A-1"),
        ("DELETE", "/trades/A-1"),
        ("get", "/healthz"),
        ("post", "/trades/A-1"),
        ("GET", "/healthz/"),
        ("GET", "/Healthz"),
        ("GET", "/healthz?x=1#/admin"),
        ("GET", "/trades/A-1/"),
        ("GET", "/trades/"),
        ("GET", "/trades"),
        ("GET", "/trades/A-1/more"),
        ("GET", "/healthz;/admin"),
    ],
)
async def test_a_request_that_no_entry_names_is_refused(
    world: World, app: Any, method: str, path: str
) -> None:
    header = world.header("trades:read", {"account": "A-1"})
    answer = await raw(app, method, path, header=header.items())
    assert (answer.status, answer.json()["code"]) == (403, "capability_missing")
    assert "jewels" not in answer.text
    assert world.events() == []


@pytest.mark.parametrize(
    "target",
    [
        "/healthz/../admin",
        "/healthz/%2e%2e/admin",
        "/healthz/..%2fadmin",
        "/healthz%2f..%2fadmin",
        "/./healthz",
        "/healthz/.",
        "/healthz/..",
        "//healthz",
        "/healthz//",
        "//service.test/healthz",
        "/healthz%5c..%5cadmin",
        "/healthz\\..\\admin",
        "/trades/A-1%2F",
        "/trades/A%2f1",
        "/trades/%2e",
        "/trades/A-1%0a",
        "/healthz%0a",
        "/healthz%00",
        "/trades/A-1%7f",
        "/trades/%252e%252e",
        "/trades/%25%32%66",
        "/trades/%ff",
        "",
        "healthz",
        "*",
        "http://service.test/healthz",
    ],
)
async def test_a_path_that_could_be_read_in_two_ways_is_refused(world: World, app: Any, target: str) -> None:
    credential = world.issue("reader", [ANY])
    path = unquote(target)
    header = world.header("trades:read", {"account": path.rpartition("/")[2]}, credential=credential)
    answer = await raw(app, "GET", path, raw_path=target.encode(), header=header.items())
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")
    assert world.events() == []


@pytest.mark.parametrize(
    "account", ["é", "A 1", "100%", "a+b", "~", "...", ".a", "a..b", "x;y=1", "{account}"]
)
async def test_a_segment_that_is_only_unusual_is_an_argument(world: World, app: Any, account: str) -> None:
    credential = world.issue("reader", [remit.Capability("trades:read", account=account)])
    header = world.header("trades:read", {"account": account}, credential=credential)
    answer = await raw(app, "GET", f"/trades/{account}", header=header.items())
    assert answer.status == 200, answer.text
    assert answer.json()["account"] == account


async def test_a_server_may_leave_the_raw_path_out(world: World, app: Any) -> None:
    assert (await raw(app, "GET", "/healthz", raw_path=None)).status == 200
    assert (await raw(app, "GET", "/healthz/../admin", raw_path=None)).status == 400


async def test_of_two_entries_that_name_a_request_the_first_counts(world: World) -> None:
    def answering(text: str) -> Route:
        async def answer(_: Any) -> PlainTextResponse:
            return PlainTextResponse(text)

        return Route(f"/{text}", answer)

    routes = {"GET /one": "echo", "GET /{name}": "trades:read"}
    app = starlette_app(world, answering("one"), answering("two"), routes=routes)
    assert (await send(app, "GET", "/one", headers=world.header("echo", {}))).text == "one"
    credential = world.issue("reader", [remit.Capability("trades:read", name="two")])
    header = world.header("trades:read", {"name": "two"}, credential=credential)
    assert (await send(app, "GET", "/two", headers=header)).text == "two"


async def test_what_is_guarded_is_not_public_beside_that(world: World) -> None:
    app = starlette_app(world, routes={"GET /{name}": "echo"})
    assert (await send(app, "GET", "/healthz")).status_code == 401


async def test_a_plain_entry_means_itself_and_is_no_pattern(world: World) -> None:
    app = starlette_app(world, routes={"GET /a.c": "echo", "GET /(x)+": "echo"})
    assert (await send(app, "GET", "/abc", headers=world.header("echo", {}))).status_code == 403
    assert (await send(app, "GET", "/x", headers=world.header("echo", {}))).status_code == 403


# ── where the application is mounted ────────────────────────────────────────────────────────────────────────


def mounted(world: World, *, at: str = "/api") -> Starlette:
    return Starlette(routes=[Mount(at, app=starlette_app(world))])


async def test_below_a_mount_the_paths_are_the_applications_own(world: World) -> None:
    header = world.header("trades:read", {"account": "A-1"})
    assert (await send(mounted(world), "GET", "/api/trades/A-1", headers=header)).status_code == 200
    assert (await send(mounted(world), "GET", "/api/admin", headers=header)).status_code == 403
    assert (await send(mounted(world), "GET", "/api/api/trades/A-1", headers=header)).status_code == 403
    assert (await send(mounted(world), "GET", "/api")).status_code in {307, 403}


async def test_a_mount_inside_is_named_by_its_whole_path(world: World) -> None:
    async def inner(_: Any) -> PlainTextResponse:
        return PlainTextResponse("inner")

    app = CapabilityMiddleware(
        Starlette(routes=[Mount("/v1", routes=[Route("/things", inner)])]),
        world.guard,
        {"GET /v1/things": "echo"},
    )
    assert (await send(app, "GET", "/v1/things", headers=world.header("echo", {}))).text == "inner"
    assert (await send(app, "GET", "/things", headers=world.header("echo", {}))).status_code == 403


@pytest.mark.parametrize(
    ("path", "root_path", "status"),
    [
        ("/api/healthz", "/api", 200),
        ("/healthz", "/api", 200),  # a proxy took the prefix away, and the application goes by the same rule
        ("/api/admin", "/api", 403),
        ("/apihealthz", "/api", 403),
        ("/healthz", "/h", 200),
        ("/api", "/api", 403),
        ("/api/api/healthz", "/api", 403),
    ],
)
async def test_the_root_path_is_taken_away_as_the_application_does(
    world: World, app: Any, path: str, root_path: str, status: int
) -> None:
    assert (await raw(app, "GET", path, root_path=root_path)).status == status


# ── what would make it another request ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        "X-HTTP-Method-Override",
        "x-http-method-override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X_HTTP_Method_Override",
        "x_http-method",
        "X-METHOD_OVERRIDE",
    ],
)
@pytest.mark.parametrize("path", ["/healthz", "/trades/A-1"])
async def test_no_header_makes_it_a_request_of_another_method(world: World, name: str, path: str) -> None:
    seen: list[tuple[str, list[bytes]]] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["method"], [name for name, _ in scope["headers"]]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    app = CapabilityMiddleware(inner, world.guard, ROUTES, ["GET /healthz"])
    header = [
        *world.header("trades:read", {"account": "A-1"}).items(),
        (name, "POST"),
        ("X-HTTP-Method-Overrides", "stays"),
    ]
    assert (await raw(app, "GET", path, header=[*header, (name, "DELETE")])).status == 204
    [(method, names)] = seen
    assert method == "GET"
    assert b"X-HTTP-Method-Overrides" in names
    assert name.encode() not in names


async def test_added_to_the_application_it_sees_the_paths_that_the_application_sees(world: World) -> None:
    app = FastAPI()
    app.root_path = "/pub"
    app.add_api_route("/admin", lambda: "the crown jewels")
    app.add_middleware(CapabilityMiddleware, guard=world.guard, routes=ROUTES, public=["GET /pub/{page}"])
    answer = await send(app, "GET", "/pub/admin")
    assert (answer.status_code, answer.json()["code"]) == (403, "capability_missing")


# ── what is no HTTP request ─────────────────────────────────────────────────────────────────────────────────


async def test_a_websocket_is_closed_before_it_is_accepted(world: World) -> None:
    reached: list[str] = []

    async def socket(websocket: Any) -> None:
        reached.append("yes")
        await websocket.accept()

    inner = Starlette(routes=[WebSocketRoute("/healthz", socket)])
    app = CapabilityMiddleware(inner, world.guard, ROUTES, ["GET /healthz"])
    with pytest.raises(WebSocketDisconnect) as closed, TestClient(app).websocket_connect("/healthz"):
        pass
    assert closed.value.code == 1008
    assert reached == []


async def test_a_kind_of_connection_that_nobody_knows_does_not_reach_the_application(
    world: World, app: Any
) -> None:
    reached: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    await raw(CapabilityMiddleware(inner, world.guard, ROUTES), "GET", "/search", type="webtransport")
    assert reached == []


def test_the_lifespan_passes_through(world: World) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncGenerator[None]:
        seen.append("started")
        yield
        seen.append("stopped")

    inner = FastAPI(lifespan=lifespan)
    with TestClient(CapabilityMiddleware(inner, world.guard, ROUTES)):
        assert seen == ["started"]
    assert seen == ["started", "stopped"]


# ── what makes no sense ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "/trades",
        "GET",
        "GET trades",
        "get /trades",
        "GET  /trades",
        "GET /trades ",
        "GET /a b",
        "GET|POST /trades",
        "* /trades",
        "GET /trades/{account:path}",
        "GET /trades/{}",
        "GET /trades/{1}",
        "GET /trades/{a}{b}",
        "GET /trades/x{a}",
        "GET /trades/{a}/{a}",
        "GET /trades/{account",
        "GET //trades",
        "GET /trades/../admin",
        "GET /./trades",
        "GET /trades/..",
        "GET /trades%2fx",
        "GET /trades\\x",
        "GET /trades\n",
    ],
)
def test_an_entry_that_is_none_is_refused_when_it_is_built(world: World, entry: str) -> None:
    with pytest.raises(remit.ConfigError):
        CapabilityMiddleware(FastAPI(), world.guard, {entry: "echo"})
    with pytest.raises(remit.ConfigError):
        CapabilityMiddleware(FastAPI(), world.guard, ROUTES, [entry])


@pytest.mark.parametrize("capability", ["", " ", "a\nb", "x" * 1_000])
def test_a_capability_that_has_no_name_is_refused(world: World, capability: str) -> None:
    with pytest.raises(remit.ConfigError):
        CapabilityMiddleware(FastAPI(), world.guard, {"GET /": capability})


def test_a_table_that_guards_nothing_is_refused(world: World) -> None:
    with pytest.raises(remit.ConfigError, match="nothing that is guarded"):
        CapabilityMiddleware(FastAPI(), world.guard, {}, ["GET /healthz"])


def test_a_guard_that_is_none_is_refused(world: World) -> None:
    with pytest.raises(remit.ConfigError, match="guard must be a Guard"):
        CapabilityMiddleware(FastAPI(), None, ROUTES)  # type: ignore[arg-type]


def test_it_is_added_as_any_middleware_is() -> None:
    assert list(inspect.signature(CapabilityMiddleware).parameters)[:2] == ["app", "guard"]
