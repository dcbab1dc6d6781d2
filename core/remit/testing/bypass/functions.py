"""The functions that a tool is made of: which are guarded, and which could do its work."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, Final, cast

import remit.decorator
from remit.invocation import Tool
from remit.testing.routes import of_frameworks, of_remit

__all__ = ["Anatomy", "is_function", "is_guarded", "package_of", "wanted_by"]

_DEPTH: Final = 16
_KEEPING: Final = type(functools.lru_cache(abs))


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
        package: the top-level package of whoever names the tool: what is in it is no framework's.
    """

    tool: object
    package: str

    def guarded(self) -> dict[str, Any]:
        """Return the guarded functions that the tool leads to, by the path to each."""
        return {path: function for path, function in self._reached(inside=False) if is_guarded(function)}

    def bodies(self) -> dict[str, FunctionType]:
        """Return every function that could do the work of the tool: inside its guards, and beside them."""
        return dict(self._written(inside=True))

    def bare(self) -> dict[str, FunctionType]:
        """Return the functions that a guard is for and that can be had from the tool without it, by path."""
        found = {path: each for path, each in self._written(inside=False) if "__wrapped__" in path}
        within = {id(each) for f in self.guarded().values() for each in _wrapped_by(f)}
        for where, guarded in self.guarded().items():
            for path, held in _held(where, guarded):
                led = (begin(held), *_closed_over(held))
                if (led_to := next((each for each in led if id(each) in within), None)) is not None:
                    found[path] = led_to
        return found

    def opaque(self, ways: Iterable[str]) -> dict[str, object]:
        """Return what would really be run, because it is no Python function that a stand-in could replace.

        Args:
            ways: the names of the routes to the tool, which begin with what is called.
        """
        found: dict[str, object] = {}
        for where, function in self._reached(inside=True):
            if (tool := _tool_of(function)) is not None and begin(tool.function) is None:
                found[f"the inside of {where}"] = tool.function
        for name in () if is_function(self.tool) else dict.fromkeys(way.partition(",")[0] for way in ways):
            attribute = name.partition(".")[0].partition(" ")[0]
            for value in (
                _had(self.tool, attribute),
                inspect.getattr_static(type(self.tool), attribute, None),
            ):
                links = (each for _, each in _links(attribute, value) if callable(each))
                found |= {f".{attribute}": each for each in links if begin(each) is None}
        return found

    @property
    def is_called(self) -> bool:
        """Whether an author gave the tool a `__call__`, which the framework's adapter need not know."""
        return any(path == ".__call__" for path, _ in self._entries())

    def _written(self, *, inside: bool) -> Iterator[tuple[str, FunctionType]]:
        for path, function in self._reached(inside=inside):
            if isinstance(function, FunctionType) and package_of(function) not in of_remit():
                yield path, function

    def _reached(self, *, inside: bool) -> Iterator[tuple[str, Any]]:
        waiting = list(self._entries())
        seen: set[int] = set()
        while waiting:
            path, start = waiting.pop(0)
            for where, function in _links(path, start):
                if id(function) in seen or not is_function(function):
                    continue
                seen.add(id(function))
                yield where, function
                if (tool := _tool_of(function)) is not None:
                    waiting += [(f"the inside of {where}", tool.function)] if inside else []
                elif isinstance(function, FunctionType) and package_of(function) in of_remit():
                    held = inspect.getclosurevars(function).nonlocals.values()  # an adapter, around a guard
                    waiting += [(where, each) for each in held if is_function(each)]

    def _entries(self) -> Iterator[tuple[str, Any]]:
        if is_function(self.tool):
            yield "a call", self.tool
            return
        foreign = of_frameworks() - {self.package}
        private: dict[str, Any] = getattr(self.tool, "__pydantic_private__", None) or {}
        held: dict[str, Any] = {**getattr(self.tool, "__dict__", {}), **private}
        for name, value in held.items():
            if is_function(value) and package_of(value) not in foreign:
                yield f".{name}", value
        for name in dir(type(self.tool)):
            homes = [base for base in type(self.tool).__mro__ if name in vars(base)]
            own = name == "__call__" or (len(homes) > 1 and not name.startswith("__"))
            if not own or not homes:
                continue
            function: Any = vars(homes[0])[name]
            if not is_function(function) and homes[0].__module__.partition(".")[0] not in foreign:
                function = _had(self.tool, name)  # a partialmethod, or what a property finds
            if is_function(function) and package_of(function) not in foreign:
                yield f".{name}", function


def begin(thing: Any) -> FunctionType | None:
    """Return the Python function with which a call of something begins; None when it begins elsewhere."""
    for _ in range(_DEPTH):
        if isinstance(thing, FunctionType):
            return thing
        if type(thing) in {functools.partial, functools.partialmethod}:
            thing = thing.func
        elif isinstance(thing, MethodType | staticmethod | classmethod):
            thing = cast("Any", thing).__func__
        elif isinstance(thing, _KEEPING):
            thing = cast("Any", thing).__wrapped__
        else:
            return None
    return None


def _had(tool: object, name: str) -> Any:
    try:
        return getattr(tool, name, None)
    except Exception:  # noqa: BLE001 - a property is anybody's code, and may raise anything
        return None


def _wrapped_by(guarded: object) -> Iterator[FunctionType]:
    """Yield what a guarded function guards, and what that says it wraps."""
    tool = _tool_of(guarded)
    for _, each in _links("", None if tool is None else tool.function):
        if (function := begin(each)) is not None:
            yield function


def _held(path: str, function: object) -> Iterator[tuple[str, Any]]:
    """Yield the functions that are attributes of a function, or one step into a container there."""
    for name, value in getattr(function, "__dict__", {}).items():
        several: list[Any] = [value]
        if isinstance(value, Mapping):
            several = [*cast("Mapping[object, Any]", value).values()]
        elif isinstance(value, list | tuple | set | frozenset):
            several = [*cast("list[Any]", value)]
        for each in several:
            if begin(each) is not None and name != "__wrapped__" and not is_guarded(each):
                yield f"{path}.{name}", each


def _closed_over(function: object) -> Iterator[FunctionType | None]:
    begun = begin(function)
    for cell in (begun.__closure__ or ()) if begun is not None else ():
        try:
            yield begin(cell.cell_contents)
        except ValueError:  # it is empty
            continue


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
        function = next(filter(is_guarded, inside.values()), None)  # what carries a credential calls it
    return None


def _links(path: str, function: Any) -> Iterator[tuple[str, Any]]:
    """Yield something and what it wraps, as anybody can have it who has it."""
    for _ in range(_DEPTH):
        function = _plain(function)
        yield path, function
        if isinstance(function, functools.partial | functools.partialmethod):
            path, function = f"{path}.func", cast("Any", function).func
        elif hasattr(function, "__wrapped__"):
            path, function = f"{path}.__wrapped__", function.__wrapped__
        else:
            return


def _plain(function: Any) -> Any:
    return getattr(function, "__func__", function)


def package_of(function: Any) -> str:
    """Return the top-level package that the code of a function is in, whatever it says of itself."""
    while isinstance(function, functools.partial):
        function = cast("Any", function.func)
    plain = _plain(function)
    named = plain.__globals__.get("__name__") if isinstance(plain, FunctionType) else None
    return str(named or getattr(plain, "__module__", None) or "").partition(".")[0]
