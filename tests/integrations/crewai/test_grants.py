"""`grant_task`: what is granted, what is refused, and how it stands beside the rest."""

from __future__ import annotations

from typing import Any

import pytest
from crewai import Process, Task
from crewai.context import get_current_task_id
from crewai.tasks.conditional_task import ConditionalTask
from crewai.tools import tool

import remit
from remit.testing.world import World

from .support import (
    ACME,
    DEAR,
    INIT,
    SMALL,
    TRADES,
    Desk,
    Quoter,
    Team,
    agent_of,
    codes,
    crew_of,
    grant_task,
    granted,
    guard_crew,
    guard_tools,
    lead,
    revoked,
    task_of,
    told,
)


def test_by_default_it_is_what_the_credential_has_for_the_tools(world: World) -> None:
    made, task = granted(world, Desk(), [[ACME], [DEAR]], capabilities=None)
    assert codes(made.kickoff()) == []
    assert {record.capability for record in world.audit.decisions} == {"trades:propose"}
    other = crew_of(agent_of("Clerk", [[ACME]], [Desk().trade, Desk().price]))
    grant_task(other.tasks[0], world.guard, world.grant("lead", "pricing:read", max_depth=1))
    assert codes(other.kickoff()) == ["capability_missing"]
    assert task.tools


def test_further_terms_are_those_of_a_task_of_the_guard(world: World) -> None:
    desk = Desk()
    limit = remit.Limit(max_uses=1)
    made, _ = granted(
        world, desk, [[ACME], [INIT], [DEAR]], limits={"trades:propose": limit}, agent="clerk", ttl="1m"
    )
    output = made.kickoff()
    assert {agent for agent, _, _ in world.audit.verdicts()} == {"clerk"}
    assert codes(output) == ["argument_denied", "argument_denied"]
    again, _ = granted(
        world,
        desk,
        [[ACME], [("propose_trade", {"symbol": "ACME", "amount": 1})]],
        limits={"trades:propose": limit},
    )
    assert codes(again.kickoff()) == ["limit_exceeded"]


def test_a_secret_may_be_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(secrets={"KEY": "swordfish-41"})
    got: list[str] = []

    @remit.requires_capability("broker:call")
    def call_broker(key: remit.Secret = remit.secret("KEY")) -> str:
        """Call the broker."""
        got.append(key.reveal())
        return "called"

    parent = world.grant("lead", "broker:call", secrets=["KEY"], max_depth=1)
    for secrets, expected in ((["KEY"], []), (None, ["secret_denied"])):
        made = crew_of(agent_of("Clerk", [[("call_broker", {})]], [tool(call_broker)]))
        grant_task(made.tasks[0], world.guard, parent, secrets=secrets)
        assert codes(made.kickoff()) == expected
    assert got == ["swordfish-41"]


def test_a_session_is_bound(world: World) -> None:
    for session, expected in (("s-1", []), (None, ["session_mismatch"])):
        made = crew_of(agent_of("Clerk", [[ACME]], [Desk().trade]))
        grant_task(made.tasks[0], world.guard, lead(world, session="s-1"), session=session)
        assert codes(made.kickoff()) == expected


def test_the_parent_is_never_used_itself(world: World) -> None:
    parent = lead(world)
    made = crew_of(agent_of("Clerk", [[ACME]], [Desk().trade]))
    grant_task(made.tasks[0], world.guard, parent)
    made.kickoff()
    assert parent.token_id not in {record.token_id for record in world.audit.decisions}


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"parent": {"max_depth": 0}}, remit.AttenuationError),
        ({"parent": {"task": "another"}}, None),
        ({"capabilities": ["trades:cancel"]}, remit.AttenuationError),
        ({"capabilities": ["trades:propose"]}, remit.AttenuationError),
        ({"capabilities": []}, remit.ConfigError),
        ({"ttl": "11m"}, remit.AttenuationError),
        ({"ttl": "soon"}, remit.ConfigError),
        ({"limits": {"other": remit.Limit(max_uses=1)}}, remit.ConfigError),
        ({"secrets": ["KEY"]}, remit.AttenuationError),
        ({"agent": " "}, remit.ConfigError),
    ],
)
def test_a_grant_that_could_not_be_opened_is_refused_at_once(
    world: World, settings: dict[str, Any], error: type[Exception] | None
) -> None:
    made = crew_of(agent_of("Clerk", [], [Desk().trade]))
    before = list(made.tasks[0].tools or [])
    terms = dict(settings)
    parent = lead(world, **terms.pop("parent", {}))
    if error is None:
        with pytest.raises(remit.AttenuationError):
            grant_task(made.tasks[0], world.guard, parent)
    else:
        with pytest.raises(error):
            grant_task(made.tasks[0], world.guard, parent, **terms)
    assert made.tasks[0].tools == before
    assert type(made.tasks[0]) is Task


def test_what_makes_no_sense_is_refused(world: World) -> None:
    agent = agent_of("Clerk", [])
    carrying = guard_tools([Desk().trade], world.guard, lead(world))
    for task in (
        None,
        agent,
        task_of(agent),
        task_of(agent, tools=[Desk().doing("a", list)]),
        task_of(agent, tools=carrying),
    ):
        with pytest.raises(remit.ConfigError):
            grant_task(task, world.guard, lead(world))
    for guard, credential in ((None, lead(world)), (world.guard, None)):
        with pytest.raises(remit.ConfigError):
            grant_task(task_of(agent, tools=[Desk().trade]), guard, credential)


# ── beside the rest ──


def test_a_task_is_what_it_was(world: World) -> None:
    agent = agent_of("Clerk", [])
    kinds: list[tuple[type[Task], dict[str, Any]]] = [
        (Task, {}),
        (ConditionalTask, {"condition": lambda output: True}),
    ]
    for kind, settings in kinds:
        task = kind(description="d", expected_output="e", agent=agent, tools=[Desk().trade], **settings)
        fields = {name: getattr(task, name) for name in kind.model_fields if name != "tools"}
        assert grant_task(task, world.guard, lead(world)) is task
        assert isinstance(task, kind)
        assert (type(task).__name__, type(task).__module__) == (kind.__name__, kind.__module__)
        assert {name: getattr(task, name) for name in kind.model_fields if name != "tools"} == fields
        assert type(task.copy([agent], {})) is type(task)


def test_a_tool_of_a_class_takes_a_grant(world: World) -> None:
    class Guarded(Quoter):
        @remit.requires_capability("pricing:read")
        def _run(self, symbol: str, currency: str = "EUR") -> str:
            self.desk.done.append(("quote", symbol, currency))
            return "quoted"

        @remit.requires_capability("pricing:read")
        async def _arun(self, symbol: str, currency: str = "EUR") -> str:
            return "quoted"

    desk = Desk()
    made = crew_of(agent_of("Clerk", [[("quote", {"symbol": "ACME"})]], [Guarded(desk=desk)]))
    grant_task(
        made.tasks[0],
        world.guard,
        lead(world),
        capabilities=[remit.Capability("pricing:read", symbol="ACME")],
    )
    made.kickoff()
    assert desk.done == [("quote", "ACME", "EUR")]
    assert world.audit.verdicts() == [("lead", "pricing:read", None)]


@pytest.mark.parametrize("first", ["grant", "crew"])
def test_a_grant_beside_a_bound_crew(world: World, first: str) -> None:
    desk = Desk()
    agent = agent_of("Clerk", {"The first one.": [[ACME]], "The second one.": [[ACME]]}, [desk.trade])
    tasks = [task_of(agent, "The first one.", tools=[desk.trade]), task_of(agent, "The second one.")]
    made = Team(agents=[agent], tasks=tasks)
    if first == "crew":
        guard_crew(made, world.guard, {"Clerk": world.grant("clerk", TRADES)})
        with pytest.raises(remit.ConfigError, match="carries"):
            grant_task(tasks[0], world.guard, lead(world))
        return
    grant_task(tasks[0], world.guard, lead(world))
    guard_crew(made, world.guard, {"Clerk": world.grant("clerk", TRADES)})
    made.kickoff()
    assert world.audit.verdicts() == [("lead", "trades:propose", None), ("clerk", "trades:propose", None)]
    assert revoked(world) == 1


def test_a_coworker_does_not_get_the_grant_of_the_task(world: World) -> None:
    desk = Desk()
    asked = ("delegate_work_to_coworker", {"task": "Trade.", "context": "none", "coworker": "Worker"})
    boss = agent_of("Boss", [[asked], [ACME]], [desk.trade], allow_delegation=True)
    worker = agent_of("Worker", [[ACME]], [desk.trade])
    made = Team(agents=[boss, worker], tasks=[task_of(boss)])
    grant_task(made.tasks[0], world.guard, lead(world))
    guard_crew(made, world.guard, {"Boss": world.grant("boss", TRADES)})
    made.kickoff()
    assert told(worker)[0].startswith("You may not use")
    assert world.audit.verdicts()[-1] == ("lead", "trades:propose", None)
    assert desk.done == [("trade", "ACME", 900)]


def test_in_a_hierarchy_the_grant_is_used_by_the_manager(world: World) -> None:
    desk = Desk()
    task = task_of(None, tools=[desk.trade])
    made = Team(
        agents=[agent_of("Worker", [])],
        tasks=[grant_task(task, world.guard, lead(world), capabilities=[SMALL])],
        process=Process.hierarchical,
        manager_agent=agent_of("Boss", [[ACME], [DEAR]]),
    )
    assert codes(made.kickoff()) == ["argument_denied"]
    assert revoked(world) == 1
    assert get_current_task_id() is None
