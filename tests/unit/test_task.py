"""R17, R18: a task has its own credential, and nothing is left of it when the task ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import remit

from .support import World, refusal, verdict


@remit.requires_capability("tool:use")
def tool() -> str:
    return "ran"


def test_the_child_is_bound_in_the_block_and_to_the_task(world: World) -> None:
    parent = world.issue("tool:use", "tool:other", max_depth=1)
    with world.guard.task(parent, task="t-17", capabilities=["tool:use"]) as child:
        assert tool() == "ran"
        assert (child.agent, child.task) == ("agent-a", "t-17")
        assert [capability.name for capability in child.capabilities] == ["tool:use"]
        assert verdict(lambda: world.guard.check(child, "tool:use", {}, task="t-17")) == "allowed"
        assert verdict(lambda: world.guard.check(child, "tool:use", {}, task="t-18")) == "task_mismatch"
        assert verdict(lambda: world.guard.check(child, "tool:use", {})) == "task_mismatch"
    assert verdict(tool) == "not_bound"


@pytest.mark.parametrize(
    "error", [None, ValueError("x"), KeyboardInterrupt(), SystemExit(1), GeneratorExit()], ids=repr
)
def test_the_child_is_revoked_and_closed_however_the_block_ends(
    world: World, error: BaseException | None
) -> None:
    parent = world.issue(max_depth=1)
    held: list[remit.Credential] = []
    shown: list[remit.Presentation] = []

    def run() -> None:
        with world.guard.task(parent, task="t-17", capabilities=["tool:use"]) as child:
            held.append(child)
            shown.append(child.present("tool:use", {}))
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(type(error)) as caught:
            run()
        assert caught.value is error
    [child] = held
    assert child.closed
    assert verdict(lambda: world.guard.verify(shown[0], "tool:use", {}, task="t-17")) == "token_revoked"
    assert verdict(lambda: world.guard.validate(child.chain, task="t-17")) == "token_revoked"
    assert verdict(lambda: world.guard.check(parent, "tool:use", {})) == "allowed"
    [entry] = world.guard.revocations()
    assert (entry.token_id, entry.reason) == (child.token_id, "the task ended")


def test_the_revocation_is_seen_by_another_guard_at_once(world: World) -> None:
    ledger = remit.MemoryLedger()
    here, there = world.new_guard(ledger=ledger), world.new_guard(ledger=ledger)
    with here.task(world.issue(max_depth=1), task="t", capabilities=["tool:use"]) as child:
        assert verdict(lambda: there.validate(child.chain, task="t")) == "allowed"
    assert verdict(lambda: there.validate(child.chain, task="t")) == "token_revoked"


def test_what_the_child_passed_on_ends_with_it(world: World) -> None:
    parent = world.issue(max_depth=2)
    with world.guard.task(parent, task="t", capabilities=["tool:use"], max_depth=1) as child:
        helper = child.delegate("helper", ["tool:use"])
        assert verdict(lambda: world.guard.check(helper, "tool:use", {}, task="t")) == "allowed"
    assert verdict(lambda: world.guard.check(helper, "tool:use", {}, task="t")) == "token_revoked"


async def test_what_was_started_in_the_task_ends_with_it(world: World) -> None:
    go = asyncio.Event()

    async def background() -> str:
        await go.wait()
        return verdict(tool)

    with world.guard.task(world.issue(max_depth=1), task="t", capabilities=["tool:use"]):
        late = asyncio.create_task(background())
        await asyncio.sleep(0)
    go.set()
    assert await late in {"credential_closed", "not_bound"}


def test_a_generator_made_in_the_task_does_not_start_after_it(world: World) -> None:
    @remit.requires_capability("tool:use")
    def stream() -> Iterator[int]:
        yield 1

    with world.guard.task(world.issue(max_depth=1), task="t", capabilities=["tool:use"]):
        made = stream()
    with pytest.raises(remit.Denied):
        next(made)


def test_a_task_may_be_narrower_and_for_another_agent(world: World) -> None:
    parent = world.issue(secrets=["PATH"], max_depth=2, ttl="1h", session="s-1")
    narrow = remit.Capability("tool:use", n=remit.Range(max=5))
    with world.guard.task(
        parent, task="t", capabilities=[narrow], agent="worker", secrets=["PATH"], ttl="1m", max_depth=1,
        limits={"tool:use": remit.Limit(max_uses=1)},
    ) as child:  # fmt: skip
        assert (child.agent, child.secrets, child.session) == ("worker", ("PATH",), "s-1")
        assert child.limits == {"tool:use": remit.Limit(max_uses=1)}
        assert child.expires_at < parent.expires_at
        assert (
            verdict(lambda: world.guard.check(child, "tool:use", {"n": 6}, session="s-1", task="t"))
            == "argument_denied"
        )


def test_the_session_of_the_block_is_needed_when_the_parent_is_bound_to_one(world: World) -> None:
    parent = world.issue(session="s-1", max_depth=1)
    for session, code in (
        (None, "session_mismatch"),
        ("s-2", "session_mismatch"),
        ("", "session_mismatch"),
        ("s-1", "allowed"),
    ):
        with world.guard.task(parent, task="t", capabilities=["tool:use"], session=session):
            assert verdict(tool) == code


def test_tasks_may_be_nested_and_each_ends_by_itself(world: World) -> None:
    parent = world.issue(max_depth=2)
    with world.guard.task(parent, task="t", capabilities=["tool:use"], max_depth=1) as child:
        with world.guard.task(child, task="t", capabilities=["tool:use"]) as grandchild:
            assert len(grandchild.chain) == 3
            assert tool() == "ran"
        assert tool() == "ran"
    assert len(world.guard.revocations()) == 2
    with (
        pytest.raises(remit.AttenuationError),
        world.guard.task(child_of(world, "t-1"), task="t-2", capabilities=["tool:use"]),
    ):
        pass


def child_of(world: World, task: str) -> remit.Credential:
    return world.issue(max_depth=2).delegate("b", ["tool:use"], task=task, max_depth=1)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"task": ""}, remit.ConfigError), ({"task": None}, remit.ConfigError), ({"capabilities": []}, remit.ConfigError),
     ({"capabilities": ["admin"]}, remit.AttenuationError), ({"max_depth": 1}, remit.AttenuationError),
     ({"ttl": "1h"}, remit.AttenuationError), ({"agent": ""}, remit.ConfigError)], ids=str,
)  # fmt: skip
def test_a_task_that_makes_no_sense_or_widens_does_not_begin(
    world: World, options: dict[str, Any], error: type[Exception]
) -> None:
    arguments: dict[str, Any] = {"task": "t", "capabilities": ["tool:use"], **options}
    with pytest.raises(error), world.guard.task(world.issue(max_depth=1), **arguments):
        raise AssertionError("it began")
    assert world.guard.revocations() == []
    assert verdict(tool) == "not_bound"


def test_a_parent_that_may_not_be_delegated_has_no_tasks(world: World) -> None:
    with (
        pytest.raises(remit.AttenuationError),
        world.guard.task(world.issue(), task="t", capabilities=["tool:use"]),
    ):
        raise AssertionError("it began")


def test_a_ledger_that_fails_at_the_end_is_heard_of_and_the_child_is_closed_all_the_same(
    world: World,
) -> None:
    ledger: Any = remit.MemoryLedger()
    guard, held = world.new_guard(ledger=ledger), []

    def fail(*args: object) -> None:
        raise ConnectionError("the ledger is away")

    def run() -> None:
        with guard.task(world.issue(max_depth=1), task="t", capabilities=["tool:use"]) as child:
            held.append(child)
            ledger.revoke = fail

    assert refusal(run).code == "ledger_unavailable"
    assert held[0].closed
    assert verdict(tool) == "not_bound"


def test_the_revocation_of_a_task_is_kept_no_longer_than_its_token(world: World) -> None:
    with world.guard.task(world.issue(max_depth=1), task="t", capabilities=["tool:use"], ttl="2m"):
        pass
    world.clock.now += 120 + 86_400
    assert world.guard.purge() == 1


def test_a_credential_is_revoked_as_its_token_is(world: World) -> None:
    credential = world.issue()
    assert world.guard.revoke_credential(credential, reason="done") is True
    assert world.guard.revoke_credential(credential) is False
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "token_revoked"
    with pytest.raises(remit.ConfigError):
        world.guard.revoke_credential(credential.token)  # type: ignore[arg-type]  # a token is none
