"""The tools that are attacked: what `module:tools` names."""

from __future__ import annotations

import inspect
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from itertools import takewhile
from typing import Any, cast

from remit.errors import ConfigError, shown
from remit.testing.adapter import Route
from remit.testing.bypass.functions import Anatomy, is_function, is_guarded, wanted_by
from remit.testing.bypass.samples import sample_arguments
from remit.testing.routes import routes_of

__all__ = ["Target", "load_targets"]

_Kind = inspect.Parameter


@dataclass(frozen=True)
class Target:
    """One tool of somebody's."""

    name: str
    tool: Any
    given: Mapping[str, object] = field(default_factory=dict[str, object])
    """Sample arguments by parameter name."""
    package: str = ""
    """The top-level package of whoever wrote it."""

    @cached_property
    def anatomy(self) -> Anatomy:
        """The functions that it is made of."""
        return Anatomy(self.tool, self.package)

    @cached_property
    def guarded(self) -> dict[str, Any]:
        """The guarded functions that it leads to, by path."""
        return self.anatomy.guarded()

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What its functions are guarded for."""
        return tuple(dict.fromkeys(function.__capability__ for function in self.guarded.values()))

    @cached_property
    def secrets(self) -> list[str]:
        """The names of the secrets that its functions want."""
        return list(dict.fromkeys(name for f in self.guarded.values() for name in wanted_by(f)))

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """Sample arguments: those given, and made ones for what else the tool requires.

        Raises:
            ConfigError: when one cannot be made.
        """
        functions = [self.tool] if is_function(self.tool) else list(self.guarded.values())
        named = [f for f in functions if not _takes_anything(f)]
        return sample_arguments((named or functions)[0], self.given)

    @cached_property
    def routes(self) -> Mapping[str, Route]:
        """The ways to the tool by name.

        Raises:
            ConfigError: when no adapter knows the tool.
        """
        tool = self.tool
        if not is_function(tool):
            own: dict[str, Route] = {"__call__": partial(_called, tool, ())} if self.anatomy.is_called else {}
            return {**routes_of(tool), **own}
        return {
            "a call": partial(_called, tool, (_Kind.POSITIONAL_ONLY,)),
            "a call, positionally": partial(
                _called, tool, (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD)
            ),
        }


def load_targets(spec: str) -> list[Target]:
    """Return the tools that `module:name` names.

    What is there may be a tool, a list, tuple, set or mapping of tools, or a function that is not guarded,
    takes no parameters, and returns them. A tool in a list may come with sample arguments:
    `(tool, {"amount": 5})`.

    Args:
        spec: the module and the name in it.

    Raises:
        ConfigError: when it names nothing, or no tools.
    """
    module_name, _, path = spec.partition(":")
    if not module_name or not path:
        raise ConfigError(f"{shown(spec)} must be a module and a name in it, such as shop.tools:TOOLS")
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{shown(spec)}: no module {shown(error.name)}") from error
    except Exception as error:  # a module is anybody's code, and may raise anything
        raise ConfigError(f"{shown(spec)} cannot be imported: {_said(error)}") from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise ConfigError(f"{shown(spec)}: there is no {shown(name)}")
        found = getattr(found, name)
    if inspect.isfunction(found) and not is_guarded(found) and not inspect.signature(found).parameters:
        try:
            found = found()
        except Exception as error:  # a function is anybody's code, and may raise anything
            raise ConfigError(f"{shown(spec)} returns no tools: {_said(error)}") from error
    package = module_name.partition(".")[0]
    targets = [_target(name, entry, package) for name, entry in _entries(found)]
    if not targets:
        raise ConfigError(f"{shown(spec)} has no tools in it")
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise ConfigError(f"{shown(spec)}: name each tool once")
    return targets


def _entries(found: Any) -> list[tuple[str | None, Any]]:
    if isinstance(found, Mapping):
        return [(str(name), entry) for name, entry in cast("Mapping[object, Any]", found).items()]
    if isinstance(found, list | tuple | set | frozenset) and _pair(found) is None:
        several: list[Any] = [*cast("list[Any]", found)]
        return [(None, entry) for entry in several]
    return [(None, found)]


def _pair(entry: Any) -> tuple[Any, Mapping[str, object]] | None:
    """Return a tool with its sample arguments, where an entry is such a pair."""
    if not isinstance(entry, tuple):
        return None
    parts: list[Any] = [*entry]
    return (parts[0], parts[1]) if [isinstance(part, dict) for part in parts] == [False, True] else None


def _target(name: str | None, entry: Any, package: str) -> Target:
    nothing: dict[str, object] = {}
    tool, given = _pair(entry) or (entry, nothing)
    if tool is None or isinstance(tool, type | str | bytes | int | float):
        raise ConfigError(f"{shown(tool)} is no tool")
    own = getattr(tool, "name", None) or getattr(tool, "__name__", None) or type(tool).__name__
    return Target(name or str(own), tool, given, package)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _takes_anything(function: Any) -> bool:
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    return inspect.Parameter.VAR_KEYWORD in kinds


def _called(tool: Any, by_position: Container[object], arguments: Mapping[str, Any]) -> Any:
    parameters = inspect.signature(tool).parameters.values()
    first = list(takewhile(arguments.__contains__, (p.name for p in parameters if p.kind in by_position)))
    return tool(*map(arguments.__getitem__, first), **{k: v for k, v in arguments.items() if k not in first})
