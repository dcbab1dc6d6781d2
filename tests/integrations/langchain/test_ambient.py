"""Authority that is merely around: streams, threads, loops, background tasks, and time passing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ToolCallRequest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import remit
from remit_langchain import CapabilityMiddleware, guard_tools

from .scripted import Call, Turn
from .support import RUNS, Context, Desk, World, answers, drive, model, verdicts

TRADE: list[Call] = [("propose_trade", {"symbol": "ACME", "amount": 900})]


@pytest.mark.parametrize("made", ["middleware", "guard_tools"])
@pytest.mark.parametrize("way", ["stream", "astream", "astream_events"])
def test_a_stream_made_under_one_and_consumed_under_another_runs_as_its_agent(made: str, way: str) -> None:
    world, desk = World(), Desk()
    mine, poor = world.trader("mine"), world.grant("poor", "other")
    tools: list[Any] = [desk.propose_trade]
    if made == "middleware":
        agent: Any = create_agent(
            model(TRADE, TRADE), tools, middleware=[CapabilityMiddleware(world.guard, mine)]
        )
    else:
        agent = create_agent(model(TRADE, TRADE), guard_tools(tools, world.guard, mine))
    question = {"messages": [("user", "go")]}

    def consume(stream: Iterator[Any]) -> None:
        while True:
            with world.guard.acting_as(poor):
                if next(stream, None) is None:
                    return

    async def aconsume(stream: Any) -> None:
        while True:
            with world.guard.acting_as(poor):
                if await anext(stream, None) is None:
                    return

    async def run() -> None:
        with world.guard.acting_as(world.trader("maker")):
            stream = (
                agent.astream(question) if way == "astream" else agent.astream_events(question, version="v2")
            )
        await aconsume(stream)

    if way == "stream":
        with world.guard.acting_as(world.trader("maker")):
            stream = agent.stream(question)
        consume(stream)
    else:
        asyncio.run(run())
    assert world.decisions == [("mine", "trades:propose", None)] * 2


def pair(world: World, tool: Any, way: str) -> dict[str, Any]:
    """Two agents with different credentials around one tool."""
    agents: dict[str, Any] = {}
    for name in ("ann", "bob"):
        turn: Turn = [("buy", {"buyer": name})]
        credential = world.grant(name, remit.Capability("shop:buy", buyer=name))
        if way == "middleware":
            ours = CapabilityMiddleware(world.guard, credential)
            agents[name] = create_agent(model(turn, turn), [tool], middleware=[ours])
        else:
            agents[name] = create_agent(model(turn, turn), guard_tools([tool], world.guard, credential))
    return agents


@pytest.mark.parametrize("way", ["middleware", "guard_tools"])
def test_two_agents_in_threads_do_not_mix(way: str) -> None:
    world, meeting = World(), threading.Barrier(2, timeout=30)

    @remit.requires_capability("shop:buy")
    def buy(buyer: str) -> str:
        """Buy, at the same time as the other."""
        meeting.wait()
        return f"bought by {buyer}"

    results: dict[str, list[str]] = {}

    def run(name: str, agent: Any) -> None:
        results[name] = verdicts(drive(agent))

    threads = [threading.Thread(target=run, args=item) for item in pair(world, buy, way).items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {"ann": ["ok", "ok"], "bob": ["ok", "ok"]}


@pytest.mark.parametrize("way", ["middleware", "guard_tools"])
def test_two_agents_on_one_event_loop_do_not_mix(way: str) -> None:
    world = World()

    async def run() -> list[list[str]]:
        meeting = asyncio.Barrier(2)

        @remit.requires_capability("shop:buy")
        async def buy(buyer: str) -> str:
            """Buy, at the same time as the other."""
            await meeting.wait()
            return f"bought by {buyer}"

        question = {"messages": [("user", "go")]}
        agents = pair(world, buy, way).values()
        states = await asyncio.gather(*(agent.ainvoke(question) for agent in agents))
        return [verdicts(state["messages"]) for state in states]

    assert asyncio.run(run()) == [["ok", "ok"], ["ok", "ok"]]
    assert set(world.decisions) == {("ann", "shop:buy", None), ("bob", "shop:buy", None)}


def test_batches_and_executors_keep_the_binding() -> None:
    world, desk = World(), Desk()
    ours = CapabilityMiddleware(world.guard, world.trader())
    agent = create_agent(model(TRADE), [desk.propose_trade], middleware=[ours])
    questions: list[Any] = [{"messages": [("user", str(number))]} for number in range(4)]
    states = [*agent.batch(questions), *asyncio.run(agent.abatch(questions))]
    assert [verdicts(state["messages"]) for state in states] == [["ok"]] * 8
    assert len(desk.done) == 8


class InRawThread(AgentMiddleware[Any, Any, Any]):
    """Runs the tool in a thread that knows nothing of its caller's context."""

    tools = ()

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        results: list[ToolMessage | Command[Any]] = []
        thread = threading.Thread(target=lambda: results.append(handler(request)))
        thread.start()
        thread.join()
        return results[0]


def test_in_a_raw_thread_nothing_is_bound() -> None:
    world, desk = World(), Desk()
    order = [CapabilityMiddleware(world.guard, world.trader()), InRawThread()]
    messages = drive(create_agent(model(TRADE), [desk.propose_trade], middleware=order))
    assert (verdicts(messages), desk.done) == (["not_bound"], [])


def test_a_raw_thread_started_in_a_tool_has_nothing() -> None:
    world, desk, codes = World(), Desk(), list[str]()
    trade = desk.propose_trade

    def attempt() -> None:
        try:
            trade("ACME", 1)
        except remit.Denied as denied:
            codes.append(denied.code)

    @remit.requires_capability("pricing:read")
    def get_price(symbol: str) -> str:
        """Say what a symbol costs, and do something else on the side."""
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
        return symbol

    ours = CapabilityMiddleware(world.guard, world.trader())
    agent = create_agent(model([("get_price", {"symbol": "ACME"})]), [get_price], middleware=[ours])
    assert (verdicts(drive(agent)), codes, desk.done) == (["ok"], ["not_bound"], [])


@pytest.mark.parametrize("way", ["middleware", "guard_tools"])
def test_a_background_task_that_outlives_the_run_is_stopped_by_closing_the_credential(way: str) -> None:
    world, desk = World(), Desk()
    credential = world.trader()
    carried = guard_tools([desk.propose_trade], world.guard, credential)[0]

    async def run() -> tuple[list[str], str, Any]:
        goes_on = asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []

        async def later() -> Any:
            await goes_on.wait()
            trade: Any = desk.propose_trade if way == "middleware" else carried.ainvoke
            arguments = {"symbol": "ACME", "amount": 1}
            return trade(**arguments) if way == "middleware" else await trade(arguments)

        @remit.requires_capability("pricing:read")
        async def get_price(symbol: str) -> str:
            """Say what a symbol costs, and start something that goes on."""
            tasks.append(asyncio.create_task(later()))
            return symbol

        ours = CapabilityMiddleware(world.guard, credential)
        agent: Any = create_agent(model([("get_price", {"symbol": "ACME"})]), [get_price], middleware=[ours])
        state = await agent.ainvoke({"messages": [("user", "go")]})
        credential.close()
        goes_on.set()
        (outcome,) = await asyncio.gather(*tasks, return_exceptions=True)
        return verdicts(state["messages"]), getattr(outcome, "code", "ok"), outcome

    first, code, _ = asyncio.run(run())
    assert (first, code) == (["ok"], "not_bound" if way == "middleware" else "credential_closed")
    assert desk.done == []


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize("way", ["middleware", "guard_tools"])
@pytest.mark.parametrize("event", ["token_revoked", "token_expired", "credential_closed"])
def test_what_ends_in_mid_run_ends_at_the_next_call(event: str, way: str, how: str) -> None:
    world, desk = World(), Desk()
    credential = world.trader()

    def something(text: str) -> str:
        """Something that happens between two calls."""
        match event:
            case "token_revoked":
                world.guard.revoke(credential.token_id, reason="a test")
            case "token_expired":
                world.clock.now += 600
            case _:
                credential.close()
        return text

    turns: list[Turn] = [TRADE, [("something", {"text": "x"})], TRADE]
    if way == "middleware":
        ours = CapabilityMiddleware(world.guard, credential)
        agent: Any = create_agent(model(*turns), [desk.propose_trade, something], middleware=[ours])
    else:
        agent = create_agent(
            model(*turns), [*guard_tools([desk.propose_trade], world.guard, credential), something]
        )
    assert verdicts(drive(agent, how)) == ["ok", "ok", event]
    assert desk.done == [("trade", "ACME", 900)]


@pytest.mark.parametrize("way", ["middleware", "guard_tools"])
def test_a_run_that_is_taken_up_again_is_checked_as_it_is_now(way: str) -> None:
    """Nothing of what was allowed is in the checkpoint: who resumes a run resumes it under the agent's own."""
    world, desk, saver = World(), Desk(), InMemorySaver()

    def agent_of(credential: remit.Credential) -> Any:
        pause: Any = {"checkpointer": saver, "interrupt_before": ["tools"]}
        if way == "guard_tools":
            return create_agent(
                model(TRADE), guard_tools([desk.propose_trade], world.guard, credential), **pause
            )
        ours = CapabilityMiddleware(world.guard, credential)
        return create_agent(model(TRADE), [desk.propose_trade], middleware=[ours], **pause)

    credential = world.trader()
    for thread, expected in (("t-1", "ok"), ("t-2", "token_revoked"), ("t-3", "capability_missing")):
        config: RunnableConfig = {"configurable": {"thread_id": thread}}
        assert answers(drive(agent_of(world.trader("first")), "invoke", config)) == []
        if expected == "token_revoked":
            world.guard.revoke(credential.token_id, reason="a test")
        resuming = credential if expected != "capability_missing" else world.grant("poor", "other")
        assert verdicts(agent_of(resuming).invoke(None, config)["messages"]) == [expected]
    assert desk.done == [("trade", "ACME", 900)]


@pytest.mark.parametrize("how", RUNS)
def test_who_an_agent_is_cannot_be_said_from_outside(how: str) -> None:
    """Neither the metadata that LangChain names agents by, nor the context, nor the thread changes who acts."""
    world, desk = World(), Desk()
    rich = world.trader("rich")
    ours = CapabilityMiddleware(world.guard, world.grant("poor", "other"))
    agent = create_agent(
        model(TRADE), [desk.propose_trade], middleware=[ours], name="poor", context_schema=Context
    )
    config: RunnableConfig = {
        "metadata": {"lc_agent_name": "rich", "langgraph_checkpoint_ns": "rich:1", "remit": rich.token},
        "configurable": {"thread_id": "rich", "credential": rich, "agent": "rich"},
        "tags": ["rich"],
        "run_name": "rich",
    }
    assert verdicts(drive(agent, how, config, context={"agent": "rich", "credential": rich})) == [
        "capability_missing"
    ]
    assert world.decisions == [("poor", "trades:propose", "capability_missing")]


class Enters(BaseCallbackHandler):
    """Binds another credential when a tool starts, and never lets it go."""

    run_inline = True

    def __init__(self, world: World) -> None:
        self.binding = world.guard.acting_as(world.trader("rich"))

    def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
        self.binding.__enter__()


def test_what_a_callback_leaves_bound_authorises_no_guarded_tool() -> None:
    world, desk = World(), Desk()
    tools = guard_tools([desk.propose_trade], world.guard, world.grant("poor", "other"))
    agent = create_agent(model(TRADE, TRADE), tools)
    messages = drive(agent, "invoke", {"callbacks": [Enters(world)]})
    assert verdicts(messages) == ["capability_missing", "capability_missing"]
    assert desk.done == []


def test_one_agent_s_closed_credential_is_no_other_s() -> None:
    world, desk = World(), Desk()
    ann, bob = world.trader("ann"), world.trader("bob")
    agents = [
        create_agent(
            model(TRADE), [desk.propose_trade], middleware=[CapabilityMiddleware(world.guard, credential)]
        )
        for credential in (ann, bob)
    ]
    world.guard.revoke(ann.token_id, reason="a test")
    assert [verdicts(drive(agent)) for agent in agents] == [["token_revoked"], ["ok"]]


def test_a_call_that_may_be_made_once_is_made_once_however_many_ask_at_once() -> None:
    world, desk = World(), Desk()
    once = world.trader(limits={"trades:propose": remit.Limit(max_uses=1)})
    ours = CapabilityMiddleware(world.guard, once)
    turn: Turn = [("propose_trade", {"symbol": "ACME", "amount": number}) for number in range(8)]
    messages = drive(create_agent(model(turn), [desk.propose_trade], middleware=[ours]))
    assert sorted(verdicts(messages)) == ["limit_exceeded"] * 7 + ["ok"]
    assert len(desk.done) == 1
    assert len(answers(messages)) == 8
