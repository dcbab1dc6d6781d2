"""What attackers and careless programs send: a 4xx with JSON that says why, and nothing of the inside."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from remit.keys import _SMALL_ORDER
from remit.service import intake
from remit.service.intake import MAX_PARTS

from .support import ADMIN, CLIENT_SECRET, holder

JSON = {"Content-Type": "application/json"}
JWS = "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoiYWF0K2p3dCJ9.e30.AAAA"


def explained(response: Any) -> tuple[int, str]:
    """The status and the code of an error, which must be JSON that says why."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"code", "reason"}
    assert body["reason"].endswith((".", "?"))
    assert len(body["reason"]) <= 500
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "Traceback" not in response.text
    return response.status_code, body["code"]


BODIES = {
    "nothing": b"",
    "no-json": b"{",
    "text": b"hello",
    "list": b"[]",
    "string": b'"{}"',
    "number": b"1",
    "null": b"null",
    "twice": b'{"scope":"READ","scope":"USER"}',
    "twice-inside": b'{"limits":{"a":1,"a":2}}',
    "twice-escaped": b'{"scope":"READ","\\u0073cope":"USER"}',
    "nan": b'{"expires_in_seconds":NaN}',
    "infinity": b'{"expires_in_seconds":-Infinity}',
    "1e400": b'{"expires_in_seconds":1e400}',
    "2-to-the-53": b'{"expires_in_seconds":9007199254740993}',
    "many-digits": b'{"expires_in_seconds":' + b"9" * 5000 + b"}",
    "lone-surrogate": b'{"agent":"\\ud800"}',
    "not-utf8": b'{"agent":"\xff"}',
    "utf-16": '{"scope":"READ"}'.encode("utf-16"),
    "byte-order-mark": b'\xef\xbb\xbf{"scope":"READ"}',
    "two-documents": b"{}{}",
    "trailing-comma": b'{"scope":"READ",}',
    "comment": b'{"scope":"READ"/**/}',
    "single-quotes": b"{'scope':'READ'}",
    "control-character": b'{"agent":"a\x00b"}',
    "lists-in-lists": b"[" * 100_000,
    "objects-in-objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "deep": b'{"a":' + b"[" * 101 + b"]" * 101 + b"}",
}


@pytest.mark.parametrize("path", ["/v1/tokens", "/v1/tokens/verify"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_is_no_strict_json_object_is_refused(shared: TestClient, path: str, body: bytes) -> None:
    assert explained(shared.post(path, content=body, headers=JSON)) == (400, "invalid_request")


MANY = MAX_PARTS + 1
PARTS = {
    "numbers": b'{"token":[' + b"1," * MANY + b"1]}",
    "strings": b'{"token":[' + b'"",' * 250_000 + b'""]}',
    "lists": b'{"token":[' + b"[]," * 300_000 + b"[]]}",
    "objects": b'{"token":[' + b'{"a":1},' * 100_000 + b"{}]}",
    "lists-in-lists": b'{"token":[' + (b"[" * 90 + b"]" * 90 + b",") * 5_000 + b"1]}",
    "members": b"{" + b",".join(b'"%d":1' % i for i in range(MANY)) + b"}",
    "between-strings": b'{"token":["\\"",' + b'"\\\\",0,' * MANY + b"1]}",
}


@pytest.mark.parametrize("body", PARTS.values(), ids=PARTS)
def test_what_would_take_long_to_parse_is_not_parsed(shared: TestClient, body: bytes) -> None:
    response = shared.post("/v1/tokens/verify", content=body, headers=JSON)
    assert explained(response) == (400, "invalid_request")
    assert response.json()["reason"] == "The body has more than 20000 parts."


def test_nor_is_it_in_a_form(shared: TestClient) -> None:
    form = {"token": "[" + "[]," * MANY + "[]]"}
    response = shared.post("/introspect", data=form, auth=("pricing-agent", CLIENT_SECRET))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert response.json()["reason"] == "A parameter has more than 20000 parts."


def test_what_stands_in_a_string_counts_for_nothing(shared: TestClient) -> None:
    text = 'a, "b": [{\\' * MANY
    body = {"token": "a.b.c", "tool": "prices:read", "aat_pop": "a.b.c", "arguments": {"text": text}}
    for separators in ((",", ":"), (" , ", " : ")):
        content = json.dumps(body, separators=separators).encode()
        response = shared.post("/v1/tokens/verify", content=content, headers=JSON)
        assert (response.status_code, response.json()["code"]) == (401, "token_malformed")


@pytest.mark.parametrize("size", [16_384, 16_385])
async def test_what_is_large_is_not_read_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    threads: list[int] = []

    def parse(body: bytes) -> Any:
        threads.append(threading.get_ident())
        return {}

    monkeypatch.setattr(intake, "parse_object", parse)
    body = b'{"a":"' + b"a" * (size - 8) + b'"}'

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"application/json")]
    assert await intake.read_json(Request({"type": "http", "headers": headers}, receive)) == {}
    assert (threads == [threading.get_ident()]) is (size <= 16_384)


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json, text/plain",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json;charset=utf-8;charset=utf-7",
        "application/xml",
        "*/*",
    ],
)
def test_another_content_type_is_refused(shared: TestClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    content = b'{"token":"a"}'
    assert explained(shared.post("/v1/tokens/verify", content=content, headers=headers))[0] == 415


def test_two_content_types_are_refused(shared: TestClient) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Type", "application/json")]
    response = shared.post("/v1/tokens/verify", content=b'{"token":"a"}', headers=httpx.Headers(headers))
    assert explained(response)[0] == 415


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
    ],
)
def test_json_may_be_called_so_in_several_ways(shared: TestClient, kind: str) -> None:
    body = {"subject_pubkey": holder().public.x, "scope": "READ"}
    response = shared.post("/v1/tokens", content=json.dumps(body), headers={"Content-Type": kind})
    assert response.status_code == 200


def spellings(raw: bytes) -> dict[str, str]:
    """How 32 bytes may be spelled."""
    return {
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "base64": base64.b64encode(raw).decode(),
        "base64-unpadded": base64.b64encode(raw).decode().rstrip("="),
        "base64url": base64.urlsafe_b64encode(raw).decode(),
        "base64url-unpadded": base64.urlsafe_b64encode(raw).decode().rstrip("="),
    }


def asked(shared: TestClient, key: object) -> Any:
    return shared.post("/v1/tokens", json={"subject_pubkey": key, "scope": "READ"})


@pytest.mark.parametrize("spelling", spellings(bytes(32)))
def test_a_key_may_be_spelled_in_several_ways(shared: TestClient, spelling: str) -> None:
    key = holder()
    while not {"+", "/"} & set(base64.b64encode(key.public.raw).decode()):
        key = holder()
    response = asked(shared, spellings(key.public.raw)[spelling])
    assert response.json()["subject_pubkey"] == key.public.x


@pytest.mark.parametrize("spelling", spellings(bytes(32)))
def test_a_key_of_small_order_is_refused_however_it_is_spelled(shared: TestClient, spelling: str) -> None:
    for raw in sorted(_SMALL_ORDER):
        response = asked(shared, spellings(raw)[spelling])
        assert explained(response) == (400, "invalid_public_key"), raw.hex()


@pytest.mark.parametrize("spelling", spellings(bytes(32)))
def test_a_key_in_another_encoding_than_its_own_is_refused(shared: TestClient, spelling: str) -> None:
    for y in (2**255 - 19 + 2, 2**255 - 1):
        for raw in (y.to_bytes(32, "little"), (y | 1 << 255).to_bytes(32, "little")):
            assert explained(asked(shared, spellings(raw)[spelling])) == (400, "invalid_public_key")


def test_what_is_no_key_is_refused(shared: TestClient) -> None:
    key = holder().public
    hexed, based = key.raw.hex(), base64.b64encode(b"\xfb" * 32).decode()
    wrong: list[Any] = [
        "", " ", "A", None, 7, True, [], {}, [key.x], dict(key.jwk), {"kty": "OKP"},
        key.x[:-1], key.x + "A", f" {key.x}", f"{key.x}\n", key.x + "==", key.x + "===",
        hexed[:-2], hexed + "00", f"0x{hexed}", hexed[:-1] + "g", hexed[:10].upper() + hexed[10:-1] + "aB",
        " ".join(hexed[i : i + 2] for i in range(0, 64, 2)),
        based.replace("+", "-", 1),  # both alphabets at once
        "\uff11" * 64,  # digits, but of another script
        "\u0661" * 64,
        hexed[:-1] + "\u0661",
        key.x[:-1] + "B",  # bits that mean nothing
        "-----BEGIN PUBLIC KEY-----", "ssh-ed25519 AAAA", "\u0000" * 32, "A" * 1_000_000,
    ]  # fmt: skip
    for given in wrong:
        status, code = explained(asked(shared, given))
        assert status == 400, given
        assert code in {"invalid_public_key", "invalid_request"}, given


def test_a_private_key_is_not_repeated(shared: TestClient) -> None:
    key = holder()
    response = asked(shared, key.private_jwk())
    assert explained(response) == (400, "invalid_public_key")
    assert key.private_jwk()["d"] not in response.text
    misplaced = shared.post("/v1/tokens", json={**key.private_jwk(), "scope": "READ"})
    assert explained(misplaced)[0] == 400
    assert key.private_jwk()["d"] not in misplaced.text


@pytest.mark.parametrize(
    "method", ["GET", "PUT", "PATCH", "HEAD", "OPTIONS", "DELETE", "TRACE", "PROPFIND", "X" * 100]
)
def test_another_method_is_not_allowed(shared: TestClient, method: str) -> None:
    response = shared.request(method, "/v1/tokens/verify" if method == "GET" else "/v1/nonce")
    assert response.status_code == 405
    assert response.headers["allow"]
    if method != "HEAD":
        assert explained(response)[1] == "method_not_allowed"


def test_all_methods_of_a_path_are_named(shared: TestClient) -> None:
    assert shared.put("/v1/tokens").headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/redoc",
        "/v1",
        "/v1/",
        "/v1/tokens/",
        "/v1/tokens/verify/",
        "/v1//tokens",
        "/V1/tokens",
        "/v1/tokens/a/b",
        "/v1/tokens/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/remit.toml",
        "/remit.toml",
        "/issuer.key",
        "/.git/config",
        "/v1/tokens%00",
        "/%ff",
        "/" + "a" * 10_000,
        "//evil.example/",
    ],
)
def test_there_is_nothing_elsewhere_and_nobody_is_sent_there(shared: TestClient, path: str) -> None:
    response = shared.get(path)
    assert explained(response)[0] in {404, 405}
    assert "location" not in response.headers


def test_the_host_header_leads_nowhere(shared: TestClient) -> None:
    response = shared.get("/v1/tokens/", headers={"Host": "evil.example"})
    assert "evil.example" not in response.text + str(response.headers)


def test_a_query_where_there_is_none_is_refused(shared: TestClient) -> None:
    body = {"subject_pubkey": holder().public.x, "scope": "READ"}
    assert explained(shared.post("/v1/tokens?scope=USER", json=body)) == (400, "invalid_request")
    assert explained(shared.post("/v1/tokens/verify?tool=a", json={"token": "a"})) == (400, "invalid_request")
    assert explained(shared.get("/v1/nonce?a=1")) == (400, "invalid_request")


def test_no_answer_repeats_a_token_or_the_admin_token(shared: TestClient) -> None:
    for body in (
        {"token": JWS},
        {JWS: 1},
        {"token": JWS, "tool": "x", "aat_pop": JWS},
        {"token": "a", "agent": ADMIN},
        {"token": "a", "tool": "prices:read", "arguments": {"a": ADMIN}},
    ):
        response = shared.post("/v1/tokens/verify", json=body)
        assert response.status_code in {400, 401}
        assert ADMIN not in response.text
        assert "e30.AAAA" not in response.text


def test_nothing_lets_a_page_elsewhere_read_an_answer(shared: TestClient) -> None:
    response = shared.get("/v1/tokens", headers={"Origin": "https://evil.example"})
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("access-control")]
    preflight = shared.options(
        "/v1/tokens", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert preflight.status_code == 405


def test_every_answer_has_the_headers_of_a_careful_service(shared: TestClient) -> None:
    for response in (shared.get("/healthz"), shared.get("/nowhere"), shared.post("/v1/tokens", content=b"{")):
        assert response.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["strict-transport-security"].startswith(
            "max-age="
        )  # the client came by https
        assert "server" not in response.headers
