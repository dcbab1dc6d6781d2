"""What a guard knows of revocations: from when it is, what follows a remote ledger, what is forgotten when."""

from __future__ import annotations

import gc
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from remit.ledger import PURGE_MARGIN, Changes, Ledger, MemoryLedger, Position, RevocationView, view_of
from remit.ledger import view as view_module
from remit.ledger.sqlite import SqliteLedger

from .contract import DAY, NOW, of_agent, of_key, of_token
from .threads import together

HOUR = 3_600


def clock() -> float:
    return NOW


class Local(MemoryLedger):
    """A ledger on this machine, which may fail, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = False
        self.asked: list[str] = []

    def _answer(self, question: str) -> None:
        self.asked.append(question)
        if self.failing:
            raise OSError("away")

    def position(self) -> Position:
        self._answer("position")
        return super().position()

    def changes(self, since: int, limit: int = 3) -> Changes:
        self._answer(f"changes since {since}")
        return super().changes(since, limit)

    def loses(self, name: str) -> None:
        """It is another store from now on, and empty."""
        with self._lock:
            self._revoked.clear()
            self._count, self._store = 0, name


class Wire(Local):
    """A remote ledger: it pushes when something is revoked, and its wire can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.news = threading.Event()
        self.waits = 0

    def revoke(self, revocations: Any) -> list[bool]:
        said = super().revoke(revocations)
        self.news.set()
        return said

    def wait(self, timeout: float) -> None:
        self.waits += 1
        if self.failing:
            raise OSError("cut")
        if timeout and self.news.wait(min(timeout, 0.05)):
            self.news.clear()

    def cut(self) -> None:
        """From now on nothing comes through; who waits is told."""
        self.failing = True
        self.news.set()


class Followed(SqliteLedger):
    """A ledger that several processes share, and that says it is remote."""

    def wait(self, timeout: float) -> None:
        time.sleep(min(timeout, 0.01))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is three changes, and a wire that was cut is tried again soon."""
    monkeypatch.setattr(view_module, "PAGE", 3)
    monkeypatch.setattr(view_module, "_BACKOFF", 0.01)


@pytest.fixture
def local() -> Local:
    return Local()


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def view(local: Local) -> RevocationView:
    return RevocationView(local, clock)


@pytest.fixture
def following(wire: Wire) -> Iterator[RevocationView]:
    """A view of the remote ledger whose thread runs, and has read what there was."""
    view = RevocationView(wire, clock)
    assert view.refresh(NOW, 60) == about(NOW)
    eventually(lambda: wire.waits >= 2)
    yield view
    view.close()


def about(second: float) -> Any:
    """A time that real time has not moved far from."""
    return pytest.approx(second, abs=5)


def eventually(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not found():
        if time.monotonic() > deadline:
            pytest.fail("it never came true")
        time.sleep(0.002)


def knows(view: RevocationView, *subjects: str) -> bool:
    """Whether all of these are known to be revoked, without asking the ledger."""
    return {subject for subject, _ in view.revoked(frozenset(subjects))} == set(subjects)


def refreshed(view: RevocationView, _: int) -> float:
    return view.refresh(NOW, 60)


# ── a ledger on this machine ────────────────────────────────────────────────────────────────────────────────


def test_a_ledger_on_this_machine_is_asked_every_time_and_read_when_it_has_moved(
    local: Local, view: RevocationView
) -> None:
    for number in range(5):
        local.revoke([of_token(f"t-{number}")])
        local.asked.clear()
        for _ in range(3):
            assert view.refresh(NOW + number, 1) == NOW + number
        assert local.asked == ["position", f"changes since {number}", "position", "position"]
        assert knows(view, f"token:t-{number}")


def test_much_is_read_page_by_page(local: Local, view: RevocationView) -> None:
    local.revoke([of_token(f"t-{number}") for number in range(10)])
    assert view.refresh(NOW, 1) == NOW
    assert knows(view, *(f"token:t-{number}" for number in range(10)))
    assert local.asked == ["position", *(f"changes since {since}" for since in (0, 3, 6, 9))]


def test_what_was_read_before_a_ledger_failed_is_not_read_again(
    local: Local, view: RevocationView, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.revoke([of_token(f"t-{number}") for number in range(8)])
    answers = iter([local.changes(0), local.changes(3)])
    with monkeypatch.context() as patched:
        patched.setattr(local, "changes", lambda since: next(answers))  # and then it fails
        assert view.refresh(NOW, 1) == -math.inf
    assert knows(view, "token:t-5")
    local.asked.clear()
    assert view.refresh(NOW, 1) == NOW
    assert local.asked[1] == "changes since 6"
    assert knows(view, "token:t-7")


@pytest.mark.parametrize("jump", [0, 1, 59, 3_600, 10 * DAY, -1, -3_600])
def test_what_is_known_is_from_the_last_time_it_answered_whatever_the_clock_does(
    local: Local, view: RevocationView, jump: float
) -> None:
    assert view.refresh(NOW - 7, 1) == NOW - 7
    assert view.refresh(NOW, 1) == NOW
    local.failing = True
    assert view.refresh(NOW + jump, 1) <= NOW
    local.failing = False
    assert view.refresh(NOW + jump, 1) == NOW + jump


def test_a_ledger_that_never_answered_is_known_from_no_time(local: Local, view: RevocationView) -> None:
    local.failing = True
    assert view.refresh(NOW, 10**9) == -math.inf
    assert view.refresh(NOW, 10**9) == -math.inf


def test_that_it_fails_and_that_it_answers_again_is_said_once(
    local: Local, view: RevocationView, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "remit")
    for failing in (False, True, True, True, False, False, True):
        local.failing = failing
        view.refresh(NOW, 1)
    said = [record.getMessage() for record in caplog.records]
    assert ["answers again" in message for message in said] == [False, True, False]
    assert all("away" not in message for message in said)  # an error may quote a URL, and so a password


# ── what is known ───────────────────────────────────────────────────────────────────────────────────────────


def test_an_agent_is_revoked_up_to_a_time_and_the_rest_for_good(local: Local, view: RevocationView) -> None:
    local.revoke([of_agent("a"), of_token("t"), of_key("k"), of_token("other")])
    view.refresh(NOW, 1)
    asked = frozenset({"agent:a", "token:t", "key:k", "token:unknown", "agent:t", "token:a"})
    assert dict(view.revoked(asked)) == {"agent:a": NOW + 30, "token:t": math.inf, "key:k": math.inf}
    local.revoke([of_agent("a", revoked_at=NOW + 50, issued_until=NOW + 80)])
    view.refresh(NOW + 50, 1)
    assert dict(view.revoked(asked))["agent:a"] == NOW + 80


def test_nothing_makes_an_agent_less_revoked(local: Local, view: RevocationView) -> None:
    view.note([of_agent("a", issued_until=NOW + 80)])
    view.note([of_agent("a", issued_until=NOW + 30, expires_at=NOW - 10 * DAY)])
    local.revoke([of_agent("a", issued_until=NOW + 10)])
    view.refresh(NOW, 1)
    assert list(view.revoked(frozenset({"agent:a"}))) == [("agent:a", NOW + 80)]


def test_what_this_process_has_revoked_is_known_at_once(local: Local, view: RevocationView) -> None:
    local.failing = True
    view.note([of_token("a"), of_agent("b")])
    assert knows(view, "token:a", "agent:b")
    local.failing = False
    view.refresh(NOW, 1)
    assert knows(view, "token:a", "agent:b")


def test_it_is_forgotten_when_its_token_has_been_expired_for_the_margin(
    local: Local, view: RevocationView
) -> None:
    local.revoke(
        [of_token("a", expires_at=NOW), of_agent("b", expires_at=NOW), of_token("c", expires_at=NOW + DAY)]
    )
    local.revoke([of_token("d", expires_at=NOW), of_token("d", expires_at=NOW + DAY)])
    view.refresh(NOW, 1)
    view.refresh(NOW + PURGE_MARGIN, 1)
    assert knows(view, "token:a", "agent:b", "token:c", "token:d")
    view.refresh(NOW + PURGE_MARGIN + 2 * HOUR, 1)
    assert not view.revoked(frozenset({"token:a", "agent:b"}))
    assert knows(view, "token:c", "token:d")  # the expiry of one was put off
    view.refresh(NOW + PURGE_MARGIN + DAY + 4 * HOUR, 1)
    assert not view.revoked(frozenset({"token:c", "token:d"}))
    assert (view._known.hours, view._known.agents, view._known.buckets) == ({}, {}, {})


def test_a_clock_that_jumps_ahead_and_back_makes_it_forget_what_the_ledger_still_tells(
    local: Local, view: RevocationView
) -> None:
    """A view forgets by the clock; the margin of a day is what a clock may jump."""
    local.revoke([of_token("a", expires_at=NOW + 600)])
    view.refresh(NOW, 1)
    view.refresh(NOW + DAY, 1)
    view.refresh(NOW, 1)
    assert knows(view, "token:a")


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_a_store_that_was_replaced_is_read_anew_and_nothing_is_forgotten(
    local: Local, view: RevocationView, kept: int
) -> None:
    local.revoke([of_token("a"), of_token("b"), of_agent("c")])
    view.refresh(NOW, 1)
    local.loses("another")
    local.revoke([of_token(f"new-{number}") for number in range(kept)])
    assert view.refresh(NOW, 1) == NOW
    assert knows(view, "token:a", "token:b", "agent:c", *(f"token:new-{number}" for number in range(kept)))
    local.revoke([of_token("later")])
    view.refresh(NOW, 1)
    assert knows(view, "token:later")


def test_an_older_state_of_the_store_is_read_anew_and_nothing_is_forgotten(
    local: Local, view: RevocationView
) -> None:
    store = local.position().store
    local.revoke([of_token(f"t-{number}") for number in range(5)])
    view.refresh(NOW, 1)
    local.loses(store)  # restored from before all that
    local.revoke([of_token("other")])
    view.refresh(NOW, 1)
    assert knows(view, "token:other", *(f"token:t-{number}" for number in range(5)))


def test_threads_that_check_while_others_revoke_know_what_was_revoked_before(
    local: Local, view: RevocationView
) -> None:
    def work(number: int) -> bool:
        for step in range(50):
            name = f"{number}-{step}"
            local.revoke([of_token(name)])
            if view.refresh(NOW, 1) != NOW or not knows(view, f"token:{name}"):
                return False
        return True

    assert together(work, 8) == [True] * 8
    assert len(view._hours) == 400


def test_guards_of_one_ledger_and_one_clock_share_a_view(local: Local) -> None:
    first = view_of(local, clock)
    assert view_of(local, clock) is first
    assert view_of(local, time.time) is not first
    assert view_of(Local(), clock) is not first


# ── a remote ledger ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_push_is_heard_without_anybody_asking(wire: Wire, following: RevocationView) -> None:
    for number in range(3):
        wire.revoke([of_token(f"t-{number}")])
        eventually(lambda number=number: knows(following, f"token:t-{number}"))  # type: ignore[misc]


def test_a_check_does_not_ask_while_what_is_known_is_recent_enough(
    wire: Wire, following: RevocationView, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = threading.current_thread()
    askers: list[threading.Thread] = []
    monkeypatch.setattr(wire, "_answer", lambda _: askers.append(threading.current_thread()))
    for _ in range(100):
        assert NOW - following.refresh(NOW, 60) < 60
    assert me not in askers


def test_a_check_asks_itself_when_what_is_known_is_too_old(wire: Wire, following: RevocationView) -> None:
    assert following.refresh(NOW + 3_600, 60) == about(NOW + 3_600)
    assert following.refresh(NOW + 7_200, 3_599) == about(NOW + 7_200)


def test_cut_off_what_is_known_ages_and_it_is_not_asked_at_every_check(
    wire: Wire, following: RevocationView
) -> None:
    wire.revoke([of_token("a")])
    eventually(lambda: knows(following, "token:a"))
    following.refresh(NOW, 60)
    wire.cut()
    eventually(lambda: following._failed != -math.inf)
    following.close()  # only the checks ask from here on
    following._following = threading.Event()
    wire.asked.clear()
    for age in (0, 30, 60, 61, 3_600, DAY):
        assert following.refresh(NOW + age, 60) <= NOW
    assert len(wire.asked) <= 1  # it has just failed
    assert knows(following, "token:a")


def test_a_clock_set_ahead_makes_it_older_and_never_newer(wire: Wire, following: RevocationView) -> None:
    following.refresh(NOW, 60)
    wire.cut()
    eventually(lambda: following._failed != -math.inf)
    for now in (NOW + 5_000, NOW + 10_000, NOW + 4_000):
        assert following.refresh(now, 10**6) <= NOW + 1
    assert following.refresh(NOW - 50, 10**6) <= NOW


def test_it_recovers_by_itself_and_learns_what_it_missed(
    wire: Wire, following: RevocationView, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "remit")
    wire.revoke([of_token("before")])
    eventually(lambda: knows(following, "token:before"))
    wire.cut()
    eventually(lambda: following._failed != -math.inf)
    MemoryLedger.revoke(wire, [of_token("missed")])  # no push
    time.sleep(0.05)
    assert not knows(following, "token:missed")
    wire.failing = False
    eventually(lambda: knows(following, "token:missed"))
    eventually(lambda: following._failed == -math.inf)
    assert ["answers again" in record.getMessage() for record in caplog.records] == [False, True]


def test_cut_off_it_may_have_been_set_back_and_is_read_from_the_start(
    wire: Wire, following: RevocationView
) -> None:
    wire.revoke([of_token("a"), of_token("b")])
    eventually(lambda: knows(following, "token:a", "token:b"))
    store = wire.position().store
    wire.cut()
    eventually(lambda: following._failed != -math.inf)
    wire.loses(store)
    MemoryLedger.revoke(wire, [of_token("c"), of_token("d")])  # as far as before, and other things
    wire.failing = False
    eventually(lambda: knows(following, "token:a", "token:b", "token:c", "token:d"))


def test_a_remote_ledger_that_never_answered_is_known_from_no_time(wire: Wire) -> None:
    wire.cut()
    view = RevocationView(wire, clock)
    assert view.refresh(NOW, 10**9) == -math.inf
    wire.failing = False
    eventually(lambda: view.refresh(NOW, 60) == about(NOW))
    view.close()


def followers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "remit-revocations"}


def test_the_thread_ends_with_the_view_and_begins_anew_when_it_is_asked(wire: Wire) -> None:
    before = followers()
    view = RevocationView(wire, clock)
    assert followers() == before  # nobody has asked
    together(partial(refreshed, view), 8)
    [follower] = followers() - before
    view.close()
    view.close()
    follower.join(10)
    assert not follower.is_alive()
    view.refresh(NOW, 60)
    [follower] = followers() - before
    wire.revoke([of_token("a")])
    eventually(partial(knows, view, "token:a"))
    del view
    gc.collect()
    follower.join(10)
    assert not follower.is_alive()


def test_the_thread_ends_with_the_view_also_while_the_wire_is_cut(wire: Wire) -> None:
    before = followers()
    view = RevocationView(wire, clock)
    wire.cut()
    view.refresh(NOW, 60)
    [follower] = followers() - before
    del view
    gc.collect()
    follower.join(10)
    assert not follower.is_alive()


def test_a_ledger_nobody_else_holds_is_not_kept_by_the_thread() -> None:
    before = followers()
    ledger: Ledger = Wire()
    view = view_of(ledger, clock)
    view.refresh(NOW, 60)
    [follower] = followers() - before
    del ledger, view
    gc.collect()
    follower.join(10)
    assert not follower.is_alive()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_follows_for_itself_after_a_fork(tmp_path: Path) -> None:
    ledger = Followed(tmp_path / "ledger.db")
    view = view_of(ledger, clock)
    ledger.revoke([of_token("before")])
    view.refresh(NOW, 60)
    eventually(lambda: knows(view, "token:before"))
    reading, writing = os.pipe()
    heard, told = os.pipe()
    with view._lock:  # as a thread has it that reads at this moment
        pid = os.fork()
    if not pid:
        try:
            view.refresh(NOW, 60)
            os.write(writing, b"1" if knows(view, "token:before") else b"0")
            os.read(heard, 1)  # the parent has revoked another one
            eventually(lambda: knows(view, "token:after"))
            os.write(writing, b"1")
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b"1"
    ledger.revoke([of_token("after")])
    os.write(told, b"x")
    assert os.read(reading, 1) == b"1"
    os.waitpid(pid, 0)
    for handle in (reading, heard, told):
        os.close(handle)
    eventually(lambda: knows(view, "token:after"))
    view.close()
    ledger.close()
