"""A guarded function looks as it did, without its secrets, and offers no way around the guard."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_type_hints

import pydantic
import pytest

import remit

from .annotated import Symbol, annotated, annotated_async, unresolved
from .support import World, refusal, verdict

guarded = remit.requires_capability("tool:use")


@guarded
def module_tool(text: str) -> str:
    return text


def test_a_guarded_function_keeps_its_name_module_and_description() -> None:
    assert (annotated.__name__, annotated.__qualname__) == ("annotated", "annotated")
    assert annotated.__doc__ == "Say what it is."
    assert annotated.__module__ == Symbol.__module__


def test_the_signature_is_resolved_and_without_the_secret() -> None:
    signature = inspect.signature(annotated)
    assert list(signature.parameters) == ["symbol", "names", "n"]
    assert signature.parameters["symbol"].annotation is Symbol
    assert signature.parameters["n"].annotation == Annotated[int, "how many"]
    assert signature.parameters["n"].default == 1
    assert signature.return_annotation == list[Symbol] | None
    assert list(inspect.signature(annotated_async).parameters) == ["n"]


def test_the_annotations_are_resolved_and_without_the_secret() -> None:
    expected = {
        "symbol": Symbol,
        "names": str,
        "n": Annotated[int, "how many"],
        "return": list[Symbol] | None,
    }
    assert annotated.__annotations__ == expected
    assert get_type_hints(annotated, include_extras=True) == expected
    assert inspect.get_annotations(annotated, eval_str=True) == expected
    assert get_type_hints(annotated_async) == {"n": int, "return": dict[str, Symbol]}


def test_a_model_of_the_arguments_can_be_made_from_the_signature() -> None:
    fields: dict[str, Any] = {
        name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(annotated_async).parameters.items()
    }
    schema = pydantic.create_model("Arguments", **fields).model_json_schema()
    assert list(schema["properties"]) == ["n"]


def test_an_annotation_that_cannot_be_resolved_does_not_break_the_function(world: World) -> None:
    assert list(inspect.signature(unresolved).parameters) == ["n", "m"]
    with world.guard.acting_as(world.issue()):
        assert unresolved(1, 2) == 2


def test_there_is_no_way_to_the_bare_function_by_the_usual_names() -> None:
    @functools.wraps(module_tool)
    def inner(text: str) -> str:
        return text

    for tool in (module_tool, annotated, annotated_async, remit.requires_capability("x")(_wrapped())):
        assert not hasattr(tool, "__wrapped__")
        assert inspect.unwrap(tool) is tool
        for name in ("func", "__func__", "fn", "function", "coroutine", "_func", "original"):
            assert not hasattr(tool, name)
    assert inspect.unwrap(inner) is module_tool


def _wrapped() -> Callable[[str], str]:
    def bare(text: str) -> str:
        return text

    @functools.wraps(bare)
    def outer(text: str) -> str:
        return bare(text)

    return outer


def test_attributes_of_the_function_are_kept(world: World) -> None:
    def tool(text: str) -> str:
        return text

    tool.tags = ["a"]  # type: ignore[attr-defined]  # frameworks do that
    assert guarded(tool).tags == ["a"]  # type: ignore[attr-defined]  # as above


def test_the_capability_is_told_by_functions_methods_and_nothing_else() -> None:
    class Desk:
        @guarded
        def method(self) -> None:
            """Do nothing."""

    assert remit.capability_of(module_tool) == "tool:use"
    assert remit.capability_of(Desk.method) == remit.capability_of(Desk().method) == "tool:use"
    for other in (print, len, None, 5, "tool:use", Desk, object(), functools.partial(print)):
        assert remit.capability_of(other) is None

    class Odd:
        __capability__ = 5

    assert remit.capability_of(Odd()) is None


def test_renaming_the_capability_of_a_function_changes_nothing(world: World) -> None:
    @guarded
    def tool() -> str:
        return "ran"

    tool.__capability__ = "harmless"  # type: ignore[attr-defined]  # the attack itself
    with world.guard.acting_as(world.issue("harmless")):
        assert verdict(tool) == "capability_missing"


def test_replacing_what_a_function_shows_of_itself_changes_nothing(world: World) -> None:
    @guarded
    def tool(n: int) -> int:
        return n

    tool.__signature__ = inspect.Signature()  # type: ignore[attr-defined]  # the attack itself
    tool.__defaults__ = (5,)
    tool.__kwdefaults__ = {"n": 5}
    tool.__annotations__ = {}
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", n=1))):
        assert tool(1) == 1
        assert verdict(lambda: tool(2)) == "argument_denied"
        assert verdict(tool) == "argument_denied"  # type: ignore[arg-type]  # the mistake itself


def test_a_guarded_function_is_pickled_by_name_and_stays_guarded(world: World) -> None:
    again = pickle.loads(pickle.dumps(module_tool))  # noqa: S301 - our own
    assert again is module_tool
    assert refusal(lambda: again("x")).code == "not_bound"


def test_a_copy_of_a_guarded_function_stays_guarded() -> None:
    for twin in (
        copy.copy(module_tool),
        copy.deepcopy(module_tool),
        copy.deepcopy({"tool": module_tool})["tool"],
    ):
        assert refusal(lambda: twin("x")).code == "not_bound"


def test_a_partial_of_a_guarded_function_is_checked_on_all_its_arguments(world: World) -> None:
    @guarded
    def tool(a: int, b: int) -> int:
        return a + b

    with world.guard.acting_as(world.issue(remit.Capability("tool:use", a=1, b=2))):
        assert functools.partial(tool, 1)(2) == 3
        assert functools.partial(tool, b=2)(1) == 3
        assert verdict(lambda: functools.partial(tool, 9)(2)) == "argument_denied"
        assert verdict(lambda: functools.partial(tool, b=9)(1)) == "argument_denied"


def test_a_wrapper_around_a_guarded_function_is_checked_inside(world: World) -> None:
    @functools.lru_cache
    def cached(n: int) -> str:
        return module_tool(str(n))

    with world.guard.acting_as(world.issue(remit.Capability("tool:use", text="1"))):
        assert cached(1) == "1"
        assert verdict(lambda: cached(2)) == "argument_denied"


# ── secret parameters ───────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_parameter_may_stand_anywhere_where_it_has_a_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "canary")

    @guarded
    def tool(a: int, key: remit.Secret = remit.secret("KEY"), b: int = 2) -> tuple[int, int, str]:
        return (a, b, key.name)

    assert list(inspect.signature(tool).parameters) == ["a", "b"]
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", a=1, b=3), secrets=["KEY"])):
        assert tool(1, 3) == (1, 3, "KEY")  # type: ignore[arg-type]  # the signature that a model sees
        assert verdict(lambda: tool(1, 3, 3)) == "argument_denied"  # type: ignore[arg-type]  # as above
        assert verdict(lambda: tool(1, b=3, key="x")) == "argument_denied"  # type: ignore[arg-type]  # as above


def test_a_secret_parameter_that_cannot_be_filled_by_name_is_refused() -> None:
    def positional(key: remit.Secret = remit.secret("KEY"), /) -> None:
        """Do nothing."""

    def before_rest(key: remit.Secret = remit.secret("KEY"), *rest: int) -> None:
        """Do nothing."""

    for function in (positional, before_rest):
        with pytest.raises(remit.ConfigError, match="keyword-only"):
            guarded(function)


def test_one_secret_may_fill_two_parameters_and_is_fetched_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "canary")

    @guarded
    def tool(*, a: remit.Secret = remit.secret("KEY"), b: remit.Secret = remit.secret("KEY")) -> bool:
        return a == b

    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        assert tool() is True


def test_extra_keywords_do_not_reach_a_secret_parameter(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "canary")

    @guarded
    def tool(*, key: remit.Secret = remit.secret("KEY"), **others: Any) -> str:
        return key.name

    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        assert tool(x=1) == "KEY"
        assert verdict(lambda: tool(key="mine")) == "argument_denied"  # type: ignore[arg-type]  # the attack itself


def test_a_generator_function_with_a_secret_has_none_in_its_signature() -> None:
    @guarded
    def tool(n: int, *, key: remit.Secret = remit.secret("KEY")) -> Iterator[int]:
        yield n

    assert list(inspect.signature(tool).parameters) == ["n"]


# ── what frameworks inject ──────────────────────────────────────────────────────────────────────────────────


def _framework_type(module: str, name: str) -> Any:
    return type(name, (), {"__module__": module})


@pytest.mark.parametrize(
    ("module", "name"),
    [("langchain.tools", "ToolRuntime"), ("langgraph.prebuilt", "ToolRuntime"), ("langchain_core.runnables", "RunnableConfig"),
     ("langchain_core.tools", "InjectedToolArg"), ("autogen_core._cancel", "CancellationToken")],
)  # fmt: skip
def test_what_a_framework_injects_is_no_argument(world: World, module: str, name: str) -> None:
    kind = _framework_type(module, name)

    def plain(n: int, runtime: Any = None) -> tuple[int, Any]:
        return (n, runtime)

    marker = object()
    for annotation in (
        kind,
        kind | None,
        Annotated[Any, kind()],
        Annotated[kind, "x"],
        type("Sub", (kind,), {}),
    ):
        plain.__annotations__["runtime"] = annotation
        tool: Any = guarded(_clone(plain))
        with world.guard.acting_as(world.issue(remit.Capability("tool:use", n=1))):
            assert tool(1, marker) == (1, marker)
            assert tool(1, runtime=marker) == (1, marker)
            assert tool(1) == (1, None)
            assert verdict(lambda: tool(2, marker)) == "argument_denied"


def _clone(function: Any) -> Any:
    from types import FunctionType

    twin = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    twin.__annotations__ = dict(function.__annotations__)
    return twin


@pytest.mark.parametrize(
    "annotation",
    [_framework_type("my.module", "ToolRuntime"), _framework_type("langchain_evil", "ToolRuntime"), Any, str, None,
     _framework_type("langchain_core.tools", "RunnableConfig") | str, "ToolRuntime", list[Any]], ids=repr,
)  # fmt: skip
def test_what_only_looks_like_it_is_an_argument(world: World, annotation: Any) -> None:
    def plain(n: int, runtime: Any = None) -> int:
        return n

    twin = _clone(plain)
    twin.__annotations__["runtime"] = annotation
    tool = guarded(twin)
    with world.guard.acting_as(world.issue(remit.Capability("tool:use", n=1))):
        assert verdict(lambda: tool(1, "x")) == "argument_denied"
        assert verdict(lambda: tool(1, runtime=object())) == "argument_denied"


def test_nothing_that_was_put_on_the_function_leads_to_it(world: World) -> None:
    def pay(amount: int) -> int:
        return amount

    kept: dict[str, Any] = {
        "original": pay,
        "kinds": {"int": pay},
        "all": [pay],
        "retry_with": functools.partial(pay),
    }
    pay.__dict__.update(kept, version="2", options={"a": 1}, schema=dict)
    tool = remit.requires_capability("tool:use")(pay)
    bound = remit.bind_tool(pay, world.guard, world.issue(), capability="tool:use")
    for made in (tool, bound):
        assert not vars(made).keys() & kept.keys()
        assert (made.version, made.options, made.schema) == ("2", {"a": 1}, dict)  # type: ignore[attr-defined]
