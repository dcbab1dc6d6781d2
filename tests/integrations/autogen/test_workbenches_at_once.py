"""Two teams with different credentials at once, many times: no call ever runs under another's token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat

import remit
from remit_autogen import CapabilityWorkbench, guard_tools
from scripted_models.team import ScriptedClient, Turn

from .support import World, drive, verdicts

ROUNDS = 50
SIDES = ("left", "right")
AT_ONCE: Turn = [(name, {"of": side}) for side in SIDES for name in ("read", "aread")]
Equipment = Callable[[list[Any], World, remit.Credential], dict[str, Any]]


def workbench(tools: list[Any], world: World, credential: remit.Credential) -> dict[str, Any]:
    return {"workbench": CapabilityWorkbench(tools, world.guard, credential)}


def guarded(tools: list[Any], world: World, credential: remit.Credential) -> dict[str, Any]:
    return {"tools": guard_tools(tools, world.guard, credential)}


WAYS = [workbench, guarded]


class Twins:
    """Teams of two sides with the very same tools, each of which may read what is its own."""

    def __init__(self, equip: Equipment) -> None:
        self.world, self.equip = World(), equip
        self.tools = [self.read, self.aread]

    @staticmethod
    @remit.requires_capability("read")
    def read(of: str) -> str:
        """Read."""
        return of

    @staticmethod
    @remit.requires_capability("read")
    async def aread(of: str) -> str:
        """Read, and let others go first."""
        await asyncio.sleep(0)
        return of

    def team(self, side: str) -> RoundRobinGroupChat:
        credential = self.world.grant(side, remit.Capability("read", of=side))
        equipment = self.equip(self.tools, self.world, credential)
        agents = [
            AssistantAgent(name, ScriptedClient([AT_ONCE]), **equipment) for name in ("first", "second")
        ]
        return RoundRobinGroupChat(list(agents), max_turns=2)

    async def round(self, side: str) -> list[str]:
        return verdicts(await drive(self.team(side)))

    def check(self, side: str, told: list[str]) -> None:
        own = ["ok", "ok"] if side == "left" else ["argument_denied"] * 2
        others = ["argument_denied"] * 2 if side == "left" else ["ok", "ok"]
        assert told == (own + others) * 2

    def check_records(self) -> None:
        assert len(self.world.decisions) == ROUNDS * len(SIDES) * 8
        assert len(self.world.outcomes) == ROUNDS * len(SIDES) * 4


@pytest.mark.parametrize("equip", WAYS)
async def test_two_teams_in_one_event_loop(equip: Equipment) -> None:
    twins = Twins(equip)
    for _ in range(ROUNDS):
        for side, told in zip(SIDES, await asyncio.gather(*map(twins.round, SIDES)), strict=True):
            twins.check(side, told)
    twins.check_records()


@pytest.mark.parametrize("equip", WAYS)
def test_two_teams_in_threads_with_a_loop_each(equip: Equipment) -> None:
    twins, start = Twins(equip), Barrier(len(SIDES))

    async def rounds(side: str) -> list[list[str]]:
        return [await twins.round(side) for _ in range(ROUNDS)]

    def run(side: str) -> list[list[str]]:
        start.wait(20)
        return asyncio.run(rounds(side))

    with ThreadPoolExecutor(len(SIDES)) as pool:
        for side, results in zip(SIDES, pool.map(run, SIDES), strict=True):
            for told in results:
                twins.check(side, told)
    twins.check_records()


async def test_many_calls_of_two_workbenches_in_one_loop() -> None:
    twins = Twins(workbench)
    benches = {
        side: CapabilityWorkbench(
            twins.tools, twins.world.guard, twins.world.grant(side, remit.Capability("read", of=side))
        )
        for side in SIDES
    }
    asked = [(side, of, name) for side in SIDES for of in SIDES for name in ("read", "aread")] * ROUNDS
    results = await asyncio.gather(*[benches[side].call_tool(name, {"of": of}) for side, of, name in asked])
    assert [result.is_error for result in results] == [side != of for side, of, _ in asked]
