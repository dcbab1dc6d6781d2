"""`allowed_handoffs`: an agent is given the hand-offs that its credential grants, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from autogen_agentchat.base import Handoff

import remit
from remit_autogen import allowed_handoffs

from .support import World

BILLING, VAULT = Handoff(target="billing"), Handoff(target="vault", name="open_up", description="Open.")


def test_it_keeps_what_is_granted_as_it_was_given_and_in_order() -> None:
    world = World()
    credential = world.grant("front", "handoff:vault", "handoff:billing", "handoff:elsewhere")
    kept = allowed_handoffs(["billing", VAULT, "boss", Handoff(target="boss")], world.guard, credential)
    assert kept == ["billing", VAULT]
    assert kept[1] is VAULT


def test_the_target_counts_and_not_the_name() -> None:
    world = World()
    renamed = Handoff(target="vault", name="transfer_to_billing")
    assert allowed_handoffs([renamed], world.guard, world.grant("front", "handoff:billing")) == []


def test_a_tool_of_the_same_name_grants_nothing() -> None:
    world = World()
    assert allowed_handoffs(["billing"], world.guard, world.grant("front", "billing")) == []


def test_a_credential_that_is_no_longer_good_grants_nothing() -> None:
    world = World()
    credential = world.grant("front", "handoff:billing")
    assert allowed_handoffs([BILLING], world.guard, credential) == [BILLING]
    world.guard.revoke(credential.token_id)
    assert allowed_handoffs([BILLING], world.guard, credential) == []


def test_session_and_task_count() -> None:
    world = World()
    credential = world.grant("front", "handoff:billing", session="s", task="t")
    assert allowed_handoffs([BILLING], world.guard, credential, session="s", task="t") == [BILLING]
    assert allowed_handoffs([BILLING], world.guard, credential, session="s") == []
    assert allowed_handoffs([BILLING], world.guard, credential, task="t") == []


def test_asking_charges_and_records_nothing() -> None:
    world = World()
    once = remit.Limit(max_uses=1)
    credential = world.grant("front", "handoff:billing", limits={"handoff:billing": once})
    for _ in range(2):
        assert allowed_handoffs([BILLING], world.guard, credential) == [BILLING]
    assert world.decisions == []


def test_nothing_comes_of_nothing() -> None:
    world = World()
    assert allowed_handoffs([], world.guard, world.grant("front", "handoff:billing")) == []


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"handoffs": "billing"}, "list of hand-offs"),
        ({"handoffs": [7]}, "list of hand-offs"),
        ({"handoffs": None}, "list of hand-offs"),
        ({"guard": None}, "guard"),
        ({"credential": None}, "credential"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], match: str) -> None:
    world = World()
    given: dict[str, Any] = {
        "handoffs": ["billing"],
        "guard": world.guard,
        "credential": world.grant("front", "handoff:billing"),
        **settings,
    }
    with pytest.raises(remit.ConfigError, match=match):
        allowed_handoffs(**given)
