"""Nobody acts under a credential that is merely around: not a stream, not a runtime, not what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from typing import Any

import pytest
from autogen_agentchat.base import TaskResult
from autogen_agentchat.messages import TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_agentchat.tools import AgentTool
from autogen_core import CancellationToken, SingleThreadedAgentRuntime
from autogen_core.tools import BaseStreamTool, BaseTool, StaticStreamWorkbench, ToolResult

import remit
from remit_autogen import CapabilityWorkbench, guard_tools

from .support import PRICE, TRADE, Counted, Desk, Step, Sum, Upto, World, assistant, drive, soon, verdicts


def reader(world: World, desk: Desk, **settings: Any) -> Any:
    """An agent that reads a price and tries a trade, and may do the first."""
    tools = [desk.aget_price, desk.propose_trade]
    bench = CapabilityWorkbench(tools, world.guard, world.grant("own", "pricing:read"))
    return assistant("own", [[PRICE], [TRADE]], workbench=bench, **settings)


async def test_a_stream_made_under_one_and_read_under_another_runs_under_its_own() -> None:
    world, desk = World(), Desk()
    with world.guard.acting_as(world.trader("maker")):
        events = reader(world, desk).run_stream(task="go")
    last: Any = None
    while not isinstance(last, TaskResult):
        with world.guard.acting_as(world.trader("reader")):
            last = await anext(events)
    assert verdicts(last) == ["ok", "capability_missing"]
    assert {agent for agent, _, _ in world.decisions} == {"own"}


async def test_a_runtime_started_under_one_runs_each_agent_under_its_own() -> None:
    world, desk = World(), Desk()
    runtime = SingleThreadedAgentRuntime()
    with world.guard.acting_as(world.trader("starter")):
        runtime.start()
    bare = assistant(
        "bare", [[PRICE]], workbench=CapabilityWorkbench([asks(desk)], world.guard, world.trader())
    )
    team = RoundRobinGroupChat([reader(world, desk), bare], max_turns=2, runtime=runtime)
    result = await drive(team)
    await runtime.stop()
    assert verdicts(result) == ["ok", "capability_missing", "not_bound"]
    assert {agent for agent, _, _ in world.decisions} == {"own"}


def asks(desk: Desk) -> Any:
    """A tool that is not guarded, and calls one that is."""
    price = desk.aget_price

    async def get_price(symbol: str) -> str:
        """Ask another tool."""
        return str(await price(symbol))

    return get_price


@pytest.mark.parametrize("block", [True, False])
async def test_a_task_that_a_tool_leaves_behind_has_nothing_bound(block: bool) -> None:
    world, desk = World(), Desk()
    price = desk.aget_price
    left: list[asyncio.Task[str]] = []
    go = asyncio.Event()

    async def later() -> str:
        await go.wait()
        return str(await price("ACME"))

    @remit.requires_capability("work:leave")
    async def leave() -> str:
        """Leave a task behind."""
        left.append(asyncio.create_task(later()))
        return "left"

    async def leave_too() -> str:
        """Leave a task behind."""
        left.append(asyncio.create_task(later()))
        return "left"

    credential = world.grant("a", "work:leave", "pricing:read")
    bench = CapabilityWorkbench([leave, leave_too], world.guard, credential)
    agent = assistant("a", [[("leave", {}), ("leave_too", {})]], workbench=bench)
    if block:
        with world.guard.acting_as(credential):
            await drive(agent)
            go.set()
            results = await asyncio.gather(*left, return_exceptions=True)
    else:
        await drive(agent)
        go.set()
        results = await asyncio.gather(*left, return_exceptions=True)
    assert [getattr(result, "code", result) for result in results] == ["not_bound", "not_bound"]
    assert desk.done == []


async def test_a_task_that_goes_on_with_a_tool_of_its_own_is_stopped_by_closing_the_credential() -> None:
    world, desk = World(), Desk()
    credential = world.grant("a", "pricing:read", "work:leave")
    (own,) = guard_tools([desk.aget_price], world.guard, credential)
    left: list[asyncio.Task[list[str | None]]] = []
    steps, went_on = asyncio.Semaphore(0), asyncio.Event()

    async def go_on() -> list[str | None]:
        codes: list[str | None] = []
        for _ in range(2):
            await steps.acquire()
            codes.append(await code_of(lambda symbol: own.run_json({"symbol": symbol}, CancellationToken())))
            went_on.set()
        return codes

    @remit.requires_capability("work:leave")
    async def leave() -> str:
        """Leave a task behind."""
        left.append(asyncio.create_task(go_on()))
        return "left"

    bench = CapabilityWorkbench([leave], world.guard, credential)
    await drive(assistant("a", [[("leave", {})]], workbench=bench))
    steps.release()
    await soon(went_on.wait())
    credential.close()
    steps.release()
    assert await left[0] == [None, "credential_closed"]


async def test_a_tool_does_not_lend_its_binding_to_another_of_the_same_capability() -> None:
    world, desk = World(), Desk()
    price = desk.aget_price

    @remit.requires_capability("pricing:read")
    async def ask(symbol: str) -> str:
        """Ask another tool."""
        return str(await price(symbol))

    credential = world.grant("a", "pricing:read")
    tools: list[Any] = [ask, *guard_tools([ask], world.guard, credential)]
    with world.guard.acting_as(credential):
        for tool in tools:
            result = await CapabilityWorkbench([tool], world.guard, credential).call_tool(
                "ask", {"symbol": "X"}
            )
            assert result.to_text().startswith("not_bound:")
    assert desk.done == []


class Says(BaseStreamTool[Step, Counted, Counted]):
    """Says at each step what it may do, on nobody's authority."""

    def __init__(self, price: Any, name: str = "says") -> None:
        super().__init__(Step, Counted, name, "")
        self.price = price
        self.codes: list[str | None] = []

    async def run(self, args: Step, cancellation_token: CancellationToken) -> Counted:
        raise NotImplementedError

    async def run_stream(
        self, args: Step, cancellation_token: CancellationToken
    ) -> AsyncGenerator[Counted, None]:
        try:
            for number in range(args.by):
                self.codes.append(await code_of(self.price))
                yield Counted(count=number)
        finally:
            self.codes.append(await code_of(self.price))


async def code_of(price: Any) -> str | None:
    """The code with which a price is denied here, `None` when it is told."""
    try:
        await price("ACME")
    except remit.Denied as denied:
        return denied.code
    return None


@pytest.mark.parametrize("guarded", [False, True])
async def test_a_streaming_tool_has_nothing_bound_at_any_step(guarded: bool) -> None:
    world, desk = World(), Desk()
    tool = Says(desk.aget_price)
    credential = world.grant("a", "says", "pricing:read")
    given: Any = guard_tools([tool], world.guard, credential) if guarded else [tool]
    bench = CapabilityWorkbench(given, world.guard, credential)
    with world.guard.acting_as(world.trader("maker")):
        stream = bench.call_tool_stream("says", {"by": 3})
    items: list[Any] = []
    while not items or not isinstance(items[-1], ToolResult):
        with world.guard.acting_as(world.trader("reader")):
            items.append(await anext(stream))
    assert tool.codes == ["not_bound"] * 4
    assert len(items) == 3


async def test_a_stream_that_is_left_is_closed_at_once_with_nothing_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, desk = World(), Desk()
    price = desk.aget_price
    codes: list[str | None] = []

    async def call_tool_stream(self: object, *args: Any) -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            codes.append(await code_of(price))

    monkeypatch.setattr(StaticStreamWorkbench, "call_tool_stream", call_tool_stream)
    with world.guard.acting_as(world.trader("reader")):
        stream = CapabilityWorkbench([price], world.guard, world.trader()).call_tool_stream("get_price")
        await anext(stream)
        await stream.aclose()
        assert codes == ["not_bound"]
        assert await code_of(price) is None


async def test_between_two_items_whoever_reads_has_their_own_binding() -> None:
    world, desk = World(), Desk()
    price = desk.aget_price
    credential = world.grant("a", "upto")
    for tools in (guard_tools([Upto()], world.guard, credential), [Upto()]):
        stream = CapabilityWorkbench(tools, world.guard, credential).call_tool_stream("upto", {"by": 3})
        async for _ in stream:
            assert await code_of(price) == "not_bound"
        with world.guard.acting_as(world.trader("reader")):
            async for _ in CapabilityWorkbench(tools, world.guard, credential).call_tool_stream(
                "upto", {"by": 3}
            ):
                assert await code_of(price) is None
            assert await code_of(price) is None
    assert {agent for agent, capability, _ in world.decisions if capability == "pricing:read"} == {"reader"}


async def test_after_a_call_whoever_called_has_their_own_binding() -> None:
    world, desk = World(), Desk()
    bench = CapabilityWorkbench([desk.propose_trade, desk.take_note], world.guard, world.trader())
    price = desk.aget_price
    for name, arguments in (TRADE, ("take_note", {"text": "x"})):
        await bench.call_tool(name, arguments)
        assert await code_of(price) == "not_bound"
        with world.guard.acting_as(world.trader("around")):
            await bench.call_tool(name, arguments)
            assert await code_of(price) is None


async def test_what_a_nested_agent_says_is_still_streamed() -> None:
    world = World()
    tool = AgentTool(assistant("inner", ["one", "two"]))
    credential = world.grant("outer", "inner")
    for words, given in (("one", [tool]), ("two", guard_tools([tool], world.guard, credential))):
        bench = CapabilityWorkbench(given, world.guard, credential)
        result = await drive(assistant("outer", [[("inner", {"task": "go"})]], workbench=bench))
        said = [(each.source, each.content) for each in result.messages if isinstance(each, TextMessage)]
        assert ("inner", words) in said


async def test_validators_and_the_text_of_a_result_run_with_nothing_bound() -> None:
    world, desk = World(), Desk()
    price = desk.get_price
    codes: list[str | None] = []

    class Texts(BaseTool[Step, Sum]):
        def __init__(self) -> None:
            super().__init__(Step, Sum, "texts", "")

        @remit.requires_capability("texts")
        async def run(self, args: Step, cancellation_token: CancellationToken) -> Sum:
            return Sum(value=args.by)

        def return_value_as_string(self, value: Any) -> str:
            try:
                codes.append(price("ACME"))
            except remit.Denied as denied:
                codes.append(denied.code)
            return "text"

    bench = CapabilityWorkbench([Texts()], world.guard, world.grant("a", "texts", "pricing:read"))
    with world.guard.acting_as(world.trader("around")):
        assert (await bench.call_tool("texts", {"by": 1})).to_text() == "text"
    assert set(codes) == {"not_bound"}


async def test_context_variables_of_others_reach_a_coroutine_tool_as_ever() -> None:
    world = World()
    request: ContextVar[str] = ContextVar("request", default="none")

    @remit.requires_capability("pricing:read")
    async def get_price(symbol: str) -> str:
        """Say whose request it is."""
        return request.get()

    request.set("r-1")
    bench = CapabilityWorkbench([get_price], world.guard, world.trader())
    assert (await bench.call_tool(*PRICE)).to_text() == "r-1"
