"""What a token was exchanged for, on the wire: it is revoked with any of that, wherever in the chain it stands."""

from __future__ import annotations

from typing import Any, Final

import pytest

import remit

from .forge import NOW, Key, Story, story
from .judge import STRUCTURE, change_is_fatal, denies, guard, permits

OTHER: Final = Key(77)
THUMBPRINT: Final = remit.TrustAnchor("https://x.example", OTHER.jwk).key.thumbprint
SUBJECTS: Final = ("token:01900000-0000-7000-8000-000000000000", f"key:{THUMBPRINT}", "agent:planner")


def exchanged(subjects: Any, *, index: int = 0, listed: bool = True) -> Story:
    """A chain of two, one of which was exchanged for `subjects`."""
    made = story(1)
    made.links[index].set(exchanged=subjects)
    if listed:
        made.links[index].header.update({"crit": ["remit"], "remit": ["exchanged"]})
    return made


def revoke(by: remit.Guard, subject: str) -> None:
    kind, _, name = subject.partition(":")
    {"token": by.revoke, "key": by.revoke_key, "agent": by.revoke_agent}[kind](name)


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
@pytest.mark.parametrize("subject", SUBJECTS, ids=["token", "key", "agent"])
def test_a_token_is_revoked_with_what_it_was_exchanged_for(subject: str, listed: bool) -> None:
    judge = guard()
    tokens = exchanged([*SUBJECTS], listed=listed).tokens()
    assert judge.validate(tokens).agent
    revoke(judge, subject)
    with pytest.raises(remit.TokenRejected) as refusal:
        judge.validate(tokens)
    assert (refusal.value.code, refusal.value.link) == ("token_revoked", 0)
    others = exchanged([name for name in SUBJECTS if name != subject])
    assert judge.validate(others.tokens()).agent


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
def test_a_holder_cannot_say_what_a_token_was_exchanged_for(listed: bool) -> None:
    """It would name others, and be copied by an issuer into what it exchanges the chain for."""
    denies(exchanged([*SUBJECTS], index=1, listed=listed), STRUCTURE)


def test_what_was_exchanged_after_an_agent_was_revoked_is_another_matter() -> None:
    """A token that the agent got later was good when it was exchanged."""
    earlier = guard(NOW - 3_600)
    earlier.revoke_agent("planner")
    later = guard(ledger=earlier._enforcement.ledger)
    permits(exchanged(["agent:planner"]), by=later)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        True,
        1,
        "token:x",
        [],
        {},
        ["x"],
        ["token"],
        ["secret:x"],
        ["token:"],
        ["token: a"],
        ["token:a\nb"],
        ["agent:" + "a" * 257],
        ["token:a", 1],
        ["token:a", "token:a"],
        [""],
    ],
    ids=repr,
)
def test_what_names_nothing_that_can_be_revoked_is_refused(wrong: Any) -> None:
    permits(exchanged([*SUBJECTS]))
    change_is_fatal(
        lambda made: made.root.set(exchanged=wrong), STRUCTURE, base=lambda: exchanged([*SUBJECTS])
    )


def test_a_header_that_announces_it_needs_the_claim() -> None:
    made = exchanged([*SUBJECTS])
    made.root.drop("exchanged")
    denies(made, STRUCTURE)
