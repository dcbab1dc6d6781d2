"""Requests in the hands of a server that means ill, or of whoever stands in between."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.remote.http import Http, NoAnswer, check_url

from . import certificates
from .support import Reply, Request, Server, as_json, serving

GOOD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def http(server: Server, **options: Any) -> Http:
    usual: dict[str, Any] = {"timeout": 5, "ca_file": None}
    return Http(server.url, **{**usual, **options})


def refused(reply: Reply, *, most: int = 1000, timeout: int = 5) -> str:
    """What is said of a reply that cannot be used."""
    with serving(lambda _: reply) as server, pytest.raises(NoAnswer) as caught:
        http(server, timeout=timeout).ask("GET", "/", most=most).members()
    return str(caught.value)


def test_a_request_is_what_was_asked_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(lambda _: as_json({"ok": True})) as server:
        answer = http(server).ask("POST", "/v1/x?y=1", most=100, headers=[("a", "b")], content=b"{}")
    assert (answer.status, answer.kind, answer.members()) == (200, "application/json", {"ok": True})
    [request] = server.requests
    assert (request.method, request.target, request.body) == ("POST", "/v1/x?y=1", b"{}")
    assert request.headers["host"] == server.url.removeprefix("http://")
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["a"] == "b"
    assert not request.headers.keys() & {"cookie", "authorization", "proxy-authorization"}


def test_connections_are_kept_and_what_is_closed_opens_again() -> None:
    with serving(lambda _: as_json({})) as server:
        client = http(server)
        for _ in range(3):
            client.ask("GET", "/", most=100)
        assert len(server._open) == 1
        client.close()
        client.ask("GET", "/", most=100)
        client.close()
        client.close()
        assert len(server._open) == 2


def test_cookies_are_forgotten() -> None:
    with serving(lambda _: as_json({}, headers={"set-cookie": "a=b"})) as server:
        client = http(server)
        for _ in range(2):
            client.ask("GET", "/", most=100)
        client.close()
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with serving(lambda _: as_json({"keys": []})) as elsewhere:
        reply = as_json({}, status, headers={"location": elsewhere.url})
        with serving(lambda _: reply) as server:
            assert http(server).ask("GET", "/", most=100).status == status
        assert elsewhere.requests == []


def test_more_than_is_allowed_is_not_read() -> None:
    def endless() -> Iterator[bytes]:
        yield GOOD + b"transfer-encoding: chunked\r\n\r\n"
        while True:
            yield b"1000\r\n" + b" " * 0x1000 + b"\r\n"

    assert refused(Reply(body=b" " * 1001)) == "answered with more than 1000 bytes"
    assert refused(Reply(raw=endless())) == "answered with more than 1000 bytes"
    assert refused(Reply(raw=[GOOD + b"content-length: 999999999999\r\n\r\n", b" " * 5000])).startswith(
        "answered with more"
    )


@pytest.mark.parametrize(
    "raw",
    [
        [GOOD + b"content-length: 100\r\n\r\n{}"],
        [GOOD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"],
        [GOOD],
        [b"HTTP/1.1 200 OK\r\nx"],
        [b""],
        [b"SSH-2.0-OpenSSH_9.0\r\n"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x"],
        [b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000 + b"\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n"] * 3,
    ],
    ids=["short", "chunks", "no-end", "half-a-header", "nothing", "another-protocol", "two-lengths", "long-header", "continue"],
)  # fmt: skip
def test_what_is_cut_off_or_no_http_is_no_answer(raw: list[bytes]) -> None:
    assert refused(Reply(raw=raw)) == "cannot be reached, or did not end its answer"


@pytest.mark.parametrize(
    "start",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"],
    ids=["status", "headers", "body"],
)
def test_a_server_that_dribbles_is_left_in_time(start: bytes) -> None:
    def dribble() -> Iterator[bytes]:
        yield start
        while True:
            time.sleep(0.05)
            yield b"a"

    begun = time.monotonic()
    assert refused(Reply(raw=dribble()), timeout=1) == "did not answer in time"
    assert time.monotonic() - begun < 20  # and not for as long as it dribbles


def test_a_server_that_says_nothing_is_left_in_time() -> None:
    let = threading.Event()

    def silent(_: Request) -> Reply:
        let.wait(30)
        return Reply()

    with serving(silent) as server:
        with pytest.raises(NoAnswer, match="in time"):
            http(server, timeout=1).ask("GET", "/", most=100)
        let.set()


def test_nobody_there_is_no_answer() -> None:
    with serving(lambda _: Reply()) as server:
        pass
    with pytest.raises(NoAnswer, match="cannot be reached"):
        http(server).ask("GET", "/", most=100)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(body=b"{}", headers={"content-encoding": "gzip"}), "packed"),
        (Reply(body=b"{}", headers={"Content-Encoding": "identity, br"}), "packed"),
        (Reply(body=b"{}", kind="text/html"), "not JSON"),
        (Reply(body=b"{}", kind=""), "not JSON"),
        (Reply(body=b"{}", headers={"content-type": "application/json"}, kind="text/html"), "not JSON"),
        (Reply(body=b'{"a":1,"a":2}'), "repeats a member"),
        (Reply(body=b'{"a":NaN}'), "NaN"),
        (Reply(body=b"[]"), "not a JSON object"),
        (Reply(body=b""), "is not JSON"),
        (Reply(body=b'{"a":"\xff"}'), "is not JSON"),
        (Reply(body=b'{"a":"\\ud800"}'), "is not JSON"),
        (Reply(body=b'{"a":' * 200 + b"1" + b"}" * 200), "too deeply"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_strict_json_is_no_answer(reply: Reply, said: str) -> None:
    assert said in refused(reply, most=10_000)


def _said(reply: Reply, _: Request) -> Reply:
    return reply


def test_json_may_have_parameters_and_a_kind() -> None:
    for kind in ("application/json; charset=utf-8", "Application/JWK-Set+JSON"):
        with serving(partial(_said, Reply(kind=kind, body=b"{}"))) as server:
            assert http(server).ask("GET", "/", most=100).members() == {}


@pytest.mark.parametrize(
    "url",
    ["https://auth.example", "https://auth.example/", "https://auth.example:8443/tenant/", "http://127.0.0.1:80", "http://[::1]:8", "http://localhost"],
)  # fmt: skip
def test_sound_urls(url: str) -> None:
    assert check_url("the url", url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://auth.example",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://10.0.0.1",
        "https://user:hunter2@auth.example",
        "https://hunter2@auth.example",
        "https://auth.example?hunter2",
        "https://auth.example/?",
        "https://auth.example#hunter2",
        "https://",
        "https:///path",
        "https://auth.example:99999",
        "https://auth.example:hunter2",
        "https://[::1",
        "ftp://auth.example",
        "https://auth.example/a b",
        "https://auth.example/\r\nx: y",
        "https://äuth.example",
        "",
        "https://auth.example/" + "a" * 3000,
        None,
        7,
    ],
)  # fmt: skip
def test_urls_whose_server_cannot_be_believed_are_refused(url: object) -> None:
    with pytest.raises(remit.ConfigError) as caught:
        Http(url, timeout=5, ca_file=None)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, 61, "1h", None, float("nan"), True])
def test_a_timeout_that_makes_no_sense_is_refused(timeout: Any) -> None:
    with pytest.raises(remit.ConfigError):
        Http("https://auth.example", timeout=timeout, ca_file=None)


def test_a_ca_file_that_holds_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for path in (tmp_path / "empty.pem", tmp_path / "missing.pem", tmp_path, ""):
        with pytest.raises(remit.ConfigError):
            Http("https://auth.example", timeout=5, ca_file=path)


def test_a_server_must_show_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    authority, server_file = certificates.make(tmp_path)
    with serving(lambda _: as_json({}), tls=server_file) as server:
        assert http(server, ca_file=authority).ask("GET", "/", most=100).members() == {}
        with pytest.raises(NoAnswer, match="a certificate that is not trusted"):
            http(server).ask("GET", "/", most=100)
        assert len(server.requests) == 1


def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    authority, server_file = certificates.make(tmp_path, "127.0.0.2")
    with serving(lambda _: as_json({}), tls=server_file) as server:
        with pytest.raises(NoAnswer, match="a certificate that is not trusted"):
            http(server, ca_file=authority).ask("GET", "/", most=100)
        assert server.requests == []


def test_a_handshake_that_does_not_end_is_left_in_time() -> None:
    with serving(lambda _: as_json({})) as server, pytest.raises(NoAnswer):
        Http(server.url.replace("http", "https"), timeout=1, ca_file=None).ask("GET", "/", most=100)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_child_that_is_forked_has_connections_of_its_own() -> None:
    with serving(lambda _: as_json({})) as server:
        client = http(server)
        client.ask("GET", "/parent", most=100)
        with client._lock:
            child = os.fork()
            if not child:
                signal.alarm(20)  # what hangs is killed
                client.ask("GET", "/child", most=100)
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        client.ask("GET", "/parent", most=100)
        assert server.paths() == ["/parent", "/child", "/parent"]
        assert len(server._open) == 2
