"""The contract of `remit.testing`, kept by agents of `create_agent` and by graphs that share a node cache."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.cache.memory import InMemoryCache
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send

import remit
from remit.testing import AdapterContract, Answer, Call
from remit_langchain import CapabilityMiddleware, cache_policy, guard_tools

from .scripted import ScriptedModel
from .support import RUNS, answers, code_of, drive, model

Tools = Sequence[Callable[..., Any]]
Turns = Sequence[Sequence[Call]]


class TestAgent(AdapterContract):
    ways: ClassVar[Sequence[str]] = RUNS
    sync_ways: ClassVar[Collection[str]] = ("invoke", "stream")

    def agent(
        self, tools: Tools, guard: remit.Guard, credential: remit.Credential | None, turns: Turns
    ) -> Any:
        ours: list[Any] = [] if credential is None else [CapabilityMiddleware(guard, credential)]
        return create_agent(playing(turns), tools, middleware=ours)

    def run(self, agent: Any, way: str) -> list[Answer]:
        try:
            messages = drive(agent, way)
        except remit.Denied as denied:  # an agent that Remit is not told of: LangGraph lets the run end
            return [Answer(denied.reason, denied.code)]
        return [Answer(str(message.content), code_of(message)) for message in answers(messages)]

    def guarded(
        self,
        function: Callable[..., Any],
        guard: remit.Guard,
        credential: remit.Credential,
        capability: str | None = None,
    ) -> BaseTool:
        return guard_tools([function], guard, credential, capability=capability)[0]

    def schema(self, tool: BaseTool) -> Mapping[str, Any]:
        parameters: dict[str, Any] = convert_to_openai_tool(tool)["function"]["parameters"]
        return parameters

    def stream(self, agent: Any) -> Iterator[object]:
        events = agent.stream({"messages": [("user", "go")]})

        def until_denied() -> Iterator[object]:
            try:
                yield from events
            except remit.Denied as denied:
                yield denied

        return until_denied()


class TestGraph(TestAgent):
    """The same loop, made of nodes; what its tool node answered is kept in a cache."""

    def agent(
        self, tools: Tools, guard: remit.Guard, credential: remit.Credential | None, turns: Turns
    ) -> Any:
        wraps: dict[str, Any] = {}
        if credential is not None:
            ours: AgentMiddleware[Any, Any, Any] = CapabilityMiddleware(guard, credential)
            wraps = {"wrap_tool_call": ours.wrap_tool_call, "awrap_tool_call": ours.awrap_tool_call}
        policy = None if credential is None else cache_policy(credential)
        graph = StateGraph(MessagesState)
        graph.add_node("model", Thinking(playing(turns)))
        graph.add_node("tools", ToolNode(tools, **wraps), cache_policy=policy)
        graph.add_edge(START, "model")
        graph.add_conditional_edges("model", asked)
        graph.add_edge("tools", "model")
        return graph.compile(cache=InMemoryCache())

    def sharing_a_cache(self, agents: Sequence[Any]) -> Sequence[Any]:
        cache = InMemoryCache[Any]()
        return [agent.builder.compile(cache=cache) for agent in agents]


class Thinking:
    """A model as a node, whose messages have the same identifiers in every run: what a cache needs to answer."""

    def __init__(self, scripted: ScriptedModel) -> None:
        self._scripted = scripted

    def __call__(self, state: MessagesState) -> dict[str, Any]:
        said = self._scripted.invoke(state["messages"])
        number = sum(isinstance(message, AIMessage) for message in state["messages"])
        return {"messages": [said.model_copy(update={"id": f"turn-{number}"})]}


def asked(state: MessagesState) -> list[Send] | str:
    """What comes after the model: the tools, which see its last message alone."""
    last = state["messages"][-1]
    if isinstance(last, AIMessage) and last.tool_calls:
        return [Send("tools", {"messages": [last]})]
    return END


def playing(turns: Turns) -> ScriptedModel:
    """A model that asks for the calls of each turn."""
    return model(*[[(call.tool, dict(call.arguments)) for call in turn] for turn in turns])
