"""`guard_crew` and `grant_task`: whose tools are bound, and how often."""

from __future__ import annotations

from typing import Any, ClassVar

from crewai.tools import BaseTool, tool
from pydantic import BaseModel, create_model

import remit
from remit.testing.world import World
from remit_crewai import routes
from remit_crewai.tools import holder_of

from .support import (
    ACME,
    TRADES,
    Desk,
    Team,
    agent_of,
    codes,
    grant_task,
    guard_crew,
    lead,
    revoked,
    task_of,
    told,
)


class Declared(BaseTool):
    name: str = "declared"
    description: str = "Says its capability, and is not decorated."
    __capability__: ClassVar[str] = "declared:do"
    done: ClassVar[list[str]] = []

    def _run(self, record: str) -> str:
        self.done.append(record)
        return "done"


def test_a_tool_that_says_its_capability_is_bound_for_it(world: World) -> None:
    Declared.done.clear()
    agent = agent_of(
        "Clerk", [[("declared", {"record": "no"})], [("declared", {"record": "ok"})]], [Declared()]
    )
    made = Team(agents=[agent], tasks=[task_of(agent)])
    held = world.grant("clerk", remit.Capability("declared:do", record="ok"))
    assert codes(guard_crew(made, world.guard, {"Clerk": held}).kickoff()) == ["argument_denied"]
    assert Declared.done == ["ok"]


def test_the_own_tools_of_an_agent_that_only_a_task_has_are_bound(world: World) -> None:
    desk = Desk()
    listed, guest = agent_of("Listed", []), agent_of("Guest", [[ACME]], [desk.trade])
    made = Team(agents=[listed], tasks=[task_of(guest)])
    guard_crew(made, world.guard, {"Guest": world.grant("guest", TRADES)})
    guest.kickoff("Trade.")
    assert world.audit.verdicts() == [("guest", "trades:propose", None)]
    assert desk.done == [("trade", "ACME", 900)]


def test_a_run_of_a_task_that_was_granted_twice_has_one_child_of_each_grant(world: World) -> None:
    desk = Desk()
    agent = agent_of("Clerk", [[ACME]], [desk.trade])
    task = task_of(agent)
    grant_task(task, world.guard, lead(world))
    task.tools = [*(task.tools or []), desk.price]
    grant_task(task, world.guard, lead(world))
    made = guard_crew(Team(agents=[agent], tasks=[task]), world.guard, {})
    assert codes(made.kickoff()) == []
    assert world.audit.verdicts() == [("lead", "trades:propose", None)]
    assert revoked(world) == 2


def test_a_tool_beside_those_of_a_grant_has_neither_the_grant_nor_what_is_around(world: World) -> None:
    desk = Desk()
    beside = tool("beside")(remit.requires_capability("trades:propose")(desk.bare))
    agent = agent_of("Clerk", [[("beside", ACME[1])]])
    task = task_of(agent, tools=[desk.trade])
    grant_task(task, world.guard, lead(world))
    task.tools = [*(task.tools or []), beside]  # decorated, but bound by nobody
    with world.guard.acting_as(world.grant("boss", "trades:propose")):
        Team(agents=[agent], tasks=[task]).kickoff()
    assert desk.done == []
    assert any("nothing is bound" in each for each in told(agent))


def test_by_default_a_grant_is_no_more_than_the_tools_need(world: World) -> None:
    task = task_of(agent_of("Clerk", []), tools=[Desk().trade])
    grant_task(task, world.guard, lead(world))
    grant: Any = holder_of(task.tools[0])
    assert [each.name for each in grant.keywords["capabilities"]] == ["trades:propose"]


def test_where_nothing_is_lent_a_block_around_a_direct_call_does_not_count(world: World) -> None:
    desk = Desk()
    agent = agent_of("Clerk", [], [desk.trade])
    granted = task_of(agent, tools=[desk.price])
    grant_task(granted, world.guard, lead(world))
    guard_crew(Team(agents=[agent], tasks=[granted]), world.guard, {})
    with world.guard.acting_as(world.grant("boss", "trades:propose", "pricing:read")):
        answers = [agent.tools[0].run(symbol="ACME", amount=1), granted.tools[0].run(symbol="ACME")]
    assert [answer.details["code"] for answer in answers] == ["not_bound", "not_bound"]
    assert desk.done == []


def test_the_body_of_a_guarded_tool_may_not_use_its_own_capability_again(world: World) -> None:
    desk = Desk()
    bare: Any = remit.requires_capability("trades:propose")(desk.bare)

    @tool
    @remit.requires_capability("trades:propose")
    def twice(symbol: str, amount: int) -> str:
        """Trade twice."""
        try:
            return str(bare(symbol=symbol, amount=amount))
        except remit.Denied as denied:
            return denied.code

    clerk = agent_of("Clerk", [[("twice", ACME[1])]], [twice])
    held = {"Clerk": world.grant("clerk", TRADES)}
    guard_crew(Team(agents=[clerk], tasks=[task_of(clerk)]), world.guard, held).kickoff()
    assert told(clerk) == ["not_bound"]
    assert desk.done == []


class Noting(BaseTool):
    name: str = "noting"
    description: str = "Notes how it was called."
    args_schema: type[BaseModel] = create_model("Noted", symbol=(str, ...))
    calls: ClassVar[list[tuple[Any, Any]]] = []

    def _run(self, *given: Any, **named: Any) -> str:
        self.calls.append((given, named))
        return "noted"


def test_a_way_is_gone_with_names_and_with_positions() -> None:
    found = routes(Noting())
    assert found is not None
    for way in ("run", "_run"):
        Noting.calls.clear()
        found[way]({"symbol": "ACME"})
        found[f"{way}, positionally"]({"symbol": "ACME"})
        assert Noting.calls == [((), {"symbol": "ACME"}), (("ACME",), {})]
