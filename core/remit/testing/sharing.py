"""The contract: what one agent was answered is not served to another."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

from typing import Any

from remit.testing.adapter import Adapter
from remit.testing.decisions import OK, codes, reading
from remit.testing.records import READ, WRITE, Records
from remit.testing.say import must
from remit.testing.world import World

__all__ = ["NothingIsServedToOthers"]


class NothingIsServedToOthers(Adapter):
    """The framework may keep results, but each agent's call is decided."""

    def test_a_shared_cache_serves_nothing_to_an_agent_that_may_not(self, way: str) -> None:
        world, records = World(), Records()
        may, may_not = self._sharing(world, records, world.grant("may", READ), world.grant("may not", WRITE))
        first, second = self.run(may, way), self.run(may_not, way)
        must(codes(first) == [None], "The first agent may read the record.", first)
        must(
            not any("copy" in answer.text for answer in second),
            "An agent was served from a cache what it may not ask for: the result of another's call.",
            second,
        )
        must(codes(second) == ["capability_missing"], "The agent that may not ask must be denied.", second)

    def test_a_shared_cache_serves_nothing_undecided(self, way: str) -> None:
        world, records = World(), Records()
        agents = self._sharing(
            world, records, world.grant("one", reading("ok")), world.grant("other", reading("ok"))
        )
        answers = [self.run(agent, way) for agent in agents]
        must(
            [codes(told) for told in answers] == [[None], [None]],
            "Both agents may read the record, and must.",
            answers,
        )
        must(
            [agent for agent, _, _ in world.audit.verdicts()] == ["one", "other"],
            "The second agent was answered without a decision: a cache may not stand before the guard.",
            world.audit.verdicts(),
        )
        must(len(records.done) == len(agents), "The tool must run for each of the agents.", records.done)

    def _sharing(self, world: World, records: Records, *credentials: Any) -> list[Any]:
        """Make agents with one tool function between them, which share a cache."""
        read = records.read()
        agents = [self.agent([read], world.guard, each, [[OK]]) for each in credentials]
        return list(self.sharing_a_cache(agents))
