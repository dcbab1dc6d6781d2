"""The functions that a tool is made of: which are guarded, and which could do its work."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from types import FunctionType
from typing import Any, Final, cast

import remit.decorator
from remit.invocation import Tool
from remit.testing.routes import INTEGRATIONS

__all__ = ["Anatomy", "is_function", "is_guarded", "wanted_by"]

_DEPTH: Final = 16


def is_function(thing: object) -> bool:
    """Tell whether something is a function, or what stands for one, and not the tool of a framework."""
    return inspect.isroutine(thing) or isinstance(thing, functools.partial) or hasattr(thing, "cache_clear")


def is_guarded(function: object) -> bool:
    """Tell whether a function is one of Remit's own, whatever it says of itself."""
    return isinstance(function, FunctionType) and function.__globals__ is vars(remit.decorator)


@dataclass(frozen=True)
class Anatomy:
    """What a tool is made of.

    Args:
        tool: a function, or a tool of a framework.
        package: the top-level package of whoever wrote the tool.
    """

    tool: object
    package: str

    def guarded(self) -> dict[str, Any]:
        """Return the guarded functions that the tool leads to, by the path to each."""
        return {path: function for path, function in self._reached(inside=False) if is_guarded(function)}

    def open(self) -> dict[str, FunctionType]:
        """Return the functions of the tool's author that can be had without passing a guard."""
        return dict(self._written(inside=False))

    def bodies(self) -> dict[str, FunctionType]:
        """Return every function that could do the work of the tool: inside its guards, and beside them."""
        return dict(self._written(inside=True))

    def _written(self, *, inside: bool) -> Iterator[tuple[str, FunctionType]]:
        for path, function in self._reached(inside=inside):
            if isinstance(function, FunctionType) and _package(function) not in _of_remit():
                yield path, function

    def _reached(self, *, inside: bool) -> Iterator[tuple[str, Any]]:
        waiting = list(self._entries())
        seen: set[int] = set()
        while waiting:
            path, start = waiting.pop(0)
            for where, function in _unwrapped(path, start):
                if id(function) in seen:
                    continue
                seen.add(id(function))
                yield where, function
                if (tool := _tool_of(function)) is not None:
                    waiting += [(f"the inside of {where}", tool.function)] if inside else []
                elif isinstance(function, FunctionType) and _package(function) in _of_remit():
                    held = inspect.getclosurevars(function).nonlocals.values()  # an adapter, around a guard
                    waiting += [(where, each) for each in held if is_function(each)]

    def _entries(self) -> Iterator[tuple[str, Any]]:
        if is_function(self.tool):
            yield "a call", self.tool
            return
        foreign = self._frameworks()
        private: dict[str, Any] = getattr(self.tool, "__pydantic_private__", None) or {}
        for name, value in {**vars(self.tool), **private}.items():
            if is_function(value) and _package(value) not in foreign:
                yield f".{name}", value
        for name in dir(type(self.tool)):
            value = inspect.getattr_static(type(self.tool), name, None)
            replaced = any(name in vars(base) for base in type(self.tool).__mro__[1:])
            if (
                replaced
                and not name.startswith("__")
                and is_function(value)
                and _package(value) not in foreign
            ):
                yield f".{name}", value

    def _frameworks(self) -> frozenset[str]:
        packages = {base.__module__.partition(".")[0] for base in type(self.tool).__mro__}
        return frozenset(packages - {self.package})


@cache
def _of_remit() -> frozenset[str]:
    """Return the packages whose code stands around the functions of tools: Remit's and the adapters'."""
    found = {point.value.partition(":")[0].partition(".")[0] for point in entry_points(group=INTEGRATIONS)}
    return frozenset(found | {"remit"})


def wanted_by(function: object) -> tuple[str, ...]:
    """Return the names of the secrets that a guarded function wants."""
    tool = _tool_of(function)
    return () if tool is None else tool.parameters.wanted


def _tool_of(function: object) -> Tool | None:
    """Return what a guarded function guards, found where only a debugger looks: in its closure."""
    for _ in range(_DEPTH):
        if not isinstance(function, FunctionType) or not is_guarded(function):
            return None
        inside = inspect.getclosurevars(function).nonlocals
        if isinstance(tool := inside.get("tool"), Tool):
            return tool
        function = inside.get("inner")
    return None


def _unwrapped(path: str, function: Any) -> Iterator[tuple[str, Any]]:
    """Yield a function and what it wraps, as anybody can have it who has the function."""
    for _ in range(_DEPTH):
        function = _plain(function)
        if is_function(function):
            yield path, function
        if isinstance(function, functools.partial):
            path, function = f"{path}.func", function.func
        elif hasattr(function, "__wrapped__"):
            path, function = f"{path}.__wrapped__", function.__wrapped__
        else:
            return


def _plain(function: Any) -> Any:
    return getattr(function, "__func__", function)


def _package(function: Any) -> str:
    """Return the top-level package that the code of a function is in, whatever it says of itself."""
    while isinstance(function, functools.partial):
        function = cast("Any", function.func)
    plain = _plain(function)
    named = plain.__globals__.get("__name__") if isinstance(plain, FunctionType) else None
    return str(named or getattr(plain, "__module__", None) or "").partition(".")[0]
