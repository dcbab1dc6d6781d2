"""Inside a request: what is guarded there runs under its permit, once, and how it ended is recorded, once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

import remit
from remit_service import CapabilityMiddleware

from .support import World, raw, send

runs: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def _none_yet() -> None:
    runs.clear()


@remit.requires_capability("echo")
def tool(**arguments: Any) -> str:
    runs.append(arguments)
    return "done"


@remit.requires_capability("echo")
async def tool_async(**arguments: Any) -> str:
    runs.append(arguments)
    return "done"


@remit.requires_capability("trades:search")
def another_tool() -> str:
    runs.append({"another": True})
    return "done"


def application(world: World, handler: Callable[..., Any], *, around: bool = False) -> Any:
    """One handler, with the middleware added to the application, or around it."""
    route = Route("/{n}", handler, methods=["POST"])
    table = {"POST /{n}": "echo"}
    if around:
        return CapabilityMiddleware(Starlette(routes=[route]), world.guard, table)
    return Starlette(
        routes=[route], middleware=[Middleware(CapabilityMiddleware, guard=world.guard, routes=table)]
    )


async def post(world: World, app: Any, **options: Any) -> Any:
    return await send(app, "POST", "/1", headers=world.header("echo", {"n": "1"}), **options)


async def test_a_guarded_function_runs_once(world: World) -> None:
    codes: list[str] = []

    def handler(_: Any) -> JSONResponse:
        tool(n="1")
        for _ in range(2):
            with pytest.raises(remit.Denied) as denied:
                tool(n="1")
            codes.append(denied.value.code)
        return JSONResponse({})

    assert (await post(world, application(world, handler))).status_code == 200
    assert runs == [{"n": "1"}]
    assert set(codes) == {"not_bound"}


async def test_a_coroutine_function_runs_too(world: World) -> None:
    async def handler(_: Any) -> JSONResponse:
        return JSONResponse(await asyncio.create_task(tool_async(n="1")))

    assert (await post(world, application(world, handler))).json() == "done"
    assert runs == [{"n": "1"}]


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("wrong", [lambda: tool(n="2"), tool, lambda: tool(n="1", more=1), another_tool])
async def test_another_call_than_the_one_that_was_checked_is_denied(
    world: World, around: bool, wrong: Callable[[], Any]
) -> None:
    def handler(_: Any) -> JSONResponse:
        return JSONResponse(wrong())

    app = application(world, handler, around=around)
    answer = await post(world, app, raise_app_exceptions=False)
    if around:  # Starlette has answered by then
        assert answer.status_code == 500
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "not_bound")
    assert runs == []
    assert [event for event, *_ in world.events()].count("outcome") == 1


async def test_the_permit_says_whose_call_it_is(world: World) -> None:
    told: list[Any] = []

    def handler(request: Any) -> JSONResponse:
        permit = request.scope["remit"]
        told.extend([permit.agent, permit.token_id, permit.arguments, permit.capability])
        permit.arguments["n"] = "changed"
        return JSONResponse(permit.arguments)

    assert (await post(world, application(world, handler))).json() == {"n": "1"}
    assert told == ["trader", world.credential.token_id, {"n": "1"}, "echo"]


async def test_after_the_request_nothing_is_bound(world: World) -> None:
    later: list[Any] = []
    permits: list[remit.Permit] = []
    waiting = asyncio.Event()

    async def afterwards() -> None:
        await waiting.wait()
        try:
            tool(n="1")
        except remit.Denied as denied:
            later.append(denied.code)

    tasks: list[asyncio.Task[None]] = []

    async def handler(request: Any) -> JSONResponse:
        permits.append(request.scope["remit"])
        tasks.append(asyncio.create_task(afterwards()))
        return JSONResponse({})

    assert (await post(world, application(world, handler))).status_code == 200
    waiting.set()
    await asyncio.gather(*tasks)
    assert later == ["not_bound"]
    with pytest.raises(remit.CapabilityDenied), permits[0]:
        tool(n="1")
    assert runs == []


async def test_a_public_route_has_nothing_bound(world: World) -> None:
    codes: list[str] = []

    async def handler(_: Any) -> JSONResponse:
        with pytest.raises(remit.Denied) as denied:
            await tool_async(n="1")
        codes.append(denied.value.code)
        return JSONResponse({})

    inner = Starlette(routes=[Route("/open", handler)])
    app = CapabilityMiddleware(inner, world.guard, {"POST /{n}": "echo"}, ["GET /open"])
    with world.guard.acting_as(world.credential):  # whatever a server has bound around its application
        assert (await send(app, "GET", "/open")).status_code == 200
    assert codes == ["not_bound"]


async def test_other_middleware_may_stand_between(world: World) -> None:
    class Between(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            assert request.scope["remit"].agent == "trader"
            return await call_next(request)

    def handler(_: Any) -> JSONResponse:
        return JSONResponse(tool(n="1"))

    table = {"POST /{n}": "echo"}
    app = Starlette(
        routes=[Route("/{n}", handler, methods=["POST"])],
        middleware=[Middleware(CapabilityMiddleware, guard=world.guard, routes=table), Middleware(Between)],
    )
    assert (await post(world, app)).json() == "done"


async def test_a_denial_after_the_answer_began_is_no_second_answer(world: World) -> None:
    sent: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        another_tool()

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send_on(message: Any) -> None:
        sent.append(message["type"])

    header = [(k.lower().encode(), v.encode()) for k, v in world.header("echo", {"n": "1"}).items()]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/1",
        "query_string": b"",
        "headers": header,
    }
    with pytest.raises(remit.CapabilityDenied):
        await CapabilityMiddleware(inner, world.guard, {"POST /{n}": "echo"})(scope, receive, send_on)
    assert sent == ["http.response.start"]
    assert outcomes(world) == [(False, "not_bound")]


# ── how it ended ────────────────────────────────────────────────────────────────────────────────────────────


def outcomes(world: World) -> list[tuple[bool, str | None]]:
    return [(allowed, reason) for event, allowed, reason in world.events() if event == "outcome"]


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, (True, None)), (204, (True, None)), (307, (True, None))]
)
async def test_an_answer_is_recorded(world: World, status: int, outcome: tuple[bool, str | None]) -> None:
    async def handler(_: Any) -> PlainTextResponse:
        return PlainTextResponse(status_code=status)

    await post(world, application(world, handler))
    assert outcomes(world) == [outcome]


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_an_answer_that_is_an_error_is_recorded_as_one(world: World, status: int) -> None:
    app = FastAPI()

    @app.post("/{n}")
    def handler(n: str) -> None:
        raise HTTPException(status)

    app.add_middleware(CapabilityMiddleware, guard=world.guard, routes={"POST /{n}": "echo"})
    assert (await post(world, app)).status_code == status
    assert outcomes(world) == [(False, "RequestFailed")]


@pytest.mark.parametrize("around", [False, True])
async def test_a_handler_that_fails_is_recorded(world: World, around: bool) -> None:
    async def handler(_: Any) -> PlainTextResponse:
        raise LookupError("k-3141592653")

    answer = await post(world, application(world, handler, around=around), raise_app_exceptions=False)
    assert answer.status_code == 500
    assert outcomes(world) == [(False, "LookupError")]


async def test_of_a_guarded_function_and_its_request_one_outcome_is_recorded(world: World) -> None:
    def handler(_: Any) -> PlainTextResponse:
        tool(n="1")
        raise LookupError

    await post(world, application(world, handler), raise_app_exceptions=False)
    assert outcomes(world) == [(True, None)]


async def test_an_application_that_says_nothing_has_failed(world: World) -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    app = CapabilityMiddleware(silent, world.guard, {"POST /{n}": "echo"})
    await raw(app, "POST", "/1", header=world.header("echo", {"n": "1"}).items())
    assert outcomes(world) == [(False, "RequestFailed")]


async def test_a_stream_is_part_of_the_call(world: World) -> None:
    during: list[Any] = []

    async def items() -> AsyncIterator[str]:
        yield "one"
        during.append(outcomes(world))
        yield tool(n="1")

    async def handler(_: Any) -> StreamingResponse:
        return StreamingResponse(items())

    assert (await post(world, application(world, handler))).text == "onedone"
    assert during == [[]]
    assert outcomes(world) == [(True, None)]


async def test_a_background_task_is_part_of_the_call(world: World) -> None:
    async def handler(_: Any) -> PlainTextResponse:
        return PlainTextResponse("ok", background=BackgroundTask(tool, n="1"))

    assert (await post(world, application(world, handler))).text == "ok"
    assert runs == [{"n": "1"}]
    assert outcomes(world) == [(True, None)]


async def test_a_client_that_leaves_a_stream_is_recorded_once(world: World) -> None:
    async def items() -> AsyncIterator[str]:
        while True:
            yield "more"
            await asyncio.sleep(0)

    async def handler(_: Any) -> StreamingResponse:
        return StreamingResponse(items())

    app = application(world, handler)
    answer = await raw(app, "POST", "/1", header=world.header("echo", {"n": "1"}).items())
    assert answer.status == 200
    assert outcomes(world) == [(False, "RequestFailed")]


async def test_a_server_that_cannot_send_is_recorded_once(world: World) -> None:
    async def handler(_: Any) -> PlainTextResponse:
        return PlainTextResponse("ok")

    app = CapabilityMiddleware(
        Starlette(routes=[Route("/{n}", handler, methods=["POST"])]), world.guard, {"POST /{n}": "echo"}
    )

    async def broken(message: Any) -> None:
        raise OSError("gone")

    async def receive() -> Any:
        return {"type": "http.request"}

    header = [(k.lower().encode(), v.encode()) for k, v in world.header("echo", {"n": "1"}).items()]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/1",
        "query_string": b"",
        "headers": header,
    }
    with pytest.raises(OSError, match="gone"):
        await app({**scope, "asgi": {}, "http_version": "1.1", "scheme": "http"}, receive, broken)
    assert outcomes(world) == [(False, "OSError")]


# ── nobody waits any more ───────────────────────────────────────────────────────────────────────────────────


class Slow(remit.MemoryLedger):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go, self.answered = threading.Event(), threading.Event(), threading.Event()

    def commit(self, *args: Any, **kwargs: Any) -> Any:
        self.asked.set()
        assert self.go.wait(30)
        return super().commit(*args, **kwargs)


async def cancelled(world: World, ledger: Slow) -> None:
    reached: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append("yes")

    app = CapabilityMiddleware(inner, world.another_guard(ledger=ledger), {"POST /{n}": "echo"})
    request = asyncio.create_task(raw(app, "POST", "/1", header=world.header("echo", {"n": "1"}).items()))
    assert await asyncio.to_thread(ledger.asked.wait, 30)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert outcomes(world) == []
    ledger.go.set()
    assert await asyncio.to_thread(recorded, world)
    assert reached == []


def recorded(world: World) -> bool:
    """Whether an outcome is recorded, waited for as long as it takes, within reason."""
    waiting = threading.Event()
    return any(outcomes(world) or waiting.wait(0.01) for _ in range(3_000))


async def test_what_was_allowed_after_the_request_was_cancelled_never_runs_and_is_recorded(
    world: World,
) -> None:
    await cancelled(world, Slow())
    assert outcomes(world) == [(False, "CancelledError")]


async def test_the_event_loop_goes_on_while_the_ledger_is_asked(world: World) -> None:
    ledger = Slow()

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("ok")(scope, receive, send)

    app = CapabilityMiddleware(inner, world.another_guard(ledger=ledger), {"POST /{n}": "echo"})
    waiting = asyncio.create_task(raw(app, "POST", "/1", header=world.header("echo", {"n": "1"}).items()))
    assert await asyncio.to_thread(ledger.asked.wait, 30)
    assert not waiting.done()
    ledger.go.set()
    assert (await waiting).status == 200
