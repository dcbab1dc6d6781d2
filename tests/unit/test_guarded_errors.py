"""What a tool raises passes unchanged: the same object, with its own history."""
# ruff: noqa: TRY301 - what is raised here is the case

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

import remit

from .support import World, refusal


class OwnError(Exception):
    """A tool's own."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.detail = {"n": 1}


def _tool(function: Callable[[], Any]) -> Callable[[], Any]:
    return remit.requires_capability("tool:use")(function)


def _caught(world: World, function: Callable[[], Any]) -> BaseException:
    with world.guard.acting_as(world.issue()):
        try:
            _tool(function)()
        except BaseException as error:  # noqa: BLE001 - exits and interrupts are among them
            return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), OwnError("a", 1), KeyError("k"), OSError(2, "No such file", "f"), SystemExit(3), KeyboardInterrupt(),
     ExceptionGroup("all", [ValueError("x")]), StopIteration("x"), GeneratorExit(), RecursionError(), MemoryError()],
    ids=repr,
)  # fmt: skip
def test_the_very_exception_of_the_tool_comes_out(world: World, error: BaseException) -> None:
    args, notes = error.args, getattr(error, "__notes__", None)

    def failing() -> None:
        raise error

    assert _caught(world, failing) is error
    assert (error.args, getattr(error, "__notes__", None)) == (args, notes)
    [outcome] = world.events("outcome")
    assert (outcome.allowed, outcome.reason, outcome.code) == (False, type(error).__name__, None)


def test_the_traceback_leads_to_the_tools_own_frame(world: World) -> None:
    def deep_inside() -> None:
        raise ValueError("x")

    def failing() -> None:
        deep_inside()

    frames = [frame.name for frame in traceback.extract_tb(_caught(world, failing).__traceback__)]
    assert frames[-2:] == ["failing", "deep_inside"]


def test_the_cause_and_the_context_are_kept(world: World) -> None:
    def failing() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    def replacing() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second")  # noqa: B904 - the context is the point

    for function in (failing, replacing):
        error = _caught(world, function)
        assert isinstance(error.__context__, KeyError)
        assert error.__context__.__context__ is None
    assert isinstance(_caught(world, failing).__cause__, KeyError)


def test_the_context_is_kept_also_while_the_caller_handles_something_else(world: World) -> None:
    def replacing() -> None:
        try:
            raise KeyError("the tool's own")
        except KeyError:
            raise ValueError("second")  # noqa: B904 - the context is the point

    def plain() -> BaseException:
        try:
            replacing()
        except ValueError as error:
            return error
        raise AssertionError

    try:
        raise OSError("the caller's")
    except OSError:
        expected, error = plain(), _caught(world, replacing)
    assert isinstance(expected.__context__, KeyError)
    assert isinstance(error.__context__, KeyError)
    assert isinstance(error.__context__.__context__, OSError)


def test_a_cause_that_was_suppressed_stays_suppressed(world: World) -> None:
    def failing() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second") from None

    error = _caught(world, failing)
    assert error.__suppress_context__ is True
    assert error.__cause__ is None


def test_a_refusal_that_a_tool_raises_itself_passes_as_it_is(world: World) -> None:
    denied = remit.CapabilityDenied("argument_denied", "You may not.")

    def failing() -> None:
        raise denied

    assert _caught(world, failing) is denied
    [outcome] = world.events("outcome")
    assert (outcome.allowed, outcome.code, outcome.reason) == (False, "argument_denied", "You may not.")


def test_a_refusal_has_no_history_of_its_own(world: World) -> None:
    narrow = world.issue(remit.Capability("tool:use", n=1))

    def tool(n: Any) -> None:
        """Do nothing."""

    guarded = remit.requires_capability("tool:use")(tool)
    with world.guard.acting_as(narrow):
        for call in (lambda: guarded(2), lambda: guarded(*[]), lambda: guarded(*[object()])):
            denied = refusal(call)
            assert denied.__cause__ is None
            assert denied.__context__ is None or denied.__suppress_context__


async def test_a_coroutines_exception_is_the_very_one(world: World) -> None:
    error = OwnError("x")

    @remit.requires_capability("tool:use")
    async def failing() -> None:
        raise error

    with world.guard.acting_as(world.issue()), pytest.raises(OwnError) as caught:
        await failing()
    assert caught.value is error
    assert traceback.extract_tb(error.__traceback__)[-1].name == "failing"


def test_a_tool_that_returns_an_exception_returns_it(world: World) -> None:
    error = ValueError("x")
    with world.guard.acting_as(world.issue()):
        assert _tool(lambda: error)() is error
