"""`POST /token` with token exchange (RFC 8693): whoever proves to hold a chain gets less of it, for another key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.testclient import TestClient

import remit
from remit.audit import AuditRecord, read_log
from remit.cli.rotation import rotate_key
from remit.keys import HolderKey
from remit.token import Claims, unverified_claims

from .oauth import (
    OTHER,
    SIGNED_IN,
    TYPE,
    Face,
    confirmation,
    deployed,
    details,
    exchange_proof,
    refused,
    served,
)
from .support import URI, Clock, credential_of, holder

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
PRESENTATION: Final = "urn:remit:params:oauth:token-type:presentation"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
TOOL: Final = "remit:exchange"
READ: Final[dict[str, Any]] = {"prices:read": {}}


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """One service for all these tests."""
    with served(deployed(tmp_path_factory.mktemp("exchange") / "deployment")) as made:
        yield made


@pytest.fixture
def client(face: Face) -> TestClient:
    return face.client()


def asked(key: HolderKey, **parameters: str) -> dict[str, str]:
    """The parameters of an exchange for `key`, but for the subject token; blank to leave out."""
    usual = {
        "grant_type": GRANT,
        "subject_token_type": PRESENTATION,
        "req_cnf": confirmation(key),
        "authorization_details": details(READ),
    }
    return {name: value for name, value in {**usual, **parameters}.items() if value}


def exchange(
    held: remit.Credential, key: HolderKey | None = None, /, *, named: str = URI, **parameters: str
) -> dict[str, str]:
    """A whole request, as the holder of `held` makes it, with a proof for the service that is `named`."""
    key = key or holder()
    form = asked(key, **parameters)
    return {**form, "subject_token": exchange_proof(held, form, key, audience=named)}


def exchanged(client: TestClient, held: remit.Credential, **parameters: str) -> remit.Credential:
    """What `held` is exchanged for."""
    key = holder()
    answer = client.post("/token", data=exchange(held, key, **parameters))
    assert answer.status_code == 200, answer.text
    return credential_of(answer.json()["access_token"], key)


def claims_of(credential: remit.Credential) -> Claims:
    return unverified_claims(credential.token)[1]


def records(face: Face) -> list[AuditRecord]:
    """What a service has recorded so far."""
    lines = read_log(face.deployment.folder / "audit.jsonl")
    return [entry.record for entry in lines if entry.record is not None]


def code(call: Any, *arguments: Any) -> str:
    with pytest.raises(remit.Denied) as caught:
        call(*arguments)
    return caught.value.code


def test_a_chain_is_exchanged(face: Face, client: TestClient) -> None:
    held = face.issue("prices:read", "orders:read", max_depth=2).delegate("b", ["prices:read"], max_depth=1)
    key = holder()
    answer = client.post("/token", data=exchange(held, key, agent="worker"))
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    assert (body["issued_token_type"], body["token_type"], body["scope"]) == (JWT, "aat", "prices:read")
    assert body["authorization_details"] == [{"type": TYPE, "tools": READ}]
    assert 590 <= body["expires_in"] <= 600
    made = credential_of(body["access_token"], key)
    claims = claims_of(made)
    assert (claims.agent, claims.issuer, claims.depth, claims.max_depth) == ("worker", URI, 0, 0)
    face.instance.guard.check(made, "prices:read", {})
    assert code(face.instance.guard.check, made, "orders:read", {}) == "capability_missing"


def test_whoever_has_but_the_tokens_gets_nothing(face: Face, client: TestClient) -> None:
    held, thief = face.issue(max_depth=2), holder()
    stolen = json.dumps({"aat_chain": list(held.chain)})
    for token in (
        held.token,
        json.dumps([held.token]),
        json.dumps({"aat_chain": [held.token], "aat_pop": ""}),
        stolen,
    ):
        refused(client.post("/token", data={**asked(thief), "subject_token": token}), "invalid_request")
    own = remit.Issuer.generate(URI).issue("thief", ["prices:read"], max_depth=2)
    form = asked(thief)
    proof = json.loads(exchange_proof(own, form, thief, audience=URI))["aat_pop"]
    forged = json.dumps({"aat_chain": [held.token], "aat_pop": proof})
    body = refused(client.post("/token", data={**form, "subject_token": forged}), "invalid_request")
    assert body["code"] == "proof_invalid"


def test_a_proof_is_good_once_at_all_instances(face: Face, client: TestClient) -> None:
    request = exchange(face.issue(max_depth=2))
    with served(face.deployment) as second:
        assert client.post("/token", data=request).status_code == 200
        for again in (client, second.client(), face.client()):
            assert refused(again.post("/token", data=request), "invalid_request")["code"] == "proof_replayed"


def test_of_many_at_once_one_is_answered(face: Face) -> None:
    request = exchange(face.issue(max_depth=2))

    def statuses(client: TestClient) -> int:
        return client.post("/token", data=request).status_code

    with served(face.deployment) as second, ThreadPoolExecutor(8) as pool:
        clients = [one.client() for one in (face, second) for _ in range(8)]
        assert sorted(pool.map(statuses, clients)) == [200] + [400] * 15


def test_what_nobody_knows_is_ignored(face: Face, client: TestClient) -> None:
    made = exchanged(client, face.issue(max_depth=2), prompt="none", client_assertion_type="x")
    assert made.agent == "agent-a"


def test_a_proof_is_for_this_request_alone(face: Face, client: TestClient) -> None:
    held, thief = face.issue("prices:read", "orders:read", max_depth=3), holder()
    request = exchange(held, scope="prices:read", authorization_details="")
    changed = [
        {"req_cnf": confirmation(thief)},
        {"scope": "prices:read orders:read"},
        {"scope": "", "authorization_details": details({"orders:read": {}})},
        {"agent": "thief"},
        {"max_depth": "1"},
        {"expires_in_seconds": "600"},
        {"audience": "https://thief.example"},
        {"session": "s"},
        {"anything": "else"},
    ]
    for change in changed:
        form = {name: value for name, value in {**request, **change}.items() if value}
        assert refused(client.post("/token", data=form), "invalid_request")["code"] == "proof_invalid"
    assert client.post("/token", data=request).status_code == 200


@pytest.mark.parametrize("audience", [None, "https://tools.example", "https://auth.acme.example/token"])
def test_a_proof_names_this_service(face: Face, client: TestClient, audience: Any) -> None:
    answer = client.post("/token", data=exchange(face.issue(max_depth=2), named=audience))
    assert refused(answer, "invalid_request")["code"] == "audience_mismatch"


@pytest.mark.parametrize("tool", ["prices:read", "exchange", "xremit:exchange", "REMIT:EXCHANGE"])
def test_a_proof_for_a_tool_is_none_for_an_exchange(face: Face, client: TestClient, tool: str) -> None:
    held, key = face.issue(max_depth=2), holder()
    form = asked(key)
    proof = held.present(tool, {**form, "req_cnf": key.public.thumbprint}, audience=URI)
    answer = client.post("/token", data={**form, "subject_token": json.dumps(proof.to_dict())})
    assert refused(answer, "invalid_request")["code"] == "proof_invalid"


def test_a_proof_for_an_exchange_is_none_for_a_tool(face: Face) -> None:
    """The tool of an exchange is granted to nobody, so no guard takes its proofs; and no model has them made."""
    held = face.issue(max_depth=2)
    presentation = held.present_for_exchange({}, audience=URI)
    assert code(face.instance.guard.verify, presentation, TOOL, {}) == "capability_missing"
    with pytest.raises(remit.ConfigError):
        held.present(TOOL, {}, audience=URI)
    with pytest.raises(remit.ConfigError):
        face.issue(TOOL)
    answer = face.client().post("/token", data=exchange(held, authorization_details=details({TOOL: {}})))
    refused(answer, "invalid_authorization_details")


def test_a_proof_is_made_about_now(tmp_path: Path) -> None:
    clock = Clock()
    with served(deployed(tmp_path / "deployment"), clock=clock) as face:
        held = face.issue(max_depth=2)
        early, late = exchange(held), exchange(held)
        clock.now += 30
        assert face.client().post("/token", data=early).status_code == 200
        clock.now += 1
        assert refused(face.client().post("/token", data=late), "invalid_request")["code"] == "proof_invalid"
        assert refused(face.client().post("/token", data=early), "invalid_request")["code"] == "proof_invalid"


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"subject_token_type": ""}, "invalid_request"),
        ({"subject_token_type": JWT}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"actor_token": "x", "actor_token_type": JWT}, "invalid_request"),
        ({"authorization_details": ""}, "invalid_request"),
        ({"scope": "prices:read"}, "invalid_request"),
        ({"authorization_details": details({"orders:read": {}})}, "invalid_authorization_details"),
        ({"authorization_details": details({"secret:KEY": {}})}, "invalid_authorization_details"),
        ({"authorization_details": "[["}, "invalid_authorization_details"),
        ({"authorization_details": "", "scope": "READ"}, "invalid_scope"),
        ({"authorization_details": "", "scope": "USER"}, "invalid_scope"),
        ({"authorization_details": "", "scope": "nothing"}, "invalid_scope"),
        ({"resource": "https://tools.example"}, "invalid_target"),
        ({"limits": '{"prices:read": {"max_uses": 1}}'}, "invalid_request"),
        ({"delegate_only": "prices:read"}, "invalid_request"),
        ({"not_before": "1999999999"}, "invalid_request"),
        ({"secrets": "BROKER_API_KEY"}, "invalid_request"),
        ({"expires_in": "5"}, "invalid_request"),
        ({"audience": "https://else.example"}, "invalid_target"),
        ({"expires_in_seconds": "601"}, "invalid_request"),
        ({"expires_in_seconds": "0"}, "invalid_request"),
        ({"expires_in_seconds": "-1"}, "invalid_request"),
        ({"expires_in_seconds": "1e3"}, "invalid_request"),
        ({"expires_in_seconds": "٣"}, "invalid_request"),
        ({"max_depth": "2"}, "invalid_request"),
        ({"max_depth": "9"}, "invalid_request"),
        ({"session": "s-2"}, "invalid_request"),
        ({"task": " "}, "invalid_request"),
        ({"agent": "a\nb"}, "invalid_request"),
        ({"agent": "x" * 300}, "invalid_request"),
    ],
    ids=range(30),
)  # fmt: skip
def test_more_than_the_chain_gives_is_refused(
    face: Face, client: TestClient, parameters: dict[str, str], error: str
) -> None:
    held = face.issue(max_depth=2, session="s-1", audience="https://tools.example")
    refused(client.post("/token", data=exchange(held, **parameters)), error)


def test_a_refusal_does_not_use_up_a_proof(face: Face, client: TestClient) -> None:
    """It is recorded as a denial, and not as a call that was allowed."""
    held = face.issue(max_depth=2)
    request = exchange(held, authorization_details=details({"orders:read": {}}))
    for _ in range(2):
        refused(client.post("/token", data=request), "invalid_authorization_details")
    told = [r for r in records(face) if r.token_id == held.token_id]
    assert [(r.event, r.allowed, r.capability) for r in told if r.event == "decision"] == [
        ("decision", False, TOOL)
    ] * 2


def test_what_is_limited_or_held_back_is_not_exchanged(face: Face, client: TestClient) -> None:
    limited = face.credential(scope="trades:propose prices:read")
    narrow = {
        "symbol": {"constraint_type": "exact", "value": "ACME"},
        "amount": {"constraint_type": "exact", "value": 1},
    }
    wanted = {"authorization_details": details({"trades:propose": narrow})}
    refused(client.post("/token", data=exchange(limited, **wanted)), "invalid_authorization_details")
    exchanged(client, limited)
    held_back = face.issue("prices:read", delegate_only=["prices:read"], max_depth=2)
    refused(client.post("/token", data=exchange(held_back)), "invalid_authorization_details")


def test_depth_is_used_up(face: Face, client: TestClient) -> None:
    refused(client.post("/token", data=exchange(face.issue())), "invalid_request")
    held = face.issue(max_depth=2)
    once = exchanged(client, held, max_depth="1")
    twice = exchanged(client, once)
    refused(client.post("/token", data=exchange(twice)), "invalid_request")


def test_the_key_is_a_new_one(face: Face, client: TestClient) -> None:
    key = holder()
    held = credential_of(face.token(key), key)
    assert "no part" in refused(client.post("/token", data=exchange(held, key)), "invalid_request")["reason"]
    second = holder()
    answer = client.post("/token", data=exchange(held, second, max_depth="1"))
    once = credential_of(answer.json()["access_token"], second)
    refused(client.post("/token", data=exchange(once, key)), "invalid_request")


def test_secrets_come_along_with_their_tools(face: Face, client: TestClient) -> None:
    held = face.issue("prices:read", "orders:read", secrets={"BROKER_API_KEY": ["orders:read"]}, max_depth=2)
    assert exchanged(client, held).secrets == ()
    both = exchanged(client, held, authorization_details="", scope="READ")
    assert both.secrets == ("BROKER_API_KEY",)
    assert (
        code(lambda: face.instance.guard.resolve_secret(both, "BROKER_API_KEY", tool="prices:read"))
        == "secret_denied"
    )


def test_what_the_chain_is_bound_to_stays(face: Face, client: TestClient) -> None:
    audience = ["https://tools.example", "https://more.example"]
    held = face.issue(max_depth=3, session="s-1", audience=audience)
    leaf = held.delegate("b", ["prices:read"], task="t-1", ttl="2m", max_depth=2)
    claims = claims_of(exchanged(client, leaf, audience="https://more.example"))
    assert (claims.session, claims.task, claims.audience) == ("s-1", "t-1", ("https://more.example",))
    assert claims.expires_at == int(leaf.expires_at.timestamp())
    shorter = claims_of(exchanged(client, leaf, expires_in_seconds="30"))
    assert shorter.expires_at - shorter.issued_at == 30


def test_nobody_has_the_issuer_sign_the_name_of_a_client(face: Face, client: TestClient) -> None:
    """A holder names its children as it likes; the issuer vouches for no such name."""
    held = face.issue(max_depth=3)
    for agent in ("pricing-agent", "reader", OTHER):
        assert (
            "another"
            in refused(client.post("/token", data=exchange(held, agent=agent)), "invalid_request")["reason"]
        )
    posing = held.delegate("pricing-agent", ["prices:read"], max_depth=2)
    refused(client.post("/token", data=exchange(posing)), "invalid_request")
    assert exchanged(client, posing, agent="worker").agent == "worker"
    own = face.credential()
    once = exchanged(client, own, max_depth="1")
    assert once.agent == "pricing-agent"
    assert exchanged(client, once, agent="pricing-agent").agent == "pricing-agent"


def test_nobody_poses_as_an_agent_that_they_descend_from(face: Face, client: TestClient) -> None:
    """The issuer signs the name of a client only where nobody else had a part in the chain."""
    own = face.issue(agent="pricing-agent", max_depth=4)
    stranger = own.delegate("untrusted-x", ["prices:read"], max_depth=3)
    for agent in ("pricing-agent", OTHER):
        told = refused(client.post("/token", data=exchange(stranger, agent=agent)), "invalid_request")
        assert "another" in told["reason"]
    posing = stranger.delegate("pricing-agent", ["prices:read"], max_depth=2)
    told = refused(client.post("/token", data=exchange(posing)), "invalid_request")
    assert "name another in agent" in told["reason"]
    assert exchanged(client, stranger).agent == "untrusted-x"
    assert exchanged(client, posing, agent="worker").agent == "worker"


def test_nobody_poses_as_whom_an_exchange_began_with(face: Face, client: TestClient) -> None:
    own = face.issue(agent="pricing-agent", max_depth=4)
    stranger = own.delegate("untrusted-x", ["prices:read"], max_depth=3)
    once = exchanged(client, stranger, agent="worker", max_depth="1")
    refused(client.post("/token", data=exchange(once, agent="pricing-agent")), "invalid_request")
    own_child = own.delegate("pricing-agent", ["prices:read"], max_depth=3)
    again = exchanged(client, own_child, max_depth="1")
    assert again.agent == exchanged(client, again).agent == "pricing-agent"


def test_nothing_is_exchanged_that_is_revoked_at_once(tmp_path: Path) -> None:
    """A holder may date what it derives 30 seconds ahead, after the revocation of its agent."""
    clock = Clock()
    with served(deployed(tmp_path / "deployment"), clock=clock) as face:
        held = face.issue(max_depth=3)
        early = exchange(held, agent="worker")
        face.instance.guard.revoke_agent("worker")
        answer = face.client().post("/token", data=early)
        assert refused(answer, "temporarily_unavailable", 503)["code"] == "agent_revoked"
        assert answer.headers["retry-after"] == "31"
        child_key = holder()
        child = claims_of(held.delegate("worker", ["prices:read"], holder=child_key.public.jwk, max_depth=2))
        child.issued_at += 40
        clock.now += 20
        root_key = HolderKey.from_jwk(held._to_members()["holder_key"])  # type: ignore[arg-type]
        ahead = remit.Credential.from_token(
            [held.token, child.signed(root_key).text], holder_key=child_key.private_jwk(), clock=clock
        )
        face.instance.guard.check(ahead, "prices:read", {})
        answer = face.client().post("/token", data=exchange(ahead, agent="other"))
        assert refused(answer, "temporarily_unavailable", 503)["code"] == "agent_revoked"
        clock.now += 11
        made = exchanged(face.client(), ahead, agent="other")
        face.instance.guard.check(made, "prices:read", {})


def test_what_was_granted_may_be_asked_for_in_the_same_words(face: Face, client: TestClient) -> None:
    """Secrets that stand in it mean no more than what comes along."""
    held = face.issue("prices:read", "orders:read", secrets={"BROKER_API_KEY": ["orders:read"]}, max_depth=3)
    granted = json.dumps(claims_of(held).payload()["authorization_details"])
    made = exchanged(client, held, authorization_details=granted, max_depth="1")
    assert claims_of(made).payload()["authorization_details"] == json.loads(granted)
    tools = json.loads(granted)[0]["tools"]
    del tools["orders:read"]
    assert exchanged(client, held, authorization_details=details(tools)).secrets == ()


@pytest.mark.parametrize(
    "values", [["orders:read", "prices:read"], ["users:read"], ["*"]], ids=["wider", "another", "any"]
)
def test_a_secret_beyond_the_chain_is_refused(face: Face, client: TestClient, values: list[str]) -> None:
    held = face.issue("prices:read", "orders:read", secrets={"BROKER_API_KEY": ["orders:read"]}, max_depth=2)
    for name in ("BROKER_API_KEY", "OTHER_KEY"):
        tools = {
            "prices:read": {},
            "orders:read": {},
            f"secret:{name}": {"tool": {"constraint_type": "one_of", "values": values}},
        }
        answer = client.post("/token", data=exchange(held, authorization_details=details(tools)))
        refused(answer, "invalid_authorization_details")


def test_a_secret_that_is_to_come_along_less_is_refused(face: Face, client: TestClient) -> None:
    held = face.issue("prices:read", "orders:read", secrets=["BROKER_API_KEY"], max_depth=2)
    tools = {
        "prices:read": {},
        "orders:read": {},
        "secret:BROKER_API_KEY": {"tool": {"constraint_type": "exact", "value": "orders:read"}},
    }
    answer = client.post("/token", data=exchange(held, authorization_details=details(tools)))
    assert "leave it out" in refused(answer, "invalid_authorization_details")["reason"]


@pytest.mark.parametrize("which", ["token", "agent", "key"])
@pytest.mark.parametrize("link", [0, 1])
def test_a_revocation_of_the_chain_reaches_what_it_was_exchanged_for(
    face: Face, client: TestClient, which: str, link: int
) -> None:
    guard = face.instance.guard
    held = face.issue(max_depth=4, agent=f"root-{which}-{link}")
    leaf = held.delegate(f"leaf-{which}-{link}", ["prices:read"], max_depth=3)
    once = exchanged(client, leaf, agent="w1", max_depth="1")
    twice = exchanged(client, once, agent="w2")
    for made in (once, twice):
        guard.check(made, "prices:read", {})
    claims = claims_of((held, leaf)[link])
    if which == "token":
        guard.revoke(claims.id)
    elif which == "agent":
        guard.revoke_agent(claims.agent_name)
    else:
        guard.revoke_key(claims.holder.thumbprint)
    for made in (once, twice):
        assert code(guard.check, made, "prices:read", {}) == "token_revoked"
    for gone in (leaf, once):
        answer = client.post("/token", data=exchange(gone, agent="w3"))
        assert refused(answer, "invalid_request")["code"] == "token_revoked"


def test_a_revocation_at_one_instance_stops_exchanges_at_another(face: Face) -> None:
    held = face.issue(max_depth=2)
    with served(face.deployment) as second:
        assert second.client().post("/token", data=exchange(held)).status_code == 200
        face.instance.guard.revoke(held.token_id)
        answer = second.client().post("/token", data=exchange(held))
        assert refused(answer, "invalid_request")["code"] == "token_revoked"


def test_a_key_that_is_compromised_takes_what_was_exchanged_with_it(tmp_path: Path) -> None:
    """Forged with a stolen key, exchanged for a token that the new key signs, and revoked with the old one."""
    with served(deployed(tmp_path / "deployment")) as face:
        held = face.issue(max_depth=2)
        rotation = rotate_key(face.instance.config)
        made = exchanged(face.client(), held)
        assert unverified_claims(made.token)[0].header.kid == rotation.kid
        face.instance.guard.check(made, "prices:read", {})
        face.instance.guard.revoke_key(rotation.previous)
        assert code(face.instance.guard.check, made, "prices:read", {}) == "token_revoked"
        answer = face.client().post("/token", data=exchange(held))
        assert refused(answer, "invalid_request")["code"] == "token_revoked"
        face.instance.guard.check(face.issue(), "prices:read", {})


def test_only_what_this_issuer_has_issued_is_exchanged(tmp_path: Path) -> None:
    made = deployed(tmp_path / "deployment")
    partner = remit.Issuer.generate("https://partner.example")
    partner.anchor.save(made.folder / "anchors" / "partner.json")
    with served(made) as face:
        theirs = partner.issue("a", ["prices:read"], max_depth=2)
        face.instance.guard.check(theirs, "prices:read", {})
        answer = face.client().post("/token", data=exchange(theirs))
        assert "this issuer" in refused(answer, "invalid_request")["reason"]
        stranger = remit.Issuer.generate(URI).issue("a", ["prices:read"], max_depth=2)
        assert (
            refused(face.client().post("/token", data=exchange(stranger)), "invalid_request")["code"]
            == "token_signature_invalid"
        )


def test_a_nonce_is_one_of_this_service(tmp_path: Path) -> None:
    with served(deployed(tmp_path / "deployment", service="require_nonce = true")) as face:
        held, key = face.issue(max_depth=2), holder()
        form = asked(key)
        without = refused_with_nonce(face, exchange_proof(held, form, key, audience=URI), form)
        wrong = exchange_proof(held, form, key, audience=URI, nonce="made-up")
        assert refused_with_nonce(face, wrong, form) != without
        good = exchange_proof(held, form, key, audience=URI, nonce=without)
        answer = face.client().post("/token", data={**form, "subject_token": good})
        assert answer.status_code == 200, answer.text


def refused_with_nonce(face: Face, presentation: str, form: dict[str, str]) -> str:
    answer = face.client().post("/token", data={**form, "subject_token": presentation})
    assert "nonce" in refused(answer, "invalid_request")["reason"]
    nonce: str = answer.headers["remit-nonce"]
    return nonce


def test_whoever_signs_in_beside_a_proof_does_so_rightly(face: Face, client: TestClient) -> None:
    held = face.issue(max_depth=2)
    assert client.post("/token", data={**exchange(held), **SIGNED_IN}).status_code == 200
    wrong = {**exchange(held), "client_id": "pricing-agent", "client_secret": "x" * 40}
    refused(client.post("/token", data=wrong), "invalid_client", 401)


@pytest.mark.parametrize(
    "text",
    ["x", "{}", "[]", "{", "[" * 10_000, '{"a":' * 9_000, '{"aat_chain": [], "aat_pop": "x"}', '{"aat_chain": ["x"], "aat_pop": 7}',
     '{"aat_chain": [7], "aat_pop": "x.y.z"}', '{"aat_chain": "x", "aat_pop": "x"}', '{"aat_chain": ["a.b.c"], "aat_chain": [], "aat_pop": "x"}',
     '{"aat_chain": ["a.b.c"], "aat_pop": "a.b.c"}', '{"aat_chain": ["' + "A" * 300_000 + '"], "aat_pop": "a.b.c"}', "\x00", "é" * 1000],
    ids=range(15),
)  # fmt: skip
def test_a_subject_token_that_is_none_is_refused_and_recorded(
    face: Face, client: TestClient, text: str
) -> None:
    before = len(records(face))
    refused(client.post("/token", data={**asked(holder()), "subject_token": text}), "invalid_request")
    assert [r.capability for r in records(face)[before:]] == [TOOL]


def test_an_exchange_is_recorded_as_a_call_is(face: Face, client: TestClient) -> None:
    held = face.issue(max_depth=2)
    made = exchanged(client, held)
    newest = records(face)[-3:]
    told = [(r.event, r.allowed, r.capability, r.token_id) for r in newest]
    assert told == [
        ("decision", True, TOOL, held.token_id),
        ("issue", True, None, made.token_id),
        ("outcome", True, TOOL, held.token_id),
    ]
    assert newest[1].chain == (held.token_id, made.token_id)


@pytest.mark.parametrize("method", ["commit", "position", "enroll"])
def test_nothing_is_exchanged_when_the_ledger_does_not_answer(
    face: Face, client: TestClient, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def gone(*arguments: object) -> None:
        raise OSError("gone")

    request = exchange(face.issue(max_depth=2))
    with monkeypatch.context() as patched:
        patched.setattr(face.instance.ledger, method, gone)
        body = refused(client.post("/token", data=request), "temporarily_unavailable", 503)
    assert body["code"] == "ledger_unavailable"
