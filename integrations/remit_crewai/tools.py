"""Tools that carry their credential.

1. The check is in the functions that do the work: every route ends there, on the arguments after validation.
2. The credential is held by closures: it is in no field, no private attribute, no event and no checkpoint.
3. A denial is a `ToolFailure`, which no agent retries and which is in no cache.
4. What is restored from a checkpoint carries no credential: it is denied, or does nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, wraps
from inspect import signature
from types import FunctionType, MethodType
from typing import Any, Final
from weakref import WeakKeyDictionary

from crewai.tools import BaseTool, tool
from crewai.tools.tool_failure import ToolFailure
from pydantic import BaseModel, computed_field

import remit

_Function = Callable[..., Any]
_Wrap = Callable[[_Function, str], _Function]
_METHODS: Final = ("_run", "_arun")
_ENTRIES: Final = ("run", "arun", "to_structured_tool")
_holders: Final[WeakKeyDictionary[_Function, object]] = WeakKeyDictionary()


class Restored(BaseTool):
    """What a tool becomes in a checkpoint that only its guard stood before: one that does nothing."""

    def _run(self, **_: Any) -> ToolFailure:
        return ToolFailure(message="You may not use a tool that was restored.", code="capability_denied")


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
    bearer: dict[str, Any] = {"session": session, "task": task, "answer": answer}
    binder = remit.ToolBinder(guard, credential, capability=capability, **bearer)
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
    routes, declared = routes_of(given), remit.capability_of(given)
    bound = binder.bind(name, routes, declared=declared, defaults=_defaults(given))
    _holders.update(dict.fromkeys(bound.values(), holder))
    made: BaseTool = given.model_copy() if isinstance(given, BaseTool) else tool(bound["func"])
    if methods := tuple(sorted(bound.keys() & {*_METHODS})):
        restored = Restored if binder.mark(name, routes) is None else None
        object.__setattr__(made, "__class__", like(made.__class__, methods, _forwarding, restored))
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
def like(kind: type, names: tuple[str, ...], wrap: _Wrap, restored: type | None = None) -> type:
    """Make a class that looks like `kind`, with these methods wrapped, or return one that is such a class.

    A checkpoint restores its objects as `kind`, or as `restored`.
    """
    if "__like__" in vars(kind):
        return kind
    body: dict[str, Any] = {name: wrap(getattr(kind, name), name) for name in names}
    body |= {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__like__": kind}
    if restored is not None:
        path = f"{restored.__module__}.{restored.__qualname__}"
        body["tool_type"] = computed_field(return_type=str)(property(lambda _: path))
    made: type = type(kind)(kind.__name__, (kind,), body)
    kind.__init_subclass__()  # CrewAI registers classes by name, for checkpoints: the original is the one
    return made


def _name(given: object) -> str:
    if isinstance(given, BaseTool):
        return given.name
    if not isinstance(given, FunctionType | MethodType) or not given.__doc__:
        raise remit.ConfigError(f"a {type(given).__name__} is no tool, nor a function with a docstring")
    return given.__name__


def _own(kind: type, name: str) -> bool:
    return getattr(getattr(kind, name, None), "__module__", "") != BaseTool.__module__


def answer(denied: remit.Denied) -> ToolFailure:
    """Tell an agent of a denial as CrewAI does of a failure that is not to be tried again."""
    return ToolFailure(message=denied.reason, code="capability_denied", details=denied.to_dict())


def _defaults(given: Any) -> dict[str, Any]:
    # CrewAI fills in what the model left out; the function itself need not know.
    fields = getattr(given, "args_schema", BaseModel).model_fields
    known = {name: field for name, field in fields.items() if field.default_factory in {None, list, dict}}
    return {n: f.get_default(call_default_factory=True) for n, f in known.items() if not f.is_required()}


def _forwarding(method: _Function, name: str) -> Any:
    @wraps(method)
    def forwarded(self: BaseTool, *args: Any, **kwargs: Any) -> Any:
        if name not in vars(self):
            raise remit.ConfigError(f"tool {self.name!r} was made anew and carries no credential")
        return vars(self)[name](*args, **kwargs)

    del forwarded.__wrapped__  # a way around
    vars(forwarded)["__signature__"] = signature(method)
    return forwarded
