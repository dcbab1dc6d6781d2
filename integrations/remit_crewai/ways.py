"""The ways in which the work of a tool can be reached, for `remit.testing` to try each of them."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from copy import copy
from functools import partial
from inspect import iscoroutine, iscoroutinefunction
from itertools import takewhile
from typing import Any


def routes(tool: object) -> dict[str, Callable[[Mapping[str, Any]], Any]] | None:
    """List the ways in which a CrewAI tool can be reached; `None` for what is no CrewAI tool.

    Each takes the arguments by name and returns what comes back. It is run in a thread of its own with the
    caller's context, and to its end if it is asynchronous.
    """
    crewai = sys.modules.get("crewai.tools")  # where it was not imported, there is no such tool
    if crewai is None or not isinstance(tool, crewai.BaseTool):
        return None
    return {name: partial(_to_its_end, way) for name, way in _ways(tool)}


def _ways(tool: Any) -> Iterator[tuple[str, Callable[[dict[str, Any]], Any]]]:
    from .tools import routes_of

    written, structured, order = routes_of(tool), tool.to_structured_tool(), [*tool.args_schema.model_fields]
    awaited = "_arun" in written or iscoroutinefunction(written.get("func"))
    names = {"run", "_run", *written, *(["arun", "_arun"] if awaited else [])}
    ways: dict[str, Any] = {name: getattr(tool, name) for name in names}
    ways |= {f"{n} of the class": partial(getattr(tool.__class__, n), tool) for n in names - {"func"}}
    ways |= {f"{name} of a copy": getattr(copy(tool), name) for name in names}
    for name, function in {**ways, "to_structured_tool().func": structured.func}.items():
        yield name, partial(_call, function, [])
        yield f"{name}, positionally", partial(_call, function, order)
    yield "to_structured_tool().invoke", structured.invoke
    yield "to_structured_tool().ainvoke", structured.ainvoke


def _call(function: Callable[..., Any], order: list[str], given: dict[str, Any]) -> Any:
    first = [given.pop(name) for name in list(takewhile(given.__contains__, order))]
    return function(*first, **given)


def _to_its_end(way: Callable[[dict[str, Any]], Any], arguments: Mapping[str, Any]) -> Any:
    def done() -> Any:
        result = way(dict(arguments))
        while iscoroutine(result):  # `ainvoke` returns the coroutine of a coroutine function
            result = asyncio.run(result)
        return result

    with ThreadPoolExecutor(1) as thread:  # the caller may be on an event loop of its own
        return thread.submit(copy_context().run, done).result()
