"""The ways in which the work of a tool can be reached, for `remit.testing` to try each of them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from copy import copy, deepcopy
from functools import partial
from inspect import getattr_static, iscoroutine, signature
from itertools import takewhile
from typing import Any

from langchain_core.tools import BaseTool

_Way = Callable[[dict[str, Any]], Any]


def routes(tool: object) -> dict[str, Callable[[Mapping[str, Any]], Any]] | None:
    """List the ways in which a LangChain tool can be reached; `None` for what is no LangChain tool.

    Each takes the arguments by name and returns what comes back. An asynchronous one is run to its end, in a
    thread of its own with the caller's context.
    """
    if not isinstance(tool, BaseTool):
        return None
    written = getattr(getattr_static(type(tool), "_run"), "__module__", "")
    sync = bool(getattr(tool, "func", None)) or not written.startswith("langchain_core.")
    ways = dict(_asynchronous_ways(tool)) | (dict(_synchronous_ways(tool)) if sync else {})
    for name in ("func", "coroutine", "_run", "_arun") if sync else ("coroutine", "_arun"):
        for where, function in _functions(tool, name):
            ways[where] = partial(_call, function, ())
            ways[f"{where}, positionally"] = partial(_call, function, tuple(tool.args))
    return {name: partial(_to_its_end, way) for name, way in ways.items()}


def _synchronous_ways(tool: BaseTool) -> Iterator[tuple[str, _Way]]:
    yield "invoke", tool.invoke
    yield "invoke, a tool call", lambda given: tool.invoke(_asked(tool, given))
    yield "run", tool.run
    yield "batch", lambda given: tool.batch([given])
    yield "stream", lambda given: list(tool.stream(given))
    yield "bind", lambda given: tool.bind().invoke(given)
    yield "copy", lambda given: copy(tool).invoke(given)
    yield "deepcopy", lambda given: deepcopy(tool).invoke(given)


def _asynchronous_ways(tool: BaseTool) -> Iterator[tuple[str, _Way]]:
    async def streamed(given: dict[str, Any]) -> list[Any]:
        return [chunk async for chunk in tool.astream(given)]

    yield "ainvoke", tool.ainvoke
    yield "ainvoke, a tool call", lambda given: tool.ainvoke(_asked(tool, given))
    yield "arun", tool.arun
    yield "abatch", lambda given: tool.abatch([given])
    yield "astream", streamed
    yield "ainvoke of a copy", lambda given: copy(tool).ainvoke(given)


def _functions(tool: BaseTool, name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    function: Any = getattr(tool, name, None)
    if function is not None:
        yield name, function
    if (wrapped := getattr(function, "__wrapped__", None)) is not None:
        yield f"{name}.__wrapped__", wrapped
    if name in ("_run", "_arun"):
        static = isinstance(getattr_static(type(tool), name), staticmethod)
        of_class = getattr(type(tool), name)
        yield f"{name} of the class", of_class if static else partial(of_class, tool)


def _asked(tool: BaseTool, given: dict[str, Any]) -> dict[str, Any]:
    return {"name": tool.name, "args": given, "id": "call-1", "type": "tool_call"}


def _call(function: Callable[..., Any], order: tuple[str, ...], given: dict[str, Any]) -> Any:
    names = order if given.keys() <= set(order) else tuple(given)  # a simple `Tool` does not say its own
    first = [given.pop(name) for name in takewhile(given.__contains__, names)] if order else []
    if "config" in signature(function).parameters:
        given.setdefault("config", {})
    return function(*first, **given)


def _to_its_end(way: _Way, arguments: Mapping[str, Any]) -> Any:
    result = way(dict(arguments))
    if not iscoroutine(result):
        return result
    with ThreadPoolExecutor(1) as thread:  # the caller may be on an event loop of its own
        return thread.submit(copy_context().run, asyncio.run, result).result()
