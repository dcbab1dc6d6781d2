"""Each argument has one place: a handler that has defaults never uses one for an argument that was checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import remit
from remit_service import CapabilityMiddleware

from .support import World, raw, send

IN_BODY: Final = ("POST", "PUT", "PATCH")
IN_QUERY: Final = ("GET", "DELETE", "OPTIONS")
PLACES: Final = {f"{method} /orders/{{account}}": "orders:place" for method in (*IN_BODY, *IN_QUERY)}
TABLE: Final = {
    **PLACES,
    "HEAD /orders/{account}": "orders:place",
    "POST /tried/{account}?dry_run&note": "orders:place",
}
GRANTED: Final = remit.Capability(
    "orders:place",
    account="A-1",
    symbol=remit.OneOf("ACME").optional(),
    mode=remit.OneOf("paper").optional(),
    dry_run=remit.OneOf("yes").optional(),
    note=remit.Anything().optional(),
)
ORDER: Final = {"symbol": "ACME", "mode": "paper"}
JSON: Final = ("content-type", "application/json")


class Order(BaseModel):
    symbol: str = "EVERYTHING"
    mode: str = "live"


class Used(list[dict[str, str]]):
    """What the handlers acted upon."""


def in_fastapi(world: World, used: Used) -> FastAPI:
    app = FastAPI()
    app.add_middleware(CapabilityMiddleware, guard=world.guard, routes=TABLE, public=["POST /open"])

    def place(account: str, order: Order) -> None:
        used.append({"account": account, **order.model_dump()})

    def look(account: str, symbol: str = "EVERYTHING", mode: str = "live") -> None:
        used.append({"account": account, "symbol": symbol, "mode": mode})

    def attempt(account: str, order: Order, dry_run: str = "no", note: str = "none") -> None:
        used.append({"account": account, **order.model_dump(), "dry_run": dry_run, "note": note})

    app.add_api_route("/orders/{account}", place, methods=[*IN_BODY])
    app.add_api_route("/orders/{account}", look, methods=[*IN_QUERY, "HEAD"])
    app.add_api_route("/tried/{account}", attempt, methods=["POST"])
    app.add_api_route("/open", attempt, methods=["POST"])
    return app


def in_starlette(world: World, used: Used) -> CapabilityMiddleware:
    async def handler(request: Request) -> JSONResponse:
        given = request.query_params
        if request.method in IN_BODY:
            given = json.loads(await request.body() or b"{}")
        order = {
            "account": request.path_params.get("account", request.query_params.get("account", "")),
            "symbol": given.get("symbol", "EVERYTHING"),
            "mode": given.get("mode", "live"),
        }
        if not request.url.path.startswith("/orders"):
            order["dry_run"] = request.query_params.get("dry_run", "no")
            order["note"] = request.query_params.get("note", "none")
        used.append(order)
        return JSONResponse(None)

    app = Starlette(
        routes=[
            Route("/orders/{account}", handler, methods=[*IN_BODY, *IN_QUERY]),
            Route("/tried/{account}", handler, methods=["POST"]),
            Route("/open", handler, methods=["POST"]),
        ]
    )
    return CapabilityMiddleware(app, world.guard, TABLE, ["POST /open"])


SHOPS: Final[dict[str, Callable[[World, Used], Any]]] = {"fastapi": in_fastapi, "starlette": in_starlette}


@pytest.fixture
def used() -> Used:
    return Used()


@pytest.fixture(params=SHOPS)
def shop(request: pytest.FixtureRequest, world: World, used: Used) -> Any:
    return SHOPS[request.param](world, used)


def allowed(world: World, **arguments: str) -> dict[str, str]:
    """A presentation for these arguments, which the token allows."""
    credential = world.issue("buyer", [GRANTED])
    return world.header("orders:place", {"account": "A-1", **arguments}, credential=credential)


def told(answer: Any) -> tuple[int, str]:
    status = answer.status if hasattr(answer, "status") else answer.status_code
    return status, answer.json()["code"]


# ── arguments in the body ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", IN_BODY)
async def test_a_handler_acts_upon_what_was_checked_in_the_body(
    world: World, shop: Any, used: Used, method: str
) -> None:
    answer = await send(shop, method, "/orders/A-1", headers=allowed(world, **ORDER), json=ORDER)
    assert answer.status_code == 200, answer.text
    assert used == [{"account": "A-1", **ORDER}]


@pytest.mark.parametrize("method", IN_BODY)
@pytest.mark.parametrize("moved", [["symbol"], ["mode"], ["symbol", "mode"]], ids="-".join)
async def test_an_argument_of_the_body_cannot_be_moved_into_the_query(
    world: World, shop: Any, used: Used, method: str, moved: list[str]
) -> None:
    query = urlencode({name: ORDER[name] for name in moved})
    body = {name: value for name, value in ORDER.items() if name not in moved}
    answer = await send(shop, method, f"/orders/A-1?{query}", headers=allowed(world, **ORDER), json=body)
    assert told(answer) == (400, "invalid_request")
    assert not any(value in answer.text for value in ORDER.values())
    assert used == []
    assert world.events() == []


@pytest.mark.parametrize("body", [b"", b"{}"])
@pytest.mark.parametrize("query", [b"symbol=ACME", b"s%79mbol=ACME", b"x=", b"symbol=ACME&mode=paper"])
async def test_a_query_is_refused_whatever_the_body_is(
    world: World, shop: Any, used: Used, query: bytes, body: bytes
) -> None:
    header = [*allowed(world, **ORDER).items(), *([JSON] if body else [])]
    answer = await raw(shop, "POST", "/orders/A-1", header=header, query_string=query, body=body)
    assert told(answer) == (400, "invalid_request")
    assert used == []


async def test_the_query_is_refused_beside_a_presentation_in_the_body(
    world: World, shop: Any, used: Used
) -> None:
    presented = world.presented(
        "orders:place", {"account": "A-1", **ORDER}, credential=world.issue("buyer", [GRANTED])
    )
    extras: tuple[dict[str, Any], ...] = ({}, {"arguments": {}})
    for more in extras:
        body = {**presented.to_dict(), **more}
        answer = await send(shop, "POST", "/orders/A-1?symbol=ACME&mode=paper", json=body)
        assert told(answer) == (400, "invalid_request")
    assert used == []


async def test_a_question_mark_without_a_query_is_none(world: World, shop: Any, used: Used) -> None:
    answer = await send(shop, "POST", "/orders/A-1?", headers=allowed(world, **ORDER), json=ORDER)
    assert answer.status_code == 200
    assert used == [{"account": "A-1", **ORDER}]


# ── arguments in the query ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", IN_QUERY)
async def test_a_handler_acts_upon_what_was_checked_in_the_query(
    world: World, shop: Any, used: Used, method: str
) -> None:
    url = f"/orders/A-1?{urlencode(ORDER)}"
    answer = await send(shop, method, url, headers=allowed(world, **ORDER))
    assert answer.status_code == 200, answer.text
    assert used == [{"account": "A-1", **ORDER}]


@pytest.mark.parametrize("method", [*IN_QUERY, "HEAD"])
@pytest.mark.parametrize("moved", [["symbol"], ["mode"], ["symbol", "mode"]], ids="-".join)
async def test_an_argument_of_the_query_cannot_be_moved_into_a_body(
    world: World, shop: Any, used: Used, method: str, moved: list[str]
) -> None:
    query = urlencode({name: value for name, value in ORDER.items() if name not in moved})
    body = json.dumps({name: ORDER[name] for name in moved}).encode()
    header = [*allowed(world, **ORDER).items(), JSON]
    answer = await raw(shop, method, "/orders/A-1", header=header, query_string=query.encode(), body=body)
    assert told(answer) == (400, "invalid_request")
    assert used == []
    assert world.events() == []


async def test_a_body_is_refused_whatever_it_holds(world: World, shop: Any, used: Used) -> None:
    presented = world.presented(
        "orders:place", {"account": "A-1", **ORDER}, credential=world.issue("buyer", [GRANTED])
    ).to_dict()
    for body in ({}, {"x": 1}, presented, {**presented, "arguments": {}}, {**presented, "arguments": ORDER}):
        header = [JSON] if "aat_pop" in body else [*allowed(world, **ORDER).items(), JSON]
        answer = await raw(
            shop,
            "GET",
            "/orders/A-1",
            header=header,
            query_string=urlencode(ORDER).encode(),
            body=json.dumps(body).encode(),
        )
        assert told(answer) == (400, "invalid_request")
    assert used == []
    assert world.events() == []


# ── a query beside a body ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "query", [{}, {"dry_run": "yes"}, {"note": "a b"}, {"note": "", "dry_run": "yes"}], ids=urlencode
)
async def test_a_query_that_the_entry_names_is_beside_the_body(
    world: World, shop: Any, used: Used, query: dict[str, str]
) -> None:
    header = allowed(world, **ORDER, **query)
    answer = await send(shop, "POST", f"/tried/A-1?{urlencode(query)}", headers=header, json=ORDER)
    assert answer.status_code == 200, answer.text
    assert used == [{"account": "A-1", **ORDER, "dry_run": "no", "note": "none", **query}]


async def test_what_is_in_that_query_is_checked(world: World, shop: Any, used: Used) -> None:
    header = allowed(world, **ORDER, dry_run="no")
    answer = await send(shop, "POST", "/tried/A-1?dry_run=no", headers=header, json=ORDER)
    assert told(answer) == (403, "argument_denied")
    assert used == []


@pytest.mark.parametrize("query", ["", "dry_run=yes", "note=x"])
async def test_an_argument_of_that_query_cannot_be_moved_into_the_body(
    world: World, shop: Any, used: Used, query: str
) -> None:
    header = allowed(world, **ORDER, dry_run="yes", **({"note": "x"} if "note" in query else {}))
    body = {**ORDER, "dry_run": "yes"}
    answer = await send(shop, "POST", f"/tried/A-1?{query}", headers=header, json=body)
    assert told(answer) == (400, "invalid_request")
    assert used == []
    assert world.events() == []


async def test_nor_into_the_arguments_beside_a_presentation(world: World, shop: Any, used: Used) -> None:
    call = {"account": "A-1", **ORDER, "dry_run": "yes"}
    presented = world.presented("orders:place", call, credential=world.issue("buyer", [GRANTED])).to_dict()
    body = {**presented, "arguments": {**ORDER, "dry_run": "yes"}}
    assert told(await send(shop, "POST", "/tried/A-1", json=body)) == (400, "invalid_request")
    body = {**presented, "arguments": ORDER}
    assert (await send(shop, "POST", "/tried/A-1?dry_run=yes", json=body)).status_code == 200
    assert [each["dry_run"] for each in used] == ["yes"]


@pytest.mark.parametrize("query", ["symbol=ACME", "dry_run=yes&mode=paper", "Dry_Run=yes", "dry-run=yes"])
async def test_a_query_that_the_entry_does_not_name_is_refused(
    world: World, shop: Any, used: Used, query: str
) -> None:
    answer = await send(
        shop, "POST", f"/tried/A-1?{query}", headers=allowed(world, **ORDER), json={"mode": "paper"}
    )
    assert told(answer) == (400, "invalid_request")
    assert used == []


@pytest.mark.parametrize("method", [*IN_BODY, *IN_QUERY])
async def test_no_way_to_spread_the_arguments_makes_a_handler_use_a_default(
    world: World, shop: Any, used: Used, method: str
) -> None:
    for places in product(["query", "body", "both"], repeat=len(ORDER)):
        spread = list(zip(ORDER, places, strict=True))
        query = {name: ORDER[name] for name, place in spread if place != "body"}
        body = {name: ORDER[name] for name, place in spread if place != "query"}
        await raw(
            shop,
            method,
            "/orders/A-1",
            header=[*allowed(world, **ORDER).items(), *([JSON] if body else [])],
            query_string=urlencode(query).encode(),
            body=json.dumps(body).encode() if body else b"",
        )
    assert used == [{"account": "A-1", **ORDER}]  # of nine ways, one


async def test_what_is_public_may_have_both(shop: Any, used: Used) -> None:
    answer = await send(shop, "POST", "/open?account=A-9&dry_run=x", json={"symbol": "ZZZ", "mode": "m"})
    assert answer.status_code == 200, answer.text
    assert used == [{"account": "A-9", "symbol": "ZZZ", "mode": "m", "dry_run": "x", "note": "none"}]


# ── what makes no sense ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "entry",
    [
        "POST /orders?",
        "POST ?a",
        "POST /orders?a&",
        "POST /orders?&a",
        "POST /orders?a&&b",
        "POST /orders?a?b",
        "POST /orders?a=1",
        "POST /orders?{a}",
        "POST /orders?a b",
        "POST /orders?a,b",
        "POST /orders?a/b",
        "POST /orders?é",
        "POST /orders?%61",
        "POST /orders?a\n",
        "POST /orders?a&a",
        "POST /orders/{a}?a",
        "GET /orders?a",
        "DELETE /orders?a",
        "HEAD /orders?a",
    ],
)
def test_an_entry_whose_query_makes_no_sense_is_refused(world: World, entry: str) -> None:
    with pytest.raises(remit.ConfigError):
        CapabilityMiddleware(FastAPI(), world.guard, {entry: "orders:place"})


def test_what_is_public_names_no_query(world: World) -> None:
    with pytest.raises(remit.ConfigError, match="where no body is guarded"):
        CapabilityMiddleware(FastAPI(), world.guard, TABLE, ["POST /open?a"])


def test_an_entry_may_name_a_query_with_a_hyphen(world: World) -> None:
    assert CapabilityMiddleware(FastAPI(), world.guard, {"PUT /orders?dry-run&page_2": "orders:place"})
