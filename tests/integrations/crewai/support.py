"""A desk of tools for the CrewAI tests, and small crews with scripted models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from crewai import Agent, Crew, Task
from crewai.tools import BaseTool, tool

import remit
import remit_crewai
from remit.testing.world import World
from scripted_models.crew import ScriptedLLM

# Without their types: the tests look into parts, and pass the wrong things.
Team: Any = Crew
Duty: Any = Task
guard_tools: Any = remit_crewai.guard_tools
guard_crew: Any = remit_crewai.guard_crew
grant_task: Any = remit_crewai.grant_task

RUNS: Final = ("kickoff", "kickoff_async", "akickoff")
ACME: Final = ("propose_trade", {"symbol": "ACME", "amount": 900})
DEAR: Final = ("propose_trade", {"symbol": "ACME", "amount": 2_000})
INIT: Final = ("propose_trade", {"symbol": "INIT", "amount": 900})
TRADES: Final = remit.Capability("trades:propose", symbol=remit.OneOf("ACME"), amount=remit.Range(max=1_000))
SMALL: Final = remit.Capability("trades:propose", symbol="ACME", amount=remit.Range(max=1_000))
QUOTES: Final = remit.Capability("quote", symbol="ACME")


class Desk:
    """Tools that note what they really did."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    @property
    def bare(self) -> Callable[..., str]:
        def propose_trade(symbol: str, amount: int) -> str:
            """Propose a trade."""
            self.done.append(("trade", symbol, amount))
            return f"proposed {amount} {symbol}"

        return propose_trade

    @property
    def trade(self) -> BaseTool:
        return tool(remit.requires_capability("trades:propose")(self.bare))

    @property
    def price(self) -> BaseTool:
        @remit.requires_capability("pricing:read")
        def get_price(symbol: str) -> str:
            """Say what a symbol costs."""
            self.done.append(("price", symbol))
            return f"{symbol} is at 42"

        return tool(get_price)

    def doing(self, name: str, work: Callable[[], object]) -> BaseTool:
        """A tool without a capability that does some work."""

        def do() -> str:
            """Do it."""
            return str(work())

        do.__name__ = name
        return tool(do)

    def quoter(self, **fields: Any) -> BaseTool:
        """A tool of a class, as others write them."""
        return Quoter(desk=self, **fields)


class Quoter(BaseTool):
    """Says what something costs, in both ways."""

    name: str = "quote"
    description: str = "Quote a price."
    desk: Any

    def _run(self, symbol: str, currency: str = "EUR") -> str:
        self.desk.done.append(("quote", symbol, currency))
        return f"{symbol} is at 42 {currency}"

    async def _arun(self, symbol: str, currency: str = "EUR") -> str:
        await asyncio.sleep(0)
        return self._run(symbol, currency)


def agent_of(role: str, turns: Any, tools: Sequence[BaseTool] = (), **settings: Any) -> Any:
    """An agent that plays `turns`."""
    native = settings.pop("native", True)
    return Agent(
        role=role,
        goal="Serve the customer.",
        backstory="Has always done so.",
        llm=ScriptedLLM(turns, native=native),
        tools=list(tools),
        **settings,
    )


def task_of(agent: Any, description: str = "Go.", **settings: Any) -> Any:
    """A task for an agent."""
    return Task(description=description, expected_output="An answer.", agent=agent, **settings)


def crew_of(agent: Any, **settings: Any) -> Any:
    """A crew of one agent with one task."""
    return Crew(agents=[agent], tasks=[task_of(agent)], **settings)


def trader(world: World, **settings: Any) -> remit.Credential:
    """A credential to read prices, and to propose trades of up to 1,000 of ACME."""
    return world.grant("trader", "pricing:read", TRADES, **settings)


def drive(crew: Any, how: str = "kickoff", **keywords: Any) -> Any:
    """Run a crew in one of the ways there are."""
    if how == "kickoff":
        return crew.kickoff(**keywords)
    return asyncio.run(getattr(crew, how)(**keywords))


def codes(output: Any) -> list[str]:
    """The codes of the denials of a run, in order."""
    return [
        str(each.failure.details.get("code")) for task in output.tasks_output for each in task.tool_failures
    ]


def told(agent: Any) -> list[str]:
    """What an agent's model was told of its calls."""
    return [str(message["content"]) for message in agent.llm.shown[-1] if message["role"] == "tool"]


def guarded(world: World, each: Any, credential: remit.Credential | None = None, **settings: Any) -> Any:
    [made] = guard_tools([each], world.guard, credential or trader(world), **settings)
    return made


def lead(world: World, **settings: Any) -> remit.Credential:
    """What grants are taken from; it may trade for any amount."""
    wide = remit.Capability(
        "trades:propose", symbol=remit.OneOf("ACME", "INIT"), amount=remit.Range(max=9_000)
    )
    return world.grant("lead", wide, "pricing:read", **{"max_depth": 1, **settings})


def granted(world: World, desk: Desk, turns: Any = ((ACME,), (DEAR,)), **settings: Any) -> tuple[Any, Any]:
    made = crew_of(agent_of("Clerk", turns, [desk.trade]))
    grant_task(made.tasks[0], world.guard, lead(world), **{"capabilities": [SMALL], **settings})
    return made, made.tasks[0]


def revoked(world: World) -> int:
    return sum(record.event == "revoke" for record in world.audit.records)
