"""`CapabilityMiddleware` in a graph of one's own, on `ToolNode(wrap_tool_call=, awrap_tool_call=)`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy

import remit
from remit_langchain import CapabilityMiddleware

from .scripted import Call, Turn, said
from .support import Desk, World, verdicts

TRADE: list[Call] = [("propose_trade", {"symbol": "ACME", "amount": 900})]
TOO_MUCH: list[Call] = [("propose_trade", {"symbol": "ACME", "amount": 9_000})]


def node_of(ours: CapabilityMiddleware, tools: list[Any], **keywords: Any) -> ToolNode:
    return ToolNode(
        tools, wrap_tool_call=ours.wrap_tool_call, awrap_tool_call=ours.awrap_tool_call, **keywords
    )


def graph_of(node: Any, **keywords: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("tools", node, **keywords)
    graph.add_edge(START, "tools")
    return graph.compile()


def through(graph: Any, turn: Turn, how: str) -> Any:
    state = {"messages": [said(turn)]}
    return graph.invoke(state) if how == "invoke" else asyncio.run(graph.ainvoke(state))


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize(
    "handling", [None, True, "it failed", lambda error: f"oh: {error}", (PermissionError,)]
)
def test_a_tool_node_of_one_s_own_takes_the_wraps(how: str, handling: Any) -> None:
    """Whatever the node does with errors: a denial is told as one."""
    world, desk = World(), Desk()
    keywords = {} if handling is None else {"handle_tool_errors": handling}
    graph = graph_of(
        node_of(CapabilityMiddleware(world.guard, world.trader()), [desk.propose_trade], **keywords)
    )
    turn: Turn = [*TRADE, *TOO_MUCH]
    messages = through(graph, turn, how)["messages"]
    assert verdicts(messages) == ["ok", "argument_denied"]
    assert desk.done == [("trade", "ACME", 900)]


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_the_default_retry_policy_does_not_try_a_denied_node_again(how: str) -> None:
    world, desk = World(), Desk()
    ours = CapabilityMiddleware(world.guard, world.trader(), exit_behavior="error")
    policy = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False)
    with pytest.raises(remit.Denied):
        through(graph_of(node_of(ours, [desk.propose_trade]), retry_policy=policy), TOO_MUCH, how)
    assert world.decisions == [("trader", "trades:propose", "argument_denied")]
