"""A call can be cancelled as ever, and what was begun is recorded."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from autogen_core import CancellationToken
from autogen_core.tools import StaticStreamWorkbench

import remit
from remit_autogen import CapabilityWorkbench, guard_tools

from .support import Adder, Numbers, Sum, World, soon


def benches(world: World, tool: Any, *granted: str) -> list[StaticStreamWorkbench]:
    """A workbench of ours, and one of AutoGen's with a guarded tool."""
    credential = world.grant("a", *granted)
    return [
        CapabilityWorkbench([tool], world.guard, credential),
        StaticStreamWorkbench(guard_tools([tool], world.guard, credential)),
    ]


async def ended(bench: StaticStreamWorkbench, name: str, token: CancellationToken, *, streaming: bool) -> Any:
    """What a call comes to."""
    if not streaming:
        return await bench.call_tool(name, {}, token)
    return [item async for item in bench.call_tool_stream(name, {}, token)][-1]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("own", [0, 1])
async def test_a_coroutine_tool_is_cancelled_by_the_token(own: int, streaming: bool) -> None:
    world, started, stopped = World(), asyncio.Event(), list[str]()

    @remit.requires_capability("wait")
    async def wait() -> str:
        """Wait for ever."""
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append("cancelled")
            raise
        return "never"

    token = CancellationToken()
    call = asyncio.ensure_future(ended(benches(world, wait, "wait")[own], "wait", token, streaming=streaming))
    await soon(started.wait())
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(call)
    assert stopped == ["cancelled"]
    assert world.decisions == [("a", "wait", None)]
    assert world.outcomes == [("a", "wait")]


@pytest.mark.parametrize("own", [0, 1])
async def test_a_synchronous_tool_is_no_longer_waited_for(own: int) -> None:
    world, started, go, done = World(), threading.Event(), threading.Event(), threading.Event()

    @remit.requires_capability("wait")
    def wait() -> str:
        """Wait until it is told to go."""
        started.set()
        go.wait(20)
        done.set()
        return "late"

    token = CancellationToken()
    call = asyncio.ensure_future(benches(world, wait, "wait")[own].call_tool("wait", {}, token))
    await asyncio.to_thread(started.wait, 20)
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(call)
    go.set()
    assert await asyncio.to_thread(done.wait, 20)


@pytest.mark.parametrize("own", [0, 1])
async def test_a_tool_that_takes_the_token_is_told(own: int) -> None:
    world, started = World(), threading.Event()

    @remit.requires_capability("wait")
    def wait(cancellation_token: CancellationToken) -> str:
        """Wait to be cancelled."""
        told = threading.Event()
        cancellation_token.add_callback(told.set)
        started.set()
        return "told" if told.wait(20) else "never told"

    bench = benches(world, wait, "wait")[own]
    assert (await bench.list_tools())[0].get("parameters", {})["properties"] == {}
    assert world.decisions == []
    token = CancellationToken()
    call = asyncio.ensure_future(bench.call_tool("wait", {}, token))
    await asyncio.to_thread(started.wait, 20)
    token.cancel()
    results = await soon(asyncio.gather(call, return_exceptions=True))
    assert isinstance(results[0], asyncio.CancelledError)
    assert world.decisions == [("a", "wait", None)]


async def test_a_tool_class_is_cancelled_by_the_token() -> None:
    world, started = World(), asyncio.Event()

    class Waits(Adder):
        async def run(self, args: Numbers, cancellation_token: CancellationToken) -> Sum:
            started.set()
            await asyncio.Event().wait()
            return Sum(value=0)

    bench = StaticStreamWorkbench(guard_tools([Waits()], world.guard, world.grant("a", "add")))
    token = CancellationToken()
    call = asyncio.ensure_future(bench.call_tool("add", {"first": 1}, token))
    await soon(started.wait())
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(call)
    assert world.outcomes == [("a", "add")]


async def test_a_token_that_was_cancelled_before_lets_nothing_run() -> None:
    world, ran = World(), list[str]()

    @remit.requires_capability("note")
    async def note() -> str:
        """Note."""
        ran.append("ran")
        return "noted"

    token = CancellationToken()
    token.cancel()
    for bench in benches(world, note, "note"):
        with pytest.raises(asyncio.CancelledError):
            await bench.call_tool("note", {}, token)
    assert ran == []
    assert world.decisions == []
