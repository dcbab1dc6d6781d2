"""LangChain agents, each of which acts under its own credential.

Every agent is given every tool of the desk, on purpose: what it may do is decided by its credential,
not by what its model knows about.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType] - open in langgraph
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import tool

import remit
from remit_demo.watch import Watch
from remit_langchain import CapabilityMiddleware

Agent = Runnable[Any, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Staff:
    """Makes agents that share a guard and the desk's tools."""

    guard: remit.Guard
    tools: Sequence[Callable[..., str]]
    watch: Watch

    def agent(
        self,
        credential: remit.Credential,
        model: BaseChatModel,
        duty: str,
        more_tools: Sequence[Callable[..., str]] = (),
    ) -> Agent:
        """Return an agent whose tool calls run under `credential`."""
        return create_agent(
            model,
            [tool(function) for function in (*self.tools, *more_tools)],
            system_prompt=duty,
            middleware=[
                self.watch.camera(credential.agent),
                CapabilityMiddleware(self.guard, credential),  # the last one, next to the tools
            ],
            name=credential.agent,
        )


def ask(agent: Agent, request: str) -> str:
    """Run an agent; what it says in the end."""
    messages: list[BaseMessage] = agent.invoke({"messages": [("user", request)]})["messages"]
    return messages[-1].text


def steps(agent: Agent, request: str) -> Iterator[str]:
    """Run an agent, step by step: `model` when it has thought, `tools` when it has acted."""
    for update in agent.stream({"messages": [("user", request)]}, stream_mode="updates"):
        yield from update
