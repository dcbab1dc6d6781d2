"""Tokens, holder keys and secrets, looked for wherever LangChain and LangGraph write things down.

Each place is also looked into for something that must be there, so that a search of nothing proves nothing.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_tool_call
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, dumps
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langgraph.checkpoint.memory import InMemorySaver

import remit
from remit_langchain import CapabilityMiddleware, cache_policy, guard_tools

from .scripted import Call, Turn
from .support import RUNS, World, drive, model, verdicts

WAYS = ("guard_tools", "middleware")
CANARY = "canary-51d0-secret"
BANK_KEY = remit.secret("BANK_KEY")
CALLS: list[Call] = [("pay", {"amount": 1, "memo": "find-me"}), ("pay", {"amount": 99, "memo": "find-me"})]


class Listener(BaseCallbackHandler):
    """Writes down all that every callback is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *args, **kwargs: self.heard.append((name, args, kwargs))
        return super().__getattribute__(name)


class Bank:
    """An agent that may pay, whose tool needs a secret, and all that must not be found."""

    def __init__(self, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BANK_KEY", CANARY)
        self.world = World(secrets={"BANK_KEY": "env://BANK_KEY"})
        allowed = remit.Capability("bank:pay", amount=remit.Range(max=10), memo=remit.Anything())
        self.credential = self.world.grant("payer", allowed, secrets=["BANK_KEY"])

        @remit.requires_capability("bank:pay")
        def pay(amount: int, memo: str, key: remit.Secret = BANK_KEY) -> str:
            """Pay, and tell what must not be told."""
            return f"paid with {key.reveal()}, {memo}"

        tool: BaseTool = StructuredTool.from_function(pay, metadata={"team": "find-me"}, tags=["find-me"])
        self.middleware: list[Any] = []
        if way == "guard_tools":
            (tool,) = guard_tools([tool], self.world.guard, self.credential)
        else:
            self.middleware = [CapabilityMiddleware(self.world.guard, self.credential)]
        self.tool = tool
        self.model = model(CALLS)
        self.saver = InMemorySaver()
        self.agent: Any = create_agent(
            self.model, [tool], middleware=self.middleware, checkpointer=self.saver
        )

    @property
    def canaries(self) -> list[str]:
        members = json.loads(self.credential.to_json())
        parts = [part for token in self.credential.chain for part in token.split(".")]
        return [CANARY, members["holder_key"]["d"], *parts]

    def look_into(self, *places: Any, expected: str = "find-me") -> None:
        texts = [place if isinstance(place, str) else repr(place) for place in places]
        assert not expected or any(expected in text for text in texts), "this is not where it would be found"
        for canary in self.canaries:
            assert not [text for text in texts if canary in text]


@pytest.fixture(params=WAYS)
def bank(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bank:
    return Bank(request.param, monkeypatch)


def octets(place: Any) -> Iterator[str]:
    """Every string and byte string inside, as text."""
    if isinstance(place, bytes):
        yield place.decode("latin-1")
    elif isinstance(place, str):
        yield place
    elif isinstance(place, dict):
        for item in place.items():
            yield from octets(item)
    elif isinstance(place, list | tuple | set):
        for item in place:
            yield from octets(item)
    else:
        yield repr(place)


FUNCTION = "func"
CONFIG: RunnableConfig = {"configurable": {"thread_id": "th-1"}}


@pytest.mark.parametrize("how", RUNS)
def test_nothing_is_in_the_checkpoints(bank: Bank, how: str) -> None:
    assert verdicts(drive(bank.agent, how, CONFIG)) == ["ok", "argument_denied"]
    kept = [
        *octets(dict(bank.saver.storage)),
        *octets(dict(bank.saver.writes)),
        *octets(dict(bank.saver.blobs)),
    ]
    bank.look_into(*kept, repr(list(bank.saver.list(None))))


@pytest.mark.parametrize("how", RUNS)
def test_nothing_is_in_state_messages_and_events(bank: Bank, how: str) -> None:
    messages = drive(bank.agent, how, CONFIG)
    bank.look_into(messages, dumps(messages), bank.model.shown, list(bank.agent.get_state_history(CONFIG)))


def test_nothing_is_in_what_is_streamed(bank: Bank) -> None:
    async def events() -> list[Any]:
        question = {"messages": [("user", "go")]}
        return [event async for event in bank.agent.astream_events(question, CONFIG, version="v2")]

    modes: Any = ["values", "updates", "messages", "debug", "tasks", "checkpoints", "custom"]
    bank.look_into(asyncio.run(events()))
    config: RunnableConfig = {"configurable": {"thread_id": "th-2"}}
    bank.look_into(list(bank.agent.stream({"messages": [("user", "go")]}, config, stream_mode=modes)))


@pytest.mark.parametrize("how", RUNS)
def test_nothing_is_told_to_callbacks_and_tracers(bank: Bank, how: str) -> None:
    listener, tracer = Listener(), RunCollectorCallbackHandler()
    drive(bank.agent, how, {**CONFIG, "callbacks": [listener, tracer]})
    assert {"on_tool_start", "on_tool_end", "on_tool_error"} <= {name for name, *_ in listener.heard}
    bank.look_into(*octets(listener.heard))
    bank.look_into(*(run.model_dump_json() for run in tracer.traced_runs))


def test_nothing_is_on_the_tool_as_far_as_it_can_be_printed_or_dumped(bank: Bank) -> None:
    tool = bank.tool
    places = [repr(tool), str(tool), tool.model_dump(), dict(tool), tool.metadata, tool.tags, tool.args]
    bank.look_into(*places, vars(tool), tool.get_input_jsonschema(), bank.model.schemas)
    bank.look_into(dumpd(tool), tool.model_dump_json(), expected="pay")
    assert tool.__pydantic_private__ is not None
    bank.look_into(tool.__pydantic_private__, vars(getattr(tool, FUNCTION)), repr(tool), expected="pay")


def test_nothing_is_in_what_the_middleware_shows(bank: Bank) -> None:
    bank.look_into(
        *map(repr, bank.middleware), *(repr(vars(middleware)) for middleware in bank.middleware), expected=""
    )
    graph = bank.agent.get_graph()
    bank.look_into(graph.to_json(), graph.draw_mermaid(), repr(bank.agent), expected="tools")


def test_nothing_is_in_what_later_middleware_is_given(bank: Bank) -> None:
    seen: list[str] = []

    @wrap_tool_call
    def look(request: Any, handler: Any) -> Any:
        seen.append(repr(request))
        return handler(request)

    one_by_one = model(CALLS[:1], CALLS[1:])
    agent = create_agent(one_by_one, [bank.tool], middleware=[*bank.middleware, look])
    drive(agent)
    assert len(seen) == 2
    bank.look_into(*seen)


def test_nothing_is_in_the_logs(bank: Bank, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("a-test").debug("find-me")
    drive(bank.agent, "ainvoke", CONFIG)
    bank.look_into(caplog.text)


def test_a_tool_that_carries_a_credential_is_copied_but_not_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = Bank("guard_tools", monkeypatch).tool
    assert copy.deepcopy(tool).name == tool.name
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(tool)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
def test_what_a_tool_tells_of_its_secret_is_cleaned_of_it(
    way: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In content, in an artifact, and in an error that the tool's own handling makes an answer of."""
    monkeypatch.setenv("BANK_KEY", CANARY)
    world = World(secrets={"BANK_KEY": "env://BANK_KEY"})

    @remit.requires_capability("bank:pay")
    def pay(amount: int, key: remit.Secret = BANK_KEY) -> tuple[str, dict[str, str]]:
        """Pay, and tell what must not be told."""
        if amount > 1:
            raise ToolException(f"no money for {key.reveal()}")
        return f"paid with {key.reveal()}", {"key": key.reveal()}

    tool: BaseTool = StructuredTool.from_function(
        pay, response_format="content_and_artifact", handle_tool_error=True
    )
    credential = world.grant("payer", "bank:pay", secrets=["BANK_KEY"])
    turn: Turn = [("pay", {"amount": 1}), ("pay", {"amount": 2})]
    if way == "guard_tools":
        agent: Any = create_agent(model(turn), guard_tools([tool], world.guard, credential))
    else:
        agent = create_agent(model(turn), [tool], middleware=[CapabilityMiddleware(world.guard, credential)])
    messages = drive(agent, how)
    assert verdicts(messages) == ["ok", "error"]
    assert "paid with" in repr(messages)
    assert "no money for" in repr(messages)
    assert CANARY not in repr(messages)


def test_the_middleware_is_not_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    (middleware,) = Bank("middleware", monkeypatch).middleware
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(middleware)


def test_the_cache_policy_shows_nothing(bank: Bank) -> None:
    policy = cache_policy(bank.credential)
    cells = [cell.cell_contents for cell in policy.key_func.__closure__ or ()]
    bank.look_into(
        repr(policy),
        policy.key_func("input"),
        *octets([c for c in cells if c is not bank.credential]),
        expected="",
    )


def test_a_denial_s_error_says_no_values(bank: Bank) -> None:
    """What is raised ends in traces and logs; it names the argument, not its value."""
    with bank.world.guard.acting_as(bank.credential), pytest.raises(remit.Denied) as denied:
        bank.tool.invoke({"amount": 12_345, "memo": "m"})
    bank.look_into(repr(denied.value), str(denied.value), repr(denied.value.to_dict()), expected="amount")
    assert "12345" not in str(denied.value) + repr(denied.value.to_dict())
