"""`--remit-bypass` on the tools of the three frameworks: guarded ones pass, and half-guarded ones are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from autogen_core.tools import FunctionTool
from crewai.tools import BaseTool as CrewTool
from crewai.tools import tool as crew_tool
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.tools import tool as langchain_tool

import remit
import remit_autogen
import remit_crewai
import remit_langchain

from . import toy
from .holes import attacked, done, found

CAPABILITY = "orders:read"


def read(customer: str, limit: int = 5) -> str:
    """List the orders of a customer."""
    return done(customer)


async def aread(customer: str, limit: int = 5) -> str:
    """List the orders of a customer."""
    return done(customer)


def marked(function: Callable[..., Any]) -> Callable[..., Any]:
    made: Callable[..., Any] = remit.requires_capability(CAPABILITY)(function)
    return made


class Orders(BaseTool):
    name: str = "orders"
    description: str = "Lists orders."

    def _run(self, customer: str) -> str:
        return done(customer)

    async def _arun(self, customer: str) -> str:
        return done(customer)


class HalfOrders(Orders):
    @remit.requires_capability(CAPABILITY)
    def _run(self, customer: str) -> str:
        return done(customer)


class KeepingOrders(Orders):
    """Keeps what it was answered, in front of its guard."""

    @remit.requires_capability(CAPABILITY)
    def _run(self, customer: str) -> str:
        return done(customer)

    @remit.requires_capability(CAPABILITY)
    async def _arun(self, customer: str) -> str:
        return done(customer)

    def run(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        return done("from a cache")


class CrewOrders(CrewTool):
    name: str = "orders"
    description: str = "Lists orders."

    def _run(self, customer: str) -> str:
        return done(customer)


class CrewHalf(CrewTool):
    name: str = "half"
    description: str = "Lists orders."

    @remit.requires_capability(CAPABILITY)
    def _run(self, customer: str) -> str:
        return done(customer)

    async def _arun(self, customer: str) -> str:
        return done(customer)


def carried(guard_tools: Callable[..., list[Any]], tool: Any) -> Any:
    issuer = remit.Issuer.generate("https://auth.acme.example")
    guard = remit.Guard(trust=[issuer.anchor])
    (made,) = guard_tools([tool], guard, issuer.issue("agent", [CAPABILITY]), capability=CAPABILITY)
    return made


GUARDED: dict[str, Callable[[], Any]] = {
    "langchain, decorated": lambda: langchain_tool(marked(read)),
    "langchain, decorated coroutine": lambda: langchain_tool(marked(aread)),
    "langchain, guard_tools of a function": lambda: carried(remit_langchain.guard_tools, read),
    "langchain, guard_tools of a class": lambda: carried(remit_langchain.guard_tools, Orders()),
    "crewai, decorated": lambda: crew_tool(marked(read)),
    "crewai, guard_tools of a class": lambda: carried(remit_crewai.guard_tools, CrewOrders()),
    "autogen, decorated": lambda: FunctionTool(marked(read), description="Lists orders."),
    "autogen, guard_tools of a coroutine": lambda: carried(remit_autogen.guard_tools, aread),
}
UNGUARDED: dict[str, Callable[[], Any]] = {
    "langchain": Orders,
    "langchain, a function": lambda: langchain_tool(read),
    "crewai": CrewOrders,
    "autogen": lambda: FunctionTool(read, description="Lists orders."),
}
HALF: dict[str, tuple[Callable[[], Any], str]] = {
    "langchain, a subclass with an unguarded _arun": (HalfOrders, "Orders._arun"),
    "langchain, .func left raw": (
        lambda: StructuredTool.from_function(read, marked(aread), name="orders"),
        "read (",
    ),
    "langchain, .coroutine left raw": (
        lambda: StructuredTool.from_function(marked(read), aread, name="orders"),
        "aread (",
    ),
    "langchain, something in front of the guard": (KeepingOrders, "KeepingOrders.run"),
    "crewai, a subclass with an unguarded _arun": (CrewHalf, "CrewHalf._arun"),
}


@pytest.mark.parametrize("name", GUARDED)
def test_a_guarded_tool_passes(name: str) -> None:
    tool = GUARDED[name]()
    assert found(tool) == {}
    assert "a credential that is around" in attacked(tool)


@pytest.mark.parametrize("name", UNGUARDED)
def test_a_tool_without_a_guard_is_found(name: str) -> None:
    said = found(UNGUARDED[name]())
    assert set(said) == {"guarded"}
    assert "nothing guards it" in said["guarded"][0]


@pytest.mark.parametrize("name", HALF)
def test_a_tool_that_is_guarded_by_halves_is_found_in_one_line(name: str) -> None:
    make, function = HALF[name]
    said = found(make())
    assert set(said) == {"nothing bound"}
    assert len(said["nothing bound"]) == 1
    assert f"{function}" in said["nothing bound"][0]
    assert "with no decision before it" in said["nothing bound"][0]


def test_a_tool_that_prefers_what_is_around_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from remit.binding import BoundScope, current_binding

    entered = BoundScope.__enter__

    def enter(scope: BoundScope) -> None:
        if scope.binding is None or current_binding() is None or scope.binding.capability is None:
            entered(scope)

    tool = GUARDED["langchain, guard_tools of a function"]()
    monkeypatch.setattr(BoundScope, "__enter__", enter)
    said = found(tool)
    assert "ran under the one around it" in said["a credential that is around"][0]


class KeepingTool(toy.Tool):
    """A framework's own tool that keeps results; those of the three frameworks do not."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self.kept: dict[str, Any] = {}

    def run(self, arguments: Mapping[str, Any]) -> Any:
        key = str(sorted(arguments.items()))
        if key not in self.kept:
            self.kept[key] = super().run(arguments)
        return self.kept[key]


def test_a_cache_in_a_tool_of_a_framework_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.testing.bypass.target.routes_of", toy.routes)
    monkeypatch.setattr("remit.testing.bypass.functions.of_frameworks", lambda: frozenset({"tests"}))
    assert found(toy.Tool(marked(read)), package="shop") == {}
    said = found(KeepingTool(marked(read)), package="shop")
    assert set(said) == {"a cache"}
    assert "tool, by run: a second call was answered from a cache" in said["a cache"][0]
