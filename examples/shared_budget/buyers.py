"""A buyer made with LangChain and a caterer made with CrewAI. Each acts under its own credential."""

from collections.abc import Callable
from typing import Any

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType] - open in langgraph
from langchain.chat_models import init_chat_model

import remit
from remit_crewai import guard_crew
from remit_demo.script import ScriptedModel
from remit_langchain import CapabilityMiddleware
from scripted_models.crew import ScriptedLLM

Tools = list[Callable[..., str]]
Calls = list[tuple[str, dict[str, Any]]]
READ = ("read_offer", dict[str, Any]())
BUYER: Calls = [  # the worst models there are: they obey whatever they read last
    READ,
    ("order", {"goods": "chairs", "euros": 60}),
    ("order", {"goods": "more chairs", "euros": 80}),
]
CATERER: Calls = [  # the second time as well, there would be enough left for napkins
    READ,
    ("order", {"goods": "plates", "euros": 80}),
    ("order", {"goods": "cake", "euros": 30}),
    ("order", {"goods": "napkins", "euros": 5}),
]


def buyer(
    guard: remit.Guard, credential: remit.Credential, tools: Tools, model: str | None
) -> Callable[[], None]:
    """Make a LangChain agent that shops under `credential`; a function that sends it."""
    agent: Any = create_agent(
        init_chat_model(model) if model else ScriptedModel(turns=BUYER),
        tools,
        system_prompt="You buy furniture, with your tools.",
        middleware=[CapabilityMiddleware(guard, credential)],
    )

    def shop() -> None:
        agent.invoke({"messages": [("user", "Order chairs for the party.")]})

    return shop


def caterer(
    guard: remit.Guard, credential: remit.Credential, tools: Tools, model: str | None
) -> Callable[[], None]:
    """Make a CrewAI crew that shops under `credential`; a function that sends it."""
    agent = Agent(
        role="Caterer",
        goal="Feed the guests",
        backstory="You buy food, with your tools.",
        llm=LLM(model=model.replace(":", "/")) if model else ScriptedLLM([[call] for call in CATERER]),
    )
    task = Task(
        description="Order cake for the party.",
        expected_output="What was ordered.",
        agent=agent,
        tools=[tool(each) for each in tools],
    )
    crew: Any = guard_crew(Crew(agents=[agent], tasks=[task]), guard, {"Caterer": credential})

    def shop() -> None:
        crew.kickoff()

    return shop
