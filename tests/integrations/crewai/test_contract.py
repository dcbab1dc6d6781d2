"""The contract that every adapter keeps, in real crews."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from crewai import Agent, Crew, Task
from crewai.agents.cache.cache_handler import CacheHandler
from crewai.tools import tool
from crewai.tools.tool_failure import ToolFailure

import remit
from remit.testing.adapter import Answer, Call
from remit.testing.contract import AdapterContract
from remit_crewai import guard_crew, guard_tools
from scripted_models.crew import ScriptedLLM


class TestCrewAIKeepsTheContract(AdapterContract):
    ways = ("kickoff", "akickoff", "text")
    sync_ways = ()

    def agent(
        self,
        tools: Sequence[Callable[..., Any]],
        guard: remit.Guard,
        credential: remit.Credential | None,
        turns: Sequence[Sequence[Call]],
    ) -> Any:
        asked = [[(call.tool, call.arguments) for call in turn] for turn in turns]
        clerk = Agent(
            role="Clerk",
            goal="Keep the records.",
            backstory="Has kept them for years.",
            llm=ScriptedLLM(asked),
            tools=[tool(each) for each in tools],
            max_iter=40,
        )
        crew = Crew(agents=[clerk], tasks=[Task(description="Go.", expected_output="Done.", agent=clerk)])
        return crew if credential is None else guard_crew(crew, guard, {"Clerk": credential})

    def run(self, agent: Any, way: str) -> list[Answer]:
        llm = agent.agents[0].llm
        llm.native = way != "text"
        match way:
            case "akickoff":
                asyncio.run(agent.akickoff())
            case _:
                agent.kickoff()
        return answers(agent)

    def guarded(
        self,
        function: Callable[..., Any],
        guard: remit.Guard,
        credential: remit.Credential,
        capability: str | None = None,
    ) -> Any:
        [made] = guard_tools([function], guard, credential, capability=capability)
        return made

    def schema(self, tool: Any) -> Mapping[str, Any]:
        schema: Mapping[str, Any] = tool.args_schema.model_json_schema()
        return schema

    def stream(self, agent: Any) -> Iterator[object]:
        agent.stream = True
        yield from agent.kickoff()

    def sharing_a_cache(self, agents: Sequence[Any]) -> Sequence[Any]:
        shared = CacheHandler()
        for crew in agents:
            crew.agents[0].cache = True
            crew.agents[0].set_cache_handler(shared)
        return agents


def answers(crew: Any) -> list[Answer]:
    """What the model was told about each call, in the order of the calls."""
    output = crew.tasks[0].output
    denials = {} if output is None else {each.message: each.failure for each in output.tool_failures}
    told = []
    for message in crew.agents[0].llm.shown[-1]:
        text = str(message.get("content"))
        if message["role"] == "tool" or (message["role"] == "assistant" and "\nObservation: " in text):
            answer = text if message["role"] == "tool" else text.partition("\nObservation: ")[2]
            failure = next((failure for said, failure in denials.items() if said in answer), None)
            told.append(Answer(answer, None if failure is None else code_of(failure)))
    return told


def code_of(failure: ToolFailure) -> str:
    """The code of a denial; without the adapter it is an error, which says its code."""
    return str(failure.details.get("code") or failure.message.partition(":")[0])
