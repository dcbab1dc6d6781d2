"""`guard_tools`: each way to a tool carries the credential, and everything else of the tool is kept."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import pytest
from autogen_core import CancellationToken
from autogen_core.tools import BaseStreamTool, BaseTool, FunctionTool, StreamTool, ToolResult
from pydantic import BaseModel, ConfigDict, Field, create_model

import remit
import remit_autogen
from remit_autogen import guard_tools, routes

from .support import (
    NOTE,
    PRICE,
    RUNS,
    TOO_MUCH,
    TRADE,
    Adder,
    Counted,
    Counter,
    Desk,
    Numbers,
    Step,
    Sum,
    Upto,
    World,
    assistant,
    drive,
    verdicts,
)

TOKEN = CancellationToken()
UPTO_3 = remit.Capability("upto", by=remit.Range(max=3))
FIRST_3 = remit.Capability("add", first=remit.Range(max=3))


def only(tool: Any, world: World, credential: remit.Credential, **settings: Any) -> Any:
    """One tool, guarded."""
    (made,) = guard_tools([tool], world.guard, credential, **settings)
    return made


def code_of(way: Callable[[Mapping[str, Any]], Any], arguments: Mapping[str, Any]) -> str | None:
    """The code with which a way to a tool denies a call, `None` when it answers it."""
    try:
        result = way(arguments)
    except remit.Denied as denied:
        return denied.code
    results = result if isinstance(result, list) else [result]
    texts = [each.to_text() for each in results if isinstance(each, ToolResult) and each.is_error]
    return texts[0].partition(":")[0] if texts else None


def noting(desk: list[Any]) -> Any:
    """A function that somebody else wrote."""

    def search(query: str) -> str:
        """Search."""
        desk.append(query)
        return query

    return search


def anoting(desk: list[Any]) -> Any:
    """A coroutine function that somebody else wrote."""

    async def search(query: str) -> str:
        """Search."""
        desk.append(query)
        return query

    return search


SEARCHES = [noting, anoting]
KINDS: list[Callable[[Any], Any]] = [
    lambda function: function,
    lambda function: FunctionTool(function, description="Search."),
    lambda function: FunctionTool(remit.requires_capability("search")(function), description="Search."),
    remit.requires_capability("search"),
]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_a_function_is_guarded(search: Any, kind: Callable[[Any], Any]) -> None:
    world, done = World(), list[Any]()
    credential = world.grant("s", remit.Capability("search", query=remit.MaxLength(3)))
    ways = routes(only(kind(search(done)), world, credential))
    assert ways is not None
    assert len(ways) == 10
    for number, (name, way) in enumerate(ways.items(), 1):
        assert code_of(way, {"query": "fine"}) == "argument_denied", name
        assert code_of(way, {"query": "ok"}) is None, name
        assert len(done) == number, name
    assert len(world.decisions) == 2 * len(ways)
    assert len(world.outcomes) == len(ways)


@pytest.mark.parametrize(("kind", "count"), [(Adder, 6), (Upto, 8), (Counter, 6)])
def test_every_way_to_a_tool_class_is_guarded(kind: type[Any], count: int) -> None:
    world, tool = World(), kind()
    name, argument = tool.name, next(iter(tool.args_type().model_fields))
    allowed = remit.Capability(name, **{argument: remit.Range(max=3)})
    ways = routes(only(tool, world, world.grant("a", allowed)))
    assert ways is not None
    assert len(ways) == count
    for way in ways.values():
        assert code_of(way, {argument: 4}) == "argument_denied"
        assert code_of(way, {argument: 3}) is None
    assert len(world.decisions) == 2 * len(ways)
    assert len(world.outcomes) == len(ways)


def test_a_tool_that_is_not_guarded_is_found_to_be_open_in_every_way() -> None:
    done: list[Any] = []
    ways = routes(FunctionTool(noting(done), description=""))
    assert ways is not None
    assert [code_of(way, {"query": "any"}) for way in ways.values()] == [None] * len(ways)
    assert len(done) == len(ways)
    assert routes(noting(done)) is None


@pytest.mark.parametrize("kind", ["get_price", "aget_price"])
def test_a_way_is_gone_with_what_is_around_it(kind: str) -> None:
    world, desk = World(), Desk()
    ways = routes(FunctionTool(getattr(desk, kind), description=""))
    assert ways is not None
    assert {code_of(way, {"symbol": "X"}) for way in ways.values()} == {"not_bound"}
    with world.guard.acting_as(world.trader()):
        assert code_of(ways["_func"], {"symbol": "X"}) is None
        found = code_of(ways["run_json"], {"symbol": "X"})
    assert found == (
        None if kind == "aget_price" else "not_bound"
    )  # AutoGen calls a function in another thread


def test_a_wrapper_that_leaves_the_bare_function_behind_is_found_out() -> None:
    done: list[Any] = []

    def search(query: str) -> str:
        raise PermissionError

    search.__wrapped__ = noting(done)  # type: ignore[attr-defined]
    ways = routes(FunctionTool(search, description=""))
    assert ways is not None
    assert ways["_func.__wrapped__"]({"query": "any"}) == "any"


@pytest.mark.parametrize("how", RUNS)
async def test_a_denial_is_answered_by_an_agent_of_the_usual_kind(how: str) -> None:
    world, desk = World(), Desk()
    tools = guard_tools([desk.aget_price, desk.propose_trade], world.guard, world.trader())
    notes = guard_tools([desk.take_note], world.guard, world.trader())
    agent = assistant("trader", [[TRADE, TOO_MUCH, PRICE], [NOTE]], tools=[*tools, *notes])
    result = await drive(agent, how)
    assert verdicts(result) == ["ok", "argument_denied", "ok", "capability_missing"]
    assert sorted(desk.done) == [("price", "ACME"), ("trade", "ACME", 900)]


async def test_a_tool_runs_under_its_own_credential_wherever_it_is_called() -> None:
    world, desk = World(), Desk()
    tool = only(desk.aget_price, world, world.grant("own", "pricing:read"))
    with world.guard.acting_as(world.trader("around")):
        await tool.run_json({"symbol": "ACME"}, TOKEN)
    assert world.decisions == [("own", "pricing:read", None)]


@pytest.mark.parametrize("kind", [Adder, Counter, Upto])
def test_a_tool_class_keeps_all_that_the_model_and_the_program_see(kind: type[Any]) -> None:
    world, tool = World(), kind()
    made = only(tool, world, world.grant("a", tool.name))
    assert made.schema == tool.schema
    for name in ("args_type", "return_type", "state_type"):
        assert getattr(made, name)() == getattr(tool, name)()
    assert isinstance(made, kind)
    assert isinstance(made, StreamTool) == isinstance(tool, StreamTool)
    assert (type(made).__name__, type(made).__module__) == (kind.__name__, kind.__module__)
    assert inspect.iscoroutinefunction(made.run)
    assert made.return_value_as_string(Sum(value=1)) == '{"value": 1}'


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("search", SEARCHES)
def test_a_function_tool_keeps_all_that_the_model_and_the_program_see(search: Any, strict: bool) -> None:
    world = World()
    tool = FunctionTool(search([]), description="Look it up.", name="look_up", strict=strict)
    made = only(tool, world, world.grant("a", "look_up"))
    assert made.schema == tool.schema
    assert (made.schema["name"], made.schema["description"], made.schema["strict"]) == (
        "look_up",
        "Look it up.",
        strict,
    )
    assert made.return_type() is str
    assert inspect.iscoroutinefunction(made._func) == inspect.iscoroutinefunction(tool._func)


async def test_the_original_stays_as_it_was() -> None:
    world, done = World(), list[Any]()
    for tool, arguments in (
        (FunctionTool(noting(done), description=""), {"query": "fine"}),
        (Adder(), {"first": 9}),
    ):
        before = dict(vars(tool))
        made = only(tool, world, world.grant("a", "elsewhere"))
        with pytest.raises(remit.Denied):
            await made.run_json(arguments, TOKEN)
        assert vars(tool) == before
        assert type(tool) in {FunctionTool, Adder}
        await tool.run_json(arguments, TOKEN)
    assert world.decisions[-1][2] == "capability_missing"
    assert done == ["fine"]


async def test_a_tool_class_does_its_work_in_the_state_of_the_original() -> None:
    world, counter = World(), Counter()
    credential = world.grant("a", "count")
    one, two = (only(counter, world, credential) for _ in range(2))
    await one.run_json({"by": 2}, TOKEN)
    await two.run_json({"by": 3}, TOKEN)
    assert counter.now == one.now == two.now == 5
    assert await one.save_state_json() == {"count": 5}
    await two.load_state_json({"count": 1})
    assert (await one.run_json({"by": 1}, TOKEN)).count == 2


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy])
async def test_a_copy_carries_the_credential_and_its_own_state(copying: Callable[[Any], Any]) -> None:
    world, counter = World(), Counter()
    made = only(counter, world, world.grant("a", remit.Capability("count", by=remit.Range(max=3))))
    copied = copying(made)
    with pytest.raises(remit.Denied):
        await copied.run_json({"by": 4}, TOKEN)
    await copied.run_json({"by": 3}, TOKEN)
    assert (counter.now, copied.now) == (0, 3)


@pytest.mark.parametrize("tool", [Adder(), FunctionTool(noting([]), description="")])
def test_a_guarded_tool_cannot_be_pickled(tool: Any) -> None:
    world = World()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(only(tool, world, world.grant("a", tool.name)))


async def test_the_capability_is_the_given_one_the_decorated_or_the_name() -> None:
    world, desk = World(), Desk()

    class Declares(Adder):
        __capability__ = "sums:make"

    credential = world.trader()
    made = guard_tools(
        [desk.aget_price, desk.take_note, Adder(), Declares("declared")],
        world.guard,
        credential,
        capability={"take_note": "notes:take"},
    )
    assert [remit.capability_of(tool) for tool in made] == ["pricing:read", "notes:take", "add", "sums:make"]
    assert remit.capability_of(only(Adder(), world, credential, capability="sums:add")) == "sums:add"
    with pytest.raises(remit.CapabilityDenied, match="notes:take"):
        await made[1].run_json({"text": "x"}, TOKEN)


async def test_session_and_task_are_those_of_the_calls() -> None:
    world = World()
    credential = world.grant("a", "add", session="s", task="t")
    await only(Adder(), world, credential, session="s", task="t").run_json({"first": 1}, TOKEN)
    for settings, code in (({"session": "s"}, "task_mismatch"), ({"task": "t"}, "session_mismatch")):
        with pytest.raises(remit.Denied) as denied:
            await only(Adder(), world, credential, **settings).run_json({"first": 1}, TOKEN)
        assert denied.value.code == code


async def test_the_fields_of_a_tool_class_are_its_arguments() -> None:
    world = World()
    made = only(Adder(), world, world.grant("a", FIRST_3))
    assert (await made.run_json({"first": 3}, TOKEN)).value == 5
    assert (await made.run_json({"first": 3, "second": 2, "more": []}, TOKEN)).value == 5  # as by default
    for arguments in ({"first": 4}, {"first": 3, "second": 1}, {"first": 3, "more": [1]}):
        with pytest.raises(remit.Denied) as denied:
            await made.run_json(arguments, TOKEN)
        assert denied.value.code == "argument_denied"


async def test_a_default_is_checked_where_the_capability_names_it() -> None:
    world = World()
    allowed = remit.Capability("add", first=remit.Anything(), second=remit.Range(max=1))
    made = only(Adder(), world, world.grant("a", allowed))
    with pytest.raises(remit.Denied, match="second"):
        await made.run_json({"first": 1}, TOKEN)
    assert (await made.run_json({"first": 1, "second": 1}, TOKEN)).value == 2


async def test_arguments_of_another_class_are_checked_all_the_same() -> None:
    world = World()

    class Wider(Numbers):
        secretly: int = 7

    made = only(Adder(), world, world.grant("a", FIRST_3))
    with pytest.raises(remit.Denied, match="secretly"):
        await made.run(Wider(first=1), TOKEN)
    with pytest.raises(ValueError, match="valid dictionary or instance"):
        await made.run(Step(by=1), TOKEN)
    assert (await made.run({"first": "1"}, TOKEN)).value == 3


async def test_arguments_that_were_not_validated_are_checked_as_they_are() -> None:
    world = World()
    made = only(Adder(), world, world.grant("a", FIRST_3))
    with pytest.raises(remit.Denied):
        await made.run(Numbers.model_construct(first=9), TOKEN)
    with pytest.raises(remit.Denied, match="needs an argument 'first'"):
        await made.run(Numbers.model_construct(), TOKEN)


class Loose(BaseModel):
    """Takes anything."""

    model_config = ConfigDict(extra="allow")
    kind: str = "a"
    made_up: str = Field(default_factory=lambda: "made up")
    tags: list[str] = Field(default_factory=list)
    notes: dict[str, str] = Field(default_factory=dict)


class Takes(BaseTool[Loose, Sum]):
    """Notes what it was given."""

    def __init__(self, model: type[BaseModel] = Loose) -> None:
        super().__init__(model, Sum, "takes", "")  # type: ignore[arg-type]
        self.given: list[dict[str, Any]] = []

    async def run(self, args: Loose, cancellation_token: CancellationToken) -> Sum:
        self.given.append(dict(args))
        return Sum(value=len(self.given))


async def test_what_comes_beside_the_fields_is_an_argument_too() -> None:
    world, tool = World(), Takes()
    allowed = remit.Capability("takes", made_up=remit.Anything(), extra=remit.OneOf("ok"))
    made = only(tool, world, world.grant("a", allowed))
    await made.run_json({"extra": "ok"}, TOKEN)
    with pytest.raises(remit.Denied, match="extra"):
        await made.run_json({"extra": "other"}, TOKEN)
    with pytest.raises(remit.Denied, match="more"):
        await made.run_json({"extra": "ok", "more": 1}, TOKEN)
    with pytest.raises(remit.Denied, match="tags"):
        await made.run_json({"extra": "ok", "tags": ["one"]}, TOKEN)
    assert tool.given == [{"kind": "a", "made_up": "made up", "tags": [], "notes": {}, "extra": "ok"}]


async def test_what_a_factory_made_counts_as_passed() -> None:
    world = World()
    made = only(Takes(), world, world.grant("a", remit.Capability("takes", kind=remit.Anything())))
    with pytest.raises(remit.Denied, match="made_up"):
        await made.run_json({}, TOKEN)


async def test_fields_that_are_no_names_are_checked_as_well() -> None:
    fields: dict[str, Any] = {"from": (str, ...), "start-date": (str, "today"), "to": (str, ...)}
    world, tool = World(), Takes(create_model("Mail", **fields))
    constraints: dict[str, Any] = {"from": "me", "to": remit.Anything(), "start-date": "today"}
    made = only(tool, world, world.grant("a", remit.Capability("takes", **constraints)))
    await made.run_json({"from": "me", "to": "you"}, TOKEN)
    with pytest.raises(remit.Denied, match="from"):
        await made.run_json({"from": "you", "to": "you"}, TOKEN)
    with pytest.raises(remit.Denied, match="start-date"):
        await made.run_json({"from": "me", "to": "you", "start-date": "never"}, TOKEN)
    assert tool.given == [{"from": "me", "to": "you", "start-date": "today"}]


class Inner(BaseModel):
    """A part of a query."""

    size: int = 1


class Query(BaseModel):
    """Has defaults of all kinds."""

    words: str
    limit: int = 10
    tags: list[str] = Field(default_factory=list)
    options: dict[str, str] = {"a": "b"}
    inner: Inner = Inner()
    weights: dict[int, int] = {1: 2}  # has no form in JSON


class Answer(BaseModel):
    """What was seen of a query: what was set, and the attributes."""

    set: dict[str, Any]
    all: dict[str, Any]


class Queries(BaseTool[Query, Answer]):
    """Passes on what was set, as a client of a remote service does."""

    def __init__(self) -> None:
        super().__init__(Query, Answer, "query", "")

    async def run(self, args: Query, cancellation_token: CancellationToken) -> Answer:
        return Answer(set=args.model_dump(exclude_unset=True), all=args.model_dump())


class Listens(BaseStreamTool[Query, Answer, Answer]):
    """As above, in a stream."""

    def __init__(self) -> None:
        super().__init__(Query, Answer, "query", "")

    async def run(self, args: Query, cancellation_token: CancellationToken) -> Answer:
        raise NotImplementedError

    async def run_stream(
        self, args: Query, cancellation_token: CancellationToken
    ) -> AsyncGenerator[Answer, None]:
        yield Answer(set=args.model_dump(exclude_unset=True), all=args.model_dump())


@pytest.mark.parametrize(
    "given",
    [
        {"words": "x"},
        {"words": "x", "limit": 10},
        {"words": "x", "limit": 3, "tags": ["t"]},
        {"words": "x", "tags": [], "options": {"a": "b"}},
    ],
)
@pytest.mark.parametrize(
    "named", [{}, {"words": "x", "limit": remit.Range(max=10), "tags": remit.Anything()}]
)
async def test_a_tool_class_sees_which_fields_were_set(given: dict[str, Any], named: dict[str, Any]) -> None:
    world = World()
    credential = world.grant("a", remit.Capability("query", **named))
    bare = await Queries().run_json(given, TOKEN)
    assert bare.set == given
    assert await only(Queries(), world, credential).run_json(given, TOKEN) == bare
    assert await anext(only(Listens(), world, credential).run_json_stream(given, TOKEN)) == bare


async def test_what_was_changed_after_it_was_made_is_checked() -> None:
    world = World()
    made = only(Queries(), world, world.grant("a", remit.Capability("query", words=remit.Anything())))
    changed = Query(words="x")
    changed.tags.append("secretly")
    with pytest.raises(remit.Denied, match="tags"):
        await made.run(changed, TOKEN)
    changed = Query(words="x")
    vars(changed)["limit"] = 99
    with pytest.raises(remit.Denied, match="limit"):
        await made.run(changed, TOKEN)


async def test_who_says_what_was_set_changes_nothing_for_others() -> None:
    world, given = World(), Query(words="x")

    class Sets(Queries):
        async def run(self, args: Query, cancellation_token: CancellationToken) -> Answer:
            args.limit = 3
            return await super().run(args, cancellation_token)

    made = only(Sets(), world, world.grant("a", "query"))
    assert (await made.run(given, TOKEN)).set == {"words": "x", "limit": 3}
    assert given.model_fields_set == {"words"}


async def test_an_undeclared_field_may_have_any_name() -> None:
    world, tool = World(), Takes()
    names = ["_cancellation", "_fields", "around", "function", "args"]
    allowed = remit.Capability("takes", made_up=remit.Anything(), **dict.fromkeys(names, "ok"))
    made = only(tool, world, world.grant("a", allowed))
    await made.run_json(dict.fromkeys(names, "ok"), TOKEN)
    assert tool.given[0].items() >= dict.fromkeys(names, "ok").items()
    with pytest.raises(remit.Denied, match="_cancellation"):
        await made.run_json(dict.fromkeys(names, "ok") | {"_cancellation": "other"}, TOKEN)


class Basket(BaseModel):
    """Holds things that can be changed."""

    things: list[str]


class Keeps(BaseTool[Basket, Sum]):
    """Changes what it was given."""

    def __init__(self) -> None:
        super().__init__(Basket, Sum, "keeps", "")

    async def run(self, args: Basket, cancellation_token: CancellationToken) -> Sum:
        args.things.append("changed")
        return Sum(value=len(args.things))


async def test_the_tool_gets_copies_that_nobody_else_can_change() -> None:
    world = World()
    made = only(Keeps(), world, world.grant("a", "keeps"))
    given = Basket(things=["one"])
    assert (await made.run(given, TOKEN)).value == 2
    assert given.things == ["one"]


async def test_a_stream_is_checked_before_its_first_item() -> None:
    world, numbers = World(), list[int]()
    tool = Upto(numbers.append)
    made = only(tool, world, world.grant("a", UPTO_3))
    assert [each.count async for each in made.run_json_stream({"by": 3}, TOKEN)] == [1, 2, 3]
    with pytest.raises(remit.Denied):
        await anext(made.run_json_stream({"by": 4}, TOKEN))
    assert numbers == [1, 2, 3]
    assert world.outcomes == [("a", "upto")]


async def test_a_stream_that_is_left_is_closed() -> None:
    world, tool = World(), Upto()
    stream = only(tool, world, world.grant("a", UPTO_3)).run_stream(Step(by=3), TOKEN)
    await anext(stream)
    await stream.aclose()
    assert tool.ended == 1
    assert world.outcomes == [("a", "upto")]


async def test_a_tool_class_has_nothing_bound_in_its_body() -> None:
    world, desk = World(), Desk()
    price = desk.aget_price

    class Asks(Adder):
        async def run(self, args: Numbers, cancellation_token: CancellationToken) -> Sum:
            await price("ACME")
            return Sum(value=0)

    class AsksAloud(Upto):
        async def run_stream(
            self, args: Step, cancellation_token: CancellationToken
        ) -> AsyncGenerator[Counted, None]:
            await price("ACME")
            yield Counted()

    credential = world.grant("a", "add", "upto", "pricing:read")
    with world.guard.acting_as(credential):
        with pytest.raises(remit.Denied) as denied:
            await only(Asks(), world, credential).run_json({"first": 1}, TOKEN)
        assert denied.value.code == "not_bound"
        with pytest.raises(remit.Denied) as denied:
            await anext(only(AsksAloud(), world, credential).run_json_stream({"by": 1}, TOKEN))
        assert denied.value.code == "not_bound"
    assert desk.done == []


class RunsItself(Adder):
    """Does its work before any check could be made."""

    async def run_json(
        self, args: Mapping[str, Any], cancellation_token: CancellationToken, call_id: str | None = None
    ) -> Any:
        return Sum(value=9)


class StreamsItself(Adder):
    """As above, in a stream."""

    async def run_json_stream(
        self, args: Mapping[str, Any], cancellation_token: CancellationToken, call_id: str | None = None
    ) -> AsyncGenerator[Any, None]:
        yield Sum(value=9)


def patched(name: str) -> Adder:
    """A tool of which one method was replaced."""
    tool = Adder()
    setattr(tool, name, RunsItself().run_json)
    return tool


class Empty(FunctionTool):
    """No function to guard: its own run does the work."""

    async def run(self, args: Any, cancellation_token: CancellationToken) -> Any:
        return "worked"


@pytest.mark.parametrize(
    "tool", [RunsItself(), StreamsItself(), patched("run"), patched("run_json"), patched("run_stream")]
)
def test_a_tool_that_works_beside_the_guard_is_refused(tool: Any) -> None:
    world = World()
    with pytest.raises(remit.ConfigError, match="where no guard can stand"):
        only(tool, world, world.grant("a", "add"))


async def test_a_function_tool_with_a_run_of_its_own_is_guarded_in_both() -> None:
    world, done = World(), list[Any]()
    tool = Empty(noting(done), description="")
    made = only(tool, world, world.grant("a", "elsewhere"))
    ways = routes(made)
    assert ways is not None
    assert {code_of(way, {"query": "x"}) for way in ways.values()} == {"capability_missing"}
    assert done == []


def test_a_tool_that_carries_a_credential_is_refused() -> None:
    world = World()
    credential = world.grant("a", "add")
    made = only(Adder(), world, credential)
    with pytest.raises(remit.ConfigError, match="carries a credential already"):
        only(made, world, credential)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"tools": Adder()}, "list"),
        ({"tools": {Adder()}}, "list"),
        ({"tools": ["add"]}, "a str is no tool"),
        ({"tools": [None]}, "a NoneType is no tool"),
        ({"tools": [lambda query: query]}, "<lambda> is no tool"),
        ({"tools": [print]}, "print is no tool"),
        ({"tools": [int]}, "int is no tool"),
        ({"tools": [Adder(), Adder()]}, "each tool once"),
        ({"tools": [Adder(), Adder("b")], "capability": "add"}, "one capability is for one tool"),
        ({"capability": {"other": "x"}}, "tools that are there"),
        ({"capability": " "}, "capability"),
        ({"guard": None}, "Guard"),
        ({"credential": "token"}, "Credential"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], match: str) -> None:
    world = World()
    given: dict[str, Any] = {
        "tools": [Adder()],
        "guard": world.guard,
        "credential": world.grant("a", "add"),
        **settings,
    }
    with pytest.raises(remit.ConfigError, match=match):
        guard_tools(**given)


def test_a_tool_that_is_guarded_for_something_else_is_refused() -> None:
    world, desk = World(), Desk()
    with pytest.raises(remit.ConfigError, match="already"):
        only(desk.aget_price, world, world.trader(), capability="other")


async def test_a_guarded_method_of_an_object_is_a_tool_too() -> None:
    world = World()

    class Shop:
        def __init__(self) -> None:
            self.sold: list[str] = []

        @remit.requires_capability("shop:sell")
        def sell(self, what: str) -> str:
            """Sell something."""
            self.sold.append(what)
            return what

    shop = Shop()
    made = only(shop.sell, world, world.grant("a", remit.Capability("shop:sell", what="bread")))
    await made.run_json({"what": "bread"}, TOKEN)
    with pytest.raises(remit.Denied):
        await made.run_json({"what": "shop"}, TOKEN)
    assert shop.sold == ["bread"]


async def test_the_cancellation_token_is_no_argument() -> None:
    world, seen = World(), list[Any]()

    def search(query: str, cancellation_token: CancellationToken) -> str:
        """Search."""
        seen.append(cancellation_token)
        return query

    made = only(search, world, world.grant("a", remit.Capability("search", query=remit.MaxLength(3))))
    token = CancellationToken()
    assert await made.run_json({"query": "abc"}, token) == "abc"
    assert seen == [token]
    assert world.decisions == [("a", "search", None)]


async def test_the_cancellation_token_reaches_a_tool_class() -> None:
    world, seen = World(), list[Any]()

    class Sees(Adder):
        async def run(self, args: Numbers, cancellation_token: CancellationToken) -> Sum:
            seen.append(cancellation_token)
            return Sum(value=0)

    class SeesAloud(BaseStreamTool[Step, Counted, Counted]):
        def __init__(self) -> None:
            super().__init__(Step, Counted, "upto", "")

        async def run(self, args: Step, cancellation_token: CancellationToken) -> Counted:
            raise NotImplementedError

        async def run_stream(
            self, args: Step, cancellation_token: CancellationToken
        ) -> AsyncGenerator[Counted, None]:
            seen.append(cancellation_token)
            yield Counted()

    token = CancellationToken()
    await only(Sees(), world, world.grant("a", FIRST_3)).run_json({"first": 1}, token)
    await anext(only(SeesAloud(), world, world.grant("a", UPTO_3)).run_stream(Step(by=1), token))
    assert seen == [token, token]


def test_routes_is_offered_by_the_package() -> None:
    assert remit_autogen.routes is routes
