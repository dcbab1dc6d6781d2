"""`guard_tools`: tools that carry their credential, and are otherwise what they were."""

from __future__ import annotations

import asyncio
import copy
import warnings
from threading import Thread
from typing import Any, ClassVar

import pytest
from crewai.agents.cache.cache_handler import CacheHandler
from crewai.hooks.dispatch import InterceptionPoint, register, unregister
from crewai.tools import BaseTool, tool
from crewai.tools.base_tool import _TOOL_TYPE_REGISTRY
from crewai.tools.tool_failure import ToolExecutionFailedError, ToolFailure, ToolFailurePolicy
from pydantic import BaseModel, Field, TypeAdapter

import remit
from remit.testing.world import World
from remit_crewai import routes

from .support import (
    ACME,
    DEAR,
    INIT,
    QUOTES,
    RUNS,
    Desk,
    Quoter,
    Team,
    agent_of,
    codes,
    crew_of,
    drive,
    guard_crew,
    guard_tools,
    guarded,
    task_of,
    trader,
)

# ── in an agent's loop ──


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize("native", [True, False])
def test_a_denial_is_a_failure_that_is_told_once_and_never_tried_again(
    world: World, how: str, native: bool
) -> None:
    desk = Desk()
    agent = agent_of("Trader", [[DEAR], [ACME], [INIT]], [guarded(world, desk.trade)], native=native)
    output = drive(crew_of(agent), how)
    assert desk.done == [("trade", "ACME", 900)]
    assert codes(output) == ["argument_denied", "argument_denied"]
    assert world.audit.verdicts() == [
        ("trader", "trades:propose", "argument_denied"),
        ("trader", "trades:propose", None),
        ("trader", "trades:propose", "argument_denied"),
    ]
    [first, _] = output.tasks_output[0].tool_failures
    assert (first.failure.code, first.failure.retryable) == ("capability_denied", False)
    assert any(first.failure.message in str(message["content"]) for message in agent.llm.shown[-1])


def test_a_policy_that_raises_on_failures_raises_on_denials(world: World) -> None:
    made = guarded(world, Desk().trade.model_copy(update={"tool_failure_policy": ToolFailurePolicy.RAISE}))
    with pytest.raises(ToolExecutionFailedError, match="capability_denied"):
        crew_of(agent_of("Trader", [[DEAR]], [made])).kickoff()


def test_an_agent_alone_runs_its_tools_under_their_credential(world: World) -> None:
    desk = Desk()
    agent = agent_of("Trader", [[ACME, DEAR]], [guarded(world, desk.trade)])
    agent.kickoff("Trade.")
    asyncio.run(agent.kickoff_async("Trade."))
    assert desk.done == [("trade", "ACME", 900)] * 2
    assert world.audit.verdicts().count(("trader", "trades:propose", "argument_denied")) == 2


def test_a_denied_answer_is_never_the_final_one(world: World) -> None:
    made = guarded(world, Desk().trade.model_copy(update={"result_as_answer": True}))
    assert crew_of(agent_of("Trader", [[DEAR]], [made])).kickoff().raw == "done"
    assert crew_of(agent_of("Trader", [[ACME]], [made])).kickoff().raw == "proposed 900 ACME"


def test_what_a_hook_makes_of_the_arguments_is_what_is_checked(world: World) -> None:
    desk = Desk()

    def raise_the_amount(context: Any) -> None:
        context.tool_input["amount"] = 2_000

    register(InterceptionPoint.PRE_TOOL_CALL, raise_the_amount)
    try:
        output = crew_of(agent_of("Trader", [[ACME]], [guarded(world, desk.trade)])).kickoff()
    finally:
        unregister(InterceptionPoint.PRE_TOOL_CALL, raise_the_amount)
    assert desk.done == []
    assert codes(output) == ["argument_denied"]


@pytest.mark.parametrize("native", [True, False])
def test_a_shared_cache_serves_no_result_of_a_guarded_tool(world: World, native: bool) -> None:
    desk = Desk()
    shared = CacheHandler()
    may, may_not = trader(world), world.grant("other", "pricing:read")
    agents = [
        agent_of(role, [[ACME]], [guarded(world, desk.trade, held)], native=native)
        for role, held in (("May", may), ("May not", may_not))
    ]
    outputs = []
    for agent in agents:
        agent.cache = True
        agent.set_cache_handler(shared)
        outputs.append(crew_of(agent).kickoff())
    assert [codes(output) for output in outputs] == [[], ["capability_missing"]]
    assert shared._cache == {}


# ── routes ──


def test_an_error_of_the_tool_stays_an_error(world: World) -> None:
    def propose_trade(symbol: str) -> str:
        """Propose a trade."""
        raise LookupError(symbol)

    made = guarded(world, propose_trade, world.grant("trader", "propose_trade"))
    with pytest.raises(LookupError):
        made.run(symbol="ACME")


@pytest.mark.parametrize("name", ["trade", "quoter"])
def test_no_way_to_a_tool_goes_around_its_credential(world: World, name: str) -> None:
    desk = Desk()
    each = desk.trade if name == "trade" else desk.quoter()
    made = guarded(world, each, world.grant("trader", TRADES_OF_ACME, QUOTES))
    found = routes(made)
    assert found is not None
    assert len(found) >= 13
    for way, call in found.items():
        with world.guard.acting_as(world.grant("boss", "trades:propose", "quote")):
            denied = call({"symbol": "INIT", **({"amount": 9} if name == "trade" else {})})
        assert isinstance(denied, ToolFailure), way
        assert denied.details["code"] == "argument_denied", way
        assert desk.done == [], way
        call({"symbol": "ACME", **({"amount": 9} if name == "trade" else {})})
        assert len(desk.done) == 1, way
        desk.done.clear()


TRADES_OF_ACME = remit.Capability("trades:propose", symbol="ACME", amount=remit.Range(max=1_000))


def test_the_ways_of_a_tool_that_is_not_guarded_do_its_work() -> None:
    desk = Desk()
    for each, arguments in (
        (tool(desk.bare), {"symbol": "ACME", "amount": 1}),
        (desk.quoter(), {"symbol": "ACME"}),
    ):
        found = routes(each)
        assert found is not None
        for way, call in found.items():
            call(arguments)
            assert len(desk.done) == 1, way
            desk.done.clear()


def test_what_is_no_tool_has_no_ways() -> None:
    assert routes(len) is None


def test_the_tool_of_a_copied_context_or_a_thread_has_its_own_credential(world: World) -> None:
    desk = Desk()
    made = guarded(world, desk.trade)
    thread = Thread(target=made.run, kwargs={"symbol": "ACME", "amount": 1})
    thread.start()
    thread.join()
    assert desk.done == [("trade", "ACME", 1)]


def test_a_copy_carries_the_same_credential(world: World) -> None:
    desk = Desk()
    made = guarded(world, desk.quoter(), world.grant("q", QUOTES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copies = [copy.copy(made), made.model_copy(), made.copy(), made.model_copy(update={"name": "other"})]
    for each in copies:
        assert isinstance(each.run(symbol="INIT"), ToolFailure)
        assert each.run(symbol="ACME") == "ACME is at 42 EUR"


def test_a_new_tool_of_the_class_carries_nothing_and_does_nothing(world: World) -> None:
    desk = Desk()
    made = guarded(world, desk.quoter(), world.grant("q", QUOTES))
    for again in (type(made)(desk=desk), type(made).model_construct(**dict(made))):
        with pytest.raises(remit.ConfigError, match="carries no credential"):
            again.run(symbol="ACME")
        with pytest.raises(remit.ConfigError, match="carries no credential"):
            asyncio.run(again.arun(symbol="ACME"))
    assert desk.done == []


def test_the_register_of_classes_keeps_the_original(world: World) -> None:
    original = Desk().quoter()
    guarded(world, original)
    assert _TOOL_TYPE_REGISTRY[original.tool_type] is Quoter


class Decorated(BaseTool):
    name: str = "decorated"
    description: str = "Does something."

    @remit.requires_capability("decorated:do")
    def _run(self) -> str:
        return "done"


def test_what_is_restored_from_a_checkpoint_carries_nothing(world: World) -> None:
    made = guarded(world, Decorated(), world.grant("d", "decorated:do"))
    stored = TypeAdapter(list[BaseTool]).dump_json([made])
    [restored] = TypeAdapter(list[BaseTool]).validate_json(stored)
    assert made.run() == "done"
    assert type(restored) is Decorated
    with pytest.raises(remit.Denied, match="not_bound"):
        restored.run()


class Pay(BaseTool):
    name: str = "pay"
    description: str = "Pays."
    paid: ClassVar[list[int]] = []

    def _run(self, amount: int) -> str:
        self.paid.append(amount)
        return "paid"


@pytest.mark.parametrize("how", ["guard_tools", "guard_crew"])
def test_what_only_its_guard_stood_before_does_nothing_when_it_is_restored(world: World, how: str) -> None:
    credential = world.grant("payer", remit.Capability("pay", amount=remit.Range(max=10)))
    original: Any = Pay()
    if how == "guard_tools":
        [made] = guard_tools([original], world.guard, credential)
    else:
        original = type("Declared", (Pay,), {"__capability__": "pay", "__module__": __name__})()
        worker = agent_of("Payer", [], [original])
        guard_crew(Team(agents=[worker], tasks=[task_of(worker)]), world.guard, {"Payer": credential})
        [made] = worker.tools
    assert (made.run(amount=10), made.run(amount=11).code) == ("paid", "capability_denied")
    stored = TypeAdapter(list[BaseTool]).dump_json([made])
    [restored] = TypeAdapter(list[BaseTool]).validate_json(stored)
    credential.close()
    for run in (restored.run, restored.to_structured_tool().func, restored._run):
        assert run(amount=1_000).code == "capability_denied"
    assert (restored.name, Pay.paid) == ("pay", [10])
    Pay.paid.clear()


class Searcher(BaseTool):
    """As the tools of an MCP server are: the schema knows the defaults, the method takes what comes."""

    class _Arguments(BaseModel):
        query: str
        limit: int = 10
        tags: list[str] = Field(default_factory=list)
        cursor: str | None = None

    name: str = "search"
    description: str = "Searches."
    args_schema: type[BaseModel] = _Arguments

    def _run(self, **given: Any) -> str:
        return repr(sorted(given.items()))


class Strict(Searcher):
    # A method that names what its schema has, as most do.
    def _run(  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        self, query: str, limit: int, tags: list[str], cursor: str | None
    ) -> str:
        return repr(sorted({"query": query, "limit": limit, "tags": tags, "cursor": cursor}.items()))


@pytest.mark.parametrize("kind", [Searcher, Strict])
def test_the_defaults_of_a_schema_need_not_be_granted_and_reach_the_tool(
    world: World, kind: type[Searcher]
) -> None:
    credential = world.grant("s", remit.Capability("search", query=remit.MaxLength(5)))
    [made] = guard_tools([kind()], world.guard, credential)
    for call in (made.run, made.to_structured_tool().invoke):
        given = {"query": "a"}
        expected = kind().run(**given)
        assert (call(**given) if call == made.run else call(given)) == expected
        other = {"query": "a", "limit": 11}
        denied: Any = call(**other) if call == made.run else call(other)
        assert denied.details["argument"] == "limit"


def test_a_coroutine_that_a_function_returns_is_denied_as_a_failure(world: World) -> None:
    credential = world.grant("late", "late")

    async def work() -> str:
        return "done"

    def late() -> Any:
        """Return what is yet to be done."""
        return work()

    made = guarded(world, late, credential)
    assert made.run() == "done"
    left = made.func()
    credential.close()
    assert asyncio.run(left).details["code"] == "credential_closed"
