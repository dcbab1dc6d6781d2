"""What others chose, or poured into the log, deceives nobody: identifiers, names, and calls without a token."""

from __future__ import annotations

import re

import pytest

import remit
from remit.ledger import LiveToken

from .support import Console, junk, words_of


def enroll(console: Console, token_id: str, agent: str = "noise", ttl: int = 600) -> None:
    """Have the ledger know a token of which the log says nothing."""
    now = int(console.instance.clock())
    token = LiveToken(
        token_id=token_id, agent=agent, issuer="i", holder="h", issued_at=now, expires_at=now + ttl
    )
    console.instance.ledger.enroll(token)


def copied(credential: remit.Credential, token_id: str, monkeypatch: pytest.MonkeyPatch) -> remit.Credential:
    """A token that is passed on under an identifier that is another's."""
    with monkeypatch.context() as patch:
        patch.setattr(remit.delegate, "new_id", lambda now: token_id)
        return credential.delegate(agent="pricing-agent", capabilities=["prices:read"])


@pytest.mark.parametrize("victim", ["issued", "delegated"])
def test_a_copy_of_an_identifier_neither_ends_a_token_nor_revives_it(
    signed_in: Console, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    boss, rogue = (signed_in.issue(agent, max_depth=1) for agent in ("boss", "rogue"))
    own = boss if victim == "issued" else boss.delegate(agent="worker", capabilities=["prices:read"])
    taken = copied(rogue, own.token_id, monkeypatch)
    assert [signed_in.call(each, "prices:read") for each in (own, taken)] == [None, None]
    page = f"/console/token?id={own.token_id}"
    button = f'href="/console/revoke?token={own.token_id}"'
    assert "2 tokens have this identifier: it was seen at several places." in signed_in.text(page)
    signed_in.revoke(token=rogue.token_id)
    assert signed_in.call(own, "prices:read") is None
    text = signed_in.text(page)
    who = "live held by boss" if victim == "issued" else "live inferred held by worker (named by boss)"
    assert who in text
    assert "revoked inferred held by pricing-agent (named by rogue)" in text
    assert button in signed_in.get(page).text
    signed_in.revoke(token=own.token_id)
    assert signed_in.call(own, "prices:read") == "token_revoked"
    assert button not in signed_in.get(page).text


def test_a_state_that_is_inferred_hides_no_button(signed_in: Console) -> None:
    boss = signed_in.issue("boss", max_depth=1)
    worker = boss.delegate(agent="worker", capabilities=["prices:read"])
    signed_in.call(worker, "prices:read")
    signed_in.revoke(token=boss.token_id)
    page = signed_in.get(f"/console/token?id={worker.token_id}")
    assert "revoked inferred held by worker" in words_of(page)
    assert "the ledger does not know this token" in words_of(page)
    assert f'href="/console/revoke?token={worker.token_id}"' in page.text


def test_places_without_end_are_not_all_shown(signed_in: Console) -> None:
    for i in range(40):
        signed_in.record(chain=(f"root-{i}", "taken"), token_id="taken", agent="thief")
    text = signed_in.text("/console/token?id=taken")
    assert "40 tokens have this identifier" in text
    assert "the first 8 of them" in text
    assert "Place 8" in text
    assert "Place 9" not in text


def test_calls_without_a_token_blind_no_page(signed_in: Console) -> None:
    boss = signed_in.issue("boss", max_depth=2)
    middle = boss.delegate(agent="middle", capabilities=["prices:read"], max_depth=1)
    leaf = middle.delegate(agent="leaf", capabilities=["prices:read"])
    assert [signed_in.call(each, "prices:read") for each in (middle, leaf)] == [None, None]
    junk(signed_in, 6_000)
    for page in ("graph", "graph?agent=leaf", "graph?agent=boss", f"token?id={leaf.token_id}"):
        text = signed_in.text(f"/console/{page}")
        assert f"leaf (named by somebody after boss), token {leaf.token_id}, live as inferred" in text, page
        assert f"middle (named by boss), token {middle.token_id}, live as inferred" in text, page
        assert "not looked at" not in text


def test_what_is_beyond_the_lines_looked_at_is_said_to_be(signed_in: Console) -> None:
    child = signed_in.issue("boss", max_depth=1).delegate(agent="leaf", capabilities=["prices:read"])
    signed_in.call(child, "prices:read")
    junk(signed_in, 50_001)
    for page in ("graph", "graph?agent=leaf", f"token?id={child.token_id}"):
        text = words_of(signed_in.get(f"/console/{page}"))
        assert "Older than the newest 50,000 lines of the audit log is not looked at" in text, page
    further = f"/console/audit?text={child.token_id}&amp;lines=200000"
    assert further in signed_in.get(f"/console/token?id={child.token_id}").text


def test_too_many_calls_with_tokens_are_said_to_be(
    signed_in: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.service.console.search.MOST_MOMENTS", 5)
    for i in range(9):
        signed_in.record(chain=("root", f"t{i}"), token_id=f"t{i}", agent="worker")
    assert "older ones are not looked at" in signed_in.text("/console/graph")
    assert "t3" not in signed_in.text("/console/graph")
    assert "There are more records of it than are looked at." in signed_in.text("/console/token?id=root")


def test_an_agent_is_found_in_the_graph_however_many_tokens_live_longer(
    signed_in: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.service.console.views._ROOTS", 3)
    enroll(signed_in, "the-victims", agent="victim", ttl=60)
    for i in range(5):
        enroll(signed_in, f"noise-{i}")
    assert "the-victims" not in signed_in.text("/console/graph")
    assert "those that live longest; not all" in signed_in.text("/console/graph")
    assert "victim, token the-victims, live" in signed_in.text("/console/graph?agent=victim")


def test_what_was_not_looked_through_is_not_said_to_be_none(
    signed_in: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.service.console.registry._SCANNED", 4)
    monkeypatch.setattr("remit.service.console.registry._STEP", 2)
    enroll(signed_in, "the-victims", agent="victim", ttl=60)
    for i in range(9):
        enroll(signed_in, f"noise-{i}")
    page = signed_in.get("/console/agents?agent=victim")
    assert "None among the first 4 tokens is of this agent; there are more." in words_of(page)
    assert "No token of this agent is live" not in words_of(page)
    found = words_of(signed_in.get("/console/graph?agent=victim"))
    assert "None of this agent is among the first 4 tokens" in found
    for _ in range(2):
        assert "the-victims" not in page.text
        (further,) = re.findall(r'href="([^"]+)">Next page', page.text)
        page = signed_in.get(further.replace("&amp;", "&"))
    assert "the-victims" in page.text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pricing-\u0430gent", "U+0430 CYRILLIC SMALL LETTER A"),
        ("pricing\u2010agent", "U+2010 HYPHEN"),
        ("pricing-agent\u0301", "U+0301 COMBINING ACUTE ACCENT"),
    ],
    ids=["cyrillic", "hyphen", "accent"],
)
def test_a_name_that_looks_like_another_has_a_mark(signed_in: Console, name: str, told: str) -> None:
    credential = signed_in.issue(name, max_depth=1)
    signed_in.call(credential, "mail:send")
    for page in ("agents", f"agents?agent={name}", "audit", f"token?id={credential.token_id}", "graph"):
        text = signed_in.get(f"/console/{page}").text
        assert f'<span class="mark" title="not ASCII: {told}">U+<' in text, page
    assert f"{name} (not ASCII: {told}), token" in signed_in.get("/console/graph").text
    assert f'title="not ASCII: {told}"' in signed_in.get(f"/console/revoke?agent={name}").text
    signed_in.issue("plain")
    assert 'class="mark"' not in signed_in.get("/console/agents?agent=plain").text


def test_to_revoke_an_agent_is_said_to_go_by_its_name(signed_in: Console) -> None:
    assert "a token that others derived from their own, and gave this name, stops too" in signed_in.text(
        "/console/revoke?agent=pricing-agent"
    )


def test_the_time_line_is_shown_when_the_ledger_does_not_say_who_had_the_roots(
    signed_in: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    enroll(signed_in, "root", agent="boss")
    signed_in.record(chain=("root", "child"), token_id="child", agent="leaf")
    assert "leaf (named by boss)" in signed_in.text("/console/audit")

    def fail(*_: object) -> object:
        raise OSError

    monkeypatch.setattr(signed_in.instance.ledger, "token", fail)
    assert "leaf (named by whoever passed it on)" in signed_in.text("/console/audit")


def test_an_exchanged_token_is_listed_with_who_named_its_agent(signed_in: Console) -> None:
    now = int(signed_in.instance.clock())
    subjects = ("agent:rogue", "token:r")
    token = LiveToken(
        token_id="n", agent="pricing-agent", issuer="i", holder="h", issued_at=now, expires_at=now + 60,
        revoked_with=subjects,
    )  # fmt: skip
    signed_in.instance.ledger.enroll(token)
    enroll(signed_in, "own", agent="pricing-agent")
    text = signed_in.text("/console/agents?agent=pricing-agent")
    assert "Token n (named by rogue)" in text
    assert text.count("named by") == 1
