"""Step 11: the tool runs on a private copy of the very values that were checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from threading import Event, Thread
from typing import Any, Final

import pydantic
import pytest

import remit

from .support import World, refusal, verdict

guarded = remit.requires_capability("tool:use")
SMALL: Final = remit.Capability("tool:use", order=remit.Anything())


@guarded
def tool(order: Any) -> Any:
    return order


def _run(world: World, order: Any) -> Any:
    with world.guard.acting_as(world.issue()):
        return tool(order)


@dataclass
class Order:
    symbol: str
    rows: list[int] = field(default_factory=list)


class Model(pydantic.BaseModel):
    symbol: str
    rows: list[int] = []


MADE: Final[dict[str, Callable[[], Any]]] = {
    "list": lambda: [1, [2]],
    "dict": lambda: {"rows": [1]},
    "tuple of lists": lambda: ([1],),
    "dataclass": lambda: Order("ACME", [1]),
    "dataclass in a list": lambda: [Order("ACME", [1])],
    "pydantic model": lambda: Model(symbol="ACME", rows=[1]),
    "pydantic model in a dict": lambda: {"order": Model(symbol="ACME", rows=[1])},
}


def _spoil(value: Any) -> None:
    """Change whatever can be changed in place."""
    if isinstance(value, list):
        for item in value:
            _spoil(item)
        value.append(99)
    elif isinstance(value, tuple):
        for item in value:
            _spoil(item)
    elif isinstance(value, dict):
        for item in value.values():
            _spoil(item)
        value["evil"] = True
    elif isinstance(value, Order | Model):
        _spoil(value.rows)
        value.symbol = "EVIL"


@pytest.mark.parametrize("kind", MADE)
def test_what_the_tool_changes_is_its_own(world: World, kind: str) -> None:
    @guarded
    def spoiling(order: Any) -> None:
        _spoil(order)

    passed, same = MADE[kind](), MADE[kind]()
    with world.guard.acting_as(world.issue()):
        spoiling(passed)
    assert passed == same


@pytest.mark.parametrize("kind", MADE)
def test_what_the_caller_changes_while_the_tool_runs_is_not_what_the_tool_sees(
    world: World, kind: str
) -> None:
    passed, same = MADE[kind](), MADE[kind]()
    started, changed = Event(), Event()

    @guarded
    def slow(order: Any) -> Any:
        started.set()
        changed.wait(10)
        return order

    def change() -> None:
        started.wait(10)
        _spoil(passed)
        changed.set()

    thread = Thread(target=change)
    thread.start()
    with world.guard.acting_as(world.issue()):
        seen = slow(passed)
    thread.join()
    assert changed.is_set()
    assert seen == same
    assert passed != same


@pytest.mark.parametrize("kind", MADE)
def test_what_is_changed_between_a_permit_and_the_call_is_not_what_was_permitted(
    world: World, kind: str
) -> None:
    passed = MADE[kind]()
    permit = world.guard.check(world.issue(), "tool:use", {"order": passed})
    _spoil(passed)
    with permit:
        assert refusal(lambda: tool(passed)).code == "not_bound"
        assert tool(**permit.arguments) == MADE[kind]()


@dataclass
class Shifting:
    """Changes while it is looked at, as one does that another thread is at work on."""

    symbol: str
    rows: list[int]

    def __getattribute__(self, name: str) -> Any:
        held = object.__getattribute__(self, name)
        if name == "rows":
            object.__setattr__(self, "symbol", "EVIL")
            object.__setattr__(self, "rows", [*held, 99])
        return held


def test_what_changes_while_it_is_copied_is_checked_as_the_tool_gets_it(world: World) -> None:
    capability = remit.Capability(
        "tool:use", order=remit.Fields(symbol="ACME", rows=remit.Each(remit.Range(max=5)))
    )

    @guarded
    def reading(order: Shifting) -> tuple[str, list[int]]:
        return order.symbol, order.rows

    order = Shifting("ACME", [1])
    with world.guard.acting_as(world.issue(capability)):
        assert reading(order) == ("ACME", [1])
        assert order.symbol == "EVIL"
        assert verdict(lambda: reading(order)) == "argument_denied"


@pytest.mark.parametrize("hook", ["__deepcopy__", "__copy__", "__reduce_ex__", "__getstate__"])
def test_a_classs_own_idea_of_copying_is_not_asked(world: World, hook: str) -> None:
    @dataclass
    class Own:
        rows: list[int]

    setattr(Own, hook, lambda self, *args: self)
    order, kept = Own([1]), []

    @guarded
    def keeping(order: Own) -> None:
        kept.append(order)

    with world.guard.acting_as(
        world.issue(remit.Capability("tool:use", order=remit.Fields(rows=remit.Each(1))))
    ):
        keeping(order)
    order.rows.append(99)
    assert kept[0] is not order
    assert kept[0].rows == [1]


def test_an_object_that_cannot_be_read_is_denied(world: World) -> None:
    @dataclass
    class Stubborn:
        symbol: str

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("canary")

    denied = refusal(lambda: _run(world, Stubborn("ACME")))
    assert denied.code == "argument_denied"
    assert "canary" not in denied.reason


def test_what_an_object_holds_beside_its_fields_does_not_reach_the_tool_unchecked(world: World) -> None:
    order: Any = Order("ACME")
    order.amount = 10**9  # no field: the check does not see it
    narrow = remit.Capability("tool:use", order=remit.Fields(symbol="ACME", rows=remit.MaxLength(0)))
    seen: list[Any] = []
    with world.guard.acting_as(world.issue(narrow)):
        assert verdict(lambda: seen.append(tool(order))) in {"allowed", "argument_denied"}
    assert not any(hasattr(arrived, "amount") for arrived in seen)


def test_what_a_class_has_worked_out_itself_is_left_behind(world: World) -> None:
    @dataclass
    class Lazy:
        symbol: str

        @cached_property
        def upper(self) -> str:
            return self.symbol.upper()

    order = Lazy("acme")
    assert order.upper == "ACME"
    order.__dict__["upper"] = "EVIL"
    assert _run(world, order).upper == "ACME"


@pytest.mark.parametrize("private", ["private attribute", "set beside the fields"])
def test_what_a_model_holds_beside_its_fields_does_not_reach_the_tool_unchecked(
    world: World, private: str
) -> None:
    class Private(pydantic.BaseModel):
        symbol: str
        _amount: int = 1

    order = Private(symbol="ACME")
    if private == "private attribute":
        order._amount = 10**9
    else:
        vars(order)["extra"] = 10**9
    seen: list[Any] = []
    assert verdict(lambda: seen.append(_run(world, order))) in {"allowed", "argument_denied"}
    assert all(arrived._amount == 1 and not hasattr(arrived, "extra") for arrived in seen)


def test_a_models_extra_fields_are_checked(world: World) -> None:
    class Open(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        symbol: str

    narrow = remit.Capability("tool:use", order=remit.Fields(symbol="ACME"))
    with world.guard.acting_as(world.issue(narrow)):
        assert verdict(lambda: tool(Open(symbol="ACME"))) == "allowed"
        assert (
            verdict(lambda: tool(Open.model_validate({"symbol": "ACME", "amount": 10**9})))
            == "argument_denied"
        )


def test_a_models_own_serializer_does_not_hide_what_the_tool_reads(world: World) -> None:
    class Disguised(pydantic.BaseModel):
        symbol: str

        @pydantic.field_serializer("symbol")
        def _disguise(self, value: str) -> str:
            return "ACME"

    narrow = remit.Capability("tool:use", order=remit.Fields(symbol="ACME"))
    with world.guard.acting_as(world.issue(narrow)):
        assert verdict(lambda: tool(Disguised(symbol="EVIL"))) == "argument_denied"


def test_a_root_model_is_checked_as_its_root(world: World) -> None:
    class Symbols(pydantic.RootModel[list[str]]):
        pass

    with world.guard.acting_as(world.issue(remit.Capability("tool:use", order=remit.Subset("ACME")))):
        assert tool(Symbols(["ACME"])) == Symbols(["ACME"])
        assert verdict(lambda: tool(Symbols(["EVIL"]))) == "argument_denied"
