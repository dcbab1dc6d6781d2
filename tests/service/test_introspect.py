"""`POST /introspect` (RFC 7662): a token is active where all of its chain is, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import remit
from remit.exchange import Exchange
from remit.keys import HolderKey
from remit.token import unverified_claims
from remit.trust import FixedAnchors
from remit.verify import ChainVerifier

from .oauth import OTHER_SIGNED_IN, SIGNED_IN, Face, deployed, refused, served
from .support import URI, Clock

INACTIVE = {"active": False}


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """One service for all these tests."""
    with served(deployed(tmp_path_factory.mktemp("introspect") / "deployment")) as made:
        yield made


@pytest.fixture
def client(face: Face) -> TestClient:
    return face.client()


def introspected(client: TestClient, token: str | remit.Credential, **parameters: str) -> dict[str, Any]:
    """What is said of a token, or of the chain of a credential."""
    text = token if isinstance(token, str) else json.dumps(list(token.chain))
    answer = client.post("/introspect", data={**SIGNED_IN, "token": text, **parameters})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    said: dict[str, Any] = answer.json()
    return said


def test_a_root_token_is_active(face: Face, client: TestClient) -> None:
    held = face.credential(scope="READ trades:propose")
    claims = unverified_claims(held.token)[1]
    assert introspected(client, held.token) == {
        "active": True,
        "scope": "READ orders:read prices:read trades:propose",
        "client_id": "pricing-agent",
        "sub": "pricing-agent",
        "token_type": "aat",
        "exp": claims.expires_at,
        "iat": claims.issued_at,
        "iss": URI,
        "jti": held.token_id,
        "cnf": {"jwk": claims.holder.jwk},
        "authorization_details": claims.payload()["authorization_details"],
        "limits": {"trades:propose": [{"jti": held.token_id, "max_uses": 3}]},
        "chain": [held.token_id],
    }


def test_a_derived_token_is_told_with_its_chain(face: Face, client: TestClient) -> None:
    root = face.issue(
        "prices:read", "orders:read", max_depth=2, session="s-1", audience=["https://a", "https://b"]
    )
    leaf = root.delegate("b", ["prices:read"], ttl="1m", task="t-1", audience="https://b")
    said = introspected(client, leaf)
    assert said["active"] is True
    assert (said["client_id"], said["sub"], said["iss"]) == ("agent-a", "b", URI)
    assert (said["jti"], said["chain"]) == (leaf.token_id, [root.token_id, leaf.token_id])
    assert (said["sid"], said["task"], said["aud"]) == ("s-1", "t-1", "https://b")
    assert (said["scope"], said["exp"]) == ("prices:read", int(leaf.expires_at.timestamp()))
    presented = json.dumps(leaf.present("prices:read", {}).to_dict())
    assert introspected(client, presented) == said


def test_a_child_alone_is_not_active(face: Face, client: TestClient) -> None:
    root = face.issue(max_depth=2)
    leaf = root.delegate("b", ["prices:read"], max_depth=1)
    deeper = leaf.delegate("c", ["prices:read"])
    for tokens in (
        [leaf.token],
        [leaf.token, root.token],
        [root.token, deeper.token],
        [leaf.token, deeper.token],
        [root.token, root.token],
        [root.token, leaf.token, leaf.token],
    ):
        assert introspected(client, json.dumps(tokens)) == INACTIVE
    assert introspected(client, leaf.token) == INACTIVE
    assert introspected(client, json.dumps([root.token, leaf.token, deeper.token]))["active"] is True


@pytest.mark.parametrize("which", ["token", "agent", "key"])
def test_a_descendant_of_what_was_revoked_is_not_active(face: Face, client: TestClient, which: str) -> None:
    root = face.issue(agent=f"root-{which}", max_depth=2)
    leaf = root.delegate("b", ["prices:read"])
    assert introspected(client, leaf)["active"] is True
    with served(face.deployment) as second:  # revoked by one instance, and told so by another at once
        if which == "token":
            second.instance.guard.revoke(root.token_id)
        elif which == "agent":
            second.instance.guard.revoke_agent(root.agent)
        else:
            second.instance.guard.revoke_key(unverified_claims(root.token)[1].holder.thumbprint)
    assert introspected(client, leaf) == INACTIVE
    assert introspected(client, root) == INACTIVE


def test_a_token_is_active_within_its_window(tmp_path: Path) -> None:
    clock = Clock()
    with served(deployed(tmp_path / "deployment"), clock=clock) as face:
        opens = datetime.fromtimestamp(clock.now + 60, UTC)
        held = face.issue(not_before=opens, ttl="1m")
        assert introspected(face.client(), held) == INACTIVE
        clock.now += 60
        said = introspected(face.client(), held)
        assert (said["active"], said["nbf"]) == (True, int(clock.now))
        clock.now += 60
        assert introspected(face.client(), held) == INACTIVE


def test_what_may_only_be_passed_on_is_not_in_the_scope(face: Face, client: TestClient) -> None:
    said = introspected(
        client, face.issue("prices:read", "orders:read", delegate_only=["orders:read"], max_depth=1)
    )
    assert (said["scope"], said["delegate_only"]) == ("prices:read", ["orders:read"])


def tools_of(said: dict[str, Any]) -> dict[str, Any]:
    [entry] = said["authorization_details"]
    assert entry.keys() == {"type", "tools"}
    tools: dict[str, Any] = entry["tools"]
    return tools


def test_what_may_only_be_passed_on_is_not_in_the_details(face: Face, client: TestClient) -> None:
    """Nor is a secret that could be resolved with it; also where a token before says so."""
    root = face.issue(
        "prices:read",
        "orders:read",
        "users:read",
        delegate_only=["orders:read"],
        secrets={"A": ["prices:read", "orders:read"], "B": ["orders:read"]},
        max_depth=2,
    )
    own = root.delegate("agent-a", ["prices:read", "orders:read"], secrets=["A", "B"], max_depth=1)
    secret = {"tool": {"constraint_type": "one_of", "values": ["prices:read"]}}
    assert tools_of(introspected(client, root)) == {"prices:read": {}, "users:read": {}, "secret:A": secret}
    said = introspected(client, own)
    assert tools_of(said) == {"prices:read": {}, "secret:A": secret}
    assert (said["scope"], said["delegate_only"]) == ("prices:read", ["orders:read"])
    others = own.delegate("b", ["prices:read", "orders:read"], secrets=["A", "B"])
    said = introspected(client, others)
    assert tools_of(said).keys() == {"prices:read", "orders:read", "secret:A", "secret:B"}
    assert "delegate_only" not in said
    for credential in (root, own, others):
        guard = face.instance.guard
        allowed = {
            name
            for name in ("prices:read", "orders:read", "users:read")
            if guard.explain(credential, name, {}).allowed
        }
        told = {name for name in tools_of(introspected(client, credential)) if not name.startswith("secret:")}
        assert told == allowed


def test_a_token_with_which_nothing_can_be_done_grants_nothing(face: Face, client: TestClient) -> None:
    said = introspected(client, face.issue("prices:read", delegate_only=["prices:read"], max_depth=1))
    assert (said["active"], said["scope"], tools_of(said)) == (True, "", {})


def test_the_limits_of_all_tokens_are_told(face: Face, client: TestClient) -> None:
    """What a chain leaves of a capability takes all of them."""
    first = {"prices:read": remit.Limit(max_uses=5), "orders:read": remit.Limit(rate="3/m")}
    root = face.issue("prices:read", "orders:read", "users:read", limits=first, max_depth=2)
    between = root.delegate("b", ["prices:read", "users:read"], max_depth=1)
    narrower = {"prices:read": remit.Limit(max_uses=2, budget={"amount": 1.5})}
    leaf = between.delegate("c", ["prices:read", "users:read"], limits=narrower)
    assert introspected(client, leaf)["limits"] == {
        "prices:read": [
            {"jti": root.token_id, "max_uses": 5},
            {"jti": leaf.token_id, "max_uses": 2, "budget": {"amount": 1.5}},
        ]
    }
    assert introspected(client, root)["limits"]["orders:read"] == [
        {"jti": root.token_id, "rate": {"uses": 3, "seconds": 60}}
    ]
    assert "limits" not in introspected(client, face.issue())


def test_a_chain_that_no_enforcement_point_takes_is_not_active(face: Face, client: TestClient) -> None:
    root = face.issue(audience="https://a", max_depth=1)
    assert introspected(client, root.delegate("b", ["prices:read"], audience="https://b")) == INACTIVE


def test_a_token_whose_kid_names_another_key_is_not_active(face: Face, client: TestClient) -> None:
    forger, victim = HolderKey.generate(), face.instance.keys.issuer().anchor.key.thumbprint
    claims = unverified_claims(face.issue().token)[1]
    assert introspected(client, claims.signed(forger, kid=victim).text) == INACTIVE
    assert introspected(client, claims.signed(forger, kid=forger.public.thumbprint).text) == INACTIVE
    assert introspected(client, claims.signed(forger).text) == INACTIVE


@pytest.mark.parametrize(
    "text",
    ["x", "a.b.c", "[]", "{}", "[", "{", "null", "[7]", '["x"]', '[["x"]]', '{"aat_chain": {}}', '{"aat_chain": "x"}',
     '[],"aat_pop":1', '["a"],"aat_chain":["b"]', "[" * 10_000, '{"a":' * 9_000, "A" * 400_000, '["' + "A" * 300_000 + '"]', "\x00", "é.é.é",
     '["' + '","'.join("abc") + '"]', '["a.b.c"]' * 2, "eyJhbGciOiJub25lIn0.e30."],
    ids=range(23),
)  # fmt: skip
def test_what_is_no_token_is_not_active(client: TestClient, text: str) -> None:
    assert introspected(client, text) == INACTIVE


def test_whoever_asks_signs_in(face: Face, client: TestClient) -> None:
    token = face.issue().token
    answer = client.post("/introspect", data={"token": token})
    refused(answer, "invalid_client", 401)
    refused(
        client.post("/introspect", data={"token": token, **SIGNED_IN, "client_secret": "x" * 40}),
        "invalid_client",
        401,
    )
    wrong = client.post("/introspect", data={"token": token}, headers={"Authorization": "Bearer wrong"})
    refused(wrong, "invalid_token", 401)
    assert wrong.headers["www-authenticate"].startswith("Bearer ")
    told = client.post("/introspect", data={"token": token}, headers=face.deployment.headers)
    assert told.json()["active"] is True
    assert introspected(client, token, **OTHER_SIGNED_IN)["active"] is True
    bearer = client.post("/introspect", data={"token": token}, headers={"Authorization": f"Bearer {token}"})
    refused(bearer, "invalid_token", 401)


def test_a_token_is_needed(client: TestClient) -> None:
    refused(client.post("/introspect", data=SIGNED_IN), "invalid_request")
    refused(client.post("/introspect", data={**SIGNED_IN, "token": ""}), "invalid_request")
    refused(client.post("/introspect?token=x", data={**SIGNED_IN, "token": "x"}), "invalid_request")


def test_a_hint_changes_nothing(face: Face, client: TestClient) -> None:
    assert introspected(client, face.issue(), token_type_hint="refresh_token")["active"] is True


def test_nobody_says_that_a_token_is_active_when_the_ledger_does_not_answer(
    face: Face, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = face.issue().token
    assert introspected(client, token)["active"] is True  # so that it has just been asked

    def gone() -> None:
        raise OSError("gone")

    monkeypatch.setattr(face.instance.ledger, "position", gone)
    body = refused(
        client.post("/introspect", data={**SIGNED_IN, "token": token}), "temporarily_unavailable", 503
    )
    assert body["code"] == "ledger_unavailable"
    assert introspected(client, "x") == INACTIVE


def test_where_an_exchanged_token_comes_from_is_told(face: Face, client: TestClient) -> None:
    held = face.issue(max_depth=2).delegate("somebody", ["prices:read"], max_depth=1)
    issuer = face.instance.keys.issuer()
    chain = ChainVerifier(FixedAnchors([issuer.anchor]), 86_400).verify(held.chain)
    made = issuer.exchange(
        Exchange.asked(chain, ["prices:read"], holder=HolderKey.generate().public.jwk, agent="worker")
    )
    said = introspected(client, made)
    assert (said["active"], said["client_id"], said["sub"]) == (True, "agent-a", "worker")
    face.instance.guard.revoke(held.token_id)
    assert introspected(client, made) == INACTIVE
