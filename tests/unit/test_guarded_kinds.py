"""The decorator keeps a function's kind: functions, coroutines, generators, methods, in classes and in functions."""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import AsyncIterator, Callable, Iterator
from types import AsyncGeneratorType
from typing import Any

import pytest

import remit

from .support import World, refusal, verdict

guarded = remit.requires_capability("tool:use")


@guarded
def module_level(text: str) -> str:
    return f"ran {text}"


@remit.requires_capability
def named_after_the_function(text: str) -> str:
    return f"ran {text}"


@guarded
async def module_level_async(text: str) -> str:
    return f"ran {text}"


class Desk:
    """Methods of every kind, in both orders of decorators."""

    def __init__(self, name: str) -> None:
        self.name = name

    @guarded
    def method(self, text: str) -> str:
        return f"{self.name} {text}"

    @guarded
    async def async_method(self, text: str) -> str:
        return f"{self.name} {text}"

    @guarded
    def generator_method(self, text: str) -> Iterator[str]:
        yield f"{self.name} {text}"

    @staticmethod
    @guarded
    def static_outside(text: str) -> str:
        return f"static {text}"

    @guarded
    @staticmethod
    def static_inside(text: str) -> str:
        return f"static {text}"

    @classmethod
    @guarded
    def class_outside(cls, text: str) -> str:
        return f"{cls.__name__} {text}"

    @guarded
    @classmethod
    def class_inside(cls, text: str) -> str:
        return f"{cls.__name__} {text}"

    @guarded
    def __call__(self, text: str) -> str:
        return f"called {self.name} {text}"

    @property
    def bound_here(self) -> Callable[[str], str]:
        return self.method


class Child(Desk):
    """Inherits all of them."""

    @guarded
    def method(self, text: str) -> str:
        return "child of " + self.name


def _local_class() -> Any:
    class Local:
        @guarded
        def method(self, text: str) -> str:
            return f"local {text}"

        @classmethod
        @guarded
        def made(cls, text: str) -> str:
            return f"{cls.__name__} {text}"

        class Inner:
            @guarded
            def method(self, text: str) -> str:
                return f"inner {text}"

    return Local


DESK = Desk("desk")
CALLS: dict[str, tuple[Callable[[str], Any], str]] = {
    "function": (module_level, "ran x"),
    "method": (DESK.method, "desk x"),
    "method by its class": (lambda text: Desk.method(DESK, text), "desk x"),
    "inherited method": (Child("c").static_outside, "static x"),
    "overridden method": (Child("c").method, "child of c"),
    "static method, outside": (Desk.static_outside, "static x"),
    "static method, outside, by an instance": (DESK.static_outside, "static x"),
    "static method, inside": (Desk.static_inside, "static x"),
    "static method, inside, by an instance": (DESK.static_inside, "static x"),
    "class method, outside": (Desk.class_outside, "Desk x"),
    "class method, outside, by an instance": (DESK.class_outside, "Desk x"),
    "class method of a child": (Child.class_outside, "Child x"),
    "class method, inside": (Desk.class_inside, "Desk x"),
    "class method, inside, of a child": (Child("c").class_inside, "Child x"),
    "callable object": (DESK, "called desk x"),
    "method through a property": (DESK.bound_here, "desk x"),
    "method of a local class": (_local_class()().method, "local x"),
    "class method of a local class": (_local_class().made, "Local x"),
    "method of a nested local class": (_local_class().Inner().method, "inner x"),
    "partial": (functools.partial(module_level), "ran x"),
    "partial with its argument": (lambda text: functools.partial(module_level, text)(), "ran x"),
    "operator.call": (lambda text: operator.methodcaller("method", text)(DESK), "desk x"),
    "map": (lambda text: next(map(module_level, [text])), "ran x"),
}


@pytest.mark.parametrize("kind", CALLS)
def test_every_kind_of_function_runs_when_it_is_allowed_and_not_otherwise(world: World, kind: str) -> None:
    call, expected = CALLS[kind]
    narrow = world.issue(remit.Capability("tool:use", text="x"))
    with world.guard.acting_as(narrow):
        assert call("x") == expected
        denied = refusal(lambda: call("y"))
        assert (denied.code, denied.argument) == ("argument_denied", "text")
    assert refusal(lambda: call("x")).code == "not_bound"


@pytest.mark.parametrize("kind", CALLS)
def test_every_kind_of_function_is_checked_on_its_own_arguments_alone(world: World, kind: str) -> None:
    call, expected = CALLS[kind]
    with world.guard.acting_as(world.issue()):
        assert call("x") == expected
    digest = world.events("decision")[0].arguments_digest
    world.guard.check(world.issue(), "tool:use", {"text": "x"})
    assert world.events("decision")[-1].arguments_digest == digest  # `self` and `cls` are no arguments


@pytest.mark.parametrize("call", [module_level_async, DESK.async_method], ids=["function", "method"])
async def test_a_coroutine_function_stays_one(world: World, call: Callable[[str], Any]) -> None:
    assert inspect.iscoroutinefunction(call)
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", text="x"))):
        assert await call("x") in {"ran x", "desk x"}
        with pytest.raises(remit.CapabilityDenied):
            await call("y")
    with pytest.raises(remit.CapabilityDenied) as caught:
        await call("x")
    assert caught.value.code == "not_bound"


def test_a_generator_is_checked_when_it_is_called_and_not_at_its_first_step(world: World) -> None:
    assert refusal(lambda: DESK.generator_method("x")).code == "not_bound"
    with world.guard.acting_as(world.issue()):
        made = DESK.generator_method("x")
    assert inspect.isgenerator(made)
    assert list(made) == ["desk x"]


async def test_an_asynchronous_generator_is_checked_when_it_is_called(world: World) -> None:
    @guarded
    async def stream(text: str) -> AsyncIterator[str]:
        yield text

    assert refusal(lambda: stream("x")).code == "not_bound"
    with world.guard.acting_as(world.issue()):
        made = stream("x")
    assert [item async for item in made] == ["x"]
    assert type(made) is AsyncGeneratorType


def test_without_a_name_the_functions_name_is_the_capability(world: World) -> None:
    assert remit.capability_of(named_after_the_function) == "named_after_the_function"
    with world.guard.acting_as(world.issue("named_after_the_function")):
        assert named_after_the_function("x") == "ran x"
    with world.guard.acting_as(world.issue("other")):
        assert verdict(lambda: named_after_the_function("x")) == "capability_missing"


def test_without_a_name_static_and_class_methods_are_named_after_their_functions() -> None:
    class Bare:
        @remit.requires_capability
        @staticmethod
        def fixed(text: str) -> str:
            return text

        @remit.requires_capability
        @classmethod
        def of_class(cls, text: str) -> str:
            return text

        @remit.requires_capability
        def of_object(self, text: str) -> str:
            return text

    assert [remit.capability_of(each) for each in (Bare.fixed, Bare.of_class, Bare().of_object)] == [
        "fixed", "of_class", "of_object",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        5,
        "",
        " ",
        "a*",
        "secret:KEY",
        b"tool",
        ["tool"],
        pytest.param(object(), id="object()"),
        pytest.param(property(len), id="property"),
    ],
    ids=repr,
)
def test_what_is_neither_a_name_nor_a_function_is_refused(wrong: Any) -> None:
    with pytest.raises(remit.ConfigError):
        remit.requires_capability(wrong)


class _Callable:
    def __call__(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        5,
        "text",
        Desk,
        int,
        pytest.param(_Callable(), id="callable object"),
        functools.partial(print),
        pytest.param(property(len), id="property"),
        pytest.param(object(), id="object()"),
    ],
    ids=repr,
)
def test_only_functions_can_be_guarded(wrong: Any) -> None:
    with pytest.raises(remit.ConfigError):
        guarded(wrong)


@pytest.mark.parametrize(
    "built_in", [math.sqrt, len, "text".upper, {}.get, dict.fromkeys, print], ids=lambda one: one.__qualname__
)
def test_a_built_in_is_guarded_or_refused(world: World, built_in: Any) -> None:
    try:
        tool = guarded(built_in)
    except remit.ConfigError:
        return
    assert refusal(tool).code == "not_bound"
    assert remit.capability_of(tool) == "tool:use"


def test_a_function_is_not_guarded_twice() -> None:
    with pytest.raises(remit.ConfigError, match="already"):
        guarded(module_level)
    with pytest.raises(remit.ConfigError, match="already"):
        remit.requires_capability("other")(module_level)
    with pytest.raises(remit.ConfigError, match="already"):
        guarded(staticmethod(module_level))
    with pytest.raises(remit.ConfigError, match="already"):
        guarded(DESK.method)


def test_a_bound_method_can_be_guarded(world: World) -> None:
    class Plain:
        def lookup(self, text: str) -> str:
            return f"found {text}"

    tool = guarded(Plain().lookup)
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", text="x"))):
        assert tool("x") == "found x"
        assert verdict(lambda: tool("y")) == "argument_denied"
    assert list(inspect.signature(tool).parameters) == ["text"]


# A parameter may be called `cls` or `self` where it is no receiver: then it is an argument like any other.


class Tickets:
    def by_class(self, cls: str) -> str:
        return cls

    @staticmethod
    def fixed(cls: str) -> str:  # noqa: PLW0211  # pyright: ignore[reportSelfClsParameterName] - the trap itself
        return cls


def _free(self: str) -> str:
    return self


class Guarded:
    fixed: Any = guarded(staticmethod(Tickets.fixed))

    @staticmethod
    @guarded
    def outside(cls: str) -> str:  # noqa: PLW0211  # pyright: ignore[reportSelfClsParameterName] - the trap itself
        return cls


RECEIVERS: dict[str, Any] = {
    "bound method": guarded(Tickets().by_class),
    "static method, guarded by hand": guarded(Tickets.fixed),
    "static method, inside": Guarded.fixed,
    "static method, outside": Guarded.outside,
    "function": guarded(_free),
}


@pytest.mark.parametrize("kind", RECEIVERS)
def test_an_argument_called_like_a_receiver_is_checked_like_any_other(world: World, kind: str) -> None:
    tool = RECEIVERS[kind]
    name = next(iter(inspect.signature(tool).parameters))
    narrow = remit.Capability("tool:use", **{name: remit.Exact("A")})
    loose = remit.Capability("tool:use", **{name: remit.Exact("A").optional()})
    for capability in (narrow, loose):
        with world.guard.acting_as(world.issue(capability)):
            assert verdict(lambda: tool("EVIL")) == "argument_denied"
            assert tool("A") == "A"
