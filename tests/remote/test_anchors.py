"""Keys that a service publishes, and what becomes of them in a guard."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import remit
from remit.remote.anchors import RemoteAnchors
from remit.token import unverified_claims
from remit.trust import AnchorSource

from .support import JWKS, METADATA, Clock, FakeService, Reply, as_json, as_jwk, checked, verdict

IDENTITY = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""The point under which one signature fits any message."""
RSA = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "sig", "alg": "RS256"}


def made(service: FakeService, **options: Any) -> RemoteAnchors:
    return RemoteAnchors(service.url, **options)


def ticking(anchors: RemoteAnchors) -> Clock:
    """Give anchors a clock that the test moves."""
    clock = Clock(anchors._watched._ticks())
    anchors._watched._ticks = clock
    return clock


def test_the_service_says_who_it_is_and_where_its_keys_are(service: FakeService) -> None:
    anchors = made(service)
    assert anchors.anchors() == (service.issuer.anchor,)
    assert service.server.paths() == [METADATA, JWKS]
    assert isinstance(anchors, AnchorSource)
    assert anchors.waits
    assert repr(anchors) == f"<RemoteAnchors of {service.url}>"
    anchors.close()


def test_a_service_below_a_path_has_its_metadata_where_rfc_8414_says(service: FakeService) -> None:
    url = f"{service.url}/tenant/a"
    service.replies[f"{METADATA}/tenant/a"] = lambda _: as_json({"issuer": url, "jwks_uri": f"{url}/keys"})
    service.replies["/tenant/a/keys"] = service.jwks
    [anchor] = RemoteAnchors(f"{url}/").anchors()
    assert anchor.issuer == url


def test_a_jwk_set_is_that_of_the_issuer_whom_the_operator_names(service: FakeService) -> None:
    [anchor] = RemoteAnchors(f"{service.url}{JWKS}", issuer="https://auth.acme.example").anchors()
    assert (anchor.issuer, anchor.jwk) == ("https://auth.acme.example", service.issuer.anchor.jwk)
    assert service.server.paths() == [JWKS]


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"issuer": None},
        {"issuer": ["x"]},
        {"jwks_uri": "https://other.example/keys"},
        {"jwks_uri": "http://127.0.0.1/keys"},
        {"jwks_uri": "http://10.0.0.1/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": None},
        {"jwks_uri": 7},
    ],
    ids=str,
)  # fmt: skip
def test_metadata_of_another_service_is_not_believed(service: FakeService, metadata: dict[str, Any]) -> None:
    sound = {"issuer": service.url, "jwks_uri": f"{service.url}{JWKS}"}
    service.replies[METADATA] = lambda _: as_json({**sound, **metadata})
    with pytest.raises(remit.ConfigError, match="no keys can be had"):
        made(service)
    assert JWKS not in service.server.paths()


@pytest.mark.parametrize("path", [METADATA, JWKS])
@pytest.mark.parametrize(
    "reply",
    [
        as_json({"keys": []}),
        as_json({}),
        as_json({"keys": {}}),
        as_json({"keys": [1, None, "x", []]}),
        as_json({}, 500),
        as_json({}, 302, headers={"location": "https://other.example"}),
        Reply(kind="text/html", body=b"<html>"),
        Reply(body=b"{"),
        Reply(body=b" " * 300_000),
        Reply(raw=[b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"]),
    ],
    ids=["empty", "nothing", "no-list", "no-keys", "error", "redirect", "html", "half", "huge", "cut"],
)
def test_without_keys_there_is_nobody_to_trust(service: FakeService, path: str, reply: Reply) -> None:
    service.replies[path] = lambda _: reply
    with pytest.raises(remit.ConfigError, match="no keys can be had: the service"):
        made(service)


def twisted(service: FakeService, **members: Any) -> dict[str, Any]:
    """Another sound key, twisted."""
    jwk = {**as_jwk(remit.Issuer.generate(service.url)), **members}
    return {name: value for name, value in jwk.items() if value is not ...}


@pytest.mark.parametrize(
    "members",
    [
        {"x": IDENTITY},
        {"x": "7f" + "_" * 41},
        {"x": "AAAA"},
        {"x": 5},
        {"x": ["a"]},
        {"x": ...},
        {"d": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
        {"d": None},
        {"crv": "Ed448"},
        {"crv": "X25519"},
        {"kty": "EC"},
        {"use": "enc"},
        {"use": None},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": ["Ed25519"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_key_that_is_not_sound_takes_no_other_with_it(
    service: FakeService, members: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    service.published = [twisted(service, **members), *service.published]
    assert made(service).anchors() == (service.issuer.anchor,)
    service.published.reverse()
    assert made(service).anchors() == (service.issuer.anchor,)
    service.published = [service.published[1]]
    with pytest.raises(remit.ConfigError):
        made(service)


def test_other_kinds_of_keys_may_stand_beside_it(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.published = [RSA, *service.published, {"kty": "new"}]
    with caplog.at_level(logging.WARNING, "remit"):
        assert made(service).anchors() == (service.issuer.anchor,)
    assert caplog.messages == []


def test_a_key_that_is_there_twice_is_one_anchor(service: FakeService) -> None:
    service.published = [*service.published, {**service.published[0], "kid": "another-name"}]
    assert made(service).anchors() == (service.issuer.anchor,)


def test_a_key_whose_private_half_was_published_is_not_trusted(service: FakeService) -> None:
    leaked = as_jwk(remit.Issuer.generate(service.url))
    service.published = [leaked, *service.published, {**leaked, "d": "x"}]
    assert made(service).anchors() == (service.issuer.anchor,)


def test_too_many_keys_are_none(service: FakeService) -> None:
    service.published = [service.published[0]] * 101
    with pytest.raises(remit.ConfigError):
        made(service)


@pytest.mark.parametrize(
    "options", [{"max_age": 0}, {"max_age": "2d"}, {"issuer": "no uri"}, {"timeout": 0}], ids=str
)
def test_arguments_that_make_no_sense_are_refused(service: FakeService, options: dict[str, Any]) -> None:
    with pytest.raises(remit.ConfigError):
        made(service, **options)
    assert service.server.requests == []


def test_they_are_not_pickled_or_copied(service: FakeService) -> None:
    anchors = made(service)
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            take(anchors)


# ── in a guard ──────────────────────────────────────────────────────────────────────────────────────────────


def eventually(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not found():
        if time.monotonic() > deadline:
            pytest.fail("it never came true")
        time.sleep(0.01)


def guard_of(service: FakeService, anchors: RemoteAnchors) -> remit.Guard:
    return remit.Guard(trust=anchors, clock=service.clock)


def test_a_key_that_was_rotated_in_is_looked_for_and_one_that_was_retired_is_gone(
    service: FakeService,
) -> None:
    anchors = made(service)
    ticks = ticking(anchors)
    guard = guard_of(service, anchors)
    old_token = service.issue()
    guard.check(old_token, "tool:use", {})
    old = service.rotate()
    for token in (service.issue(), old_token, old.issue("b", ["tool:use"])):
        guard.check(token, "tool:use", {})
    assert service.server.paths().count(JWKS) == 2
    service.published = [as_jwk(service.issuer)]
    guard.check(old_token, "tool:use", {})
    ticks.now += 300
    eventually(lambda: verdict(lambda: guard.check(old_token, "tool:use", {})) == "token_signature_invalid")
    assert verdict(lambda: guard.check(service.issue(), "tool:use", {})) == "allowed"
    assert service.server.paths().count(METADATA) == 1


def forged_by(service: FakeService) -> remit.Credential:
    """A credential of somebody who says that it is the issuer."""
    return remit.Issuer.generate(service.url, clock=service.clock).issue("a", ["tool:use"])


def test_tokens_with_made_up_keys_cost_ten_requests_and_then_one_a_second(service: FakeService) -> None:
    anchors = made(service)
    ticks = ticking(anchors)
    guard = guard_of(service, anchors)
    before = len(service.server.requests)
    for _ in range(20):
        for _ in range(12):
            forged = forged_by(service)
            assert verdict(lambda: guard.check(forged, "tool:use", {})) == "token_signature_invalid"  # noqa: B023
        ticks.now += 0.25
    assert 10 < len(service.server.requests) - before <= 10 + 5


def test_many_forged_tokens_at_once_cost_no_more(service: FakeService) -> None:
    anchors = made(service)
    ticking(anchors)
    guard = guard_of(service, anchors)
    before = len(service.server.requests)
    forged = [forged_by(service) for _ in range(60)]
    with ThreadPoolExecutor(30) as pool:
        said = list(pool.map(lambda token: verdict(lambda: guard.check(token, "tool:use", {})), forged))
    assert set(said) == {"token_signature_invalid"}
    assert len(service.server.requests) - before <= 10


def test_forged_tokens_just_before_a_rotation_have_no_valid_one_refused(service: FakeService) -> None:
    anchors = made(service)
    ticking(anchors)
    guard = guard_of(service, anchors)
    forged = forged_by(service)
    for _ in range(50):
        assert verdict(lambda: guard.check(forged, "tool:use", {})) == "token_signature_invalid"
    service.rotate()
    assert checked(guard, service.issue()) == "allowed"


def test_while_the_service_hangs_forged_tokens_hold_up_nobody_for_long(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.trust._PATIENCE", 0.01)
    anchors = made(service, timeout=60)
    guard = guard_of(service, anchors)
    known = service.issue()
    guard.check(known, "tool:use", {})
    let = threading.Event()

    def held(request: Any) -> Reply:
        let.wait(30)
        return service.jwks(request)

    service.replies[JWKS] = held
    asked = len(service.server.requests)
    with ThreadPoolExecutor(16) as pool:
        try:
            looks = [pool.submit(checked, guard, forged_by(service)) for _ in range(100)]
            eventually(lambda: sum(look.done() for look in looks) == 99)
            assert pool.submit(checked, guard, known).result(20) == "allowed"
            assert len(service.server.requests) - asked == 1
        finally:
            let.set()
        assert {look.result(30) for look in looks} == {"token_signature_invalid"}


def test_when_it_is_time_no_check_waits_for_the_service(service: FakeService) -> None:
    anchors = made(service, timeout=60)
    ticks = ticking(anchors)
    guard = guard_of(service, anchors)
    known = service.issue()
    let = threading.Event()

    def held(request: Any) -> Reply:
        let.wait(60)
        return service.jwks(request)

    service.replies[JWKS] = held
    asked = len(service.server.requests)
    ticks.now += 301
    with ThreadPoolExecutor(1) as pool:
        try:
            assert pool.submit(checked, guard, known).result(20) == "allowed"
            eventually(lambda: len(service.server.requests) > asked)
            assert pool.submit(checked, guard, known).result(20) == "allowed"
        finally:
            let.set()
    anchors.close()


def test_an_issuer_that_names_its_keys_as_it_likes_costs_no_request_a_token(service: FakeService) -> None:
    service.published = [{**as_jwk(service.issuer), "kid": "2024-key"}]
    guard = guard_of(service, made(service))
    before = len(service.server.requests)
    for _ in range(3):
        claims = unverified_claims(service.issue().token)[1]
        token = claims.signed(service.issuer._key, kid="2024-key").text
        assert guard.validate(token).agent == "agent-a"
    assert len(service.server.requests) == before


@pytest.mark.parametrize(
    "reply",
    [as_json({}, 500), as_json({"keys": []}), Reply(raw=[b"HTTP"]), as_json({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": IDENTITY}]})],
    ids=["error", "empty", "cut", "small-order"],
)  # fmt: skip
def test_where_the_keys_cannot_be_had_those_of_before_stay(
    service: FakeService, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    anchors = made(service)
    ticks = ticking(anchors)
    guard = guard_of(service, anchors)
    known = service.issue()
    service.rotate()
    service.replies[JWKS] = lambda _: reply
    with caplog.at_level(logging.WARNING, "remit"):
        for _ in range(3):
            assert verdict(lambda: guard.check(known, "tool:use", {})) == "allowed"
            assert verdict(lambda: guard.check(service.issue(), "tool:use", {})) == "token_signature_invalid"
            ticks.now += 10
    assert len([message for message in caplog.messages if "cannot be read" in message]) == 1
    del service.replies[JWKS]

    def allowed() -> bool:
        ticks.now += 10  # whenever it is looked again, that is over
        return checked(guard, service.issue()) == "allowed"

    eventually(allowed)


def test_keys_that_moved_are_found_again(service: FakeService) -> None:
    anchors = made(service)
    ticks = ticking(anchors)
    service.replies[JWKS] = lambda _: as_json({}, 404)
    service.replies["/new"] = service.jwks
    service.replies[METADATA] = lambda _: as_json({"issuer": service.url, "jwks_uri": f"{service.url}/new"})
    service.rotate()
    new = service.issuer.anchor
    anchors.refresh(new.key.thumbprint)
    ticks.now += 10
    anchors.refresh(new.key.thumbprint)
    assert new in anchors.anchors()


def test_no_valid_token_is_refused_while_keys_rotate(service: FakeService) -> None:
    anchors = made(service)
    anchors._watched._ticks = iter(range(10**9)).__next__  # a second has always passed
    guard = guard_of(service, anchors)
    ended = threading.Event()

    def check() -> set[str]:
        found = set()
        while not ended.is_set():
            token = service.issue()
            found.add(checked(guard, token))
        return found

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(check) for _ in range(4)]
        for _ in range(10):
            service.rotate()
            known = len(service.server.requests)
            while len(service.server.requests) < known + 1:
                threading.Event().wait(0.001)
        ended.set()
        found = set().union(*[run.result(30) for run in running])
    assert found == {"allowed"}


async def test_an_event_loop_does_not_wait_for_keys(service: FakeService) -> None:
    anchors = made(service)
    ticking(anchors)
    guard = guard_of(service, anchors)
    let = threading.Event()

    def held(request: Any) -> Reply:
        let.wait(30)
        return service.jwks(request)

    service.replies[JWKS] = held
    service.rotate()

    async def tool() -> str:
        return "done"

    bound: Any = remit.bind_tool(tool, guard, service.issue(), capability="tool:use")
    calling = asyncio.create_task(bound())
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not calling.done()
    let.set()
    assert await calling == "done"
