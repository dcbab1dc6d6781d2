"""Bounds of size, of time and of numbers: what is too much is refused, and nothing hangs."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import uvicorn

import remit.service.app
from remit.service import connection, create_app
from remit.service.bounds import MAX_HEAD, Bounds
from remit.service.errors import ServiceError
from remit.service.intake import MAX_BODY
from remit.service.server import Settings, listen

from .support import ADMIN, PATIENCE, Deployment

Message = dict[str, Any]
LENGTH = b"content-length"


class Exchange:
    """One request that a test makes of an ASGI application, and its answer."""

    def __init__(self, *headers: tuple[bytes, bytes], chunks: list[bytes] | None = None) -> None:
        self.scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
        self.chunks = [b""] if chunks is None else chunks
        self.read = 0
        self.stalls = False
        """Whether what comes after the chunks never comes."""
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if self.read >= len(self.chunks):
            await asyncio.Event().wait()
        chunk, self.read = self.chunks[self.read], self.read + 1
        more = self.stalls or self.read < len(self.chunks)
        return {"type": "http.request", "body": chunk, "more_body": more}

    async def send(self, message: Message) -> None:
        self.sent.append(dict(message))

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> Any:
        return json.loads(b"".join(message["body"] for message in self.sent[1:]))


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads all of the body, and says how long it was."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def deaf(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers without reading anything."""
    await send({"type": "http.response.start", "status": 401, "headers": []})
    await send({"type": "http.response.body", "body": b'"no"'})


async def run(app: Any, exchange: Exchange) -> Exchange:
    await asyncio.wait_for(app(exchange.scope, exchange.receive, exchange.send), PATIENCE)
    return exchange


async def refusal(app: Any, exchange: Exchange) -> tuple[int, str]:
    """The status and code with which the bounds refuse a request, themselves or out of `receive`."""
    try:
        await run(app, exchange)
    except ServiceError as error:
        return error.status, error.code
    return exchange.status, exchange.body["code"]


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    exchange = Exchange((LENGTH, str(MAX_BODY + 1).encode()), chunks=[b"x"] * 3)
    called: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(1)

    assert await refusal(Bounds(app), exchange) == (413, "too_large")
    assert called == []
    assert exchange.headers[b"connection"] == b"close"


async def test_a_body_that_turns_out_to_be_too_large_is_read_no_further() -> None:
    chunks = [b"x" * 65_536] * 64
    exchange = Exchange((b"transfer-encoding", b"chunked"), chunks=chunks)
    assert await refusal(Bounds(echo), exchange) == (413, "too_large")
    assert exchange.read == MAX_BODY // 65_536 + 1


async def test_the_largest_body_is_let_through() -> None:
    exchange = Exchange((LENGTH, str(MAX_BODY).encode()), chunks=[b"x" * (MAX_BODY // 2)] * 2)
    assert (await run(Bounds(echo), exchange)).body == MAX_BODY


@pytest.mark.parametrize(
    "headers",
    [
        [(LENGTH, b"5"), (LENGTH, b"6")],
        [(LENGTH, b"5"), (LENGTH, b"5")],
        [(LENGTH, b"5"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"identity")],
        [(LENGTH, b"-1")],
        [(LENGTH, b"+5")],
        [(LENGTH, b"5, 5")],
        [(LENGTH, b"0x5")],
        [(LENGTH, b"")],
        [(LENGTH, "\u0665".encode())],
        [(LENGTH, b"9" * 19)],
    ],
)
async def test_a_length_that_two_parties_may_read_differently_is_refused(
    headers: list[tuple[bytes, bytes]],
) -> None:
    assert await refusal(Bounds(echo), Exchange(*headers)) == (400, "invalid_request")


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    exchange = Exchange((LENGTH, b"10"), chunks=[b"12345"])
    exchange.stalls = True
    assert await refusal(Bounds(echo, body_time=0.05), exchange) == (408, "timeout")


async def test_a_body_that_comes_byte_by_byte_is_not_waited_for() -> None:
    exchange = Exchange((LENGTH, b"1000000"), chunks=[b"1"] * 1_000_000)
    plain = exchange.receive

    async def slowly() -> Message:
        await asyncio.sleep(0.01)
        return await plain()

    exchange.receive = slowly  # type: ignore[method-assign]
    assert await refusal(Bounds(echo, body_time=0.1), exchange) == (408, "timeout")


async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    late: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            late.append("sent")

    exchange = Exchange()
    assert await refusal(Bounds(app, answer_time=0.05), exchange) == (503, "timeout")
    await asyncio.sleep(0)
    assert late == ["sent"]
    assert len(exchange.sent) == 2  # what came too late went nowhere


async def test_an_answer_that_does_not_end_is_broken_off() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    exchange = await run(Bounds(app, answer_time=0.05), Exchange())
    assert [message["type"] for message in exchange.sent] == ["http.response.start"]


async def test_a_server_that_stops_takes_its_requests_with_it() -> None:
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("here")

    task = asyncio.create_task(run(Bounds(app), Exchange()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.01)
    assert ended == ["here"]


async def test_there_are_never_more_at_once_than_the_bound_says() -> None:
    gates, inside = [asyncio.Event() for _ in range(3)], [0]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        mine = gates[inside[0]]
        inside[0] += 1
        await mine.wait()
        await deaf(scope, receive, send)

    bounds = Bounds(app, at_once=2)
    waiting = [asyncio.create_task(run(bounds, Exchange())) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    refused = await run(bounds, Exchange())
    assert (refused.status, refused.body["code"], refused.headers[b"retry-after"]) == (503, "too_busy", b"1")
    gates[0].set()
    assert (await waiting[0]).status == 401
    gates[2].set()
    assert (await run(bounds, Exchange())).status == 401
    gates[1].set()
    assert (await waiting[1]).status == 401


async def test_work_that_goes_on_after_its_time_still_counts() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.ensure_future(asyncio.to_thread(blocked.wait, PATIENCE))
        while not task.done():  # as a thread does that nobody can cancel
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                continue

    blocked = threading.Event()
    bounds = Bounds(app, answer_time=0.05, at_once=1)
    assert (await run(bounds, Exchange())).status == 503
    refused = await run(bounds, Exchange())
    assert refused.body["code"] == "too_busy"
    blocked.set()
    await asyncio.wait(bounds._running)


async def test_who_is_still_sending_gets_the_answer_and_then_the_end() -> None:
    exchange = Exchange((LENGTH, b"6"), chunks=[b"abc", b"def"])
    await run(Bounds(deaf), exchange)
    assert exchange.headers[b"connection"] == b"close"
    assert exchange.sent[1] == {"type": "http.response.body", "body": b'"no"', "more_body": True}
    assert exchange.sent[2]["more_body"] is False
    assert exchange.read == 2


async def test_without_a_body_the_connection_stays() -> None:
    exchange = await run(Bounds(deaf), Exchange((LENGTH, b"0")))
    assert b"connection" not in exchange.headers


class Served:
    """An application on a real port, in a thread of this process, with bounds that a test can wait for."""

    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self.server, self.port = server, port

    def ask(self, *parts: bytes, pause: float = 0.0) -> bytes:
        """What comes back, until the connection ends, for bytes that are sent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as link:
            for part in parts:
                try:
                    link.sendall(part)
                except OSError:
                    break  # it was cut off
                time.sleep(pause)
            answer = b""
            while True:
                try:
                    got = link.recv(65_536)
                except ConnectionError:
                    return answer
                if not got:
                    return answer
                answer += got

    def error(self, *parts: bytes) -> tuple[int, str]:
        """The status and code of an error, which must be JSON."""
        answer = self.ask(*parts)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"content-type: application/json" in head.lower(), answer[:500]
        said = json.loads(body)
        assert set(said) >= {"code", "reason"}
        return int(head.split(b" ")[1]), said["code"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    deployment = Deployment.make(tmp_path_factory.mktemp("limits") / "deployment")
    patch = pytest.MonkeyPatch()
    patch.setattr(remit.service.app, "Bounds", partial(Bounds, body_time=0.3))
    patch.setattr(connection, "HEAD_TIME", 0.3)
    with deployment.instance() as instance, listen(Settings(port=0)) as listener:
        config = uvicorn.Config(
            create_app(instance),
            http=connection.Connection,
            h11_max_incomplete_event_size=MAX_HEAD,
            ws="none",
            lifespan="off",
            log_config=None,
        )
        server = uvicorn.Server(config)
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield Served(server, port)
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()
    patch.undo()


HEAD = b"POST /v1/tokens/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_a_slow_body_is_answered_and_ended(served: Served) -> None:
    assert served.error(HEAD + b'Content-Length: 50\r\n\r\n{"token":') == (408, "timeout")
    assert served.error(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{") == (408, "timeout")


def test_a_slow_head_is_ended(served: Served) -> None:
    for beginning in (b"", b"G", b"GET /healthz HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "):
        assert served.ask(beginning) == b""


def test_a_head_that_comes_byte_by_byte_is_ended(served: Served) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: 1\r\n" * 2000
    assert served.ask(*[head[i : i + 1] for i in range(40)], pause=0.03) == b""


def test_a_second_request_that_never_ends_is_ended(served: Served) -> None:
    answer = served.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /hea", pause=0.1)
    assert answer.count(b"HTTP/1.1 200") == 1


def test_ten_megabytes_are_refused(served: Served) -> None:
    body = b"x" * 10_000_000
    assert served.error(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode(), body) == (413, "too_large")
    chunk = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    assert served.error(chunked, *[chunk] * 150, b"0\r\n\r\n") == (413, "too_large")


def test_a_petabyte_is_refused_at_once(served: Served) -> None:
    assert served.error(HEAD + b"Content-Length: 1000000000000000\r\n\r\n") == (413, "too_large")


def test_who_may_not_ask_need_not_send_all_of_it(served: Served) -> None:
    head = HEAD.replace(b"/verify", b"") + b"Content-Length: 500000\r\n\r\n"
    assert served.error(head, b"x") == (401, "unauthorized")


SMUGGLED = b"GET /v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + ADMIN.encode() + b"\r\n\r\n"
GARBAGE = {
    "no-http": b"hello\r\n\r\n",
    "http-0.9": b"GET /healthz\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "nul-in-a-header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    "nul-in-the-path": b"GET /healthz\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a-blank-before-the-colon": b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
    "no-colon": b"GET /healthz HTTP/1.1\r\nHost: x\r\nabc\r\n\r\n",
    "no-host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two-hosts": b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "two-lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + SMUGGLED,
    "length-and-coding": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "coding-and-length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "another-coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two-codings": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two-coding-headers": HEAD + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a-sign-in-the-length": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "a-list-of-lengths": HEAD + b"Content-Length: 2, 3\r\n\r\n{}",
    "a-negative-length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a-bad-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a-negative-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a-huge-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n",
    "an-endless-chunk-extension": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("request_", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_sound_http_is_a_bad_request_and_the_last_on_its_connection(
    served: Served, request_: bytes
) -> None:
    answer = served.ask(request_)
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), answer
    assert b"connection: close" in head.lower()
    assert json.loads(body)["code"] == "invalid_request"


LARGE = {
    "a-header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
    "many-headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-Header: 1\r\n" * 4_000 + b"\r\n",
    "a-path": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a-query": b"GET /?" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "no-end": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000,
}


@pytest.mark.parametrize("request_", LARGE.values(), ids=LARGE)
def test_a_large_head_is_refused(served: Served, request_: bytes) -> None:
    assert served.error(request_) in {(431, "too_large"), (400, "invalid_request")}  # when it comes in pieces


def test_whoever_goes_away_leaves_nothing_behind(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "remit")
    for beginning in (
        HEAD + b"Content-Length: 50\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ):
        caplog.clear()
        with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as link:
            link.sendall(beginning)
            until(lambda: bool(served.server.server_state.tasks))
        until(lambda: not served.server.server_state.tasks)
        assert [record.message for record in caplog.records] == ["request"]
        assert caplog.records[0].__dict__["remit"]["code"] == "disconnected"


def test_what_follows_a_sound_request_is_another_one(served: Served) -> None:
    body = b'{"token":"a"}'
    first = HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = served.ask(first + last)
    assert (answer.count(b"HTTP/1.1 "), answer.index(b"HTTP/1.1 401")) == (2, 0)
    assert answer.index(b"HTTP/1.1 200") > 0


def test_a_sound_chunked_body_is_read(served: Served) -> None:
    head = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert served.error(head + b'5\r\n{"tok\r\n8\r\nen":"a"}\r\n0\r\n\r\n') == (401, "token_malformed")


def test_nothing_is_upgraded(served: Served) -> None:
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13\r\n\r\n"
    assert b"HTTP/1.1 200" in served.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + upgrade)


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def linked(served: Served, count: int, beginning: bytes = b"") -> list[socket.socket]:
    """So many connections, on which a request has begun."""
    links = [socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) for _ in range(count)]
    for link in links:
        link.sendall(beginning)
    until(lambda: len(served.server.server_state.connections) >= count)
    if beginning:
        until(lambda: len(served.server.server_state.tasks) >= count)
    return links


def test_too_many_connections_are_refused_and_there_is_room_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MOST", 3)
    links = linked(served, 3, HEAD + b"Content-Length: 50\r\n\r\n{")
    assert served.error() == (503, "too_busy")
    for link in links:
        link.close()
    until(lambda: not served.server.server_state.connections)
    assert b"HTTP/1.1 200" in served.ask(HEALTH)


def test_connections_on_which_nothing_is_asked_make_room_for_others(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MOST", 3)
    monkeypatch.setattr(connection, "HEAD_TIME", PATIENCE)
    links = linked(served, 3)
    for _ in range(2):
        assert b"HTTP/1.1 200" in served.ask(HEALTH)
    for link in links:
        link.close()
    until(lambda: not served.server.server_state.connections)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_whether_it_lives_is_answered_whatever_else_is_going_on(path: str) -> None:
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/":
            await ended.wait()
        await deaf(scope, receive, send)

    bounds = Bounds(app, at_once=1)
    waiting = asyncio.create_task(run(bounds, Exchange()))
    await asyncio.sleep(0)
    assert await refusal(bounds, Exchange()) == (503, "too_busy")
    probe = Exchange()
    probe.scope["path"] = path
    assert (await run(bounds, probe)).status == 401
    ended.set()
    assert (await waiting).status == 401


async def test_bodies_take_no_more_than_there_is_room_for() -> None:
    size, small = 500_000, 16_384
    bounds = Bounds(echo, at_once=10, bodies=10 * small + 2 * (size - small))
    large = []
    for _ in range(2):
        exchange = Exchange((LENGTH, str(size + 1).encode()), chunks=[b"x" * size])
        exchange.stalls = True
        large.append(asyncio.create_task(run(bounds, exchange)))
    await asyncio.sleep(0.01)
    with pytest.raises(ServiceError) as caught:
        await run(bounds, Exchange((LENGTH, str(size).encode()), chunks=[b"x" * size]))
    assert (caught.value.status, caught.value.code, caught.value.headers) == (
        503,
        "too_busy",
        {"Retry-After": "1"},
    )
    little = Exchange((LENGTH, str(small).encode()), chunks=[b"x" * small])
    assert (await run(bounds, little)).body == small  # which always has room
    for task in large:
        task.cancel()
    await asyncio.gather(*large, return_exceptions=True)
    await asyncio.sleep(0.01)
    again = Exchange((LENGTH, str(size).encode()), chunks=[b"x" * size])
    assert (await run(bounds, again)).body == size
    assert bounds._room.left == 2 * (size - small)


def until(holds: Callable[[], bool]) -> None:
    for _ in range(PATIENCE * 100):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it does not come about")
