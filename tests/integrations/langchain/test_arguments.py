"""What is checked is what the function gets: validated, coerced, by parameter name, and nothing that is a secret."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import enum
import inspect
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import BaseTool, StructuredTool, tool
from pydantic import BaseModel, Field

import remit
from remit_langchain import CapabilityMiddleware, guard_tools

from .scripted import Turn
from .support import RUNS, World, answers, drive, model, verdicts

WAYS = ("guard_tools", "middleware")
CAPABILITY = "payments:send"


def agent_of(
    world: World, way: str, tools: list[Any], allowed: remit.Capability, *turns: Turn, **keywords: Any
) -> Any:
    credential = world.grant("payer", allowed, **keywords)
    if way == "guard_tools":
        return create_agent(model(*turns), guard_tools(tools, world.guard, credential))
    return create_agent(model(*turns), tools, middleware=[CapabilityMiddleware(world.guard, credential)])


class Payment(BaseModel):
    """A payment; the model calls the amount `amt`."""

    amount: int = Field(alias="amt")
    to: str = "nobody"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
def test_the_check_sees_coerced_values_under_their_own_names_with_defaults(way: str, how: str) -> None:
    """The model says `{"amt": "0900"}`, the function gets `{"amount": 900, "to": "nobody"}`."""
    world, done = World(), list[Any]()

    @remit.requires_capability(CAPABILITY)
    def send(amount: int, to: str) -> str:
        """Send money."""
        done.append((amount, to))
        return "sent"

    made = StructuredTool.from_function(send, args_schema=Payment)
    allowed = remit.Capability(CAPABILITY, amount=remit.Range(min=900, max=900), to="nobody")
    turns: list[Turn] = [
        [("send", {"amt": "0900"})],
        [("send", {"amt": 901})],
        [("send", {"amt": 900, "to": "me"})],
    ]
    messages = drive(agent_of(world, way, [made], allowed, *turns), how)
    assert verdicts(messages) == ["ok", "argument_denied", "argument_denied"]
    assert done == [(900, "nobody")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
def test_a_parameter_left_at_its_default_need_not_be_granted(way: str, how: str) -> None:
    """The schema fills in defaults, so the function is passed what the model did not pass."""
    world, done = World(), list[Any]()

    @remit.requires_capability(CAPABILITY)
    def send(amount: int, to: str = "nobody", *, note: str | None = None) -> str:
        """Send money."""
        done.append((amount, to, note))
        return "sent"

    allowed = remit.Capability(CAPABILITY, amount=remit.Range(max=10))
    turn: Turn = [
        ("send", {"amount": 1}),
        ("send", {"amount": 1, "to": "me"}),
        ("send", {"amount": 1, "note": "x"}),
    ]
    messages = drive(agent_of(world, way, [send], allowed, turn), how)
    assert verdicts(messages) == ["ok", "argument_denied", "argument_denied"]
    assert done == [(1, "nobody", None)]


@pytest.mark.parametrize("way", WAYS)
def test_a_default_is_checked_where_the_capability_names_it(way: str) -> None:
    world = World()

    @remit.requires_capability(CAPABILITY)
    def send(amount: int, to: str = "nobody") -> str:
        """Send money."""
        return "sent"

    allowed = remit.Capability(CAPABILITY, amount=remit.Range(max=10), to=remit.OneOf("somebody"))
    turn: Turn = [("send", {"amount": 1}), ("send", {"amount": 1, "to": "somebody"})]
    assert verdicts(drive(agent_of(world, way, [send], allowed, turn))) == ["argument_denied", "ok"]


class Currency(enum.Enum):
    EUR = "eur"
    USD = "usd"


class Account(BaseModel):
    iban: str
    currency: Currency


@dataclasses.dataclass
class Memo:
    text: str


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
def test_models_enums_dates_and_dataclasses_are_checked_in_their_json_form(way: str, how: str) -> None:
    world, done = World(), list[Any]()

    @remit.requires_capability(CAPABILITY)
    def send(account: Account, currency: Currency, on: dt.date, memo: Memo) -> str:
        """Send money."""
        done.append((account, currency, on, memo))
        return "sent"

    allowed = remit.Capability(
        CAPABILITY,
        account=remit.Fields(iban="DE1", currency="eur"),
        currency=remit.OneOf("eur"),
        on=remit.OneOf("2026-01-31"),
        memo=remit.Fields(text="hi"),
    )
    good: dict[str, Any] = {
        "account": {"iban": "DE1", "currency": "eur"},
        "currency": "eur",
        "on": "2026-01-31",
        "memo": {"text": "hi"},
    }
    bad: list[dict[str, Any]] = [
        {**good, "account": {"iban": "DE2", "currency": "eur"}},
        {**good, "account": {"iban": "DE1", "currency": "usd"}},
        {**good, "currency": "usd"},
        {**good, "on": "2026-02-01"},
        {**good, "memo": {"text": "ho"}},
    ]
    turn: Turn = [("send", arguments) for arguments in (good, *bad)]
    messages = drive(agent_of(world, way, [send], allowed, turn), how)
    assert verdicts(messages) == ["ok", *["argument_denied"] * 5]
    ((account, currency, on, memo),) = done
    assert (account, currency, on, memo) == (
        Account(iban="DE1", currency=Currency.EUR),
        Currency.EUR,
        dt.date(2026, 1, 31),
        Memo("hi"),
    )


@pytest.mark.parametrize("how", RUNS)
def test_a_tool_with_a_json_schema_is_checked_on_what_it_is_passed(how: str) -> None:
    """As tools of an MCP server come: a dictionary for a schema, and a coroutine that takes anything."""
    world, done = World(), list[Any]()

    async def call_tool(**arguments: Any) -> str:
        done.append(arguments)
        return "sent"

    schema = {
        "type": "object",
        "properties": {"amount": {"type": "integer"}, "to": {"type": "string"}},
        "required": ["amount", "to"],
    }
    made = StructuredTool(name="send", description="Send.", args_schema=schema, coroutine=call_tool)
    allowed = remit.Capability("send", amount=remit.Range(max=10), to="me")
    turn: Turn = [
        ("send", {"amount": 1, "to": "me"}),
        ("send", {"amount": 99, "to": "me"}),
        ("send", {"amount": 1, "to": "me", "extra": True}),
    ]
    agent = agent_of(world, "guard_tools", [made], allowed, turn)
    if how in {"invoke", "stream"}:
        with pytest.raises(NotImplementedError):
            drive(agent, how)
        assert done == []
    else:
        assert verdicts(drive(agent, how)) == ["ok", "argument_denied", "argument_denied"]
        assert done == [{"amount": 1, "to": "me"}]


def test_the_function_runs_on_a_copy_that_nobody_else_can_change() -> None:
    world, got = World(), list[Any]()

    @remit.requires_capability(CAPABILITY)
    def send(amounts: list[int]) -> str:
        """Send money."""
        got.append(amounts)
        return "sent"

    (made,) = guard_tools([send], world.guard, world.grant("payer", CAPABILITY))
    mine = [1, 2]
    assert isinstance(made, StructuredTool)
    assert made.func is not None
    made.func(amounts=mine)
    mine.append(3)
    assert got == [[1, 2]]


def test_positional_arguments_are_checked_by_name() -> None:
    world, done = World(), list[Any]()

    class Sender(BaseTool):
        name: str = "send"
        description: str = "Send money."

        def _run(self, amount: int, to: str) -> str:
            done.append((amount, to))
            return "sent"

    allowed = remit.Capability("send", amount=remit.Range(max=10), to="me")
    (made,) = guard_tools([Sender()], world.guard, world.grant("payer", allowed))
    assert made._run(1, "me") == "sent"
    for arguments in [(11, "me"), (1, "you")]:
        with pytest.raises(remit.CapabilityDenied):
            made._run(*arguments)
    assert done == [(1, "me")]


CANARY = "canary-9f2c-secret"
BANK_KEY = remit.secret("BANK_KEY")


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("BANK_KEY", CANARY)
    return World(secrets={"BANK_KEY": "env://BANK_KEY"})


def paying(done: list[Any]) -> Any:
    @remit.requires_capability(CAPABILITY)
    def send(amount: int, key: remit.Secret = BANK_KEY) -> str:
        """Send money."""
        done.append((amount, key.reveal()))
        return "sent"

    return send


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
def test_a_secret_reaches_the_tool_and_never_the_model(vault: World, way: str, how: str) -> None:
    done: list[Any] = []
    chat = model([("send", {"amount": 1})])
    credential = vault.grant("payer", CAPABILITY, secrets=["BANK_KEY"])
    tools: list[Any] = [paying(done)]
    if way == "guard_tools":
        agent: Any = create_agent(chat, guard_tools(tools, vault.guard, credential))
    else:
        agent = create_agent(chat, tools, middleware=[CapabilityMiddleware(vault.guard, credential)])
    messages = drive(agent, how)
    assert (verdicts(messages), done) == (["ok"], [(1, CANARY)])
    (schema,) = chat.schemas
    assert list(schema["function"]["parameters"]["properties"]) == ["amount"]
    assert CANARY not in repr((chat.schemas, chat.shown, messages))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", RUNS)
def test_the_model_cannot_pass_a_secret(vault: World, way: str, how: str) -> None:
    """Neither by the name that it does not see, nor where somebody's own schema has the name after all."""

    class Loose(BaseModel):
        amount: int
        key: str = "guessed"

    done: list[Any] = []
    loose = StructuredTool.from_function(paying(done), name="loose", args_schema=Loose)
    turn: Turn = [("send", {"amount": 1, "key": "guessed"}), ("loose", {"amount": 2, "key": "guessed"})]
    allowed = remit.Capability(CAPABILITY, amount=remit.Range(max=10))
    agent = agent_of(vault, way, [tool(paying(done)), loose], allowed, turn, secrets=["BANK_KEY"])
    assert verdicts(drive(agent, how)) == ["ok", "argument_denied"]
    assert done == [(1, CANARY)]


@pytest.mark.parametrize("way", WAYS)
def test_without_the_grant_of_the_secret_the_call_is_denied(vault: World, way: str) -> None:
    done: list[Any] = []
    agent = agent_of(vault, way, [paying(done)], remit.Capability(CAPABILITY), [("send", {"amount": 1})])
    assert (verdicts(drive(agent)), done) == (["secret_denied"], [])


@pytest.mark.parametrize("way", WAYS)
def test_annotations_from_the_future_are_resolved(way: str) -> None:
    """This file's annotations are strings; `Account` and `Annotated` must mean in the schema what they mean here."""
    world = World()

    @remit.requires_capability(CAPABILITY)
    def send(account: Account, amount: Annotated[int, Field(gt=0, description="How much.")]) -> str:
        """Send money."""
        return account.iban

    arguments = {"account": {"iban": "DE1", "currency": "eur"}, "amount": 1}
    turn: Turn = [("send", arguments), ("send", {**arguments, "amount": 0})]
    agent = agent_of(world, way, [send], remit.Capability(CAPABILITY), turn)
    messages = drive(agent)
    assert verdicts(messages) == ["ok", "error"]
    assert answers(messages)[0].content == "DE1"


def test_a_coroutine_stays_one() -> None:
    world = World()

    async def send(amount: int) -> str:
        """Send money."""
        await asyncio.sleep(0)
        return "sent"

    (made,) = guard_tools([send], world.guard, world.grant("payer", "send"))
    assert isinstance(made, StructuredTool)
    assert made.func is None
    assert inspect.iscoroutinefunction(made.coroutine)
