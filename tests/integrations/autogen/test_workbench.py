"""`CapabilityWorkbench` in real agents: what is allowed, what is denied, and how the model is told."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, TextMessage, ToolCallSummaryMessage
from autogen_core import CancellationToken
from autogen_core.tools import BaseTool, FunctionTool, ToolOverride, ToolResult

import remit
from remit_autogen import CapabilityWorkbench, guard_tools
from scripted_models.team import Turn

from .support import (
    ELSEWHERE,
    NOTE,
    PRICE,
    RUNS,
    TOO_MUCH,
    TRADE,
    Adder,
    Counted,
    Counter,
    Desk,
    Numbers,
    Step,
    Sum,
    Upto,
    World,
    answers,
    assistant,
    client,
    drive,
    verdicts,
)

ALL: list[Turn] = [[PRICE], [TRADE], [TOO_MUCH], [ELSEWHERE], [NOTE]]


def bound(
    world: World, desk: Desk, credential: remit.Credential | None = None, **settings: Any
) -> CapabilityWorkbench:
    """A workbench with all the tools of a desk."""
    tools = [desk.aget_price, desk.propose_trade, desk.take_note]
    return CapabilityWorkbench(tools, world.guard, credential or world.trader(), **settings)


async def said(
    bench: CapabilityWorkbench, name: str, arguments: dict[str, Any], **settings: Any
) -> list[ToolResult]:
    """What a workbench answers, both ways."""
    items = [item async for item in bench.call_tool_stream(name, arguments, **settings)]
    return [await bench.call_tool(name, arguments, **settings), items[-1]]


@pytest.mark.parametrize("how", RUNS)
async def test_a_call_runs_when_it_is_granted_and_is_answered_when_not(how: str) -> None:
    world, desk = World(), Desk()
    result = await drive(assistant("trader", ALL, workbench=bound(world, desk)), how)
    assert verdicts(result) == ["ok", "ok", "argument_denied", "argument_denied", "ok"]
    assert desk.done == [("price", "ACME"), ("trade", "ACME", 900), ("note", "hm")]
    assert [code for _, _, code in world.decisions] == [None, None, "argument_denied", "argument_denied"]
    assert len(world.outcomes) == 2
    assert isinstance(result.messages[-1], TextMessage)
    assert result.messages[-1].content == "Done."


async def test_a_denial_says_the_code_and_the_reason() -> None:
    (answer,) = answers(await drive(assistant("trader", [[TOO_MUCH]], workbench=bound(World(), Desk()))))
    assert answer.is_error
    assert answer.content.startswith("argument_denied: Your call of 'trades:propose' needs 'amount' to be")


async def test_the_model_is_told_in_its_next_turn() -> None:
    model = client([TOO_MUCH])
    agent = AssistantAgent("trader", model, workbench=bound(World(), Desk()), max_tool_iterations=2)
    await drive(agent)
    assert "argument_denied" in repr(model.shown[-1][-1])


@pytest.mark.parametrize("how", RUNS)
async def test_calls_made_at_once_are_each_decided_on_their_own(how: str) -> None:
    world, desk = World(), Desk()
    turn = [TRADE, TOO_MUCH, PRICE, NOTE, ELSEWHERE, ("nobody", {})]
    result = await drive(assistant("trader", [turn], workbench=bound(world, desk)), how)
    assert verdicts(result) == ["ok", "argument_denied", "ok", "ok", "argument_denied", "error"]
    assert [answer.call_id for answer in answers(result)] == [f"call-1-{n}" for n in range(1, 7)]
    assert sorted(desk.done) == [("note", "hm"), ("price", "ACME"), ("trade", "ACME", 900)]


async def test_one_iteration_ends_with_a_summary_of_the_denial() -> None:
    agent = AssistantAgent("trader", client([TOO_MUCH]), workbench=bound(World(), Desk()))
    last = (await drive(agent)).messages[-1]
    assert isinstance(last, ToolCallSummaryMessage)
    assert "argument_denied" in last.content


async def test_a_denial_can_be_reflected_on() -> None:
    agent = AssistantAgent(
        "trader", client([TOO_MUCH], "I may not."), workbench=bound(World(), Desk()), reflect_on_tool_use=True
    )
    last = (await drive(agent)).messages[-1]
    assert isinstance(last, TextMessage)
    assert last.content == "I may not."


async def test_a_model_that_streams_is_no_different() -> None:
    world, desk = World(), Desk()
    agent = assistant("trader", [[TRADE], [TOO_MUCH]], workbench=bound(world, desk), model_client_stream=True)
    events = [event async for event in agent.run_stream(task="go")]
    assert verdicts(events[-1]) == ["ok", "argument_denied"]  # type: ignore[arg-type]
    assert [e.content for e in events if isinstance(e, ModelClientStreamingChunkEvent)] == ["Done."]


@pytest.mark.parametrize("kind", ["get_price", "aget_price"])
async def test_functions_and_coroutine_functions_carry_the_binding(kind: str) -> None:
    world, desk = World(), Desk()
    bench = CapabilityWorkbench([getattr(desk, kind)], world.guard, world.trader())
    for result in await said(bench, *PRICE):
        assert (result.is_error, result.to_text()) == (False, "ACME is at 42")
    assert desk.done == [("price", "ACME")] * 2


def expire(world: World, credential: remit.Credential) -> None:
    world.clock.now += 601


def revoke(world: World, credential: remit.Credential) -> None:
    world.guard.revoke(credential.token_id)


def close(world: World, credential: remit.Credential) -> None:
    credential.close()


@pytest.mark.parametrize(
    ("event", "code"), [(expire, "token_expired"), (revoke, "token_revoked"), (close, "credential_closed")]
)
@pytest.mark.parametrize("how", RUNS)
async def test_what_happens_in_mid_run_counts_from_the_next_call_on(
    event: Callable[[World, remit.Credential], None], code: str, how: str
) -> None:
    world, desk = World(), Desk()
    credential = world.trader()

    def happen() -> str:
        """Let it happen."""
        event(world, credential)
        return "happened"

    bench = CapabilityWorkbench([desk.aget_price, happen], world.guard, credential)
    result = await drive(assistant("trader", [[PRICE], [("happen", {})], [PRICE]], workbench=bench), how)
    assert verdicts(result) == ["ok", "ok", code]
    assert len(desk.done) == 1


async def test_session_and_task_are_those_of_the_calls() -> None:
    world, desk = World(), Desk()
    bound_to = world.trader(session="s", task="t")
    for session, task, expected in [
        ("s", "t", "ok"),
        ("x", "t", "session_mismatch"),
        ("s", "x", "task_mismatch"),
    ]:
        bench = bound(world, desk, bound_to, session=session, task=task)
        assert verdicts(await drive(assistant("trader", [[PRICE]], workbench=bench))) == [expected]


async def test_each_call_is_charged_once() -> None:
    world, desk = World(), Desk()
    credential = world.grant("trader", "pricing:read", limits={"pricing:read": remit.Limit(max_uses=2)})
    bench = CapabilityWorkbench([desk.aget_price], world.guard, credential)
    result = await drive(assistant("trader", [[PRICE], [PRICE], [PRICE]], workbench=bench))
    assert verdicts(result) == ["ok", "ok", "limit_exceeded"]


async def test_a_tool_has_its_other_name_in_both_ways_and_its_capability_stays() -> None:
    world, desk = World(), Desk()
    overrides = {"get_price": ToolOverride(name="quote", description="Quote.")}
    bench = bound(world, desk, tool_overrides=overrides)
    shown = (await bench.list_tools())[0]
    assert (shown["name"], shown.get("description")) == ("quote", "Quote.")
    for result in await said(bench, "quote", {"symbol": "ACME"}):
        assert (result.name, result.is_error) == ("quote", False)
    turns: list[Turn] = [[("quote", {"symbol": "ACME"})]]
    assert verdicts(await drive(assistant("trader", turns, workbench=bench), "run_stream")) == ["ok"]
    assert [capability for _, capability, _ in world.decisions] == ["pricing:read"] * 3


async def test_a_denied_tool_answers_under_the_name_it_was_called_by() -> None:
    overrides = {"propose_trade": ToolOverride(name="trade")}
    bench = bound(World(), Desk(), tool_overrides=overrides)
    for result in await said(bench, "trade", {"symbol": "ACME", "amount": 2_000}):
        assert (result.name, result.is_error) == ("trade", True)
        assert "argument_denied" in result.to_text()


async def test_an_unknown_tool_is_answered_as_ever() -> None:
    for result in await said(bound(World(), Desk()), "nobody", {}):
        assert (result.name, result.is_error, result.to_text()) == ("nobody", True, "Tool nobody not found.")


async def test_an_error_of_a_tool_is_its_own_and_is_recorded() -> None:
    world = World()

    @remit.requires_capability("pricing:read")
    def get_price(symbol: str) -> str:
        """Fail."""
        raise LookupError(f"no such symbol: {symbol}")

    bench = CapabilityWorkbench([get_price], world.guard, world.trader())
    for result in await said(bench, *PRICE):
        assert (result.is_error, result.to_text()) == (True, "no such symbol: ACME")
    assert len(world.outcomes) == 2


async def test_arguments_that_do_not_fit_never_reach_the_check() -> None:
    world, desk = World(), Desk()
    for result in await said(bound(world, desk), "propose_trade", {"symbol": "ACME", "amount": "many"}):
        assert result.is_error
        assert "validation error" in result.to_text()
    assert world.decisions == []


async def test_what_is_checked_is_what_was_validated() -> None:
    world, desk = World(), Desk()
    for result in await said(bound(world, desk), "propose_trade", {"symbol": "ACME", "amount": "0900"}):
        assert not result.is_error
    assert desk.done == [("trade", "ACME", 900)] * 2


async def test_a_tool_without_a_capability_has_nothing_bound() -> None:
    world, desk = World(), Desk()
    price = desk.aget_price

    async def ask(symbol: str) -> str:
        """Ask for a price on somebody else's authority."""
        return str(await price(symbol))

    bench = CapabilityWorkbench([price, ask], world.guard, world.trader())
    with world.guard.acting_as(world.trader("around")):
        for result in await said(bench, "ask", {"symbol": "ACME"}):
            assert result.to_text().startswith("not_bound:")
    assert desk.done == []


async def test_a_tool_that_carries_its_credential_keeps_it() -> None:
    world, desk = World(), Desk()
    (own,) = guard_tools([desk.aget_price], world.guard, world.grant("own", "pricing:read"))
    bench = CapabilityWorkbench([own], world.guard, world.grant("other", "trades:propose"))
    for result in await said(bench, *PRICE):
        assert not result.is_error
    assert {agent for agent, _, _ in world.decisions} == {"own"}


class Decorated(BaseTool[Step, Counted]):
    """A tool class whose author guards it."""

    def __init__(self) -> None:
        super().__init__(Step, Counted, "decorated", "Count on.")
        self.count = 0

    @remit.requires_capability("count")
    async def run(self, args: Step, cancellation_token: CancellationToken) -> Counted:
        self.count += args.by
        return Counted(count=self.count)


async def test_a_decorated_tool_class_runs_under_the_credential_and_keeps_its_state() -> None:
    world, tool = World(), Decorated()
    allowed = remit.Capability("count", args=remit.Fields(by=remit.Range(max=3)))
    bench = CapabilityWorkbench([tool], world.guard, world.grant("counter", allowed))
    for result in await said(bench, "decorated", {"by": 3}):
        assert not result.is_error
    for result in await said(bench, "decorated", {"by": 4}):
        assert result.to_text().startswith("argument_denied:")
    assert tool.count == 6


class HalfDecorated(Upto):
    """A tool class of which one way is left open."""

    @remit.requires_capability("count")
    async def run(self, args: Step, cancellation_token: CancellationToken) -> Counted:
        return Counted(count=args.by)


def test_a_tool_that_is_decorated_in_part_is_refused() -> None:
    world = World()
    with pytest.raises(remit.ConfigError, match="run and run_stream alike"):
        CapabilityWorkbench([HalfDecorated()], world.guard, world.trader())


class Logged(FunctionTool):
    """A function tool that does something more."""

    async def run(self, args: Any, cancellation_token: CancellationToken) -> Any:
        return f"logged {await super().run(args, cancellation_token)}"


@pytest.mark.parametrize("kind", ["get_price", "aget_price"])
async def test_a_kind_of_function_tool_keeps_what_it_does(kind: str) -> None:
    world, desk = World(), Desk()
    tool = Logged(getattr(desk, kind), description="")
    bench = CapabilityWorkbench([tool], world.guard, world.trader())
    for result in await said(bench, *PRICE):
        assert result.to_text() == "logged ACME is at 42"
    assert len(world.decisions) == 2


async def test_other_tools_stay_what_they_are() -> None:
    world = World()
    adder, upto = Adder(), Upto()
    bench = CapabilityWorkbench([adder, upto], world.guard, world.trader())
    assert (await bench.call_tool("add", {"first": 1})).to_text() == '{"value": 3}'
    items = [item async for item in bench.call_tool_stream("upto", {"by": 3})]
    assert items[:-1] == [Counted(count=1), Counted(count=2)]
    assert items[-1].to_text() == '{"count": 3}'
    assert world.decisions == []
    assert adder.count == 1


async def test_state_is_saved_and_loaded_and_holds_no_token() -> None:
    world = World()
    credential = world.grant("counter", "count")
    tools = guard_tools([Counter()], world.guard, credential)
    first, second = (
        CapabilityWorkbench(tools, world.guard, credential),
        CapabilityWorkbench(guard_tools([Counter()], world.guard, credential), world.guard, credential),
    )
    await first.call_tool("count", {"by": 5})
    state = await first.save_state()
    assert state == {"type": "StaticWorkbenchState", "tools": {"count": {"count": 5}}}
    await second.load_state(state)
    assert (await second.call_tool("count", {"by": 1})).to_text() == '{"count": 6}'


async def test_it_starts_stops_and_resets_as_any_workbench() -> None:
    async with bound(World(), Desk()) as bench:
        await bench.reset()
        assert [tool["name"] for tool in await bench.list_tools()] == [
            "get_price",
            "propose_trade",
            "take_note",
        ]


@pytest.mark.parametrize(
    ("tools", "match"),
    [
        (Adder(), "list"),
        (7, "list"),
        ([7], "a int is no tool"),
        ([print], "print is no tool"),
        ([Adder(), Adder()], "each tool once"),
    ],
)
def test_what_makes_no_sense_is_refused(tools: Any, match: str) -> None:
    world = World()
    with pytest.raises(remit.ConfigError, match=match):
        CapabilityWorkbench(tools, world.guard, world.trader())


def test_a_guard_and_a_credential_are_needed() -> None:
    world: Any = World()
    with pytest.raises(remit.ConfigError, match="Guard"):
        CapabilityWorkbench([], None, world.trader())  # type: ignore[arg-type]
    with pytest.raises(remit.ConfigError, match="Credential"):
        CapabilityWorkbench([], world.guard, None)  # type: ignore[arg-type]


async def test_the_workbench_stands_among_others() -> None:
    world, desk = World(), Desk()
    one = CapabilityWorkbench([desk.aget_price], world.guard, world.grant("prices", "pricing:read"))
    two = CapabilityWorkbench([desk.propose_trade], world.guard, world.grant("trades", "trades:propose"))
    result = await drive(assistant("both", [[PRICE, TOO_MUCH]], workbench=[one, two]))
    assert verdicts(result) == ["ok", "ok"]
    assert sorted(world.decisions, key=str) == [
        ("prices", "pricing:read", None),
        ("trades", "trades:propose", None),
    ]


async def test_the_schema_is_the_functions_own() -> None:
    world, desk = World(), Desk()
    (shown,) = await CapabilityWorkbench([desk.propose_trade], world.guard, world.trader()).list_tools()
    plain = FunctionTool(desk.propose_trade, description="Propose a trade.").schema
    assert shown == plain
    assert shown.get("description") == "Propose a trade."


async def test_a_secret_is_given_to_the_tool_and_shown_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICE_KEY", "canary-77")
    world = World(secrets={"PRICE_KEY": "env://PRICE_KEY"})
    given: list[str] = []
    key = remit.secret("PRICE_KEY")

    @remit.requires_capability("pricing:read")
    def get_price(symbol: str, api_key: remit.Secret = key) -> str:
        """Say what a symbol costs."""
        given.append(api_key.reveal())
        return f"{symbol} with {api_key.reveal()}"

    bench = CapabilityWorkbench(
        [get_price], world.guard, world.grant("p", "pricing:read", secrets=["PRICE_KEY"])
    )
    assert list((await bench.list_tools())[0].get("parameters", {})["properties"]) == ["symbol"]
    for result in await said(bench, *PRICE):
        assert "canary" not in result.to_text()
    assert given == ["canary-77"] * 2
    for result in await said(bench, "get_price", {"symbol": "A", "api_key": "mine"}):
        assert not result.is_error  # AutoGen drops what is not in the schema
    assert given == ["canary-77"] * 4


async def test_numbers_are_summed() -> None:
    """The tool classes of these tests do what they say."""
    assert await Adder().run(Numbers(first=1, more=[4]), CancellationToken()) == Sum(value=7)


async def test_two_agents_with_one_tool_each_act_under_their_own() -> None:
    world, desk = World(), Desk()
    price = desk.aget_price
    agents = [
        assistant(
            name, [[PRICE]], workbench=CapabilityWorkbench([price], world.guard, world.grant(name, *granted))
        )
        for name, granted in (("may", ["pricing:read"]), ("not", ["trades:propose"]))
    ]
    results = await asyncio.gather(*map(drive, agents))
    assert [verdicts(result) for result in results] == [["ok"], ["capability_missing"]]


ELSEWHERE_WRITTEN = """
from __future__ import annotations
import enum
import remit

class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"

@remit.requires_capability("trades:propose")
def trade(side: Side, amount: int = 1) -> str:
    "Trade."
    return f"{side.name} {amount}"
"""


async def test_a_tool_of_another_module_is_understood_with_its_types() -> None:
    world = World()
    module = types.ModuleType("elsewhere")
    exec(ELSEWHERE_WRITTEN, vars(module))  # noqa: S102 - a module of its own, as a library of tools is
    allowed = remit.Capability("trades:propose", side="buy")
    bench = CapabilityWorkbench([module.trade], world.guard, world.grant("a", allowed))
    (shown,) = await bench.list_tools()
    assert shown.get("parameters", {})["properties"]["side"]["enum"] == ["buy", "sell"]
    for result in await said(bench, "trade", {"side": "buy"}):
        assert (result.is_error, result.to_text()) == (False, "BUY 1")
    for result in await said(bench, "trade", {"side": "sell"}):
        assert result.to_text().startswith("argument_denied:")
