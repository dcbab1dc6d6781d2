"""`POST /token` with client credentials: what the policy file grants a client, and no more."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from starlette.testclient import TestClient

import remit
from remit.keys import HolderKey
from remit.token import unverified_claims

from .oauth import OTHER, OTHER_SECRET, OTHER_SIGNED_IN, SIGNED_IN, Face, deployed, details, refused, served
from .support import CLIENT_SECRET, Clock, Deployment, credential_of, holder


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """One service for all these tests."""
    with served(deployed(tmp_path_factory.mktemp("oauth") / "deployment")) as made:
        yield made


@pytest.fixture
def client(face: Face) -> TestClient:
    return face.client()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fresh(tmp_path: Path, clock: Clock) -> Iterator[Face]:
    """A service that has issued nothing yet, for what is limited, with a clock that is set."""
    with served(deployed(tmp_path / "fresh"), clock=clock) as made:
        yield made


def request(**parameters: str) -> dict[str, str]:
    """A request that is good, for what is not limited, but for what is said otherwise; blank to leave out."""
    usual = {
        "grant_type": "client_credentials",
        **SIGNED_IN,
        "req_cnf": json.dumps({"jwk": holder().public.jwk}),
    }
    if not parameters.keys() & {"scope", "authorization_details", "client_id"}:
        usual["scope"] = "READ"
    return {name: value for name, value in {**usual, **parameters}.items() if value}


def tools_of(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    tools: dict[str, Any] = answer.json()["authorization_details"][0]["tools"]
    return tools


def test_a_client_gets_what_the_file_grants_it(fresh: Face) -> None:
    key = holder()
    answer = fresh.client().post(
        "/token", data=request(req_cnf=json.dumps({"jwk": key.public.jwk}), scope="")
    )
    body = answer.json()
    assert answer.status_code == 200
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    assert (body["token_type"], body["scope"]) == ("aat", "READ trades:propose prices:read orders:read")
    assert body["expires_in"] == 300
    claims = unverified_claims(body["access_token"])[1]
    assert (claims.agent, claims.depth, claims.max_depth) == ("pricing-agent", 0, 2)
    assert body["authorization_details"] == claims.payload()["authorization_details"]
    assert claims.limits == {"trades:propose": remit.Limit(max_uses=3)}
    credential = credential_of(body["access_token"], key)
    fresh.instance.guard.check(credential, "trades:propose", {"symbol": "ACME", "amount": 9})
    with pytest.raises(remit.Denied):
        fresh.instance.guard.check(credential, "trades:propose", {"symbol": "ACME", "amount": 1001})
    noted = fresh.instance.ledger.token(claims.id)
    assert noted is not None
    assert (noted.agent, noted.holder) == ("pricing-agent", key.public.thumbprint)


def test_a_client_may_ask_for_less(fresh: Face) -> None:
    client = fresh.client()
    narrow = {
        "symbol": {"constraint_type": "exact", "value": "ACME"},
        "amount": {"constraint_type": "range", "min": 1, "max": 5},
    }
    asked = details({"trades:propose": narrow})
    answer = client.post("/token", data=request(authorization_details=asked))
    assert tools_of(answer).keys() == {"trades:propose", "secret:BROKER_API_KEY"}
    assert tools_of(answer)["trades:propose"] == narrow
    assert unverified_claims(answer.json()["access_token"])[1].limits.keys() == {"trades:propose"}
    reading = client.post("/token", data=request(authorization_details=details({"prices:read": {}})))
    assert tools_of(reading) == {"prices:read": {}}
    assert unverified_claims(reading.json()["access_token"])[1].limits == {}


def test_a_client_may_ask_by_scope(fresh: Face, clock: Clock) -> None:
    client = fresh.client()
    assert tools_of(client.post("/token", data=request(scope="READ"))).keys() == {
        "prices:read",
        "orders:read",
    }
    mixed = client.post("/token", data=request(scope="orders:read trades:propose"))
    assert mixed.json()["scope"] == "orders:read trades:propose"
    clock.now += 300
    again = client.post("/token", data=request(scope=mixed.json()["scope"]))
    assert tools_of(again) == tools_of(mixed)


@pytest.mark.parametrize(
    "scope",
    [
        "USER",
        "users:read",
        "INPUT READ",
        "service:mailer",
        "READ  USER",
        " READ",
        'R"',
        "secret:BROKER_API_KEY",
        "read",
    ],
)
def test_a_scope_that_is_not_the_agents_is_refused(client: TestClient, scope: str) -> None:
    refused(client.post("/token", data=request(scope=scope)), "invalid_scope")


@pytest.mark.parametrize(
    "tools",
    [
        {"users:read": {}},
        {"prices:read": {}, "users:read": {}},
        {"trades:propose": {}},
        {"trades:propose": {"symbol": {"constraint_type": "exact", "value": "ACME"}}},
        {"trades:propose": {"symbol": {"constraint_type": "exact", "value": "EVIL"}, "amount": {"constraint_type": "range", "min": 1, "max": 5}}},
        {"secret:BROKER_API_KEY": {"tool": {"constraint_type": "wildcard"}}},
        {"secret:BROKER_API_KEY": {"tool": {"constraint_type": "one_of", "values": ["trades:propose"]}}},
        {"remit:exchange": {}},
        {"*": {}},
        {"": {}},
        {"prices:read": {"x": {"constraint_type": "regex", "value": ".*"}}},
        {"prices:read": []},
        {},
    ],
    ids=range(13),
)  # fmt: skip
def test_capabilities_beyond_the_file_are_refused(client: TestClient, tools: dict[str, Any]) -> None:
    refused(
        client.post("/token", data=request(authorization_details=details(tools))),
        "invalid_authorization_details",
    )


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "null",
        "1",
        "not json",
        '[{"type": "attenuating_agent_token"}]',
        '[{"type": "payment_initiation", "tools": {"prices:read": {}}}]',
        details({"prices:read": {}}, actions=["all"]),
        details({"prices:read": {}})[:-1] + "," + details({"prices:read": {}})[1:],
        '[{"type": "attenuating_agent_token", "tools": {"prices:read": {}, "prices:read": {}}}]',
        details({"prices:read": {}}) + ',"scope":"READ"',
        details({"prices:read": {}}) + ',"authorization_details":[]',
        details({"prices:read": {}}) + "}",
        "[" * 10_000,
        '{"a":' * 9_000,
        "[" * 150 + "]" * 150,
        "[" + "9" * 5_000 + "]",
        '[{"type": "attenuating_agent_token", "tools": {"prices:read": {"x": {"constraint_type": "exact", "value": NaN}}}}]',
        '["\\ud800"]',
    ],
    ids=range(19),
)  # fmt: skip
def test_details_that_are_none_are_refused(client: TestClient, text: str) -> None:
    refused(client.post("/token", data=request(authorization_details=text)), "invalid_authorization_details")


def test_details_and_scope_are_two_answers_to_one_question(client: TestClient) -> None:
    asked = request(authorization_details=details({"prices:read": {}}), scope="READ")
    refused(client.post("/token", data=asked), "invalid_request")


def test_what_the_file_binds_an_agent_to_stays(client: TestClient) -> None:
    asked = request(**OTHER_SIGNED_IN, scope="notes:write")
    claims = unverified_claims(client.post("/token", data=asked).json()["access_token"])[1]
    assert (claims.session, claims.task, claims.audience) == ("s-7", "t-7", ("https://tools.example",))
    assert (claims.delegate_only, claims.max_depth) == (("notes:write",), 1)
    assert claims.expires_at - claims.issued_at == 600


def test_one_client_cannot_have_what_another_is_granted(client: TestClient) -> None:
    refused(client.post("/token", data=request(**OTHER_SIGNED_IN, scope="READ")), "invalid_scope")
    refused(client.post("/token", data=request(client_id=OTHER)), "invalid_client", 401)
    refused(client.post("/token", data=request(client_secret=OTHER_SECRET)), "invalid_client", 401)
    asked = request(**OTHER_SIGNED_IN, authorization_details=details({"prices:read": {}}))
    refused(client.post("/token", data=asked), "invalid_authorization_details")
    own = client.post("/token", data=request(**OTHER_SIGNED_IN, sub="pricing-agent"))
    assert tools_of(own).keys() == {"users:read", "notes:write"}
    assert unverified_claims(own.json()["access_token"])[1].agent == OTHER


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("session", "s-7"), ("task", "t-7"), ("max_depth", "0"), ("expires_in", "5"), ("expires_in_seconds", "5"),
        ("not_before", "1999999999"), ("limits", '{"prices:read": {"max_uses": 1}}'), ("agent", "pricing-agent"),
        ("delegate_only", "prices:read"), ("secrets", "BROKER_API_KEY"), ("audience", "https://only.example"),
        ("resource", "https://only.example"),
    ],
)  # fmt: skip
def test_a_restriction_that_would_be_left_out_is_refused(client: TestClient, name: str, value: str) -> None:
    error = "invalid_target" if name in {"audience", "resource"} else "invalid_request"
    assert name in refused(client.post("/token", data=request(**{name: value})), error)["reason"]


def test_what_nobody_knows_is_ignored(client: TestClient) -> None:
    """As RFC 6749, Section 3.2, has it."""
    assert tools_of(client.post("/token", data=request(prompt="none", sub="x"))).keys() >= {"prices:read"}


def used_up(face: Face, token: str, key: HolderKey) -> int:
    """How often what is limited can be used with a token."""
    credential = credential_of(token, key)
    uses = 0
    with suppress(remit.LimitExceeded):
        while uses < 9:
            face.instance.guard.check(credential, "trades:propose", {"symbol": "ACME", "amount": 5})
            uses += 1
    return uses


def limited(**parameters: str) -> dict[str, str]:
    return request(scope="trades:propose", **parameters)


def refused_as_limited(answer: Any) -> None:
    body = refused(answer, "temporarily_unavailable", 429)
    assert body["code"] == "limit_exceeded"
    assert "when it expires, or ask without that capability" in body["reason"]
    assert 0 < int(answer.headers["retry-after"]) <= 60


def test_a_client_does_not_get_its_limits_anew(fresh: Face, clock: Clock) -> None:
    key = holder()
    first = credential_of(fresh.token(key, scope="trades:propose"), key)
    assert used_up(fresh, first.token, key) == 3
    narrow = {
        "symbol": {"constraint_type": "exact", "value": "ACME"},
        "amount": {"constraint_type": "range", "min": 1, "max": 5},
    }
    by_details = request(authorization_details=details({"trades:propose": narrow, "prices:read": {}}))
    for _ in range(2):
        for asked in (limited(), request(scope=""), request(scope="READ trades:propose"), by_details):
            refused_as_limited(fresh.client().post("/token", data=asked))
        clock.now += 299
        refused_as_limited(fresh.client().post("/token", data=limited()))
        clock.now += 1
        key = holder()
        assert used_up(fresh, fresh.token(key, scope="trades:propose"), key) == 3
    with pytest.raises(remit.Denied, match="expired"):
        fresh.instance.guard.check(first, "trades:propose", {"symbol": "ACME", "amount": 5})


def test_what_is_not_limited_is_had_at_any_time(fresh: Face) -> None:
    fresh.token(holder(), scope="trades:propose")
    for _ in range(3):
        fresh.token(holder(), scope="READ")
        assert fresh.client().post("/token", data=request(**OTHER_SIGNED_IN)).status_code == 200


@pytest.mark.parametrize("how", ["given back", "revoked", "its key"])
def test_a_limit_is_not_had_anew_for_a_token_that_was_revoked(fresh: Face, how: str) -> None:
    key = holder()
    token = fresh.token(key, scope="trades:propose")
    assert used_up(fresh, token, key) == 3
    if how == "given back":
        assert fresh.client().post("/revoke", data={**SIGNED_IN, "token": token}).status_code == 200
    elif how == "revoked":
        fresh.instance.guard.revoke(unverified_claims(token)[1].id)
    else:
        fresh.instance.guard.revoke_key(key.public.thumbprint)
    refused_as_limited(fresh.client().post("/token", data=limited()))


def test_of_many_that_ask_at_once_at_two_instances_one_gets_the_limits(fresh: Face, clock: Clock) -> None:
    with served(fresh.deployment, clock=clock) as second, ThreadPoolExecutor(8) as pool:
        clients = [face.client() for face in (fresh, second) for _ in range(8)]
        answers = list(pool.map(lambda client: client.post("/token", data=limited()), clients))
    assert sorted(answer.status_code for answer in answers) == [200] + [429] * 15


def test_a_limit_is_remembered_for_as_long_as_the_file_names_the_client(fresh: Face, clock: Clock) -> None:
    """Ledgers forget a counter a day after its expiry, also when it was charged since."""
    fresh.token(holder(), scope="trades:propose")
    clock.now += 86_400
    fresh.token(holder(), scope="trades:propose")
    clock.now += 299
    fresh.instance.ledger.purge(clock.now + 2)
    clock.now += 0.5
    refused_as_limited(fresh.client().post("/token", data=limited()))


def test_what_is_refused_for_another_reason_uses_up_nothing(fresh: Face) -> None:
    client = fresh.client()
    refused(client.post("/token", data=limited(req_cnf="{}")), "invalid_request")
    refused(client.post("/token", data=limited(session="s")), "invalid_request")
    refused(client.post("/token", data=limited(client_secret="x" * 40)), "invalid_client", 401)
    refused(client.post("/token", data=request(scope="trades:propose USER")), "invalid_scope")
    wider = {"trades:propose": {"symbol": {"constraint_type": "exact", "value": "ACME"}}}
    asked = request(authorization_details=details(wider))
    refused(client.post("/token", data=asked), "invalid_authorization_details")
    assert client.post("/token", data=limited()).status_code == 200


def test_a_ledger_that_takes_its_time_gives_nobody_more(
    fresh: Face, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token expires when the next may be issued, however long it took to count it."""
    commit, started = fresh.instance.ledger.commit, clock.now

    def slowly(*arguments: Any) -> None:
        commit(*arguments)
        clock.now += 100

    with monkeypatch.context() as patched:
        patched.setattr(fresh.instance.ledger, "commit", slowly)
        token = fresh.token(holder(), scope="trades:propose")
    assert unverified_claims(token)[1].expires_at == started + 300
    clock.now = started + 300
    with monkeypatch.context() as patched:
        patched.setattr(fresh.instance.ledger, "commit", lambda *_: setattr(clock, "now", clock.now + 300))
        answer = fresh.client().post("/token", data=limited())
    assert refused(answer, "temporarily_unavailable", 503)["code"] == "ledger_unavailable"


def test_nothing_limited_is_issued_when_the_ledger_cannot_count_it(
    fresh: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(fresh.instance.ledger, "commit", gone)
    answer = fresh.client().post("/token", data=limited())
    assert refused(answer, "temporarily_unavailable", 503)["code"] == "ledger_unavailable"
    assert fresh.client().post("/token", data=request()).status_code == 200


def test_clients_do_not_count_for_each_other(tmp_path: Path) -> None:
    """Also where the name of one and of what it may do read like those of another."""
    grants = (("a", "b:c"), ("a:b", "c"))
    tables = "".join(
        f'[agents."{agent}"]\nclient_secret = "env://PRICING_CLIENT_SECRET"\ncapabilities = ["{name}"]\n'
        f'limits."{name}" = {{ max_uses = 1 }}\n'
        for agent, name in grants
    )
    with served(Deployment.make(tmp_path / "two", policy=tables)) as face:
        for agent, _ in grants:
            asked = request(client_id=agent)
            assert face.client().post("/token", data=asked).status_code == 200
            refused_as_limited(face.client().post("/token", data=asked))


def test_after_an_agent_was_revoked_it_gets_no_token_that_is_dead_at_once(fresh: Face, clock: Clock) -> None:
    fresh.instance.guard.revoke_agent("pricing-agent", reason="compromised")
    client = fresh.client()
    for _ in range(2):
        answer = client.post("/token", data=limited())
        assert refused(answer, "temporarily_unavailable", 503)["code"] == "agent_revoked"
        clock.now += int(answer.headers["retry-after"]) - 1
    assert client.post("/token", data=request(**OTHER_SIGNED_IN)).status_code == 200
    clock.now += 1
    key = holder()
    token = fresh.token(key, scope="trades:propose")
    assert used_up(fresh, token, key) == 3
    assert client.post("/introspect", data={**SIGNED_IN, "token": token}).json()["active"] is True


def test_an_agent_that_was_revoked_elsewhere_gets_none_either(fresh: Face, clock: Clock) -> None:
    """Nor from the administrator."""
    with served(fresh.deployment, clock=clock) as second:
        second.instance.guard.revoke_agent("pricing-agent")
        answer = fresh.client().post("/token", data=request())
        assert refused(answer, "temporarily_unavailable", 503)["code"] == "agent_revoked"
        asked = {"agent": "pricing-agent", "subject_pubkey": holder().public.x}
        admins = second.client().post("/v1/tokens", json=asked, headers=fresh.deployment.headers)
        assert (admins.status_code, admins.json()["code"]) == (503, "agent_revoked")
        assert admins.headers["retry-after"] == "31"
        clock.now += 31
        admins = second.client().post("/v1/tokens", json=asked, headers=fresh.deployment.headers)
        assert admins.status_code == 200


def test_what_was_granted_may_be_asked_for_in_the_same_words(fresh: Face, clock: Clock) -> None:
    """Secrets that stand in it mean no more than what comes along."""
    first = fresh.client().post("/token", data=request(scope=""))
    assert "secret:BROKER_API_KEY" in tools_of(first)
    clock.now += 300
    granted = json.dumps(first.json()["authorization_details"])
    again = fresh.client().post("/token", data=request(authorization_details=granted))
    assert tools_of(again) == tools_of(first)
    reading = {name: tool for name, tool in tools_of(first).items() if name != "trades:propose"}
    less = fresh.client().post("/token", data=request(authorization_details=details(reading)))
    assert tools_of(less).keys() == {"prices:read", "orders:read"}


@pytest.mark.parametrize("secret", ["BROKER_API_KEY", "OTHER_KEY"])
@pytest.mark.parametrize(
    "sources", [["prices:read"], ["trades:propose", "prices:read"], ["nothing"]], ids=["else", "more", "none"]
)
def test_a_secret_beyond_the_file_is_refused(client: TestClient, secret: str, sources: list[str]) -> None:
    named = {"tool": {"constraint_type": "one_of", "values": sources}}
    asked = request(authorization_details=details({"prices:read": {}, f"secret:{secret}": named}))
    refused(client.post("/token", data=asked), "invalid_authorization_details")


PUBLIC: Final = holder().public.jwk
SMALL: Final = [
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "7P_______________________________________38",
    "7f_______________________________________38",
    "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
]


@pytest.mark.parametrize(
    "confirmation",
    [
        None,
        "",
        "not json",
        "[]",
        "{}",
        json.dumps(PUBLIC),
        json.dumps({"jwk": None}),
        json.dumps({"jwk": PUBLIC, "kid": "x"}),
        json.dumps({"jwk": PUBLIC, "jku": "https://evil.example"}),
        json.dumps({"jwk": holder().private_jwk()}),
        json.dumps({"jwk": {**PUBLIC, "d": ""}}),
        json.dumps({"jwk": {**PUBLIC, "kty": "oct", "k": "AAAA"}}),
        json.dumps({"jwk": {**PUBLIC, "crv": "X25519"}}),
        json.dumps({"jwk": {**PUBLIC, "x": PUBLIC["x"] + "="}}),
        json.dumps({"jwk": {**PUBLIC, "x": PUBLIC["x"][:-1]}}),
        json.dumps({"jwk": {**PUBLIC, "x": 7}}),
        '{"jwk": {"kty": "OKP", "kty": "OKP", "crv": "Ed25519", "x": "' + PUBLIC["x"] + '"}}',
        '{"jwk": ' + '{"jwk": ' * 5_000,
        *(json.dumps({"jwk": {**PUBLIC, "x": x}}) for x in SMALL),
    ],
    ids=range(24),
)  # fmt: skip
def test_a_key_that_is_no_sound_public_key_is_refused(client: TestClient, confirmation: str | None) -> None:
    body = refused(client.post("/token", data=request(req_cnf=confirmation or "")), "invalid_request")
    assert "req_cnf" in body["reason"]


def basic(name: str, secret: str) -> dict[str, str]:
    pair = f"{quote(name, safe='')}:{quote(secret, safe='')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def without_secret(**parameters: str) -> dict[str, str]:
    return request(client_id="", client_secret="", **parameters)


def test_a_client_may_sign_in_by_the_header(client: TestClient) -> None:
    assert (
        client.post(
            "/token", data=without_secret(), headers=basic("pricing-agent", CLIENT_SECRET)
        ).status_code
        == 200
    )
    assert client.post("/token", data=without_secret(), headers=basic(OTHER, OTHER_SECRET)).status_code == 200
    named = request(client_secret="")
    assert client.post("/token", data=named, headers=basic("pricing-agent", CLIENT_SECRET)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        basic("pricing-agent", "wrong")["Authorization"],
        basic("nobody", CLIENT_SECRET)["Authorization"],
        basic("", "")["Authorization"],
        basic("reader", CLIENT_SECRET)["Authorization"],
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic cHJpY2luZy1hZ2VudA==",
        "Basic " + b64encode(b"\xff\xfe:\xff").decode(),
        "Basic " + b64encode(b"%ff:%ff").decode(),
        "Basic " + "A" * 10_000,
        f"Bearer {CLIENT_SECRET}",
        "Digest x",
    ],
    ids=range(13),
)
def test_whoever_does_not_sign_in_learns_nothing(client: TestClient, header: str) -> None:
    answer = client.post("/token", data=without_secret(), headers={"Authorization": header})
    body = refused(answer, "invalid_client", 401)
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert body["reason"] == "There is no such client, or this is not its secret."


def test_an_unknown_client_and_a_wrong_secret_look_the_same(client: TestClient) -> None:
    wrong = client.post("/token", data=request(client_secret="x" * 40))
    unknown = client.post("/token", data=request(client_id="nobody"))
    no_client = client.post("/token", data=request(client_id="reader"))
    assert wrong.json() == unknown.json() == no_client.json()
    assert {wrong.status_code, unknown.status_code, no_client.status_code} == {401}


def test_two_ways_to_sign_in_at_once_are_refused(client: TestClient) -> None:
    signed = basic("pricing-agent", CLIENT_SECRET)
    refused(client.post("/token", data=request(), headers=signed), "invalid_request")
    other = request(client_id=OTHER, client_secret="")
    refused(client.post("/token", data=other, headers=signed), "invalid_request")


def test_the_admin_token_is_no_clients(client: TestClient, face: Face) -> None:
    refused(
        client.post("/token", data=without_secret(), headers=face.deployment.headers), "invalid_client", 401
    )


@pytest.mark.parametrize(
    "kind", ["password", "authorization_code", "refresh_token", "CLIENT_CREDENTIALS", "x\n"]
)
def test_other_grant_types_are_not_supported(client: TestClient, kind: str) -> None:
    refused(client.post("/token", data=request(grant_type=kind)), "unsupported_grant_type")


@pytest.mark.parametrize(
    "twice", ["scope=USER", "scope=READ", "req_cnf=%7B%7D", "client_id=x", "grant_type=x", "a=1"]
)
def test_a_parameter_stands_there_once(client: TestClient, twice: str) -> None:
    body = f"{urlencode(request(scope='READ', a='1'))}&{twice}"
    answer = client.post(
        "/token", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert "twice" in refused(answer, "invalid_request")["reason"]


@pytest.mark.parametrize("name", ["grant_type", "scope", "client_secret", "x"])
def test_a_parameter_stands_in_the_body(client: TestClient, name: str) -> None:
    refused(client.post(f"/token?{name}=READ", data=request()), "invalid_request")


def test_a_parameter_without_a_value_is_left_out(client: TestClient) -> None:
    refused(client.post("/token", data={**request(), "grant_type": ""}), "invalid_request")
    left_out = {"scope": "", "authorization_details": "", "session": ""}
    answer = client.post("/token", data={**request(**OTHER_SIGNED_IN), **left_out})
    assert "users:read" in tools_of(answer)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/x-www-form-urlencoded", 400),
        (b"grant_type", "application/x-www-form-urlencoded", 400),
        (b"\xff\xfe=1", "application/x-www-form-urlencoded", 400),
        (b"grant_type=%ff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % number for number in range(500)), "application/x-www-form-urlencoded", 400),
        (b'{"grant_type": "client_credentials"}', "application/json", 415),
        (b"grant_type=client_credentials", "text/plain", 415),
        (b"grant_type=client_credentials", "application/x-www-form-urlencoded; charset=utf-16", 415),
    ],
    ids=range(8),
)
def test_a_body_that_is_no_form_is_refused(
    client: TestClient, content: bytes, kind: str, status: int
) -> None:
    refused(client.post("/token", content=content, headers={"Content-Type": kind}), "invalid_request", status)


def test_nothing_is_issued_with_a_key_that_was_revoked(tmp_path: Path) -> None:
    with served(deployed(tmp_path / "deployment")) as face:
        face.instance.guard.revoke_key(face.instance.keys.issuer().anchor.key.thumbprint)
        body = refused(face.client().post("/token", data=request()), "temporarily_unavailable", 503)
    assert body["code"] == "key_revoked"


def test_nothing_is_issued_that_cannot_be_noted(
    client: TestClient, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(token: object) -> None:
        raise OSError("disk full, says postgres://user:password@db")

    monkeypatch.setattr(face.instance.ledger, "enroll", gone)
    answer = client.post("/token", data=request())
    assert refused(answer, "temporarily_unavailable", 503)["code"] == "ledger_unavailable"
    assert "password@" not in answer.text


def test_a_token_is_not_kept(client: TestClient, face: Face) -> None:
    token = client.post("/token", data=request()).json()["access_token"]
    signature = token.rpartition(".")[2].encode()
    kept = [path.read_bytes() for path in face.deployment.folder.rglob("*") if path.is_file()]
    assert len(kept) > 3
    assert not [content for content in kept if signature in content or CLIENT_SECRET.encode() in content]
