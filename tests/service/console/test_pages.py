"""The pages of agents and tokens, and taking something back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import remit

from .support import Clock, Console, Deployment, words_of

ODD = [
    "agents?agent=%00",
    "agents?agent=" + "x" * 300,
    "agents?agent=%ff",
    "agents?agent=a&agent=b",
    "agents?agent=%E2%80%AEevil",
    "agents?before=1",
    "agents?before=1.",
    "agents?before=x.y",
    "agents?before=-1.y",
    "agents?before=" + "9" * 40 + ".y",
    "agents?before=%D9%A1.y",
    "agents?colour=red",
    "agents?" + "&".join(f"a{i}=1" for i in range(200)),
    "graph?agent=a%0d%0aSet-Cookie:x",
    "graph?x=",
    "token",
    "token?id=",
    "token?id=%20",
    "token?id=" + "x" * 257,
    "token?id=%0A",
    "token?id=%ED%A0%80",
    "revoke",
    "revoke?token=a&agent=b",
    "revoke?token=&agent=",
    "revoke?token=%00",
    "audit?verdict=maybe",
    "audit?code=nothing",
    "audit?since=yesterday",
    "audit?until=" + "9" * 200,
    "audit?lines=1000000000",
    "audit?lines=-1",
    "audit?before=-1",
    "audit?before=" + "9" * 30,
    "audit?before=%D9%A1",
    "audit?text=" + "x" * 301,
    "audit?text=%C3",
]


def test_an_odd_question_is_refused_and_breaks_nothing(signed_in: Console) -> None:
    for question in ODD:
        response = signed_in.get(f"/console/{question}")
        assert response.status_code == 400, question
        assert "Bad Request" in words_of(response)


def test_a_page_that_is_not_there_is_said_to_be_so(signed_in: Console) -> None:
    for page in ("/console/nothing", "/console/agents/x", "/console/", "/console/%2e%2e/token"):
        assert signed_in.get(page).status_code == 404
    assert signed_in.get("/console").headers["location"] == "/console/agents"


def test_agents_are_shown_with_their_live_tokens(signed_in: Console, clock: Clock) -> None:
    first = signed_in.issue(capabilities=["prices:read", "mail:send"], session="s-7", task="t-9", ttl="20m")
    second = signed_in.issue("reader", ttl="2h")
    over = signed_in.issue("batch", ttl="1m")
    clock.now += 61
    text = signed_in.text("/console/agents")
    assert f"Token …{first.token_id[-8:]} prices:read mail:send session s-7 task t-9" in text
    assert "in 18 min live Revoke token" in text
    assert f"…{second.token_id[-8:]}" in text
    assert "in 1 h 58 min" in text
    assert over.token_id[-8:] not in text
    assert "Live tokens 2 Agents 2 Revoked, not expired 0" in text
    assert text.index("pricing-agent") < text.index("reader")
    for token in (first.token, second.token):
        assert token not in signed_in.get("/console/agents").text


def test_a_token_is_never_shown_anywhere(signed_in: Console) -> None:
    credential = signed_in.issue()
    signed_in.call(credential, "prices:read")
    for page in ("agents", "graph", "audit", f"token?id={credential.token_id}"):
        text = signed_in.get(f"/console/{page}").text
        assert credential.token_id in text
        assert credential.token.split(".")[2] not in text


def test_a_long_list_of_tokens_has_pages(signed_in: Console) -> None:
    issued = {signed_in.issue(f"agent-{i % 7}").token_id for i in range(130)}
    seen: list[str] = []
    page: str | None = "/console/agents"
    while page is not None:
        text = signed_in.get(page).text
        seen += re.findall(r'href="/console/token\?id=([^"]+)" title', text)
        after = re.search(r'href="(/console/agents\?before=[^"]+)">Next page', text)
        page = after[1] if after else None
    assert len(seen) == len(set(seen)) == 130
    assert set(seen) == issued


def test_one_agents_tokens_are_found_among_many(signed_in: Console) -> None:
    issued = {signed_in.issue("needle", ttl=60 + i).token_id for i in range(3)}
    for i in range(40):
        signed_in.issue(f"hay-{i}", ttl="1h")
    text = signed_in.get("/console/agents?agent=needle").text
    assert set(re.findall(r'href="/console/token\?id=([^"]+)" title', text)) == issued
    assert "No token of this agent is live." in signed_in.text("/console/agents?agent=needl")


def test_a_token_has_a_page_of_its_own(signed_in: Console) -> None:
    root = signed_in.issue("planner", max_depth=2, session="s-1", limits=None)
    child = root.delegate(agent="worker", capabilities=["prices:read"])
    signed_in.instance.guard.explain(child, "prices:read", {})
    with pytest.raises(remit.Denied):
        signed_in.instance.guard.check(child, "mail:send", {}, session="s-1")
    text = signed_in.text(f"/console/token?id={root.token_id}")
    assert f"Token {root.token_id} live held by planner" in text
    assert "Session s-1" in text
    assert "Issuer https://auth.acme.example" in text
    assert "Derived from it 1 token" in text
    assert "capability_missing" in text
    delegated = signed_in.text(f"/console/token?id={child.token_id}")
    assert "held by worker" in delegated
    assert "Expires at the latest" in delegated
    assert "Calls seen 1, 1 denied" in delegated


def test_an_unknown_token_can_still_be_revoked(signed_in: Console) -> None:
    response = signed_in.get("/console/token?id=from-elsewhere")
    assert response.status_code == 404
    assert "Neither the ledger nor what was looked at of the audit log knows this token" in words_of(response)
    assert "/console/revoke?token=from-elsewhere" in response.text


def test_a_token_that_has_expired_is_said_to_have(signed_in: Console, clock: Clock) -> None:
    credential = signed_in.issue(ttl="1m")
    clock.now += 60
    assert "expired held by pricing-agent" in signed_in.text(f"/console/token?id={credential.token_id}")


def test_revoking_asks_once_and_then_the_agent_is_refused(signed_in: Console) -> None:
    credential = signed_in.issue()
    child_of = signed_in.issue(max_depth=1)
    child = child_of.delegate(agent="worker", capabilities=["prices:read"])
    assert signed_in.call(credential, "prices:read") is None
    question = signed_in.text(f"/console/revoke?token={credential.token_id}")
    assert "Revoke this token?" in question
    assert "This cannot be undone." in question
    assert signed_in.call(credential, "prices:read") is None  # a question does nothing
    response = signed_in.revoke(token=credential.token_id, reason="  leaked <b>  ")
    assert response.status_code == 303
    assert response.headers["location"] == f"/console/token?id={credential.token_id}&notice=revoked"
    text = signed_in.text(response.headers["location"])
    assert "Revoked, and with it everything that was derived from it." in text
    assert "Reason leaked <b>" in text
    assert signed_in.call(credential, "prices:read") == "token_revoked"
    assert signed_in.call(child, "prices:read") is None
    signed_in.revoke(token=child_of.token_id)
    assert signed_in.call(child, "prices:read") == "token_revoked"


def test_revoking_twice_says_so(signed_in: Console) -> None:
    credential = signed_in.issue()
    signed_in.revoke(token=credential.token_id, reason="first")
    assert "It was revoked already." in signed_in.text(f"/console/revoke?token={credential.token_id}")
    response = signed_in.revoke(token=credential.token_id, reason="second")
    text = signed_in.text(response.headers["location"])
    assert "The token was revoked already." in text
    assert "Reason first" in text


def test_revoking_an_agent_ends_all_its_tokens_and_no_others(signed_in: Console) -> None:
    mine = [signed_in.issue("night shift & co") for _ in range(2)]
    other = signed_in.issue("reader")
    response = signed_in.revoke(agent="night shift & co", reason="")
    text = signed_in.text(response.headers["location"])
    assert "every token that this agent was issued up to now" in text
    assert "Live tokens 0 Agents 0 Revoked, not expired 2" in text
    assert [signed_in.call(each, "prices:read") for each in mine] == ["token_revoked"] * 2
    assert signed_in.call(other, "prices:read") is None
    shown = signed_in.text(f"/console/token?id={mine[0].token_id}")
    assert "with agent:night shift & co" in shown


def test_a_notice_that_is_not_true_is_not_shown(signed_in: Console) -> None:
    credential = signed_in.issue()
    for page in (
        "agents?agent=pricing-agent&notice=revoked",
        f"token?id={credential.token_id}&notice=already",
    ):
        assert 'role="status"' not in signed_in.get(f"/console/{page}").text
    signed_in.revoke(token=credential.token_id)
    text = signed_in.get(f"/console/token?id={credential.token_id}&notice=%3Cb%3E").text
    assert 'role="status"' not in text


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"token": ""},
        {"token": "a", "agent": "b"},
        {"token": "\0"},
        {"token": "x" * 257},
        {"agent": " "},
        {"agent": "\u202ereversed"},
        {"token": "a", "reason": "x" * 1001},
        {"token": "a", "reason": "\0"},
    ],
    ids=["none", "blank", "both", "nul", "long", "space", "direction", "long-reason", "nul-reason"],
)
def test_an_odd_revocation_is_refused(signed_in: Console, form: dict[str, str]) -> None:
    response = signed_in.revoke(**form)
    assert response.status_code == 400
    assert signed_in.instance.guard.revocations() == []


def test_a_ledger_that_does_not_answer_is_said_not_to(
    signed_in: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = signed_in.issue()
    form_token = signed_in.form_token()

    def fail(*_: object, **__: object) -> object:
        raise OSError("the password is hunter2")

    for name in ("tokens", "token", "revoke", "revocations"):
        monkeypatch.setattr(signed_in.instance.ledger, name, fail)
    for page in ("agents", "graph", f"token?id={credential.token_id}", f"revoke?token={credential.token_id}"):
        response = signed_in.get(f"/console/{page}")
        assert response.status_code == 503
        assert "hunter2" not in response.text
        assert "The ledger does not answer" in words_of(response)
    form = {"form_token": form_token, "token": credential.token_id}
    assert signed_in.post("/console/revoke", form).status_code == 503
    assert signed_in.get("/console/audit").status_code == 200


def test_what_is_revoked_is_not_guessed_when_nobody_knows(
    signed_in: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in.issue(ttl="1h")

    def fail(*_: object) -> object:
        raise OSError

    monkeypatch.setattr(signed_in.instance.ledger, "position", fail)
    clock.now += 120
    response = signed_in.get("/console/agents")
    assert response.status_code == 503
    assert "what is revoked is not known" in words_of(response)


def test_a_revocation_by_another_instance_is_seen(signed_in: Console, clock: Clock) -> None:
    credential = signed_in.issue()
    with signed_in.deployment.instance(clock=clock) as other:
        other.guard.revoke(credential.token_id, reason="elsewhere")
    assert "revoked held by" in signed_in.text(f"/console/token?id={credential.token_id}")


def test_without_an_audit_log_the_pages_say_so(tmp_path: Path) -> None:
    deployment = Deployment.make(tmp_path / "deployment")
    text = deployment.path.read_text()
    deployment.path.write_text(text.replace('[audit]\npath = "audit.jsonl"\n', ""))
    with deployment.instance() as instance:
        console = Console(deployment, instance)
        console.sign_in()
        credential = console.issue()
        assert "the policy file has no [audit]" in console.text("/console/audit")
        assert "What was delegated is therefore not known." in console.text("/console/graph")
        assert "the policy file has no [audit]" in console.text(f"/console/token?id={credential.token_id}")


def test_the_log_that_cannot_be_read_is_said_to_be_so(signed_in: Console) -> None:
    path = signed_in.deployment.folder / "audit.jsonl"
    path.unlink(missing_ok=True)
    path.mkdir()
    assert "The audit log cannot be shown:" in signed_in.text("/console/audit")
    assert signed_in.get("/console/graph").status_code == 200


def test_the_ledger_has_no_token_of_the_pages(signed_in: Console) -> None:
    signed_in.issue()
    signed_in.get("/console/agents")
    assert json.dumps([token.to_dict() for token in signed_in.instance.ledger.tokens(0)]).count("eyJ") == 0
