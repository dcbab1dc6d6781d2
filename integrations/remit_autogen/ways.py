"""The ways in which the work of a tool can be reached, for `remit.testing` to try each of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from copy import copy, deepcopy
from functools import partial
from inspect import isawaitable
from itertools import takewhile
from typing import Any

from autogen_core import CancellationToken
from autogen_core.tools import BaseTool, StaticStreamWorkbench

_Way = Callable[[dict[str, Any]], Any]


def routes(tool: object) -> dict[str, Callable[[Mapping[str, Any]], Any]] | None:
    """List the ways in which an AutoGen tool can be reached; `None` for what is no AutoGen tool.

    Each takes the arguments by name and returns what comes back, of a stream the list of its items. All are
    run to their end, in a thread of their own with the caller's context.
    """
    ways = dict(_ways(tool)) if isinstance(tool, BaseTool) else {}
    return {name: partial(_to_its_end, way) for name, way in ways.items()} or None


def _ways(tool: Any) -> Iterator[tuple[str, _Way]]:
    def model(given: dict[str, Any]) -> Any:
        return tool.args_type().model_validate(given)

    bench, token = StaticStreamWorkbench([tool]), CancellationToken()
    yield "run_json", lambda given: tool.run_json(given, token)
    yield "run", lambda given: tool.run(model(given), token)
    yield "copy", lambda given: copy(tool).run_json(given, token)
    yield "deepcopy", lambda given: deepcopy(tool).run_json(given, token)
    yield "workbench", lambda given: bench.call_tool(tool.name, given)
    yield "workbench, streaming", lambda given: _items(bench.call_tool_stream(tool.name, given))
    if hasattr(tool, "run_json_stream"):
        yield "run_json_stream", lambda given: _items(tool.run_json_stream(given, token))
        yield "run_stream", lambda given: _items(tool.run_stream(model(given), token))
    if hasattr(tool, "_func"):
        names = tuple(tool.args_type().model_fields)
        for where, function in _functions(tool):
            yield where, partial(_call, function, ())
            yield f"{where}, positionally", partial(_call, function, names)


def _functions(tool: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    kept: dict[str, Any] = {"_func": tool._func, "vars": vars(tool)["_func"]}  # noqa: SLF001 - a way in
    for where, function in kept.items():
        yield where, function
        if (wrapped := getattr(function, "__wrapped__", None)) is not None:
            yield f"{where}.__wrapped__", wrapped


def _call(function: Callable[..., Any], order: tuple[str, ...], given: dict[str, Any]) -> Any:
    first = [given.pop(name) for name in takewhile(given.__contains__, order)]
    return function(*first, **given)


async def _items(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


def _to_its_end(way: _Way, arguments: Mapping[str, Any]) -> Any:
    async def ended() -> Any:
        result = way(dict(arguments))
        return await result if isawaitable(result) else result

    with ThreadPoolExecutor(1) as thread:  # the caller may be on an event loop of its own
        return thread.submit(copy_context().run, lambda: asyncio.run(ended())).result()
