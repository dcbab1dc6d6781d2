"""The contract: how one agent's calls are decided, shown and recorded."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import remit
from remit.testing.adapter import Adapter, Answer, Call
from remit.testing.records import READ, WRITE, Records
from remit.testing.say import must
from remit.testing.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NO", "OK", "CallsAreDecided", "codes", "reading"]

OK = Call("read_record", {"record": "ok"})
NO = Call("read_record", {"record": "no"})


def codes(answers: Sequence[Answer]) -> list[str | None]:
    """Return the code of each answer."""
    return [answer.code for answer in answers]


def reading(*records: str) -> remit.Capability:
    """Return the capability to read these records and no others."""
    return remit.Capability(READ, record=remit.OneOf(*records))


class CallsAreDecided(Adapter):
    """Each call of a guarded tool is decided on under the agent's own credential, once."""

    def test_an_allowed_call_runs_once_and_its_result_is_shown(self, way: str, body: str) -> None:
        world, records = World(), Records()
        credential = world.grant("reader", reading("ok"))
        answers = self.run(self.agent([records.read(body)], world.guard, credential, [[OK]]), way)
        must(len(answers) == 1, "One call was made: the model must be given one answer.", answers)
        must(answers[0].code is None, "The credential allows the call, so it must not be denied.", answers)
        must("record ok" in answers[0].text, "The model must be told the tool's result.", answers)
        must(records.done == [("read", "ok")], "The tool must run once, on the arguments.", records.done)

    def test_one_decision_and_one_outcome_for_an_allowed_call(self, way: str, body: str) -> None:
        world, records = World(), Records()
        credential = world.grant("reader", reading("ok"))
        self.run(self.agent([records.read(body)], world.guard, credential, [[OK]]), way)
        decisions, outcomes = world.audit.decisions, world.audit.outcomes
        must(
            world.audit.verdicts() == [("reader", READ, None)],
            "An allowed call is decided once: the guard must not be asked twice, nor never.",
            world.audit.verdicts(),
        )
        must(
            [record.call_id for record in outcomes] == [record.call_id for record in decisions],
            "An allowed call must have one outcome, that of its decision.",
            outcomes,
        )
        must(outcomes[0].allowed, "The tool ended well, and the outcome must say so.", outcomes)

    def test_a_denied_argument_is_answered_and_nothing_runs(self, way: str, body: str) -> None:
        world, records = World(), Records()
        credential = world.grant("reader", reading("ok"))
        answers = self.run(self.agent([records.read(body)], world.guard, credential, [[NO], [OK]]), way)
        must(
            ("read", "no") not in records.done, "The tool ran although its argument is denied.", records.done
        )
        must(
            codes(answers) == ["argument_denied", None],
            "A denied call must be answered with its code, and the run must go on.",
            answers,
        )
        must(
            "'record'" in answers[0].text,
            "The model must be told the reason of the denial, in the words of Denied.reason.",
            answers[0].text,
        )

    def test_one_decision_and_no_outcome_for_a_denied_call(self, way: str, body: str) -> None:
        world, records = World(), Records()
        credential = world.grant("reader", reading("ok"))
        self.run(self.agent([records.read(body)], world.guard, credential, [[NO]]), way)
        must(
            world.audit.verdicts() == [("reader", READ, "argument_denied")],
            "A denied call is decided once: it must not be retried.",
            world.audit.verdicts(),
        )
        must(
            not world.audit.outcomes,
            "A denied call has no outcome, for it was not made.",
            world.audit.outcomes,
        )

    def test_a_capability_that_is_not_granted_is_denied(self, way: str, body: str) -> None:
        world, records = World(), Records()
        credential = world.grant("writer", WRITE)
        answers = self.run(self.agent([records.read(body)], world.guard, credential, [[OK]]), way)
        must(not records.done, "The tool ran although its capability is not granted.", records.done)
        must(
            codes(answers) == ["capability_missing"],
            "The denial must say its code, as the program is told it.",
            answers,
        )

    def test_a_token_of_a_stranger_is_denied(self, way: str) -> None:
        world, records = World(), Records()
        stranger = World(issuer="https://stranger.example").grant("reader", READ)
        answers = self.run(self.agent([records.read()], world.guard, stranger, [[OK]]), way)
        must(
            not records.done,
            "The tool ran under a token whose issuer the guard does not trust.",
            records.done,
        )
        must(
            codes(answers) == ["token_issuer_untrusted"],
            "The denial must say its code, as the program is told it.",
            answers,
        )

    def test_a_token_that_expires_in_mid_run_is_denied(self, way: str) -> None:
        world = World()
        self._stops_in_mid_run(world, way, lambda _: world.clock.advance("11m"), "token_expired", "expired")

    def test_a_token_that_is_revoked_in_mid_run_is_denied(self, way: str) -> None:
        world = World()

        def revoke(credential: remit.Credential) -> object:
            return world.guard.revoke(credential.token_id, reason="as a test")

        self._stops_in_mid_run(world, way, revoke, "token_revoked", "revoked")

    def test_a_credential_that_is_closed_in_mid_run_is_denied(self, way: str) -> None:
        self._stops_in_mid_run(World(), way, remit.Credential.close, "credential_closed", "closed")

    def _stops_in_mid_run(
        self, world: World, way: str, stop: Callable[[remit.Credential], object], code: str, what: str
    ) -> None:
        """Run: the call, what stops it, and the very same call again."""
        records = Records()
        credential = world.grant("reader", READ)
        tools = [records.read(), Records.doing("stop", lambda: stop(credential))]
        turns = [[OK], [Call("stop", {})], [OK]]
        answers = self.run(self.agent(tools, world.guard, credential, turns), way)
        must(
            len(records.done) == 1,
            f"The tool ran although its credential was {what} in mid-run: each call must be checked anew.",
            records.done,
        )
        must(
            codes(answers) == [None, None, code],
            "The same call as before must be denied: nothing may answer in the tool's place.",
            answers,
        )

    def test_calls_of_one_turn_do_not_disturb_each_other(self, way: str, body: str) -> None:
        world, records = World(), Records()
        credential = world.grant("reader", reading("ok", "fine"))
        turn = [OK, NO, Call("take_note", {"text": "hello"}), Call("read_record", {"record": "fine"})]
        tools = [records.read(body), records.note()]
        answers = self.run(self.agent(tools, world.guard, credential, [turn]), way)
        must(
            codes(answers) == [None, "argument_denied", None, None],
            "Each call of a turn must be answered in its place; a denied one must not disturb the others.",
            answers,
        )
        must(
            sorted(records.done) == [("note", "hello"), ("read", "fine"), ("read", "ok")],
            "The allowed calls of a turn must run, each once, and the denied one must not.",
            records.done,
        )

    def test_an_agent_without_a_credential_is_denied(self, way: str, body: str) -> None:
        world, records = World(), Records()
        answers = self.run(self.agent([records.read(body)], world.guard, None, [[OK]]), way)
        must(not records.done, "The tool ran although nothing was bound.", records.done)
        must(codes(answers) == ["not_bound"], "A call with nothing bound must say `not_bound`.", answers)

    def test_the_tool_runs_on_the_arguments_that_were_checked(self, way: str) -> None:
        world, records = World(record_arguments={WRITE: ["record", "pages"]}), Records()
        credential = world.grant("writer", remit.Capability(WRITE, record="ok", pages=remit.Range(max=5)))
        turns = [[Call("write_record", {"record": "ok", "pages": pages})] for pages in (3, "4", 9, "9")]
        self.run(self.agent([records.write()], world.guard, credential, turns), way)
        allowed = [record for record in world.audit.decisions if record.allowed]
        checked = [("write", *(record.arguments or {}).values()) for record in allowed]
        ran = [("write", pages, record) for _, record, pages in records.done]
        must(ran == checked, "The tool must run on the very values that were checked.", (ran, checked))
        must(
            ("write", "ok", 3) in records.done, "The call that needs no conversion is allowed.", records.done
        )
        must(
            all(pages in {3, 4} and type(pages) is int for _, _, pages in records.done),
            "The check must see the arguments after the framework converted them, not before.",
            records.done,
        )

    def test_a_default_is_no_argument(self, way: str) -> None:
        world, records = World(), Records()
        credential = world.grant("writer", remit.Capability(WRITE, record="ok"))
        turns = [[Call("write_record", {"record": "ok"})]]
        answers = self.run(self.agent([records.write()], world.guard, credential, turns), way)
        must(
            codes(answers) == [None],
            "A parameter that the model left at its default must not count as an argument.",
            answers,
        )

    def test_a_tool_without_a_capability_is_untouched(self, way: str) -> None:
        world, records = World(), Records()
        credential = world.grant("reader", READ)
        turns = [[Call("take_note", {"text": "hello"})]]
        answers = self.run(self.agent([records.note()], world.guard, credential, turns), way)
        must(
            records.done == [("note", "hello")], "A tool that is not guarded must run as ever.", records.done
        )
        must("noted hello" in answers[0].text, "The model must be told the result of the tool.", answers)
        must(not world.audit.records, "It needs no decision, so none must be made.", world.audit.verdicts())
