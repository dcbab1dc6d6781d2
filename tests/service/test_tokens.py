"""Issuing, revoking and listing tokens."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import remit
from remit.keys import HolderKey
from remit.token import unverified_claims

from .support import ADMIN, Clock, Deployment, client_of, credential_of, holder

DETAILS = "attenuating_agent_token"


def issued(
    client: TestClient, admin: dict[str, str] | None = None, /, **members: Any
) -> tuple[HolderKey, dict[str, Any]]:
    """A key, and what is answered when a token for it is asked for."""
    key = holder()
    response = client.post("/v1/tokens", headers=admin, json={"subject_pubkey": key.public.x, **members})
    assert response.status_code == 200, response.text
    return key, response.json()


def refusal(client: TestClient, admin: dict[str, str] | None = None, /, **members: Any) -> tuple[str, str]:
    """The code and the reason of a request that makes no sense."""
    asked = {"subject_pubkey": holder().public.x, **members}
    response = client.post("/v1/tokens", headers=admin, json=asked)
    assert response.status_code == 400, response.text
    body = response.json()
    assert set(body) == {"code", "reason"}
    return body["code"], body["reason"]


def test_the_answer_says_what_was_issued(deployment: Deployment, admin: dict[str, str]) -> None:
    clock = Clock()
    with deployment.client(clock=clock) as client:
        key, answer = issued(client, admin, agent="pricing-agent", scope="READ", expires_in_seconds=60)
    assert set(answer) == {"token", "token_id", "expires_at", "scope", "subject_pubkey", "agent"}
    _, claims = unverified_claims(answer["token"])
    assert answer["token_id"] == claims.id
    assert answer["expires_at"] == claims.expires_at == int(clock.now) + 60
    assert answer["subject_pubkey"] == key.public.x
    assert answer["agent"] == "pricing-agent"
    assert answer["scope"] == "READ orders:read prices:read"


def test_the_answer_is_cached_nowhere(client: TestClient, admin: dict[str, str]) -> None:
    asked = {"subject_pubkey": holder().public.x, "scope": "READ"}
    response = client.post("/v1/tokens", headers=admin, json=asked)
    assert response.headers["cache-control"] == "no-store"


def test_a_guard_elsewhere_takes_the_token_with_a_proof_by_the_key_alone(
    deployment: Deployment, client: TestClient, admin: dict[str, str]
) -> None:
    key, answer = issued(client, admin, agent="a", scope="READ")
    [path] = (deployment.folder / "anchors").iterdir()
    guard = remit.Guard([remit.TrustAnchor.load(path)])
    proof = credential_of(answer["token"], key).present("prices:read", {})
    assert guard.verify(proof, "prices:read", {}).agent == "a"
    with pytest.raises(remit.ConfigError):
        credential_of(answer["token"], holder())


def test_without_the_admin_token_nothing_is_issued(client: TestClient) -> None:
    asked = {"subject_pubkey": holder().public.x, "scope": "READ"}
    for headers in ({}, {"Authorization": "Bearer not-the-admin-token-but-another-one"}):
        response = client.post("/v1/tokens", headers=headers, json=asked)
        assert response.status_code == 401
        assert response.json()["code"] == "unauthorized"
        assert response.headers["www-authenticate"].startswith('Bearer realm="remit"')


def test_whoever_is_not_the_administrator_is_told_before_the_body_is_looked_at(client: TestClient) -> None:
    assert client.post("/v1/tokens", content=b"{{{{").status_code == 401


@pytest.mark.parametrize(
    ("scope", "answer"),
    [
        ("READ", "READ orders:read prices:read"),
        ("READ USER", "READ USER orders:read prices:read users:read"),
        (["READ", "INPUT"], "READ INPUT notes:write orders:read prices:read"),
        ("service:mailer", "service:mailer mail:send"),
        ("  READ  ", "READ orders:read prices:read"),
        (["READ", "READ"], "READ orders:read prices:read"),
    ],
)
def test_scopes_are_bundles_of_capabilities(shared: TestClient, scope: object, answer: str) -> None:
    assert issued(shared, scope=scope)[1]["scope"] == answer


@pytest.mark.parametrize(
    "scope",
    [
        "prices:read",  # a capability is no scope
        "trades:propose",
        "read",
        "READ ADMIN",
        "READ\tUSER",
        "READ\u00a0USER",
        "",
        "   ",
        [],
        [""],
        [["READ"]],
        [None],
        {"READ": 1},
        7,
        None,
        True,
        "*",
        "pricing-agent",
    ],
)
def test_an_unknown_scope_is_invalid(shared: TestClient, scope: object) -> None:
    assert refusal(shared, scope=scope)[0] == "invalid_scope"


def test_what_was_probably_meant_is_told(shared: TestClient) -> None:
    assert "did you mean 'READ'?" in refusal(shared, scope="REED")[1]
    assert "did you mean 'scope'?" in refusal(shared, scop="READ")[1]


def test_capabilities_can_be_asked_for_with_their_constraints(shared: TestClient) -> None:
    tools = {"trades:propose": {"amount": {"constraint_type": "range", "max": 9}}, "prices:read": {}}
    _, answer = issued(shared, authorization_details=[{"type": DETAILS, "tools": tools}])
    granted = unverified_claims(answer["token"])[1].tools or {}
    assert {name: capability.to_json() for name, capability in granted.items()} == tools
    assert answer["scope"] == "prices:read trades:propose"  # narrower than the scope, and named without it


def test_a_scope_is_named_where_it_is_covered_entirely(shared: TestClient) -> None:
    tools: dict[str, Any] = {"mail:send": {"to": {"constraint_type": "exact", "value": "a@acme.example"}}}
    details = [{"type": DETAILS, "tools": tools}]
    assert issued(shared, authorization_details=details)[1]["scope"] == "mail:send"
    tools["mail:send"] = {}
    assert issued(shared, authorization_details=details)[1]["scope"] == "service:mailer mail:send"


@pytest.mark.parametrize(
    "details",
    [
        [],
        {},
        None,
        "READ",
        [None],
        [{"type": DETAILS}],
        [{"type": DETAILS, "tools": {}}],
        [{"type": DETAILS, "tools": []}],
        [{"type": DETAILS, "tools": {"prices:read": None}}],
        [{"type": DETAILS, "tools": {"prices:read": []}}],
        [{"type": DETAILS, "tools": {"prices:read": {"symbol": {"constraint_type": "regex"}}}}],
        [{"type": DETAILS, "tools": {"prices:read": {"symbol": {}}}}],
        [{"type": DETAILS, "tools": {"prices:read": {"*": {"constraint_type": "exact", "value": 1}}}}],
        [{"type": DETAILS, "tools": {"admin:everything": {}}}],  # not in [capabilities]
        [{"type": DETAILS, "tools": {"*": {}}}],
        [{"type": DETAILS, "tools": {"": {}}}],
        [{"type": DETAILS, "tools": {"prices:read ": {}}}],
        [{"type": DETAILS, "tools": {"secret:BROKER_API_KEY": {}}}],
        [{"type": "payment_initiation", "tools": {"prices:read": {}}}],
        [{"tools": {"prices:read": {}}}],
        [{"type": DETAILS, "tools": {"prices:read": {}}, "locations": ["https://x.example"]}],
        [{"type": DETAILS, "tools": {"prices:read": {}}}, {"type": DETAILS, "tools": {"users:read": {}}}],
    ],
)
def test_details_that_make_no_sense_are_refused(shared: TestClient, details: object) -> None:
    assert refusal(shared, authorization_details=details)[0] == "invalid_authorization_details"


def test_a_scope_and_details_at_once_are_refused(shared: TestClient) -> None:
    details = [{"type": DETAILS, "tools": {"prices:read": {}}}]
    assert "not both" in refusal(shared, scope="READ", authorization_details=details)[1]


def test_without_either_an_agent_gets_what_the_policy_file_grants_it(shared: TestClient) -> None:
    _, answer = issued(shared, agent="pricing-agent")
    claims = unverified_claims(answer["token"])[1]
    assert set(claims.tools or {}) == {
        "trades:propose",
        "prices:read",
        "orders:read",
        "secret:BROKER_API_KEY",
    }
    assert claims.limits["trades:propose"].max_uses == 3
    assert claims.max_depth == 2
    assert claims.expires_at - claims.issued_at == 300


def test_what_is_asked_for_stands_before_what_the_policy_file_says(shared: TestClient) -> None:
    _, answer = issued(
        shared,
        agent="pricing-agent",
        expires_in_seconds=30,
        max_depth=0,
        session="s",
        secrets=["BROKER_API_KEY"],
    )
    claims = unverified_claims(answer["token"])[1]
    assert (claims.expires_at - claims.issued_at, claims.max_depth, claims.session) == (30, 0, "s")


def test_an_agent_that_is_not_in_the_file_needs_a_scope(shared: TestClient) -> None:
    assert "Name a scope" in refusal(shared, agent="nobody")[1]
    assert "Name a scope" in refusal(shared)[1]


def test_an_agent_without_a_name_is_called_by_its_key(shared: TestClient) -> None:
    key, answer = issued(shared, scope="READ")
    assert answer["agent"] == key.public.thumbprint


def test_terms_are_in_the_token(shared: TestClient) -> None:
    _, answer = issued(
        shared,
        agent="a",
        scope="READ service:mailer",
        session="s-1",
        task="t-1",
        audience=["https://one.example", "two"],
        max_depth=3,
        delegate_only=["mail:send"],
        secrets={"BROKER_API_KEY": ["prices:read"]},
        limits={
            "prices:read": {"max_uses": 2, "rate": "3/30s", "budget": {"amount": 7.5}},
            "orders:read": {"rate": {"uses": 4, "seconds": 60}},
        },
    )
    claims = unverified_claims(answer["token"])[1]
    assert (claims.session, claims.task, claims.max_depth) == ("s-1", "t-1", 3)
    assert claims.audience == ("https://one.example", "two")
    assert claims.delegate_only == ("mail:send",)
    assert "secret:BROKER_API_KEY" in (claims.tools or {})
    assert claims.limits["prices:read"].to_json() == {
        "max_uses": 2,
        "rate": {"uses": 3, "seconds": 30},
        "budget": {"amount": 7.5},
    }
    assert claims.limits["orders:read"].to_json() == {"rate": {"uses": 4, "seconds": 60}}


@pytest.mark.parametrize(
    "seconds", [0, -1, True, False, 60.0, 60.5, "60", "1m", None, [], 604_801, 10**12, 2**53 - 1]
)
def test_a_lifetime_is_whole_seconds_within_the_bounds(shared: TestClient, seconds: object) -> None:
    code, reason = refusal(shared, scope="READ", expires_in_seconds=seconds)
    assert code == "invalid_request"
    assert "expires_in_seconds must be a whole number from 1 to 604800" in reason


def test_the_policy_file_bounds_the_lifetime(tmp_path: Path) -> None:
    deployment = Deployment.make(tmp_path / "short", issuer='max_ttl = "5m"')
    with deployment.client() as client:
        _, answer = issued(client, deployment.headers, scope="READ")  # not the usual ten minutes
        claims = unverified_claims(answer["token"])[1]
        assert claims.expires_at - claims.issued_at == 300
        assert "from 1 to 300" in refusal(client, deployment.headers, scope="READ", expires_in_seconds=301)[1]


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"agent": ""}, "agent"),
        ({"agent": " a"}, "agent"),
        ({"agent": "a\nb"}, "agent"),
        ({"agent": "a\u0000"}, "agent"),
        ({"agent": "x" * 257}, "agent"),
        ({"agent": 7}, "agent"),
        ({"agent": None}, "agent"),
        ({"agent": ["a"]}, "agent"),
        ({"session": ""}, "session"),
        ({"session": None}, "session"),
        ({"task": 1}, "task"),
        ({"audience": []}, "audience"),
        ({"audience": [""]}, "audience"),
        ({"audience": {"a": 1}}, "audience"),
        ({"max_depth": -1}, "max_depth"),
        ({"max_depth": 9}, "max_depth"),
        ({"max_depth": True}, "max_depth"),
        ({"max_depth": 1.0}, "max_depth"),
        ({"max_depth": "1"}, "max_depth"),
        ({"secrets": ["NOBODY_KNOWS_IT"]}, "NOBODY_KNOWS_IT"),
        ({"secrets": []}, "secrets"),
        ({"secrets": "BROKER_API_KEY"}, "secrets"),
        ({"secrets": {"BROKER_API_KEY": []}}, "secrets"),
        ({"secrets": {"BROKER_API_KEY": ["trades:propose"]}}, "trades:propose"),
        ({"limits": {}}, "limits"),
        ({"limits": []}, "limits"),
        ({"limits": {"prices:read": {}}}, "limit"),
        ({"limits": {"prices:read": None}}, "limit"),
        ({"limits": {"prices:read": {"max_uses": 0}}}, "max_uses"),
        ({"limits": {"prices:read": {"max_uses": True}}}, "max_uses"),
        ({"limits": {"prices:read": {"max_uses": 1.0}}}, "max_uses"),
        ({"limits": {"prices:read": {"rate": "fast"}}}, "rate"),
        ({"limits": {"prices:read": {"rate": {"uses": 1}}}}, "rate"),
        ({"limits": {"prices:read": {"rate": {"uses": 1, "seconds": 0}}}}, "rate"),
        ({"limits": {"prices:read": {"rate": {"uses": 1, "seconds": 1}, "burst": 3}}}, "limit"),
        ({"limits": {"prices:read": {"budget": {}}}}, "budget"),
        ({"limits": {"prices:read": {"budget": {"amount": -1}}}}, "budget"),
        ({"limits": {"prices:read": {"budget": {"amount": "1"}}}}, "budget"),
        ({"limits": {"mail:send": {"max_uses": 1}}}, "mail:send"),
        ({"limits": {"prices:read": {"uses": 1}}}, "max_uses"),
        ({"delegate_only": []}, "delegate_only"),
        ({"delegate_only": [1]}, "delegate_only"),
        ({"not_before": 1}, "not_before"),
        ({"capabilities": ["prices:read"]}, "capabilities"),
        ({"expires_in": 60}, "expires_in"),
        ({"holder": {}}, "holder"),
    ],
)
def test_terms_that_make_no_sense_are_refused_by_name(
    shared: TestClient, members: dict[str, object], word: str
) -> None:
    code, reason = refusal(shared, **{"scope": "READ", **members})
    assert code == "invalid_request"
    assert word in reason


def test_a_capability_that_is_granted_by_delegate_only_alone_must_be_declared(shared: TestClient) -> None:
    members = {"scope": "READ", "max_depth": 1, "delegate_only": ["admin:everything"]}
    assert "admin:everything" in refusal(shared, **members)[1]


def test_the_token_is_nowhere_in_what_is_kept(deployment: Deployment, admin: dict[str, str]) -> None:
    with deployment.client() as client:
        _, answer = issued(client, admin, agent="pricing-agent")
        client.post("/v1/tokens/verify", json={"token": answer["token"]})
        kept = [path for path in deployment.folder.rglob("*") if path.is_file()]
        texts = {path.name: path.read_bytes() for path in kept}
    _, payload, signature = answer["token"].split(".")
    assert any(answer["token_id"].encode() in text for text in texts.values())  # its metadata is
    for name, text in texts.items():
        assert signature.encode() not in text, name
        assert payload.encode() not in text, name
        assert base64.urlsafe_b64decode(signature + "==") not in text, name


def test_a_revoked_token_is_refused_and_others_are_not(client: TestClient, admin: dict[str, str]) -> None:
    _, one = issued(client, admin, scope="READ")
    _, other = issued(client, admin, scope="READ")
    path = f"/v1/tokens/{one['token_id']}"
    first = client.request("DELETE", path, headers=admin, params={"reason": "lost"})
    assert first.json() == {"token_id": one["token_id"], "revoked": True, "already": False}
    again = client.delete(path, headers=admin)
    assert again.json() == {"token_id": one["token_id"], "revoked": True, "already": True}
    refused = client.post("/v1/tokens/verify", json={"token": one["token"]})
    assert (refused.status_code, refused.json()["code"]) == (401, "token_revoked")
    assert client.post("/v1/tokens/verify", json={"token": other["token"]}).status_code == 200


def test_only_the_administrator_revokes_and_lists(client: TestClient, admin: dict[str, str]) -> None:
    _, answer = issued(client, admin, scope="READ")
    assert client.delete(f"/v1/tokens/{answer['token_id']}").status_code == 401
    assert client.get("/v1/tokens").status_code == 401
    assert client.post("/v1/tokens/verify", json={"token": answer["token"]}).status_code == 200


@pytest.mark.parametrize("token_id", ["%20", "%00", "a%00b", "a%0ab", "%20a", "x" * 257, "%ff", "%ed%a0%80"])
def test_an_identifier_that_no_token_has_is_refused(shared: TestClient, token_id: str) -> None:
    response = shared.delete(f"/v1/tokens/{token_id}")
    assert response.status_code in {400, 404}
    assert set(response.json()) == {"code", "reason"}


@pytest.mark.parametrize(
    "query", ["reason=a&reason=b", "reason=%00", "reason=%ff", "why=x", "reason=" + "x" * 1001]
)
def test_a_reason_that_cannot_be_kept_is_refused(shared: TestClient, query: str) -> None:
    response = shared.delete(f"/v1/tokens/some-token?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


def test_the_list_is_paged_and_shows_metadata_alone(client: TestClient, admin: dict[str, str]) -> None:
    made = {issued(client, admin, scope="READ", agent=f"agent-{i % 3}")[1]["token_id"] for i in range(7)}
    client.delete(f"/v1/tokens/{min(made)}", headers=admin)
    seen: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(4):
        page = client.get(
            "/v1/tokens", headers=admin, params={"limit": 3, **({"cursor": cursor} if cursor else {})}
        )
        assert len(page.json()["tokens"]) <= 3
        seen += page.json()["tokens"]
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert cursor is None
    assert sorted(token["token_id"] for token in seen) == sorted(made)
    assert [token["token_id"] for token in seen if token["revoked"]] == [min(made)]
    assert "eyJ" not in str(seen)
    assert seen[0]["capabilities"] == ["prices:read", "orders:read"]


def test_the_tokens_of_one_agent_can_be_listed(client: TestClient, admin: dict[str, str]) -> None:
    made = [issued(client, admin, scope="READ", agent=f"agent-{i % 2}")[1]["token_id"] for i in range(6)]
    listed: list[str] = []
    cursor = ""
    while True:
        page = client.get(
            "/v1/tokens",
            headers=admin,
            params={"agent": "agent-1", "limit": 2, **({"cursor": cursor} if cursor else {})},
        ).json()
        listed += [token["token_id"] for token in page["tokens"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(listed) == sorted(made[1::2])


def test_a_token_of_an_agent_or_a_key_that_was_revoked_is_shown_as_such(
    deployment: Deployment, admin: dict[str, str]
) -> None:
    with deployment.instance() as instance:
        client = client_of(instance)
        _, one = issued(client, admin, scope="READ", agent="one")
        key, two = issued(client, admin, scope="READ", agent="two")
        _, three = issued(client, admin, scope="READ", agent="three")
        instance.guard.revoke_agent("one")
        instance.guard.revoke_key(key.public.thumbprint)
        tokens = client.get("/v1/tokens", headers=admin).json()["tokens"]
    shown = {token["token_id"]: token["revoked"] for token in tokens}
    assert shown == {one["token_id"]: True, two["token_id"]: True, three["token_id"]: False}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=1001", "limit=-1", "limit=1.0", "limit=٣", "limit=", "limit=01", "limit=1e2",
        "limit=1&limit=2", "cursor=", "cursor=AAAA", "cursor=e30", "cursor=" + "A" * 4000, "cursor=%00",
        "cursor=eyJlIjotMSwidCI6ImEifQ", "cursor=eyJlIjoxZTMsInQiOiJhIn0", "page=2", "agent",
    ],
)  # fmt: skip
def test_a_list_that_makes_no_sense_is_refused(shared: TestClient, query: str) -> None:
    response = shared.get(f"/v1/tokens?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


def test_a_revoked_signing_key_issues_nothing(deployment: Deployment, admin: dict[str, str]) -> None:
    with deployment.instance() as instance:
        client = client_of(instance)
        instance.guard.revoke_key(instance.keys.issuer().anchor.key.thumbprint)
        asked = {"subject_pubkey": holder().public.x, "scope": "READ"}
        response = client.post("/v1/tokens", headers=admin, json=asked)
    assert (response.status_code, response.json()["code"]) == (503, "key_revoked")


def test_a_ledger_that_does_not_answer_issues_nothing(deployment: Deployment, admin: dict[str, str]) -> None:
    with deployment.instance() as instance:
        client = client_of(instance)
        instance.ledger.close()
        (deployment.folder / "remit.db").unlink()
        (deployment.folder / "remit.db").mkdir()
        asked = {"subject_pubkey": holder().public.x, "scope": "READ"}
        for response in (
            client.post("/v1/tokens", headers=admin, json=asked),
            client.get("/v1/tokens", headers=admin),
            client.delete("/v1/tokens/some-token", headers=admin),
        ):
            assert (response.status_code, response.json()["code"]) == (503, "ledger_unavailable")


def test_nobody_administers_where_there_is_no_admin_token(tmp_path: Path) -> None:
    deployment = Deployment.make(tmp_path / "closed")
    deployment.path.write_text(
        deployment.path.read_text().replace('admin_token = "env://REMIT_ADMIN_TOKEN"\n', "")
    )
    with deployment.client() as client:
        for token in ("", ADMIN, "\0" * 32, "sha256:" + "0" * 64):
            headers = {"Authorization": f"Bearer {token}"}
            assert client.get("/v1/tokens", headers=headers).status_code == 401


def test_the_admin_token_may_be_known_by_its_hash_alone(deployment: Deployment) -> None:
    digest = hashlib.sha256(ADMIN.encode()).hexdigest()
    deployment.environment["REMIT_ADMIN_TOKEN"] = f"sha256:{digest}"
    with deployment.client() as client:
        assert client.get("/v1/tokens", headers={"Authorization": f"Bearer {ADMIN}"}).status_code == 200
        assert (
            client.get("/v1/tokens", headers={"Authorization": f"Bearer sha256:{digest}"}).status_code == 401
        )


OPEN = """
[scopes]
FEW = [{ capability = "trades:propose", arguments = { amount = { max = 10 } } }]
MANY = [{ capability = "trades:propose", arguments = { amount = { max = 1000 } } }]
"""


def test_scopes_that_contradict_one_another_are_refused(tmp_path: Path) -> None:
    deployment = Deployment.make(tmp_path / "open", policy=OPEN)
    with deployment.client() as client:
        assert issued(client, deployment.headers, scope="FEW")[1]["scope"] == "FEW trades:propose"
        code, reason = refusal(client, deployment.headers, scope="FEW MANY")
    assert code == "invalid_scope"
    assert "'trades:propose' with different arguments" in reason


def test_where_no_capabilities_are_declared_any_may_be_asked_for(tmp_path: Path) -> None:
    deployment = Deployment.make(tmp_path / "open", policy=OPEN)
    details = [{"type": DETAILS, "tools": {"anything:at-all": {}}}]
    with deployment.client() as client:
        answer = issued(client, deployment.headers, authorization_details=details)[1]
    assert answer["scope"] == "anything:at-all"
