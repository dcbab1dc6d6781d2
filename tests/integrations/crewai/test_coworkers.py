"""`guard_crew`: what agents ask of one another, and what CrewAI adds to their tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from crewai import Agent, Process
from crewai.tools import tool

import remit
from remit.testing.world import World

from .support import (
    ACME,
    DEAR,
    INIT,
    RUNS,
    TRADES,
    Desk,
    Team,
    agent_of,
    codes,
    crew_of,
    drive,
    guard_crew,
    task_of,
    told,
    trader,
)

DELEGATE = {"task": "Trade.", "context": "none", "coworker": "Worker"}
ASK = {"question": "Trade?", "context": "none", "coworker": "Worker"}


def lead_and_worker(desk: Desk, turns: Any, **settings: Any) -> Any:
    lead = agent_of("Lead", turns, [desk.trade], allow_delegation=True)
    worker = agent_of("Worker", [[DEAR, ACME]], [desk.trade])
    return Team(agents=[lead, worker], tasks=[task_of(lead)], **settings)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize(
    "asked",
    [("delegate_work_to_coworker", DELEGATE), ("ask_question_to_coworker", ASK)],
    ids=["delegate", "ask"],
)
def test_a_coworker_has_its_own_credential_and_not_that_of_who_asks(
    world: World, asked: Any, how: str, native: bool
) -> None:
    desk = Desk()
    made = lead_and_worker(desk, [[asked], [DEAR]])
    made.agents[0].llm.native = native
    held = {"Lead": world.grant("lead", "trades:propose"), "Worker": world.grant("worker", TRADES)}
    drive(guard_crew(made, world.guard, held), how)
    *workers, last = world.audit.verdicts()
    assert sorted(workers, key=str) == [
        ("worker", "trades:propose", "argument_denied"),
        ("worker", "trades:propose", None),
    ]
    assert last == ("lead", "trades:propose", None)
    assert sorted(desk.done) == [("trade", "ACME", 900), ("trade", "ACME", 2_000)]


def test_a_coworker_without_a_credential_may_nothing(world: World) -> None:
    desk = Desk()
    made = lead_and_worker(desk, [[("delegate_work_to_coworker", DELEGATE)]])
    guard_crew(made, world.guard, {"Lead": world.grant("lead", "trades:propose")})
    with world.guard.acting_as(world.grant("boss", "trades:propose")):
        made.kickoff()
    assert desk.done == []
    assert {code for _, _, code in world.audit.verdicts()} <= {"not_bound"}
    assert told(made.agents[1])[0].startswith("You may not use 'trades:propose': nothing is bound")


def hierarchy(desk: Desk, turns: Any, **settings: Any) -> Any:
    worker = agent_of("Worker", [[ACME, INIT]], [desk.trade])
    made = agent_of("boss", turns)
    manager: dict[str, Any] = (
        {"manager_agent": agent_of("Boss", turns)} if settings.pop("own", True) else {"manager_llm": made.llm}
    )
    tasks = [task_of(None, tools=[desk.trade])]
    return Team(agents=[worker], tasks=tasks, process=Process.hierarchical, **manager, **settings)


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize("own", [True, False], ids=["its own manager", "a manager that is made"])
def test_in_a_hierarchy_the_tools_of_a_task_are_the_managers(world: World, how: str, own: bool) -> None:
    desk = Desk()
    turns = [[INIT], [("delegate_work_to_coworker", DELEGATE)]]
    held = {
        "Boss" if own else "Crew Manager": world.grant(
            "boss", remit.Capability("trades:propose", symbol="INIT", amount=900)
        ),
        "Worker": world.grant("worker", TRADES),
    }
    made = guard_crew(hierarchy(desk, turns, own=own), world.guard, held)
    drive(made, how)
    assert world.audit.verdicts()[0] == ("boss", "trades:propose", None)
    assert sorted(world.audit.verdicts()[1:], key=str) == sorted(
        [("worker", "trades:propose", None), ("worker", "trades:propose", "argument_denied")], key=str
    )
    assert desk.done[0] == ("trade", "INIT", 900)


def test_the_tools_of_a_worker_are_the_managers_where_a_task_took_them(world: World) -> None:
    desk = Desk()
    worker = agent_of("Worker", [[ACME]], [desk.trade])
    boss = agent_of("Boss", [[ACME]])
    made = Team(agents=[worker], tasks=[task_of(worker)], process=Process.hierarchical, manager_agent=boss)
    assert made.tasks[0].tools == worker.tools
    output = guard_crew(made, world.guard, {"Worker": trader(world)}).kickoff()
    assert codes(output) == ["not_bound"]
    assert desk.done == []


# ── what the framework adds to the tools ──


def test_a_tool_without_a_capability_runs_with_nothing_bound(world: World) -> None:
    desk = Desk()
    denials: list[str] = []

    def around() -> None:
        try:
            desk.trade.run(symbol="ACME", amount=1)
        except remit.Denied as denied:
            denials.append(denied.code)

    made = crew_of(agent_of("Clerk", [[("around", {})]], [desk.doing("around", around), desk.trade]))
    guard_crew(made, world.guard, {"Clerk": trader(world)})
    with world.guard.acting_as(world.grant("boss", "trades:propose")):
        made.kickoff()
    assert denials == ["not_bound"]
    assert desk.done == []


class Recalled:
    """A memory that does something when it is asked."""

    read_only = True

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work

    def recall(self, *args: Any, **kwargs: Any) -> list[Any]:
        self.work()
        return []


@pytest.mark.parametrize("how", RUNS)
def test_the_memory_is_asked_with_nothing_bound(
    world: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    denials: list[str] = []

    def look() -> None:
        try:
            desk.trade.run(symbol="ACME", amount=1)
        except remit.Denied as denied:
            denials.append(denied.code)

    clerk = agent_of("Clerk", [[("search_memory", {"queries": ["trades"]})]], [desk.trade])
    made = crew_of(clerk)
    object.__setattr__(made, "_memory", Recalled(look))
    monkeypatch.setattr(Agent, "_retrieve_memory_context", lambda self, task, prompt: prompt)
    guard_crew(made, world.guard, {"Clerk": trader(world)})
    with world.guard.acting_as(world.grant("boss", "trades:propose")):
        drive(made, how)
    assert denials
    assert set(denials) == {"not_bound"}
    assert desk.done == []


def test_a_crew_in_a_tool_has_nothing_of_who_runs_it(world: World) -> None:
    desk = Desk()
    inner = guard_crew(crew_of(agent_of("Inner", [[ACME]], [desk.trade])), world.guard, {})

    @remit.requires_capability("crews:run")
    def run_crew() -> str:
        """Run a crew."""
        return str(inner.kickoff().tasks_output[0].tool_failures[0].failure.details["code"])

    boss = agent_of("Boss", [[("run_crew", {})]], [tool(run_crew)])
    guard_crew(
        crew_of(boss), world.guard, {"Boss": world.grant("boss", "crews:run", "trades:propose")}
    ).kickoff()
    assert told(boss) == ["not_bound"]
    assert desk.done == []
