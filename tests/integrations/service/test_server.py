"""The middleware behind a real server: what comes over the wire, also as no client library would send it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from .support import World, fastapi_app

TRADE = {"account": "A-1", "symbol": "ACME", "amount": 900}


@pytest.fixture(scope="module")
def shared() -> World:
    """The world of the servers, which serve all tests of this file."""
    return World()


@pytest.fixture
def world(shared: World) -> World:
    """The shared one, of which each test looks at the records that are new."""
    shared.before = len(shared.audit.records)
    return shared


@pytest.fixture(scope="module", params=["h11", "httptools"])
def address(request: pytest.FixtureRequest, shared: World) -> Iterator[tuple[str, int]]:
    """Host and port of a running server."""
    config = uvicorn.Config(
        fastapi_app(shared), port=0, log_level="critical", http=request.param, lifespan="on"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    waiting = threading.Event()
    for _ in range(3_000):
        if server.started:
            break
        waiting.wait(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


async def wire(address: tuple[str, int], request: bytes) -> tuple[int, str]:
    """The status and the whole answer to bytes that were written to a socket."""
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    return int(head.split()[1]), head.decode("latin-1")


async def test_a_request_is_served_and_its_replay_is_not(world: World, address: tuple[str, int]) -> None:
    header = world.header("trades:propose", TRADE)
    async with httpx.AsyncClient(base_url=f"http://{address[0]}:{address[1]}") as client:
        body = {"symbol": "ACME", "amount": 900}
        first = await client.post("/trades/A-1", headers=header, json=body)
        assert (first.status_code, first.json()) == (200, {"done": "A-1 ACME 900.0"})
        again = await client.post("/trades/A-1", headers=header, json=body)
        assert (again.status_code, again.json()["code"]) == (401, "proof_replayed")
        large = await client.post("/trades/A-1", headers=header, content=b" " * 2_000_000)
        assert large.status_code == 413
        assert (await client.get("/healthz")).json() == "ok"
    assert [each.agent for each in world.audit.records[world.before :] if each.event == "outcome"] == [
        "trader"
    ]


@pytest.mark.parametrize(
    "target",
    [
        "/admin",
        "/healthz/../admin",
        "/healthz/%2e%2e/admin",
        "//healthz",
        "/healthz%2f..%2fadmin",
        "/healthz/",
        "http://service.test/admin",
        "/healthz%0a",
        "/healthz;/../admin",
        "/%61dmin",
    ],
)
async def test_no_target_leads_around_it(world: World, address: tuple[str, int], target: str) -> None:
    header = json.dumps(world.header("echo", {})).strip('{}"').replace('": "', ": ")
    status, head = await wire(address, f"GET {target} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
    assert status in {400, 403}, head


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 40",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Content-Length: -2",
    ],
)
async def test_a_body_whose_length_is_not_clear_is_refused(
    world: World, address: tuple[str, int], framing: str
) -> None:
    [(name, value)] = world.header("echo", {}).items()
    text = f"POST /echo HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    status, head = await wire(
        address, text.encode() + b"2\r\n{}\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert status in {400, 501}, head
    assert world.events() == []


async def test_a_websocket_is_refused(address: tuple[str, int]) -> None:
    request = (
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    status, head = await wire(address, request.encode())
    assert status == 403, head
