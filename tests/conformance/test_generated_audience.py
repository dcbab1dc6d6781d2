"""Audiences and replay: where a chain and a proof may be presented, and how often."""

from __future__ import annotations

from typing import Any, Final

import pytest

import remit

from .forge import AUDIENCE, NOW, Story, story
from .judge import PROOF, STRUCTURE, anchor, change_is_fatal, change_is_harmless, denies, guard, permits

ELSEWHERE: Final = ("audience_mismatch", "token_malformed", "token_chain_invalid")
REPLAYED: Final = ("proof_replayed",)
LINKS: Final = pytest.mark.parametrize("index", [0, 1, 2], ids=["root", "middle", "leaf"])


def three() -> Story:
    """A chain with a link in the middle."""
    return story(2)


@LINKS
@pytest.mark.parametrize(
    "audience",
    [
        AUDIENCE,
        [AUDIENCE],
        ["https://other.example", AUDIENCE],
        [AUDIENCE, "https://other.example"],
        [AUDIENCE] * 2,
    ],
    ids=repr,
)
def test_a_link_for_this_guard_is_accepted(index: int, audience: Any) -> None:
    """Verify that at least one of its values identifies this enforcement point."""
    change_is_harmless(lambda made: made.links[index].set(aud=audience), three)


@LINKS
@pytest.mark.parametrize(
    "audience",
    [
        "https://other.example", ["https://other.example"], [], "", [""], None, True, 0, 1.5, {}, {AUDIENCE: True},
        [None], [AUDIENCE, None], [AUDIENCE, 1], [[AUDIENCE]], AUDIENCE + "/", AUDIENCE.upper(), " " + AUDIENCE,
        AUDIENCE[:-1], AUDIENCE + "\u0000", [list(AUDIENCE)], AUDIENCE + " https://other.example", "*", ["*"],
    ],
    ids=repr,
)  # fmt: skip
def test_a_link_for_another_place_or_an_odd_one_is_refused(index: int, audience: Any) -> None:
    """By exact string comparison; a string or an array of strings."""
    change_is_fatal(lambda made: made.links[index].set(aud=audience), ELSEWHERE, three)


@LINKS
def test_every_link_is_asked_not_only_the_leaf(index: int) -> None:
    """A derived token can add or narrow an audience restriction but cannot remove one."""

    def change(made: Story) -> None:
        for link in made.links:
            link.set(aud=AUDIENCE)
        made.links[index].set(aud="https://other.example")

    change_is_fatal(change, ELSEWHERE, three)


def test_a_guard_without_a_name_is_nobodys_audience() -> None:
    """If any such token does not identify this enforcement point, DENY."""
    nameless = story()
    nameless.proof.drop("aat_aud")
    permits(nameless, by=guard(audience=None))
    bound = story()
    bound.proof.drop("aat_aud")
    bound.root.set(aud=AUDIENCE)
    permits(bound)
    denies(bound, ELSEWHERE, by=guard(audience=None))
    denies(story(), (*PROOF, "audience_mismatch"), by=guard(audience=None))


def test_a_guard_may_require_an_audience_in_the_chain() -> None:
    """If this enforcement point requires chain audience restriction and no token carries `aud`, DENY."""
    permits(story())
    denies(story(), ("audience_mismatch",), by=guard(require_chain_audience=True))
    for index in (0, 1):
        made = story()
        made.links[index].set(aud=AUDIENCE)
        permits(made, by=guard(require_chain_audience=True))


@pytest.mark.parametrize(
    "audience",
    [
        "https://other.example",
        AUDIENCE + "/",
        AUDIENCE.upper(),
        "",
        [AUDIENCE],
        [AUDIENCE, "x"],
        None,
        {},
        1,
        True,
    ],
    ids=repr,
)
@pytest.mark.parametrize("required", [False, True])
def test_a_proof_for_another_place_is_refused(audience: Any, required: bool) -> None:
    """MUST reject a PoP JWT whose `aat_aud` does not identify itself, required or not."""
    permits(story(), by=guard(require_proof_audience=required))
    made = story()
    made.proof.set(aat_aud=audience)
    denies(made, (*PROOF, "audience_mismatch"), by=guard(require_proof_audience=required))


@pytest.mark.parametrize("ledger", [lambda: None, remit.MemoryLedger], ids=["default", "memory"])
def test_a_proof_is_good_for_one_call(ledger: Any) -> None:
    """Verify pop_jwt.jti has not been accepted within the tolerance window. If it has, DENY."""
    judge = guard(ledger=ledger())
    permits(story(), by=judge)
    denies(story(), REPLAYED, by=judge)
    denies(story(), REPLAYED, by=judge)
    fresh = story()
    fresh.proof.set(jti="another")
    permits(fresh, by=judge)
    denies(story(), REPLAYED, by=judge)


def test_a_proof_is_spent_whoever_made_it_again() -> None:
    """The holder MUST NOT reuse a `jti` value across PoP JWTs it produces: another time or tool changes nothing."""
    judge = guard()
    permits(story(), by=judge)
    later = story()
    later.proof.set(iat=NOW + 1)
    denies(later, REPLAYED, by=judge)
    other = story(tool="search", args={"limit": 1, "query": "x"})
    denies(other, REPLAYED, by=judge)


def test_a_denied_call_uses_up_no_proof() -> None:
    """The jti is recorded as accepted only when step 8 permits the invocation, so a denied one consumes no jti."""
    judge = guard()
    outside = story(args={"path": "/etc/passwd"})
    denies(outside, ("argument_denied",), by=judge)
    unknown = story(tool="delete_file", args={})
    denies(unknown, ("capability_missing",), by=judge)
    wrong = story()
    wrong.proof.set(hta={"path": "/data/q4"})
    denies(wrong, PROOF, by=judge)
    permits(story(), by=judge)
    denies(story(), REPLAYED, by=judge)


def test_a_proof_is_remembered_for_as_long_as_it_would_be_accepted() -> None:
    """Retaining each one only until its `iat` leaves the window."""
    clock = [NOW - 30]
    judge = remit.Guard(trust=[anchor()], audience=AUDIENCE, max_ttl=7_776_000, clock=lambda: clock[0])
    permits(story(), by=judge)
    for at in (NOW - 30, NOW, NOW + 29, NOW + 30):
        clock[0] = at
        denies(story(), REPLAYED, by=judge)
    clock[0] = NOW + 31
    denies(story(), (*PROOF, *REPLAYED), by=judge)


def test_guards_that_share_a_ledger_share_what_was_seen() -> None:
    """Replicas of one enforcement point share `jti` state."""
    ledger = remit.MemoryLedger()
    permits(story(), by=guard(ledger=ledger))
    denies(story(), REPLAYED, by=guard(ledger=ledger))
    permits(story(), by=guard())


@pytest.mark.parametrize("name", ["require_proof_audience", "require_chain_audience"])
def test_structure_is_refused_whatever_is_required(name: str) -> None:
    """Any failure MUST result in denial."""
    made = story()
    made.root.set(aud=AUDIENCE)
    permits(made, by=guard(**{name: True}))
    made.root.drop("del_depth")
    denies(made, STRUCTURE, by=guard(**{name: True}))
