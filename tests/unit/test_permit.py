"""A permit runs the call it was given for: once, on its arguments, in its block, and records what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import copy_context
from threading import Barrier, Thread
from typing import Any

import pytest

import remit

from .support import World, refusal, verdict


@remit.requires_capability("tool:use")
def tool(n: Any, note: Any = "") -> Any:
    if n == 13:
        raise ValueError("unlucky")
    return n


@remit.requires_capability("tool:other")
def other(n: int) -> int:
    return n


def _shown(world: World, credential: remit.Credential, **arguments: Any) -> remit.Permit:
    return world.guard.verify(credential.present("tool:use", arguments), "tool:use", arguments)


def test_a_permit_runs_its_tool_in_its_block(world: World) -> None:
    credential = world.issue()
    for permit in (world.guard.check(credential, "tool:use", {"n": 1}), _shown(world, credential, n=1)):
        with permit as entered:
            assert entered is permit
            assert tool(**permit.arguments) == 1
        assert refusal(lambda: tool(1)).code == "not_bound"


def test_without_its_block_a_permit_allows_nothing(world: World) -> None:
    _shown(world, world.issue(), n=1)
    assert refusal(lambda: tool(1)).code == "not_bound"


def test_a_permit_is_for_one_call(world: World) -> None:
    with _shown(world, world.issue(), n=1):
        assert tool(1) == 1
        denied = refusal(lambda: tool(1))
        assert denied.code == "not_bound"
        assert "used already" in denied.reason


@pytest.mark.parametrize(
    "call",
    [lambda: tool(2), lambda: tool(n=2), lambda: tool(1, "x"), lambda: tool(1, note="y"), lambda: tool(True),
     lambda: tool(*["1"]), lambda: tool(*[]), lambda: tool(*[1, 2, 3]), lambda: other(1)],
)  # fmt: skip
def test_a_permit_is_for_its_arguments_and_its_capability_alone(world: World, call: Any) -> None:
    credential = world.issue("tool:use", "tool:other")
    with _shown(world, credential, n=1):
        assert verdict(call) in {"not_bound", "argument_denied"}
        assert tool(n=1) == 1  # an attempt at another call does not use it up


def test_the_same_arguments_may_be_passed_in_another_way(world: World) -> None:
    for call in (lambda: tool(1, "x"), lambda: tool(note="x", n=1), lambda: tool(1.0, note="x")):
        with _shown(world, world.issue(), n=1, note="x"):
            assert verdict(call) == "allowed"


def test_an_argument_of_a_permit_may_equal_the_default_of_the_tool(world: World) -> None:
    for arguments in ({"n": 1}, {"n": 1, "note": ""}):
        for call in (lambda: tool(1), lambda: tool(1, ""), lambda: tool(n=1, note="")):
            with _shown(world, world.issue(), **arguments):
                assert verdict(call) == "allowed"
        with _shown(world, world.issue(), **arguments) as permit:
            assert tool(**permit.arguments) == 1


def test_a_permit_that_was_left_is_no_use(world: World) -> None:
    for use in (True, False):
        permit = _shown(world, world.issue(), n=1)
        with permit:
            if use:
                tool(1)
        with pytest.raises(remit.CapabilityDenied), permit:
            tool(1)
        assert verdict(lambda: tool(1)) == "not_bound"


def test_a_permit_that_is_entered_is_not_entered_again(world: World) -> None:
    permit = _shown(world, world.issue(), n=1)
    with permit:
        with pytest.raises(remit.CapabilityDenied), permit:
            tool(1)
        assert [verdict(lambda: tool(1)) for _ in range(2)].count("allowed") <= 1
    assert verdict(lambda: tool(1)) == "not_bound"


def test_permits_may_be_nested(world: World) -> None:
    credential = world.issue("tool:use", "tool:other")
    outer = world.guard.check(credential, "tool:use", {"n": 1})
    inner = world.guard.check(credential, "tool:other", {"n": 2})
    with outer:
        with inner:
            assert verdict(lambda: tool(1)) == "not_bound"
            assert other(2) == 2
        assert verdict(lambda: other(2)) == "not_bound"
        assert tool(1) == 1


def test_a_tool_under_a_permit_runs_with_nothing_bound(world: World) -> None:
    @remit.requires_capability("tool:use")
    def nesting(n: int) -> str:
        return verdict(lambda: tool(n))

    with world.guard.acting_as(world.issue()), _shown(world, world.issue(), n=1):
        assert nesting(1) == "not_bound"


def test_under_a_permit_nothing_is_charged_again(world: World) -> None:
    credential = world.issue(limits={"tool:use": remit.Limit(max_uses=1, budget={"n": 5})})
    with _shown(world, credential, n=5):
        assert tool(5) == 5
    assert verdict(lambda: world.guard.check(credential, "tool:use", {"n": 0})) == "limit_exceeded"


def test_the_outcome_is_recorded_once_with_the_call_id_of_the_permit(world: World) -> None:
    permit = _shown(world, world.issue(), n=1)
    with permit:
        tool(1)
    [decision], [outcome] = world.events("decision"), world.events("outcome")
    assert decision.call_id == outcome.call_id == permit.call_id
    assert outcome.allowed is True


def test_the_outcome_of_a_tool_that_fails_is_recorded_once_as_a_failure(world: World) -> None:
    with pytest.raises(ValueError, match="unlucky"), _shown(world, world.issue(), n=13):
        tool(13)
    [outcome] = world.events("outcome")
    assert (outcome.allowed, outcome.reason) == (False, "ValueError")
    with _shown(world, world.issue(), n=13), pytest.raises(ValueError, match="unlucky"):
        tool(13)  # handled inside: it failed all the same
    assert [record.allowed for record in world.events("outcome")] == [False, False]


def test_the_outcome_of_a_block_that_runs_no_guarded_tool_is_that_of_the_block(world: World) -> None:
    with _shown(world, world.issue(), n=1):
        pass
    with pytest.raises(KeyError), _shown(world, world.issue(), n=1):
        raise KeyError
    assert [(record.allowed, record.reason) for record in world.events("outcome")] == [
        (True, None),
        (False, "KeyError"),
    ]


def test_an_attempt_at_another_call_leaves_a_denied_decision(world: World) -> None:
    with _shown(world, world.issue(), n=1):
        verdict(lambda: tool(2))
        tool(1)
    assert [(record.event, record.allowed) for record in world.audit.records] == [
        ("decision", True), ("decision", False), ("outcome", True),
    ]  # fmt: skip
    assert len({record.call_id for record in world.audit.records}) == 2


@pytest.mark.parametrize("end", ["revoked", "expired", "closed"])
def test_a_permit_ends_with_its_token(world: World, end: str) -> None:
    credential = world.issue()
    permit = world.guard.check(credential, "tool:use", {"n": 1})
    if end == "revoked":
        world.guard.revoke(credential.token_id)
    elif end == "expired":
        world.clock.now += 600
    else:
        credential.close()
    with permit:
        assert verdict(lambda: tool(1)) in {"token_revoked", "token_expired", "credential_closed"}


def test_a_permit_is_checked_against_the_defaults_of_the_tool_that_runs(world: World) -> None:
    capability = remit.Capability("tool:use", n=1, limit=remit.Range(max=10).optional())

    @remit.requires_capability("tool:use")
    def generous(n: int, limit: int = 1_000) -> int:
        return limit

    with world.guard.check(world.issue(capability), "tool:use", {"n": 1}):
        assert verdict(lambda: generous(1)) == "argument_denied"


def test_a_permit_gives_a_tool_its_secret_only_if_it_was_granted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "canary")

    @remit.requires_capability("tool:use")
    def secretive(n: int, *, key: remit.Secret = remit.secret("KEY")) -> str:
        return key.backend

    with _shown(world, world.issue(secrets=["KEY"]), n=1):
        assert secretive(1) == "env"
    with _shown(world, world.issue(), n=1):
        assert verdict(lambda: secretive(1)) == "secret_denied"


async def test_a_permit_runs_coroutines_and_generators(world: World) -> None:
    @remit.requires_capability("tool:use")
    async def waiting(n: int) -> int:
        return n

    @remit.requires_capability("tool:use")
    def stepping(n: int) -> Iterator[int]:
        yield n

    with _shown(world, world.issue(), n=1) as permit:
        assert await waiting(**permit.arguments) == 1
    with _shown(world, world.issue(), n=1):
        made = stepping(1)
    assert list(made) == [1]


def test_a_permit_is_used_once_under_many_threads(world: World) -> None:
    results: list[str] = []
    start = Barrier(16)
    permit = _shown(world, world.issue(), n=1)

    def run() -> None:
        start.wait()
        results.append(verdict(lambda: tool(1)))

    with permit:
        contexts = [copy_context() for _ in range(16)]
        threads = [Thread(target=context.run, args=(run,)) for context in contexts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == ["allowed"] + ["not_bound"] * 15


def test_a_permit_says_what_it_is_for(world: World) -> None:
    parent = world.issue(max_depth=1)
    child = parent.delegate("worker", ["tool:use"])
    permit = world.guard.check(child, "tool:use", {"n": 1})
    assert (permit.agent, permit.capability, permit.issuer) == ("worker", "tool:use", world.issuer.uri)
    assert (permit.token_id, permit.chain) == (child.token_id, (parent.token_id, child.token_id))
    assert repr(permit) == "<Permit for 'tool:use' of 'worker'>"
