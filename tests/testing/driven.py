"""How the contract drives the toy framework."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import remit
from remit.testing import AdapterContract, Answer, Call

from . import toy


class ToyContract(AdapterContract):
    def agent(
        self,
        tools: Sequence[Callable[..., Any]],
        guard: remit.Guard,
        credential: remit.Credential | None,
        turns: Sequence[Sequence[Call]],
    ) -> toy.Agent:
        script: list[toy.Calls] = [[(call.tool, call.arguments) for call in turn] for turn in turns]
        agent = toy.Agent([toy.Tool(function) for function in tools], script, on_error=toy.shown, cache={})
        return agent if credential is None else toy.bind(agent, guard, credential)

    def run(self, agent: toy.Agent, way: str) -> list[Answer]:
        replies = list(agent.stream()) if way == "sync" else asyncio.run(agent.arun())
        return [Answer(reply.text, reply.failed) for reply in replies]

    def guarded(
        self,
        function: Callable[..., Any],
        guard: remit.Guard,
        credential: remit.Credential,
        capability: str | None = None,
    ) -> toy.Tool:
        return toy.guard_tool(function, guard, credential, capability)

    def schema(self, tool: toy.Tool) -> Mapping[str, Any]:
        return tool.schema()

    def routes(self, tool: toy.Tool) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        found = toy.routes(tool)
        assert found is not None
        return found

    def stream(self, agent: toy.Agent) -> Iterator[object]:
        return agent.stream()

    def sharing_a_cache(self, agents: Sequence[toy.Agent]) -> Sequence[toy.Agent]:
        shared: dict[str, Any] = {}
        for agent in agents:
            agent.cache = shared if agent.cache is not None else None
        return agents
