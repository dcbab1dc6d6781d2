"""An issuer, a guard and a desk of tools for the LangChain tests, and ways to run an agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypedDict

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

import remit

from .scripted import ScriptedModel, Turn

NOW: Final = 1_800_000_000
ISSUER: Final = "https://auth.acme.example"
RUNS: Final = ("invoke", "ainvoke", "stream", "astream")


class Context(TypedDict, total=False):
    """What a caller may hand to an agent beside its messages."""

    agent: str
    credential: Any


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class World:
    """One issuer and the one guard that trusts it."""

    def __init__(self, secrets: dict[str, str] | None = None) -> None:
        self.clock = Clock()
        self.audit = remit.MemoryAudit()
        self.issuer = remit.Issuer.generate(ISSUER, clock=self.clock)
        self.guard = remit.Guard(
            trust=[self.issuer.anchor],
            ledger=remit.MemoryLedger(),
            audit=self.audit,
            clock=self.clock,
            secrets=None if secrets is None else remit.Secrets(secrets),
        )

    def grant(self, agent: str, *capabilities: str | remit.Capability, **keywords: Any) -> remit.Credential:
        """A credential for `agent`, good for ten minutes."""
        settings: dict[str, Any] = {"ttl": "10m", **keywords}
        return self.issuer.issue(agent=agent, capabilities=list(capabilities), **settings)

    def trader(self, agent: str = "trader", **keywords: Any) -> remit.Credential:
        """A credential to read prices, and to propose trades of up to 1,000 of ACME."""
        trades = remit.Capability("trades:propose", symbol=remit.OneOf("ACME"), amount=remit.Range(max=1_000))
        return self.grant(agent, "pricing:read", trades, **keywords)

    @property
    def decisions(self) -> list[tuple[str | None, str | None, str | None]]:
        """Who asked for what, and the code of the denial, `None` where it was allowed."""
        return [(r.agent, r.capability, r.code) for r in self.audit.records if r.event == "decision"]


class Desk:
    """Tools that note what they really did."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    @property
    def propose_trade(self) -> Callable[..., str]:
        @remit.requires_capability("trades:propose")
        def propose_trade(symbol: str, amount: int) -> str:
            """Propose a trade."""
            self.done.append(("trade", symbol, amount))
            return f"proposed {amount} {symbol}"

        return propose_trade

    @property
    def aget_price(self) -> Callable[..., Any]:
        @remit.requires_capability("pricing:read")
        async def get_price(symbol: str) -> str:
            """Say what a symbol costs."""
            await asyncio.sleep(0)
            self.done.append(("price", symbol))
            return f"{symbol} is at 42"

        return get_price

    @property
    def get_price(self) -> Callable[..., str]:
        @remit.requires_capability("pricing:read")
        def get_price(symbol: str) -> str:
            """Say what a symbol costs."""
            self.done.append(("price", symbol))
            return f"{symbol} is at 42"

        return get_price

    @property
    def take_note(self) -> Callable[..., str]:
        def take_note(text: str) -> str:
            """Take a note; needs no capability."""
            self.done.append(("note", text))
            return f"noted {text}"

        return take_note


def model(*turns: Turn) -> ScriptedModel:
    """A model that plays `turns`, and then says that it is done."""
    return ScriptedModel(turns=[*turns, "done"])


def drive(
    agent: Any, how: str = "invoke", config: RunnableConfig | None = None, **keywords: Any
) -> list[BaseMessage]:
    """Run an agent in one of the ways there are; the conversation at its end."""
    question = {"messages": [("user", "go")]}

    async def streamed() -> Any:
        return [state async for state in agent.astream(question, config, stream_mode="values", **keywords)][
            -1
        ]

    match how:
        case "invoke":
            state = agent.invoke(question, config, **keywords)
        case "ainvoke":
            state = asyncio.run(agent.ainvoke(question, config, **keywords))
        case "stream":
            state = list(agent.stream(question, config, stream_mode="values", **keywords))[-1]
        case _:
            state = asyncio.run(streamed())
    messages: list[BaseMessage] = state["messages"]
    return messages


def answers(messages: list[BaseMessage]) -> list[ToolMessage]:
    """What the tools answered, in order."""
    return [message for message in messages if isinstance(message, ToolMessage)]


def verdicts(messages: list[BaseMessage]) -> list[str]:
    """Of each answer: `ok`, the code of the denial, or `error`."""
    return [
        code_of(message) or ("ok" if message.status == "success" else "error")
        for message in answers(messages)
    ]


def code_of(message: ToolMessage) -> str | None:
    """The code of a denial, as the program is told it."""
    artifact = message.artifact
    return artifact["code"] if message.status == "error" and isinstance(artifact, dict) else None


def dangling(messages: list[BaseMessage]) -> set[str | None]:
    """The tool calls that nothing answered."""
    asked = {
        call["id"] for message in messages if isinstance(message, AIMessage) for call in message.tool_calls
    }
    return asked - {message.tool_call_id for message in answers(messages)}
