"""All else that a tool was, it still is when it is guarded or its agent has the middleware."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForToolRun
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import (
    BaseTool,
    InjectedToolCallId,
    StructuredTool,
    ToolException,
    create_retriever_tool,
    tool,
)
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt
from pydantic import BaseModel, Field

import remit
from remit_langchain import CapabilityMiddleware, guard_tools

from .scripted import Turn
from .support import RUNS, World, answers, drive, model, verdicts

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


class ReadArgs(BaseModel):
    """What to read."""

    record: str = Field(description="Its number.")


class Handler(BaseCallbackHandler):
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self.events.append(
            ("start", input_str, kwargs["inputs"], kwargs["tags"], kwargs["metadata"].get("team"))
        )

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        self.events.append(("end", getattr(output, "content", output)))

    def on_tool_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append(("error", type(error).__name__))


FIELDS = (
    "name",
    "description",
    "args_schema",
    "return_direct",
    "verbose",
    "callbacks",
    "tags",
    "metadata",
    "handle_tool_error",
    "handle_validation_error",
    "response_format",
    "extras",
)


def handled(error: Any) -> str:
    return f"handled {type(error).__name__}"


@pytest.mark.parametrize("decorated", [True, False])
def test_every_field_is_kept(decorated: bool) -> None:
    world, handler = World(), Handler()

    def read(record: str) -> tuple[str, str]:
        """Read one record."""
        return "read", record

    original = StructuredTool.from_function(
        remit.requires_capability(CAPABILITY)(read) if decorated else read,
        name="read_record",
        description="Read one record, please.",
        args_schema=ReadArgs,
        return_direct=True,
        response_format="content_and_artifact",
        handle_tool_error=handled,
        handle_validation_error=handled,
        tags=["t"],
        metadata={"team": "records"},
        callbacks=[handler],
        extras={"defer_loading": True},
    )
    (made,) = guard_tools([original], world.guard, world.grant("reader", CAPABILITY), capability=CAPABILITY)
    assert {name: getattr(made, name) for name in FIELDS} == {
        name: getattr(original, name) for name in FIELDS
    }
    assert isinstance(made, StructuredTool)
    assert (type(made).__name__, type(made).__module__) == (
        StructuredTool.__name__,
        StructuredTool.__module__,
    )
    assert made.args == original.args
    assert made.tool_call_schema.__doc__ == original.tool_call_schema.__doc__
    assert made.is_single_input
    call: Any = {"name": "read_record", "args": {"record": "r"}, "id": "c", "type": "tool_call"}
    answer = made.invoke(call)
    assert (answer.content, answer.artifact, answer.status) == ("read", "r", "success")
    assert handler.events == [
        ("start", "{'record': 'r'}", {"record": "r"}, ["t"], "records"),
        ("end", "read"),
    ]


def test_the_fields_of_a_tool_class_are_kept() -> None:
    class Reader(BaseTool):
        name: str = "read"
        description: str = "Read one record."
        prefix: str
        seen: list[str] = Field(default_factory=list, exclude=True)

        def _run(self, record: str, run_manager: CallbackManagerForToolRun | None = None) -> str:
            assert run_manager is not None
            self.seen.append(record)
            return self.prefix + record

    world, original = World(), Reader(prefix="no. ")
    allowed = remit.Capability(CAPABILITY, record=remit.OneOf("7"))
    (made,) = guard_tools([original], world.guard, world.grant("reader", allowed), capability=CAPABILITY)
    assert isinstance(made, Reader)
    assert (made.prefix, made.invoke({"record": "7"})) == ("no. ", "no. 7")
    assert asyncio.run(made.ainvoke({"record": "7"})) == "no. 7"
    assert made.seen == original.seen == ["7", "7"]
    with pytest.raises(remit.Denied):
        made.invoke({"record": "8"})


def test_what_is_changed_on_the_new_tool_is_not_changed_on_the_original() -> None:
    world = World()

    def read(record: str) -> str:
        """Read one record."""
        return record

    original = tool(read)
    (made,) = guard_tools([original], world.guard, world.grant("reader", "read"))
    made.description, made.name = "Read.", "other"
    schemas: list[Any] = [original.tool_call_schema, made.tool_call_schema]
    shown = [(schema.__name__, schema.model_json_schema()["description"]) for schema in schemas]
    assert shown == [("read", "Read one record."), ("other", "Read.")]
    assert made.model_fields_set >= original.model_fields_set


def test_a_denied_call_is_an_error_to_callbacks() -> None:
    world, handler = World(), Handler()

    def read(record: str) -> str:
        """Read one record."""
        return record

    (made,) = guard_tools([tool(read)], world.guard, world.grant("reader", "other"), capability=CAPABILITY)
    call: Any = {"name": "read", "args": {"record": "r"}, "id": "c", "type": "tool_call"}
    answer = made.invoke(call, {"callbacks": [handler]})
    assert (answer.status, answer.artifact["code"]) == ("error", "capability_missing")
    assert handler.events[-1] == ("error", "CapabilityDenied")


def test_without_a_tool_call_a_denial_is_raised() -> None:
    """An answer could be taken for a result."""
    world = World()

    def read(record: str) -> str:
        """Read one record."""
        return record

    made = tool(read)
    made.handle_tool_error = True
    (made,) = guard_tools([made], world.guard, world.grant("reader", "other"), capability=CAPABILITY)
    for route in (made.invoke, made.run, lambda given: asyncio.run(made.ainvoke(given))):
        with pytest.raises(remit.CapabilityDenied):
            route({"record": "r"})


def test_with_exit_behavior_error_a_tool_call_raises_too() -> None:
    world = World()

    def read(record: str) -> str:
        """Read one record."""
        return record

    (made,) = guard_tools(
        [read], world.guard, world.grant("reader", "other"), capability=CAPABILITY, exit_behavior="error"
    )
    call: Any = {"name": "read", "args": {"record": "r"}, "id": "c", "type": "tool_call"}
    with pytest.raises(remit.CapabilityDenied):
        made.invoke(call)
    with pytest.raises(remit.CapabilityDenied):
        asyncio.run(made.ainvoke(call))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
def test_content_and_artifact_survives(way: str, how: str) -> None:
    @tool(response_format="content_and_artifact")
    @remit.requires_capability(CAPABILITY)
    def read(record: str) -> tuple[str, dict[str, str]]:
        """Read one record."""
        return f"read {record}", {"id": record}

    allowed = remit.Capability(CAPABILITY, record="r")
    turn: Turn = [("read", {"record": "r"}), ("read", {"record": "other"})]
    messages = drive(agent_of(way, [read], turn, allowed=allowed), how)
    assert verdicts(messages) == ["ok", "argument_denied"]
    assert [message.artifact["id"] for message in answers(messages)[:1]] == ["r"]
    assert answers(messages)[0].content == "read r"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
def test_return_direct_survives(way: str, how: str) -> None:
    @tool(return_direct=True)
    @remit.requires_capability(CAPABILITY)
    def read(record: str) -> str:
        """Read one record."""
        return f"read {record}"

    messages = drive(agent_of(way, [read], [("read", {"record": "r"})]), how)
    assert isinstance(messages[-1], ToolMessage)
    assert messages[-1].content == "read r"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize("handling", [True, "it failed", handled])
def test_handle_tool_error_handles_the_tool_s_errors_and_no_denial(way: str, how: str, handling: Any) -> None:
    @remit.requires_capability(CAPABILITY)
    def read(record: str) -> str:
        """Read one record."""
        raise ToolException(f"no record {record}")

    made = StructuredTool.from_function(read, handle_tool_error=handling)
    allowed = remit.Capability(CAPABILITY, record="r")
    turn: Turn = [("read", {"record": "r"}), ("read", {"record": "other"})]
    messages = drive(agent_of(way, [made], turn, allowed=allowed), how)
    assert verdicts(messages) == ["error", "argument_denied"]
    expected = {True: "no record r", "it failed": "it failed", handled: "handled ToolException"}[handling]
    assert answers(messages)[0].content == expected


@pytest.mark.parametrize("way", WAYS)
def test_handle_validation_error_survives(way: str) -> None:
    @remit.requires_capability(CAPABILITY)
    def read(record: int) -> str:
        """Read one record."""
        return str(record)

    made = StructuredTool.from_function(read, handle_validation_error=handled)
    messages = drive(agent_of(way, [made], [("read", {"record": "x"})]))
    assert [message.content for message in answers(messages)] == ["handled ValidationError"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
def test_a_command_passes_through(way: str, how: str) -> None:
    @remit.requires_capability(CAPABILITY)
    def read(record: str, call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Read one record."""
        return Command(update={"messages": [ToolMessage(f"read {record}", tool_call_id=call_id)]})

    messages = drive(agent_of(way, [read], [("read", {"record": "r"})]), how)
    assert [message.content for message in answers(messages)] == ["read r"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
def test_an_interrupt_passes_through_and_the_call_is_checked_again_when_resumed(way: str, how: str) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    @remit.requires_capability(CAPABILITY)
    def read(record: str) -> str:
        """Read one record."""
        return f"read {record}: {interrupt('sure?')}"

    agent = agent_of(way, [read], [("read", {"record": "r"})], checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "th-1"}}
    assert answers(drive(agent, how, config)) == []
    assert [i.value for i in agent.get_state(config).interrupts] == ["sure?"]
    resumed = agent.invoke(Command(resume="yes"), config)
    assert [message.content for message in answers(resumed["messages"])] == ["read r: yes"]


def test_a_retriever_tool_can_be_guarded() -> None:
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever

    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return [Document(f"about {query}")]

    world = World()
    made = create_retriever_tool(Shelf(), "search", "Search the shelf.")
    allowed = remit.Capability("shelf:search", query=remit.OneOf("trees"))
    credential = world.grant("reader", allowed)
    (guarded,) = guard_tools([made], world.guard, credential, capability="shelf:search")
    assert guarded.invoke({"query": "trees"}) == "about trees"
    assert asyncio.run(guarded.ainvoke({"query": "trees"})) == "about trees"
    with pytest.raises(remit.Denied):
        guarded.invoke({"query": "secrets"})


def test_a_tool_node_takes_guarded_tools_and_functions() -> None:
    world = World()

    def read(record: str) -> str:
        """Read one record."""
        return record

    made = guard_tools([read], world.guard, world.grant("reader", CAPABILITY), capability=CAPABILITY)
    node = ToolNode(made)
    assert node.tools_by_name == {"read": made[0]}
