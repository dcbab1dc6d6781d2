"""Which credential a call runs under: nothing bound, nothing allowed; one call, one capability."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Barrier, Thread
from typing import Any

import pytest

import remit

from .support import World, refusal, verdict


@remit.requires_capability("tool:use")
def tool(n: int = 1) -> int:
    return n


@remit.requires_capability("tool:other")
def other() -> str:
    return "other"


@remit.requires_capability("tool:use")
def nesting(inner: str = "other") -> str:
    return verdict(lambda: other() if inner == "other" else tool())


def test_with_nothing_bound_a_call_is_denied_and_says_what_was_missing() -> None:
    denied = refusal(tool)
    assert (denied.code, denied.capability) == ("not_bound", "tool:use")
    assert "nothing is bound" in denied.reason


def test_a_binding_lasts_for_its_block_also_when_the_block_fails(world: World) -> None:
    with world.guard.acting_as(world.issue()):
        assert tool() == 1
    assert verdict(tool) == "not_bound"
    with pytest.raises(KeyError), world.guard.acting_as(world.issue()):
        raise KeyError
    assert verdict(tool) == "not_bound"


def test_the_innermost_binding_counts_and_the_outer_one_comes_back(world: World) -> None:
    one, two = world.issue(agent="one"), world.issue("tool:other", agent="two")
    with world.guard.acting_as(one):
        with world.guard.acting_as(two):
            assert (verdict(tool), verdict(other)) == ("capability_missing", "allowed")
            with remit.unbound():
                assert verdict(other) == "not_bound"
            assert verdict(other) == "allowed"
        assert (verdict(tool), verdict(other)) == ("allowed", "capability_missing")
    assert verdict(tool) == "not_bound"


def test_nothing_stays_bound_after_a_scope_that_was_entered_twice(world: World) -> None:
    def enter_twice(scope: Any) -> list[str]:
        try:
            with scope:
                with scope:
                    pass
                inside = verdict(tool)
        except (RuntimeError, remit.RemitError):  # refusing to be entered twice is as good
            inside = "allowed"
        return [inside, verdict(tool)]

    assert copy_context().run(enter_twice, world.guard.acting_as(world.issue())) == ["allowed", "not_bound"]


def test_nothing_stays_bound_after_a_scope_that_two_tasks_share(world: World) -> None:
    scope = world.guard.acting_as(world.issue())
    left: list[str] = []

    async def use(start: asyncio.Event, go: asyncio.Event) -> None:
        try:
            with scope:
                start.set()
                await go.wait()
        except (RuntimeError, ValueError, remit.RemitError):
            pass
        left.append(verdict(tool))

    async def main() -> None:
        first, second, go = asyncio.Event(), asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(use(event, go)) for event in (first, second)]
        await first.wait()
        go.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert left == ["not_bound", "not_bound"]


def test_a_scope_can_be_entered_again_after_it_was_left(world: World) -> None:
    scope = world.guard.acting_as(world.issue())
    for _ in range(2):
        with scope:
            assert tool() == 1
        assert verdict(tool) == "not_bound"


def test_what_is_not_a_credential_is_not_bound(world: World) -> None:
    for wrong in (None, "token", world.issue().token, world.issue().chain, object()):
        with pytest.raises(remit.ConfigError):
            world.guard.acting_as(wrong)  # type: ignore[arg-type]  # the mistake itself
    for wrong in ("", " ", 5):
        with pytest.raises(remit.ConfigError):
            world.guard.acting_as(world.issue(), capability=wrong)  # type: ignore[arg-type]  # as above


def test_the_body_of_a_tool_runs_under_the_binding_of_the_block(world: World) -> None:
    with world.guard.acting_as(world.issue("tool:use", "tool:other")):
        assert nesting() == "allowed"
    with world.guard.acting_as(world.issue("tool:use")):
        assert nesting() == "capability_missing"


def test_a_call_scoped_binding_is_for_its_capability_alone(world: World) -> None:
    credential = world.issue("tool:use", "tool:other")
    with world.guard.acting_as(credential, capability="tool:use"):
        assert tool() == 1
        denied = refusal(other)
        assert (denied.code, denied.capability) == ("not_bound", "tool:other")


@pytest.mark.parametrize("inner", ["other", "tool"])
def test_the_body_of_a_tool_under_a_call_scoped_binding_runs_with_nothing_bound(
    world: World, inner: str
) -> None:
    with world.guard.acting_as(world.issue("tool:use", "tool:other"), capability="tool:use"):
        assert nesting(inner) == "not_bound"
        assert tool() == 1  # and the binding is back afterwards


def test_a_binding_does_not_reach_a_thread_that_a_tool_starts(world: World) -> None:
    @remit.requires_capability("tool:use")
    def starting() -> list[str]:
        found: list[str] = []
        thread = Thread(target=lambda: found.append(verdict(tool)))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            found.append(pool.submit(verdict, tool).result())
        return found

    with world.guard.acting_as(world.issue()):
        assert starting() == ["not_bound", "not_bound"]


def test_threads_have_their_own_bindings(world: World) -> None:
    credentials = [world.issue(remit.Capability("tool:use", n=number)) for number in range(16)]
    start = Barrier(16)

    def run(number: int) -> list[str]:
        with world.guard.acting_as(credentials[number]):
            start.wait()
            return [verdict(partial(tool, n)) for n in range(16)]

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(run, range(16)))
    for number, result in enumerate(results):
        assert [other for other, said in enumerate(result) if said == "allowed"] == [number]


async def test_tasks_and_their_threads_have_the_binding_of_the_block_for_as_long_as_it_lasts(
    world: World,
) -> None:
    async def run() -> str:
        await asyncio.sleep(0)
        return verdict(tool)

    with world.guard.acting_as(world.issue()):
        assert await asyncio.create_task(run()) == "allowed"
        assert await asyncio.to_thread(verdict, tool) == "allowed"
        late = asyncio.create_task(run())
        late_thread = copy_context()
    assert verdict(tool) == "not_bound"
    assert await late == "not_bound"
    assert late_thread.run(verdict, tool) == "not_bound"


@pytest.mark.parametrize("end", ["closed", "revoked", "left"])
async def test_a_background_task_ends_with_its_credential_or_its_block(world: World, end: str) -> None:
    credential, go = world.issue(), asyncio.Event()

    async def background() -> str:
        await go.wait()
        return verdict(tool)

    with world.guard.acting_as(credential):
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        if end == "closed":
            credential.close()
        elif end == "revoked":
            world.guard.revoke(credential.token_id)
        if end != "left":
            go.set()
            assert await task in {"credential_closed", "token_revoked"}
    go.set()
    assert await task != "allowed"


def test_a_block_that_is_over_does_not_end_another_of_the_same_credential(world: World) -> None:
    credential = world.issue()
    with world.guard.acting_as(credential):
        with world.guard.acting_as(credential):
            assert tool() == 1
        assert tool() == 1
    scope = world.guard.acting_as(credential)
    for _ in range(2):
        with scope:
            assert tool() == 1


async def test_calls_under_many_credentials_at_once_never_mix(world: World) -> None:
    @remit.requires_capability("tool:use")
    async def slow(n: int) -> tuple[int, str]:
        for _ in range(n % 3):
            await asyncio.sleep(0)
        inner = verdict(lambda: tool(n))
        await asyncio.sleep(0)
        return n, inner

    credentials = [world.issue(remit.Capability("tool:use", n=number)) for number in range(8)]

    async def run(number: int, wanted: int) -> str:
        with world.guard.acting_as(credentials[number]):
            await asyncio.sleep(0)
            try:
                assert await slow(wanted) == (wanted, "allowed")
            except remit.Denied as denied:
                return denied.code
            return "allowed"

    for _ in range(50):
        pairs = [(number, wanted) for number in range(8) for wanted in (number, (number + 1) % 8)]
        results = await asyncio.gather(*(run(*pair) for pair in pairs))
        assert results == ["allowed", "argument_denied"] * 8


async def test_bound_tools_called_at_once_under_many_credentials_never_mix(world: World) -> None:
    async def bare(n: int) -> int:
        await asyncio.sleep(0)
        assert verdict(tool) == "not_bound"
        return n

    bound = [
        remit.bind_tool(
            bare, world.guard, world.issue(remit.Capability("tool:use", n=number)), capability="tool:use"
        )
        for number in range(8)
    ]

    async def run(number: int, wanted: int) -> str:
        try:
            return f"ran {await bound[number](wanted)}"
        except remit.Denied as denied:
            return denied.code

    for _ in range(50):
        pairs = [(number, wanted) for number in range(8) for wanted in (number, (number + 1) % 8)]
        results = await asyncio.gather(*(run(*pair) for pair in pairs))
        assert results == [said for number in range(8) for said in (f"ran {number}", "argument_denied")]


async def test_a_coroutine_made_under_a_binding_and_awaited_under_none_is_denied(world: World) -> None:
    @remit.requires_capability("tool:use")
    async def waiting() -> str:
        return "ran"

    with world.guard.acting_as(world.issue()):
        made = waiting()
    with pytest.raises(remit.CapabilityDenied) as caught:
        await made
    assert caught.value.code == "not_bound"


def _suspended(world: World, call: Callable[[], Any]) -> Any:
    """A coroutine that was started under a binding, in a context of its own, and waits."""

    def start() -> Any:
        with world.guard.acting_as(world.issue()):
            made = call()
            made.send(None)
            return made

    return copy_context().run(start)


def test_a_coroutine_that_is_dropped_in_another_context_ends_as_any_other(world: World) -> None:
    ended: list[str] = []

    class Forever:
        def __await__(self) -> Any:
            yield

    @remit.requires_capability("tool:use")
    async def waiting() -> None:
        try:
            await Forever()
        finally:
            ended.append("ended")

    made = _suspended(world, waiting)
    made.close()
    assert ended == ["ended"]
    bound = remit.bind_tool(waiting, world.guard, world.issue())
    made = _suspended(world, bound)
    made.close()
    assert ended == ["ended", "ended"]
    assert verdict(tool) == "not_bound"


async def test_a_cancelled_call_leaves_nothing_bound_and_an_outcome(world: World) -> None:
    @remit.requires_capability("tool:use")
    async def waiting() -> None:
        await asyncio.sleep(60)

    async def run() -> None:
        with world.guard.acting_as(world.issue()):
            await waiting()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [outcome] = world.events("outcome")
    assert (outcome.allowed, outcome.reason) == (False, "CancelledError")
    assert verdict(tool) == "not_bound"


def test_a_coroutine_that_a_plain_function_returns_is_run_under_the_same_call(world: World) -> None:
    async def implementation() -> str:
        return verdict(other)

    @remit.requires_capability("tool:use")
    def starting() -> Any:
        return implementation()

    with world.guard.acting_as(world.issue("tool:use", "tool:other")):
        made = starting()
    assert asyncio.run(made) == "allowed"
    credential = world.issue("tool:use")
    with world.guard.acting_as(credential):
        made = starting()
    world.guard.revoke(credential.token_id)
    with pytest.raises(remit.Denied) as caught:
        asyncio.run(made)
    assert caught.value.code == "token_revoked"
