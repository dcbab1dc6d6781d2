"""R3, R4, R13, R17: one field off is denied, with the reason; blank never means unbound."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import remit

from .support import World, refusal, verdict

TRADE = remit.Capability("trades:propose", symbol=remit.OneOf("ACME", "INIT"), amount=remit.Range(max=1_000))
RIGHT: dict[str, Any] = {"symbol": "ACME", "amount": 900}


def test_the_call_that_was_granted_is_allowed(world: World) -> None:
    permit = world.guard.check(world.issue(TRADE), "trades:propose", RIGHT, agent="agent-a")
    assert (permit.agent, permit.capability, permit.arguments) == ("agent-a", "trades:propose", RIGHT)


@pytest.mark.parametrize(
    ("capability", "arguments", "code", "says"),
    [
        ("trades:read", RIGHT, "capability_missing", "may not use 'trades:read'"),
        ("trade:propose", RIGHT, "capability_missing", "may not use 'trade:propose'"),
        (
            "trades:propose",
            {**RIGHT, "symbol": "EVIL"},
            "argument_denied",
            "needs 'symbol' to be one of 'ACME', 'INIT'",
        ),
        (
            "trades:propose",
            {**RIGHT, "amount": 1_001},
            "argument_denied",
            "needs 'amount' to be a number of at most 1000",
        ),
        ("trades:propose", {**RIGHT, "amount": "900"}, "argument_denied", "needs 'amount' to be a number"),
        ("trades:propose", {"symbol": "ACME"}, "argument_denied", "needs an argument 'amount'"),
        (
            "trades:propose",
            {**RIGHT, "force": True},
            "argument_denied",
            "may not be given an argument 'force'",
        ),
        ("trades:propose", {}, "argument_denied", "needs an argument"),
    ],
)
def test_one_field_off_is_denied_with_the_reason(
    world: World, capability: str, arguments: dict[str, Any], code: str, says: str
) -> None:
    denied = refusal(lambda: world.guard.check(world.issue(TRADE), capability, arguments))
    assert (denied.code, denied.capability) == (code, capability)
    assert says in denied.reason
    assert denied.to_dict()["reason"] == denied.reason
    assert isinstance(denied, PermissionError)


def test_a_reason_names_the_argument_and_never_its_value(world: World) -> None:
    denied = refusal(
        lambda: world.guard.check(world.issue(TRADE), "trades:propose", {**RIGHT, "symbol": "CANARY"})
    )
    assert denied.argument == "symbol"
    assert "CANARY" not in f"{denied} {denied!r} {denied.to_dict()}"


def test_a_denial_of_a_child_says_which_link_refuses(world: World) -> None:
    parent = world.issue(TRADE, max_depth=1)
    narrow = remit.Capability("trades:propose", symbol="ACME", amount=remit.Range(max=10))
    child = parent.delegate("worker", [narrow])
    denied = refusal(lambda: world.guard.check(child, "trades:propose", {"symbol": "ACME", "amount": 11}))
    assert (denied.code, denied.link) == ("argument_denied", 1)
    denied = refusal(lambda: world.guard.check(child, "trades:propose", {"symbol": "ACME", "amount": 1_001}))
    assert denied.link == 0


Way = Callable[[World, remit.Credential, dict[str, Any]], object]


def _check(world: World, credential: remit.Credential, said: dict[str, Any]) -> object:
    return world.guard.check(credential, "tool:use", {}, **said)


def _verify(world: World, credential: remit.Credential, said: dict[str, Any]) -> object:
    return world.guard.verify(credential.present("tool:use", {}), "tool:use", {}, **said)


def _validate(world: World, credential: remit.Credential, said: dict[str, Any]) -> object:
    return world.guard.validate(credential, **said)


def _secret(world: World, credential: remit.Credential, said: dict[str, Any]) -> object:
    return world.guard.resolve_secret(credential, "PATH", tool="tool:use", **said)


def _call(world: World, credential: remit.Credential, said: dict[str, Any]) -> object:
    @remit.requires_capability("tool:use")
    def tool() -> str:
        return "ran"

    with world.guard.acting_as(credential, **said):
        return tool()


def _bound(world: World, credential: remit.Credential, said: dict[str, Any]) -> object:
    def tool() -> str:
        return "ran"

    return remit.bind_tool(tool, world.guard, credential, capability="tool:use", **said)()


WAYS = [_check, _verify, _validate, _secret, _call, _bound]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("word", ["session", "task"])
def test_a_session_or_task_that_is_set_is_needed_on_every_way_in(world: World, word: str, way: Way) -> None:
    credential = world.issue(secrets=["PATH"], **{word: "a-1"})
    for said in ({}, {word: None}, {word: "a-2"}, {word: ""}, {word: "  "}, {word: "A-1"}, {word: "a-1 "}):
        assert verdict(lambda: way(world, credential, said)) == f"{word}_mismatch", said
    assert verdict(lambda: way(world, credential, {word: "a-1"})) == "allowed"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("word", ["session", "task"])
def test_a_blank_session_is_denied_also_where_the_token_has_none(world: World, word: str, way: Way) -> None:
    credential = world.issue(secrets=["PATH"])
    assert verdict(lambda: way(world, credential, {word: ""})) == f"{word}_mismatch"
    assert verdict(lambda: way(world, credential, {word: "any"})) == "allowed"


@pytest.mark.parametrize("way", [_check, _verify, _validate, _secret, _call])
def test_the_agent_that_calls_is_the_agent_of_the_token_on_every_way_in(world: World, way: Way) -> None:
    credential = world.issue(secrets=["PATH"])
    for wrong in ("agent-b", "", " ", "Agent-a", "agent-a "):
        assert verdict(lambda: way(world, credential, {"agent": wrong})) == "agent_mismatch"
    assert verdict(lambda: way(world, credential, {"agent": "agent-a"})) == "allowed"


def test_a_session_in_any_link_binds_all_that_descend_from_it(world: World) -> None:
    child = world.issue(session="s-1", max_depth=2).delegate("b", ["tool:use"], max_depth=1)
    grandchild = child.delegate("c", ["tool:use"])
    assert child.session == grandchild.session == "s-1"
    assert verdict(lambda: world.guard.check(grandchild, "tool:use", {})) == "session_mismatch"
    assert verdict(lambda: world.guard.check(grandchild, "tool:use", {}, session="s-1")) == "allowed"
    with pytest.raises(remit.AttenuationError):
        child.delegate("c", ["tool:use"], session="s-2")


def test_a_token_of_one_task_is_no_use_in_another(world: World) -> None:
    parent = world.issue(max_depth=1)
    first, second = (parent.delegate("b", ["tool:use"], task=name) for name in ("t-1", "t-2"))
    assert verdict(lambda: world.guard.check(first, "tool:use", {}, task="t-1")) == "allowed"
    assert verdict(lambda: world.guard.check(first, "tool:use", {}, task="t-2")) == "task_mismatch"
    assert verdict(lambda: world.guard.check(second, "tool:use", {}, task="t-1")) == "task_mismatch"


def test_one_action_on_one_record_and_no_listing(world: World) -> None:
    credential = world.issue(remit.Capability("records:read", record="A"))
    assert verdict(lambda: world.guard.check(credential, "records:read", {"record": "A"})) == "allowed"
    for other in ("B", "a", "A ", " A", "*", "", None, ["A"], {"id": "A"}, True):
        assert verdict(lambda: world.guard.check(credential, "records:read", {"record": other})) == (
            "argument_denied"
        )
    assert verdict(lambda: world.guard.check(credential, "records:read", {})) == "argument_denied"
    assert (
        verdict(lambda: world.guard.check(credential, "records:read", {"record": "A", "id": "B"}))
        == "argument_denied"
    )
    for action in ("records:list", "records:write", "records"):
        assert verdict(lambda: world.guard.check(credential, action, {"record": "A"})) == (
            "capability_missing"
        )
