"""A small agent framework of our own, and its adapter: what the contract and the bypass are tried on."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import remit

Calls = Sequence[tuple[str, Mapping[str, Any]]]


# ── the framework, which knows nothing of Remit ─────────────────────────────────────────────────────────────
class Tool:
    """A function that a model may call. It converts arguments to the annotated types."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = function.__name__

    def schema(self) -> dict[str, Any]:
        parameters = inspect.signature(self.function).parameters.values()
        kinds = {str: "string", int: "integer", "str": "string", "int": "integer"}
        return {
            "type": "object",
            "properties": {p.name: {"type": kinds[p.annotation]} for p in parameters},
            "required": [p.name for p in parameters if p.default is p.empty],
        }

    def converted(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that the tool declares, as the types that it declares."""
        properties = self.schema()["properties"]
        return {
            name: int(value) if properties[name]["type"] == "integer" else value
            for name, value in arguments.items()
            if name in properties
        }

    def run(self, arguments: Mapping[str, Any]) -> Any:
        result = self.function(**self.converted(arguments))
        return asyncio.run(result) if inspect.iscoroutine(result) else result

    async def arun(self, arguments: Mapping[str, Any]) -> Any:
        result = self.function(**self.converted(arguments))
        return await result if inspect.iscoroutine(result) else result


@dataclass
class Reply:
    """What the model is told about a call."""

    text: str
    failed: str | None = None


@dataclass
class Agent:
    """A model that follows a script, its tools, and a hook around each call."""

    tools: list[Tool]
    script: list[Calls]
    around: Callable[[Tool], AbstractContextManager[Any]] = lambda tool: nullcontext()
    on_error: Callable[[Exception], Reply | None] = lambda error: None
    cache: dict[str, Any] | None = None
    replies: list[Reply] = field(default_factory=list)

    def stream(self) -> Iterator[Reply]:
        """Run, one turn after the other; the calls of a turn in threads."""
        for turn in self.script:
            with ThreadPoolExecutor(len(turn)) as pool:
                jobs = [pool.submit(copy_context().run, self._call, name, given) for name, given in turn]
                yield from [job.result() for job in jobs]

    async def arun(self) -> list[Reply]:
        """Run on an event loop; the calls of a turn at once."""
        told: list[Reply] = []
        for turn in self.script:
            told += await asyncio.gather(*(self._acall(*call) for call in turn))
        return told

    def _tool(self, name: str) -> Tool:
        return next(tool for tool in self.tools if tool.name == name)

    def _call(self, name: str, arguments: Mapping[str, Any]) -> Reply:
        tool, key = self._tool(name), f"{name} {sorted(arguments.items())}"
        try:
            if self.cache is not None and key in self.cache:
                return Reply(str(self.cache[key]))
            with self.around(tool):
                return self._kept(key, tool.run(arguments))
        except Exception as error:  # noqa: BLE001 - frameworks do
            return self._failed(error)

    async def _acall(self, name: str, arguments: Mapping[str, Any]) -> Reply:
        tool, key = self._tool(name), f"{name} {sorted(arguments.items())}"
        try:
            if self.cache is not None and key in self.cache:
                return Reply(str(self.cache[key]))
            with self.around(tool):
                return self._kept(key, await tool.arun(arguments))
        except Exception as error:  # noqa: BLE001 - frameworks do
            return self._failed(error)

    def _kept(self, key: str, result: Any) -> Reply:
        if self.cache is not None:
            self.cache[key] = result
        return Reply(str(result))

    def _failed(self, error: Exception) -> Reply:
        reply = self.on_error(error)
        if reply is None:
            raise error
        return reply


# ── its adapter ─────────────────────────────────────────────────────────────────────────────────────────────
def shown(error: Exception) -> Reply | None:
    """A denial as the framework shows failures."""
    return Reply(f"{error.reason} [{error.code}]", error.code) if isinstance(error, remit.Denied) else None


def bind(agent: Agent, guard: remit.Guard, credential: remit.Credential) -> Agent:
    """Let an agent act under a credential, and no cache answer for a guarded tool."""
    binder = remit.ToolBinder(guard, credential)
    agent.around = lambda tool: binder.around(remit.capability_of(tool.function))
    agent.on_error = shown
    agent.cache = None
    return agent


def guard_tool(
    function: Callable[..., Any],
    guard: remit.Guard,
    credential: remit.Credential,
    capability: str | None = None,
) -> Tool:
    """Make a tool that carries its credential."""
    binder = remit.ToolBinder(guard, credential, capability=capability)
    binder.check_names([function.__name__])
    bound = binder.bind(function.__name__, {"function": function})
    return Tool(bound["function"])


def routes(tool: object) -> dict[str, Callable[[Mapping[str, Any]], Any]] | None:
    """Every way in which a tool of the framework can be reached."""
    if not isinstance(tool, Tool):
        return None

    def direct(arguments: Mapping[str, Any]) -> Any:
        result = tool.function(**arguments)
        return asyncio.run(result) if inspect.iscoroutine(result) else result

    def positional(arguments: Mapping[str, Any]) -> Any:
        result = tool.function(*arguments.values())
        return asyncio.run(result) if inspect.iscoroutine(result) else result

    return {
        "run": tool.run,
        "arun": lambda arguments: asyncio.run(tool.arun(arguments)),
        "function": direct,
        "function, positionally": positional,
    }
