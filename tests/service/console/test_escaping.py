"""Whatever stands in a token, a log or a question is text, and never a part of the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

from remit.ledger import LiveToken

from .support import Console

ATTACK = """"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}{% raw %}</svg></title><a href="javascript:alert(3)">"""
BIDI = "a\u202etxt.exe\u2066\x1b[31m\x00"


class Page(HTMLParser):
    """What a browser makes of a page, as far as it can hurt."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def check(text: str) -> str:
    """What a page shows, having checked that there is nothing else in it."""
    page = Page(text)
    assert page.tags.count("script") == 1
    assert page.tags.count("img") == 1  # the mark beside the name
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")}
    assert "style" not in names
    leads = [value for name, value in page.attributes if name in {"href", "src", "action"}]
    assert all(value.startswith(("/console/", "#main")) for value in leads), leads
    assert all(char.isprintable() or char == "\n" for char in text)
    return "".join(page.text)


def attacked(console: Console) -> None:
    """Have the attack in every field of a token, and of the log, that anybody could put it into."""
    token = LiveToken(
        token_id=ATTACK,
        agent=ATTACK,
        issuer=ATTACK,
        holder=ATTACK,
        issued_at=int(console.instance.clock()),
        expires_at=int(console.instance.clock()) + 600,
        capabilities=tuple(f"{ATTACK}{i}" for i in range(9)),
        session=ATTACK,
        task=ATTACK,
    )
    console.instance.ledger.enroll(token)
    for text in (ATTACK, BIDI):
        everything: dict[str, Any] = {
            "call_id": f"1{text}",
            "agent": text,
            "capability": text,
            "token_id": text,
            "chain": (ATTACK, f"{text}2", text),
            "issuer": text,
            "code": text,
            "reason": text,
            "arguments_digest": text,
            "arguments": {text: text},
        }
        console.record(allowed=False, **everything)
        console.record(event="outcome", allowed=False, call_id=f"2{text}", reason=text)
        console.record(call_id=f"2{text}", agent=text)
        console.record(event="secret", call_id=f"1{text}", subject=text, allowed=False, code=text)
        console.record(event="revoke", subject=f"agent:{text}", reason=text)
        console.record(event="revoke", subject=f"token:{text}", reason=text)
        console.record(event="revoke", subject=text)
        console.record(event="issue", agent=text, token_id=text, chain=(text,))
        console.record(event=text)


def test_nothing_in_a_token_or_a_record_is_part_of_a_page(signed_in: Console) -> None:
    attacked(signed_in)
    asked = quote(ATTACK, safe="")
    for page in (
        "agents",
        "graph",
        "audit",
        f"agents?agent={asked}",
        f"graph?agent={asked}",
        f"audit?agent={asked}",
        f"audit?capability={asked}",
        f"audit?text={asked}",
        f"token?id={asked}",
        f"revoke?token={asked}",
        f"revoke?agent={asked}",
    ):
        response = signed_in.get(f"/console/{page}")
        assert response.status_code == 200, page
        assert ATTACK[:40] in check(response.text), page


def test_what_was_asked_for_is_not_part_of_the_answer(signed_in: Console) -> None:
    asked = quote(ATTACK, safe="")
    for page in (
        f"audit?code={asked}",
        f"audit?since={asked}",
        f"audit?verdict={asked}",
        f"audit?{asked}=1",
        f"agents?before=1.{asked}",
        f"agents?notice={asked}",
        f"{asked}",
        f"token?id=a&notice={asked}",
    ):
        check(signed_in.get(f"/console/{page}").text)
    for page in ("sign-in", "revoke"):
        check(signed_in.post(f"/console/{page}", {"token": ATTACK, "form_token": ATTACK}).text)


def test_a_reason_is_shown_as_it_was_given(signed_in: Console) -> None:
    credential = signed_in.issue()
    signed_in.revoke(token=credential.token_id, reason=ATTACK)
    page = check(signed_in.get(f"/console/token?id={credential.token_id}").text)
    assert ATTACK in page
    assert "49" not in page.replace(credential.token_id, "").split("Reason")[1][:200]


def test_marks_of_direction_and_control_are_spelt_out(signed_in: Console) -> None:
    attacked(signed_in)
    assert "a\\u202etxt.exe\\u2066\\x1b[31m\\x00" in check(signed_in.get("/console/audit").text)


def test_a_line_of_another_hand_breaks_nothing(signed_in: Console) -> None:
    signed_in.record(agent="honest")
    odd: list[dict[str, Any]] = [
        {"event": "decision", "at": 1e300, "allowed": True},
        {"event": "decision", "at": -1e11, "allowed": True, "agent": "early"},
        {
            "event": "decision",
            "at": 1,
            "allowed": True,
            "token_id": "",
            "chain": ["", "a", "", "a"],
            "code": "",
        },
        {
            "event": "issue",
            "at": 2,
            "allowed": True,
            "chain": [f"deep-{i}" for i in range(5000)],
            "token_id": "x",
        },
        {"event": "revoke", "at": 3, "allowed": True, "subject": "token:"},
        {"event": "revoke", "at": 3, "allowed": True},
        {"event": "", "at": 4, "allowed": False},
        {"event": "secret", "at": 5, "allowed": False},
        {"event": "checkpoint", "at": "noon"},
        {"event": ["decision"], "at": 6, "allowed": True},
    ]
    lines = [json.dumps({"seq": 100 + i, "prev": "A" * 43, **members}) for i, members in enumerate(odd)]
    lines += ["", "{", "null", '{"seq":1,"seq":2}', "\udcff", ATTACK, "[" * 100_000, "x" * 100]
    path = signed_in.deployment.folder / "audit.jsonl"
    with path.open("ab") as log:
        log.write("\n".join(lines).encode("utf-8", "surrogateescape") + b"\nthe end, torn")
    for page in (
        "audit",
        "graph",
        "audit?verdict=denied",
        "audit?text=a",
        "token?id=a",
        "audit?since=2020-01-01T00:00",
    ):
        response = signed_in.get(f"/console/{page}")
        assert response.status_code == 200, page
        check(response.text)
