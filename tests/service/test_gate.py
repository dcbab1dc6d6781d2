"""Who is let in, and how often somebody may fail."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote_plus

import pytest
from starlette.requests import Request

from remit.service import Instance
from remit.service.errors import ServiceError
from remit.service.gate import _KEPT, MAX_FAILED_VERIFICATIONS, MAX_FAILURES, Failures, Gate

from .support import ADMIN, CLIENT_SECRET, POLICY, Clock, Deployment, client_of


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


RAW: Final = "q1+Zr/8%2Babcdefghijklmnopqrstuvw=="
"""A secret in which something reads otherwise once it is decoded."""


@pytest.fixture
def odd(tmp_path: Path, ticks: Clock) -> Iterator[Gate]:
    """A gate for a client whose name and secret take some encoding."""
    table = '[agents."a+b %41"]\nclient_secret = "env://ODD_SECRET"\ncapabilities = ["prices:read"]\n'
    deployment = Deployment.make(tmp_path / "odd", policy=POLICY + table)
    deployment.environment["ODD_SECRET"] = RAW
    with deployment.instance() as made:
        yield Gate(made, ticks=ticks)


def test_a_secret_may_be_sent_as_it_is_or_encoded(odd: Gate) -> None:
    """RFC 6749 has it encoded; what most software sends is as RFC 7617 has it."""
    name = "a+b %41"
    for sent in (
        basic(name, RAW),
        basic(quote_plus(name), quote_plus(RAW)),
        basic(quote(name), quote(RAW, "")),
    ):
        assert odd.client(request(sent), {}).name == name
        assert odd.client(request(sent), {"client_id": name}).name == name
        assert status(odd, "client", request(sent), {"client_id": "pricing-agent"}) == 400
    decoded = basic(unquote_plus(name), unquote_plus(RAW))
    assert status(odd, "client", request(decoded), {}) == 401
    assert status(odd, "client", request(basic(name, quote_plus(RAW))), {}) == 401


def test_a_secret_that_reads_in_two_ways_fails_once(odd: Gate) -> None:
    for _ in range(MAX_FAILURES):
        assert status(odd, "client", request(basic("a+b %41", "x+%41")), {}) == 401
    assert status(odd, "client", request(basic("a+b %41", RAW)), {}) == 429
    assert status(odd, "client", request(basic(quote_plus("a+b %41"), quote_plus(RAW))), {}) == 429
    assert status(odd, "client", request(basic("a+b %41", RAW), address="192.0.2.9"), {}) == 200


def test_two_readings_that_fail_are_one_failure(odd: Gate) -> None:
    for _ in range(MAX_FAILURES - 1):
        assert status(odd, "client", request(basic("a+b %41", "x+%41")), {}) == 401
    assert status(odd, "client", request(basic("a+b %41", RAW)), {}) == 200


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
    for way, form in (("admin", ()), ("admin_or_client", ({},)), ("signed_in", (ADMIN,))):
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
    form = {"client_id": "pricing-agent", "client_secret": "wrong"}
    for _ in range(MAX_FAILURES // 2):
        assert status(gate, "admin", request("Bearer wrong")) == 401
        assert gate.signed_in(request(), "wrong") is False
        assert status(gate, "client", request(basic("pricing-agent", "wrong")), {}) == 401
        assert status(gate, "client", request(), form) == 401
    assert status(gate, "admin", request(f"Bearer {ADMIN}")) == 429
    assert status(gate, "client", request(basic("pricing-agent", CLIENT_SECRET)), {}) == 429
    assert status(gate, "client", request(), {**form, "client_secret": CLIENT_SECRET}) == 429


def test_a_client_that_fails_keeps_out_nobody_else(gate: Gate) -> None:
    gate._salt = b"under which these two names are counted by themselves"
    for _ in range(MAX_FAILURES):
        assert status(gate, "client", request(basic("broken-agent", "wrong")), {}) == 401
    assert status(gate, "client", request(basic("broken-agent", "wrong")), {}) == 429
    assert status(gate, "client", request(basic("pricing-agent", CLIENT_SECRET)), {}) == 200
    assert status(gate, "admin", request(f"Bearer {ADMIN}")) == 200
    assert gate.signed_in(request(), ADMIN) is True


def test_who_guesses_the_admin_token_keeps_out_no_client(gate: Gate) -> None:
    fail(gate, MAX_FAILURES)
    assert status(gate, "client", request(basic("pricing-agent", CLIENT_SECRET)), {}) == 200


def test_a_pause_does_not_tell_whether_there_is_such_a_client(gate: Gate) -> None:
    for name in ("pricing-agent", "reader", "nobody"):
        found = [status(gate, "client", request(basic(name, "wrong")), {}) for _ in range(MAX_FAILURES + 1)]
        assert found == [401] * MAX_FAILURES + [429], name


def test_however_many_names_fail_the_memory_is_bounded(gate: Gate) -> None:
    for i in range(2000):
        status(gate, "client", request(basic(f"name-{i}", "wrong")), {})
    assert len(gate._failures._times) <= 256
    assert status(gate, "client", request(basic("name-of-none-of-them", "wrong")), {}) in {401, 429}
    assert status(gate, "admin", request(f"Bearer {ADMIN}")) == 200


def test_verifications_that_fail_are_counted_by_themselves(gate: Gate, ticks: Clock) -> None:
    for _ in range(MAX_FAILED_VERIFICATIONS):
        assert status(gate, "verifier", request()) == 200
        gate.failed_verification(request())
    assert status(gate, "verifier", request()) == 429
    with pytest.raises(ServiceError) as caught:
        gate.verifier(request())
    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "60"})
    assert status(gate, "verifier", request(address="192.0.2.2")) == 200
    assert status(gate, "admin", request(f"Bearer {ADMIN}")) == 200
    ticks.now += 60
    assert status(gate, "verifier", request()) == 200


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
    for i in range(_KEPT + 500):
        failures.note(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}")
    assert len(failures._times) == _KEPT


def test_over_http_it_says_when_to_try_again(instance: Instance) -> None:
    client = client_of(instance, address="198.51.100.7")
    for _ in range(MAX_FAILURES):
        assert client.get("/v1/tokens", headers={"Authorization": "Bearer wrong"}).status_code == 401
    response = client.get("/v1/tokens", headers={"Authorization": f"Bearer {ADMIN}"})
    assert (response.status_code, response.json()["code"]) == (429, "too_many_failures")
    assert 0 < int(response.headers["retry-after"]) <= 60
    assert client.get("/healthz").status_code == 200  # what needs no sign-in goes on


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke", "/v1/tokens", "/v1/tokens/verify"])
def test_a_page_of_another_site_gets_nothing_done(instance: Instance, path: str) -> None:
    """A form of it can be posted without asking anybody, and would count as a failure from the victim's address."""
    client = client_of(instance, address="198.51.100.8")
    form = {"client_id": "pricing-agent", "client_secret": "wrong", "grant_type": "client_credentials"}
    for _ in range(MAX_FAILURES + 1):
        response = client.post(path, data=form, headers={"Sec-Fetch-Site": "cross-site"})
        assert (response.status_code, response.json()["code"]) == (403, "cross_site")
    answer = client.post("/token", data={**form, "client_secret": CLIENT_SECRET})
    assert answer.status_code == 400  # it is let in, and asks for nothing that makes sense


def test_nor_is_anything_revoked_for_it(instance: Instance) -> None:
    client = client_of(instance, address="198.51.100.8")
    headers = {"Authorization": f"Bearer {ADMIN}", "Sec-Fetch-Site": "cross-site"}
    assert client.delete("/v1/tokens/one", headers=headers).json()["code"] == "cross_site"
    assert (
        client.delete("/v1/tokens/one", headers=[*headers.items(), ("Sec-Fetch-Site", "none")]).status_code
        == 403
    )
    assert (
        client.get("/v1/tokens", headers=headers).status_code == 200
    )  # what is read, nobody else's page sees
    for site in ("same-origin", "none"):
        headers["Sec-Fetch-Site"] = site
        assert client.delete("/v1/tokens/one", headers=headers).status_code == 200


def test_on_the_oauth_face_that_is_said_in_its_words(instance: Instance) -> None:
    response = client_of(instance).post("/token", data={}, headers={"Sec-Fetch-Site": "cross-site"})
    assert response.json()["error"] == "invalid_request"
