"""How a request is read: in one way only, or not at all."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import remit
from remit_service import CapabilityMiddleware, headers, request

from .support import World, packed, raw

JSON = ("content-type", "application/json")


def open_guard(world: World) -> dict[str, str]:
    """A presentation that would allow anything that could be smuggled in, were it not for its proof."""
    return world.header("echo", {})


async def echo(world: World, app: Any, body: bytes, *extra: tuple[Any, Any], **options: Any) -> Any:
    return await raw(app, "POST", "/echo", header=[*open_guard(world).items(), *extra], body=body, **options)


# ── one name, one value ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "query", "body"),
    [
        ("/trades/A-1", b"account=A-1", b""),
        ("/trades/A-1", b"account=A-2", b""),
        ("/trades/A-1", b"%61ccount=A-2", b""),
        ("/trades/A-1", b"depth=1&depth=1", b""),
        ("/trades/A-1", b"depth=1&depth=2", b""),
        ("/trades/A-1", b"depth=1&%64epth=2", b""),
        ("/trades/A-1", b"", b'{"account": "A-1"}'),
        ("/trades/A-1", b"depth=1", b'{"depth": "1"}'),
        ("/trades/A-1", b"", b'{"depth": "1", "depth": "2"}'),
        ("/trades/A-1", b"", b'{"depth": "1", "\\u0064epth": "2"}'),
        ("/trades/A-1", b"", b'{"depth": {"a": 1, "a": 1}}'),
    ],
)
async def test_a_name_that_is_given_twice_is_refused(
    world: World, app: Any, path: str, query: bytes, body: bytes
) -> None:
    header = [*world.header("trades:read", {"account": "A-1", "depth": "1"}).items(), JSON]
    answer = await raw(app, "GET", path, header=header, query_string=query, body=body)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")
    assert "A-" not in answer.text
    assert world.events() == []


@pytest.mark.parametrize(
    "query", [b"depth", b"a&b", b"a=1&&b=2", b"a=1&", b"&", b"a=%ff", b"\xff=1", "é=1".encode()]
)
async def test_a_query_that_parsers_read_differently_is_refused(world: World, app: Any, query: bytes) -> None:
    answer = await raw(app, "GET", "/search", header=open_guard(world).items(), query_string=query)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "header",
    [
        [("Remit-Presentation", "e30"), ("Remit-Presentation", "e30")],
        [("remit-presentation", "e30"), ("REMIT-PRESENTATION", "e31")],
        [("Content-Length", "0"), ("Content-Length", "0")],
        [("Content-Length", "2"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity")],
        [("Content-Type", "application/json"), ("content-type", "text/plain")],
        [("Content-Length", "-1")],
        [("Content-Length", "+2")],
        [("Content-Length", "0x2")],
        [("Content-Length", "2, 2")],
        [("Content-Length", "")],
        [("Content-Length", "9" * 40)],
        [("Content-Length", "\xb2")],
    ],
)
async def test_headers_that_could_be_read_in_two_ways_are_refused(
    world: World, app: Any, header: list[tuple[str, str]]
) -> None:
    answer = await raw(app, "POST", "/echo", header=header, body=b"{}")
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")
    assert world.events() == []


# ── bodies ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/vnd.acme+json",
        "application/jsonp",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=utf-7",
        "application/json, text/plain",
        "",
    ],
)
async def test_a_body_of_another_type_is_refused(world: World, app: Any, kind: str) -> None:
    answer = await echo(world, app, b"{}", ("content-type", kind))
    assert (answer.status, answer.json()["code"]) == (415, "invalid_request")


async def test_a_body_without_a_type_is_refused(world: World, app: Any) -> None:
    assert (await echo(world, app, b"{}")).status == 415


@pytest.mark.parametrize("coding", ["gzip", "identity", "br"])
async def test_a_body_that_is_coded_is_refused(world: World, app: Any, coding: str) -> None:
    assert (await echo(world, app, b"{}", JSON, ("Content-Encoding", coding))).status == 415


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="open"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"null", id="null"),
        pytest.param(b"7", id="number"),
        pytest.param(b"{} {}", id="two"),
        pytest.param(b"{'a': 1}", id="quotes"),
        pytest.param(b'{"a": NaN}', id="nan"),
        pytest.param(b'{"a": -Infinity}', id="infinity"),
        pytest.param(b'{"a": 01}', id="leading zero"),
        pytest.param(b'{"a": 1,}', id="comma"),
        pytest.param(b'{"a": 1} // more', id="comment"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param('{"a": "é"}'.encode("latin-1"), id="latin-1"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="utf-16"),
        pytest.param(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", id="deep"),
        pytest.param(b'{"a": ' + b"9" * 5_000 + b"}", id="long number"),
        pytest.param(b" ", id="blank"),
    ],
)
async def test_a_body_that_is_not_one_plain_object_is_refused(world: World, app: Any, body: bytes) -> None:
    answer = await echo(world, app, body, JSON)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")
    assert world.events() == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a": 1e400}', id="infinite"),
        pytest.param(b'{"a": 9007199254740993}', id="no double"),
        pytest.param(b'{"a": "\\ud800"}', id="half a character"),
        pytest.param(b'{"\\udfff": 1}', id="half a name"),
        pytest.param(b'{"a": ' + b"[" * 90 + b"]" * 90 + b"}", id="nested"),
        pytest.param(b'{"a": "' + b"x" * 300_000 + b'"}', id="large"),
    ],
)
async def test_a_value_that_has_no_one_meaning_is_denied_by_the_guard(
    world: World, app: Any, body: bytes
) -> None:
    answer = await echo(world, app, body, JSON)
    assert (answer.status, answer.json()["code"]) == (403, "argument_denied")
    assert world.events() == [("decision", False, "argument_denied")]


async def test_a_body_that_is_announced_as_too_large_is_not_read(world: World, app: Any) -> None:
    read: list[str] = []

    async def receive() -> dict[str, Any]:
        read.append("yes")
        return {"type": "http.request", "body": b"", "more_body": False}

    sent: list[Any] = []

    async def answer(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/echo",
        "headers": [(b"content-length", b"10000000")],
        "query_string": b"",
    }
    await app({**scope, "asgi": {}, "http_version": "1.1", "scheme": "http"}, receive, answer)
    assert sent[0]["status"] == 413
    assert read == []


@pytest.mark.parametrize("announced", [(), (("content-length", "7"),)])
async def test_a_body_that_grows_too_large_is_not_read_to_its_end(
    world: World, app: Any, announced: tuple[tuple[str, str], ...]
) -> None:
    chunk = {"type": "http.request", "body": b" " * 600_000, "more_body": True}
    chunks = [chunk] * 9
    answer = await raw(app, "POST", "/echo", header=[JSON, *announced], chunks=chunks)
    assert answer.status == 413


async def test_a_body_in_many_pieces_is_one(world: World, app: Any) -> None:
    text = json.dumps({"arguments": {}, **world.presented("echo", {}).to_dict()}).encode()
    pieces = [
        {"type": "http.request", "body": text[i : i + 9], "more_body": True} for i in range(0, len(text), 9)
    ]
    answer = await raw(app, "POST", "/echo", header=[JSON], chunks=[*pieces, {"type": "http.request"}])
    assert answer.status == 200, answer.text


async def test_a_body_that_never_ends_is_not_waited_for(
    world: World, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "_PATIENCE", 0.01)
    sent: list[Any] = []

    async def answer(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/echo",
        "headers": [],
        "query_string": b"",
    }
    async with asyncio.timeout(30):
        await app({**scope, "asgi": {}, "http_version": "1.1", "scheme": "http"}, receive, answer)
    assert sent[0]["status"] == 408


async def test_half_a_request_is_none(world: World, app: Any) -> None:
    text = json.dumps({"arguments": {}, **world.presented("echo", {}).to_dict()}).encode()
    chunks = [{"type": "http.request", "body": text, "more_body": True}]  # and then the client leaves
    answer = await raw(app, "POST", "/echo", header=[JSON], chunks=chunks)
    assert answer.status == 400
    assert world.events() == []


# ── one presentation ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "extra",
    [
        {"note": 1},
        {"agent": "root"},
        {"arguments": []},
        {"arguments": None},
        {"arguments": "{}"},
    ],
)
async def test_a_body_with_a_presentation_has_nothing_else_beside_the_arguments(
    world: World, app: Any, extra: dict[str, Any]
) -> None:
    body = json.dumps({**world.presented("echo", {}).to_dict(), **extra}).encode()
    answer = await raw(app, "POST", "/echo", header=[JSON], body=body)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("member", ["aat_chain", "aat_pop", "both"])
async def test_a_presentation_is_in_one_place(world: World, app: Any, member: str) -> None:
    presented = world.presented("echo", {}).to_dict()
    body = {name: value for name, value in presented.items() if member in {name, "both"}}
    answer = await raw(
        app,
        "POST",
        "/echo",
        header=[*open_guard(world).items(), JSON],
        body=json.dumps({**body, "arguments": {}}).encode(),
    )
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")
    assert world.events() == []


@pytest.mark.parametrize(
    "body",
    [
        {"aat_chain": []},
        {"aat_pop": ""},
        {"aat_chain": None, "aat_pop": None},
        {"aat_chain": "text", "aat_pop": "text"},
        {"aat_chain": [1], "aat_pop": "text"},
        {"aat_chain": [], "aat_pop": "x.y.z"},
        {"aat_chain": ["a.b.c"], "aat_pop": {"a": 1}},
        {"aat_chain": ["a.b.c"] * 1_000, "aat_pop": "x.y.z"},
    ],
)
async def test_half_a_presentation_is_denied_and_recorded(
    world: World, app: Any, body: dict[str, Any]
) -> None:
    answer = await raw(app, "POST", "/echo", header=[JSON], body=json.dumps(body).encode())
    assert answer.status == 401
    assert world.events() == [("decision", False, answer.json()["code"])]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        "not base64url!",
        "e30",
        "e30=",
        packed([]),
        packed(7),
        packed({"aat_chain": []}),
        packed({"aat_chain": [], "aat_pop": "x", "arguments": {}}),
        packed(b'{"aat_chain": [], "aat_pop": "x", "aat_pop": "y"}'),
        packed(b"\xff"),
        packed(b"[" * 40_000),
        packed({"aat_chain": [{"a": 1}], "aat_pop": "x"}),
        "\xe9",
    ],
)
async def test_a_header_that_is_no_presentation_is_denied_and_recorded(
    world: World, app: Any, header: str
) -> None:
    answer = await raw(app, "POST", "/echo", header=[("Remit-Presentation", header)])
    assert (answer.status, answer.json()["code"]) in {(401, "token_malformed"), (401, "proof_missing")}
    assert world.events() == [("decision", False, answer.json()["code"])]


async def test_a_sound_presentation_is_refused_in_a_header_that_holds_more(world: World, app: Any) -> None:
    presented = world.presented("echo", {}).to_dict()
    whole = packed(presented)
    for header in (
        packed({**presented, "agent": "root"}),
        f"{whole[:8]}!!!!{whole[8:]}",
        f"{whole[:8]}    {whole[8:]}",
    ):
        answer = await raw(app, "POST", "/echo", header=[("Remit-Presentation", header)])
        assert (answer.status, answer.json()["code"]) == (401, "token_malformed")
    assert (await raw(app, "POST", "/echo", header=[("Remit-Presentation", whole)])).status == 200


async def test_a_presentation_is_no_argument_and_never_reaches_the_application(world: World) -> None:
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, await receive()))

    app = CapabilityMiddleware(inner, world.guard, {"POST /": "echo"})
    presentation = world.presented("echo", {"a": 1})
    await raw(app, "POST", "/", header=[*headers(presentation).items(), JSON], body=b'{"a": 1}')
    body = json.dumps({**world.presented("echo", {"a": 1}).to_dict(), "arguments": {"a": 1}}).encode()
    await raw(app, "POST", "/", header=[JSON], body=body)
    assert len(seen) == 2
    for scope, message in seen:
        assert message == {"type": "http.request", "body": b'{"a": 1}', "more_body": False}
        assert world.credential.token not in repr([scope["headers"], message])
        assert isinstance(scope["remit"], remit.Permit)
