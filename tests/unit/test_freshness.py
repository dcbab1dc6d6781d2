"""N8: what is known of revocations may be too old to go by; then the answer is no."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import remit

from .support import World, refusal, verdict


class Away(remit.MemoryLedger):
    """A ledger that answers until it is taken away."""

    error: Exception | None = None
    nonsense: Any = None

    def position(self) -> Any:
        """How far it has come, or whatever a test wants."""
        if self.error is not None:
            raise self.error
        return super().position() if self.nonsense is None else self.nonsense


def lose(ledger: Away, world: World, seconds: float) -> None:
    """Take the ledger away, and let time pass."""
    ledger.error = OSError("away")
    world.clock.now += seconds


@pytest.mark.parametrize(
    ("age", "code"), [(0, "allowed"), (60, "allowed"), (61, "revocations_stale"), (-5, "allowed")]
)
def test_what_is_known_may_be_as_old_as_the_bound_and_no_older(world: World, age: int, code: str) -> None:
    ledger, credential = Away(), world.issue()
    guard = world.new_guard(ledger=ledger, fresh="1m")
    guard.check(credential, "tool:use", {})
    proved = credential.present("tool:use", {})
    lose(ledger, world, age)
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == code
    assert verdict(lambda: guard.validate(credential)) == code
    assert guard.explain(credential, "tool:use", {}).code == (None if code == "allowed" else code)
    window = world.new_guard(ledger=ledger, fresh="1m", proof_window="5m")
    assert verdict(lambda: window.verify(proved, "tool:use", {})) == code


def test_the_bound_is_a_minute_where_nobody_says_otherwise(world: World) -> None:
    ledger, credential = Away(), world.issue()
    guard = world.new_guard(ledger=ledger)
    guard.check(credential, "tool:use", {})
    lose(ledger, world, 60)
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "allowed"
    world.clock.now += 1
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "revocations_stale"


def test_a_read_may_tolerate_what_a_transfer_does_not(world: World) -> None:
    ledger, credential = Away(), world.issue("records:read", "payments:transfer", "other")
    guard = world.new_guard(ledger=ledger, fresh={"records:read": "5m", "payments:transfer": "5s", "*": "1m"})
    guard.check(credential, "records:read", {})
    lose(ledger, world, 6)
    assert verdict(lambda: guard.check(credential, "records:read", {})) == "allowed"
    assert verdict(lambda: guard.check(credential, "other", {})) == "allowed"
    denied = refusal(lambda: guard.check(credential, "payments:transfer", {}))
    assert denied.code == "revocations_stale"
    assert "5 seconds" in denied.reason
    world.clock.now += 60
    assert verdict(lambda: guard.check(credential, "other", {})) == "revocations_stale"
    assert verdict(lambda: guard.check(credential, "records:read", {})) == "allowed"


@pytest.mark.parametrize(
    ("tools", "guards", "after", "code"),
    [
        ("5s", None, 5, "allowed"),
        ("5s", None, 6, "revocations_stale"),
        ("5m", None, 120, "allowed"),
        ("5m", "1m", 61, "revocations_stale"),
        ("5s", "1m", 6, "revocations_stale"),
        ("5s", {"pay": "10m"}, 6, "revocations_stale"),
        ("10m", {"pay": "5s"}, 6, "revocations_stale"),
    ],
)
def test_a_tool_may_state_its_own_bound(world: World, tools: str, guards: Any, after: int, code: str) -> None:
    @remit.requires_capability("pay", fresh=tools)
    def pay() -> str:
        return "paid"

    ledger = Away()
    guard = world.new_guard(ledger=ledger, **({} if guards is None else {"fresh": guards}))
    with guard.acting_as(world.issue("pay", ttl="1h")):
        assert pay() == "paid"
        lose(ledger, world, after)
        assert verdict(pay) == code


def test_a_ledger_that_comes_back_is_heard_again(world: World) -> None:
    ledger, credential = Away(), world.issue(ttl="1h")
    guard = world.new_guard(ledger=ledger, fresh="1m")
    guard.check(credential, "tool:use", {})
    lose(ledger, world, 120)
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "revocations_stale"
    world.new_guard(ledger=ledger).revoke(credential.token_id)
    ledger.error = None
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "token_revoked"
    assert verdict(lambda: guard.check(world.issue(), "tool:use", {})) == "allowed"


def test_what_is_known_to_be_revoked_stays_so_while_the_ledger_is_away(world: World) -> None:
    ledger, credential = Away(), world.issue(ttl="1h")
    guard = world.new_guard(ledger=ledger)
    guard.check(credential, "tool:use", {})
    guard.revoke(credential.token_id)
    lose(ledger, world, 5)
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "token_revoked"
    world.clock.now += 600
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "token_revoked"


def test_a_ledger_that_never_answered_denies(world: World) -> None:
    ledger = Away()
    ledger.error = OSError("away")
    guard = world.new_guard(ledger=ledger, fresh="1h")
    denied = refusal(lambda: guard.check(world.issue(), "tool:use", {}))
    assert denied.code == "revocations_stale"
    assert "away" not in denied.reason


@pytest.mark.parametrize("nonsense", [7, "x", ("a",), pytest.param(object(), id="object()")], ids=repr)
def test_a_ledger_that_answers_nonsense_is_read_anew(world: World, nonsense: Any) -> None:
    ledger, credential = Away(), world.issue()
    guard = world.new_guard(ledger=ledger)
    guard.check(credential, "tool:use", {})
    ledger.nonsense = nonsense
    guard.revoke(credential.token_id)
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "token_revoked"


def test_staleness_charges_nothing_and_is_recorded(world: World) -> None:
    ledger = Away()
    credential = world.issue("tool:use", "other", limits={"tool:use": remit.Limit(max_uses=1)})
    guard = world.new_guard(ledger=ledger, fresh="1m")
    guard.check(credential, "other", {})
    lose(ledger, world, 300)
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "revocations_stale"
    record = world.events("decision")[-1]
    assert (record.allowed, record.code) == (False, "revocations_stale")
    ledger.error = None
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "allowed"


def test_a_generator_is_not_begun_on_stale_knowledge(world: World) -> None:
    ledger = Away()
    guard = world.new_guard(ledger=ledger, fresh="1m")

    def stream() -> Any:
        yield 1

    tool: Callable[[], Any] = remit.bind_tool(stream, guard, world.issue(), capability="tool:use")
    made = tool()
    lose(ledger, world, 120)
    assert refusal(lambda: next(made)).code == "revocations_stale"


@pytest.mark.parametrize(
    "fresh",
    [0, -1, "0s", "", "x", float("nan"), True, [], "10", {}, {"a": 0}, {"": "5s"}, {1: "5s"}],
    ids=repr,
)
def test_a_bound_that_makes_no_sense_is_refused(world: World, fresh: Any) -> None:
    with pytest.raises(remit.ConfigError):
        world.new_guard(fresh=fresh)


@pytest.mark.parametrize("fresh", [0, "x", True, {"a": "5s"}], ids=repr)
def test_a_tools_bound_that_makes_no_sense_is_refused(fresh: Any) -> None:
    with pytest.raises(remit.ConfigError):
        remit.requires_capability("pay", fresh=fresh)


@pytest.mark.parametrize("back", [1, 3600, 10 * 86_400])
def test_a_clock_that_is_set_back_makes_nothing_fresher(world: World, back: int) -> None:
    ledger, credential = Away(), world.issue(ttl="7d")
    guard = world.new_guard(ledger=ledger, fresh="1m")
    guard.check(credential, "tool:use", {})
    lose(ledger, world, 30)
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "allowed"
    world.clock.now -= back
    guard.explain(credential, "tool:use", {})
    world.clock.now += 31
    old = world.new_guard(ledger=ledger, fresh="1m", max_ttl="90d").explain(credential, "tool:use", {})
    assert old.code in {"revocations_stale", "token_not_yet_valid"}


def test_real_time_passes_also_while_a_clock_stands_still(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, credential = Away(), world.issue()
    guard = world.new_guard(ledger=ledger, fresh="1m")
    guard.check(credential, "tool:use", {})
    lose(ledger, world, 0)
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "allowed"
    real = time.monotonic()
    monkeypatch.setattr("remit.ledger.view.time.monotonic", lambda: real + 61)
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "revocations_stale"


def test_a_clock_that_jumps_ahead_and_back_revives_nothing_that_the_ledger_still_holds(world: World) -> None:
    guard, credential = world.guard, world.issue(ttl="1h")
    guard.revoke(credential.token_id)
    guard.check(world.issue(), "tool:use", {})
    world.clock.now += 40 * 86_400
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "token_expired"
    guard.check(world.issue(), "tool:use", {})  # what expired long ago is forgotten now
    world.clock.now -= 40 * 86_400
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "token_revoked"
