"""N8: what is known of revocations may be too old to go by; then the answer is no."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import remit

from .support import NOW, World, refusal, verdict


class Replica(remit.MemoryLedger):
    """A ledger that learns of revocations from somewhere else, and was last told at some time."""

    def __init__(self, told: Any = NOW) -> None:
        super().__init__()
        self.told = told

    def as_of(self, now: float) -> float:
        """When it was last told."""
        if isinstance(self.told, Exception):
            raise self.told
        return self.told  # type: ignore[no-any-return]  # some tests tell nonsense


@pytest.mark.parametrize(
    ("age", "code"), [(0, "allowed"), (60, "allowed"), (61, "revocations_stale"), (-5, "allowed")]
)
def test_what_is_known_may_be_as_old_as_the_bound_and_no_older(world: World, age: int, code: str) -> None:
    guard = world.new_guard(ledger=Replica(NOW - age), fresh="1m")
    credential = world.issue()
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == code
    assert verdict(lambda: guard.validate(credential)) == code
    assert verdict(lambda: guard.verify(credential.present("tool:use", {}), "tool:use", {})) == code
    assert guard.explain(credential, "tool:use", {}).code == (None if code == "allowed" else code)


def test_a_read_may_tolerate_what_a_transfer_does_not(world: World) -> None:
    ledger, credential = Replica(NOW - 300), world.issue("records:read", "payments:transfer")
    reading, transferring = (
        world.new_guard(ledger=ledger, fresh="1h"),
        world.new_guard(ledger=ledger, fresh="5s"),
    )
    assert verdict(lambda: reading.check(credential, "records:read", {})) == "allowed"
    denied = refusal(lambda: transferring.check(credential, "payments:transfer", {}))
    assert denied.code == "revocations_stale"
    assert "5 seconds" in denied.reason


def test_a_ledger_that_falls_behind_denies_until_it_has_caught_up(world: World) -> None:
    ledger, credential = Replica(), world.issue(ttl="1h")
    guard = world.new_guard(ledger=ledger, fresh="1m")
    world.clock.now += 120
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "revocations_stale"
    ledger.told = NOW + 119
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "allowed"


@pytest.mark.parametrize("told", [float("nan"), float("-inf"), None, "now", OSError("away")], ids=repr)
def test_a_ledger_that_cannot_say_how_old_it_is_denies(world: World, told: Any) -> None:
    guard = world.new_guard(ledger=Replica(told), fresh="1m")
    assert verdict(lambda: guard.check(world.issue(), "tool:use", {})) in {
        "revocations_stale",
        "ledger_unavailable",
    }


def test_without_a_bound_nobody_asks_how_old_it_is(world: World) -> None:
    guard = world.new_guard(ledger=Replica(OSError("away")))
    assert verdict(lambda: guard.check(world.issue(), "tool:use", {})) == "allowed"


def test_staleness_charges_nothing_and_is_recorded(world: World) -> None:
    ledger = Replica(NOW - 300)
    credential = world.issue(limits={"tool:use": remit.Limit(max_uses=1)})
    guard = world.new_guard(ledger=ledger, fresh="1m")
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "revocations_stale"
    [record] = world.events("decision")
    assert (record.allowed, record.code) == (False, "revocations_stale")
    ledger.told = NOW
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "allowed"


def test_a_generator_is_not_begun_on_stale_knowledge(world: World) -> None:
    ledger = Replica()
    guard = world.new_guard(ledger=ledger, fresh="1m")

    def stream() -> Any:
        yield 1

    tool: Callable[[], Any] = remit.bind_tool(stream, guard, world.issue(), capability="tool:use")
    made = tool()
    world.clock.now += 120
    assert refusal(lambda: next(made)).code == "revocations_stale"


@pytest.mark.parametrize("fresh", [0, -1, "0s", "", "x", float("nan"), True, [], "10"], ids=repr)
def test_a_bound_that_makes_no_sense_is_refused(world: World, fresh: Any) -> None:
    with pytest.raises(remit.ConfigError):
        world.new_guard(fresh=fresh)
