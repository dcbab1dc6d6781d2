"""A generator runs under the credential it was made under, whoever asks for its items, and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextvars import ContextVar, copy_context

import pytest

import remit

from .support import World, refusal, verdict

guarded = remit.requires_capability("tool:use")
yield_log: list[str] = []


@remit.requires_capability("tool:inner")
def inner() -> str:
    return "ran"


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
