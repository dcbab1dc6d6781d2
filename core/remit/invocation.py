"""One call of a guarded function: allowed first, then run, then cleaned and recorded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, cast

from remit.binding import Binding, BoundScope, Call, current_binding
from remit.errors import CapabilityDenied, RemitError, shown
from remit.offload import in_thread
from remit.secrets import Scrubber

if TYPE_CHECKING:
    from remit.parameters import Parameters

__all__ = ["Invocation", "Tool"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that is guarded, and for what."""

    function: Callable[..., Any]
    parameters: Parameters
    """How it is called."""
    capability: str
    fresh: int | None = None
    """Its own staleness bound, in seconds."""

    def binding(self) -> Binding:
        """Return what is bound to the tool here.

        Raises:
            CapabilityDenied: with `not_bound`, when nothing is.
        """
        binding = current_binding()
        if binding is None or binding.ended or binding.capability not in {None, self.capability}:
            raise CapabilityDenied(
                "not_bound",
                f"You may not use {shown(self.capability)}: nothing is bound to it here.",
                capability=self.capability,
            )
        return binding


class Invocation:
    """A call that was allowed; building one is the check.

    What the function leaves for later (a generator, a coroutine) is run under the binding of this
    call, whoever asks for it, and only if the credential is still good when it begins.

    Args:
        tool: what is called.
        binding: who decides.
        args: the positional arguments of the call.
        kwargs: the keyword arguments of the call.

    Raises:
        Denied: when the call is not allowed.
    """

    __slots__ = ("_admission", "_arguments", "_function", "_inside", "_scrubber", "_waits")

    def __init__(self, tool: Tool, binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        parameters = tool.parameters
        taken = parameters.take(args, kwargs)
        admission = binding.admit(
            Call(
                tool.capability,
                taken.passed,
                parameters.unpassed(taken),
                parameters.wanted,
                parameters.injected,
                taken.problem,
                tool.fresh,
            )
        )
        own = {**admission.arguments, **admission.defaults} if admission.defaults else admission.arguments
        self._function = tool.function
        self._admission = admission
        self._arguments = parameters.apply(taken, own, admission.secrets)
        # What a call-scoped binding allows is this one call, not what its body goes on to call.
        self._inside = binding.inside()
        self._scrubber = Scrubber(admission.secrets.values()) if admission.secrets else None
        self._waits = binding.waits

    @classmethod
    async def begun(
        cls, tool: Tool, binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Invocation:
        """Check a call from a coroutine: in a thread, where the check may wait for a network."""
        if not binding.waits:
            return cls(tool, binding, args, kwargs)
        return await in_thread(partial(cls, tool, binding, args, kwargs), cls._abandon)

    def _abandon(self, reason: BaseException) -> None:
        """Record that the function was never run."""
        self._admission.settle(reason)

    def result(self) -> Any:
        """Run a function and return what it returns."""
        try:
            with BoundScope(self._inside):
                value = self._started()
        except BaseException as caught:  # recorded, cleaned, and raised again
            error = self._failed(caught)
            if error is caught:
                raise
        else:
            return self._kept(value)
        raise error

    @classmethod
    async def stream(
        cls, tool: Tool, binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Any, Any]:
        """Check a call of an asynchronous generator function when its first item is asked for, and run it.

        For checks that may wait for a network: calling such a function does not wait.
        """
        body = (await cls.begun(tool, binding, args, kwargs)).result()
        step, given = body.asend, None
        while True:
            try:
                item = await step(given)
            except StopAsyncIteration:
                return
            try:
                step, given = body.asend, (yield item)
            except BaseException as thrown:  # noqa: BLE001 - it is the body's to handle
                step, given = body.athrow, thrown

    async def coroutine(self) -> Any:
        """Run a coroutine function and return what it returns."""
        return await self._awaited(None)

    def _kept(self, value: Any) -> Any:
        kind = type(cast("object", value))
        if kind is GeneratorType:
            return self._stepped(value)
        if kind is AsyncGeneratorType:
            return self._stepped_async(value)
        if kind is CoroutineType:
            return self._awaited(value)
        return self._finished(value)

    def _started(self) -> Any:
        positional, named = self._arguments
        return self._function(*positional, **named)

    async def _awaited(self, body: Coroutine[Any, Any, Any] | None) -> Any:
        try:
            if body is not None:
                await self._recheck()
            with BoundScope(self._inside):
                value = await (self._started() if body is None else body)
        except BaseException as caught:  # recorded, cleaned, and raised again
            if body is not None:
                body.close()  # it may not even have begun
            error = self._failed(caught)
            if error is caught:
                raise
        else:
            return self._finished(value)
        raise error

    def _stepped(self, body: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        step: Callable[[Any], Any] = body.send
        given: Any = None
        try:
            self._admission.recheck()
            while True:
                with BoundScope(self._inside):
                    item = step(given)
                try:
                    step, given = body.send, (yield self._clean(item))
                except BaseException as thrown:  # noqa: BLE001 - the body may handle what its consumer throws in
                    step, given = body.throw, thrown
        except StopIteration as stop:
            return self._finished(stop.value)
        except BaseException as caught:  # recorded, cleaned, and raised again
            error = self._failed(caught)
            if error is caught:
                raise
        raise error

    async def _recheck(self) -> None:
        if self._waits:
            await in_thread(self._admission.recheck, _nothing)
        else:
            self._admission.recheck()

    async def _stepped_async(self, body: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
        step: Callable[[Any], Any] = body.asend
        given: Any = None
        try:
            await self._recheck()
            while True:
                with BoundScope(self._inside):
                    item = await step(given)
                try:
                    step, given = body.asend, (yield self._clean(item))
                except BaseException as thrown:  # noqa: BLE001 - the body may handle what its consumer throws in
                    step, given = body.athrow, thrown
        except StopAsyncIteration:
            self._finished(None)
            return
        except BaseException as caught:  # recorded, cleaned, and raised again
            error = self._failed(caught)
            if error is caught:
                raise
        raise error

    def _clean(self, value: Any) -> Any:
        return value if self._scrubber is None else self._scrubber.clean(value)

    def _finished(self, value: Any) -> Any:
        self._admission.settle(None)
        return self._clean(value)

    def _failed(self, error: BaseException) -> BaseException:
        """Record that the call failed, and return what to raise: the error without secrets."""
        self._admission.settle(error)
        if self._scrubber is None or self._scrubber.clean_error(error):
            return error
        return RemitError(f"the tool failed with {type(error).__name__}, which showed a secret")


def _nothing(result: None, reason: BaseException) -> None:
    """Give up nothing."""
