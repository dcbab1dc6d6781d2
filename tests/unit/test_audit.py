"""R35: one decision for every check, malformed ones included; an outcome after allowed ones alone."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import remit

from .support import NOW, URI, World, refusal, verdict


class Failing:
    """A sink that cannot write one kind of record."""

    def __init__(self, *events: str) -> None:
        self.events = events
        self.kept: list[remit.AuditRecord] = []

    def record(self, record: remit.AuditRecord) -> None:
        """Keep it, or fail."""
        if record.event in self.events:
            raise OSError(28, "No space left on device")
        self.kept.append(record)


@remit.requires_capability("tool:use")
def tool(n: int) -> int:
    if n == 13:
        raise ValueError("unlucky")
    return n


def test_an_allowed_check_is_one_record_that_says_who_what_when(world: World) -> None:
    parent = world.issue(max_depth=1)
    child = parent.delegate("worker", ["tool:use"])
    permit = world.guard.check(child, "tool:use", {"n": 1})
    [record] = world.audit.records
    assert (record.event, record.allowed, record.at) == ("decision", True, NOW)
    assert (record.agent, record.capability, record.issuer) == ("worker", "tool:use", URI)
    assert (record.token_id, record.chain) == (child.token_id, (parent.token_id, child.token_id))
    assert record.call_id == permit.call_id
    assert (record.code, record.reason) == (None, None)
    assert record.arguments_digest


def test_records_go_by_the_guards_clock(world: World) -> None:
    world.clock.now = NOW + 77
    credential = world.issue()
    with world.guard.acting_as(credential):
        tool(1)
    assert [record.at for record in world.audit.records] == [NOW + 77] * 2


def _tokens(world: World) -> list[Any]:
    credential = world.issue()
    malformed: list[Any] = [
        "",
        "a",
        "a.b.c",
        credential.token + "x",
        [],
        [credential.token] * 2,
        [None],
        None,
        5,
        b"x",
        {},
    ]
    return [
        *malformed,
        remit.Issuer.generate(URI).issue("x", ["t"]),
        {"aat_chain": 5},
        {"aat_chain": [], "aat_pop": "x"},
    ]


Entry = Callable[[World, Any], object]


@pytest.mark.parametrize(
    "entry",
    [lambda w, t: w.guard.check(t, "tool:use", {"n": 1}), lambda w, t: w.guard.verify(t, "tool:use", {"n": 1}),
     lambda w, t: w.guard.validate(t)],
    ids=["check", "verify", "validate"],
)  # fmt: skip
def test_every_malformed_token_leaves_one_record(world: World, entry: Entry) -> None:
    for count, token in enumerate(_tokens(world), start=1):
        denied = refusal(lambda: entry(world, token))
        assert len(world.audit.records) == count
        record = world.audit.records[-1]
        assert (record.event, record.allowed, record.code) == ("decision", False, denied.code)
        assert record.reason == denied.reason
        assert record.call_id
        assert (record.agent, record.token_id, record.chain) == (
            None,
            None,
            (),
        )  # there was nobody to believe


@pytest.mark.parametrize(
    "capability", [None, 5, b"x", "", ["tool:use"], "x" * 10_000, "a\nb"], ids=lambda x: repr(x)[:20]
)
@pytest.mark.parametrize(
    "arguments",
    [{}, None, [1], {1: 2}, pytest.param({"n": object()}, id="{'n': object()}"), {"n": float("nan")}],
    ids=repr,
)
def test_every_malformed_call_leaves_one_record(world: World, capability: Any, arguments: Any) -> None:
    refusal(lambda: world.guard.check(world.issue(), capability, arguments))
    [record] = world.audit.records
    assert (record.event, record.allowed, record.agent) == ("decision", False, "agent-a")
    assert len(record.capability or "") <= 256


def test_every_kind_of_denial_leaves_its_code_and_no_outcome(world: World) -> None:
    limited = world.issue(limits={"tool:use": remit.Limit(max_uses=1)})
    bound, revoked, closed = world.issue(session="s"), world.issue(), world.issue()
    world.guard.revoke(revoked.token_id)
    closed.close()
    codes = [
        verdict(lambda: world.guard.check(limited, "tool:use", {})),
        verdict(lambda: world.guard.check(limited, "tool:use", {})),
        verdict(lambda: world.guard.check(bound, "tool:use", {})),
        verdict(lambda: world.guard.check(revoked, "tool:use", {})),
        verdict(lambda: world.guard.check(closed, "tool:use", {})),
        verdict(lambda: world.guard.check(bound, "other", {}, session="s")),
    ]
    assert codes == ["allowed", "limit_exceeded", "session_mismatch", "token_revoked", "credential_closed",
                     "capability_missing"]  # fmt: skip
    assert [record.code or "allowed" for record in world.events("decision")] == codes
    assert world.events("outcome") == []
    calls = [record.call_id for record in world.events("decision")]
    assert len(set(calls)) == len(calls)


def test_a_call_leaves_a_decision_and_then_an_outcome_with_the_same_call_id(world: World) -> None:
    with world.guard.acting_as(world.issue()):
        tool(1)
        with pytest.raises(ValueError, match="unlucky"):
            tool(13)
    decisions, outcomes = world.events("decision"), world.events("outcome")
    assert [record.event for record in world.audit.records] == ["decision", "outcome"] * 2
    assert [record.call_id for record in decisions] == [record.call_id for record in outcomes]
    assert [(record.allowed, record.reason) for record in outcomes] == [(True, None), (False, "ValueError")]


def test_a_decision_is_recorded_before_the_tool_runs(world: World) -> None:
    seen: list[int] = []

    @remit.requires_capability("tool:use")
    def watching() -> None:
        seen.append(len(world.audit.records))

    with world.guard.acting_as(world.issue()):
        watching()
    assert seen == [1]


def test_a_denied_call_of_a_tool_leaves_a_decision_and_no_outcome(world: World) -> None:
    narrow = remit.Capability("tool:use", n=remit.Range(max=5))
    with world.guard.acting_as(world.issue(narrow)):
        refusal(lambda: tool(6))
        refusal(lambda: tool(*[]))
        refusal(lambda: tool(1, 2))  # type: ignore[call-arg]  # the mistake itself
    assert [(record.event, record.code) for record in world.audit.records] == [
        ("decision", "argument_denied")
    ] * 3


async def test_coroutines_and_generators_leave_one_outcome_each(world: World) -> None:
    @remit.requires_capability("tool:use")
    async def waiting() -> int:
        return 1

    @remit.requires_capability("tool:use")
    def stepping() -> Iterator[int]:
        yield from (1, 2)

    @remit.requires_capability("tool:use")
    async def streaming() -> AsyncIterator[int]:
        yield 1

    with world.guard.acting_as(world.issue()):
        assert await waiting() == 1
        assert list(stepping()) == [1, 2]
        assert [item async for item in streaming()] == [1]
        abandoned = stepping()
        next(abandoned)
        abandoned.close()  # type: ignore[attr-defined]  # a generator has it
    assert len(world.events("decision")) == len(world.events("outcome")) == 4
    assert {record.call_id for record in world.events("decision")} == {
        r.call_id for r in world.events("outcome")
    }


def test_explaining_leaves_no_record(world: World) -> None:
    world.guard.explain(world.issue(), "tool:use", {"n": 1})
    world.guard.explain(world.issue(), "other", {"n": 1})
    assert world.audit.records == []


def test_a_call_that_cannot_be_recorded_is_denied_and_does_not_run(world: World) -> None:
    guard = world.new_guard(audit=Failing("decision"))
    credential, ran = world.issue(), []

    @remit.requires_capability("tool:use")
    def running() -> None:
        ran.append(1)

    denied = refusal(lambda: guard.check(credential, "tool:use", {}))
    assert denied.code == "audit_unavailable"
    assert isinstance(denied.__cause__, OSError)
    assert verdict(lambda: guard.validate(credential)) == "audit_unavailable"
    with guard.acting_as(credential):
        assert verdict(running) == "audit_unavailable"
    assert ran == []


def test_a_denial_stands_with_its_own_code_when_it_cannot_be_recorded(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    guard = world.new_guard(audit=Failing("decision", "secret"))
    assert verdict(lambda: guard.check(world.issue(), "other", {})) == "capability_missing"
    assert verdict(lambda: guard.check("junk", "tool:use", {})) == "token_malformed"  # type: ignore[arg-type]  # the mistake itself
    assert verdict(lambda: guard.validate("junk")) == "token_malformed"
    assert verdict(lambda: guard.resolve_secret(world.issue(), "KEY", tool="tool:use")) == "secret_denied"
    assert len(caplog.records) == 4  # the operator hears of it


def test_a_secret_whose_resolution_cannot_be_recorded_is_not_given(world: World) -> None:
    guard = world.new_guard(audit=Failing("secret"))
    credential, ran = world.issue(secrets=["PATH"]), []

    @remit.requires_capability("tool:use")
    def running(*, path: remit.Secret = remit.secret("PATH")) -> None:
        ran.append(1)

    assert verdict(lambda: guard.resolve_secret(credential, "PATH", tool="tool:use")) == "audit_unavailable"
    with guard.acting_as(credential):
        assert verdict(running) == "audit_unavailable"
    assert ran == []


def test_an_outcome_that_cannot_be_recorded_does_not_lose_the_result(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    guard = world.new_guard(audit=Failing("outcome"))
    with guard.acting_as(world.issue()):
        assert tool(1) == 1
        with pytest.raises(ValueError, match="unlucky"):
            tool(13)
    assert len(caplog.records) == 2


def test_an_allowed_call_whose_secret_is_missing_ends_with_a_denied_outcome(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEY", raising=False)

    @remit.requires_capability("tool:use")
    def running(*, key: remit.Secret = remit.secret("KEY")) -> None:
        raise AssertionError("it ran")

    with world.guard.acting_as(world.issue(secrets=["KEY"])):
        assert verdict(running) == "secret_not_found"
    assert [(r.event, r.allowed, r.code) for r in world.audit.records] == [
        ("decision", True, None), ("secret", False, "secret_not_found"), ("outcome", False, "secret_not_found"),
    ]  # fmt: skip
    assert len({record.call_id for record in world.audit.records}) == 1


def test_without_a_sink_nothing_is_recorded_and_calls_have_no_identifier(world: World) -> None:
    guard = world.new_guard(audit=None)
    assert guard.check(world.issue(), "tool:use", {}).call_id is None
    assert verdict(lambda: guard.check(world.issue(), "other", {})) == "capability_missing"
    guard.revoke("x")


def test_a_record_of_the_same_arguments_has_the_same_digest(world: World) -> None:
    credential = world.issue()
    for arguments in ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}, {"a": 1, "b": 3}):
        world.guard.check(credential, "tool:use", arguments)
    first, second, third = (record.arguments_digest for record in world.audit.records)
    assert first == second != third
