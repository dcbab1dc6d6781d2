"""No route to the work of a tool made by `guard_tools` goes around the check.

Each tool is guarded with a credential that allows `ok` and nothing else; every route must run with `ok` and be
denied with `no`, with the body never reached.
"""

from __future__ import annotations

import asyncio
import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool, StructuredTool, Tool, tool

import remit
from remit_langchain import CapabilityMiddleware, guard_tools

from .support import World, code_of, drive, model, verdicts

CAPABILITY = "records:read"


class Work:
    """What the bodies of the tools note."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def sync(self) -> Callable[[str], str]:
        def read(record: str) -> str:
            """Read one record."""
            self.done.append(record)
            return f"read {record}"

        return read

    def coroutine(self) -> Callable[[str], Any]:
        async def read(record: str) -> str:
            """Read one record."""
            await asyncio.sleep(0)
            self.done.append(record)
            return f"read {record}"

        return read

    def read(self, record: str) -> str:
        return str(self.sync()(record))


class SyncTool(BaseTool):
    name: str = "read"
    description: str = "Read one record."
    work: Any

    def _run(self, record: str) -> str:
        return str(self.work.sync()(record))


class AsyncTool(BaseTool):
    name: str = "read"
    description: str = "Read one record."
    work: Any

    def _run(self, record: str) -> str:
        raise NotImplementedError

    async def _arun(self, record: str) -> str:
        return str(await self.work.coroutine()(record))


class BothTool(AsyncTool):
    def _run(self, record: str) -> str:
        return str(self.work.sync()(record))


class ThroughTool(SyncTool):
    """Its coroutine goes through its function."""

    async def _arun(self, record: str) -> str:
        return self._run(record)


class MarkedTool(SyncTool):
    @remit.requires_capability(CAPABILITY)
    def _run(self, record: str) -> str:
        return str(self.work.sync()(record))


class MarkedAsyncTool(AsyncTool):
    @remit.requires_capability(CAPABILITY)
    def _run(self, record: str) -> str:
        raise NotImplementedError

    @remit.requires_capability(CAPABILITY)
    async def _arun(self, record: str) -> str:
        return str(await self.work.coroutine()(record))


class OwnRunStructuredTool(StructuredTool):
    """A subclass that adds something around the function."""

    def _run(
        self,
        *args: Any,
        config: RunnableConfig,
        run_manager: CallbackManagerForToolRun | None = None,
        **kwargs: Any,
    ) -> Any:
        return super()._run(*args, config=config, run_manager=run_manager, **kwargs)

    async def _arun(
        self,
        *args: Any,
        config: RunnableConfig,
        run_manager: AsyncCallbackManagerForToolRun | None = None,
        **kwargs: Any,
    ) -> Any:
        return await super()._arun(*args, config=config, run_manager=run_manager, **kwargs)


def marked(function: Any) -> Any:
    return remit.requires_capability(CAPABILITY)(function)


def logged(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


MAKERS: dict[str, Callable[[Work], Any]] = {
    "function": lambda w: w.sync(),
    "async function": lambda w: w.coroutine(),
    "decorated function": lambda w: marked(w.sync()),
    "decorated async function": lambda w: marked(w.coroutine()),
    "@tool": lambda w: tool(w.sync()),
    "async @tool": lambda w: tool(w.coroutine()),
    "decorated @tool": lambda w: tool(marked(w.sync())),
    "decorated async @tool": lambda w: tool(marked(w.coroutine())),
    "structured, both": lambda w: StructuredTool.from_function(w.sync(), w.coroutine()),
    "structured, both decorated": lambda w: StructuredTool.from_function(
        marked(w.sync()), marked(w.coroutine())
    ),
    "bound method": lambda w: StructuredTool.from_function(w.read, description="Read one record."),
    "simple Tool": lambda w: Tool(name="read", func=w.sync(), description="Read one record."),
    "simple Tool, both": lambda w: Tool("read", w.sync(), "Read one record.", coroutine=w.coroutine()),
    "sync class": lambda w: SyncTool(work=w),
    "async class": lambda w: AsyncTool(work=w),
    "class with both": lambda w: BothTool(work=w),
    "class with one through the other": lambda w: ThroughTool(work=w),
    "decorated class": lambda w: MarkedTool(work=w),
    "decorated async class": lambda w: MarkedAsyncTool(work=w),
    "structured subclass": lambda w: OwnRunStructuredTool.from_function(w.sync(), w.coroutine()),
}
SYNC = [name for name in MAKERS if "async" not in name]
BY_POSITION = {"run a string", "_run", "_run of a copy", "_run of the class", "_arun", "_arun of the class"}

# `as_tool` says that it is in beta.
pytestmark = pytest.mark.filterwarnings("ignore:This API is in beta")


def call(record: str) -> Any:
    return {"name": "read", "args": {"record": record}, "id": "c-1", "type": "tool_call"}


def sync_routes(made: Any) -> Iterator[tuple[str, Callable[[str], Any]]]:
    yield "invoke", lambda r: made.invoke({"record": r})
    yield "invoke a call", lambda r: made.invoke(call(r))
    yield "run", lambda r: made.run({"record": r})
    yield "run a string", made.run
    yield "batch", lambda r: made.batch([{"record": r}])
    yield "batch_as_completed", lambda r: list(made.batch_as_completed([{"record": r}]))
    yield "stream", lambda r: list(made.stream({"record": r}))
    yield "transform", lambda r: list(made.transform(iter([{"record": r}])))
    yield "bind", lambda r: made.bind().invoke({"record": r})
    yield "with_config", lambda r: made.with_config(tags=["t"]).invoke({"record": r})
    yield "with_retry", lambda r: made.with_retry(stop_after_attempt=1).invoke({"record": r})
    yield "sequence", (RunnableLambda(lambda r: {"record": r}) | made).invoke
    yield "as_tool", lambda r: made.as_tool(name="again", arg_types={"record": str}).invoke({"record": r})
    yield "model_copy", lambda r: made.model_copy().invoke({"record": r})
    yield "model_copy deep", lambda r: made.model_copy(deep=True).invoke({"record": r})
    yield "copy", lambda r: copy.copy(made).invoke({"record": r})
    yield "deepcopy", lambda r: copy.deepcopy(made).invoke({"record": r})
    config: dict[str, Any] = {"config": {}} if hasattr(made, "func") else {}
    yield "_run", lambda r: made._run(r, **config)
    yield "_run by name", lambda r: made._run(record=r, **config)
    yield "_run of a copy", lambda r: copy.deepcopy(made)._run(r, **config)
    yield "_run of the class", lambda r: type(made)._run(*class_call(made, "_run", r), **config)
    if getattr(made, "func", None):
        yield "func", made.func
        yield "func by name", lambda r: made.func(record=r)
        yield "StructuredTool._run", lambda r: StructuredTool._run(made, r, config={})


def async_routes(made: Any) -> Iterator[tuple[str, Callable[[str], Any]]]:
    async def streamed(record: str) -> list[Any]:
        return [chunk async for chunk in made.astream({"record": record})]

    yield "ainvoke", lambda r: made.ainvoke({"record": r})
    yield "ainvoke a call", lambda r: made.ainvoke(call(r))
    yield "arun", lambda r: made.arun({"record": r})
    yield "abatch", lambda r: made.abatch([{"record": r}])
    yield "astream", streamed
    yield "bind", lambda r: made.bind().ainvoke({"record": r})
    yield "copy", lambda r: copy.copy(made).ainvoke({"record": r})
    yield "deepcopy", lambda r: copy.deepcopy(made).ainvoke({"record": r})
    config: dict[str, Any] = {"config": {}} if hasattr(made, "func") else {}
    yield "_arun", lambda r: made._arun(r, **config)
    yield "_arun by name", lambda r: made._arun(record=r, **config)
    yield (
        "_arun of the class",
        lambda r: type(made)._arun(*class_call(made, "_arun", r), **config),
    )
    if getattr(made, "coroutine", None):
        yield "coroutine", made.coroutine
        yield "StructuredTool._arun", lambda r: StructuredTool._arun(made, r, config={})


def class_call(made: Any, name: str, record: str) -> tuple[Any, ...]:
    """The arguments of a method got from the class: with the tool, unless it needs none."""
    own = vars(type(made)).get(name)
    return (record,) if isinstance(own, staticmethod) else (made, record)


def outcome(route: Callable[[str], Any], record: str) -> str:
    """`ok`, or the code of the denial, however it was told."""
    try:
        result = route(record)
        if asyncio.iscoroutine(result):
            result = asyncio.run(result)
    except remit.Denied as denied:
        return denied.code
    if isinstance(result, ToolMessage) and result.status == "error":
        return code_of(result) or "error"
    return "ok"


def walk(
    made: BaseTool, routes: Iterator[tuple[str, Callable[[str], Any]]], work: Work, world: World
) -> None:
    for name, route in routes:
        work.done.clear()
        assert (name, outcome(route, "no"), work.done) == (name, "argument_denied", [])
        if isinstance(made, OwnRunStructuredTool) and name in BY_POSITION:
            continue  # its `*args` say no names that could be allowed
        before = len(world.decisions)
        assert (name, outcome(route, "ok"), work.done) == (name, "ok", ["ok"])
        assert (name, len(world.decisions) - before) == (name, 1), "checked once, not more"


def guarded(maker: Callable[[Work], Any]) -> tuple[Any, Work, World]:
    world, work = World(), Work()
    credential = world.grant("reader", remit.Capability(CAPABILITY, record=remit.OneOf("ok")))
    (made,) = guard_tools([maker(work)], world.guard, credential, capability=CAPABILITY)
    return made, work, world


@pytest.mark.parametrize("kind", SYNC)
def test_no_synchronous_route_goes_around_the_check(kind: str) -> None:
    made, work, world = guarded(MAKERS[kind])
    walk(made, sync_routes(made), work, world)


@pytest.mark.parametrize("kind", MAKERS)
def test_no_asynchronous_route_goes_around_the_check(kind: str) -> None:
    made, work, world = guarded(MAKERS[kind])
    walk(made, async_routes(made), work, world)


@pytest.mark.parametrize("kind", MAKERS)
def test_nothing_on_a_guarded_tool_leads_to_the_bare_function(kind: str) -> None:
    made, _, _ = guarded(MAKERS[kind])
    for name in ("func", "coroutine", "_run", "_arun"):
        assert not hasattr(getattr(made, name, None), "__wrapped__")
    assert not hasattr(made, "__wrapped__")


@pytest.mark.parametrize("kind", MAKERS)
def test_the_original_stays_as_it_was(kind: str) -> None:
    """A decorated original still has nothing bound; another's tool still works for its other users."""
    world, work = World(), Work()
    original = MAKERS[kind](work)
    if not isinstance(original, BaseTool):
        original = tool(original)
    guard_tools([original], world.guard, world.grant("reader", CAPABILITY), capability=CAPABILITY)
    expected = "not_bound" if "decorated" in kind else "ok"
    assert outcome(lambda r: original.ainvoke({"record": r}), "any") == expected


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("how", ["ainvoke", "astream"])
def test_a_guarded_tool_runs_under_its_own_credential_wherever_it_is_used(kind: str, how: str) -> None:
    """The middleware of another agent, or a block of its caller, lends it nothing and takes nothing from it."""
    from langchain.agents import create_agent

    made, work, world = guarded(MAKERS[kind])
    other = CapabilityMiddleware(world.guard, world.grant("other", CAPABILITY))
    agent = (
        create_agent(
            model([(made.name, {"record": "ok"}), (made.name, {"record": "no"})]), [made], middleware=[other]
        )
        if not isinstance(made, Tool)
        else None
    )
    with world.guard.acting_as(world.grant("caller", CAPABILITY)):
        if agent is not None:
            assert verdicts(drive(agent, how)) == ["ok", "argument_denied"]
        assert outcome(lambda r: made.ainvoke({"record": r}), "no") == "argument_denied"
    assert work.done == (["ok"] if agent is not None else [])
    assert {agent_name for agent_name, _, _ in world.decisions} == {"reader"}


def test_a_new_tool_around_a_guarded_function_is_still_guarded() -> None:
    made, work, _ = guarded(MAKERS["function"])
    again = StructuredTool.from_function(made.func, name="again")
    assert outcome(lambda r: again.invoke({"record": r}), "no") == "argument_denied"
    assert (outcome(lambda r: again.invoke({"record": r}), "ok"), work.done) == ("ok", ["ok"])


def test_a_tool_that_works_outside_its_functions_is_refused() -> None:
    class Direct(SyncTool):
        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
            return self.work.sync()(input["record"])

    class Async(SyncTool):
        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
            return self.work.sync()(input["record"])

    world, work = World(), Work()
    schema = {"properties": {"record": {"type": "string"}}}
    nothing = StructuredTool(name="read", description="Read one record.", args_schema=schema)
    partial = StructuredTool(
        name="read", description="Read one record.", args_schema=schema, func=functools.partial(work.sync())
    )
    wrapped = tool(logged(marked(work.sync())))  # a cache, say, would answer before the check
    for wrong in (Direct(work=work), Async(work=work), nothing, partial, wrapped):
        with pytest.raises(remit.ConfigError):
            guard_tools([wrong], world.guard, world.grant("reader", CAPABILITY))


def test_a_tool_carries_one_credential() -> None:
    made, _, world = guarded(MAKERS["function"])
    with pytest.raises(remit.ConfigError, match="carries a credential already"):
        guard_tools([made], world.guard, world.grant("other", CAPABILITY))
    with pytest.raises(remit.ConfigError, match="carries a credential already"):
        guard_tools([copy.deepcopy(made)], world.guard, world.grant("other", CAPABILITY))
