"""The time line: calls, what they are filtered by, and what is damaged."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from remit.service.console.records import Log, Place

from .support import Clock, Console, junk, words_of

DENIAL: dict[str, Any] = {"allowed": False, "code": "argument_denied", "reason": "Too much."}


def shown(console: Console, query: str = "") -> list[str]:
    """The moments that a page shows, each as its text, newest first."""
    response = console.get(f"/console/audit?{query}")
    assert response.status_code == 200, words_of(response)
    items = response.text.split("</main>")[0].split('<li class="moment')[1:]
    items = [f"<{item}".split("</ol>\n</section>")[0] for item in items]
    return [" ".join(re.sub(r"<[^>]*>", " ", item).split()) for item in items]


def agents(console: Console, query: str = "") -> list[str]:
    """The agents of the moments that a page shows, oldest first."""
    return [
        re.sub(r"^\S+ (\S+).*", r"\1", item)
        for item in reversed(shown(console, query))
        if "Checkpoint" not in item
    ]


@pytest.fixture
def logged(signed_in: Console, clock: Clock) -> Console:
    """A log with one of each."""
    start = clock.now
    told: list[dict[str, Any]] = [
        {
            "agent": "ann",
            "capability": "prices:read",
            "call_id": "c1",
            "token_id": "t1",
            "chain": ("t1",),
        },
        {"agent": "bob", "capability": "mail:send", "call_id": "c2", **DENIAL},
        {
            "agent": "cyd",
            "capability": "mail:send",
            "call_id": "c3",
            "token_id": "t3",
            "chain": ("t1", "t3"),
        },
        {"event": "outcome", "agent": "cyd", "call_id": "c3", "allowed": False, "reason": "ValueError"},
        {"event": "outcome", "agent": "ann", "call_id": "c1"},
        {
            "agent": "dan",
            "capability": "prices:read",
            "call_id": "c4",
            "allowed": False,
            "code": "token_expired",
        },
        {"event": "revoke", "subject": "agent:eve", "reason": "left the company"},
    ]
    for i, members in enumerate(told):
        clock.now = start + 60 * i
        signed_in.record(**members)
    return signed_in


def test_a_call_is_one_with_its_decision_and_its_outcome(logged: Console) -> None:
    assert [item for item in shown(logged) if "Checkpoint" not in item] == [
        "08:06:00 Revoked: agent eve left the company",
        "08:05:00 dan prices:read denied token_expired Details Call c4 Record 7",
        "08:02:00 cyd (named by ann) mail:send failed The tool ended with ValueError Chain Token t1 Token t3 Call c3 Record 4",
        "08:01:00 bob mail:send denied argument_denied Too much. Details Call c2 Record 3",
        "08:00:00 ann prices:read allowed The tool ended well Chain Token t1 Call c1 Record 2",
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("verdict=denied", ["bob", "dan"]),
        ("verdict=allowed", ["ann", "cyd", "Revoked:"]),
        ("verdict=failed", ["cyd"]),
        ("code=argument_denied", ["bob"]),
        ("verdict=denied&code=token_expired", ["dan"]),
        ("verdict=allowed&code=token_expired", []),
        ("agent=ann", ["ann"]),
        ("agent=an", []),
        ("agent=eve", ["Revoked:"]),
        ("capability=mail:send", ["bob", "cyd"]),
        ("text=TOO+MUCH", ["bob"]),
        ("text=t3", ["cyd"]),
        ("text=left+the", ["Revoked:"]),
        ("since=2027-01-15T08:02", ["cyd", "dan", "Revoked:"]),
        ("since=2027-01-15T08:02:01", ["dan", "Revoked:"]),
        ("until=2027-01-15T08:02", ["ann", "bob"]),
        ("since=2027-01-15T09:05%2B01:00&until=2027-01-15T08:06Z", ["dan"]),
        ("since=2027-01-15T08:02&verdict=denied&agent=dan&capability=prices:read&text=expired", ["dan"]),
        (
            "agent=&verdict=&code=&text=&since=&until=&lines=&before=",
            ["ann", "bob", "cyd", "dan", "Revoked:"],
        ),
    ],
)
def test_the_time_line_can_be_filtered(logged: Console, query: str, found: list[str]) -> None:
    assert agents(logged, query) == found


def test_what_is_asked_for_stays_in_the_form(logged: Console) -> None:
    text = logged.get(
        "/console/audit?agent=dan&code=token_expired&verdict=denied&since=2027-01-15T08:02"
    ).text
    assert 'name="agent" type="text" value="dan"' in text
    assert "<option selected>token_expired</option>" in text
    assert 'value="2027-01-15T08:02"' in text
    assert '<option value="denied" selected>' in text


def test_nothing_found_is_said(logged: Console) -> None:
    assert "Nothing here is like that." in logged.text("/console/audit?agent=nobody")


def test_a_long_log_has_pages_that_stay_while_it_grows(signed_in: Console) -> None:
    for i in range(120):
        signed_in.record(agent=f"a{i}")
    seen: list[str] = []
    page: str | None = "/console/audit"
    while page is not None:
        text = signed_in.get(page).text
        seen += re.findall(r'class="agent" href="[^"]*">(a\d+)<', text)
        after = re.search(r'href="(/console/audit\?[^"]*before=[^"]+)">Older', text)
        page = after[1].replace("&amp;", "&") if after else None
        signed_in.record(agent="later")
    assert seen == [f"a{i}" for i in reversed(range(120))]


def test_a_page_keeps_what_was_asked_for(signed_in: Console) -> None:
    for i in range(120):
        signed_in.record(agent="ann" if i % 2 else "bob", allowed=False, code="not_bound")
    text = signed_in.get("/console/audit?agent=ann&verdict=denied&lines=200000").text
    (after,) = re.findall(r'href="(/console/audit\?[^"]*before=[^"]+)">Older', text)
    second = signed_in.get(after.replace("&amp;", "&")).text
    assert second.count('<li class="moment denied"') == 10
    assert ">bob<" not in second


def test_calls_without_a_token_push_nothing_out_of_sight(signed_in: Console) -> None:
    for _ in range(5):
        signed_in.record(agent="old")
    junk(signed_in, 2_500)
    assert agents(signed_in, "agent=old") == ["old"] * 5
    assert "The whole log was looked through" in signed_in.text("/console/audit?agent=old")
    assert "The newest 51 lines were looked at" in signed_in.text("/console/audit")


def test_only_the_end_of_a_long_log_is_looked_at(signed_in: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("filters", "views"):
        monkeypatch.setattr(f"remit.service.console.{module}.DEPTHS", (1_000, 2_000))
    signed_in.record(agent="old")
    junk(signed_in, 1_000)
    text = signed_in.get("/console/audit?agent=old").text
    assert 'class="moment allowed"' not in text
    assert "Only the newest 1,000 lines were looked at." in text
    assert "Older than the newest 1,000 lines is not looked at" in text
    (further,) = re.findall(r'href="([^"]+)">Look at 2,000 lines', text)
    assert agents(signed_in, further.partition("?")[2].replace("&amp;", "&")) == ["old"]


def test_what_is_read_backwards_is_what_is_there(signed_in: Console) -> None:
    signed_in.record(agent="late", call_id="c", event="outcome")
    signed_in.record(agent="ann", call_id="a")
    signed_in.record(agent="bob", call_id="b")
    signed_in.record(agent="bob", call_id="b", event="secret", allowed=False, code="secret_denied")
    signed_in.record(agent="ann", call_id="a", event="outcome")
    log = Log.read(signed_in.deployment.folder / "audit.jsonl")
    told = [(moment.kind, moment.main.agent) for moment in log.moments if moment.main is not None]
    assert told == [("denied", "bob"), ("allowed", "ann"), ("checkpoint", None), ("allowed", "late")]
    assert (log.is_whole, log.is_bound, log.looked_at) == (True, False, 6)


def test_damaged_lines_are_shown_whatever_is_looked_for_and_each_once(signed_in: Console) -> None:
    path = signed_in.deployment.folder / "audit.jsonl"
    for i in range(3):
        signed_in.record(agent=f"a{i}")
    with path.open("ab") as log:
        log.write(b"damage\n" * 120)
    damaged = 0
    page: str | None = "/console/audit?agent=a1"
    found: list[str] = []
    while page is not None:
        text = signed_in.get(page).text
        damaged += text.count("A line that cannot be read")
        found += re.findall(r'class="agent" href="[^"]*">(a\d+)<', text)
        after = re.search(r'href="(/console/audit\?[^"]*before=[^"]+)">Older', text)
        page = after[1].replace("&amp;", "&") if after else None
    assert damaged == 120
    assert found == ["a1"]


@pytest.mark.parametrize(
    "text", ["", "-", "1-", "-1", "1-2-3", "1.0", "\u0661", "1" * 19, "1-" + "1" * 7, " 1"]
)
def test_what_is_no_place_is_none(text: str) -> None:
    assert Place.parse(text) is None


def test_places_are_in_the_order_of_the_time_line() -> None:
    order = [Place(9), Place(9, 1), Place(9, 2), Place(8), Place(1)]
    assert all(later.is_after(earlier) for earlier, later in itertools.pairwise(order))
    assert not any(earlier.is_after(later) for earlier, later in itertools.pairwise(order))
    assert all(Place.parse(str(place)) == place for place in order)
