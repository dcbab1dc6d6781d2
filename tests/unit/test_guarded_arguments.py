"""Everything the caller passes is checked by its parameter's name, however it is passed."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import pydantic
import pytest

import remit

from .support import World, refusal, verdict

guarded = remit.requires_capability("tool:use")


@guarded
def plain(a: Any, b: Any = 2) -> Any:
    return (a, b)


@guarded
def keyword_only(*, a: Any, b: Any = 2) -> Any:
    return (a, b)


@guarded
def positional_only(a: Any, b: Any = 2, /) -> Any:
    return (a, b)


@guarded
def rest(a: Any, *more: Any, b: Any = 2) -> Any:
    return (a, more, b)


@guarded
def extra(a: Any, **others: Any) -> Any:
    return (a, others)


@guarded
def everything(a: Any, /, b: Any, c: Any = 3, *more: Any, d: Any, e: Any = 5, **others: Any) -> Any:
    return (a, b, c, more, d, e, others)


def _call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call it in a way that a type checker would not let pass."""
    return function(*args, **kwargs)


def _passed(world: World, call: Callable[[], Any]) -> Any:
    """What `call` gives when everything is allowed."""
    with world.guard.acting_as(world.issue()):
        return call()


def _checked(world: World, call: Callable[[], Any], **expected: Any) -> None:
    """Assert that the check sees exactly `expected`: neither more nor less, and by these names."""
    names = {name: remit.Exact(value) if not isinstance(value, list) else remit.AllOf(remit.Subset(*value),
             remit.Contains(*value)) for name, value in expected.items()}  # fmt: skip
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", **names))):
        assert verdict(call) == "allowed"
    for name, value in expected.items():
        wrong = {**names, name: remit.NotOneOf(value)}
        with world.guard.acting_as(world.issue(remit.Capability("tool:use", **wrong))):
            assert refusal(call).argument == name
        missing = {other: constraint for other, constraint in names.items() if other != name} or {
            "none": remit.Exact(1).optional()
        }
        with world.guard.acting_as(world.issue(remit.Capability("tool:use", **missing))):
            assert verdict(call) == "argument_denied"


def test_positional_and_keyword_arguments_are_the_same_to_the_check(world: World) -> None:
    for call in (
        lambda: plain(1, 9),
        lambda: plain(1, b=9),
        lambda: plain(a=1, b=9),
        lambda: plain(b=9, a=1),
    ):
        _checked(world, call, a=1, b=9)
        assert _passed(world, call) == (1, 9)


def test_keyword_only_arguments_are_checked(world: World) -> None:
    _checked(world, lambda: keyword_only(a=1, b=9), a=1, b=9)
    assert _passed(world, lambda: keyword_only(a=1)) == (1, 2)
    assert verdict(lambda: _passed(world, lambda: _call(keyword_only, 1))) == "argument_denied"


def test_positional_only_arguments_are_checked_and_not_by_keyword(world: World) -> None:
    _checked(world, lambda: positional_only(1, 9), a=1, b=9)
    assert _passed(world, lambda: positional_only(1)) == (1, 2)
    for call in (lambda: _call(positional_only, a=1), lambda: _call(positional_only, 1, b=9)):
        assert verdict(lambda: _passed(world, call)) == "argument_denied"


def test_the_rest_is_checked_as_a_list_under_its_name(world: World) -> None:
    _checked(world, lambda: rest(1, 7, 8, b=9), a=1, more=[7, 8], b=9)
    _checked(world, lambda: rest(1), a=1)
    assert _passed(world, lambda: rest(1, 7, 8)) == (1, (7, 8), 2)
    assert verdict(lambda: _passed(world, lambda: _call(rest, 1, more=[7]))) == "argument_denied"


def test_extra_keywords_are_checked_by_their_own_names(world: World) -> None:
    _checked(world, lambda: extra(1, x=7), a=1, x=7)
    _checked(world, lambda: extra(1, others=7), a=1, others=7)
    assert _passed(world, lambda: extra(1, others=7, self=8)) == (1, {"others": 7, "self": 8})


def test_all_kinds_at_once_are_checked(world: World) -> None:
    _checked(world, lambda: everything(1, 2, 8, 4, d=6, z=7), a=1, b=2, c=8, more=[4], d=6, z=7)
    assert _passed(world, lambda: everything(1, 2, 3, 4, 5, d=6, z=7)) == (1, 2, 3, (4, 5), 6, 5, {"z": 7})
    assert _passed(world, lambda: everything(1, b=2, d=6)) == (1, 2, 3, (), 6, 5, {})
    assert verdict(lambda: _passed(world, lambda: everything(1, 2, d=6, a=7))) == "argument_denied"
    assert verdict(lambda: _passed(world, lambda: everything(1, 2, d=6, more=7))) == "argument_denied"


@pytest.mark.parametrize(
    "call",
    [lambda: _call(plain), lambda: _call(plain, 1, 2, 3), lambda: _call(plain, 1, c=3), lambda: _call(plain, 1, a=1),
     lambda: _call(plain, b=1), lambda: _call(keyword_only), lambda: _call(positional_only), lambda: _call(rest),
     lambda: _call(extra), lambda: _call(everything, 1, 2), lambda: _call(plain, 1, **{"not a name": 1}),
     lambda: _call(plain, 1, **{"": 1})],
)  # fmt: skip
def test_arguments_that_do_not_fit_the_function_are_denied(world: World, call: Callable[[], Any]) -> None:
    assert verdict(lambda: _passed(world, call)) == "argument_denied"
    [decision] = world.events("decision")
    assert decision.code == "argument_denied"


def test_a_default_is_checked_where_the_capability_names_it(world: World) -> None:
    @guarded
    def tool(a: int = 1, limit: int = 1_000) -> int:
        return limit

    capped = remit.Capability("tool:use", a=remit.Anything().optional(), limit=remit.Range(max=10))
    optional = remit.Capability(
        "tool:use", a=remit.Anything().optional(), limit=remit.Range(max=10).optional()
    )
    for capability in (capped, optional):
        with world.guard.acting_as(world.issue(capability)):
            assert refusal(tool).argument == "limit"
            assert refusal(lambda: tool(1)).argument == "limit"
            assert tool(limit=10) == 10


def test_a_default_that_is_not_named_does_not_count_as_passed(world: World) -> None:
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", a=1))):
        assert plain(1) == plain(1, 2) == plain(1, b=2) == (1, 2)  # frameworks fill in the defaults
        for other in (3, 2.5, True, "2", None, [2]):
            assert verdict(lambda: plain(1, other)) == "argument_denied"


def test_what_follows_an_argument_that_equals_its_default_does_not_take_its_place(world: World) -> None:
    @guarded
    def transfer(to: str, amount: int = 1, *notes: Any) -> tuple[Any, ...]:
        return (to, amount, notes)

    capability = remit.Capability(
        "tool:use", to="bob", amount=remit.Range(max=10), notes=remit.MaxLength(2).optional()
    )
    with world.guard.acting_as(world.issue(capability)):
        assert transfer("bob", 1, 10**9) == ("bob", 1, (10**9,))
        assert transfer("bob", 1, "a", "b") == ("bob", 1, ("a", "b"))


def test_an_argument_that_equals_a_mutable_default_is_not_the_default(world: World) -> None:
    @guarded
    def tool(n: int, rows: list[int] = []) -> list[int]:  # noqa: B006 - the trap itself
        rows.append(n)
        return rows

    with world.guard.acting_as(world.issue()):
        assert tool(1, []) == [1]
        assert tool(2, rows=[]) == [2]
        assert tool(3) == [3]  # nothing was put into the default


@pytest.mark.parametrize(
    ("value", "default"), [([True], [1]), ([1.0], [1]), ({"a": 0}, {"a": False}), ((1, True), (1, 1))]
)
def test_an_argument_that_only_equals_its_default_arrives_as_it_was_passed(
    world: World, value: Any, default: Any
) -> None:
    @guarded
    def tool(given: Any = default) -> Any:
        return given

    with world.guard.acting_as(world.issue()):
        assert repr(tool(value)) == repr(value)


class Options(pydantic.BaseModel):
    deep: bool = False
    names: list[str] = []


@pytest.mark.parametrize(
    ("default", "same", "other"),
    [
        (["x"], ["x"], ["y"]),
        ({"a": [1]}, {"a": [1]}, {"a": [True]}),
        (Options(), Options(), Options(deep=True)),
        ((1, "a"), (1, "a"), (1, "b")),
        (date(2026, 1, 1), date(2026, 1, 1), date(2026, 1, 2)),
    ],
    ids=["list", "dict", "model", "tuple", "date"],
)
def test_a_default_of_any_type_that_a_framework_fills_in_does_not_count_as_passed(
    world: World, default: Any, same: Any, other: Any
) -> None:
    @guarded
    def tool(n: int, given: Any = default) -> Any:
        return given

    with world.guard.acting_as(world.issue(remit.Capability("tool:use", n=1))):
        for given in (default, same, copy.deepcopy(default)):
            assert tool(1, given) == default
        assert verdict(lambda: tool(1, other)) == "argument_denied"
        if isinstance(default, list):
            tool(1, ["x"]).append("y")  # a private copy of the default
            assert tool(1) == ["x"]
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", n=1, given=remit.Anything()))):
        assert tool(1, other) == other
        assert tool(1, same) == default


@pytest.mark.parametrize("named", ["a", "b", "c"])
def test_any_default_of_a_positional_only_parameter_may_be_named(world: World, named: str) -> None:
    @guarded
    def tool(a: int = 1, b: int = 2, c: int = 3, /) -> tuple[int, int, int]:
        return (a, b, c)

    capability = remit.Capability("tool:use", **{named: remit.Range(max=5)}).with_other_arguments()
    with world.guard.acting_as(world.issue(capability)):
        assert tool() == (1, 2, 3)
        assert tool(4) == (4, 2, 3)
        assert tool(4, 5, 5) == (4, 5, 5)


def test_a_default_between_positional_only_parameters_that_a_framework_injects_is_kept(world: World) -> None:
    config: Any = type("RunnableConfig", (), {"__module__": "langchain_core.runnables"})

    def tool(a: int = 1, config: Any = None, b: int = 2, /) -> tuple[int, object, int]:
        return (a, config, b)

    tool.__annotations__["config"] = config
    capability = remit.Capability("tool:use", b=remit.Range(max=5)).with_other_arguments()
    with world.guard.acting_as(world.issue(capability)):
        assert guarded(tool)() == (1, None, 2)


def test_a_default_that_has_no_json_form_matters_only_where_it_is_named(world: World) -> None:
    nothing = object()

    @guarded
    def tool(a: int, marker: object = nothing) -> bool:
        return marker is nothing

    with world.guard.acting_as(world.issue(remit.Capability("tool:use", a=1))):
        assert tool(1) is True
        assert verdict(lambda: tool(1, object())) == "argument_denied"
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", a=1, marker=remit.Anything()))):
        assert refusal(lambda: tool(1)).code == "argument_denied"


def test_a_default_that_is_checked_is_a_copy(world: World) -> None:
    @guarded
    def tool(rows: list[int] = [1]) -> list[int]:  # noqa: B006 - the trap itself
        rows.append(2)
        return rows

    capability = remit.Capability("tool:use", rows=remit.MaxLength(1))
    with world.guard.acting_as(world.issue(capability)):
        assert [tool(), tool()] == [[1, 2], [1, 2]]


# ── values: they arrive as they are, and are checked in their JSON form ─────────────────────────────────────


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Trade:
    symbol: str
    day: date


class Order(pydantic.BaseModel):
    symbol: str
    amount: int


VALUES: dict[str, tuple[Any, Any]] = {
    "None": (None, None),
    "bool": (True, True),
    "int": (5, 5),
    "float": (0.5, 0.5),
    "str": ("ä", "ä"),
    "enum": (Colour.RED, "red"),
    "int enum": (Level.HIGH, 3),
    "date": (date(2024, 1, 2), "2024-01-02"),
    "time": (time(3, 4), "03:04:00"),
    "datetime": (datetime(2024, 1, 2, 3, 4, tzinfo=UTC), "2024-01-02T03:04:00+00:00"),
    "Decimal": (Decimal("1.5"), 1.5),
    "whole Decimal": (Decimal("2.0"), 2),
    "UUID": (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "Path": (Path("/srv/x"), "/srv/x"),
    "PurePosixPath": (PurePosixPath("a"), "a"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_arrives_as_it_is_and_is_checked_in_its_json_form(world: World, kind: str) -> None:
    value, form = VALUES[kind]
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", a=form))):
        arrived, _ = plain(value)
        assert (type(arrived), arrived) == (type(value), value)
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", a=remit.NotOneOf(form)))):
        assert verdict(lambda: plain(value)) == "argument_denied"


@pytest.mark.parametrize(
    ("value", "form"),
    [(Trade("ACME", date(2024, 1, 2)), {"symbol": "ACME", "day": "2024-01-02"}),
     (Order(symbol="ACME", amount=5), {"symbol": "ACME", "amount": 5}),
     ({"symbol": Colour.RED}, {"symbol": "red"})],
    ids=["dataclass", "pydantic model", "dict"],
)  # fmt: skip
def test_an_object_arrives_as_it_is_and_is_checked_field_by_field(
    world: World, value: Any, form: dict[str, Any]
) -> None:
    fields = {name: remit.Exact(item) for name, item in form.items()}
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", a=remit.Fields(**fields)))):
        arrived, _ = plain(value)
        assert arrived == value
        assert arrived is not value
    wrong = {**fields, "symbol": remit.Exact("OTHER")}
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", a=remit.Fields(**wrong)))):
        assert verdict(lambda: plain(value)) == "argument_denied"


@pytest.mark.parametrize("value", [(1, 2), [1, [2]], {"a": (1,)}], ids=repr)
def test_lists_and_tuples_stay_what_they_are(world: World, value: Any) -> None:
    arrived, _ = _passed(world, lambda: plain(value))
    assert (type(arrived), arrived) == (type(value), value)


@pytest.mark.parametrize(
    "value", [pytest.param(object(), id="object()"), {1, 2}, b"x", 1j, len, Trade, float("nan"), float("inf"), 2**53 + 1, Decimal("NaN"), {1: 2},
              Decimal("0.1234567890123456789"), "\ud800", pytest.param(iter([1]), id="iterator"), range(3), pytest.param([object()], id="[object()]"), {"a": {"b": {1}}}], ids=repr
)  # fmt: skip
def test_what_has_no_json_form_is_denied_whatever_is_granted(world: World, value: Any) -> None:
    denied = refusal(lambda: _passed(world, lambda: plain(value)))
    assert (denied.code, denied.argument) == ("argument_denied", "a")


def test_what_holds_itself_is_denied(world: World) -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert verdict(lambda: _passed(world, lambda: plain(circle))) == "argument_denied"
