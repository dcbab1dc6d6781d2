"""Crews with different credentials at once: no call runs under another's token."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from crewai.tools import BaseTool, tool

import remit
from remit.testing.world import World

from .support import Team, agent_of, codes, grant_task, guard_crew, task_of

ROUNDS = 50
NAMES = ("red", "blue")


class Fleet:
    """Two crews whose agents have the same tool, and may each use it for their own name alone.

    One is bound by a wallet, the other by a grant for each run of its task.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.done: list[tuple[str, str]] = []
        self.crews = {name: self._crew(name) for name in NAMES}

    def _crew(self, name: str) -> Any:
        agent = agent_of("Captain", [[("move", {"ship": each}) for each in NAMES]], [self.move(name)])
        crew = Team(agents=[agent], tasks=[task_of(agent)])
        held = self.world.grant(name, remit.Capability("ships:move", ship=name), max_depth=1)
        if name == "red":
            return guard_crew(crew, self.world.guard, {"Captain": held})
        grant_task(crew.tasks[0], self.world.guard, held)
        return crew

    def move(self, who: str) -> BaseTool:
        @remit.requires_capability("ships:move")
        def move(ship: str) -> str:
            """Move a ship."""
            self.done.append((who, ship))
            return f"moved {ship}"

        return tool(move)

    def check(self, outputs: list[Any]) -> None:
        assert [codes(output) for output in outputs] == [["argument_denied"]] * ROUNDS * len(NAMES)
        assert sorted(self.done) == sorted([(name, name) for name in NAMES] * ROUNDS)
        told: dict[tuple[str | None, str | None], int] = {}
        for agent, _, code in self.world.audit.verdicts():
            told[agent, code] = told.get((agent, code), 0) + 1
        assert told == {(name, code): ROUNDS for name in NAMES for code in (None, "argument_denied")}


def test_crews_in_threads_keep_apart(world: World) -> None:
    fleet = Fleet(world)
    meeting = Barrier(len(NAMES), timeout=60)

    def sail(crew: Any) -> list[Any]:
        outputs = []
        for _ in range(ROUNDS):
            meeting.wait()
            outputs.append(crew.kickoff())
        return outputs

    with ThreadPoolExecutor(len(NAMES)) as pool:
        fleet.check([output for outputs in pool.map(sail, fleet.crews.values()) for output in outputs])


def test_crews_in_one_event_loop_keep_apart(world: World) -> None:
    fleet = Fleet(world)

    async def sail() -> list[Any]:
        outputs: list[Any] = []
        for _ in range(ROUNDS):
            outputs += await asyncio.gather(*(crew.akickoff() for crew in fleet.crews.values()))
        return outputs

    fleet.check(asyncio.run(sail()))
