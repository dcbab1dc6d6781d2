"""`guard_tools`: what a tool is guarded for, what it keeps, and what is refused."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from crewai.tools import BaseTool, tool
from crewai.tools.base_tool import Tool
from crewai.tools.tool_failure import ToolFailure, ToolFailurePolicy
from pydantic import BaseModel

import remit
from remit.testing.world import World

from .support import (
    ACME,
    QUOTES,
    Desk,
    Quoter,
    Team,
    agent_of,
    codes,
    guard_tools,
    guarded,
    task_of,
    told,
    trader,
)


class Priced(BaseModel):
    price: int


def test_everything_else_of_a_tool_is_kept(world: World) -> None:
    original = Desk().quoter(
        result_as_answer=True,
        max_usage_count=2,
        result_schema=Priced,
        tool_failure_policy=ToolFailurePolicy.IGNORE,
    )
    made = guarded(world, original, world.grant("q", QUOTES))
    assert isinstance(made, Quoter)
    assert (type(made).__name__, type(made).__qualname__) == (Quoter.__name__, Quoter.__qualname__)
    for field in set(Quoter.model_fields) - {"cache_function"}:
        assert getattr(made, field) == getattr(original, field), field
    assert list(type(made).model_fields) == list(Quoter.model_fields)
    dumped = made.model_dump(mode="json", exclude={"desk"})
    assert dumped["cache_function"] == "remit_crewai.tools.never_cached"
    assert "token" not in str(dumped)
    assert [made.run(symbol="ACME") for _ in range(2)] == ["ACME is at 42 EUR"] * 2
    assert "usage limit" in made.run(symbol="ACME").message
    assert original.current_usage_count == 0


def test_a_tool_of_a_function_is_of_its_class_and_has_its_schema(world: World) -> None:
    original: Any = Desk().trade
    made = guarded(world, original)
    assert type(made).__mro__ == type(original).__mro__
    assert made.args_schema is original.args_schema
    assert made.func.__name__ == "propose_trade"
    assert not hasattr(made.func, "__wrapped__")
    assert remit.capability_of(made.func) == "trades:propose"


def test_a_class_keeps_its_names_and_its_signatures_wherever_it_is_written(world: World) -> None:
    class Local(Quoter): ...

    original = Local(desk=Desk())
    made = guarded(world, original, world.grant("q", QUOTES))
    assert (type(made).__name__, type(made).__qualname__) == ("Local", Local.__qualname__)
    assert not any(hasattr(getattr(type(made), name), "__wrapped__") for name in ("_run", "_arun"))
    for name in ("_run", "_arun"):
        for new, old in ((made, original), (type(made), Local)):
            kept, had = (inspect.signature(getattr(each, name)).parameters for each in (new, old))
            assert [(each.name, each.default) for each in kept.values()] == [
                (each.name, each.default) for each in had.values()
            ]


def test_the_original_stays_as_it_was(world: World) -> None:
    desk = Desk()
    original = desk.quoter()
    before = dict(vars(original))
    made = guarded(world, original, world.grant("q", QUOTES))
    assert vars(original) == before
    assert original.run(symbol="INIT") == "INIT is at 42 EUR"
    made.name = "other"
    assert original.name == "quote"


def test_coroutine_functions_stay_so(world: World) -> None:
    async def get_price(symbol: str) -> str:
        """Say what a symbol costs."""
        return f"{symbol} is at 42"

    made = guarded(world, get_price, world.grant("q", "get_price"))
    assert inspect.iscoroutinefunction(made.func)
    assert made.run(symbol="ACME") == asyncio.run(made.arun(symbol="ACME")) == "ACME is at 42"


def test_a_default_that_was_left_out_need_not_be_granted_and_another_value_must_be(world: World) -> None:
    made = guarded(world, Desk().quoter(), world.grant("q", QUOTES))
    assert made.run(symbol="ACME") == "ACME is at 42 EUR"
    assert made.run(symbol="ACME", currency="USD").details["argument"] == "currency"
    strict = guarded(
        world, Desk().quoter(), world.grant("q", remit.Capability("quote", symbol="ACME", currency="USD"))
    )
    assert strict.run(symbol="ACME").details["argument"] == "currency"


def test_a_value_that_only_equals_the_default_was_passed(world: World) -> None:
    def count(times: Any = 1) -> str:
        """Count."""
        return repr(times)

    made = guarded(
        world, count, world.grant("c", remit.Capability("count", other=remit.Exact("x").optional()))
    )
    assert isinstance(made.run(times=True), ToolFailure)
    assert made.run(times=1) == "1"


def test_a_secret_is_in_no_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(secrets={"BROKER_KEY": "swordfish-41"})

    def call_broker(symbol: str, key: remit.Secret = remit.secret("BROKER_KEY")) -> str:
        """Call the broker."""
        return f"called with {key.reveal()}"

    class Broker(BaseTool):
        name: str = "call_broker"
        description: str = "Call the broker."

        @remit.requires_capability("call_broker")
        def _run(self, symbol: str, key: remit.Secret = remit.secret("BROKER_KEY")) -> str:
            return f"called with {key.reveal()}"

    credential = world.grant("b", "call_broker", secrets=["BROKER_KEY"])
    decorated = tool(remit.requires_capability("call_broker")(call_broker))
    for each in (Broker(), call_broker, decorated):
        made = guarded(world, each, credential)
        assert list(made.args_schema.model_fields) == ["symbol"]
        answer = made.run(symbol="ACME")
        assert answer.startswith("called with ")
        assert "swordfish" not in answer


def test_the_credential_is_nowhere_in_a_tool(world: World) -> None:
    credential = trader(world)
    made = guarded(world, Desk().quoter(), credential)
    shown = repr(made) + str(vars(made)) + str(made.__pydantic_private__) + str(vars(type(made)))
    assert credential.token not in shown
    assert "Credential" not in shown
    assert "Guard" not in shown


def test_session_and_task_are_bound(world: World) -> None:
    held = trader(world, session="s-1", task="t-1")
    desk = Desk()
    assert (
        guarded(world, desk.trade, held, session="s-1", task="t-1").run(symbol="ACME", amount=1)
        == "proposed 1 ACME"
    )
    for settings, code in (({"session": "s-2", "task": "t-1"}, "session"), ({"session": "s-1"}, "task")):
        assert (
            guarded(world, desk.trade, held, **settings).run(symbol="ACME", amount=1).details["code"]
            == f"{code}_mismatch"
        )


# ── which capability, and what is refused ──


class Declared(BaseTool):
    name: str = "declared"
    description: str = "Declares."
    __capability__: ClassVar[str] = "declared:it"

    def _run(self) -> str:
        return "done"


@pytest.mark.parametrize(
    ("each", "settings", "capability"),
    [
        (lambda desk: desk.trade, {}, "trades:propose"),
        (lambda desk: desk.bare, {}, "propose_trade"),
        (lambda desk: desk.bare, {"capability": "trades:other"}, "trades:other"),
        (lambda desk: tool("Propose a trade")(desk.bare), {}, "Propose a trade"),
        (lambda desk: desk.quoter(), {"capability": {"quote": "quotes:get"}}, "quotes:get"),
        (lambda desk: Declared(), {}, "declared:it"),
    ],
)
def test_what_a_tool_is_guarded_for(
    world: World, each: Callable[[Desk], Any], settings: dict[str, Any], capability: str
) -> None:
    made = guarded(world, each(Desk()), **settings)
    made._run(*[None] * len(made.args_schema.model_fields))
    assert world.audit.verdicts()[0][1] == capability


class Entry(Quoter):
    def run(self, *args: Any, **kwargs: Any) -> Any:
        return "around"


class Structured(Quoter):
    def to_structured_tool(self) -> Any:
        return None


class Halves(Quoter):
    @remit.requires_capability("quote")
    def _run(self, symbol: str, currency: str = "EUR") -> str:
        return "half"


def no_docstring() -> str:
    return ""


@pytest.mark.parametrize(
    "tools",
    [
        pytest.param(lambda desk: desk.trade, id="no list"),
        pytest.param(lambda desk: iter([desk.trade]), id="a generator"),
        pytest.param(lambda desk: [None], id="nothing"),
        pytest.param(lambda desk: [Quoter], id="a class"),
        pytest.param(lambda desk: ["quote"], id="a name"),
        pytest.param(lambda desk: [no_docstring], id="no docstring"),
        pytest.param(lambda desk: [desk.trade, desk.trade], id="twice the same name"),
        pytest.param(lambda desk: [Entry(desk=desk)], id="its own run"),
        pytest.param(lambda desk: [Structured(desk=desk)], id="its own structured tool"),
        pytest.param(lambda desk: [Halves(desk=desk)], id="decorated by halves"),
    ],
)
def test_what_cannot_be_guarded_is_refused(world: World, tools: Callable[[Desk], Any]) -> None:
    with pytest.raises(remit.ConfigError):
        guard_tools(tools(Desk()), world.guard, trader(world))


def test_a_tool_carries_one_credential(world: World) -> None:
    for each in (Desk().trade, Desk().quoter()):
        made = guarded(world, each)
        with pytest.raises(remit.ConfigError, match="already"):
            guarded(world, made)
        with pytest.raises(remit.ConfigError, match="already"):
            guarded(world, made.model_copy())
    with pytest.raises(remit.ConfigError, match="already"):
        guarded(world, guarded(world, Desk().trade).func)


@pytest.mark.parametrize("settings", [{"capability": {"other": "x:y"}}, {"capability": "no\nname"}])
def test_a_capability_that_makes_no_sense_is_refused(world: World, settings: dict[str, Any]) -> None:
    with pytest.raises(remit.ConfigError):
        guarded(world, Desk().bare, **settings)


def test_a_guard_and_a_credential_are_needed(world: World) -> None:
    for guard, credential in ((None, trader(world)), (world.guard, None)):
        with pytest.raises(remit.ConfigError):
            guard_tools([Desk().trade], guard, credential)


def test_tools_of_two_agents_of_one_crew_keep_apart(world: World) -> None:
    desk = Desk()
    may = agent_of("May", [[ACME]], [guarded(world, desk.trade)])
    may_not = agent_of(
        "May not", [[ACME]], [guarded(world, desk.trade, world.grant("other", "pricing:read"))]
    )
    output = Team(agents=[may, may_not], tasks=[task_of(may), task_of(may_not)]).kickoff()
    assert desk.done == [("trade", "ACME", 900)]
    assert codes(output) == ["capability_missing"]
    assert told(may) == ["proposed 900 ACME"]
    assert isinstance(may.tools[0], Tool)
