"""The contract of every adapter, for AutoGen: an assistant agent with a workbench, and `guard_tools`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ToolCallExecutionEvent

import remit
from remit.testing import AdapterContract, Answer, Call
from remit_autogen import CapabilityWorkbench, guard_tools

from .support import RUNS, assistant, drive, verdict


class TestAutoGen(AdapterContract):
    ways = RUNS
    sync_ways = ()

    def agent(
        self,
        tools: Sequence[Callable[..., Any]],
        guard: remit.Guard,
        credential: remit.Credential | None,
        turns: Sequence[Sequence[Call]],
    ) -> AssistantAgent:
        script = [[(call.tool, dict(call.arguments)) for call in turn] for turn in turns]
        if credential is None:
            return assistant("bare", script, tools=list(tools))
        return assistant("bound", script, workbench=CapabilityWorkbench(tools, guard, credential))

    def run(self, agent: AssistantAgent, way: str) -> list[Answer]:
        return told(asyncio.run(drive(agent, way)).messages)

    def guarded(
        self,
        function: Callable[..., Any],
        guard: remit.Guard,
        credential: remit.Credential,
        capability: str | None = None,
    ) -> Any:
        (tool,) = guard_tools([function], guard, credential, capability=capability)
        return tool

    def schema(self, tool: Any) -> Mapping[str, Any]:
        schema: Mapping[str, Any] = tool.schema["parameters"]
        return schema

    def stream(self, agent: AssistantAgent) -> Iterator[object]:
        events = agent.run_stream(task="go")
        with asyncio.Runner() as runner:
            while (event := runner.run(one_of(events), context=copy_context())) is not None:
                yield event


async def one_of(events: AsyncGenerator[Any, None]) -> object:
    return await anext(events, None)


def told(events: Sequence[object]) -> list[Answer]:
    results = [
        result for event in events if isinstance(event, ToolCallExecutionEvent) for result in event.content
    ]
    verdicts = [verdict(result.content, is_error=bool(result.is_error)) for result in results]
    return [
        Answer(result.content, None if found == "ok" else found)
        for result, found in zip(results, verdicts, strict=True)
    ]
