"""The contract: what the model is told, and what is told to nobody."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import remit
from remit.ledger import MemoryLedger
from remit.testing.adapter import Adapter, Call
from remit.testing.audit import RecordingAudit
from remit.testing.decisions import NO, OK, codes, reading
from remit.testing.records import ARCHIVE, READ, Records
from remit.testing.routes import is_code
from remit.testing.say import must
from remit.testing.tools import private_key
from remit.testing.world import World

__all__ = ["OnlyWhatIsMeantIsTold"]

SECRET: Final = "swordfish-41"  # noqa: S105 - the secret of a test
_INTERNALS: Final = re.compile(r"Traceback|\.py\b|, line \d")


class _DeadLedger(MemoryLedger):
    """A ledger that does not answer."""

    def commit(self, *_: Any, **__: Any) -> None:
        raise OSError("the ledger is gone")


class _DeadAudit(RecordingAudit):
    """An audit trail that cannot be written."""

    def record(self, *_: Any, **__: Any) -> None:
        raise OSError("the disk of the audit trail is full")


class OnlyWhatIsMeantIsTold(Adapter):
    """A model is told results, errors and reasons, and nothing of what a credential is made of."""

    def test_the_model_is_told_no_token_no_key_and_no_secret(self, way: str) -> None:
        world, records = World(secrets={"ARCHIVE_KEY": SECRET}), Records()
        credential = world.grant("archivist", ARCHIVE, reading("ok"), secrets=["ARCHIVE_KEY"])
        hidden = {"token": credential.token, "private key": private_key(credential), "secret": SECRET}
        turns = [[OK], [NO], [Call("open_archive", {"host": "main"})]]
        agent = self.agent([records.read(), records.archive()], world.guard, credential, turns)
        before = "\n".join(_texts(agent))
        answers = self.run(agent, way)
        must(
            codes(answers) == [None, "argument_denied", None],
            "The calls must be answered: one that is denied between two that are allowed.",
            codes(answers),
        )
        for what, value in hidden.items():
            told = [answer.text for answer in answers]
            must(
                not any(value in text for text in told),
                f"The model was told the {what}, which is for nobody.",
            )
            shown = "\n".join([before, *_texts(agent)])
            must(value not in shown, f"The agent shows the {what} in its repr or in an attribute.")

    def test_a_denial_tells_nothing_of_how_it_came_about(self, way: str, body: str) -> None:
        world, records = World(), Records()
        agent = self.agent([records.read(body)], world.guard, world.grant("reader", reading("ok")), [[NO]])
        for answer in self.run(agent, way):
            must(
                _INTERNALS.search(answer.text) is None,
                "The model was told the traceback or the files of a denial; Denied.reason is for it.",
                answer.text,
            )

    def test_an_error_of_a_tool_is_no_result(self, way: str) -> None:
        world = World()

        def fail() -> str:
            raise OSError("the shelf is empty")

        fetch = remit.requires_capability("shelf:fetch")(Records.doing("fetch", fail, self._body(way)))
        agent = self.agent([fetch], world.guard, world.grant("clerk", "shelf:fetch"), [[Call("fetch", {})]])
        try:
            answers = self.run(agent, way)
        except remit.Denied:
            raise
        except Exception as error:  # noqa: BLE001 - the run may end with the error, as the framework wraps it
            must("the shelf is empty" in _chain(error), "A tool's own error must be seen.", error)
            return
        must(
            answers and all("the shelf is empty" in answer.text for answer in answers),
            "The error of a tool must be told to the model, or end the run: an adapter hides none.",
            answers,
        )
        must(
            not any(is_code(answer.code) for answer in answers),
            "An error of the tool itself is no denial.",
            answers,
        )

    def test_a_guard_that_cannot_decide_denies(self, way: str, body: str) -> None:
        outages: Mapping[str, World] = {
            "ledger_unavailable": World(ledger=_DeadLedger()),
            "audit_unavailable": World(audit=_DeadAudit()),
        }
        for code, world in outages.items():
            records = Records()
            credential = world.grant("reader", READ, limits={READ: remit.Limit(max_uses=5)})
            answers = self.run(self.agent([records.read(body)], world.guard, credential, [[OK]]), way)
            must(not records.done, f"The tool ran although the guard could not decide ({code}).")
            must(
                codes(answers) == [code],
                f"A call that cannot be decided must be denied with {code!r}.",
                answers,
            )
            must(_INTERNALS.search(answers[0].text) is None, "The model was told a traceback.", answers)

    def _body(self, way: str) -> str:
        return "function" if way in self.sync_ways else "coroutine"


def _texts(agent: Any) -> Iterator[str]:
    """Yield the texts that an agent shows: its own, and those in its attributes and one container deeper."""
    yield repr(agent)
    for value in list(getattr(agent, "__dict__", {}).values()):
        held: list[object] = [value]
        if isinstance(value, Mapping):
            held = [*cast("Mapping[object, object]", value).values()]
        elif isinstance(value, list | tuple | set | frozenset):
            held = [*cast("list[object]", value)]
        yield from (each for each in held if isinstance(each, str))


def _chain(error: BaseException) -> str:
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        seen.append(each)
        each = each.__cause__ or each.__context__
    return "\n".join(map(str, seen))
