"""Who is let in, and how often somebody may fail."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request

from remit.service import Instance
from remit.service.errors import ServiceError
from remit.service.gate import _ADDRESSES, MAX_FAILURES, Failures, Gate

from .support import ADMIN, CLIENT_SECRET, Clock, Deployment, client_of


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    deployment = Deployment.make(tmp_path_factory.mktemp("gate") / "deployment")
    with deployment.instance() as made:
        yield made


@pytest.fixture
def ticks() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def gate(instance: Instance, ticks: Clock) -> Gate:
    return Gate(instance, ticks=ticks)


def request(*authorization: str | bytes, address: str | None = "192.0.2.1") -> Request:
    """A request with so many Authorization headers, from an address."""
    lines = [value.encode("latin-1") if isinstance(value, str) else value for value in authorization]
    return Request(
        {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [(b"authorization", line) for line in lines],
            "client": None if address is None else (address, 1),
        }
    )


def status(gate: Gate, way: str, asked: Request, *form: Any) -> int:
    """The status with which somebody is sent away; 200 when they are let in."""
    try:
        getattr(gate, way)(asked, *form)
    except ServiceError as error:
        return error.status if error.status != 401 or "WWW-Authenticate" in error.headers else 0
    return 200


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ((f"Bearer {ADMIN}",), 200),
        ((f"bearer {ADMIN}",), 200),
        ((f"BEARER   {ADMIN}  ",), 200),
        ((), 401),
        (("",), 401),
        (("Bearer",), 401),
        (("Bearer ",), 401),
        ((f"Bearer{ADMIN}",), 401),
        ((f"Bearer {ADMIN}x",), 401),
        ((f"Bearer {ADMIN[:-1]}",), 401),
        ((f"Bearer {ADMIN} {ADMIN}",), 401),
        ((f"Bearer {ADMIN.upper()}",), 401),
        ((f"Bearer\t{ADMIN}",), 401),
        ((f"Token {ADMIN}",), 401),
        ((ADMIN,), 401),
        ((f"Basic {ADMIN}",), 401),
        ((basic("admin", ADMIN),), 401),
        ((f"Bearer {ADMIN}, Bearer {ADMIN}",), 401),
        ((f"Bearer {ADMIN}", f"Bearer {ADMIN}"), 401),
        ((f"Bearer {ADMIN}", "Bearer x"), 401),
        ((f"Bearer {ADMIN}\0",), 401),
        ((b"Bearer \xff\xfe",), 401),
        ((b"\xff",), 401),
        (("Bearer " + "x" * 100_000,), 401),
        (("Bearer sha256:" + "0" * 64,), 401),
    ],
    ids=range(25),
)
def test_the_admin_token_and_nothing_else_lets_in(
    gate: Gate, authorization: tuple[str | bytes, ...], expected: int
) -> None:
    assert status(gate, "admin", request(*authorization)) == expected


def test_a_client_signs_in_by_the_header_or_by_the_body(gate: Gate) -> None:
    assert gate.client(request(basic("pricing-agent", CLIENT_SECRET)), {}).name == "pricing-agent"
    assert gate.client(request(basic("pricing%2Dagent", CLIENT_SECRET)), {}).name == "pricing-agent"
    form = {"client_id": "pricing-agent", "client_secret": CLIENT_SECRET}
    assert gate.client(request(), form).name == "pricing-agent"
    both_names = gate.client(request(basic("pricing-agent", CLIENT_SECRET)), {"client_id": "pricing-agent"})
    assert both_names.name == "pricing-agent"


@pytest.mark.parametrize(
    ("authorization", "form", "expected"),
    [
        ((), {}, 401),
        ((), {"client_id": "pricing-agent"}, 401),
        ((), {"client_secret": CLIENT_SECRET}, 401),
        ((), {"client_id": "pricing-agent", "client_secret": ""}, 401),
        ((), {"client_id": "pricing-agent", "client_secret": "wrong"}, 401),
        ((), {"client_id": "nobody", "client_secret": CLIENT_SECRET}, 401),
        ((), {"client_id": "reader", "client_secret": ""}, 401),  # an agent that has no secret
        ((), {"client_id": "", "client_secret": ""}, 401),
        ((basic("pricing-agent", "wrong"),), {}, 401),
        ((basic("reader", ""),), {}, 401),
        ((basic("", ""),), {}, 401),
        (("Basic",), {}, 401),
        (("Basic !!!!",), {}, 401),
        (("Basic " + base64.b64encode(b"no-colon").decode(),), {}, 401),
        (("Basic " + base64.b64encode(b"\xff:\xff").decode(),), {}, 401),
        ((basic("pricing%FFagent", CLIENT_SECRET),), {}, 401),
        ((basic("pricing-agent", CLIENT_SECRET) + "=",), {}, 401),
        ((f"Bearer {ADMIN}",), {}, 401),
        ((basic("pricing-agent", CLIENT_SECRET),) * 2, {}, 401),
        ((basic("pricing-agent", CLIENT_SECRET),), {"client_secret": CLIENT_SECRET}, 400),
        ((basic("pricing-agent", CLIENT_SECRET),), {"client_id": "reader"}, 400),
    ],
    ids=range(21),
)
def test_whoever_is_no_client_is_not_let_in(
    gate: Gate, authorization: tuple[str, ...], form: dict[str, str], expected: int
) -> None:
    assert status(gate, "client", request(*authorization), form) == expected


def test_an_unknown_client_and_a_wrong_secret_look_the_same(gate: Gate) -> None:
    def said(name: str, secret: str) -> tuple[object, ...]:
        with pytest.raises(ServiceError) as caught:
            gate.client(request(basic(name, secret)), {})
        return caught.value.status, caught.value.code, caught.value.reason, caught.value.headers

    assert said("nobody", "x") == said("pricing-agent", "x") == said("reader", "x")


def test_the_administrator_or_a_client(gate: Gate) -> None:
    assert gate.admin_or_client(request(f"Bearer {ADMIN}"), {}) is None
    agent = gate.admin_or_client(request(basic("pricing-agent", CLIENT_SECRET)), {})
    assert agent is not None
    assert agent.name == "pricing-agent"
    assert status(gate, "admin_or_client", request("Bearer wrong"), {}) == 401
    assert status(gate, "admin_or_client", request(), {}) == 401


def fail(gate: Gate, times: int, address: str = "192.0.2.1") -> None:
    for _ in range(times):
        assert status(gate, "admin", request("Bearer wrong", address=address)) == 401


def test_after_20_failures_nothing_from_there_is_looked_at_for_a_while(gate: Gate, ticks: Clock) -> None:
    fail(gate, MAX_FAILURES)
    for way, form in (("admin", ()), ("client", ({},)), ("admin_or_client", ({},)), ("signed_in", (ADMIN,))):
        assert status(gate, way, request(f"Bearer {ADMIN}"), *form) == 429, way
    with pytest.raises(ServiceError) as caught:
        gate.admin(request(f"Bearer {ADMIN}"))
    assert caught.value.headers["Retry-After"] == "60"
    assert status(gate, "admin", request(f"Bearer {ADMIN}", address="192.0.2.2")) == 200
    ticks.now += 59.5
    assert status(gate, "admin", request(f"Bearer {ADMIN}")) == 429
    ticks.now += 0.5
    assert status(gate, "admin", request(f"Bearer {ADMIN}")) == 200


def test_failures_are_counted_in_any_minute_and_not_in_each(gate: Gate, ticks: Clock) -> None:
    fail(gate, MAX_FAILURES - 1)
    ticks.now += 59
    fail(gate, 1)
    assert status(gate, "admin", request(f"Bearer {ADMIN}")) == 429
    ticks.now += 1
    fail(gate, MAX_FAILURES - 1)  # those of a minute ago count no more, the last one does
    assert status(gate, "admin", request(f"Bearer {ADMIN}")) == 429


def test_what_was_not_tried_is_no_failure(gate: Gate) -> None:
    for _ in range(50):
        assert status(gate, "admin", request()) == 401
        assert status(gate, "client", request(), {}) == 401
        assert status(gate, "admin", request(f"Bearer {ADMIN}")) == 200


def test_every_way_to_sign_in_counts(gate: Gate) -> None:
    for _ in range(MAX_FAILURES // 4):
        assert status(gate, "admin", request("Bearer wrong")) == 401
        assert status(gate, "client", request(basic("pricing-agent", "wrong")), {}) == 401
        assert status(gate, "client", request(), {"client_id": "a", "client_secret": "b"}) == 401
        assert gate.signed_in(request(), "wrong") is False
    assert status(gate, "admin", request(f"Bearer {ADMIN}")) == 429


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::1", "::2", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("a-socket", "a-socket", True),
        ("", "", True),
    ],
)
def test_an_ipv6_network_is_one_address(gate: Gate, one: str, other: str, same: bool) -> None:
    fail(gate, MAX_FAILURES, one)
    assert status(gate, "admin", request(f"Bearer {ADMIN}", address=other)) == (429 if same else 200)


def test_a_request_without_an_address_is_counted_too(gate: Gate) -> None:
    for _ in range(MAX_FAILURES):
        assert status(gate, "admin", request("Bearer wrong", address=None)) == 401
    assert status(gate, "admin", request(f"Bearer {ADMIN}", address=None)) == 429


def test_however_many_addresses_fail_the_memory_is_bounded(ticks: Clock) -> None:
    failures = Failures(ticks)
    for i in range(_ADDRESSES + 500):
        failures.note(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}")
    assert len(failures._times) == _ADDRESSES


def test_over_http_it_says_when_to_try_again(instance: Instance) -> None:
    client = client_of(instance, address="198.51.100.7")
    for _ in range(MAX_FAILURES):
        assert client.get("/v1/tokens", headers={"Authorization": "Bearer wrong"}).status_code == 401
    response = client.get("/v1/tokens", headers={"Authorization": f"Bearer {ADMIN}"})
    assert (response.status_code, response.json()["code"]) == (429, "too_many_failures")
    assert 0 < int(response.headers["retry-after"]) <= 60
    assert client.get("/healthz").status_code == 200  # what needs no sign-in goes on
