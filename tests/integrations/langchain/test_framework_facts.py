"""What LangChain and LangGraph do, and why the adapter is as it is.

Nothing here tests Remit. A test that fails after an upgrade says which reason has gone or changed.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ToolCallRequest, ToolRetryMiddleware
from langchain.tools import ToolRuntime
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import CachePolicy, Command, RetryPolicy
from pydantic import BaseModel, Field

from .scripted import Turn, said
from .support import Context, answers, dangling, drive, model

AROUND: contextvars.ContextVar[str] = contextvars.ContextVar("around", default="nothing")


def whose(**_: Any) -> str:
    """Say what is around."""
    return AROUND.get()


WHOSE: Turn = [("whose", {})]


class Sees(AgentMiddleware[Any, Any, Any]):
    """Has the synchronous half only."""

    tools = ()

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        self.seen.append(request.tool_call["args"])
        return handler(request)


class Payment(BaseModel):
    """A payment."""

    amount: int = Field(alias="amt")
    to: str = "nobody"


def test_middleware_sees_raw_arguments_and_the_function_validated_ones() -> None:
    got: list[Any] = []

    @tool(args_schema=Payment)
    def pay(amount: int, to: str) -> str:
        """Pay."""
        got.append((amount, to))
        return "paid"

    sees = Sees()
    drive(create_agent(model([("pay", {"amt": "0900"})]), [pay], middleware=[sees]))
    assert (sees.seen, got) == ([{"amt": "0900"}], [(900, "nobody")])


def test_one_wrap_alone_fails_on_the_other_path() -> None:
    agent = create_agent(model(WHOSE), [whose], middleware=[Sees()])
    with pytest.raises(NotImplementedError, match="awrap_tool_call"):
        drive(agent, "ainvoke")


class Refuses(AsyncCallbackHandler):
    raise_error = True

    def __init__(self) -> None:
        self.asked = 0

    async def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
        self.asked += 1
        raise PermissionError("no")


def test_a_callback_cannot_keep_a_tool_from_running() -> None:
    done: list[str] = []

    def work() -> str:
        """Work."""
        done.append("worked")
        return "worked"

    refuses = Refuses()
    try:
        tool(work).invoke({}, {"callbacks": [refuses]})
    except PermissionError:
        done.append("and then it was refused")
    assert refuses.asked == 1
    assert done[0] == "worked"


def test_an_error_ends_the_run_after_the_siblings_effects_and_leaves_calls_dangling() -> None:
    done: list[str] = []

    def work() -> str:
        """Work."""
        done.append("worked")
        return "worked"

    def fail() -> str:
        """Fail."""
        raise PermissionError("no")

    agent: Any = create_agent(model([("work", {}), ("fail", {})]), [work, fail], checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    with pytest.raises(PermissionError):
        drive(agent, "invoke", config)
    assert done == ["worked"]
    assert "call-0-1" in dangling(agent.get_state(config).values["messages"])


def test_a_permission_error_is_retried_by_tool_retry_middleware_and_not_by_the_default_policy() -> None:
    tries: list[str] = []

    def fail() -> str:
        """Fail."""
        tries.append("tried")
        raise PermissionError("no")

    retries = ToolRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    drive(create_agent(model([("fail", {})]), [fail], middleware=[retries]))
    assert len(tries) == 3

    tries.clear()
    graph = StateGraph(MessagesState)
    policy = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False)
    graph.add_node("tools", ToolNode([fail]), retry_policy=policy)
    graph.add_edge(START, "tools")
    with pytest.raises(PermissionError):
        graph.compile().invoke({"messages": [said([("fail", {})])]})
    assert len(tries) == 1


def test_a_tool_node_that_handles_errors_rewords_them() -> None:
    def fail() -> str:
        """Fail."""
        raise PermissionError("You may not.")

    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([fail], handle_tool_errors=True))
    graph.add_edge(START, "tools")
    state: Any = graph.compile().invoke({"messages": [said([("fail", {})])]})
    (message,) = answers(state["messages"])
    assert message.content != "You may not."
    assert (message.status, message.artifact) == ("error", None)


def nested(inner: Any) -> Callable[[], str]:
    def ask() -> str:
        """Ask the other agent."""
        return str(answers(inner.invoke({"messages": [("user", "go")]})["messages"])[0].content)

    return ask


def test_what_is_around_the_caller_is_around_a_nested_agent_and_who_consumes_a_stream() -> None:
    inner: Any = create_agent(model(WHOSE), [tool(whose)])
    outer: Any = create_agent(model([("ask", {})]), [nested(inner)])
    before = AROUND.set("the caller's")
    try:
        assert answers(drive(outer))[0].content == "the caller's"
        stream = inner.stream({"messages": [("user", "go")]}, stream_mode="values")
        AROUND.set("the consumer's")
        assert answers(list(stream)[-1]["messages"])[0].content == "the consumer's"
    finally:
        AROUND.reset(before)


def test_a_raw_thread_loses_what_is_around() -> None:
    got: list[str] = []
    before = AROUND.set("the caller's")
    try:
        thread = threading.Thread(target=lambda: got.append(AROUND.get()))
        thread.start()
        thread.join()
        sync, on_loop = (
            drive(create_agent(model(WHOSE), [whose])),
            drive(create_agent(model(WHOSE), [whose]), "ainvoke"),
        )
    finally:
        AROUND.reset(before)
    assert got == ["nothing"]
    assert [answers(messages)[0].content for messages in (sync, on_loop)] == ["the caller's"] * 2


class Notes(BaseCallbackHandler):
    """Keeps the metadata of each tool call."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, Any]] = []

    def on_tool_start(self, *args: Any, metadata: Any = None, **kwargs: Any) -> None:
        self.metadata.append(dict(metadata or {}))


def test_the_name_in_the_metadata_is_what_the_caller_says_and_the_namespace_what_the_runtime_says() -> None:
    inner: Any = create_agent(model(WHOSE), [whose])
    outer: Any = create_agent(model([("ask", {})]), [nested(inner)], name="outer")
    notes = Notes()
    spoofed = {"lc_agent_name": "admin", "langgraph_checkpoint_ns": "admin:1"}
    drive(outer, "invoke", {"metadata": spoofed, "callbacks": [notes]})
    asked, inside = notes.metadata
    assert asked["lc_agent_name"] == "admin"
    assert [given["langgraph_checkpoint_ns"].count("|") for given in (asked, inside)] == [0, 1]
    assert "admin" not in asked["langgraph_checkpoint_ns"] + inside["langgraph_checkpoint_ns"]


def test_a_nested_agent_inherits_the_context() -> None:
    got: list[Any] = []

    def look(runtime: ToolRuntime[Any, Any]) -> str:
        """Look at the context."""
        got.append(runtime.context)
        return "seen"

    inner: Any = create_agent(model([("look", {})]), [look])
    drive(
        create_agent(model([("ask", {})]), [nested(inner)], context_schema=Context),
        context={"agent": "the caller"},
    )
    assert got == [{"agent": "the caller"}]


def test_configuration_and_tool_metadata_are_told_to_callbacks_and_written_to_checkpoints() -> None:
    notes, saver = Notes(), InMemorySaver()
    made = tool(whose)
    made.metadata = {"held": "canary-tool"}
    agent: Any = create_agent(model(WHOSE), [made], checkpointer=saver)
    config: RunnableConfig = {
        "configurable": {"thread_id": "t", "held": "canary-configurable"},
        "metadata": {"told": "canary-metadata"},
        "callbacks": [notes],
    }
    drive(agent, "invoke", config)
    (told,) = notes.metadata
    assert {"canary-tool", "canary-metadata"} <= {value for value in told.values() if isinstance(value, str)}
    written = repr([saved.metadata for saved in saver.list(None)])
    assert "canary-metadata" in written
    assert "canary-configurable" in written


def test_a_node_cache_that_is_shared_serves_one_what_was_fetched_for_the_other() -> None:
    cache: InMemoryCache[Any] = InMemoryCache()
    question = said([("whose", {})])

    def ask(name: str) -> Any:
        graph = StateGraph(MessagesState)
        graph.add_node("tools", ToolNode([whose]), cache_policy=CachePolicy())
        graph.add_edge(START, "tools")
        before = AROUND.set(name)
        try:
            return answers(graph.compile(cache=cache).invoke({"messages": [question]})["messages"])[0].content
        finally:
            AROUND.reset(before)

    assert [ask("ann"), ask("bob")] == ["ann", "ann"]


def test_parallel_calls_on_a_loop_run_in_contexts_of_their_own() -> None:
    """So that what one call binds is not bound for its siblings."""
    met: list[str] = []

    async def run() -> Any:
        meeting = asyncio.Barrier(2)

        async def mark(name: str) -> str:
            """Mark what is around, and look whether it stays so."""
            AROUND.set(name)
            await meeting.wait()
            met.append(name)
            return AROUND.get()

        agent: Any = create_agent(model([("mark", {"name": "a"}), ("mark", {"name": "b"})]), [mark])
        return await agent.ainvoke({"messages": [("user", "go")]})

    state = asyncio.run(run())
    assert [message.content for message in answers(state["messages"])] == ["a", "b"]
    assert sorted(met) == ["a", "b"]
