"""The contract: nobody acts under a credential that is merely around."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from threading import Barrier
from typing import Any

import remit
from remit.testing.adapter import Adapter, Answer, Call
from remit.testing.decisions import NO, OK, codes, reading
from remit.testing.records import READ, Records
from remit.testing.say import must
from remit.testing.world import World

__all__ = ["NobodyElsesAuthority"]

ASK = [[Call("ask", {})]]


class NobodyElsesAuthority(Adapter):
    """An agent acts under its own credential, or under none: never under its caller's or neighbour's."""

    def test_a_nested_agent_that_is_not_bound_is_denied(self, way: str) -> None:
        world, records = World(), Records()
        inner = self.agent([records.read()], world.guard, None, [[OK]])
        answers = self._asked(world, inner, way)
        must(
            not records.done,
            "The tool of a nested agent ran under its caller's credential: around a tool without a "
            "capability nothing may be bound (remit.unbound).",
            world.audit.verdicts(),
        )
        must(codes(answers) == ["not_bound"], "The nested agent has nothing bound.", answers)

    def test_a_nested_agent_acts_under_its_own_credential(self, way: str) -> None:
        world, records = World(), Records()
        inner = self.agent([records.read()], world.guard, world.grant("inner", reading("ok")), [[OK, NO]])
        answers = self._asked(world, inner, way)
        must(
            sorted(world.audit.verdicts(), key=str)
            == [("inner", READ, "argument_denied"), ("inner", READ, None)],
            "The calls of a nested agent must be decided under its own credential.",
            world.audit.verdicts(),
        )
        must(
            codes(answers) == [None, "argument_denied"],
            "What its caller may do must not help a nested agent.",
            answers,
        )

    def test_a_guarded_tool_lends_its_credential_to_nobody(self, way: str) -> None:
        world, records = World(), Records()
        inner = self.agent([records.read()], world.guard, None, [[OK]])
        answers = self._asked(world, inner, way, capability="agents:ask")
        must(not records.done, "What a guarded tool starts ran under the credential of the tool's call.")
        must(codes(answers) == ["not_bound"], "In the body of a guarded tool nothing is bound.", answers)

    def _asked(self, world: World, inner: Any, way: str, capability: str | None = None) -> list[Answer]:
        """Run an agent as the tool of another, which may do all that the first would like to."""
        answers: list[Answer] = []
        body = "function" if way in self.sync_ways else "coroutine"
        ask = Records.doing("ask", lambda: answers.extend(self.run(inner, way)), body)
        if capability is not None:
            ask = remit.requires_capability(capability)(ask)
        boss = world.grant("boss", READ, "agents:ask")
        agent = self.agent([ask], world.guard, boss, ASK)
        with world.guard.acting_as(boss):
            told = self.run(agent, way)
        must(codes(told) == [None], "The agent that asks another must be answered.", told)
        return answers

    def test_an_agent_acts_under_its_own_credential_in_the_block_of_another(self, way: str) -> None:
        world, records = World(), Records()
        agent = self.agent([records.read()], world.guard, world.grant("own", reading("ok")), [[OK, NO]])
        with world.guard.acting_as(world.grant("around", READ)):
            answers = self.run(agent, way)
        must(
            {agent for agent, _, _ in world.audit.verdicts()} == {"own"},
            "An agent's calls were decided under the credential of the block it was run in.",
            world.audit.verdicts(),
        )
        must(
            codes(answers) == [None, "argument_denied"],
            "The agent's own credential must decide, and nothing else.",
            answers,
        )

    def test_a_tool_without_a_capability_has_nothing_bound(self, way: str) -> None:
        world, records = World(), Records()
        read = records.read()
        denials: list[str] = []
        work = Records.doing("work", lambda: denials.append(_denial(lambda: read(record="ok"))))
        turns = [[Call("work", {})]]
        agent = self.agent([work, read], world.guard, world.grant("reader", READ), turns)
        with world.guard.acting_as(world.grant("around", READ)):
            self.run(agent, way)
        must(
            denials == ["not_bound"],
            "A tool without a capability could call guarded functions: nothing may be bound around it.",
            denials,
        )

    def test_work_that_is_left_behind_has_nothing_bound(self, way: str) -> None:
        world, records = World(), Records()
        read = records.read()
        kept: list[Context] = []

        @remit.requires_capability("work:leave")
        def leave() -> str:
            """Leave something behind."""
            kept.append(copy_context())
            return "left"

        turns = [[Call("leave", {})]]
        credential = world.grant("reader", READ, "work:leave")
        self.run(self.agent([leave, read], world.guard, credential, turns), way)
        must(len(kept) == 1, "The guarded tool must have run once.", world.audit.verdicts())
        code = _denial(lambda: kept[0].run(read, record="ok"))
        must(code == "not_bound", "A background task of a tool could act after the call was over.", code)

    def test_nothing_stays_bound_after_a_run(self, way: str) -> None:
        world, records = World(), Records()
        read = records.read()
        self.run(self.agent([read], world.guard, world.grant("reader", READ), [[OK]]), way)
        code = _denial(lambda: read(record="ok"))
        must(
            code == "not_bound",
            "After the run, whoever called could go on under the agent's credential.",
            code,
        )

    def test_a_stream_runs_under_the_agents_own_credential(self) -> None:
        world, records = World(), Records()
        own = world.grant("own", reading("ok"))
        self._read_under_another(world, self.agent([records.read()], world.guard, own, [[OK], [NO]]))
        must(
            world.audit.verdicts() == [("own", READ, None), ("own", READ, "argument_denied")],
            "A stream made under one credential and read under another must run under the agent's own.",
            world.audit.verdicts(),
        )

    def test_a_stream_does_not_keep_what_it_was_made_under(self) -> None:
        """An agent that is not bound has nothing once the block is over, and later only what is around it."""
        for reader in (None, "reader"):
            world, records = World(), Records()
            agent = self.agent([records.read()], world.guard, None, [[OK]])
            self._read_under_another(world, agent, reader)
            must(
                "maker" not in {agent for agent, _, _ in world.audit.verdicts()},
                "A stream ran under the credential of the block that it was made in, which was over.",
                world.audit.verdicts(),
            )
            must(
                reader is not None or not records.done,
                "The tool of an agent that is not bound ran with nothing around it.",
                records.done,
            )

    def _read_under_another(self, world: World, agent: Any, reader: str | None = "reader") -> None:
        """Make a stream under one credential, and ask for each of its events under another, or none."""
        with world.guard.acting_as(world.grant("maker", READ)):
            stream = self.stream(agent)
        another = None if reader is None else world.grant(reader, READ)
        more = True
        while more:
            with remit.unbound() if another is None else world.guard.acting_as(another):
                more = next(stream, stream) is not stream

    def test_agents_that_run_at_once_keep_apart(self, way: str) -> None:
        world, records = World(), Records()
        names = [f"agent-{number}" for number in range(4)]
        meeting = Barrier(len(names), timeout=60)
        agents: dict[str, Any] = {}
        for name in names:
            turns = [[Call("meet", {}), Call("read_record", {"record": name})]] * 3
            tools = [Records.doing("meet", meeting.wait), records.read()]
            agents[name] = self.agent(tools, world.guard, world.grant(name, reading(name)), turns)
        with ThreadPoolExecutor(len(names)) as pool:
            answers = list(pool.map(partial(self.run, way=way), agents.values()))
        must(
            {code for told in answers for code in codes(told)} == {None},
            "Agents that run at once were denied what each may do: a call ran under the token of another.",
            answers,
        )
        must(
            sorted(records.done) == sorted(("read", name) for name in names * 3),
            "Each of the agents that run at once must have its own calls made.",
            records.done,
        )


def _denial(call: Callable[[], object]) -> str:
    """Return the code with which a call is denied, and what it returned where it is not."""
    try:
        return f"no denial, but {call()!r}"
    except remit.Denied as denied:
        return denied.code
