"""Agents that are tools of other agents: none runs under its caller's credential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.tools import ToolRuntime

import remit
from remit_langchain import CapabilityMiddleware, guard_tools

from .scripted import Call, Turn
from .support import Context, Desk, World, dangling, drive, model, verdicts

TRADE: list[Call] = [("propose_trade", {"symbol": "ACME", "amount": 900})]
ASK: Turn = [("ask_worker", {"task": "go"})]


def asking(worker: Any) -> list[Callable[..., Any]]:
    """A worker agent as a tool, in its synchronous and its asynchronous form."""

    def ask_worker(task: str) -> str:
        """Let the worker do it."""
        return str(worker.invoke({"messages": [("user", task)]})["messages"][-1].content)

    async def aask_worker(task: str) -> str:
        """Let the worker do it."""
        return str((await worker.ainvoke({"messages": [("user", task)]}))["messages"][-1].content)

    aask_worker.__name__ = "ask_worker"
    return [ask_worker, aask_worker]


def caller_of(world: World, ask: Callable[..., Any], **keywords: Any) -> Any:
    """An agent that may do all that the worker would like to."""
    ours = CapabilityMiddleware(
        world.guard, world.grant("boss", "trades:propose", "pricing:read"), **keywords
    )
    return create_agent(model(ASK), [ask], middleware=[ours])


@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize("kind", ["undecorated", "decorated", "guarded"])
def test_a_nested_agent_without_a_token_has_not_its_caller_s(form: int, kind: str) -> None:
    """Not even where asking it takes the very capability that it would use."""
    world, desk = World(), Desk()
    ask: Any = asking(create_agent(model(TRADE), [desk.propose_trade]))[form]
    if kind == "decorated":
        ask = remit.requires_capability("trades:propose")(ask)
    elif kind == "guarded":
        boss = world.grant("boss", "trades:propose", "pricing:read")
        (ask,) = guard_tools([ask], world.guard, boss, capability="trades:propose")
    messages = drive(caller_of(world, ask), ("invoke", "ainvoke")[form])
    assert (verdicts(messages), desk.done) == (["not_bound"], [])
    assert dangling(messages) == set()


@pytest.mark.parametrize("form", [0, 1])
def test_a_nested_agent_with_a_token_runs_under_that(form: int) -> None:
    world, desk = World(), Desk()
    ours = CapabilityMiddleware(world.guard, world.grant("worker", "pricing:read"))
    both: Turn = [*TRADE, ("get_price", {"symbol": "ACME"})]
    worker = create_agent(model(both), [desk.propose_trade, desk.get_price], middleware=[ours])
    messages = drive(caller_of(world, asking(worker)[form]), ("invoke", "ainvoke")[form])
    assert verdicts(messages) == ["ok"]
    assert desk.done == [("price", "ACME")]
    assert set(world.decisions) == {
        ("worker", "trades:propose", "capability_missing"),
        ("worker", "pricing:read", None),
    }


@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize("outer", ["continue", "error"])
def test_a_denial_that_ends_a_nested_run_is_the_caller_s_to_answer(form: int, outer: str) -> None:
    world, desk = World(), Desk()
    ours = CapabilityMiddleware(world.guard, world.grant("worker", "other"), exit_behavior="error")
    worker = create_agent(model(TRADE), [desk.propose_trade], middleware=[ours])
    boss = caller_of(world, asking(worker)[form], exit_behavior=outer)
    how = ("invoke", "ainvoke")[form]
    if outer == "continue":
        messages = drive(boss, how)
        assert (verdicts(messages), messages[-1].content) == (["capability_missing"], "done")
    else:
        with pytest.raises(remit.CapabilityDenied):
            drive(boss, how)
    assert desk.done == []


def test_guarded_tools_that_an_agent_hands_to_another_stay_its_own() -> None:
    world, desk = World(), Desk()
    tools = guard_tools([desk.propose_trade], world.guard, world.grant("boss", "pricing:read"))
    worker = create_agent(
        model(TRADE), tools, middleware=[CapabilityMiddleware(world.guard, world.trader("worker"))]
    )
    assert verdicts(drive(worker)) == ["capability_missing"]
    assert world.decisions == [("boss", "trades:propose", "capability_missing")]


@pytest.mark.parametrize("form", [0, 1])
def test_a_context_handed_down_to_a_nested_agent_lends_it_nothing(form: int) -> None:
    world, desk = World(), Desk()
    worker: Any = create_agent(model(TRADE), [desk.propose_trade], context_schema=Context)

    def ask_worker(task: str, runtime: ToolRuntime[Any, Any]) -> str:
        """Let the worker do it, in the caller's context and configuration."""
        state = worker.invoke({"messages": [("user", task)]}, runtime.config, context=runtime.context)
        return str(state["messages"][-1].content)

    rich = world.trader("rich")
    boss = create_agent(
        model(ASK), [ask_worker], middleware=[CapabilityMiddleware(world.guard, rich)], context_schema=Context
    )
    messages = drive(boss, ("invoke", "ainvoke")[form], context={"credential": rich})
    assert (verdicts(messages), desk.done) == (["not_bound"], [])
