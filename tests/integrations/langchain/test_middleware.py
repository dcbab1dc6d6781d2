"""`CapabilityMiddleware` in real agent loops: what is bound, and what a denial looks like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ToolCallRequest,
    ToolRetryMiddleware,
    wrap_tool_call,
)
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.types import Command

import remit
from remit_langchain import CapabilityMiddleware, guard_tools

from .scripted import Call, Turn
from .support import RUNS, Desk, World, answers, dangling, drive, model, verdicts

TRADE: list[Call] = [("propose_trade", {"symbol": "ACME", "amount": 900})]
TOO_MUCH: list[Call] = [("propose_trade", {"symbol": "ACME", "amount": 9_000})]


def agent_of(
    world: World, tools: list[Any], *turns: Turn, before: list[Any] | None = None, **keywords: Any
) -> Any:
    middleware = [*(before or []), CapabilityMiddleware(world.guard, world.trader(), **keywords)]
    return create_agent(model(*turns), tools, middleware=middleware)


@pytest.mark.parametrize("how", RUNS)
def test_both_wraps_bind_what_the_agent_was_given(how: str) -> None:
    world, desk = World(), Desk()
    messages = drive(agent_of(world, [desk.propose_trade], TRADE, TOO_MUCH), how)
    assert verdicts(messages) == ["ok", "argument_denied"]
    assert desk.done == [("trade", "ACME", 900)]
    assert world.decisions == [
        ("trader", "trades:propose", None),
        ("trader", "trades:propose", "argument_denied"),
    ]


@pytest.mark.parametrize("how", RUNS)
def test_a_coroutine_tool_is_bound_alike(how: str) -> None:
    world, desk = World(), Desk()
    agent = agent_of(world, [desk.aget_price], [("get_price", {"symbol": "ACME"})])
    if how in {"invoke", "stream"}:
        with pytest.raises(NotImplementedError, match="sync"):
            drive(agent, how)
        assert desk.done == []
    else:
        assert verdicts(drive(agent, how)) == ["ok"]
        assert desk.done == [("price", "ACME")]


@pytest.mark.parametrize("how", RUNS)
def test_an_agent_without_the_middleware_has_nothing(how: str) -> None:
    desk = Desk()
    with pytest.raises(remit.Denied) as denied:
        drive(create_agent(model(TRADE), [desk.propose_trade]), how)
    assert (denied.value.code, desk.done) == ("not_bound", [])


@pytest.mark.parametrize("how", RUNS)
def test_a_denial_is_an_error_message_that_speaks_to_the_model(how: str) -> None:
    world, desk = World(), Desk()
    messages = drive(agent_of(world, [desk.propose_trade], TOO_MUCH), how)
    (message,) = answers(messages)
    assert message.status == "error"
    assert (message.name, message.tool_call_id) == ("propose_trade", "call-0-0")
    assert message.artifact["code"] == "argument_denied"
    assert message.content == f"{message.artifact['reason']} [argument_denied]"
    assert messages[-1].content == "done"


@pytest.mark.parametrize("how", RUNS)
def test_a_tool_without_a_capability_runs_with_nothing_bound(how: str) -> None:
    world, desk = World(), Desk()
    inner = desk.propose_trade

    def helper(symbol: str) -> str:
        """A helper that is not decorated but calls something that is."""
        return inner(symbol, 1)

    agent = agent_of(
        world, [desk.take_note, helper], [("take_note", {"text": "x"}), ("helper", {"symbol": "ACME"})]
    )
    assert verdicts(drive(agent, how)) == ["ok", "not_bound"]
    assert desk.done == [("note", "x")]


@pytest.mark.parametrize("how", RUNS)
def test_a_caller_s_own_block_reaches_no_tool(how: str) -> None:
    """A block opened around the run is the caller's: tools run under the agent's credential, or none."""
    world, desk = World(), Desk()
    inner = desk.propose_trade

    def helper(symbol: str) -> str:
        """A helper that is not decorated but calls something that is."""
        return inner(symbol, 1)

    poor = create_agent(
        model([("propose_trade", {"symbol": "ACME", "amount": 1}), ("helper", {"symbol": "ACME"})]),
        [inner, helper],
        middleware=[CapabilityMiddleware(world.guard, world.grant("poor", "pricing:read"))],
    )
    with world.guard.acting_as(world.trader("rich")):
        messages = drive(poor, how)
    assert verdicts(messages) == ["capability_missing", "not_bound"]
    assert desk.done == []


@pytest.mark.parametrize("how", RUNS)
def test_parallel_calls_keep_the_siblings_and_leave_nothing_dangling(how: str) -> None:
    world, desk = World(), Desk()
    turn: Turn = [
        ("propose_trade", {"symbol": "ACME", "amount": 1}),
        ("propose_trade", {"symbol": "EVIL", "amount": 2}),
        ("take_note", {"text": "x"}),
        ("propose_trade", {"symbol": "ACME", "amount": 3}),
        ("no_such_tool", {}),
    ]
    messages = drive(agent_of(world, [desk.propose_trade, desk.take_note], turn), how)
    assert verdicts(messages) == ["ok", "argument_denied", "ok", "ok", "error"]
    assert sorted(desk.done) == [("note", "x"), ("trade", "ACME", 1), ("trade", "ACME", 3)]
    assert dangling(messages) == set()


@pytest.mark.parametrize("how", RUNS)
def test_exit_behavior_error_raises_the_denial(how: str) -> None:
    world, desk = World(), Desk()
    agent = agent_of(world, [desk.propose_trade], TOO_MUCH, exit_behavior="error")
    with pytest.raises(remit.CapabilityDenied) as denied:
        drive(agent, how)
    assert (denied.value.code, desk.done) == ("argument_denied", [])


@pytest.mark.parametrize("how", RUNS)
def test_only_denials_are_converted(how: str) -> None:
    world = World()

    @remit.requires_capability("pricing:read")
    def get_price(symbol: str) -> str:
        """Say what a symbol costs."""
        raise PermissionError(f"no file of {symbol}")

    with pytest.raises(PermissionError, match="no file of ACME"):
        drive(agent_of(world, [get_price], [("get_price", {"symbol": "ACME"})]), how)
    assert world.decisions == [("trader", "pricing:read", None)]


def test_what_fails_validation_is_answered_as_ever_and_never_checked() -> None:
    world, desk = World(), Desk()
    messages = drive(
        agent_of(world, [desk.propose_trade], [("propose_trade", {"symbol": "ACME", "amount": "many"})])
    )
    assert verdicts(messages) == ["error"]
    assert "amount" in str(answers(messages)[0].content)
    assert (world.decisions, desk.done) == ([], [])


class Rewrites(AgentMiddleware[Any, Any, Any]):
    """Changes the amount that the tool is called with."""

    def __init__(self, amount: int) -> None:
        super().__init__()
        self.tools = []
        self.amount = amount

    def rewritten(self, request: ToolCallRequest) -> ToolCallRequest:
        arguments = {**request.tool_call["args"], "amount": self.amount}
        return request.override(tool_call={**request.tool_call, "args": arguments})

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        return handler(self.rewritten(request))

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        return await handler(self.rewritten(request))


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_the_check_sees_the_arguments_after_every_middleware(how: str, place: str) -> None:
    world, desk = World(), Desk()
    ours = CapabilityMiddleware(world.guard, world.trader())
    for amount, turn, expected in [(9_000, TRADE, "argument_denied"), (900, TOO_MUCH, "ok")]:
        order = [Rewrites(amount), ours] if place == "before" else [ours, Rewrites(amount)]
        assert verdicts(drive(create_agent(model(turn), [desk.propose_trade], middleware=order), how)) == [
            expected
        ]
    assert desk.done == [("trade", "ACME", 900)]


@pytest.mark.parametrize("how", RUNS)
def test_a_tool_put_in_its_place_by_later_middleware_is_not_authorised(how: str) -> None:
    """A binding is for the capability of the tool that was asked for, not for what comes to run."""
    world, desk = World(), Desk()

    @remit.requires_capability("trades:cancel")
    def cancel_trade(symbol: str, amount: int) -> str:
        """Cancel a trade."""
        desk.done.append(("cancel", symbol, amount))
        return "cancelled"

    class Swaps(Rewrites):
        def rewritten(self, request: ToolCallRequest) -> ToolCallRequest:
            return request.override(tool=StructuredTool.from_function(cancel_trade))

    cancels = world.grant("trader", "trades:propose", "trades:cancel")
    agent = create_agent(
        model(TRADE),
        [desk.propose_trade],
        middleware=[CapabilityMiddleware(world.guard, cancels), Swaps(0)],
    )
    assert verdicts(drive(agent, how)) == ["not_bound"]
    assert desk.done == []


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_tool_retry_middleware_does_not_try_a_denied_call_again(how: str, place: str) -> None:
    world, desk = World(), Desk()
    ours = CapabilityMiddleware(world.guard, world.trader())
    retries = ToolRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    order = [retries, ours] if place == "before" else [ours, retries]
    messages = drive(create_agent(model(TOO_MUCH), [desk.propose_trade], middleware=order), how)
    assert verdicts(messages) == ["argument_denied"]
    assert world.decisions == [("trader", "trades:propose", "argument_denied")]


class Rewords(Rewrites):
    """Makes a message of its own of whatever is raised, as `ToolErrorMiddleware` can."""

    def wrap_tool_call(self, request: ToolCallRequest, handler: Any) -> ToolMessage | Command[Any]:
        try:
            return super().wrap_tool_call(request, handler)
        except PermissionError:
            return ToolMessage("try again", tool_call_id=request.tool_call["id"] or "", status="error")

    async def awrap_tool_call(self, request: ToolCallRequest, handler: Any) -> ToolMessage | Command[Any]:
        try:
            return await super().awrap_tool_call(request, handler)
        except PermissionError:
            return ToolMessage("try again", tool_call_id=request.tool_call["id"] or "", status="error")


@pytest.mark.parametrize("how", RUNS)
def test_later_middleware_that_handles_errors_does_not_reword_a_denial(how: str) -> None:
    world, desk = World(), Desk()
    order = [CapabilityMiddleware(world.guard, world.trader()), Rewords(9_000)]
    agent = create_agent(model(TOO_MUCH), [desk.propose_trade], middleware=order)
    assert verdicts(drive(agent, how)) == ["argument_denied"]


def by_halves(desk: Desk, kind: str) -> BaseTool:
    """A tool with a way around its decorated function."""

    async def raw(symbol: str, amount: int) -> str:
        desk.done.append(("raw", symbol, amount))
        return "around"

    if kind == "function":
        return StructuredTool.from_function(desk.propose_trade, raw)
    if kind == "other":
        other = remit.requires_capability("trades:cancel")(raw)
        return StructuredTool.from_function(desk.propose_trade, other)

    class Trade(BaseTool):
        name: str = "propose_trade"
        description: str = "Propose a trade."

        @remit.requires_capability("trades:propose")
        def _run(self, symbol: str, amount: int) -> str:
            return "proposed"

        async def _arun(self, symbol: str, amount: int) -> str:
            return await raw(symbol, amount)

    return Trade()


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize("kind", ["function", "other", "class"])
def test_a_tool_that_is_decorated_by_halves_is_refused(kind: str, how: str) -> None:
    world, desk = World(), Desk()
    tool = by_halves(desk, kind)
    with pytest.raises(remit.ConfigError, match=r"'propose_trade': decorate .* alike"):
        drive(agent_of(world, [tool], TRADE), how)
    with pytest.raises(remit.ConfigError, match=r"'propose_trade': decorate .* alike"):
        guard_tools([tool], world.guard, world.trader())
    assert desk.done == []


def test_what_a_tool_remembers_is_kept_on_the_tool_itself() -> None:
    class Counter(BaseTool):
        name: str = "counter"
        description: str = "Counts its calls."
        count: int = 0

        @remit.requires_capability("pricing:read")
        def _run(self, by: int) -> str:
            self.count += by
            return str(self.count)

    world, tool = World(), Counter()
    messages = drive(agent_of(world, [tool], [("counter", {"by": 2})], [("counter", {"by": 3})]))
    assert [message.content for message in answers(messages)] == ["2", "5"]
    assert tool.count == 5


def test_other_middleware_after_it_is_given_the_same_tool() -> None:
    world, desk = World(), Desk()
    seen: list[Any] = []

    @wrap_tool_call
    def look(
        request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        seen.append(request.tool)
        return handler(request)

    tool = StructuredTool.from_function(desk.propose_trade, tags=["t"])
    ours = CapabilityMiddleware(world.guard, world.trader())
    assert verdicts(drive(create_agent(model(TRADE), [tool], middleware=[ours, look]))) == ["ok"]
    (given,) = seen
    assert isinstance(given, StructuredTool)
    assert (given.name, given.tags, given.func) == (tool.name, tool.tags, tool.func)


@pytest.mark.parametrize(
    "wrong", [{"exit_behavior": "end"}, {"exit_behavior": None}, {"exit_behavior": "Continue"}]
)
def test_an_unknown_exit_behavior_is_refused(wrong: dict[str, Any]) -> None:
    world = World()
    with pytest.raises(remit.ConfigError, match="exit_behavior"):
        CapabilityMiddleware(world.guard, world.trader(), **wrong)


def test_a_missing_guard_or_credential_is_refused() -> None:
    world = World()
    wrong: list[tuple[Any, Any]] = [
        (None, world.trader()),
        (world.guard, None),
        (world.guard, world.trader().token),
        (world.trader(), world.guard),
    ]
    for guard, credential in wrong:
        with pytest.raises(remit.ConfigError):
            CapabilityMiddleware(guard, credential)


def test_session_and_task_are_passed_on_to_the_check() -> None:
    world, desk = World(), Desk()
    bound = world.trader(session="s-1", task="t-1")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"session": "s-1", "task": "t-1"}, "ok"),
        ({"session": "s-2", "task": "t-1"}, "session_mismatch"),
        ({"session": "s-1", "task": "t-2"}, "task_mismatch"),
        ({}, "session_mismatch"),
    ]
    for keywords, expected in cases:
        ours = CapabilityMiddleware(world.guard, bound, **keywords)
        assert verdicts(drive(create_agent(model(TRADE), [desk.propose_trade], middleware=[ours]))) == [
            expected
        ]
    assert desk.done == [("trade", "ACME", 900)]
