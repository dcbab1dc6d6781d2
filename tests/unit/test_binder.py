"""What an adapter binds with: every route of a tool carries the credential, and all of them the same."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache, partial, wraps
from threading import Thread
from typing import Any

import pytest

import remit

from .support import World, refusal, verdict

running: ContextVar[str] = ContextVar("running")
OTHERS: list[Any] = [None, "token", 5, object()]


def read(n: int) -> int:
    return n


async def aread(n: int) -> int:
    return n


@remit.requires_capability("tool:use")
def marked(n: int) -> int:
    return n


@remit.requires_capability("tool:other")
def other(n: int) -> int:
    return n


def test_every_route_carries_the_credential_and_is_guarded_for_the_same() -> None:
    world = World()
    binder = remit.ToolBinder(world.guard, world.issue(remit.Capability("tool:use", n=remit.Range(max=5))))
    routes = binder.bind("tool:use", {"func": read, "coroutine": aread})
    assert list(routes) == ["func", "coroutine"]
    assert {remit.capability_of(route) for route in routes.values()} == {"tool:use"}
    assert (routes["func"](5), asyncio.run(routes["coroutine"](5))) == (5, 5)
    assert verdict(lambda: routes["func"](6)) == "argument_denied"
    assert verdict(lambda: asyncio.run(routes["coroutine"](6))) == "argument_denied"


@pytest.mark.parametrize(
    ("capability", "declared", "function", "expected"),
    [
        (None, None, read, "reader"),
        (None, "tool:declared", read, "tool:declared"),
        (None, None, marked, "tool:use"),
        (None, "tool:declared", marked, "tool:use"),
        ("tool:given", "tool:declared", read, "tool:given"),
        ({"reader": "tool:given"}, None, read, "tool:given"),
        ({}, None, read, "reader"),
    ],
    ids=lambda part: getattr(part, "__name__", str(part)),
)
def test_what_is_given_goes_before_the_mark_and_that_before_the_name(
    capability: Any, declared: str | None, function: Callable[..., Any], expected: str
) -> None:
    world = World()
    binder = remit.ToolBinder(world.guard, world.issue(), capability=capability)
    binder.check_names(["reader"])
    assert remit.capability_of(binder.bind("reader", {"f": function}, declared=declared)["f"]) == expected


def test_a_mark_is_not_overruled() -> None:
    world = World()
    binder = remit.ToolBinder(world.guard, world.issue(), capability="tool:lesser")
    binder.check_names(["reader"])
    with pytest.raises(remit.ConfigError, match="guarded for 'tool:use' already, not for 'tool:lesser'"):
        binder.bind("reader", {"f": marked})


@pytest.mark.parametrize("routes", [{"a": marked, "b": read}, {"a": marked, "b": other}], ids=["half", "two"])
def test_routes_that_are_not_decorated_alike_are_refused(routes: dict[str, Any]) -> None:
    world = World()
    binder = remit.ToolBinder(world.guard, world.issue())
    with pytest.raises(remit.ConfigError, match="tool 'reader': decorate a and b alike"):
        binder.bind("reader", routes)
    with pytest.raises(remit.ConfigError, match="alike"):
        remit.ToolBinder.mark("reader", routes)


@wraps(marked)
def retried(n: int) -> int:
    return marked(n)


@pytest.mark.parametrize(
    "function",
    [cache(marked), retried, partial(marked, 1), partial(retried), wraps(retried)(lambda n: n)],
    ids=["cache", "wraps", "partial", "partial of wraps", "wraps of wraps"],
)
def test_what_stands_in_front_of_a_guarded_function_is_refused(function: Any) -> None:
    world = World()
    with pytest.raises(remit.ConfigError, match="guard what is outermost"):
        remit.ToolBinder(world.guard, world.issue()).bind("reader", {"f": function})
    with pytest.raises(remit.ConfigError, match="guard what is outermost"):
        remit.ToolBinder.mark("reader", {"f": function})


def test_a_tool_without_a_route_is_refused() -> None:
    world = World()
    with pytest.raises(remit.ConfigError, match="tool 'reader' does its work where no guard can stand"):
        remit.ToolBinder(world.guard, world.issue()).bind("reader", {})


@pytest.mark.parametrize(
    ("capability", "names"),
    [
        ("tool:use", []),
        ("tool:use", ["a", "b"]),
        ({"c": "tool:use"}, ["a", "b"]),
        (None, ["a", "a"]),
    ],
    ids=str,
)
def test_names_that_do_not_fit_are_refused(capability: Any, names: list[str]) -> None:
    world = World()
    binder = remit.ToolBinder(world.guard, world.issue(), capability=capability)
    with pytest.raises(remit.ConfigError, match=r"one tool|name each tool once"):
        binder.check_names(names)


@pytest.mark.parametrize("wrong", OTHERS, ids=["none", "text", "number", "object"])
def test_only_a_guard_and_a_credential_make_a_binder(wrong: Any) -> None:
    world = World()
    with pytest.raises(remit.ConfigError, match="takes a Guard"):
        remit.ToolBinder(wrong, world.issue())
    with pytest.raises(remit.ConfigError, match="takes a Credential"):
        remit.ToolBinder(world.guard, wrong)
    with pytest.raises(remit.ConfigError, match="takes a Credential"):
        remit.bind_tool(read, world.guard, wrong)


@pytest.mark.parametrize(
    "capability", ["", " ", {"a": ""}, {"a": "x\ny"}, {"a": None}, {5: "x"}, 5, ["x"]], ids=repr
)
def test_a_capability_without_a_name_is_refused(capability: Any) -> None:
    world = World()
    with pytest.raises(remit.ConfigError):
        remit.ToolBinder(world.guard, world.issue(), capability=capability)


@pytest.mark.parametrize("name", ["session", "task"])
@pytest.mark.parametrize("wrong", [5, b"s", ["s"]], ids=repr)
def test_a_session_or_task_that_is_no_text_is_refused(name: str, wrong: Any) -> None:
    world = World()
    settings: dict[str, Any] = {name: wrong}
    with pytest.raises(remit.ConfigError, match=name):
        remit.ToolBinder(world.guard, world.issue(), **settings)
    with pytest.raises(remit.ConfigError, match=name):
        remit.bind_tool(marked, world.guard, world.issue(), **settings)


def test_around_binds_one_capability_and_nothing_where_there_is_none() -> None:
    world = World()
    binder = remit.ToolBinder(world.guard, world.issue("tool:use", "tool:other"))
    with binder.around("tool:use"):
        assert marked(1) == 1
        assert verdict(lambda: other(1)) == "not_bound"
    with world.guard.acting_as(world.issue("tool:use")), binder.around(None):
        assert verdict(lambda: marked(1)) == "not_bound"


def test_a_credential_that_is_asked_for_is_asked_for_at_each_call() -> None:
    world = World()
    held: dict[str, remit.Credential] = {"a": world.issue(agent="a"), "b": world.issue(agent="b")}
    binder = remit.ToolBinder(world.guard, lambda: held.get(running.get("nobody")))
    bound = binder.bind("reader", {"f": marked})["f"]
    assert refusal(lambda: bound(1)).code == "not_bound"
    with world.guard.acting_as(held["a"]):  # what is around is never lent in its stead
        assert refusal(lambda: bound(1)).code == "not_bound"
    for agent in "ab":
        running.set(agent)
        assert bound(1) == 1
        with binder.around("tool:use"):
            assert marked(1) == 1
    allowed = [record.agent for record in world.events("decision") if record.allowed]
    assert allowed == ["a", "a", "b", "b"]


def test_an_asked_credential_that_is_none_of_ours_is_refused_at_the_call() -> None:
    world = World()
    token: Any = world.issue().token
    bound = remit.bind_tool(marked, world.guard, lambda: token)
    with pytest.raises(remit.ConfigError, match="needs a Credential"):
        bound(1)


def test_a_task_that_is_asked_for_is_the_one_of_the_call() -> None:
    world = World()
    credential = world.issue(task="t-1")
    bound = remit.bind_tool(marked, world.guard, credential, task=lambda: running.get("none"))
    asked = remit.bind_tool(marked, world.guard, lambda: credential, task=lambda: running.get("none"))
    for tool in (bound, asked):
        running.set("t-2")
        assert verdict(lambda: tool(1)) == "task_mismatch"  # noqa: B023 - called in the loop
        running.set("t-1")
        assert tool(1) == 1


def test_what_is_asked_in_a_thread_is_what_the_thread_has() -> None:
    world = World()
    credential = world.issue()
    running.set("here")
    bound = remit.bind_tool(marked, world.guard, lambda: credential if running.get("") == "here" else None)
    seen: list[str] = []
    thread = Thread(target=lambda: seen.append(verdict(lambda: bound(1))))
    thread.start()
    thread.join()
    assert (seen, bound(1)) == (["not_bound"], 1)


def test_a_default_of_a_schema_does_not_count_as_passed_and_reaches_the_tool() -> None:
    world = World()
    seen: list[dict[str, Any]] = []

    def search(query: str, **rest: Any) -> None:
        seen.append({"query": query, **rest})

    async def asearch(query: str, limit: int) -> None:
        seen.append({"query": query, "limit": limit})

    credential = world.issue(
        remit.Capability("search", query="q"), remit.Capability("few", query="q", limit=10)
    )
    binder = remit.ToolBinder(world.guard, credential)
    defaults: dict[str, Any] = {"limit": 10, "tags": ["new"], "cursor": None}
    bound = binder.bind("search", {"f": search, "a": asearch}, defaults=defaults)
    bound["f"](query="q", limit=10, tags=["new"], cursor=None)
    asyncio.run(bound["a"](query="q", limit=10))
    assert seen == [{"query": "q", **defaults}, {"query": "q", "limit": 10}]
    assert seen[0]["tags"] is not defaults["tags"]
    others: list[dict[str, Any]] = [
        {"limit": 11},
        {"limit": True},
        {"tags": []},
        {"cursor": "x"},
        {"more": 1},
    ]
    for other in others:
        assert verdict(partial(bound["f"], query="q", **other)) == "argument_denied"
    few = binder.bind("few", {"f": search}, defaults=defaults)["f"]
    few(query="q", limit=10)
    few(query="q")  # the default is checked where the capability names it, and is what the tool gets
    assert seen[2:] == [{"query": "q", "limit": 10}] * 2
    assert len(seen) == 4


def test_a_denied_call_returns_what_the_adapter_makes_of_it() -> None:
    world = World()
    told: list[remit.Denied] = []

    def answer(denied: remit.Denied) -> str:
        told.append(denied)
        return f"no: {denied.code}"

    def later(n: int) -> Any:
        return aread(n)

    credential = world.issue(remit.Capability("tool:use", n=1))
    binder = remit.ToolBinder(world.guard, credential, capability={"t": "tool:use"}, answer=answer)
    bound = binder.bind("t", {"f": read, "a": aread, "l": later})
    assert (bound["f"](1), bound["f"](2)) == (1, "no: argument_denied")
    assert asyncio.run(bound["a"](1)) == 1
    assert asyncio.run(bound["a"](2)) == "no: argument_denied"
    awaited = bound["l"](1)
    credential.close()
    assert asyncio.run(awaited) == "no: credential_closed"
    assert [denied.code for denied in told] == ["argument_denied"] * 2 + ["credential_closed"]
    assert inspect.iscoroutinefunction(bound["a"])
    with pytest.raises(remit.ConfigError, match="answer"):
        remit.ToolBinder(world.guard, credential, answer="no")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_an_error_of_the_tool_is_no_denial() -> None:
    world = World()

    def fails() -> None:
        raise LookupError("nothing")

    binder = remit.ToolBinder(world.guard, world.issue("fails"), answer=str)
    with pytest.raises(LookupError):
        binder.bind("fails", {"f": fails})["f"]()


def test_the_body_of_a_bound_tool_runs_with_nothing_bound() -> None:
    world = World()

    def calls_on() -> str:
        return verdict(lambda: marked(1))

    binder = remit.ToolBinder(world.guard, lambda: world.issue("tool:use"), capability="tool:use")
    binder.check_names(["caller"])
    assert binder.bind("caller", {"f": calls_on})["f"]() == "not_bound"
