"""Guarding functions: the check inside the tool, on the values that will be executed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast, overload
from weakref import WeakSet

from remit.capability import Capability
from remit.errors import ConfigError, Denied, shown
from remit.invocation import Invocation, Tool
from remit.lender import CredentialSource, Lender, TaskSource
from remit.names import seconds
from remit.parameters import Parameters

if TYPE_CHECKING:
    from remit.guard import Guard
    from remit.names import Duration

__all__ = ["bind_tool", "bound_by", "capability_of", "mark_of", "requires_capability"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_REWRAP: Final[dict[type, Callable[[Any], Any]]] = {staticmethod: staticmethod, classmethod: classmethod}
_MAX_WRAPPERS: Final = 32
_guarded_functions: Final[WeakSet[Any]] = WeakSet()
_KEPT: Final = ("__module__", "__name__", "__qualname__", "__doc__")


@overload
def requires_capability(
    capability: str, /, *, fresh: Duration | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
@overload
def requires_capability(capability: staticmethod[P, R], /) -> staticmethod[P, R]: ...
@overload
def requires_capability(capability: classmethod[S, P, R], /) -> classmethod[S, P, R]: ...
@overload
def requires_capability(capability: Callable[P, R], /) -> Callable[P, R]: ...
def requires_capability(capability: Any, /, *, fresh: Duration | None = None) -> Any:
    """Guard a function: each call needs a credential that grants `capability` for its arguments.

    Works on functions, coroutines, generators, asynchronous generators and methods, and keeps
    their kind and signature. Which credential a call runs under is the binding's matter
    (`Guard.acting_as`, an adapter, or `with guard.verify(...)`); with none, the call is denied.
    The function gets private copies of the arguments, the very values that were checked. What it
    returns, yields or raises is cleaned of the secrets it was given.

    A generator is checked when it is called, and keeps the binding of that moment.

    Args:
        capability: the capability's name; without one, `@requires_capability` uses the function's.
        fresh: the tool's staleness bound: how old what is known of revocations may be when it is
            called, such as `5s` for one that pays. Where the guard has a bound, the stricter counts.

    Raises:
        ConfigError: when there is no name, or nothing that can be guarded.
        Denied: by the guarded function, when a call is not allowed.
    """
    if isinstance(capability, str):
        name = Capability(capability).name
        return partial(_guarded, capability=name, fresh=None if fresh is None else seconds("fresh", fresh))
    if callable(capability) or hasattr(capability, "__func__"):
        function = getattr(capability, "__func__", capability)
        return _guarded(capability, Capability(getattr(function, "__name__", "")).name)
    raise ConfigError(f"requires_capability takes a capability's name or a function, not {shown(capability)}")


def capability_of(tool: object) -> str | None:
    """Return the capability that a function is guarded for, or None when it is not guarded."""
    name = getattr(tool, "__capability__", None)
    if hasattr(tool, "__wrapped__"):  # what wraps a guarded function may not call it
        return None
    return name if isinstance(name, str) else None


def mark_of(function: object) -> str | None:
    """Return what `capability_of` does.

    Raises:
        ConfigError: when something else stands before the guard, which nobody could bind.
    """
    _is_guarded(function)
    return capability_of(function)


def bind_tool(
    function: Callable[P, R],
    guard: Guard,
    credential: CredentialSource,
    *,
    capability: str | None = None,
    session: str | None = None,
    task: TaskSource = None,
) -> Callable[P, R]:
    """Return a function of the same signature that carries its credential into every call.

    The binding is call-scoped: the body runs with nothing bound. For adapters, and for handing a
    tool to code that knows nothing of Remit.

    Args:
        function: a function; one that is not guarded yet is guarded.
        guard: who decides.
        credential: under which every call runs, or what is asked for it at each call; where that has
            none, nothing is bound.
        capability: the name to guard it for; by default the one it is guarded for, or its own name.
        session: the session of the calls.
        task: the task of the calls, or what is asked for it at each call.

    Raises:
        ConfigError: when the function is guarded for another capability, or an argument makes no sense.
    """
    return bound_by(Lender(guard, credential, session=session, task=task), function, capability)


def bound_by(
    lender: Lender,
    function: Callable[P, R],
    capability: str | None,
    *,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    answer: Callable[[Denied], Any] | None = None,
) -> Callable[P, R]:
    """Return what `bind_tool` does.

    Args:
        lender: lends the credential.
        function: as for `bind_tool`.
        capability: as for `bind_tool`.
        defaults: argument name to the default that a framework's schema fills in for it.
        answer: what a denied call returns; by default it raises.
    """
    held = capability_of(function) if _is_guarded(function) else None
    if held is not None and capability is not None and held != capability:
        raise ConfigError(f"the tool is guarded for {shown(held)} already, not for {shown(capability)}")
    name = next(name for name in (held, capability, getattr(function, "__name__", "")) if name is not None)
    inner = function if held is not None else _guarded(function, Capability(name).name, filled=defaults)
    call: Any = inner if answer is None else _answering(inner, answer)
    scope = lender.scopes(name)
    if inspect.iscoroutinefunction(inner):

        async def bound_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            with scope():
                return await call(*args, **kwargs)

        return cast("Callable[P, R]", _dressed(bound_async, inner, name, inspect.signature(inner)))

    def bound(*args: P.args, **kwargs: P.kwargs) -> Any:
        with scope():
            return call(*args, **kwargs)

    return cast("Callable[P, R]", _dressed(bound, inner, name, inspect.signature(inner)))


def _answering(function: Any, answer: Callable[[Denied], Any]) -> Any:
    """Return a function of the same kind that returns `answer` where the call is denied."""

    async def answered_later(result: Any) -> Any:
        try:
            return await result
        except Denied as denied:
            return answer(denied)

    def answered(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
        except Denied as denied:
            return answer(denied)
        return answered_later(result) if inspect.iscoroutine(result) else result

    return answered


def _guarded(
    function: Any,
    capability: str,
    fresh: int | None = None,
    filled: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    rewrap = _REWRAP.get(type(cast("object", function)))
    if rewrap is not None:
        return rewrap(_guarded(function.__func__, capability, fresh, filled))
    if not callable(function) or isinstance(function, type) or not hasattr(function, "__name__"):
        raise ConfigError(f"only functions can be guarded, not {shown(function)}")
    if _is_guarded(function):
        raise ConfigError(f"{shown(capability)}: the function is guarded already")
    parameters = Parameters(function, filled)
    tool = Tool(function, parameters, capability, fresh)
    return _dressed(_checking(tool), function, capability, parameters.signature)


def _checking(tool: Tool) -> Callable[..., Any]:
    """Return the function of the same kind that checks each call before it runs the tool."""
    if inspect.iscoroutinefunction(tool.function):

        async def guarded_async(*args: Any, **kwargs: Any) -> Any:
            return await (await Invocation.begun(tool, tool.binding(), args, kwargs)).coroutine()

        return guarded_async
    if inspect.isasyncgenfunction(tool.function):

        def guarded_stream(*args: Any, **kwargs: Any) -> Any:
            binding = tool.binding()
            if binding.waits:
                return Invocation.stream(tool, binding, args, kwargs)
            return Invocation(tool, binding, args, kwargs).result()

        return guarded_stream

    def guarded(*args: Any, **kwargs: Any) -> Any:
        return Invocation(tool, tool.binding(), args, kwargs).result()

    return guarded


def _dressed(wrapper: Any, function: Any, capability: str, signature: inspect.Signature) -> Any:
    """Give `wrapper` the looks of `function`, and nothing through which to reach it."""
    attributes = getattr(function, "__dict__", {}).items()
    wrapper.__dict__.update({name: value for name, value in attributes if not _leads_on(value)})
    for name in _KEPT:
        if hasattr(function, name):
            setattr(wrapper, name, getattr(function, name))
    wrapper.__signature__ = signature
    empty = inspect.Parameter.empty
    annotations = {p.name: p.annotation for p in signature.parameters.values() if p.annotation is not empty}
    if signature.return_annotation is not empty:
        annotations["return"] = signature.return_annotation
    wrapper.__annotations__ = annotations
    wrapper.__capability__ = capability
    _guarded_functions.add(wrapper)
    return wrapper


def _leads_on(value: Any) -> bool:
    """Tell whether an attribute is or holds a function, such as `__wrapped__`, `retry_with` or `registry`."""
    if isinstance(value, Mapping):
        value = list(cast("Mapping[object, object]", value).values())
    held = cast("list[object]", value) if isinstance(value, list | tuple | set | frozenset) else [value]
    return any(callable(each) and not isinstance(each, type) for each in held)


def _is_guarded(function: object) -> bool:
    """Tell whether a call of `function` begins with a check; `__capability__` alone does not say so.

    Raises:
        ConfigError: when it wraps a guarded function: a cache, say, answers before the check is made.
    """
    for _ in range(_MAX_WRAPPERS):
        function = getattr(function, "__func__", function)
        if _is_ours(function):
            return True
        wrapped = getattr(function, "__wrapped__", function.func if isinstance(function, partial) else None)
        if wrapped is None:
            return False
        if _is_ours(getattr(wrapped, "__func__", wrapped)):
            raise ConfigError("the tool wraps a guarded function; guard what is outermost")
        function = wrapped
    return False


def _is_ours(function: object) -> bool:
    try:
        return function in _guarded_functions
    except TypeError:  # what cannot be in a set is none of ours
        return False
