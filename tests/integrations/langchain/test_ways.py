"""`routes` lists the ways in which a tool can be reached: each leads to the work, and none around a guard."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, tool

import remit
from remit_langchain import guard_tools, routes

from .support import World
from .test_routes import CAPABILITY, MAKERS, SYNC, OwnRunStructuredTool, Work, walk

ALWAYS = {
    "ainvoke",
    "ainvoke, a tool call",
    "ainvoke of a copy",
    "arun",
    "abatch",
    "astream",
    "_arun",
    "_arun, positionally",
    "_arun of the class",
    "_arun of the class, positionally",
}
WITH_SYNC = {
    "invoke",
    "invoke, a tool call",
    "run",
    "batch",
    "stream",
    "bind",
    "copy",
    "deepcopy",
    "_run",
    "_run, positionally",
    "_run of the class",
    "_run of the class, positionally",
}
UNTOLD = {name for name in ALWAYS | WITH_SYNC if name.endswith(", positionally")}


class Shared(Work):
    """Copied with its tool, it is still the one that the test looks at."""

    def __deepcopy__(self, memo: Any) -> Shared:
        return self


def listed(made: object) -> dict[str, Callable[[dict[str, Any]], Any]]:
    found = routes(made)
    assert found is not None
    return dict(found)


def expected(made: Any, kind: str) -> set[str]:
    functions = {name for name in ("func", "coroutine") if getattr(made, name, None)}
    named = functions | {f"{name}, positionally" for name in functions}
    return named | ALWAYS | (WITH_SYNC if kind in SYNC or isinstance(made, sync_classes()) else set())


def sync_classes() -> tuple[type, ...]:
    """Whose `_run` somebody wrote, be it to say that there is none."""
    return tuple(type(MAKERS[kind](Work())) for kind in ("async class", "decorated async class"))


@pytest.mark.parametrize("kind", MAKERS)
def test_every_way_of_a_guarded_tool_is_listed_and_leads_through_the_check(kind: str) -> None:
    world, work = World(), Work()
    credential = world.grant("reader", remit.Capability(CAPABILITY, record=remit.OneOf("ok")))
    (made,) = guard_tools([MAKERS[kind](work)], world.guard, credential, capability=CAPABILITY)
    found = listed(made)
    assert set(found) == expected(made, kind)
    untold = UNTOLD if isinstance(made, OwnRunStructuredTool) else set()
    refused = {name for name in found if name in WITH_SYNC} if kind not in SYNC else set()
    for name in refused:  # its `_run` is there to say that it cannot be called
        with pytest.raises((remit.Denied, NotImplementedError)):
            raise_denial(found[name]({"record": "no"}))
    ways = {name: way for name, way in found.items() if name not in untold | refused}
    walk(made, ((f"routes: {name}", of_record(way)) for name, way in ways.items()), work, world)
    work.done.clear()
    for name in untold:  # its `*args` say no names that could be allowed
        with pytest.raises(remit.CapabilityDenied):
            found[name]({"record": "ok"})
        assert work.done == []


def of_record(way: Callable[[dict[str, Any]], Any]) -> Callable[[str], Any]:
    return lambda record: way({"record": record})


def raise_denial(result: Any) -> None:
    if isinstance(result, ToolMessage) and isinstance(result.artifact, dict):
        raise remit.CapabilityDenied(result.artifact["code"], str(result.content))


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if "decorated" not in kind])
def test_every_way_of_a_bare_tool_leads_to_its_work(kind: str) -> None:
    work = Shared()
    made = MAKERS[kind](work)
    made = made if isinstance(made, BaseTool) else tool(made)
    for name, way in listed(made).items():
        work.done.clear()
        if kind not in SYNC and name in WITH_SYNC:
            with pytest.raises(NotImplementedError):
                way({"record": "any"})
            continue
        way({"record": "any"})
        assert (name, work.done) == (name, ["any"])


def test_what_is_no_langchain_tool_is_not_its_business() -> None:
    for other in (None, "read", len, Work(), Work().sync(), BaseTool):
        assert routes(other) is None


def test_positional_arguments_go_where_the_tool_has_them() -> None:
    """In the order of the tool, whatever that of the mapping, and by name after one that is left out."""
    seen: list[tuple[Any, ...]] = []

    @tool
    def order(first: str, second: int = 2, third: int = 3) -> str:
        """Note what it got."""
        seen.append((first, second, third))
        return "noted"

    way = listed(order)["func, positionally"]
    way({"third": 30, "second": 20, "first": "x"})
    way({"third": 30, "first": "y"})
    assert seen == [("x", 20, 30), ("y", 2, 30)]


def test_a_function_that_another_wraps_is_a_way_of_its_own() -> None:
    """A check that somebody wrote with `functools.wraps` is walked around by it."""
    done: list[str] = []

    def read(record: str) -> str:
        """Read one record."""
        done.append(record)
        return record

    @functools.wraps(read)
    def checked(record: str) -> str:
        raise PermissionError(record)

    made = listed(StructuredTool.from_function(checked))
    for name, way in made.items():
        if "__wrapped__" not in name:
            with pytest.raises(PermissionError):
                way({"record": name})
    made["func.__wrapped__"]({"record": "around"})
    assert done == ["around"]


async def test_the_ways_work_on_an_event_loop_and_under_the_caller_s_context() -> None:
    around = contextvars.ContextVar("around", default="nothing")
    seen: list[str] = []

    @tool
    async def look() -> str:
        """Note what is around."""
        seen.append(around.get())
        return "looked"

    around.set("mine")
    found = listed(look)
    for way in found.values():
        way({})
    assert seen == ["mine"] * len(found)


def test_a_way_leaves_the_arguments_as_they_are() -> None:
    work = Work()
    arguments = {"record": "any"}
    for way in listed(tool(work.sync())).values():
        way(arguments)
    assert arguments == {"record": "any"}
