"""An issuer, a guard and a desk of tools for the AutoGen tests, and ways to run an agent or a team."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, get_args

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import TaskResult
from autogen_agentchat.messages import ToolCallExecutionEvent
from autogen_core import CancellationToken
from autogen_core.models import FunctionExecutionResult
from autogen_core.tools import BaseStreamTool, BaseTool, BaseToolWithState
from pydantic import BaseModel

import remit
from scripted_models.team import Call, ScriptedClient, Turn

T = TypeVar("T")

NOW: Final = 1_800_000_000
ISSUER: Final = "https://auth.acme.example"
RUNS: Final = ("run", "run_stream")
PATIENCE: Final = 10
"""Seconds after which an agent that does not end is said to hang; none of these takes one."""


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

    @property
    def outcomes(self) -> list[tuple[str | None, str | None]]:
        """Whose call of what has ended."""
        return [(r.agent, r.capability) for r in self.audit.records if r.event == "outcome"]


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


class Sum(BaseModel):
    """What the tool classes below answer."""

    value: int


class Numbers(BaseModel):
    """What the tool classes below take."""

    first: int
    second: int = 2
    more: list[int] = []


class Adder(BaseTool[Numbers, Sum]):
    """Adds, and counts how often."""

    def __init__(self, name: str = "add") -> None:
        super().__init__(Numbers, Sum, name, "Add numbers.")
        self.count = 0

    async def run(self, args: Numbers, cancellation_token: CancellationToken) -> Sum:
        self.count += 1
        return Sum(value=args.first + args.second + sum(args.more))


class Counted(BaseModel):
    """The state of a counter."""

    count: int = 0


class Step(BaseModel):
    """How far a counter goes."""

    by: int


class Counter(BaseToolWithState[Step, Counted, Counted]):
    """Counts, and keeps where it was."""

    def __init__(self) -> None:
        super().__init__(Step, Counted, Counted, "count", "Count on.")
        self.now = 0

    async def run(self, args: Step, cancellation_token: CancellationToken) -> Counted:
        self.now += args.by
        return Counted(count=self.now)

    def save_state(self) -> Counted:
        return Counted(count=self.now)

    def load_state(self, state: Counted) -> None:
        self.now = state.count


class Upto(BaseStreamTool[Step, Counted, Counted]):
    """Counts aloud."""

    def __init__(self, noting: Callable[[int], object] = bool) -> None:
        super().__init__(Step, Counted, "upto", "Count aloud.")
        self.noting = noting
        self.ended = 0

    async def run(self, args: Step, cancellation_token: CancellationToken) -> Counted:
        said = [each async for each in self.run_stream(args, cancellation_token)]
        return said[-1]

    async def run_stream(
        self, args: Step, cancellation_token: CancellationToken
    ) -> AsyncGenerator[Counted, None]:
        try:
            for number in range(1, args.by + 1):
                self.noting(number)
                yield Counted(count=number)
        finally:
            self.ended += 1


def client(*turns: Turn) -> ScriptedClient:
    """A model that plays `turns`, and then says that it is done."""
    return ScriptedClient(turns)


def assistant(name: str, turns: Sequence[Turn], **settings: Any) -> AssistantAgent:
    """An agent that plays all its turns in one go."""
    given: dict[str, Any] = {"max_tool_iterations": len(turns) + 1, "description": name, **settings}
    return AssistantAgent(name, client(*turns), **given)


async def drive(runner: Any, how: str = "run", task: Any = "go", **settings: Any) -> TaskResult:
    """Run an agent or a team in one of the ways there are; fails when it hangs."""
    async with asyncio.timeout(PATIENCE):
        if how == "run":
            result = await runner.run(task=task, **settings)
        else:
            result = [event async for event in runner.run_stream(task=task, **settings)][-1]
    assert isinstance(result, TaskResult)
    return result


async def soon(awaited: Awaitable[T]) -> T:
    """What is awaited; fails when it does not come."""
    async with asyncio.timeout(PATIENCE):
        return await awaited


def answers(result: TaskResult) -> list[FunctionExecutionResult]:
    """What the tools answered, in order."""
    events = [event for event in result.messages if isinstance(event, ToolCallExecutionEvent)]
    return [answer for event in events for answer in event.content]


def verdicts(result: TaskResult) -> list[str]:
    """Of each answer: `ok`, the code of the denial, or `error`."""
    return [verdict(answer.content, is_error=bool(answer.is_error)) for answer in answers(result)]


def verdict(text: str, *, is_error: bool) -> str:
    """Of one answer: `ok`, the code of the denial, or `error`."""
    code = text.partition(":")[0]
    if not is_error:
        return "ok"
    return code if code in remit_codes() else "error"


def remit_codes() -> frozenset[str]:
    """Every code of a denial."""
    return frozenset(get_args(remit.DenialCode))


PRICE: Final[Call] = ("get_price", {"symbol": "ACME"})
TRADE: Final[Call] = ("propose_trade", {"symbol": "ACME", "amount": 900})
TOO_MUCH: Final[Call] = ("propose_trade", {"symbol": "ACME", "amount": 1_001})
ELSEWHERE: Final[Call] = ("propose_trade", {"symbol": "EVIL", "amount": 1})
NOTE: Final[Call] = ("take_note", {"text": "hm"})
