"""What AutoGen does, and why the adapter is as it is.

Nothing here tests Remit. A test that fails after an upgrade says which reason has gone or changed.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from autogen_agentchat.base import Handoff, TaskResult
from autogen_agentchat.messages import HandoffMessage, TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat, Swarm
from autogen_agentchat.tools import AgentTool
from autogen_core import (
    CancellationToken,
    DefaultInterventionHandler,
    DropMessage,
    MessageContext,
    SingleThreadedAgentRuntime,
)
from autogen_core.tools import (
    BaseTool,
    FunctionTool,
    StaticStreamWorkbench,
    StaticWorkbench,
    ToolOverride,
    ToolResult,
)
from pydantic import BaseModel

import remit
from scripted_models.team import Turn

from .support import Counted, Step, Upto, answers, assistant, drive

AROUND: contextvars.ContextVar[str] = contextvars.ContextVar("around", default="nothing")
HANGS = 0.3
"""Seconds for which an agent that hangs is watched; longer finds no more."""


async def whose() -> str:
    """Say what is around."""
    return AROUND.get()


def whose_sync() -> str:
    """Say what is around."""
    return AROUND.get()


async def hangs(running: Any) -> bool:
    """Whether it is still running when nothing can happen any more; it is cancelled then."""
    task = asyncio.ensure_future(running)
    _, pending = await asyncio.wait({task}, timeout=HANGS)
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
    return bool(pending)


class Raises(StaticStreamWorkbench):
    """Raises from a call instead of answering it."""

    async def call_tool_stream(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> AsyncGenerator[Any | ToolResult, None]:
        raise PermissionError("no")
        yield


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the error that nobody fetches
async def test_an_exception_from_a_workbench_hangs_the_agent() -> None:
    tool = FunctionTool(whose, description="")
    assert await hangs(assistant("a", [[("whose", {})]], workbench=Raises([tool])).run(task="go"))
    assert not await hangs(assistant("a", [[("whose", {})]], tools=[tool]).run(task="go"))


def test_a_workbench_is_not_told_who_calls() -> None:
    for call in (StaticStreamWorkbench.call_tool, StaticStreamWorkbench.call_tool_stream):
        names = list(inspect.signature(call).parameters)
        assert names == ["self", "name", "arguments", "cancellation_token", "call_id"]


async def test_an_exception_from_a_tool_is_answered_by_the_workbench() -> None:
    def fails() -> str:
        raise PermissionError("no")

    (answer,) = answers(await drive(assistant("a", [[("fails", {})]], tools=[fails])))
    assert (answer.content, answer.is_error) == ("no", True)


class Refused(Handoff):
    """A hand-off whose tool raises."""

    @property
    def handoff_tool(self) -> BaseTool[BaseModel, BaseModel]:
        def refuse() -> str:
            raise PermissionError("no")

        return FunctionTool(refuse, name=self.name, description=self.description, strict=True)


TO_B: list[Turn] = [[("transfer_to_b", {})]]


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the error that nobody fetches
async def test_an_exception_from_a_hand_off_hangs_the_agent() -> None:
    assert await hangs(assistant("a", TO_B, handoffs=[Refused(target="b")]).run(task="go"))


async def test_a_hand_off_whose_tool_says_no_happens_all_the_same() -> None:
    def no() -> str:
        return "no"

    class SaysNo(Handoff):
        @property
        def handoff_tool(self) -> BaseTool[BaseModel, BaseModel]:
            return FunctionTool(no, name=self.name, description=self.description)

    result = await drive(assistant("a", TO_B, handoffs=[SaysNo(target="b")]))
    assert isinstance(result.messages[-1], HandoffMessage)


async def test_a_hand_off_does_not_go_through_the_workbench() -> None:
    seen: list[str] = []

    class Sees(StaticStreamWorkbench):
        def call_tool_stream(self, name: str, *args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            return super().call_tool_stream(name, *args, **kwargs)

    bench = Sees([FunctionTool(whose, description="")])
    script: list[Turn] = [[("whose", {}), ("transfer_to_b", {})]]
    result = await drive(assistant("a", script, workbench=bench, handoffs=["b"]))
    assert seen == ["whose"]
    assert isinstance(result.messages[-1], HandoffMessage)


async def test_a_hand_off_that_is_not_there_is_answered_as_an_unknown_tool() -> None:
    result = await drive(assistant("a", TO_B, handoffs=[]))
    (answer,) = answers(result)
    assert answer.is_error
    assert "not found" in answer.content
    assert not isinstance(result.messages[-1], HandoffMessage)


async def test_a_synchronous_function_loses_what_is_around() -> None:
    AROUND.set("A")
    result = await drive(assistant("a", [[("whose", {}), ("whose_sync", {})]], tools=[whose, whose_sync]))
    assert [answer.content for answer in answers(result)] == ["A", "nothing"]


async def test_what_is_around_a_caller_is_around_the_agents_it_calls() -> None:
    inner = assistant("inner", [[("whose", {})], "said"], tools=[whose])
    outer = assistant("outer", [[("inner", {"task": "go"})]], tools=[AgentTool(inner)])
    AROUND.set("A")
    assert "A" in [answer.content for answer in answers(await drive(outer))]


async def test_a_stream_made_under_one_runs_under_who_reads_it() -> None:
    agent = assistant("a", [[("whose", {})]], tools=[whose])
    AROUND.set("A")
    events = agent.run_stream(task="go")
    AROUND.set("B")
    last = [event async for event in events][-1]
    assert isinstance(last, TaskResult)
    assert [answer.content for answer in answers(last)] == ["B"]


async def test_a_runtime_that_was_started_under_one_runs_others_under_that() -> None:
    AROUND.set("A")
    runtime = SingleThreadedAgentRuntime()
    runtime.start()
    AROUND.set("B")
    team = RoundRobinGroupChat(
        [assistant("a", [[("whose", {})]], tools=[whose])], max_turns=1, runtime=runtime
    )
    assert [answer.content for answer in answers(await drive(team))] == ["A"]
    await runtime.stop()


async def test_what_a_stream_tool_sets_leaks_to_who_reads_it() -> None:
    stream = StaticStreamWorkbench([Upto(lambda number: AROUND.set(f"tool {number}"))]).call_tool_stream(
        "upto", {"by": 2}
    )
    await anext(stream)
    assert AROUND.get().startswith("tool")
    await stream.aclose()


async def test_a_workbench_that_does_not_stream_loses_what_a_nested_agent_says() -> None:
    async def said(kind: type[StaticWorkbench]) -> list[str]:
        tool = AgentTool(assistant("inner", ["inner words"]))
        result = await drive(assistant("outer", [[("inner", {"task": "go"})]], workbench=kind([tool])))
        return [
            each.content
            for each in result.messages
            if isinstance(each, TextMessage) and each.source == "inner"
        ]

    assert await said(StaticStreamWorkbench) == ["inner words"]
    assert await said(StaticWorkbench) == []


@pytest.mark.filterwarnings("ignore:Intervention handler on_response:RuntimeWarning")  # of an empty answer
async def test_an_intervention_handler_sees_reports_of_a_tools_call_and_can_stop_none() -> None:
    dropped: list[str] = []

    class Drops(DefaultInterventionHandler):
        async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
            if type(message).__name__ != "GroupChatMessage" or "FunctionCall" not in repr(message):
                return message
            dropped.append(repr(message))
            return DropMessage

    ran: list[str] = []

    async def note(text: str) -> str:
        """Note."""
        ran.append(text)
        return text

    runtime = SingleThreadedAgentRuntime(intervention_handlers=[Drops()])
    runtime.start()
    agent = assistant("a", [[("note", {"text": "x"})]], tools=[note])
    await drive(RoundRobinGroupChat([agent], max_turns=1, runtime=runtime))
    await runtime.stop()
    assert ran == ["x"]
    assert dropped


def add(amount: int) -> str:
    """Add."""
    return str(amount)


def test_what_is_dumped_is_the_source_without_its_decorator() -> None:
    @functools.wraps(add)
    def guarded(amount: int) -> str:
        raise PermissionError

    dumped = FunctionTool(guarded, description="").dump_component()
    assert "raise PermissionError" not in dumped.config["source_code"]
    assert "return str(amount)" in dumped.config["source_code"]


def test_what_is_dumped_of_what_remit_guards_is_not_the_function() -> None:
    guarded = remit.requires_capability("add")(add)
    dumped = FunctionTool(guarded, description="").dump_component()
    assert "def guarded(" in dumped.config["source_code"]
    assert "return str(amount)" not in dumped.config["source_code"]


async def test_the_function_gets_validated_arguments_and_the_workbench_raw_ones() -> None:
    seen: list[Any] = []

    class Sees(StaticWorkbench):
        async def call_tool(
            self,
            name: str,
            arguments: Mapping[str, Any] | None = None,
            cancellation_token: CancellationToken | None = None,
            call_id: str | None = None,
        ) -> ToolResult:
            seen.append(dict(arguments or {}))
            return await super().call_tool(name, arguments, cancellation_token, call_id)

    def pay(amount: int, to: str = "nobody") -> str:
        """Pay."""
        seen.append({"amount": amount, "to": to})
        return "paid"

    bench = Sees([FunctionTool(pay, description="")])
    await drive(assistant("a", [[("pay", {"amount": "0900"})]], workbench=bench))
    assert seen == [{"amount": "0900"}, {"amount": 900, "to": "nobody"}]


def test_plain_wraps_does_not_resolve_the_annotations_of_another_module() -> None:
    space: dict[str, Any] = {}
    exec(  # noqa: S102 - a module of its own, as a library of tools is
        "from __future__ import annotations\nclass Kind(str): ...\ndef tool(kind: Kind) -> str:\n    return kind\n",
        space,
    )
    function = space["tool"]

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    with pytest.raises(NameError, match="Kind"):
        FunctionTool(wrapper, description="")


async def test_streaming_does_not_know_a_tool_by_its_other_name() -> None:
    bench = StaticStreamWorkbench(
        [FunctionTool(whose, description="")], {"whose": ToolOverride(name="who_is_it")}
    )
    assert not (await bench.call_tool("who_is_it")).is_error
    (streamed,) = [each async for each in bench.call_tool_stream("who_is_it")]
    assert streamed.is_error


async def test_a_task_that_a_tool_starts_outlives_the_run() -> None:
    left: list[asyncio.Task[str]] = []
    go = asyncio.Event()

    async def leave() -> str:
        """Leave a task behind."""

        async def later() -> str:
            await go.wait()
            return AROUND.get()

        left.append(asyncio.create_task(later()))
        return "left"

    AROUND.set("A")
    await drive(assistant("a", [[("leave", {})]], tools=[leave]))
    go.set()
    assert await left[0] == "A"


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the cancellation that nobody fetches
async def test_a_tool_that_is_cancelled_hangs_its_agent() -> None:
    started = asyncio.Event()

    async def slow() -> str:
        """Take long."""
        started.set()
        await asyncio.Event().wait()
        return "never"

    token = CancellationToken()
    running = asyncio.ensure_future(
        assistant("a", [[("slow", {})]], tools=[slow]).run(task="go", cancellation_token=token)
    )
    await started.wait()
    token.cancel()
    assert await hangs(running)


async def test_a_swarm_goes_where_the_hand_off_says() -> None:
    swarm = Swarm(
        [assistant("a", TO_B, handoffs=["b"]), assistant("b", ["here"])],
        max_turns=2,
    )
    assert [message.source for message in (await drive(swarm)).messages][-1] == "b"


def test_a_tool_class_keeps_its_state_with_itself() -> None:
    class Keeps(BaseTool[Step, Counted]):
        def __init__(self) -> None:
            super().__init__(Step, Counted, "keeps", "")
            self.count = 0

        async def run(self, args: Step, cancellation_token: CancellationToken) -> Counted:
            self.count += args.by
            return Counted(count=self.count)

    keeps = Keeps()
    bench = StaticStreamWorkbench([keeps])
    asyncio.run(bench.call_tool("keeps", {"by": 2}))
    assert keeps.count == 2
