"""A guarded generator behaves as the plain one, runs under the call that made it, and ends with its token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

import remit

from .support import World, refusal, verdict

guarded = remit.requires_capability("tool:use")


@remit.requires_capability("tool:inner")
def inner() -> str:
    return "ran"


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
        except BaseException as error:  # noqa: BLE001 - GeneratorExit is among them
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
        except BaseException as error:  # noqa: BLE001 - as above
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


# ── under which credential ──────────────────────────────────────────────────────────────────────────────────


def _stream() -> Generator[str, None, str]:
    try:
        for _ in range(3):
            yield verdict(inner)
    finally:
        yield_log.append(verdict(inner))
    return verdict(inner)


async def _async_stream() -> AsyncGenerator[str, None]:
    for _ in range(3):
        await asyncio.sleep(0)
        yield verdict(inner)


def test_a_generator_runs_under_the_credential_it_was_made_under(world: World) -> None:
    able, unable = world.issue("tool:use", "tool:inner"), world.issue("tool:use", agent="b")
    stream = guarded(_stream)
    with world.guard.acting_as(able):
        made = stream()
        assert next(made) == "allowed"
    assert next(made) == "allowed"  # consumed with nothing bound
    with world.guard.acting_as(unable):
        assert next(made) == "allowed"  # consumed under another
        assert verdict(inner) == "capability_missing"  # which is not disturbed
        made = stream()
    with world.guard.acting_as(able):
        assert [next(made), next(made)] == ["capability_missing"] * 2
        assert verdict(inner) == "allowed"
    assert verdict(inner) == "not_bound"


async def test_an_asynchronous_generator_runs_under_the_credential_it_was_made_under(world: World) -> None:
    able, unable = world.issue("tool:use", "tool:inner"), world.issue("tool:use", agent="b")
    stream = guarded(_async_stream)
    with world.guard.acting_as(able):
        made = stream()
    assert await anext(made) == "allowed"
    with world.guard.acting_as(unable):
        assert await anext(made) == "allowed"
        other = stream()
    with world.guard.acting_as(able):
        assert [item async for item in other] == ["capability_missing"] * 3
    assert verdict(inner) == "not_bound"


def test_two_generators_that_take_turns_do_not_mix(world: World) -> None:
    stream = guarded(_stream)
    with world.guard.acting_as(world.issue("tool:use", "tool:inner")):
        able = stream()
    with world.guard.acting_as(world.issue("tool:use")):
        unable = stream()
    assert list(zip(able, unable, strict=True)) == [("allowed", "capability_missing")] * 3


def test_a_generator_is_cleaned_up_under_the_credential_it_was_made_under(world: World) -> None:
    yield_log.clear()
    with world.guard.acting_as(world.issue("tool:use", "tool:inner")):
        made = guarded(_stream)()
        next(made)
    made.close()
    assert yield_log == ["allowed"]


def test_a_generator_under_a_call_scoped_binding_runs_with_nothing_bound(world: World) -> None:
    credential = world.issue("tool:use", "tool:inner")
    made = remit.bind_tool(_stream, world.guard, credential, capability="tool:use")()
    with world.guard.acting_as(credential):
        assert next(made) == "not_bound"
        assert verdict(inner) == "allowed"


def test_a_generator_leaves_the_consumers_own_variables_alone(world: World) -> None:
    mark: ContextVar[str] = ContextVar("mark", default="none")

    @guarded
    def setting() -> Generator[str, None, None]:
        yield mark.get()
        mark.set("set inside")
        yield mark.get()

    with world.guard.acting_as(world.issue()):
        made = setting()
    mark.set("mine")
    assert next(made) == "mine"
    assert next(made) == "set inside"


@pytest.mark.parametrize("end", ["revoked", "closed", "expired"])
def test_a_generator_whose_token_ended_before_its_first_step_does_not_run(world: World, end: str) -> None:
    ran: list[str] = []

    @guarded
    def stream() -> Generator[int, None, None]:
        ran.append("ran")
        yield 1

    credential = world.issue()
    with world.guard.acting_as(credential):
        made = stream()
    _end(world, credential, end)
    code = {"revoked": "token_revoked", "closed": "credential_closed", "expired": "token_expired"}[end]
    assert refusal(lambda: next(made)).code == code
    assert ran == []
    with pytest.raises(StopIteration):
        next(made)
    [outcome] = world.events("outcome")
    assert (outcome.allowed, outcome.code) == (False, code)


@pytest.mark.parametrize("end", ["revoked", "closed", "expired"])
async def test_an_asynchronous_generator_whose_token_ended_before_its_first_step_does_not_run(
    world: World, end: str
) -> None:
    @guarded
    async def stream() -> AsyncGenerator[int, None]:
        yield_log.append("ran")
        yield 1

    yield_log.clear()
    credential = world.issue()
    with world.guard.acting_as(credential):
        made = stream()
    _end(world, credential, end)
    with pytest.raises(remit.Denied):
        await anext(made)
    assert yield_log == []


def _end(world: World, credential: remit.Credential, how: str) -> None:
    if how == "revoked":
        world.guard.revoke(credential.token_id)
    elif how == "closed":
        credential.close()
    else:
        world.clock.now += 600


def test_a_generator_is_charged_once_when_it_is_made(world: World) -> None:
    credential = world.issue("tool:use", "tool:inner", limits={"tool:use": remit.Limit(max_uses=1)})
    stream = guarded(_stream)
    with world.guard.acting_as(credential):
        made = stream()
        assert verdict(stream) == "limit_exceeded"
    assert list(made) == ["allowed"] * 3


def test_a_generator_may_be_stepped_in_another_context_than_it_was_made_in(world: World) -> None:
    with world.guard.acting_as(world.issue("tool:use", "tool:inner")):
        made = copy_context().run(guarded(_stream))
    assert [copy_context().run(next, made) for _ in range(3)] == ["allowed"] * 3
    copy_context().run(made.close)
    assert verdict(inner) == "not_bound"
