"""`bind_tool` hands out a function that carries its credential, and nothing more."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from collections.abc import AsyncIterator, Iterator
from threading import Thread
from typing import Any

import pytest

import remit

from .support import World, refusal, verdict

guarded = remit.requires_capability("tool:use")


def plain(n: int, *, m: int = 1) -> int:
    """Say what it is."""
    return n + m


@guarded
def marked(n: int) -> int:
    return n


@remit.requires_capability("tool:inner")
def inner() -> str:
    return "ran"


class Desk:
    @guarded
    def method(self, n: int) -> int:
        return n

    def bare(self, n: int) -> int:
        return n

    @staticmethod
    @guarded
    def fixed(n: int) -> int:
        return n

    @classmethod
    @guarded
    def of_class(cls, n: int) -> int:
        return n


NARROW = remit.Capability("tool:use", n=remit.Range(max=5))


@pytest.mark.parametrize(
    "function", [marked, Desk().method, Desk().bare, Desk.fixed, Desk.of_class, Desk().of_class, lambda n: n, plain],
    ids=["guarded", "method", "bare method", "static", "class", "class of an instance", "lambda", "function"],
)  # fmt: skip
def test_a_bound_tool_is_checked_under_its_credential_wherever_it_is_called(
    world: World, function: Any
) -> None:
    bound = remit.bind_tool(function, world.guard, world.issue(NARROW), capability="tool:use")
    results: list[str] = []
    thread = Thread(target=lambda: results.extend([verdict(lambda: bound(5)), verdict(lambda: bound(6))]))
    thread.start()
    thread.join()
    assert results == ["allowed", "argument_denied"]
    with world.guard.acting_as(world.issue("other")):
        assert verdict(lambda: bound(5)) == "allowed"
    assert list(inspect.signature(bound).parameters)[0] == "n"  # noqa: RUF015 - a list says more when it fails
    assert remit.capability_of(bound) == "tool:use"


async def test_a_bound_tool_keeps_its_kind(world: World) -> None:
    async def waiting(n: int) -> str:
        return verdict(inner)

    def stepping(n: int) -> Iterator[str]:
        yield verdict(inner)

    async def streaming(n: int) -> AsyncIterator[str]:
        yield verdict(inner)

    credential = world.issue(NARROW, "tool:inner")

    def bind(function: Any) -> Any:
        return remit.bind_tool(function, world.guard, credential, capability="tool:use")

    assert inspect.iscoroutinefunction(bind(waiting))
    assert await bind(waiting)(1) == "not_bound"
    assert list(bind(stepping)(1)) == ["not_bound"]
    assert [item async for item in bind(streaming)(1)] == ["not_bound"]
    with pytest.raises(remit.CapabilityDenied):
        await bind(waiting)(6)
    for function in (stepping, streaming):
        assert verdict(lambda: bind(function)(6)) == "argument_denied"


def test_a_bound_tool_looks_as_the_function_it_was_made_of(world: World) -> None:
    bound = remit.bind_tool(plain, world.guard, world.issue(), capability="tool:use")
    assert (bound.__name__, bound.__doc__, bound.__module__) == ("plain", "Say what it is.", plain.__module__)
    assert inspect.signature(bound) == inspect.signature(plain, eval_str=True)
    assert bound.__annotations__ == {"n": int, "m": int, "return": int}
    assert not hasattr(bound, "__wrapped__")


def test_the_capability_is_the_functions_own_or_the_one_given_or_its_name(world: World) -> None:
    credential = world.issue("tool:use", "plain", "named")
    assert remit.capability_of(remit.bind_tool(marked, world.guard, credential)) == "tool:use"
    assert remit.capability_of(remit.bind_tool(plain, world.guard, credential)) == "plain"
    assert remit.capability_of(remit.bind_tool(plain, world.guard, credential, capability="named")) == "named"
    assert (
        remit.capability_of(remit.bind_tool(marked, world.guard, credential, capability="tool:use"))
        == "tool:use"
    )
    with pytest.raises(remit.ConfigError, match="guarded for"):
        remit.bind_tool(marked, world.guard, credential, capability="named")
    with pytest.raises(remit.ConfigError):
        remit.bind_tool(lambda: 1, world.guard, credential, capability=" ")


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        5,
        "text",
        pytest.param(object(), id="object()"),
        int,
        Desk,
        pytest.param(functools.partial(plain, 1), id="partial"),
    ],
    ids=repr,
)
def test_what_is_no_function_is_refused(world: World, wrong: Any) -> None:
    with pytest.raises(remit.ConfigError):
        remit.bind_tool(wrong, world.guard, world.issue())
    with pytest.raises(remit.ConfigError):
        remit.bind_tool(wrong, world.guard, world.issue(), capability="tool:use")


def test_what_is_no_credential_is_refused_at_once(world: World) -> None:
    for wrong in (None, "token", world.issue().token, world.issue().chain):
        with pytest.raises(remit.ConfigError):
            remit.bind_tool(plain, world.guard, wrong)  # type: ignore[arg-type]  # the mistake itself


def test_a_function_that_only_claims_to_be_guarded_does_not_run_unchecked(world: World) -> None:
    ran: list[int] = []

    def claiming(n: int) -> None:
        ran.append(n)

    claiming.__capability__ = "tool:admin"  # type: ignore[attr-defined]  # the attack itself

    bound: Any = remit.bind_tool(claiming, world.guard, world.issue("harmless"))
    assert verdict(lambda: bound(1)) == "capability_missing"
    assert ran == []


def test_a_bound_tool_cannot_be_bound_to_more(world: World) -> None:
    narrow = remit.bind_tool(marked, world.guard, world.issue(NARROW))
    try:
        again = remit.bind_tool(narrow, world.guard, world.issue())
    except remit.ConfigError:
        return
    assert verdict(lambda: again(6)) == "argument_denied"


def test_a_bound_tool_ends_with_its_credential(world: World) -> None:
    closed, revoked = world.issue(), world.issue()
    tools = [remit.bind_tool(marked, world.guard, credential) for credential in (closed, revoked)]
    assert [tool(1) for tool in tools] == [1, 1]
    closed.close()
    world.guard.revoke(revoked.token_id)
    assert [verdict(functools.partial(tool, 1)) for tool in tools] == ["credential_closed", "token_revoked"]


def test_a_bound_tool_carries_its_session_and_task(world: World) -> None:
    credential = world.issue(session="s-1", task="t-1")
    for options, code in (
        ({}, "session_mismatch"), ({"session": "s-1"}, "task_mismatch"),
        ({"session": "s-2", "task": "t-1"}, "session_mismatch"), ({"session": "s-1", "task": "t-1"}, "allowed"),
    ):  # fmt: skip
        bound = remit.bind_tool(marked, world.guard, credential, **options)
        assert verdict(lambda: bound(1)) == code


def test_a_bound_tool_shows_nothing_of_its_credential_and_is_not_pickled(world: World) -> None:
    credential = world.issue()
    bound = remit.bind_tool(plain, world.guard, credential, capability="tool:use")
    text = f"{bound!r} {bound.__dict__} {bound.__doc__} {inspect.signature(bound)}"
    assert credential.token not in text
    assert credential.token_id not in text
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pickle.dumps(bound)
    assert copy.deepcopy({"tool": bound})["tool"] is bound


def test_a_bound_tool_with_a_secret_gets_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "canary")

    def tool(n: int, *, key: remit.Secret = remit.secret("KEY")) -> str:
        return key.reveal()

    bound = remit.bind_tool(tool, world.guard, world.issue(secrets=["KEY"]), capability="tool:use")
    assert bound(1) == "[secret KEY]"
    assert list(inspect.signature(bound).parameters) == ["n"]
    without = remit.bind_tool(tool, world.guard, world.issue(), capability="tool:use")
    assert refusal(lambda: without(1)).code == "secret_denied"


def test_the_function_itself_stays_as_it_was(world: World) -> None:
    remit.bind_tool(plain, world.guard, world.issue(), capability="tool:use")
    assert plain(1) == 2
    assert remit.capability_of(plain) is None
    remit.bind_tool(marked, world.guard, world.issue())
    assert refusal(lambda: marked(1)).code == "not_bound"
