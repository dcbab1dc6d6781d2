"""Anchors that change while a guard runs: what is trusted when, and how often anybody looks."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

import remit
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
    shelf: Callable[[], Iterable[remit.TrustAnchor]], ticks: Clock, every: float = 300
) -> WatchedAnchors:
    return WatchedAnchors(shelf, every=every, waits=False, ticks=ticks)


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


def test_an_unknown_key_is_looked_for_at_most_once_a_second(ticks: Clock) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks)
    for _ in range(100):
        for number in range(10):
            source.refresh(f"kid-{number}")
        ticks.now += 0.1
    assert shelf.reads == 1 + 10


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


def test_many_that_look_at_once_share_one_look(ticks: Clock) -> None:
    shelf = Shelf(issuer())
    source = watched(shelf, ticks)
    shelf.open.clear()

    def slow() -> Iterable[remit.TrustAnchor]:
        found = shelf()
        ticks.now += 5  # it took longer than the pause
        return found

    source._load = slow
    with ThreadPoolExecutor(8) as pool:
        looks = [pool.submit(source.refresh, f"kid-{number}") for number in range(8)]
        shelf.open.set()
        for look in looks:
            look.result(30)
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


def test_tokens_with_made_up_keys_have_nobody_look_more_than_once_a_second(
    world: World, ticks: Clock
) -> None:
    shelf = Shelf(world.issuer)
    guard = world.new_guard(trust=watched(shelf, ticks))
    for _ in range(50):
        forged = remit.Issuer.generate(URI, clock=world.clock).issue("a", ["tool:use"])
        assert refusal(lambda: guard.check(forged, "tool:use", {})).code in {  # noqa: B023
            "token_signature_invalid",
            "token_issuer_untrusted",
        }
        ticks.now += 0.05
    assert shelf.reads <= 1 + 3


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
