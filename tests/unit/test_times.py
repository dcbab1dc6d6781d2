"""R5 and the clock: a token ends by itself, by the guard's clock and no other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

import remit

from .support import NOW, Clock, World, refusal, verdict


def test_a_token_is_good_at_exp_minus_one_and_expired_at_exp(world: World) -> None:
    credential = world.issue(ttl="10m")
    for moment, code in (
        (599, "allowed"),
        (599.999, "allowed"),
        (600, "token_expired"),
        (601, "token_expired"),
    ):
        world.clock.now = NOW + moment
        assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == code
        assert verdict(lambda: world.guard.validate(credential)) == code


def test_a_chain_that_was_verified_before_still_expires(world: World) -> None:
    credential = world.issue()
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "allowed"
    world.clock.now += 600
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "token_expired"


def test_the_first_link_that_expires_ends_the_chain(world: World) -> None:
    parent = world.issue(ttl="10m", max_depth=1)
    child = parent.delegate("b", ["tool:use"], ttl="1m")
    assert child.expires_at == datetime.fromtimestamp(NOW + 60, UTC)
    world.clock.now += 60
    denied = refusal(lambda: world.guard.check(child, "tool:use", {}))
    assert (denied.code, denied.link) == ("token_expired", 1)
    assert verdict(lambda: world.guard.check(parent, "tool:use", {})) == "allowed"


def test_a_child_without_a_ttl_lives_as_long_as_its_parent(world: World) -> None:
    parent = world.issue(ttl="10m", max_depth=1)
    world.clock.now += 300
    child = parent.delegate("b", ["tool:use"])
    assert child.expires_at == parent.expires_at
    world.clock.now = NOW + 600
    assert verdict(lambda: world.guard.check(child, "tool:use", {})) == "token_expired"


def test_nothing_can_be_derived_from_a_parent_that_has_expired(world: World) -> None:
    parent = world.issue(ttl="10m", max_depth=1)
    world.clock.now += 600
    with pytest.raises(remit.AttenuationError, match="no time"):
        parent.delegate("b", ["tool:use"])


def test_a_window_opens_at_its_start_and_not_before(world: World) -> None:
    credential = world.issue(ttl="1m", not_before=datetime.fromtimestamp(NOW + 60, UTC))
    for moment, code in ((0, "token_not_yet_valid"), (59.9, "token_not_yet_valid"), (60, "allowed"), (119, "allowed"),
                         (120, "token_expired")):  # fmt: skip
        world.clock.now = NOW + moment
        assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == code


def test_the_window_of_a_parent_binds_its_child(world: World) -> None:
    opens = datetime.fromtimestamp(NOW + 60, UTC)
    child = world.issue(not_before=opens, max_depth=1).delegate("b", ["tool:use"])
    assert refusal(lambda: world.guard.check(child, "tool:use", {})).code == "token_not_yet_valid"
    world.clock.now += 60
    assert verdict(lambda: world.guard.check(child, "tool:use", {})) == "allowed"


def test_a_token_from_the_future_is_refused_beyond_the_skew(world: World) -> None:
    credential = world.issue()
    world.clock.now = NOW - 30
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "allowed"
    world.clock.now = NOW - 31
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "token_not_yet_valid"


def test_the_holders_own_clock_has_no_say(world: World) -> None:
    chain, stopped = world.issue().chain, Clock(NOW)
    held = remit.Credential.from_token(chain, clock=stopped)
    world.clock.now += 600
    assert held.agent == "agent-a"
    assert verdict(lambda: world.guard.validate(held)) == "token_expired"


@pytest.mark.parametrize(
    "time", [float("nan"), float("inf"), float("-inf"), -1, None, "1704067500", b"", [NOW], 10**30], ids=repr
)
def test_a_clock_that_does_not_tell_the_time_allows_nothing(world: World, time: Any) -> None:
    credential = world.issue(secrets=["PATH"])
    ran: list[str] = []

    @remit.requires_capability("tool:use")
    def tool() -> None:
        ran.append("ran")

    clock: Any = lambda: time  # noqa: E731 - a lambda is what people pass
    guard = world.new_guard(clock=clock)
    with pytest.raises(remit.RemitError):
        guard.check(credential, "tool:use", {})
    with pytest.raises(remit.RemitError):
        guard.validate(credential)
    with pytest.raises(remit.RemitError):
        guard.resolve_secret(credential, "PATH", tool="tool:use")
    with guard.acting_as(credential), pytest.raises(remit.RemitError):
        tool()
    assert ran == []


def test_a_clock_that_fails_allows_nothing_and_fails_as_a_remit_error(world: World) -> None:
    def broken() -> float:
        raise OSError("no time source")

    guard = world.new_guard(clock=broken)
    with pytest.raises(remit.RemitError):
        guard.check(world.issue(), "tool:use", {})


def test_a_clock_that_breaks_while_a_tool_runs_does_not_lose_its_result(world: World) -> None:
    credential = world.issue()

    @remit.requires_capability("tool:use")
    def tool() -> str:
        world.clock.now = float("nan")
        return "done"

    with world.guard.acting_as(credential):
        assert tool() == "done"
