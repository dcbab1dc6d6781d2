"""Two graphs with different credentials at once, 50 times: no call runs under the other's token.

Each asks in one turn for what it may do and for what only the other may do: under the other's token the first would be
denied and the second allowed. What is allowed waits in the tool for the other graph to be there too.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import pytest
from langchain.agents import create_agent
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

import remit
from remit_langchain import CapabilityMiddleware, guard_tools

from .scripted import Turn, said
from .support import World, model, verdicts

TIMES: Final = 50
NAMES: Final = ("ann", "bob")
EXPECTED: Final = ["ok", "argument_denied"]
DECIDED: Final = Counter(
    {(name, "shop:buy", code): TIMES for name in NAMES for code in (None, "argument_denied")}
)


def turn(name: str) -> Turn:
    other = NAMES[name == NAMES[0]]
    return [("buy", {"buyer": name}), ("buy", {"buyer": other})]


def by_agent(world: World, tool: Any, credential: remit.Credential) -> Any:
    ours = CapabilityMiddleware(world.guard, credential)
    return create_agent(model(turn(credential.agent)), [tool], middleware=[ours])


def by_tools(world: World, tool: Any, credential: remit.Credential) -> Any:
    return create_agent(model(turn(credential.agent)), guard_tools([tool], world.guard, credential))


def by_node(world: World, tool: Any, credential: remit.Credential) -> Any:
    ours: Any = CapabilityMiddleware(world.guard, credential)
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [said(turn(credential.agent))]})
    graph.add_node(
        "tools", ToolNode([tool], wrap_tool_call=ours.wrap_tool_call, awrap_tool_call=ours.awrap_tool_call)
    )
    graph.add_edge(START, "model")
    graph.add_edge("model", "tools")
    return graph.compile()


Maker = Callable[[World, Any, remit.Credential], Any]
MAKERS: Final = (by_agent, by_tools, by_node)
QUESTION: Final[dict[str, Any]] = {"messages": [("user", "go")]}


def graphs(world: World, tool: Any, make: Maker) -> list[Any]:
    grants = [world.grant(name, remit.Capability("shop:buy", buyer=name)) for name in NAMES]
    return [make(world, tool, credential) for credential in grants]


@pytest.mark.parametrize("make", MAKERS)
def test_in_threads(make: Maker) -> None:
    world, meeting = World(), threading.Barrier(2, timeout=30)

    @remit.requires_capability("shop:buy")
    def buy(buyer: str) -> str:
        """Buy, at the same time as the other."""
        meeting.wait()
        return f"bought by {buyer}"

    found: list[list[str]] = []

    def run(graph: Any) -> None:
        found.extend(verdicts(graph.invoke(QUESTION)["messages"]) for _ in range(TIMES))

    threads = [threading.Thread(target=run, args=(graph,)) for graph in graphs(world, buy, make)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [EXPECTED] * 2 * TIMES
    assert Counter(world.decisions) == DECIDED


@pytest.mark.parametrize("make", MAKERS)
async def test_in_one_event_loop(make: Maker) -> None:
    world, meeting = World(), asyncio.Barrier(2)

    @remit.requires_capability("shop:buy")
    async def buy(buyer: str) -> str:
        """Buy, at the same time as the other."""
        await meeting.wait()
        return f"bought by {buyer}"

    async def run(graph: Any) -> list[list[str]]:
        return [verdicts((await graph.ainvoke(QUESTION))["messages"]) for _ in range(TIMES)]

    found = await asyncio.gather(*map(run, graphs(world, buy, make)))
    assert found == [[EXPECTED] * TIMES] * 2
    assert Counter(world.decisions) == DECIDED
