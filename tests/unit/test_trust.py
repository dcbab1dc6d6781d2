"""Anchors that change while a guard runs: what is trusted when, and how often anybody looks."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

import remit
from remit import trust
from remit.token import unverified_claims
from remit.trust import AnchorSource, FixedAnchors, WatchedAnchors, trusted

from .support import Clock, World, refusal, verdict

URI = "https://auth.acme.example"


class Shelf:
    """Where anchors are read from: counts how often, and may be broken or slow."""

    def __init__(self, *issuers: remit.Issuer) -> None:
        self.anchors = [issuer.anchor for issuer in issuers]
        self.reads = 0
        self.broken: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def __call__(self) -> Iterable[remit.TrustAnchor]:
        self.reads += 1
        found = list(self.anchors)
        assert self.open.wait(30)
        if self.broken is not None:
            raise self.broken
        return found


def issuer() -> remit.Issuer:
    return remit.Issuer.generate(URI)


def watched(
    shelf: Callable[[], Iterable[remit.TrustAnchor]], ticks: Clock, every: float = 300, *, waits: bool = False
) -> WatchedAnchors:
    return WatchedAnchors(shelf, every=every, waits=waits, ticks=ticks)


def eventually(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not found():
        if time.monotonic() > deadline:
            pytest.fail("it never came true")
        time.sleep(0.005)


def has_read(source: WatchedAnchors, shelf: Shelf, reads: int) -> bool:
    """Whether so many readings have begun, and the last one is over."""
    return shelf.reads == reads and not source._lock.locked()


def readers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "remit-anchors"}


@pytest.fixture
def ticks() -> Clock:
    return Clock(1000)


def test_fixed_anchors_stay_as_they_are() -> None:
    own = issuer()
    source = trusted([own.anchor])
    before = source.anchors()
    source.refresh(issuer().anchor.key.thumbprint)
    assert source.anchors() is before
    assert before == (own.anchor,)
    assert not source.waits
    assert isinstance(source, FixedAnchors)


def test_what_is_a_source_is_taken_as_it_is(ticks: Clock) -> None:
    source = watched(Shelf(issuer()), ticks)
    assert isinstance(source, AnchorSource)
    assert trusted(source) is source


@pytest.mark.parametrize(
    "trust", [[], None, "anchor", [1], remit.MemoryLedger()], ids=["none", "None", "text", "number", "ledger"]
)
def test_nobody_to_trust_is_an_error(trust: object) -> None:
    with pytest.raises(remit.ConfigError):
        remit.Guard(trust=trust)  # type: ignore[arg-type]


def test_the_first_reading_must_work(ticks: Clock) -> None:
    shelf = Shelf()
    with pytest.raises(remit.ConfigError):
        watched(shelf, ticks)
    shelf.broken = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        watched(shelf, ticks)


def test_the_same_anchors_are_the_same_object(ticks: Clock) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, every=10)
    before = source.anchors()
    ticks.now += 10
    assert source.anchors() is before
    assert shelf.reads == 2


def test_they_are_read_anew_when_it_is_time_and_not_before(ticks: Clock) -> None:
    old, new = issuer(), issuer()
    shelf = Shelf(old)
    source = watched(shelf, ticks, every=10)
    shelf.anchors = [new.anchor]
    ticks.now += 9.9
    assert source.anchors() == (old.anchor,)
    ticks.now += 0.2
    assert source.anchors() == (new.anchor,)
    assert shelf.reads == 2


@pytest.mark.parametrize(("waits", "pause"), [(True, 1), (False, 0.05)], ids=["network", "files"])
def test_unknown_keys_are_looked_for_ten_times_in_a_row_and_then_once_each_pause(
    ticks: Clock, waits: bool, pause: float
) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=waits)
    for number in range(100):
        source.refresh(f"kid-{number}")
    assert shelf.reads == 1 + 10
    for turn in range(100):
        for number in range(10):
            source.refresh(f"kid-{turn}-{number}")
        ticks.now += pause / 10
    assert 1 + 10 + 9 <= shelf.reads <= 1 + 10 + 10


def test_the_same_key_is_looked_for_once_each_pause_and_leaves_looks_for_others(ticks: Clock) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=True)
    for _ in range(1000):
        source.refresh("kid")
        ticks.now += 0.125
    assert shelf.reads == 1 + 125
    for number in range(9):
        source.refresh(f"kid-{number}")
    assert shelf.reads == 1 + 125 + 9


@pytest.mark.parametrize("waits", [True, False], ids=["network", "files"])
def test_a_key_that_somebody_invents_does_not_put_off_the_look_for_a_real_one(
    ticks: Clock, waits: bool
) -> None:
    new = issuer()
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=waits)
    source.refresh("made-up")
    shelf.anchors.append(new.anchor)
    source.refresh(new.anchor.key.thumbprint)
    assert new.anchor in source.anchors()


def test_a_clock_that_is_set_back_stops_no_look(ticks: Clock) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks)
    ticks.now -= 900
    source.refresh("kid")
    assert shelf.reads == 2


def test_rereading_waits_for_no_pause_and_says_whether_it_worked(ticks: Clock) -> None:
    own, new = issuer(), issuer()
    shelf = Shelf(own)
    source = watched(shelf, ticks)
    for number in range(20):
        source.refresh(f"kid-{number}")
    shelf.anchors = [new.anchor]
    assert source.reread()
    assert source.anchors() == (new.anchor,)
    shelf.broken = OSError()
    assert not source.reread()
    assert source.anchors() == (new.anchor,)


def test_a_known_key_is_not_looked_for(ticks: Clock) -> None:
    own = issuer()
    shelf = Shelf(own)
    source = watched(shelf, ticks)
    source.refresh(own.anchor.key.thumbprint)
    assert shelf.reads == 1


def test_reading_because_it_is_time_does_not_put_off_the_look_for_a_new_key(ticks: Clock) -> None:
    new = issuer()
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, every=10)
    ticks.now += 10
    source.anchors()
    shelf.anchors.append(new.anchor)
    source.refresh(new.anchor.key.thumbprint)
    assert new.anchor in source.anchors()


@pytest.mark.parametrize(
    "broken",
    [OSError("secret-path"), ValueError("x"), remit.ConfigError("told")],
    ids=["os", "value", "remit"],
)
def test_what_was_known_stays_when_reading_fails(
    ticks: Clock, broken: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    own = issuer()
    shelf = Shelf(own)
    source = watched(shelf, ticks, every=300)
    before = source.anchors()
    shelf.broken = broken
    with caplog.at_level(logging.WARNING, "remit"):
        for _ in range(5):
            source.refresh("unknown")
            ticks.now += 1
        assert source.anchors() is before
        shelf.broken = None
        source.refresh("unknown")
    assert len(caplog.messages) == 2
    assert "secret-path" not in caplog.text
    assert ("told" in caplog.messages[0]) == isinstance(broken, remit.RemitError)
    assert "again" in caplog.messages[1]


def test_an_empty_reading_changes_nothing(ticks: Clock) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, every=10)
    before = source.anchors()
    shelf.anchors = []
    ticks.now += 10
    assert source.anchors() is before


def test_after_a_failure_it_is_tried_again_sooner(ticks: Clock) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, every=300)
    shelf.broken = OSError()
    ticks.now += 300
    source.anchors()
    source.anchors()
    assert shelf.reads == 2
    shelf.broken = None
    ticks.now += 11
    source.anchors()
    assert shelf.reads == 3
    ticks.now += 299
    source.anchors()
    assert shelf.reads == 3


def test_many_that_wait_for_a_look_share_the_next_one(ticks: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.trust._PATIENCE", 30)
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=True)
    shelf.open.clear()
    with ThreadPoolExecutor(8) as pool:
        looks = [pool.submit(source.refresh, "kid")]
        eventually(lambda: shelf.reads == 2)
        looks += [pool.submit(source.refresh, f"kid-{number}") for number in range(7)]
        eventually(lambda: source._seats._value == trust._SEATS - 7)
        shelf.open.set()
        for look in looks:
            look.result(30)
    assert shelf.reads == 1 + 2
    assert source._seats._value == trust._SEATS


def test_a_token_that_waits_for_a_look_is_allowed_by_what_that_finds(world: World, ticks: Clock) -> None:
    new = remit.Issuer.generate(URI, clock=world.clock)
    shelf = Shelf(world.issuer, new)
    source = WatchedAnchors(lambda: [world.issuer.anchor], every=300, waits=True, ticks=ticks)
    source._load = shelf
    guard = world.new_guard(trust=source)
    shelf.open.clear()
    with ThreadPoolExecutor(2) as pool:
        made_up = pool.submit(source.refresh, "made-up")
        eventually(lambda: shelf.reads == 1)
        check = pool.submit(verdict, lambda: guard.check(new.issue("a", ["tool:use"]), "tool:use", {}))
        eventually(lambda: source._seats._value < trust._SEATS or check.done())
        shelf.open.set()
        made_up.result(30)
        assert check.result(30) == "allowed"


def test_nobody_waits_long_for_a_look_that_hangs_and_then_nobody_waits(
    ticks: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.trust._PATIENCE", 0.01)
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=True)
    shelf.open.clear()
    with ThreadPoolExecutor(100) as pool:
        hanging = pool.submit(source.refresh, "kid")
        eventually(lambda: shelf.reads == 2)
        try:
            for look in [pool.submit(source.refresh, f"kid-{number}") for number in range(90)]:
                look.result(20)
            monkeypatch.setattr("remit.trust._PATIENCE", 300)
            pool.submit(source.refresh, "another").result(20)
            assert not hanging.done()
        finally:
            shelf.open.set()
        hanging.result(20)
        source.refresh("and-another")  # that was of the look that hung
    assert shelf.reads == 3


def test_no_more_than_some_wait_at_once(ticks: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.trust._PATIENCE", 300)
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=True)
    shelf.open.clear()
    with ThreadPoolExecutor(100) as pool:
        looks = [pool.submit(source.refresh, "kid")]
        eventually(lambda: shelf.reads == 2)
        looks += [pool.submit(source.refresh, f"kid-{number}") for number in range(90)]
        try:
            eventually(lambda: sum(look.done() for look in looks) == 90 - trust._SEATS)
            pool.submit(source.refresh, "another").result(20)
            assert not looks[0].done()
        finally:
            shelf.open.set()


def test_while_the_network_fails_the_next_look_is_ten_seconds_away(ticks: Clock) -> None:
    new = issuer()
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=True)
    shelf.broken = OSError()
    for number in range(99):
        source.refresh(f"kid-{number}")
        ticks.now += 0.1
    assert shelf.reads == 2
    shelf.broken = None
    shelf.anchors.append(new.anchor)
    ticks.now += 0.2
    source.refresh(new.anchor.key.thumbprint)
    assert new.anchor in source.anchors()
    for number in range(5):
        source.refresh(f"kid-{number}")
    assert shelf.reads == 3 + 5


def test_while_the_network_fails_nobody_waits_for_anothers_look(
    ticks: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.trust._PATIENCE", 300)
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=True)
    shelf.broken = OSError()
    source.refresh("kid")
    ticks.now += 11
    shelf.open.clear()
    with ThreadPoolExecutor(2) as pool:
        hanging = pool.submit(source.refresh, "kid")
        eventually(lambda: shelf.reads == 3)
        try:
            pool.submit(source.refresh, "another").result(20)
            assert not hanging.done()
        finally:
            shelf.open.set()


# ── when it is time, and a network has to be waited for ─────────────────────────────────────────────────────


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that look often whether there is something to do."""
    monkeypatch.setattr("remit.trust._HEARTBEAT", 0.005)


@pytest.mark.usefixtures("quick")
def test_no_call_reads_when_it_is_time(world: World, ticks: Clock) -> None:
    new = remit.Issuer.generate(URI, clock=world.clock)
    shelf = Shelf(world.issuer)
    source = watched(shelf, ticks, waits=True)
    guard = world.new_guard(trust=source)
    token = world.issue()
    guard.check(token, "tool:use", {})
    shelf.open.clear()
    shelf.anchors = [new.anchor]
    ticks.now += 301
    for _ in range(20):
        guard.check(token, "tool:use", {})  # else it would hang
    eventually(lambda: shelf.reads == 2)
    guard.check(token, "tool:use", {})
    shelf.open.set()
    eventually(lambda: source.anchors() == (new.anchor,))
    assert shelf.reads == 2
    assert verdict(lambda: guard.check(token, "tool:use", {})) == "token_signature_invalid"


@pytest.mark.usefixtures("quick")
def test_one_thread_reads_them_from_then_on_without_being_asked(ticks: Clock) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=True)
    before = readers()
    source.anchors()
    assert readers() == before  # it is not time
    ticks.now += 301
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: source.anchors(), range(100)))
    [thread] = readers() - before
    assert thread.daemon
    eventually(lambda: has_read(source, shelf, 2))
    ticks.now += 301
    eventually(lambda: has_read(source, shelf, 3))
    shelf.broken = OSError()
    ticks.now += 301
    eventually(lambda: has_read(source, shelf, 4))
    shelf.broken = None
    ticks.now += 11
    eventually(lambda: has_read(source, shelf, 5))
    assert readers() - before == {thread}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", ["closed", "gone"])
def test_the_thread_ends_with_the_anchors(ticks: Clock, how: str) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=True)
    before = readers()
    ticks.now += 301
    source.anchors()
    eventually(lambda: has_read(source, shelf, 2))
    [thread] = readers() - before
    if how == "closed":
        source.close()
        source.close()
    else:
        del source
        gc.collect()
    eventually(lambda: not thread.is_alive())


@pytest.mark.usefixtures("quick")
def test_anchors_that_were_closed_are_read_again_when_they_are_asked_for(ticks: Clock) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=True)
    for reads in (2, 3):
        ticks.now += 301
        source.anchors()
        eventually(lambda: has_read(source, shelf, reads))  # noqa: B023
        source.close()


def test_without_a_thread_a_call_reads_them(ticks: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    new = issuer()
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=True)
    shelf.anchors = [new.anchor]
    ticks.now += 301
    assert source.anchors() == (new.anchor,)
    source.anchors()
    assert shelf.reads == 2


def test_those_who_know_their_key_do_not_wait_for_a_look(ticks: Clock) -> None:
    own = issuer()
    shelf = Shelf(own)
    source = watched(shelf, ticks, every=10)
    shelf.open.clear()
    ticks.now += 10
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(source.anchors)
        while shelf.reads < 2:
            pass
        assert source.anchors() == (own.anchor,)
        shelf.open.set()
        assert reading.result(30) == (own.anchor,)


def test_a_guard_takes_tokens_of_a_key_that_was_added(world: World, ticks: Clock) -> None:
    new = remit.Issuer.generate(URI, clock=world.clock)
    shelf = Shelf(world.issuer)
    guard = world.new_guard(trust=watched(shelf, ticks))
    token = new.issue("a", ["tool:use"])
    assert verdict(lambda: guard.check(token, "tool:use", {})) == "token_signature_invalid"
    shelf.anchors.append(new.anchor)
    assert verdict(lambda: guard.check(token, "tool:use", {})) == "token_signature_invalid"  # looked just now
    ticks.now += 1
    assert verdict(lambda: guard.check(token, "tool:use", {})) == "allowed"
    assert verdict(lambda: guard.check(world.issue(), "tool:use", {})) == "allowed"


def test_a_guard_forgets_chains_of_a_key_that_was_removed(world: World, ticks: Clock) -> None:
    other = remit.Issuer.generate(URI, clock=world.clock)
    shelf = Shelf(world.issuer, other)
    guard = world.new_guard(trust=watched(shelf, ticks, every=10))
    root = world.issue(max_depth=1)
    child = root.delegate("worker", ["tool:use"])
    for credential in (root, child):
        guard.check(credential, "tool:use", {})
    shelf.anchors = [other.anchor]
    assert verdict(lambda: guard.check(child, "tool:use", {})) == "allowed"
    ticks.now += 10
    for credential in (root, child):
        assert verdict(lambda: guard.check(credential, "tool:use", {})) == "token_signature_invalid"  # noqa: B023
    fresh = root.delegate("another", ["tool:use"])
    assert verdict(lambda: guard.check(fresh, "tool:use", {})) == "token_signature_invalid"


def test_tokens_with_made_up_keys_have_nobody_look_without_bounds(world: World, ticks: Clock) -> None:
    shelf = Shelf(world.issuer)
    guard = world.new_guard(trust=watched(shelf, ticks, waits=True))
    for _ in range(50):
        forged = remit.Issuer.generate(URI, clock=world.clock).issue("a", ["tool:use"])
        assert refusal(lambda: guard.check(forged, "tool:use", {})).code in {  # noqa: B023
            "token_signature_invalid",
            "token_issuer_untrusted",
        }
        ticks.now += 0.05
    assert shelf.reads <= 1 + 10 + 3


def test_no_valid_token_is_refused_while_keys_rotate(world: World) -> None:
    shelf = Shelf(world.issuer)
    source = WatchedAnchors(shelf, every=0, waits=False)
    guard = world.new_guard(trust=source)
    issuers = [world.issuer]
    ended = threading.Event()

    def check() -> list[str]:
        found = []
        while not ended.is_set():
            token = issuers[-1].issue("a", ["tool:use"])
            found.append(verdict(partial(guard.check, token, "tool:use", {})))
        return found

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(check) for _ in range(4)]
        for _ in range(30):
            new = remit.Issuer.generate(URI, clock=world.clock)
            shelf.anchors = [new.anchor, *shelf.anchors]
            source.anchors()
            issuers.append(new)
        ended.set()
        found = {said for run in running for said in run.result(30)}
    assert found == {"allowed"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_child_that_is_forked_during_a_look_can_look(ticks: Clock) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks)
    with source._lock:
        child = os.fork()
        if not child:
            signal.alarm(20)  # what hangs is killed
            source.refresh("kid")
            os._exit(0 if shelf.reads == 2 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.usefixtures("quick")
def test_a_child_that_is_forked_has_a_thread_of_its_own(ticks: Clock) -> None:
    new = issuer()
    shelf = Shelf(issuer())
    source = watched(shelf, ticks, waits=True)
    ticks.now += 301
    source.anchors()
    eventually(lambda: has_read(source, shelf, 2))
    child = os.fork()
    if not child:
        signal.alarm(20)  # what hangs is killed
        shelf.anchors = [new.anchor]
        ticks.now += 301
        while source.anchors() != (new.anchor,):
            time.sleep(0.005)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert new.anchor not in source.anchors()


# ── keys that an issuer names as it likes ───────────────────────────────────────────────────────────────────


def named(credential: remit.Credential, signer: remit.Issuer, kid: str) -> str:
    """The same token, whose header names the key as its issuer does."""
    claims = unverified_claims(credential.token)[1]
    return claims.signed(signer._key, kid=kid).text


def test_a_kid_that_is_no_thumbprint_is_looked_for_only_when_no_known_key_fits(
    world: World, ticks: Clock
) -> None:
    new = remit.Issuer.generate(URI, clock=world.clock)
    shelf = Shelf(world.issuer)
    guard = world.new_guard(trust=watched(shelf, ticks, waits=True))
    for _ in range(3):
        assert guard.validate(named(world.issue(), world.issuer, "2024-key")).agent == "agent-a"
    assert shelf.reads == 1
    shelf.anchors.append(new.anchor)
    token = named(new.issue("agent-b", ["tool:use"]), new, "2025-key")
    assert guard.validate(token).agent == "agent-b"
    assert shelf.reads == 2
    forged = remit.Issuer.generate(URI, clock=world.clock)
    token = named(forged.issue("agent-c", ["tool:use"]), forged, "2024-key")
    assert refusal(lambda: guard.validate(token)).code == "token_signature_invalid"


def test_a_kid_that_is_a_thumbprint_is_the_only_key_that_counts(world: World, ticks: Clock) -> None:
    other = remit.Issuer.generate(URI, clock=world.clock)
    shelf = Shelf(world.issuer, other)
    guard = world.new_guard(trust=watched(shelf, ticks, waits=True))
    token = named(world.issue(), world.issuer, other.anchor.key.thumbprint)
    assert refusal(lambda: guard.validate(token)).code == "token_signature_invalid"
    assert shelf.reads == 1
