"""What LangChain and LangGraph inject into a tool arrives, is not checked, and is nothing the model may pass."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.tools import InjectedState, InjectedStore, ToolRuntime
from langchain_core.callbacks import Callbacks
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import (
    InjectedToolArg,
    InjectedToolCallId,
)
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

import remit
from remit_langchain import CapabilityMiddleware, guard_tools

from .scripted import Turn
from .support import RUNS, World, drive, model, verdicts

CAPABILITY = "records:read"
WAYS = ("guard_tools", "middleware")


def agent_of(way: str, tools: list[Any], *turns: Turn, allowed: Any = CAPABILITY, **keywords: Any) -> Any:
    """An agent whose tools are guarded in one of the two ways."""
    world = World()
    credential = world.grant("reader", allowed)
    if way == "guard_tools":
        return create_agent(model(*turns), guard_tools(tools, world.guard, credential), **keywords)
    middleware = [CapabilityMiddleware(world.guard, credential)]
    return create_agent(model(*turns), tools, middleware=middleware, **keywords)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
def test_what_the_framework_injects_arrives_and_is_no_argument(way: str, how: str) -> None:
    """Neither is it checked, nor may the model pass it, nor does it see it."""
    got: dict[str, Any] = {}

    @remit.requires_capability(CAPABILITY)
    def read(
        record: str,
        *,
        config: RunnableConfig,
        runtime: ToolRuntime,
        state: Annotated[dict[str, Any], InjectedState],
        messages: Annotated[list[Any], InjectedState("messages")],
        store: Annotated[BaseStore, InjectedStore()],
        call_id: Annotated[str, InjectedToolCallId],
        tenant: Annotated[str, InjectedToolArg] = "acme",
        callbacks: Callbacks = None,
    ) -> str:
        """Read one record."""
        got.update(
            thread=config.get("configurable", {})["thread_id"],
            runtime=runtime.tool_call_id,
            state=len(state["messages"]),
            messages=len(messages),
            store=store,
            call_id=call_id,
            tenant=tenant,
            callbacks=callbacks is not None,
        )
        return f"read {record}"

    store = InMemoryStore()
    allowed = remit.Capability(CAPABILITY, record="r")
    forged = {"record": "r", "call_id": "forged", "tenant": "other", "state": {}, "config": {}, "runtime": {}}
    agent = agent_of(way, [read], [("read", forged)], allowed=allowed, store=store)
    messages = drive(agent, how, {"configurable": {"thread_id": "th-1"}})
    assert verdicts(messages) == ["ok"], messages
    assert got == {
        "thread": "th-1",
        "runtime": "call-0-0",
        "state": 2,
        "messages": 2,
        "store": store,
        "call_id": "call-0-0",
        "tenant": "acme",
        "callbacks": True,
    }


@pytest.mark.parametrize("way", WAYS)
def test_what_is_injected_is_not_in_the_schema(way: str) -> None:
    @remit.requires_capability(CAPABILITY)
    def read(record: str, runtime: ToolRuntime, state: Annotated[dict[str, Any], InjectedState]) -> str:
        """Read one record."""
        return record

    chat = model([("read", {"record": "r"})])
    world = World()
    credential = world.grant("reader", CAPABILITY)
    if way == "guard_tools":
        agent = create_agent(chat, guard_tools([read], world.guard, credential))
    else:
        agent = create_agent(chat, [read], middleware=[CapabilityMiddleware(world.guard, credential)])
    drive(agent)
    (schema,) = chat.schemas
    assert list(schema["function"]["parameters"]["properties"]) == ["record"]
