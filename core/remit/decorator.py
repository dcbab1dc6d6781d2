"""Guarding functions: the check inside the tool, on the values that will be executed."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast, overload

from remit.binding import BoundScope, Call, current_binding
from remit.capability import Capability
from remit.errors import CapabilityDenied, ConfigError, RemitError, shown
from remit.parameters import Parameters
from remit.secrets import Scrubber

if TYPE_CHECKING:
    from remit.credential import Credential
    from remit.guard import Guard

__all__ = ["bind_tool", "capability_of", "requires_capability"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_KEPT: Final = ("__module__", "__name__", "__qualname__", "__doc__")


@overload
def requires_capability(capability: str, /) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
@overload
def requires_capability(capability: staticmethod[P, R], /) -> staticmethod[P, R]: ...
@overload
def requires_capability(capability: classmethod[S, P, R], /) -> classmethod[S, P, R]: ...
@overload
def requires_capability(capability: Callable[P, R], /) -> Callable[P, R]: ...
def requires_capability(capability: Any, /) -> Any:
    """Guard a function: each call needs a credential that grants `capability` for its arguments.

    Works on functions, coroutines, generators, asynchronous generators and methods, and keeps
    their kind and signature. Which credential a call runs under is the binding's matter
    (`Guard.acting_as`, an adapter, or `with guard.verify(...)`); with none, the call is denied.
    The function gets private copies of the arguments, the very values that were checked. What it
    returns, yields or raises is cleaned of the secrets it was given.

    A generator is checked when it is called, and keeps the binding of that moment.

    Args:
        capability: the capability's name; without one, `@requires_capability` uses the function's.

    Raises:
        ConfigError: when there is no name, or nothing that can be guarded.
        Denied: by the guarded function, when a call is not allowed.
    """
    if isinstance(capability, str):
        name = Capability(capability).name
        return lambda function: _guarded(function, name)
    if isinstance(capability, staticmethod | classmethod) or callable(capability):
        function = getattr(capability, "__func__", capability)
        return _guarded(capability, Capability(getattr(function, "__name__", "")).name)
    raise ConfigError(f"requires_capability takes a capability's name or a function, not {shown(capability)}")


def capability_of(tool: object) -> str | None:
    """Return the capability that a function is guarded for, or None when it is not guarded."""
    name = getattr(tool, "__capability__", None)
    return name if isinstance(name, str) else None


def bind_tool(
    function: Callable[P, R],
    guard: Guard,
    credential: Credential,
    *,
    capability: str | None = None,
    session: str | None = None,
    task: str | None = None,
) -> Callable[P, R]:
    """Return a function of the same signature that carries its credential into every call.

    The binding is call-scoped: the body runs with nothing bound. For adapters, and for handing a
    tool to code that knows nothing of Remit.

    Args:
        function: a function; one that is not guarded yet is guarded.
        guard: who decides.
        credential: under which every call runs.
        capability: the name to guard it for; by default the one it is guarded for, or its own name.
        session: the session of the calls.
        task: the task of the calls.

    Raises:
        ConfigError: when the function is guarded for another capability, or an argument makes no sense.
    """
    held = capability_of(function)
    if held is not None and capability is not None and held != capability:
        raise ConfigError(f"the tool is guarded for {shown(held)} already, not for {shown(capability)}")
    name = held or capability or str(getattr(function, "__name__", ""))
    inner = function if held is not None else requires_capability(name)(function)
    binding = guard.acting_as(credential, capability=name, session=session, task=task).binding
    if inspect.iscoroutinefunction(inner):

        async def bound_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            with BoundScope(binding):
                return await inner(*args, **kwargs)

        return cast("Callable[P, R]", _dressed(bound_async, inner, name, inspect.signature(inner)))

    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        with BoundScope(binding):
            return inner(*args, **kwargs)

    return cast("Callable[P, R]", _dressed(bound, inner, name, inspect.signature(inner)))


def _guarded(function: Any, capability: str) -> Any:
    if isinstance(function, staticmethod | classmethod):
        return type(function)(_guarded(function.__func__, capability))
    if not callable(function) or isinstance(function, type) or not hasattr(function, "__name__"):
        raise ConfigError(f"only functions can be guarded, not {shown(function)}")
    if capability_of(function) is not None:
        raise ConfigError(f"{shown(capability)}: the function is guarded already")
    parameters = Parameters(function)
    begin = partial(_Run, function, parameters, capability)
    if inspect.iscoroutinefunction(function):

        async def guarded_async(*args: Any, **kwargs: Any) -> Any:
            return await begin(args, kwargs).coroutine()

        return _dressed(guarded_async, function, capability, parameters.signature)

    def guarded(*args: Any, **kwargs: Any) -> Any:
        return begin(args, kwargs).result()

    return _dressed(guarded, function, capability, parameters.signature)


class _Run:
    """One call of a guarded function, allowed before it exists."""

    __slots__ = ("_admission", "_arguments", "_function", "_inside", "_scrubber")

    def __init__(
        self,
        function: Callable[..., Any],
        parameters: Parameters,
        capability: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        binding = current_binding()
        if binding is None or binding.capability not in {None, capability}:
            raise CapabilityDenied(
                "not_bound",
                f"You may not use {shown(capability)}: nothing is bound to it here.",
                capability=capability,
            )
        taken = parameters.take(args, kwargs)
        admission = binding.admit(
            Call(
                capability,
                taken.passed,
                parameters.unpassed(taken),
                tuple(parameters.secrets.values()),
                taken.problem,
            )
        )
        own = {**admission.arguments, **admission.defaults}
        self._function = function
        self._admission = admission
        self._arguments = parameters.apply(taken, own, admission.secrets)
        # What a call-scoped binding allows is this one call, not what its body goes on to call.
        self._inside = None if binding.capability is not None else binding
        self._scrubber = Scrubber(admission.secrets.values()) if admission.secrets else None

    def _call(self) -> Any:
        positional, named = self._arguments
        return self._function(*positional, **named)

    def result(self) -> Any:
        """Run a function; what it returns for later (a generator, a coroutine) is run under this call too."""
        error: BaseException | None = None
        try:
            with BoundScope(self._inside):
                value = self._call()
        except BaseException as caught:  # noqa: BLE001 - raised again below, cleaned and recorded
            error = self._failed(caught)
        if error is not None:
            raise error
        if type(value) is GeneratorType:
            return self._generator(value)
        if type(value) is AsyncGeneratorType:
            return self._async_generator(value)
        if type(value) is CoroutineType:
            return self.coroutine(value)
        return self._finished(value)

    async def coroutine(self, started: Coroutine[Any, Any, Any] | None = None) -> Any:
        """Run a coroutine."""
        error: BaseException | None = None
        try:
            with BoundScope(self._inside):
                value = await (self._call() if started is None else started)
        except BaseException as caught:  # noqa: BLE001 - raised again below, cleaned and recorded
            error = self._failed(caught)
        if error is not None:
            raise error
        return self._finished(value)

    def _generator(self, body: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Step a generator, each step under the binding of the call, whoever asks for it."""
        error: BaseException | None = None
        step, given = body.send, None
        try:
            self._admission.recheck()
            while True:
                with BoundScope(self._inside):
                    item = step(given)
                try:
                    step, given = body.send, (yield self._clean(item))
                except GeneratorExit:
                    with BoundScope(self._inside):
                        body.close()
                    raise
                except BaseException as thrown:  # noqa: BLE001 - it is the body's to handle
                    step, given = body.throw, thrown
        except StopIteration as stop:
            value = stop.value
        except BaseException as caught:  # noqa: BLE001 - raised again below, cleaned and recorded
            error = self._failed(caught)
        if error is not None:
            raise error
        return self._finished(value)

    async def _async_generator(self, body: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
        """Step an asynchronous generator, each step under the binding of the call."""
        error: BaseException | None = None
        step, given = body.asend, None
        try:
            self._admission.recheck()
            while True:
                with BoundScope(self._inside):
                    item = await step(given)
                try:
                    step, given = body.asend, (yield self._clean(item))
                except GeneratorExit:
                    with BoundScope(self._inside):
                        await body.aclose()
                    raise
                except BaseException as thrown:  # noqa: BLE001 - it is the body's to handle
                    step, given = body.athrow, thrown
        except StopAsyncIteration:
            self._finished(None)
        except BaseException as caught:  # noqa: BLE001 - raised again below, cleaned and recorded
            error = self._failed(caught)
        if error is not None:
            raise error

    def _clean(self, value: Any) -> Any:
        return value if self._scrubber is None else self._scrubber.clean(value)

    def _finished(self, value: Any) -> Any:
        self._admission.settle(None)
        return self._clean(value)

    def _failed(self, error: BaseException) -> BaseException:
        """Record that the call failed, and return what to raise: the error without secrets."""
        self._admission.settle(error)
        if self._scrubber is not None:
            self._scrubber.clean_error(error)
            if self._scrubber.shows_in(error):
                return RemitError(
                    f"The tool failed with {type(error).__name__}, whose message held a secret."
                )
        return error


def _dressed(wrapper: Any, function: Any, capability: str, signature: inspect.Signature) -> Any:
    """Give `wrapper` the looks of `function`, and no `__wrapped__` through which to reach it."""
    wrapper.__dict__.update({name: value for name, value in vars(function).items() if name != "__wrapped__"})
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
    return wrapper
