"""A guard that follows the feed, and whoever stands between it and the service."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.ledger import PURGE_MARGIN, RemoteLedger, RevocationView
from remit.ledger.sqlite import SqliteLedger
from remit.remote.feed import RevocationFeed
from remit.remote.http import NoAnswer

from .support import LATER, NOW, FakeService, Reply, Request, as_json, verdict

FEED = "/v1/revocations"


@pytest.fixture
def feed(service: FakeService) -> Iterator[RevocationFeed]:
    made = follow(service)
    yield made
    made.close()


def follow(service: FakeService, **options: Any) -> RevocationFeed:
    usual: dict[str, Any] = {"trust": [service.issuer.anchor], "clock": service.clock, "timeout": 2}
    return RevocationFeed(service.url, **{**usual, **options})


def known(feed: RevocationFeed) -> list[str]:
    """What a feed knows, oldest first, having asked."""
    feed.position()
    return [entry.subject for entry in reversed(feed.revocations())]


def refusal(feed: RevocationFeed) -> str:
    with pytest.raises(NoAnswer) as caught:
        feed.position()
    return str(caught.value)


def eventually(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not found():
        if time.monotonic() > deadline:
            pytest.fail("it never came true")
        time.sleep(0.01)


# ── what it knows ───────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_a_ledger_behind_a_network(feed: RevocationFeed) -> None:
    assert isinstance(feed, RemoteLedger)


def test_everything_the_service_revokes_is_known(service: FakeService, feed: RevocationFeed) -> None:
    assert known(feed) == []
    service.revoke(token_id="t-1", reason="private reason")
    service.revoke(agent="agent-a", issued_until=NOW + 30.5)
    service.revoke(key="k" * 43)
    assert known(feed) == ["token:t-1", "agent:agent-a", f"key:{'k' * 43}"]
    token, agent, _ = reversed(feed.revocations())
    assert (token.reason, token.revoked_at, token.expires_at, token.issued_until) == (None, NOW, LATER, None)
    assert (agent.issued_until, agent.expires_at) == (NOW + 30.5, LATER)
    before = feed.position()
    assert feed.position() == before
    service.revoke(token_id="t-2")
    assert known(feed)[3:] == ["token:t-2"]
    assert service.server.requests[-1].query["since"] == "3"


def test_many_pages_are_read_at_once(
    service: FakeService, feed: RevocationFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.remote.feed.MAX_ENTRIES", 10)
    names = [f"t-{number:03}" for number in range(95)]
    service.ledger.revoke(
        [remit.Revocation(revoked_at=NOW, expires_at=LATER, token_id=name) for name in names]
    )
    assert known(feed) == [f"token:{name}" for name in names]
    assert [request.query["since"] for request in service.server.requests] == [
        str(number) for number in range(0, 100, 10)
    ]


def test_more_pages_than_are_read_at_once_are_read_the_next_time(
    service: FakeService, feed: RevocationFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.remote.feed.MAX_ENTRIES", 1)
    monkeypatch.setattr("remit.remote.feed._PAGES", 3)
    for number in range(5):
        service.revoke(token_id=f"t-{number}")
    assert "more revocations" in refusal(feed)
    assert len(known(feed)) == 5


def test_a_nonce_is_new_each_time_and_cannot_be_guessed(service: FakeService, feed: RevocationFeed) -> None:
    for _ in range(5):
        feed.position()
    nonces = [request.query["nonce"] for request in service.server.requests]
    assert len(set(nonces)) == 5
    assert all(len(base64.urlsafe_b64decode(f"{nonce}==")) == 16 for nonce in nonces)


# ── in a guard ──────────────────────────────────────────────────────────────────────────────────────────────


def guard_of(service: FakeService, feed: RevocationFeed, **options: Any) -> remit.Guard:
    return remit.Guard(trust=[service.issuer.anchor], ledger=feed, clock=service.clock, **options)


def test_what_the_service_revokes_a_guard_refuses(service: FakeService, feed: RevocationFeed) -> None:
    guard = guard_of(service, feed)
    first, second = service.issue(max_depth=1), service.issue()
    child = first.delegate("worker", ["tool:use"])
    for credential in (first, child, second):
        guard.check(credential, "tool:use", {})
    service.revoke(token_id=first.token_id)
    eventually(lambda: verdict(lambda: guard.check(first, "tool:use", {})) == "token_revoked")
    assert verdict(lambda: guard.check(child, "tool:use", {})) == "token_revoked"
    assert verdict(lambda: guard.check(second, "tool:use", {})) == "allowed"


def test_without_the_service_what_is_known_stays_and_becomes_stale(
    service: FakeService, feed: RevocationFeed
) -> None:
    guard = guard_of(service, feed, fresh="1m")
    revoked, other = service.issue(ttl="1h"), service.issue(ttl="1h")
    service.revoke(token_id=revoked.token_id)
    guard.check(other, "tool:use", {})
    service.replies[FEED] = lambda _: as_json({}, 503)
    assert verdict(lambda: guard.check(other, "tool:use", {})) == "allowed"
    service.clock.now += 61
    assert verdict(lambda: guard.check(other, "tool:use", {})) == "revocations_stale"
    assert verdict(lambda: guard.check(revoked, "tool:use", {})) == "token_revoked"
    del service.replies[FEED]
    eventually(lambda: verdict(lambda: guard.check(other, "tool:use", {})) == "allowed")


def test_a_service_that_was_never_reached_lets_nobody_in(service: FakeService) -> None:
    service.replies[FEED] = lambda _: as_json({}, 500)
    guard = guard_of(service, follow(service), fresh="90d")
    assert verdict(lambda: guard.check(service.issue(), "tool:use", {})) == "revocations_stale"


def test_a_task_ends_its_child(service: FakeService, feed: RevocationFeed) -> None:
    guard = guard_of(service, feed)
    with guard.task(service.issue(max_depth=1), task="t-17", capabilities=["tool:use"]) as child:
        guard.check(child, "tool:use", {}, task="t-17")
    assert verdict(lambda: guard.validate(child.chain, task="t-17")) == "token_revoked"
    assert service.ledger.revocations() == []


def test_limits_and_proofs_are_counted_here(service: FakeService, feed: RevocationFeed) -> None:
    guard = guard_of(service, feed)
    limited = service.issue(limits={"tool:use": remit.Limit(max_uses=1)})
    guard.check(limited, "tool:use", {})
    assert verdict(lambda: guard.check(limited, "tool:use", {})) == "limit_exceeded"
    assert guard.explain(limited, "tool:use", {}).code == "limit_exceeded"
    shown = service.issue().present("tool:use", {})
    guard.verify(shown, "tool:use", {})
    assert verdict(lambda: guard.verify(shown, "tool:use", {})) == "proof_replayed"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "local.db"


def test_what_was_revoked_here_or_there_outlives_a_restart(service: FakeService, path: Path) -> None:
    here, there, fresh = service.issue(ttl="1h"), service.issue(ttl="1h"), service.issue(ttl="1h")
    first = follow(service, ledger=SqliteLedger(path))
    guard = guard_of(service, first)
    service.revoke(token_id=there.token_id)
    assert verdict(lambda: guard.check(there, "tool:use", {})) == "token_revoked"
    assert guard.revoke(here.token_id, reason="mine")
    first.close()
    service.ledger._revoked.clear()
    second = follow(service, ledger=SqliteLedger(path))
    again = guard_of(service, second)
    for credential in (here, there):
        assert verdict(lambda: again.check(credential, "tool:use", {})) == "token_revoked"  # noqa: B023
    assert verdict(lambda: again.check(fresh, "tool:use", {})) == "allowed"
    assert {entry.reason for entry in again.revocations()} == {"mine", None}
    second.close()


def test_a_second_guard_on_the_local_ledger_hears_of_it(service: FakeService, path: Path) -> None:
    feeds = [follow(service, ledger=SqliteLedger(path)) for _ in range(2)]
    one, other = [guard_of(service, feed) for feed in feeds]
    credential = service.issue()
    other.check(credential, "tool:use", {})
    one.revoke(credential.token_id)
    eventually(lambda: verdict(lambda: other.check(credential, "tool:use", {})) == "token_revoked")
    for feed in feeds:
        feed.close()


def test_reading_it_all_again_changes_nothing_in_the_local_ledger(service: FakeService, path: Path) -> None:
    service.revoke(token_id="t-1")
    service.revoke(agent="a", issued_until=NOW + 30)
    first = follow(service, ledger=SqliteLedger(path))
    before = first.position()
    service.clock.now += 3600
    second = follow(service, ledger=SqliteLedger(path))
    assert second.position() == before
    for feed in (first, second):
        feed.close()


def test_an_entry_covers_never_less_than_before(service: FakeService, feed: RevocationFeed) -> None:
    feed.revoke([remit.Revocation(revoked_at=NOW, expires_at=LATER + 9, agent="a", issued_until=NOW + 99)])
    service.revoke(agent="a", issued_until=NOW + 30)
    feed.position()
    [entry] = feed.revocations()
    assert (entry.issued_until, entry.expires_at) == (NOW + 99, LATER + 9)


def test_the_rest_of_the_ledger_is_the_local_one(service: FakeService) -> None:
    local = remit.MemoryLedger()
    feed = follow(service, ledger=local)
    live = remit.LiveToken(token_id="t", agent="a", issuer="i", holder="h", issued_at=NOW, expires_at=NOW + 5)
    feed.enroll(live)
    assert feed.token("t") == local.token("t") == live
    assert feed.tokens(NOW) == [live]
    assert feed.purge(NOW + 5 + PURGE_MARGIN) == 1
    assert service.server.requests == []


async def test_an_event_loop_does_not_wait_for_the_feed(service: FakeService, feed: RevocationFeed) -> None:
    let = threading.Event()

    def held(request: Request) -> Reply:
        let.wait(30)
        return service.page(request)

    service.replies[FEED] = held
    bound: Any = remit.bind_tool(tool, guard_of(service, feed), service.issue(), capability="tool:use")
    calling = asyncio.create_task(bound())
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not calling.done()
    let.set()
    assert await calling == "done"


async def tool() -> str:
    return "done"


def test_many_that_ask_at_once_share_what_is_read(service: FakeService, feed: RevocationFeed) -> None:
    let = threading.Event()

    def held(request: Request) -> Reply:
        let.wait(30)
        return service.page(request)

    service.replies[FEED] = held
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(feed.position)
        eventually(lambda: service.server.requests)
        rest = [pool.submit(feed.position) for _ in range(19)]
        time.sleep(0.1)  # they all wait now
        service.revoke(token_id="t-1")
        let.set()
        assert {run.result(30).number for run in [first, *rest]} <= {0, 1}
    assert len(service.server.requests) <= 3
    assert feed.position().number == 1


def test_those_who_share_a_failure_are_told(service: FakeService, feed: RevocationFeed) -> None:
    let = threading.Event()

    def held(_: Request) -> Reply:
        let.wait(30)
        return as_json({}, 500)

    service.replies[FEED] = held
    with ThreadPoolExecutor(10) as pool:
        runs = [pool.submit(feed.position) for _ in range(10)]
        eventually(lambda: service.server.requests)
        time.sleep(0.1)
        let.set()
        assert all("status 500" in str(run.exception(30)) for run in runs)
    assert len(service.server.requests) <= 3


# ── whoever stands in between ───────────────────────────────────────────────────────────────────────────────


def test_a_page_that_another_has_signed_is_refused(service: FakeService, feed: RevocationFeed) -> None:
    service.issuer = remit.Issuer.generate(service.url)
    service.revoke(token_id="t-1")
    assert refusal(feed) == "sent a page that was not signed by an issuer that is trusted here"
    assert feed.revocations() == []


def test_a_page_for_which_somebody_else_is_trusted_is_refused(service: FakeService) -> None:
    same_key = remit.TrustAnchor("https://other.example", service.issuer.anchor.jwk)
    assert "names another issuer" in refusal(follow(service, trust=[same_key]))


def test_a_page_that_was_altered_is_refused(service: FakeService, feed: RevocationFeed) -> None:
    def altered(request: Request) -> Reply:
        header, payload, signature = service.page(request).body.decode().split(".")
        members = json.loads(base64.urlsafe_b64decode(payload + "=="))
        members["entries"] = []
        forged = base64.urlsafe_b64encode(json.dumps(members).encode()).decode().rstrip("=")
        return Reply(kind="application/jwt", body=f"{header}.{forged}.{signature}".encode())

    service.revoke(token_id="t-1")
    service.replies[FEED] = altered
    assert "does not verify" in refusal(feed)


def test_an_old_page_is_refused(service: FakeService, feed: RevocationFeed) -> None:
    seen: list[Reply] = []

    def replayed(request: Request) -> Reply:
        seen.append(service.page(request))
        return seen[0]

    service.replies[FEED] = replayed
    feed.position()
    assert "does not repeat the nonce" in refusal(feed)


@pytest.mark.parametrize("kind", ["token", "checkpoint", "proof"])
def test_what_the_issuer_signed_for_something_else_is_no_page(
    service: FakeService, feed: RevocationFeed, kind: str
) -> None:
    said = {
        "token": service.issue().token,
        "proof": service.issue().present("tool:use", {}).proof,
        "checkpoint": service.issuer.attest(
            {"since": 0, "number": 9, "store": "s", "more": False, "entries": []}
        ),
    }[kind]
    service.replies[FEED] = lambda _: Reply(kind="application/jwt", body=said.encode())
    assert "typ is not remit-revocations+jwt" in refusal(feed)


def test_a_page_is_no_token(service: FakeService) -> None:
    page = service.issuer.publish({"since": 0})
    guard = remit.Guard(trust=[service.issuer.anchor], clock=service.clock)
    assert verdict(lambda: guard.validate(page)) == "token_malformed"


BAD: dict[str, dict[str, Any]] = {
    "no nonce": {"nonce": ...},
    "another nonce": {"nonce": "AAAAAAAAAAAAAAAAAAAAAA"},
    "a nonce of another type": {"nonce": 7},
    "another since": {"since": 7},
    "since as a fraction": {"since": 0.5},
    "since as text": {"since": "0"},
    "since as a boolean": {"since": False},
    "no since": {"since": ...},
    "no time": {"iat": ...},
    "no store": {"store": ...},
    "a blank store": {"store": ""},
    "a long store": {"store": "s" * 257},
    "a number below zero": {"number": -1},
    "a number that is text": {"number": "1"},
    "no number": {"number": ...},
    "more as a number": {"more": 1},
    "no more": {"more": ...},
    "more of nothing": {"more": True},
    "more that leads nowhere": {"more": True, "number": 0, "entries": [["token:t", LATER, None]]},
    "no entries": {"entries": ...},
    "entries that are no list": {"entries": {"token:t": 1}},
    "too many entries": {"entries": [["token:t", 1, None]] * 5_001},
    "an entry of two": {"entries": [["token:t", LATER]]},
    "an entry of four": {"entries": [["token:t", LATER, None, "reason"]]},
    "an entry that is text": {"entries": ["token:t"]},
    "a subject of no kind": {"entries": [["t", LATER, None]]},
    "a subject of another kind": {"entries": [["user:t", LATER, None]]},
    "a subject without a name": {"entries": [["token:", LATER, None]]},
    "a subject with a NUL": {"entries": [["token:a\0b", LATER, None]]},
    "a subject that is a number": {"entries": [[7, LATER, None]]},
    "a long subject": {"entries": [["token:" + "t" * 600, LATER, None]]},
    "no expiry": {"entries": [["token:t", None, None]]},
    "an expiry below zero": {"entries": [["token:t", -1, None]]},
    "an expiry beyond the end": {"entries": [["token:t", 2**50, None]]},
    "an expiry that is a fraction": {"entries": [["token:t", 1.5, None]]},
    "a token with a time of issue": {"entries": [["token:t", LATER, 5]]},
    "an agent with a time that is none": {"entries": [["agent:t", LATER, "5"]]},
    "an agent with a time that is a boolean": {"entries": [["agent:t", LATER, True]]},
    "an agent with a time below zero": {"entries": [["agent:t", LATER, -5]]},
}


@pytest.mark.parametrize("name", BAD)
def test_a_page_that_makes_no_sense_is_refused_whoever_signed_it(
    service: FakeService, feed: RevocationFeed, name: str
) -> None:
    service.twist = lambda page: {
        key: value for key, value in {**page, **BAD[name]}.items() if value is not ...
    }
    assert refusal(feed).startswith("sent a page that ")
    service.twist = lambda page: page
    service.revoke(token_id="t-9")
    assert known(feed)[-1] == "token:t-9"


@pytest.mark.parametrize(
    "reply",
    [
        as_json({}),
        as_json({}, 404),
        as_json({}, 302, headers={"location": "http://127.0.0.1:1"}),
        Reply(kind="application/jwt", body=b""),
        Reply(kind="application/jwt", body=b"a.b.c"),
        Reply(kind="application/jwt", body=b"\xff.\xff.\xff"),
        Reply(kind="application/jwt", body=b"a" * (2 * 1024 * 1024 + 1)),
        Reply(kind="application/jwt", status=500),
        Reply(raw=[b"HTTP/1.1 200 OK\r\ncontent-type: application/jwt\r\ncontent-length: 999\r\n\r\nabc"]),
    ],
    ids=["json", "missing", "redirect", "empty", "dots", "bytes", "huge", "error", "cut"],
)
def test_what_is_no_page_is_no_answer(service: FakeService, feed: RevocationFeed, reply: Reply) -> None:
    service.replies[FEED] = lambda _: reply
    assert refusal(feed)
    assert feed.revocations() == []


def test_another_content_type_is_no_page(service: FakeService, feed: RevocationFeed) -> None:
    service.replies[FEED] = lambda request: Reply(kind="text/html", body=service.page(request).body)
    assert "no signed page" in refusal(feed)


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_that_was_rotated_in_is_looked_for(service: FakeService) -> None:
    anchors = remit.RemoteAnchors(service.url)
    feed = follow(service, trust=anchors)
    feed.position()
    service.rotate()
    service.revoke(token_id="t-1")
    assert known(feed) == ["token:t-1"]


def test_a_page_by_a_key_that_the_feed_revoked_is_refused(service: FakeService) -> None:
    old = service.issuer
    feed = follow(service, trust=remit.RemoteAnchors(service.url))
    service.rotate()
    service.revoke(key=old.anchor.key.thumbprint)
    feed.position()
    service.issuer = old
    service.revoke(token_id="by-the-thief")
    assert refusal(feed) == "sent a page that was signed with a key that was revoked"
    assert [entry.key for entry in feed.revocations()] == [old.anchor.key.thumbprint]


def test_a_page_by_a_key_that_was_revoked_here_is_refused(service: FakeService, path: Path) -> None:
    local = SqliteLedger(path)
    service.revoke(token_id="t-1")
    key = service.issuer.anchor.key.thumbprint
    local.revoke([remit.Revocation(revoked_at=NOW, expires_at=LATER, key=key)])
    feed = follow(service, ledger=local)
    assert "a key that was revoked" in refusal(feed)
    feed.close()


def test_a_page_that_revokes_its_own_key_is_taken_at_its_word_and_counts_for_nothing_more(
    service: FakeService, feed: RevocationFeed
) -> None:
    service.revoke(key=service.issuer.anchor.key.thumbprint)
    assert "revokes the key it was signed with" in refusal(feed)
    assert len(feed.revocations()) == 1
    assert "a key that was revoked" in refusal(feed)


def test_a_page_without_a_kid_is_refused(service: FakeService, feed: RevocationFeed) -> None:
    from remit.token import sign  # as nobody but a test does

    def nameless(request: Request) -> Reply:
        header = (
            base64.urlsafe_b64encode(b'{"alg":"Ed25519","typ":"remit-revocations+jwt"}').decode().rstrip("=")
        )
        page: dict[str, Any] = {"iss": service.url, "since": 0, "nonce": request.query["nonce"], "number": 0}
        return Reply(kind="application/jwt", body=sign(header, page, service.issuer._key).text.encode())

    service.replies[FEED] = nameless
    assert "does not say which key" in refusal(feed)


# ── stores that change ──────────────────────────────────────────────────────────────────────────────────────


def test_another_store_is_read_from_its_beginning_and_nothing_is_forgotten(
    service: FakeService, feed: RevocationFeed, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        service.revoke(token_id=f"old-{number}")
    feed.position()
    service.ledger = remit.MemoryLedger()
    service.revoke(token_id="new-1")
    assert known(feed) == ["token:old-0", "token:old-1", "token:old-2", "token:new-1"]
    assert "nothing is forgotten" in caplog.text


def test_a_store_that_was_set_back_is_read_from_its_beginning_and_nothing_is_forgotten(
    service: FakeService, feed: RevocationFeed
) -> None:
    for number in range(3):
        service.revoke(token_id=f"old-{number}")
    feed.position()
    service.ledger._revoked.popitem()
    service.ledger._revoked.popitem()
    service.ledger._count = 1
    service.revoke(token_id="new-1")
    assert known(feed) == ["token:old-0", "token:old-1", "token:old-2", "token:new-1"]
    service.revoke(token_id="new-2")
    assert known(feed)[-1] == "token:new-2"


def test_a_feed_that_changes_its_store_each_time_is_left(service: FakeService, feed: RevocationFeed) -> None:
    service.revoke(token_id="t-1")
    feed.position()
    stores = iter(range(1000))
    service.twist = lambda page: {
        **page,
        "store": f"s-{next(stores)}",
        "number": page["number"] + 1,
        "more": bool(page["entries"]),
    }
    assert "another store each time" in refusal(feed)
    assert len(service.server.requests) < 20


def test_a_view_forgets_nothing_when_the_feed_is_set_back(service: FakeService, feed: RevocationFeed) -> None:
    view = RevocationView(feed, service.clock)
    service.revoke(token_id="t-1")
    view.catch_up()
    service.ledger = remit.MemoryLedger()
    view.catch_up()
    assert view.revoked(frozenset({"token:t-1"}))
    view.close()


# ── arguments ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "options",
    [{"trust": []}, {"trust": None}, {"ledger": "sqlite:///x"}, {"clock": 5}, {"timeout": "1h"}, {"ca_file": "/does/not/exist"}],
    ids=str,
)  # fmt: skip
def test_arguments_that_make_no_sense_are_refused(service: FakeService, options: dict[str, Any]) -> None:
    with pytest.raises(remit.ConfigError):
        follow(service, **options)


def test_it_is_not_pickled_or_copied(feed: RevocationFeed, service: FakeService) -> None:
    assert repr(feed) == f"<RevocationFeed of {service.url}>"
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            take(feed)


def test_waiting_ends_early_when_the_local_ledger_has_something_new(feed: RevocationFeed) -> None:
    feed.position()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(feed.wait, 25)
        feed.revoke([remit.Revocation(revoked_at=NOW, expires_at=LATER, token_id="t")])
        waiting.result(20)


def test_waiting_is_the_local_ledgers_when_that_is_behind_a_network(service: FakeService) -> None:
    waited: list[float] = []

    class Remote(remit.MemoryLedger):
        def wait(self, timeout: float) -> None:
            waited.append(timeout)

    follow(service, ledger=Remote()).wait(7)
    assert waited == [7]
