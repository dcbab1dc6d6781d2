"""What CrewAI does, as far as the adapter relies on it or has to make up for it. Nothing of the adapter is used here."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest
from crewai import Flow, Task
from crewai.agents.cache.cache_handler import CacheHandler
from crewai.context import get_current_task_id
from crewai.flow.flow import start
from crewai.hooks.dispatch import InterceptionPoint, register, unregister
from crewai.tools import BaseTool, tool
from crewai.tools.tool_failure import ToolFailure

import remit
from remit.testing.world import World

from .support import ACME, Desk, Team, agent_of, codes, crew_of, drive, task_of, told

WHO: ContextVar[str] = ContextVar("who", default="nobody")
PRE_TOOL = InterceptionPoint.PRE_TOOL_CALL


def _is_of_a_task(context: Any) -> bool:
    """Whether a hook is told of a task or a crew, not of the flow by which CrewAI runs an agent."""
    return context.crew is not None or getattr(context, "kind", None) == "task"


@pytest.fixture
def hooks() -> Any:
    """Registers hooks for the length of a test."""
    registered: list[tuple[InterceptionPoint, Any]] = []

    def add(point: InterceptionPoint, hook: Any) -> None:
        register(point, hook)
        registered.append((point, hook))

    yield add
    for point, hook in registered:
        unregister(point, hook)


def test_an_error_in_a_tool_hook_does_not_keep_the_tool_from_running(hooks: Any) -> None:
    def refuse(context: Any) -> None:
        raise PermissionError("not this one")

    hooks(PRE_TOOL, refuse)
    desk = Desk()
    crew_of(agent_of("Trader", [[ACME]], [tool(desk.bare)])).kickoff()
    assert desk.done == [("trade", "ACME", 900)]


def test_a_hook_sees_the_raw_arguments_and_the_function_the_validated_ones(hooks: Any) -> None:
    seen: list[Any] = []
    hooks(PRE_TOOL, lambda context: seen.append(dict(context.tool_input)))
    desk = Desk()
    raw = {"symbol": "ACME", "amount": "0900"}
    crew_of(agent_of("Trader", [[("propose_trade", raw)]], [tool(desk.bare)])).kickoff()
    assert seen == [raw]
    assert desk.done == [("trade", "ACME", 900)]


def test_each_way_of_a_tool_ends_in_its_function_or_its_method() -> None:
    desk = Desk()
    made: Any = tool(desk.bare)
    quoter = desk.quoter()
    structured = made.to_structured_tool()
    structured.func(symbol="ACME", amount=1)
    made.func = lambda **arguments: desk.done.append(("other",))
    made.run(symbol="ACME", amount=2)
    structured.invoke({"symbol": "ACME", "amount": 3})
    quoter.run(symbol="ACME")
    asyncio.run(quoter.arun(symbol="ACME"))
    quoter.to_structured_tool().func("ACME")
    assert desk.done == [("trade", "ACME", 1), ("other",), ("other",), *[("quote", "ACME", "EUR")] * 3]


def test_an_error_in_a_tool_is_tried_again_on_the_text_path_and_a_failure_is_not() -> None:
    calls: list[str] = []

    def fail() -> str:
        """Fail."""
        calls.append("error")
        raise PermissionError("no")

    def report() -> Any:
        """Fail as a tool should."""
        calls.append("failure")
        return ToolFailure(message="no", code="capability_denied")

    turns = [[("fail", {"x": 1})], [("report", {"x": 1})]]
    crew_of(agent_of("Trader", turns, [tool(fail), tool(report)], native=False)).kickoff()
    assert calls == ["error"] * 6 + ["failure"]


def test_a_cache_that_is_shared_serves_one_agent_what_another_asked() -> None:
    desk = Desk()
    shared = CacheHandler()
    first, second = (
        agent_of("First", [[ACME]], [tool(desk.bare)]),
        agent_of("Second", [[ACME]], [tool(desk.bare)]),
    )
    for agent in (first, second):
        agent.cache = True
        agent.set_cache_handler(shared)
        crew_of(agent).kickoff()
    assert desk.done == [("trade", "ACME", 900)]
    assert told(second) == ["proposed 900 ACME"]


def test_inputs_can_make_any_agent_an_admin() -> None:
    agent = agent_of("{title}", [])
    crew_of(agent).kickoff(inputs={"title": "Admin"})
    assert agent.role == "Admin"


def test_an_agent_changes_its_id_in_a_copy_and_keeps_its_tools() -> None:
    agent = agent_of("Trader", [], [Desk().trade])
    crew = crew_of(agent)
    copied = crew.copy()
    assert copied.agents[0].id != agent.id
    assert copied.tasks[0].id != crew.tasks[0].id
    assert copied.agents[0].tools[0] is agent.tools[0]
    assert copied.tasks[0].tools[0] is crew.tasks[0].tools[0]


def test_a_copy_of_a_task_is_of_the_same_class() -> None:
    class Mine(Task): ...

    assert type(Mine(description="d", expected_output="e").copy([], {})) is Mine


@pytest.mark.parametrize("how", ["kickoff", "kickoff_async", "akickoff"])
@pytest.mark.parametrize("async_execution", [False, True])
def test_a_tool_knows_the_task_that_runs_and_has_its_callers_context(how: str, async_execution: bool) -> None:
    seen: list[tuple[str | None, str]] = []
    look = Desk().doing("look", lambda: seen.append((get_current_task_id(), WHO.get())))
    agent = agent_of("Looker", [[("look", {})]], [look])
    task = task_of(agent, async_execution=async_execution)
    before = WHO.set("caller")
    try:
        drive(Team(agents=[agent], tasks=[task]), how)
    finally:
        WHO.reset(before)
    assert seen == [(str(task.id), "caller")]


def test_an_agent_with_two_tasks_at_once_uses_the_tools_of_the_one_in_the_other() -> None:
    used: list[tuple[str, str | None]] = []
    desk = Desk()
    one = desk.doing("a", lambda: used.append(("a", get_current_task_id())))
    two = desk.doing("b", lambda: used.append(("b", get_current_task_id())))
    clerk, last = agent_of("Clerk", [[("a", {})], [("b", {})]]), agent_of("Last", [])
    first = task_of(clerk, tools=[one], async_execution=True)
    tasks = [first, task_of(clerk, tools=[two], async_execution=True), task_of(last)]
    with pytest.raises(RuntimeError, match="already running"):
        asyncio.run(Team(agents=[clerk, last], tasks=tasks).akickoff())
    assert ("b", str(first.id)) in used


def test_hooks_are_not_told_of_a_task_that_fails_outside_of_a_crew(hooks: Any) -> None:
    seen: list[str] = []
    for point in (InterceptionPoint.PRE_STEP, InterceptionPoint.POST_STEP, InterceptionPoint.EXECUTION_END):
        hooks(point, lambda context, point=point: seen.append(point.name) if _is_of_a_task(context) else None)
    agent = agent_of("Failing", [[ACME]], [tool(Desk().bare)])
    task = task_of(agent, guardrail=lambda output: (False, "never good enough"), guardrail_max_retries=0)
    with pytest.raises(Exception, match="guardrail"):
        task.execute_sync()
    assert seen == ["PRE_STEP"]


def test_hooks_are_not_told_of_a_run_that_is_cancelled(hooks: Any) -> None:
    seen: list[str] = []
    for point in (InterceptionPoint.POST_STEP, InterceptionPoint.EXECUTION_END):
        hooks(point, lambda context, point=point: seen.append(point.name) if _is_of_a_task(context) else None)

    async def cancelled() -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wait() -> None:
            loop.call_soon_threadsafe(begun.set)

        agent = agent_of("Slow", [[("wait", {})]] * 50, [Desk().doing("wait", wait)])
        running = asyncio.create_task(crew_of(agent).akickoff())
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    assert seen == []


def test_a_tool_that_is_called_off_the_loop_by_the_text_path_loses_the_context() -> None:
    seen: list[str] = []
    look = Desk().doing("look", lambda: seen.append(WHO.get()))
    before = WHO.set("caller")
    try:
        asyncio.run(look.to_structured_tool().ainvoke({}))
    finally:
        WHO.reset(before)
    assert seen == ["nobody"]


def test_the_tools_of_the_framework_carry_no_capability() -> None:
    agents = [agent_of("One", []), agent_of("Two", [])]
    made = agents[0].get_delegation_tools(agents)
    assert {each.name for each in made} == {"Delegate work to coworker", "Ask question to coworker"}
    assert {remit.capability_of(each._run) for each in made} == {None}


def test_a_usage_count_starts_anew_with_each_task() -> None:
    desk = Desk()
    limited = tool(max_usage_count=1)(desk.bare)
    agent = agent_of("Trader", [[ACME]], [limited])
    Team(agents=[agent], tasks=[task_of(agent), task_of(agent)]).kickoff()
    assert len(desk.done) == 2


def test_what_the_model_left_out_is_passed_with_its_default() -> None:
    passed: list[dict[str, Any]] = []

    class Open(BaseTool):
        name: str = "open"
        description: str = "Open it."

        def _run(self, *, host: str = "main", port: int = 22) -> str:
            raise NotImplementedError

    made = Open()
    object.__setattr__(made, "_run", lambda **arguments: passed.append(arguments))
    made.run(host="other")
    assert passed == [{"host": "other", "port": 22}]


def test_a_class_of_tools_is_registered_by_its_name() -> None:
    from crewai.tools.base_tool import _TOOL_TYPE_REGISTRY

    class Registered(BaseTool):
        def _run(self) -> str:
            return ""

    key = f"{Registered.__module__}.{Registered.__qualname__}"
    assert _TOOL_TYPE_REGISTRY[key] is Registered
    kind: Any = type(Registered)
    again = kind(
        "Registered", (Registered,), {"__module__": __name__, "__qualname__": Registered.__qualname__}
    )
    assert _TOOL_TYPE_REGISTRY[key] is again


def test_a_block_around_a_kickoff_reaches_every_agent(world: World) -> None:
    desk = Desk()
    with world.guard.acting_as(world.grant("boss", "trades:propose")):
        crew_of(agent_of("Anybody", [[ACME]], [desk.trade])).kickoff()
    assert desk.done == [("trade", "ACME", 900)]


def test_a_block_around_a_flow_reaches_the_crews_in_it(world: World) -> None:
    desk = Desk()

    class Work(Flow[Any]):
        @start()
        def begin(self) -> Any:
            return crew_of(agent_of("Anybody", [[ACME]], [desk.trade])).kickoff()

    with world.guard.acting_as(world.grant("boss", "trades:propose")):
        output = Work().kickoff()
    assert desk.done == [("trade", "ACME", 900)]
    assert codes(output) == []
