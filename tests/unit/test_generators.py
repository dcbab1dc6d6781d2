"""A guarded generator answers as the plain one does, whatever is sent, thrown or closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

import remit

from .support import World

guarded = remit.requires_capability("tool:use")


def _echo() -> Generator[Any, Any, str]:
    got = yield "start"
    while got != "stop":
        got = yield ("got", got)
    return "end"


def _catching() -> Generator[Any, Any, str]:
    while True:
        try:
            yield "waiting"
        except ValueError as error:
            yield f"caught {error}"
        except KeyError:
            return "gave up"


def _replacing() -> Generator[Any, Any, None]:
    try:
        yield 1
    except ValueError as error:
        raise KeyError("other") from error


def _cleaning() -> Generator[Any, Any, None]:
    try:
        yield 1
        yield 2
    finally:
        yield_log.append("cleaned")


def _stubborn() -> Generator[Any, Any, None]:
    try:
        yield 1
    except GeneratorExit:
        yield 2


def _failing_close() -> Generator[Any, Any, None]:
    try:
        yield 1
    except GeneratorExit:
        raise KeyError("on close") from None


def _returning_on_close() -> Generator[Any, Any, str]:
    try:
        yield 1
    except GeneratorExit:
        return "closed"
    return "ended"


def _delegating() -> Generator[Any, Any, str]:
    result = yield from _echo()
    yield f"inner said {result}"
    return "outer"


def _failing() -> Generator[Any, Any, None]:
    yield 1
    raise ValueError("failed")


def _stop_iteration() -> Generator[Any, Any, None]:
    yield 1
    raise StopIteration("inside")  # noqa: PLR1708 - the mistake itself


def _empty() -> Generator[Any, Any, int]:
    return 5
    yield


yield_log: list[str] = []

Step = tuple[str, Any]
SCRIPTS: dict[str, tuple[Callable[[], Generator[Any, Any, Any]], list[Step]]] = {
    "send": (
        _echo,
        [("next", None), ("send", 1), ("send", None), ("next", None), ("send", "stop"), ("next", None)],
    ),
    "send first": (_echo, [("send", 1), ("send", None), ("send", 2)]),
    "throw": (
        _catching,
        [("next", None), ("throw", ValueError("x")), ("next", None), ("throw", KeyError()), ("next", None)],
    ),
    "throw first": (_catching, [("throw", ValueError("x")), ("next", None)]),
    "throw uncaught": (_echo, [("next", None), ("throw", ValueError("x")), ("next", None)]),
    "throw a class": (_catching, [("next", None), ("throw", ValueError), ("next", None)]),
    "throw that is replaced": (_replacing, [("next", None), ("throw", ValueError("x"))]),
    "throw StopIteration": (_echo, [("next", None), ("throw", StopIteration("x")), ("next", None)]),
    "throw GeneratorExit": (_cleaning, [("next", None), ("throw", GeneratorExit()), ("next", None)]),
    "throw GeneratorExit that is ignored": (
        _stubborn,
        [("next", None), ("throw", GeneratorExit()), ("next", None)],
    ),
    "close": (_cleaning, [("next", None), ("close", None), ("next", None), ("close", None)]),
    "close first": (_cleaning, [("close", None), ("next", None)]),
    "close that is ignored": (_stubborn, [("next", None), ("close", None)]),
    "close that fails": (_failing_close, [("next", None), ("close", None), ("next", None)]),
    "close that returns": (_returning_on_close, [("next", None), ("close", None), ("next", None)]),
    "yield from": (
        _delegating,
        [("next", None), ("send", 1), ("send", "stop"), ("next", None), ("next", None)],
    ),
    "failing": (_failing, [("next", None), ("next", None), ("next", None)]),
    "StopIteration inside": (_stop_iteration, [("next", None), ("next", None), ("next", None)]),
    "empty": (_empty, [("next", None), ("next", None)]),
}


def _played(made: Generator[Any, Any, Any], script: list[Step]) -> list[Any]:
    """What a generator answers to a script, with the types and texts of what it raises."""
    seen: list[Any] = []
    for action, value in script:
        try:
            if action == "next":
                seen.append(next(made))
            elif action == "send":
                seen.append(made.send(value))
            elif action == "throw":
                seen.append(made.throw(value))
            else:
                seen.append(("closed", made.close()))  # type: ignore[func-returns-value]  # it may, from 3.13 on
        except BaseException as error:  # noqa: BLE001 - exits and interrupts are among them
            returned = getattr(error, "value", None)
            seen.append((type(error), str(error), returned, type(error.__cause__)))
    return seen


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_guarded_generator_answers_as_the_plain_one(world: World, name: str) -> None:
    function, script = SCRIPTS[name]
    yield_log.clear()
    expected = _played(function(), script)
    log = list(yield_log)
    yield_log.clear()
    with world.guard.acting_as(world.issue()):
        made = guarded(function)()
    assert _played(made, script) == expected
    assert yield_log == log


async def _async_echo() -> AsyncGenerator[Any, Any]:
    got = yield "start"
    while got != "stop":
        await asyncio.sleep(0)
        got = yield ("got", got)


async def _async_catching() -> AsyncGenerator[Any, Any]:
    while True:
        try:
            yield "waiting"
        except ValueError as error:
            yield f"caught {error}"
        except KeyError:
            return


async def _async_cleaning() -> AsyncGenerator[Any, Any]:
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(0)
        yield_log.append("cleaned")


async def _async_failing() -> AsyncGenerator[Any, Any]:
    yield 1
    raise ValueError("failed")


async def _async_stop() -> AsyncGenerator[Any, Any]:
    yield 1
    raise StopAsyncIteration("inside")


ASYNC_SCRIPTS: dict[str, tuple[Callable[[], AsyncGenerator[Any, Any]], list[Step]]] = {
    "send": (_async_echo, [("next", None), ("send", 1), ("send", None), ("send", "stop"), ("next", None)]),
    "send first": (_async_echo, [("send", 1), ("next", None)]),
    "throw": (
        _async_catching,
        [("next", None), ("throw", ValueError("x")), ("next", None), ("throw", KeyError()), ("next", None)],
    ),
    "throw uncaught": (_async_echo, [("next", None), ("throw", ValueError("x")), ("next", None)]),
    "throw StopAsyncIteration": (
        _async_echo,
        [("next", None), ("throw", StopAsyncIteration()), ("next", None)],
    ),
    "close": (_async_cleaning, [("next", None), ("close", None), ("next", None), ("close", None)]),
    "close first": (_async_cleaning, [("close", None), ("next", None)]),
    "failing": (_async_failing, [("next", None), ("next", None), ("next", None)]),
    "StopAsyncIteration inside": (_async_stop, [("next", None), ("next", None), ("next", None)]),
}


async def _async_played(made: AsyncGenerator[Any, Any], script: list[Step]) -> list[Any]:
    seen: list[Any] = []
    for action, value in script:
        try:
            if action == "next":
                seen.append(await anext(made))
            elif action == "send":
                seen.append(await made.asend(value))
            elif action == "throw":
                seen.append(await made.athrow(value))
            else:
                await made.aclose()
                seen.append("closed")
        except BaseException as error:  # noqa: BLE001 - exits and interrupts are among them
            seen.append((type(error), str(error), type(error.__cause__)))
    return seen


@pytest.mark.parametrize("name", ASYNC_SCRIPTS)
async def test_a_guarded_asynchronous_generator_answers_as_the_plain_one(world: World, name: str) -> None:
    function, script = ASYNC_SCRIPTS[name]
    yield_log.clear()
    expected = await _async_played(function(), script)
    log = list(yield_log)
    yield_log.clear()
    with world.guard.acting_as(world.issue()):
        made = guarded(function)()
    assert await _async_played(made, script) == expected
    assert yield_log == log
