"""Teams of every kind: each agent's calls are decided under its own credential, in whichever order they speak."""

from __future__ import annotations

from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import Handoff
from autogen_agentchat.conditions import TextMentionTermination
from autogen_agentchat.messages import HandoffMessage, TextMessage, ToolCallExecutionEvent
from autogen_agentchat.teams import (
    DiGraphBuilder,
    GraphFlow,
    RoundRobinGroupChat,
    SelectorGroupChat,
    Swarm,
)
from autogen_agentchat.tools import AgentTool, TeamTool

import remit
from remit_autogen import CapabilityWorkbench, allowed_handoffs, guard_tools
from scripted_models.team import ScriptedClient, Turn

from .support import PRICE, RUNS, TRADE, Desk, World, assistant, drive, verdict, verdicts


def member(
    world: World, desk: Desk, name: str, granted: list[Any], turns: list[Turn], **settings: Any
) -> AssistantAgent:
    """An agent with all the tools of a desk and a credential for some."""
    tools = [desk.aget_price, desk.propose_trade]
    bench = CapabilityWorkbench(tools, world.guard, world.grant(name, *granted))
    return assistant(name, turns, workbench=bench, **settings)


def by_agent(result: Any) -> dict[str, list[str]]:
    """Of each agent, what its tools answered."""
    found: dict[str, list[str]] = {}
    for event in result.messages:
        if isinstance(event, ToolCallExecutionEvent):
            told = [verdict(each.content, is_error=bool(each.is_error)) for each in event.content]
            found.setdefault(event.source, []).extend(told)
    return found


TWO: list[Turn] = [[PRICE, TRADE]]
READER = {"reader": ["ok", "capability_missing"]}
TRADER = {"trader": ["capability_missing", "ok"]}


def pair(world: World, desk: Desk) -> list[AssistantAgent]:
    """Two agents that try the same, and may each do one half of it."""
    return [
        member(world, desk, "reader", ["pricing:read"], TWO),
        member(world, desk, "trader", ["trades:propose"], TWO),
    ]


@pytest.mark.parametrize("how", RUNS)
async def test_round_robin(how: str) -> None:
    world, desk = World(), Desk()
    result = await drive(RoundRobinGroupChat(list(pair(world, desk)), max_turns=2), how)
    assert by_agent(result) == READER | TRADER
    assert sorted(desk.done) == [("price", "ACME"), ("trade", "ACME", 900)]


@pytest.mark.parametrize("how", RUNS)
async def test_selector(how: str) -> None:
    world, desk = World(), Desk()
    team = SelectorGroupChat(
        list(pair(world, desk)),
        model_client=ScriptedClient(["trader", "reader"]),
        max_turns=2,
        allow_repeated_speaker=True,
    )
    result = await drive(team, how)
    assert by_agent(result) == TRADER | READER
    assert [agent for agent, _, _ in world.decisions] == ["trader", "trader", "reader", "reader"]


@pytest.mark.parametrize("how", RUNS)
async def test_graph_flow(how: str) -> None:
    world, desk = World(), Desk()
    first, second = pair(world, desk)
    builder = DiGraphBuilder()
    builder.add_node(first).add_node(second).add_edge(first, second)
    team = GraphFlow(builder.get_participants(), builder.build())
    assert by_agent(await drive(team, how)) == READER | TRADER


async def test_graph_flow_with_agents_side_by_side() -> None:
    world, desk = World(), Desk()
    start = assistant("start", ["go"])
    first, second = pair(world, desk)
    builder = DiGraphBuilder()
    builder.add_node(start).add_node(first).add_node(second)
    builder.add_edge(start, first).add_edge(start, second)
    team = GraphFlow(builder.get_participants(), builder.build())
    assert by_agent(await drive(team)) == READER | TRADER


def transfer(target: str) -> Turn:
    """The call that hands off."""
    return [(f"transfer_to_{target}", {})]


@pytest.mark.parametrize("how", RUNS)
async def test_a_swarm_works_under_the_credential_of_whoever_has_the_turn(how: str) -> None:
    world, desk = World(), Desk()
    front = member(
        world, desk, "front", ["pricing:read"], [[PRICE, TRADE], transfer("back")], handoffs=["back"]
    )
    back = member(world, desk, "back", ["trades:propose"], TWO)
    result = await drive(Swarm([front, back], max_turns=2), how)
    assert by_agent(result) == {
        "front": ["ok", "capability_missing", "ok"],
        "back": ["capability_missing", "ok"],
    }


@pytest.mark.parametrize("how", RUNS)
async def test_a_hand_off_that_is_not_granted_does_not_happen(how: str) -> None:
    world, desk = World(), Desk()
    credential = world.grant("front", "pricing:read", "handoff:back")
    bench = CapabilityWorkbench([desk.aget_price], world.guard, credential)
    asked = [Handoff(target="vault", name="open_the_vault"), Handoff(target="back")]
    front = assistant(
        "front",
        [[("open_the_vault", {})], [("transfer_to_vault", {})], transfer("back")],
        workbench=bench,
        handoffs=allowed_handoffs(asked, world.guard, credential),
    )
    vault = assistant("vault", ["emptied"])
    back = assistant("back", ["helped. TERMINATE"])
    team = Swarm([front, vault, back], termination_condition=TextMentionTermination("TERMINATE"), max_turns=5)
    result = await drive(team, how)
    assert verdicts(result) == ["error", "error", "ok"]
    assert [m.target for m in result.messages if isinstance(m, HandoffMessage)] == ["back"]
    assert not any(m.source == "vault" for m in result.messages if isinstance(m, TextMessage))


@pytest.mark.parametrize("how", RUNS)
async def test_a_nested_agent_runs_under_its_own_credential(how: str) -> None:
    world, desk = World(), Desk()
    inner = member(world, desk, "inner", ["pricing:read"], TWO)
    bench = CapabilityWorkbench([AgentTool(inner)], world.guard, world.trader("outer"))
    result = await drive(assistant("outer", [[("inner", {"task": "go"})]], workbench=bench), how)
    assert {agent for agent, _, _ in world.decisions} == {"inner"}
    assert by_agent(result)["inner"] == ["ok", "capability_missing"]
    assert desk.done == [("price", "ACME")]


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize("guarded", [False, True])
async def test_a_nested_agent_without_a_credential_has_none(how: str, guarded: bool) -> None:
    world, desk = World(), Desk()
    tools = [desk.aget_price, desk.propose_trade, desk.get_price]
    inner = assistant("inner", TWO, tools=tools[:2])
    credential = world.trader("outer") if not guarded else world.grant("outer", "inner", "pricing:read")
    tool: Any = AgentTool(inner)
    given = guard_tools([tool], world.guard, credential) if guarded else [tool]
    bench = CapabilityWorkbench(given, world.guard, credential)
    with world.guard.acting_as(world.trader("around")):
        result = await drive(assistant("outer", [[("inner", {"task": "go"})]], workbench=bench), how)
    assert by_agent(result) == {"inner": ["not_bound", "not_bound"], "outer": ["ok"]}
    assert desk.done == []


async def test_who_may_ask_another_agent_can_be_granted_too() -> None:
    world = World()
    inner = AgentTool(assistant("inner", ["said", "said"]))
    credential = world.grant("outer", remit.Capability("inner", task=remit.MaxLength(5)))
    (tool,) = guard_tools([inner], world.guard, credential)
    turns: list[Turn] = [[("inner", {"task": "short"})], [("inner", {"task": "too long"})]]
    result = await drive(assistant("outer", turns, tools=[tool]))
    assert by_agent(result)["outer"] == ["ok", "argument_denied"]
    assert [m.content for m in result.messages if isinstance(m, TextMessage) and m.source == "inner"] == [
        "said"
    ]


@pytest.mark.parametrize("how", RUNS)
async def test_a_nested_team_runs_under_the_credentials_of_its_members(how: str) -> None:
    world, desk = World(), Desk()
    team = RoundRobinGroupChat(list(pair(world, desk)), max_turns=2)
    tool = TeamTool(team, "desk", "The desk.")
    bench = CapabilityWorkbench([tool], world.guard, world.trader("outer"))
    result = await drive(assistant("outer", [[("desk", {"task": "go"})]], workbench=bench), how)
    assert {agent for agent, _, _ in world.decisions} == {"reader", "trader"}
    assert {name: told for name, told in by_agent(result).items() if name != "outer"} == READER | TRADER


async def test_a_team_that_is_run_again_is_decided_again() -> None:
    world, desk = World(), Desk()
    credential = world.grant("reader", "pricing:read")
    bench = CapabilityWorkbench([desk.aget_price], world.guard, credential)
    agent = AssistantAgent("reader", ScriptedClient([[PRICE], [PRICE]]), workbench=bench)
    team = RoundRobinGroupChat([agent], max_turns=1)
    assert verdicts(await drive(team)) == ["ok"]
    world.guard.revoke(credential.token_id)
    assert verdicts(await drive(team)) == ["token_revoked"]


async def test_the_state_of_a_team_holds_no_token() -> None:
    world, desk = World(), Desk()
    team = RoundRobinGroupChat(list(pair(world, desk)), max_turns=2)
    await drive(team)
    text = repr(await team.save_state())
    assert "get_price" in text
    assert "eyJ" not in text
