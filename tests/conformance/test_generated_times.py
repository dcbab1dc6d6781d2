"""Times: integers of seconds, judged against the guard's clock, every link of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

import remit

from .forge import AUDIENCE, NOW, Raw, Story, story
from .judge import MAX_TTL, PROOF, STRUCTURE, anchor, change_is_fatal, denies, guard, permits

EXPIRED: Final = ("token_expired",)
EARLY: Final = ("token_not_yet_valid", "token_malformed", "token_chain_invalid")
LINKS: Final = pytest.mark.parametrize("index", [0, 1, 2], ids=["root", "middle", "leaf"])


def three(iat: int = NOW - 300) -> Story:
    """Three links, so that there is one in the middle, all signed at `iat`."""
    made = story(2)
    for link in made.links:
        link.set(iat=iat)
    return made


def _times(index: int, **claims: int) -> Callable[[Story], None]:
    """Set `claims` from one link on; a child is never older than its parent and never outlives it."""

    def change(made: Story) -> None:
        for link in made.links[index:]:
            link.set(**claims)

    return change


@LINKS
@pytest.mark.parametrize("late", [0, 1, 2, 3_600], ids=lambda late: f"exp was {late} s ago")
def test_a_link_that_has_expired_is_refused(index: int, late: int) -> None:
    """`exp > now`: at the very second of `exp` a token is over."""
    change_is_fatal(_times(index, exp=NOW - late), EXPIRED, base=lambda: three(iat=NOW - 4_000))


@LINKS
def test_a_link_in_its_last_second_is_accepted(index: int) -> None:
    """`exp > now` holds one second before."""
    made = three()
    _times(index, exp=NOW + 1)(made)
    permits(made)
    permits(made, by=guard(NOW + 0.999))
    denies(made, EXPIRED, by=guard(NOW + 1))
    denies(made, EXPIRED, by=guard(NOW + 1.5))


@LINKS
@pytest.mark.parametrize(
    ("ahead", "accepted"), [(0, True), (29, True), (30, True), (31, False), (3_000, False)]
)
def test_a_link_from_the_future_is_accepted_up_to_the_skew(index: int, ahead: int, accepted: bool) -> None:
    """`iat <= now + MAX_IAT_SKEW`; a value of 30 seconds is RECOMMENDED."""
    made = three()
    _times(index, iat=NOW + ahead)(made)
    if accepted:
        permits(made)
    else:
        denies(made, EARLY)


@LINKS
@pytest.mark.parametrize("offset", [0, -1, -100])
def test_a_link_must_end_after_it_begins(index: int, offset: int) -> None:
    """`exp > iat`."""
    change_is_fatal(_times(index, iat=NOW + 20, exp=NOW + 20 + offset), (*STRUCTURE, *EXPIRED), base=three)


def test_a_root_may_live_as_long_as_the_maximum_and_no_longer() -> None:
    """MUST NOT exceed `iat` plus MAX_TOKEN_LIFETIME."""
    made = story()
    made.root.set(exp=NOW - 300 + MAX_TTL)
    permits(made)
    made.root.set(exp=NOW - 300 + MAX_TTL + 1)
    denies(made, STRUCTURE)


def test_the_maximum_is_the_guards_own() -> None:
    """Maximum ttl enforced at issue and at check."""
    made = three()
    _times(0, exp=NOW + 300)(made)
    permits(made, by=guard(max_ttl=600))
    denies(made, STRUCTURE, by=guard(max_ttl=599))


def test_a_child_may_not_outlive_its_parent() -> None:
    """`child.exp <= parent.exp`."""
    change_is_fatal(_one(1, exp=NOW + 3_301), STRUCTURE)
    permits(_changed(_one(1, exp=NOW + 3_299)))


def test_a_child_may_not_be_older_than_its_parent() -> None:
    """`child.iat >= parent.iat`."""
    change_is_fatal(_one(1, iat=NOW - 301), STRUCTURE)
    permits(_changed(_one(1, iat=NOW - 299)))


def _one(index: int, **claims: Any) -> Callable[[Story], None]:
    return lambda made: made.links[index].set(**claims)


def _changed(change: Callable[[Story], None]) -> Story:
    made = story()
    change(made)
    return made


ODD: Final[dict[str, Any]] = {
    "a float": Raw(f"{NOW + 60}.0"),
    "a fraction": Raw(f"{NOW + 60}.5"),
    "an exponent": Raw("1.70406e9"),
    "an exponent without fraction": Raw(f"{NOW + 60}e0"),
    "a string": str(NOW + 60),
    "an ISO date": "2024-01-01T00:05:00Z",
    "true": True,
    "null": None,
    "a list": [NOW + 60],
    "an object": {"$date": NOW + 60},
    "NaN": Raw("NaN"),
    "Infinity": Raw("Infinity"),
    "huge": 10**18,
    "too big for a double": Raw("1" + "0" * 400),
    "milliseconds": (NOW + 60) * 1_000,
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["iat", "exp"])
@LINKS
def test_a_time_that_is_not_a_plain_integer_is_refused(index: int, name: str, odd: str) -> None:
    """JSON numbers with no fraction or exponent part; string or float times are refused."""
    change_is_fatal(_one(index, **{name: ODD[odd]}), (*EARLY, *EXPIRED), base=three)


@pytest.mark.parametrize("odd", ODD)
def test_the_time_of_a_proof_is_a_plain_integer(odd: str) -> None:
    """pop_jwt.iat is a NumericDate value."""
    value = Raw(ODD[odd].text.replace(str(NOW + 60), str(NOW))) if isinstance(ODD[odd], Raw) else ODD[odd]
    change_is_fatal(lambda made: made.proof.set(iat=value), PROOF)


@pytest.mark.parametrize("name", ["iat", "exp"])
@LINKS
@pytest.mark.parametrize("value", [-1, 0, 1, -(2**63)])
def test_a_time_long_ago_is_refused(index: int, name: str, value: int) -> None:
    """An `exp` that is past, or an `iat` so old that the lifetime is over the maximum or under the parent's."""
    change_is_fatal(_one(index, **{name: value}), (*STRUCTURE, *EXPIRED), base=three)


@pytest.mark.parametrize(
    ("offset", "accepted"),
    [(-3_600, False), (-61, False), (-31, False), (-30, True), (-1, True), (0, True), (1, True), (30, True),
     (31, False), (61, False), (3_600, False)],
)  # fmt: skip
def test_a_proof_is_good_for_its_window(offset: int, accepted: bool) -> None:
    """The RECOMMENDED window is ±30 seconds."""
    made = story()
    made.proof.set(iat=NOW + offset)
    if accepted:
        permits(made)
    else:
        denies(made, PROOF)


def test_the_window_of_a_proof_is_configurable() -> None:
    """These are independent parameters and SHOULD be configured separately."""
    made = story()
    made.proof.set(iat=NOW - 6)
    permits(made)
    permits(made, by=guard(proof_window=6))
    denies(made, PROOF, by=guard(proof_window=5))


def test_times_are_judged_on_every_call_not_when_the_chain_was_first_seen() -> None:
    """A verified chain stays verified, nothing else about it does."""
    clock = [NOW]
    judge = remit.Guard(**_options(), clock=lambda: clock[0])
    first = story()
    permits(first, by=judge)
    clock[0] = NOW + 3_299
    second = story()
    second.proof.set(jti="b", iat=clock[0])
    permits(second, by=judge)
    clock[0] = NOW + 3_300
    third = story()
    third.proof.set(jti="c", iat=clock[0])
    denies(third, EXPIRED, by=judge)
    clock[0] = NOW - 400
    fourth = story()
    fourth.proof.set(jti="d", iat=clock[0])
    denies(fourth, EARLY, by=judge)


def _options() -> dict[str, Any]:
    return {"trust": [anchor()], "audience": AUDIENCE, "max_ttl": MAX_TTL}
