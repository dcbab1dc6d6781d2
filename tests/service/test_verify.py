"""Verifying tokens, and calls with their proofs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import remit
from remit.config import load
from remit.encoding import JsonValue, b64url_decode, b64url_encode, canonicalize, parse_object
from remit.service import gate
from remit.service.gate import MAX_FAILED_VERIFICATIONS

from .support import URI, Clock, Deployment, client_of, credential_of, holder

URL = "/v1/tokens/verify"


class Desk:
    """An agent that got its token from the service, and the service."""

    def __init__(self, client: TestClient, headers: dict[str, str], clock: Clock) -> None:
        self.client, self.headers, self.clock = client, headers, clock
        self.key = holder()
        self.answer = self.issue()
        self.token: str = self.answer["token"]
        self.credential = remit.Credential.from_token(
            [self.token], holder_key=self.key.private_jwk(), clock=clock
        )

    def issue(self, **members: Any) -> dict[str, Any]:
        """What is answered when a token is asked for."""
        asked = {"subject_pubkey": self.key.public.x, "agent": "pricing-agent", **members}
        response = self.client.post("/v1/tokens", headers=self.headers, json=asked)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def presented(self, tool: str, arguments: dict[str, Any], **options: Any) -> dict[str, Any]:
        """A call with its proof."""
        return {
            **self.credential.present(tool, arguments, **options).to_dict(),
            "tool": tool,
            "arguments": arguments,
        }

    def denial(self, body: dict[str, Any], status: int = 401) -> str:
        """The code of the denial."""
        response = self.client.post(URL, json=body)
        assert response.status_code == status, response.text
        assert set(response.json()) >= {"code", "reason"}
        if status == 401:
            assert response.headers["www-authenticate"] == 'Bearer realm="remit", error="invalid_token"'
        return str(response.json()["code"])


@pytest.fixture
def desk(deployment: Deployment) -> Iterator[Desk]:
    """One."""
    clock = Clock()
    with deployment.client(clock=clock) as client:
        yield Desk(client, deployment.headers, clock)


def test_a_token_is_good_for_what_it_says(desk: Desk) -> None:
    response = desk.client.post(URL, json={"token": desk.token})
    assert response.status_code == 200
    assert response.json() == {
        "scope": "READ orders:read prices:read trades:propose",
        "expires_at": desk.answer["expires_at"],
        "subject_pubkey": desk.key.public.x,
        "agent": "pricing-agent",
        "token_id": desk.answer["token_id"],
        "chain": [desk.answer["token_id"]],
        "issuer": URI,
        "capabilities": ["orders:read", "prices:read", "trades:propose"],
    }


def test_of_a_chain_the_leaf_counts(desk: Desk) -> None:
    child = desk.credential.delegate(agent="worker", capabilities=["prices:read"], ttl="30s")
    answer = desk.client.post(URL, json={"token": list(child.chain)}).json()
    assert (answer["agent"], answer["scope"]) == ("worker", "prices:read")
    assert answer["chain"] == [desk.answer["token_id"], child.token_id]
    assert answer["expires_at"] == int(desk.clock.now) + 30
    assert desk.client.post(URL, json={"aat_chain": list(child.chain)}).json() == answer


def test_a_child_without_its_parent_is_nothing(desk: Desk) -> None:
    child = desk.credential.delegate(agent="worker", capabilities=["prices:read"])
    assert desk.denial({"token": child.token}) == "token_issuer_untrusted"
    assert desk.denial({"token": list(reversed(child.chain))}) == "token_issuer_untrusted"


def test_an_expired_token_is_refused(desk: Desk) -> None:
    desk.clock.now = desk.answer["expires_at"]
    assert desk.denial({"token": desk.token}) == "token_expired"


def test_another_issuers_token_is_refused(desk: Desk, tmp_path: Path) -> None:
    forger = remit.Issuer.generate(URI, clock=desk.clock)
    token = forger.issue(agent="pricing-agent", capabilities=["prices:read"]).token
    assert desk.denial({"token": token}) == "token_signature_invalid"
    stranger = remit.Issuer.generate("https://elsewhere.example", clock=desk.clock)
    token = stranger.issue(agent="pricing-agent", capabilities=["prices:read"]).token
    assert desk.denial({"token": token}) == "token_issuer_untrusted"


def test_every_changed_character_of_a_token_is_noticed(desk: Desk) -> None:
    for place in range(0, len(desk.token), 41):
        changed = "A" if desk.token[place] != "A" else "B"
        token = desk.token[:place] + changed + desk.token[place + 1 :]
        assert desk.client.post(URL, json={"token": token}).status_code == 401, place


@pytest.mark.parametrize(
    "token", ["", " ", "x", "a.b.c", "é", "\u0000", "eyJ", "." * 3, "a" * 70_000, "\U0001f600.a.b", []]
)
def test_what_is_no_token_is_malformed(shared: TestClient, token: object) -> None:
    response = shared.post(URL, json={"token": token})
    assert (response.status_code, response.json()["code"]) == (401, "token_malformed")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"token": None},
        {"token": 7},
        {"token": {}},
        {"token": [7]},
        {"token": [["a"]]},
        {"aat_chain": "a.b.c"},
        {"aat_chain": None},
        {"token": "a", "aat_chain": ["a"]},
        {"token": "a", "tool": None},
        {"token": "a", "tool": 7},
        {"token": "a", "arguments": {}},
        {"token": "a", "aat_pop": "a.b.c"},
        {"token": "a", "tool": "prices:read", "arguments": []},
        {"token": "a", "tool": "prices:read", "arguments": None},
        {"token": "a", "tool": "prices:read", "aat_pop": 7},
        {"token": "a", "agent": 7},
        {"token": "a", "session": None},
        {"token": "a", "nonce": "mine"},
        {"token": "a", "capability": "prices:read"},
    ],
)
def test_a_question_that_makes_no_sense_is_a_bad_request(shared: TestClient, body: object) -> None:
    response = shared.post(URL, json=body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


def test_the_bearer_is_compared_where_the_caller_knows_it(desk: Desk) -> None:
    assert desk.client.post(URL, json={"token": desk.token, "agent": "pricing-agent"}).status_code == 200
    assert desk.denial({"token": desk.token, "agent": "another"}) == "agent_mismatch"
    bound = desk.issue(session="s-1", task="t-1")["token"]
    assert desk.denial({"token": bound}) == "session_mismatch"
    assert desk.denial({"token": bound, "session": "s-1", "task": "t-2"}) == "task_mismatch"
    good = desk.client.post(URL, json={"token": bound, "session": "s-1", "task": "t-1"})
    assert good.status_code == 200


def test_a_token_for_another_enforcement_point_is_refused(desk: Desk) -> None:
    assert desk.client.post(URL, json={"token": desk.issue(audience=[URI])["token"]}).status_code == 200
    token = desk.issue(audience=["https://tools.elsewhere.example"])["token"]
    assert desk.denial({"token": token}) == "audience_mismatch"


def test_whoever_says_which_tool_must_prove_possession(desk: Desk) -> None:
    body = {"token": desk.token, "tool": "prices:read", "arguments": {}}
    assert desk.denial(body) == "proof_missing"
    assert desk.denial({**body, "aat_pop": ""}) == "proof_missing"
    assert desk.denial({**body, "aat_pop": "a.b.c"}) == "proof_invalid"


def test_a_call_with_its_proof_is_allowed_once(desk: Desk) -> None:
    body = desk.presented("prices:read", {"symbol": "ACME"})
    response = desk.client.post(URL, json=body)
    assert response.status_code == 200
    assert (response.json()["tool"], response.json()["agent"]) == ("prices:read", "pricing-agent")
    assert desk.denial(body) == "proof_replayed"


def test_a_proof_that_was_shown_here_is_refused_by_a_guard_on_the_same_ledger(
    deployment: Deployment, desk: Desk
) -> None:
    presentation = desk.credential.present("prices:read", {})
    body = {**presentation.to_dict(), "tool": "prices:read"}
    assert desk.client.post(URL, json=body).status_code == 200
    guard = load(deployment.path).guard(clock=desk.clock)
    with pytest.raises(remit.Denied) as caught:
        guard.verify(presentation, "prices:read", {})
    assert caught.value.code == "proof_replayed"


def test_a_proof_is_for_one_tool_one_call_and_one_token(desk: Desk) -> None:
    body = desk.presented("prices:read", {"symbol": "ACME"})
    assert desk.denial({**body, "tool": "orders:read"}) == "proof_invalid"
    assert desk.denial({**body, "arguments": {"symbol": "INIT"}}) == "proof_invalid"
    assert desk.denial({**body, "aat_chain": [desk.issue()["token"]]}) == "proof_invalid"
    thief = remit.Credential.from_token(
        [desk.issue(subject_pubkey=holder().public.x)["token"]], clock=desk.clock
    )
    assert desk.denial({**body, "aat_chain": list(thief.chain)}) == "proof_invalid"
    assert desk.client.post(URL, json=body).status_code == 200  # none of that used it up


def test_a_proof_for_another_enforcement_point_is_refused(desk: Desk) -> None:
    elsewhere = desk.presented("prices:read", {}, audience="https://elsewhere.example")
    assert desk.denial(elsewhere) == "audience_mismatch"
    assert desk.client.post(URL, json=desk.presented("prices:read", {}, audience=URI)).status_code == 200


def test_an_old_proof_is_refused(desk: Desk) -> None:
    body = desk.presented("prices:read", {})
    desk.clock.now += 31
    assert desk.denial(body) == "proof_invalid"


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("users:read", {}, "capability_missing"),
        ("*", {}, "capability_missing"),
        ("", {}, "capability_missing"),
        ("secret:BROKER_API_KEY", {"tool": "trades:propose"}, "capability_missing"),
        ("trades:propose", {"symbol": "EVIL", "amount": 1}, "argument_denied"),
        ("trades:propose", {"symbol": "ACME", "amount": 1001}, "argument_denied"),
        ("trades:propose", {"symbol": "ACME"}, "argument_denied"),
        ("trades:propose", {"symbol": "ACME", "amount": 1, "extra": 1}, "argument_denied"),
    ],
)
def test_what_the_token_does_not_allow_is_forbidden(
    desk: Desk, tool: str, arguments: dict[str, Any], code: str
) -> None:
    # A proof of what the token allows: the holder's own library refuses to make any other.
    body = {**desk.presented("prices:read", {}), "tool": tool, "arguments": arguments}
    assert desk.denial(body, 403) == code


def test_limits_are_charged(desk: Desk) -> None:
    arguments = {"symbol": "ACME", "amount": 10}
    for _ in range(3):
        assert desk.client.post(URL, json=desk.presented("trades:propose", arguments)).status_code == 200
    assert desk.denial(desk.presented("trades:propose", arguments), 403) == "limit_exceeded"


def test_a_revoked_parent_takes_its_children_with_it(desk: Desk) -> None:
    child = desk.credential.delegate(agent="worker", capabilities=["prices:read"])
    body = {**child.present("prices:read", {}).to_dict(), "tool": "prices:read"}
    desk.client.delete(f"/v1/tokens/{desk.answer['token_id']}", headers=desk.headers)
    assert desk.denial({"token": list(child.chain)}) == "token_revoked"
    assert desk.denial(body) == "token_revoked"


def test_every_question_is_recorded(deployment: Deployment, desk: Desk) -> None:
    path = deployment.folder / "audit.jsonl"
    before = len(path.read_text().splitlines())
    desk.client.post(URL, json={"token": desk.token})
    desk.client.post(URL, json={"token": "a.b.c"})
    desk.client.post(URL, json=desk.presented("prices:read", {}))
    lines = path.read_text().splitlines()[before:]
    assert len(lines) == 3
    assert "token_malformed" in lines[1]


def test_a_nonce_is_this_services_or_the_proof_is_refused(desk: Desk) -> None:
    nonce = desk.client.get("/v1/nonce").json()["nonce"]
    body = desk.presented("prices:read", {}, nonce=nonce)
    assert desk.client.post(URL, json=body).status_code == 200
    response = desk.client.post(URL, json=desk.presented("prices:read", {}, nonce="one-of-my-own"))
    assert (response.status_code, response.json()["code"]) == (401, "proof_invalid")
    again = desk.presented("prices:read", {}, nonce=response.headers["remit-nonce"])
    assert desk.client.post(URL, json=again).status_code == 200


def test_an_old_nonce_is_refused(desk: Desk) -> None:
    answer = desk.client.get("/v1/nonce").json()
    assert answer["expires_at"] == int(desk.clock.now) + 300
    desk.clock.now = answer["expires_at"] - 1
    assert (
        desk.client.post(URL, json=desk.presented("prices:read", {}, nonce=answer["nonce"])).status_code
        == 200
    )
    desk.clock.now += 1
    desk.answer = desk.issue()
    assert desk.denial(desk.presented("prices:read", {}, nonce=answer["nonce"])) in {
        "proof_invalid",
        "token_expired",
    }


def test_where_a_nonce_is_required_a_proof_without_one_is_refused(tmp_path: Path) -> None:
    clock = Clock()
    deployment = Deployment.make(tmp_path / "strict", service="require_nonce = true")
    with deployment.client(clock=clock) as client:
        desk = Desk(client, deployment.headers, clock)
        response = client.post(URL, json=desk.presented("prices:read", {}))
        assert (response.status_code, response.json()["code"]) == (401, "proof_invalid")
        nonce = response.headers["remit-nonce"]
        assert client.post(URL, json=desk.presented("prices:read", {}, nonce=nonce)).status_code == 200
        assert client.post(URL, json={"token": desk.token}).status_code == 200  # of which there is no proof


def test_a_proof_with_a_nonce_that_is_no_text_is_refused(desk: Desk) -> None:

    body = desk.presented("prices:read", {})
    head, payload, _ = body["aat_pop"].split(".")
    nonces: list[JsonValue] = [7, None, True, [], {}, ""]
    for nonce in nonces:
        members = {**parse_object(b64url_decode(payload)), "nonce": nonce}
        signing_input = f"{head}.{b64url_encode(canonicalize(members))}"
        signature = b64url_encode(desk.key.sign(signing_input.encode()))
        response = desk.client.post(URL, json={**body, "aat_pop": f"{signing_input}.{signature}"})
        if nonce is None:  # a member that says nothing
            assert response.status_code == 200
        else:
            assert (response.status_code, response.json()["code"]) == (401, "proof_invalid"), nonce


def test_a_ledger_that_does_not_answer_allows_nothing(deployment: Deployment) -> None:
    clock = Clock()
    with deployment.instance(clock=clock) as instance:
        desk = Desk(client_of(instance), deployment.headers, clock)
        instance.ledger.close()
        (deployment.folder / "remit.db").unlink()
        (deployment.folder / "remit.db").mkdir()
        assert desk.denial(desk.presented("prices:read", {}), 503) in {
            "ledger_unavailable",
            "revocations_stale",
        }


def test_a_credential_that_was_issued_works_as_any_other(desk: Desk) -> None:
    credential = credential_of(desk.token, desk.key)
    assert credential.agent == "pricing-agent"
    assert [capability.name for capability in credential.capabilities] == [
        "orders:read",
        "prices:read",
        "trades:propose",
    ]


def test_who_shows_too_many_bad_tokens_is_not_looked_at(deployment: Deployment) -> None:
    log = deployment.folder / "audit.jsonl"
    with deployment.instance() as instance:
        client = client_of(instance)
        body = {"subject_pubkey": holder().public.x, "scope": "READ"}
        good = client.post("/v1/tokens", headers=deployment.headers, json=body).json()["token"]
        denied = {"token": good, "agent": "somebody-else"}
        for _ in range(MAX_FAILED_VERIFICATIONS - 1):
            assert client.post(URL, json={"token": "a.b.c"}).status_code == 401
        assert client.post(URL, json=denied).json()["code"] == "agent_mismatch"
        size = log.stat().st_size
        response = client.post(URL, content=b"{", headers={"Content-Type": "application/json"})
        assert (response.status_code, response.json()["code"]) == (429, "too_many_failures")
        assert 0 < int(response.headers["retry-after"]) <= 60
        assert client.post(URL, json={"token": good}).status_code == 429
        assert log.stat().st_size == size
        assert client.post("/v1/tokens", headers=deployment.headers, json=body).status_code == 200
        assert client_of(instance, address="192.0.2.7").post(URL, json={"token": good}).status_code == 200


def test_calls_that_a_good_token_does_not_allow_are_no_failures(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MAX_FAILED_VERIFICATIONS", 3)
    clock = Clock()
    with deployment.client(clock=clock) as client:
        desk = Desk(client, deployment.headers, clock)
        for _ in range(5):
            assert desk.denial(desk.presented("mail:send", {}), 403) == "capability_missing"
            assert client.post(URL, json={"token": 7}).status_code == 400
        assert client.post(URL, json={"token": desk.token}).status_code == 200
        assert [client.post(URL, json={"token": "a"}).status_code for _ in range(4)] == [401, 401, 401, 429]
