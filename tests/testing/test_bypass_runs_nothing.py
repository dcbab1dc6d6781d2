"""`--remit-bypass` runs no body of a tool, whatever it is made of; what it cannot keep from running it leaves alone."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
from collections.abc import Callable, Generator
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import pytest

import remit
import remit_autogen
from remit.testing.bypass import Target, attacks_on, lines
from remit.testing.bypass.standin import Standing

from . import elsewhere, toy
from .holes import done, found


# ── what is written elsewhere ───────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("package", ["tests", "checks"])
@pytest.mark.parametrize(
    ("make", "attack", "happened"),
    [
        (elsewhere.Half, "nothing bound", "Half._arun (elsewhere.py:"),
        (elsewhere.Called, "nothing bound", "by __call__: Called.__call__ (elsewhere.py:"),
        (elsewhere.with_a_payment, "every route", "Payment, at .func, is no Python function"),
        (elsewhere.remade, "every route", "__deepcopy__.<locals>.anew is made anew in each of its copies"),
    ],
)
def test_a_tool_of_another_package_is_not_run(
    make: Callable[[], Any], attack: str, happened: str, package: str
) -> None:
    said = found(make(), package)
    assert set(said) == {attack}
    assert happened in said[attack][0]


@pytest.mark.parametrize("package", ["tests", "checks"])
def test_a_class_of_autogen_that_carries_its_credential_passes(package: str) -> None:
    issuer = remit.Issuer.generate("https://auth.acme.example")
    guard = remit.Guard(trust=[issuer.anchor])
    credential = issuer.issue("agent", [elsewhere.CAPABILITY])
    [tool] = remit_autogen.guard_tools(
        [elsewhere.Paying()], guard, credential, capability=elsewhere.CAPABILITY
    )
    assert found(tool, package) == {}


# ── what is no Python function ──────────────────────────────────────────────────────────────────────────────
def test_a_function_of_c_is_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    said = found(elsewhere.guarded(os.remove), path=str(victim))
    assert victim.exists()
    assert said.keys() == {"every route"}
    assert "cannot be tried without running it: remove, at the inside of a call" in said["every route"][0]


@pytest.mark.parametrize("what", [operator.add, elsewhere.Payment(), functools.partial(operator.add, 1)])
def test_what_is_no_python_function_is_not_run(what: Any) -> None:
    if isinstance(what, functools.partial):
        what.__name__ = "partial"  # type: ignore[attr-defined]
    said = found(elsewhere.guarded(what), a=1, b=2)
    assert said.keys() == {"every route"}
    assert "is no Python function" in said["every route"][0]


def test_what_answers_unasked_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def leaking(tool: Any) -> dict[str, Callable[[Any], Any]]:
        return {"hidden": lambda _: calls.append("hidden"), "also hidden": lambda _: calls.append("also")}

    class Strange:
        def __init__(self) -> None:
            self.work = elsewhere.pay

    monkeypatch.setattr("remit.testing.bypass.target.routes_of", leaking)
    said = found(Strange())
    assert set(said) == {"nothing bound"}
    assert "by hidden: it answered with nothing bound" in said["nothing bound"][0]
    assert calls == ["hidden"]


def test_nobody_is_asked_for_a_credential_or_a_task() -> None:
    asked: list[str] = []
    issuer = remit.Issuer.generate("https://auth.acme.example")
    guard = remit.Guard(trust=[issuer.anchor])
    credential = issuer.issue("agent", [elsewhere.CAPABILITY])

    def source() -> remit.Credential:
        asked.append("credential")
        return credential

    def task() -> None:
        asked.append("task")

    assert found(remit.bind_tool(elsewhere.pay, guard, source, task=task)) == {}
    assert found(remit.bind_tool(elsewhere.pay, guard, credential, task=task)) == {}
    assert asked == []
    remit.bind_tool(elsewhere.pay, guard, source, task=task)("after")
    assert asked == ["credential", "task"], "they are asked again afterwards"


# ── only the tool's own functions are replaced ──────────────────────────────────────────────────────────────
def test_another_function_of_the_same_decorator_stays_as_it_is() -> None:
    @contextlib.contextmanager
    def body(text: str) -> Generator[str]:
        yield done(text)

    @contextlib.contextmanager
    def other() -> Generator[str]:
        yield "as ever"

    twin = FunctionType(body.__code__, body.__globals__, closure=body.__closure__)
    with Standing([cast("FunctionType", body)]).in_place():
        assert cast("FunctionType", body).__code__ is twin.__code__
        with other() as answer:
            assert answer == "as ever"


def test_two_functions_of_one_decorator_are_both_replaced() -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    one, two = logged(len), logged(sum)
    standing = Standing([cast("FunctionType", one), cast("FunctionType", two)])
    with standing.in_place():
        standing.answers = True
        assert (one([]), two([])) == ("a result", "a result")
    assert [begun.function.partition(" ")[0] for begun in standing.begun] == [
        "test_two_functions_of_one_decorator_are_both_replaced.<locals>.logged.<locals>.wrapper"
    ] * 2


# ── what leads to the function inside ───────────────────────────────────────────────────────────────────────
def refunded(text: str) -> str:
    return done(text)


def closing_over(function: Callable[..., Any]) -> Callable[..., Any]:
    def again(*args: Any) -> Any:
        return function(*args)

    return again


@pytest.mark.parametrize(
    "held", [refunded, {"first": refunded}, [refunded], functools.partial(refunded), closing_over(refunded)]
)
def test_an_attribute_that_leads_to_the_bare_function_is_found(held: Any) -> None:
    tool = elsewhere.guarded(refunded)
    tool.original = held  # type: ignore[attr-defined]
    said = found(tool)
    assert set(said) == {"the bare function"}
    assert "by a call.original: refunded can be had without its guard" in said["the bare function"][0]


def test_an_attribute_that_leads_elsewhere_is_none_of_it() -> None:
    tool = elsewhere.guarded(refunded)
    tool.helper = closing_over(len)  # type: ignore[attr-defined]
    assert found(tool) == {}


# ── partials ────────────────────────────────────────────────────────────────────────────────────────────────
class Desk:
    @remit.requires_capability("desk:use")
    def _serve(self, mode: str, text: str) -> str:
        return done(mode + text)

    serve = functools.partialmethod(_serve, "fast")


@pytest.mark.parametrize(
    "make",
    [
        lambda: functools.partial(elsewhere.pay, order="A-1"),
        lambda: functools.partial(elsewhere.pay, "A-1"),
        lambda: functools.partial(functools.partial(elsewhere.pay)),
        lambda: Desk().serve,
    ],
)
def test_a_partial_of_a_guarded_function_passes(make: Callable[[], Any]) -> None:
    assert found(make()) == {}


def test_an_adapter_says_which_packages_are_its_frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from remit.testing import routes

    class Adapter:
        FRAMEWORKS = ("toys",)

    points = [EntryPoint("toy", "toy_adapter", "group"), EntryPoint("broken", "no_such_adapter", "group")]
    monkeypatch.setattr(routes, "entry_points", lambda group: points)
    monkeypatch.setitem(__import__("sys").modules, "toy_adapter", cast("Any", Adapter))
    known = routes.of_frameworks.__wrapped__()
    assert {"toys", "langchain_core", "typing"} <= known
    assert not {"langchain_community", "crewai_tools", "autogen_ext", "remit_autogen"} & known


def test_a_tool_of_a_framework_keeps_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.testing.bypass.target.routes_of", toy.routes)
    target = Target("tool", toy.Tool(elsewhere.pay), package="tests")
    assert [line for attack in attacks_on(target).values() for line in lines(attack())] == []
