"""Tools that carry their credential.

1. The check is in the functions that do the work: every route ends there, on the arguments after validation.
2. The credential is held by closures: it is in no field, no private attribute, no event and no checkpoint.
3. A denial is a `ToolFailure`, which no agent retries and which is in no cache.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import lru_cache, update_wrapper
from inspect import iscoroutine, iscoroutinefunction, signature
from types import FunctionType, MethodType
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from crewai.tools import BaseTool, tool
from crewai.tools.tool_failure import ToolFailure

import remit

_Function = Callable[..., Any]
_METHODS: Final = ("_run", "_arun")
_ENTRIES: Final = ("run", "arun", "to_structured_tool")
_holders: Final[WeakKeyDictionary[_Function, object]] = WeakKeyDictionary()


def guard_tools(
    tools: Sequence[BaseTool | _Function],
    guard: remit.Guard,
    credential: remit.Credential,
    *,
    capability: str | Mapping[str, str] | None = None,
    session: str | None = None,
    task: str | None = None,
) -> list[BaseTool]:
    """Make tools that run under `credential` and no other, whoever calls them.

    The originals stay as they were, and the methods of a tool class run on them. A call that is denied
    returns a `ToolFailure` with the code `capability_denied` and, in its `details`, the denial.

    Args:
        tools: tools, and functions that `crewai.tools.tool` makes tools of, decorated or not.
        guard: what checks each call.
        credential: what the calls run under.
        capability: that of the one tool given, or of several by tool name; by default what the tool's
            function is decorated with, else the tool's name.
        session: the session the calls belong to.
        task: the task the calls belong to, as the credential names it.

    Raises:
        ConfigError: an argument makes no sense, or a tool cannot be guarded or carries a credential already.
    """
    binder = remit.ToolBinder(guard, credential, capability=capability, session=session, task=task)
    if not isinstance(tools, Sequence):
        raise remit.ConfigError("tools must be a list")
    binder.check_names(map(_name, tools))
    return [carrying(each, binder, guard_tools) for each in tools]


def carrying(given: BaseTool | _Function, binder: remit.ToolBinder, holder: object) -> BaseTool:
    """Make a tool like `given` that carries what `binder` lends, and of which `holder_of` says `holder`."""
    name = _name(given)
    if holder_of(given) is not None:
        raise remit.ConfigError(f"tool {name!r} carries a credential already")
    if isinstance(given, BaseTool) and any(_own(type(given), entry) for entry in _ENTRIES):
        raise remit.ConfigError(f"tool {name!r} does its work where no guard can stand")
    routes = binder.bind(name, routes_of(given), declared=remit.capability_of(given))
    bound = {route: _answering(function, holder) for route, function in routes.items()}
    made = cast("BaseTool", given.model_copy() if isinstance(given, BaseTool) else tool(bound["func"]))
    if methods := tuple(bound.keys() & {*_METHODS}):
        object.__setattr__(made, "__class__", like(cast("type", type(made)), methods, _forwarding))
    vars(made).update(bound, cache_function=never_cached)
    return made


def holder_of(given: BaseTool | _Function) -> object | None:
    """Say for whom a tool carries a credential, `None` when it carries none."""
    holders = (_holders.get(route) for route in routes_of(given).values() if isinstance(route, FunctionType))
    return next(filter(None, holders), None)


def routes_of(given: BaseTool | _Function) -> dict[str, _Function]:
    """Find what was written for a tool, and not by CrewAI for all; by the name of the attribute."""
    if not isinstance(given, BaseTool):
        return {"func": given}
    named = {name: getattr(given, name, None) for name in (*_METHODS, "func")}
    return {name: each for name, each in named.items() if callable(each) and _own(type(given), name)}


def never_cached(_arguments: object = None, _result: object = None) -> bool:
    """Keep results out of a cache that agents share: it answers before a guard in a tool is asked."""
    return False


@lru_cache(maxsize=256)
def like(kind: type, names: tuple[str, ...], wrap: Callable[[_Function, str], _Function]) -> type:
    """Make a class that looks like `kind`, with these methods wrapped, or return one that is such a class."""
    if "__like__" in vars(kind):
        return kind
    methods = {name: wrap(getattr(kind, name), name) for name in names}
    body = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__like__": kind}
    made: type = type(kind)(kind.__name__, (kind,), {**body, **methods})
    kind.__init_subclass__()  # CrewAI registers classes by name, for checkpoints: the original is the one
    return made


def _name(given: object) -> str:
    if isinstance(given, BaseTool):
        return given.name
    if not isinstance(given, FunctionType | MethodType) or not given.__doc__:
        raise remit.ConfigError(
            f"a tool of CrewAI or a function with a docstring is needed, not a {type(given).__name__}"
        )
    return given.__name__


def _own(kind: type, name: str) -> bool:
    return getattr(getattr(kind, name, None), "__module__", "") != BaseTool.__module__


def _answering(function: _Function, holder: object) -> Any:
    left: dict[str, Any] = {
        p.name: (type(p.default), p.default) for p in signature(function).parameters.values()
    }

    def answered(*args: Any, **kwargs: Any) -> Any:
        # CrewAI passes what the model left out as well: a parameter at its default was not passed.
        passed = {name: value for name, value in kwargs.items() if (type(value), value) != left.get(name)}
        try:
            result = function(*args, **passed)
        except remit.Denied as denied:
            return _failure(denied)
        return _awaited(result) if iscoroutine(result) else result

    async def answered_async(*args: Any, **kwargs: Any) -> Any:
        return await answered(*args, **kwargs)

    made = _looking_like(function, answered_async if iscoroutinefunction(function) else answered)
    _holders[made] = holder
    return made


async def _awaited(result: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await result
    except remit.Denied as denied:
        return _failure(denied)


def _failure(denied: remit.Denied) -> ToolFailure:
    return ToolFailure(message=denied.reason, code="capability_denied", details=denied.to_dict())


def _looking_like(function: _Function, made: Any) -> Any:
    update_wrapper(made, function)
    del made.__wrapped__  # a way around
    made.__signature__ = signature(function)
    return made


def _forwarding(method: _Function, name: str) -> Any:
    def forwarded(self: BaseTool, *args: Any, **kwargs: Any) -> Any:
        if name not in vars(self):
            raise remit.ConfigError(f"tool {self.name!r} was made anew and carries no credential")
        return vars(self)[name](*args, **kwargs)

    return _looking_like(method, forwarded)
