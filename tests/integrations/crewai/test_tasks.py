"""`grant_task`: each run of a task has a child of its own, which ends with the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from threading import Event
from threading import enumerate as enumerate_threads
from typing import Any

import pytest
from crewai.context import get_current_task_id, reset_current_task_id, set_current_task_id
from crewai.tools import BaseTool, tool

import remit
from remit.testing.world import World

from .support import (
    ACME,
    INIT,
    RUNS,
    Desk,
    Team,
    agent_of,
    codes,
    crew_of,
    drive,
    grant_task,
    granted,
    lead,
    revoked,
    task_of,
)

WAYS = [(how, async_execution) for how in RUNS for async_execution in (False, True)]


class Spy:
    """A tool that keeps what it sees in a run, to be used when the run is over."""

    def __init__(self, look: Callable[[], Any] = lambda: None) -> None:
        self.seen: list[Any] = []
        self.look = look

    def tool(self, name: str = "spy") -> BaseTool:
        return Desk().doing(name, lambda: self.seen.append(self.look()))


@pytest.mark.parametrize(("how", "async_execution"), WAYS)
@pytest.mark.parametrize("native", [True, False])
def test_a_run_has_a_narrower_child_that_is_bound_to_it_and_ends_with_it(
    world: World, how: str, async_execution: bool, native: bool
) -> None:
    desk = Desk()
    made, task = granted(world, desk)
    made.agents[0].llm.native = native
    task.async_execution = async_execution
    output = drive(made, how)
    assert desk.done == [("trade", "ACME", 900)]
    assert codes(output) == ["argument_denied"]
    assert world.audit.verdicts() == [
        ("lead", "trades:propose", None),
        ("lead", "trades:propose", "argument_denied"),
    ]
    [decision, _] = world.audit.decisions
    assert len(decision.chain) == 2
    assert revoked(world) == 1
    [entry] = world.guard.revocations()
    assert entry.token_id == decision.token_id


def test_each_run_has_a_child_of_its_own(world: World) -> None:
    made, _ = granted(world, Desk(), [[ACME]])
    made.kickoff()
    made.kickoff()
    made.copy().kickoff()
    made.kickoff_for_each([{"n": 1}, {"n": 2}])
    asyncio.run(made.akickoff_for_each([{"n": 1}, {"n": 2}]))
    assert {code for _, _, code in world.audit.verdicts()} == {None}
    assert len({record.token_id for record in world.audit.decisions}) == 7 == revoked(world)


def test_before_and_after_a_run_its_tools_have_nothing(world: World) -> None:
    desk = Desk()
    made, task = granted(world, desk, [[ACME]])
    [each] = task.tools or []
    assert each.run(symbol="ACME", amount=1).details["code"] == "not_bound"
    made.kickoff()
    assert each.run(symbol="ACME", amount=1).details["code"] == "not_bound"
    running = set_current_task_id(str(task.id))
    assert each.run(symbol="ACME", amount=1).details["code"] == "not_bound"
    reset_current_task_id(running)
    assert desk.done == [("trade", "ACME", 900)]


def test_what_outlives_a_run_has_nothing(world: World) -> None:
    desk = Desk()
    spy = Spy(copy_context)
    made = crew_of(agent_of("Clerk", [[ACME], [("spy", {})]], [desk.trade, spy.tool()]))
    grant_task(made.tasks[0], world.guard, lead(world))
    made.kickoff()
    [context] = spy.seen
    made_tool = (made.tasks[0].tools or [])[0]
    assert context.run(made_tool.run, symbol="ACME", amount=1).details["code"] == "credential_closed"
    assert desk.done == [("trade", "ACME", 900)]


@pytest.mark.parametrize(("how", "async_execution"), WAYS)
def test_the_child_of_a_run_that_fails_is_revoked(world: World, how: str, async_execution: bool) -> None:
    made, task = granted(world, Desk(), [[ACME]])
    task.guardrail = lambda output: (False, "never good enough")
    task._guardrail = task.guardrail
    task.guardrail_max_retries = 0
    task.async_execution = async_execution
    with pytest.raises(Exception, match="guardrail"):
        drive(made, how)
    assert world.audit.verdicts() == [("lead", "trades:propose", None)]
    assert revoked(world) == 1


def test_the_child_of_a_task_that_fails_alone_is_revoked(world: World) -> None:
    _, task = granted(world, Desk(), [[ACME]])
    task._guardrail = lambda output: (False, "never good enough")
    task.guardrail_max_retries = 0
    failing: list[Callable[[], Any]] = [
        task.execute_sync,
        lambda: asyncio.run(task.aexecute_sync()),
        lambda: _result(task.execute_async()),
    ]
    for run in failing:
        with pytest.raises(Exception, match="guardrail"):
            run()
    assert revoked(world) == 3


def _result(future: Future[Any]) -> Any:
    return future.result(timeout=60)


def test_the_child_of_a_run_that_is_cancelled_is_revoked(world: World) -> None:
    desk = Desk()

    async def cancelled() -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()
        go_on = Event()

        def wait() -> None:
            loop.call_soon_threadsafe(begun.set)
            go_on.wait(timeout=60)

        agent = agent_of("Slow", [[ACME], [("wait", {})], [ACME]], [desk.trade, desk.doing("wait", wait)])
        made = crew_of(agent)
        grant_task(made.tasks[0], world.guard, lead(world))
        running = asyncio.create_task(made.akickoff())
        await begun.wait()
        assert revoked(world) == 0
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        go_on.set()

    asyncio.run(cancelled())
    assert revoked(world) == 1
    assert desk.done == [("trade", "ACME", 900)]


def test_a_run_of_which_the_parent_has_expired_does_not_begin(world: World) -> None:
    desk = Desk()
    made, _ = granted(world, desk, [[ACME]])
    world.clock.advance("11m")
    with pytest.raises(remit.AttenuationError):
        made.kickoff()
    assert desk.done == []


def test_a_parent_that_is_revoked_in_mid_run_stops_the_next_call(world: World) -> None:
    desk = Desk()
    held = lead(world)
    stop = desk.doing("stop", lambda: world.guard.revoke(held.token_id, reason="as a test"))
    made = crew_of(agent_of("Clerk", [[ACME], [("stop", {})], [INIT]], [desk.trade, stop]))
    grant_task(made.tasks[0], world.guard, held)
    assert codes(made.kickoff()) == ["token_revoked"]
    assert desk.done == [("trade", "ACME", 900)]


# ── no task under another's grant ──


def test_a_task_cannot_use_the_tools_of_another_task_that_runs(world: World) -> None:
    desk = Desk()
    answers: list[Any] = []
    others: list[BaseTool] = []

    def steal() -> None:
        answers.append(others[0].run(symbol="ACME", amount=900))

    thief = agent_of("Thief", {"The first one.": [[ACME]], "The second one.": [[("steal", {})], [INIT]]})
    first, second = (
        task_of(thief, "The first one.", tools=[desk.trade]),
        task_of(thief, "The second one.", tools=[desk.trade, desk.doing("steal", steal)]),
    )
    inner = Team(agents=[thief], tasks=[second])
    outer = agent_of("Outer", [[ACME], [("nest", {})], [ACME]])
    nesting = task_of(outer, "Nest.", tools=[desk.trade, desk.doing("nest", inner.kickoff)])
    for task in (first, second, nesting):
        grant_task(task, world.guard, lead(world))
    others.extend(nesting.tools or [])
    Team(agents=[outer], tasks=[nesting]).kickoff()
    assert [answer.details["code"] for answer in answers] == ["not_bound"]
    assert desk.done == [("trade", "ACME", 900), ("trade", "INIT", 900), ("trade", "ACME", 900)]


def test_a_grant_serves_no_task_but_its_own_even_where_it_is_lent(world: World) -> None:
    desk = Desk()
    answers: list[Any] = []
    tools: list[BaseTool] = []

    def pretend() -> None:
        running = set_current_task_id("another")
        try:
            answers.append(tools[0].run(symbol="ACME", amount=900))
        finally:
            reset_current_task_id(running)

    made = crew_of(agent_of("Clerk", [[("pretend", {})]], [desk.trade, desk.doing("pretend", pretend)]))
    grant_task(made.tasks[0], world.guard, lead(world))
    tools.extend(made.tasks[0].tools or [])
    made.kickoff()
    assert [answer.details["code"] for answer in answers] == ["task_mismatch"]
    assert desk.done == []


@pytest.mark.parametrize("how", RUNS)
def test_concurrent_tasks_of_one_agent_run_under_their_own_grants_alone(world: World, how: str) -> None:
    done: list[tuple[str, str | None]] = []
    names: dict[str, str] = {}
    told_of: list[str] = []

    def doing(name: str) -> BaseTool:
        def do() -> str:
            """Do it."""
            done.append((name, get_current_task_id()))
            return "done"

        do.__name__ = name
        return tool(remit.requires_capability(f"{name}:do")(do))

    turns: dict[str, Any] = {
        "The first.": [[("one", {})], [("two", {})]] * 2,
        "The second.": [[("two", {})], [("one", {})]] * 2,
    }
    for _ in range(3):
        agent, last = agent_of("Clerk", turns), agent_of("Last", [])
        tasks = [
            task_of(agent, f"The {word}.", tools=[doing(name)], async_execution=True)
            for word, name in (("first", "one"), ("second", "two"))
        ]
        for task, name in zip(tasks, ("one", "two"), strict=True):
            grant_task(task, world.guard, world.grant("lead", "one:do", "two:do", max_depth=1))
            names[str(task.id)] = name
        with suppress(RuntimeError):  # one executor serves both, which CrewAI notices too late
            drive(Team(agents=[agent, last], tasks=[*tasks, task_of(last, context=[])]), how)
        told_of += [str(message["content"]) for shown in agent.llm.shown for message in shown]
    assert [name for name, running in done if names.get(str(running)) != name] == []
    assert how != "akickoff" or any("nothing is bound" in each for each in told_of)
    for thread in [each for each in enumerate_threads() if each.daemon and each.name.startswith("Thread-")]:
        thread.join(timeout=60)  # CrewAI waits for none when one of its tasks fails
    assert revoked(world) == 6
