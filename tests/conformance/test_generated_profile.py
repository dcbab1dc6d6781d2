"""Remit's profile on the wire: what the draft leaves out, and that none of it can be dropped or misread.

What an issuer writes is read back from a token that it issued; the forge then says it again under keys of its own,
right and wrong.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from .forge import ISSUER, NOW, Raw, Story, story
from .judge import HEADER, PROOF, STRUCTURE, change_is_fatal, denies, permits
from .profile import FEATURES, VERIFY, issued, says, written

WRONG: Final[dict[str, Any]] = {
    "null": None,
    "true": True,
    "false": False,
    "an empty string": "",
    "blank": "  ",
    "a number": 7,
    "a negative number": -1,
    "a fraction": 1.5,
    "an empty list": [],
    "a list": ["x", 1],
    "an empty object": {},
    "an object": {"x": 1},
}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_restricting_addition_is_listed_under_crit(feature: str) -> None:
    """So that a verifier that does not know Remit refuses it instead of ignoring the restriction."""
    header, claims = issued(feature)
    assert header["crit"] == ["remit"]
    assert isinstance(header["remit"], list)
    assert len(header["remit"]) == 1
    assert feature in claims


def test_sub_alone_needs_no_crit() -> None:
    """`sub` alone needs no `crit`; it is always set."""
    header, claims = written()
    assert claims["sub"] == "reader"
    assert "crit" not in header
    assert "remit" not in header
    assert header["alg"] == "Ed25519"
    assert header["typ"] == "aat+jwt"


def test_a_plain_token_has_the_claims_of_the_draft_and_sub() -> None:
    """Claims `jti iss iat exp cnf.jwk del_depth del_max_depth authorization_details`, `par_hash` when derived."""
    _, claims = written()
    assert claims.keys() == {
        "jti", "iss", "iat", "exp", "cnf", "del_depth", "del_max_depth", "authorization_details", "sub"
    }  # fmt: skip
    assert claims["cnf"]["jwk"].keys() >= {"kty", "crv", "x"}
    assert "d" not in claims["cnf"]["jwk"]
    assert (claims["iss"], claims["iat"], claims["exp"]) == (ISSUER, NOW, NOW + 600)
    assert (claims["del_depth"], claims["del_max_depth"]) == (0, 0)


@pytest.mark.parametrize("index", [0, 1], ids=["root", "leaf"])
@pytest.mark.parametrize("feature", FEATURES)
def test_what_an_issuer_writes_is_read(feature: str, index: int) -> None:
    """The restriction holds and everything beside it works."""
    permits(says(feature, depth=1, index=index), **VERIFY.get(feature, {}))


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("wrong", WRONG)
def test_an_addition_of_the_wrong_kind_is_refused(feature: str, wrong: str) -> None:
    """An unreadable restriction is no restriction at all, so it is refused."""
    permits(says(feature), **VERIFY.get(feature, {}))
    if (feature, wrong) == ("nbf", "a number"):
        return permits_nbf_long_ago()
    made = says(feature)
    made.root.claims[feature] = WRONG[wrong]
    denies(made, STRUCTURE, **VERIFY.get(feature, {}))
    return None


def permits_nbf_long_ago() -> None:
    """7 is a time, long ago."""
    permits(says("nbf", 7))


@pytest.mark.parametrize(
    "wrong", [None, True, 1, "", "  ", [], {}, ["a"], "a\u0000", Raw('"\\ud800"')], ids=repr
)
def test_an_agent_without_a_proper_name_is_refused(wrong: Any) -> None:
    """`sub`: the agent's name."""
    made = story(0)
    made.root.set(sub="reader")
    assert permits(made).agent == "reader"
    change_is_fatal(lambda made: made.root.set(sub=wrong), STRUCTURE, base=lambda: story(0))


NBF_WRONG: Final[dict[str, Any]] = {
    "a float": Raw(f"{NOW - 10}.0"),
    "an exponent": Raw("1.0e3"),
    "a string": str(NOW - 10),
    "a list": [NOW - 10],
}


@pytest.mark.parametrize("wrong", NBF_WRONG)
def test_nbf_is_a_plain_integer(wrong: str) -> None:
    """String or float times are refused."""
    permits(says("nbf"))
    denies(says("nbf", NBF_WRONG[wrong]), STRUCTURE)


@pytest.mark.parametrize("index", [0, 1, 2], ids=["root", "middle", "leaf"])
@pytest.mark.parametrize(("offset", "begun"), [(-1, True), (0, True), (1, False), (30, False), (600, False)])
def test_nbf_is_asked_of_every_link(index: int, offset: int, begun: bool) -> None:
    """Times of **every** link (`nbf`, `exp`, against the guard's clock)."""
    made = says("nbf", NOW + offset, depth=2, index=index)
    if begun:
        permits(made)
    else:
        denies(made, ("token_not_yet_valid",))


def test_nbf_counts_whether_it_is_announced_or_not() -> None:
    """`nbf`: start of the window; nobody who reads it may pass over it."""
    permits(says("nbf", NOW, listed=False))
    denies(says("nbf", NOW + 1, listed=False), (*HEADER, *STRUCTURE, "token_not_yet_valid"))


@pytest.mark.parametrize("feature", FEATURES)
def test_an_announced_addition_that_is_not_there_is_refused(feature: str) -> None:
    """A list of restrictions and the restrictions belong together."""
    made = says(feature)
    permits(made, **VERIFY.get(feature, {}))
    made.root.drop(feature)
    denies(made, (*STRUCTURE, *HEADER), **VERIFY.get(feature, {}))


def test_an_unknown_addition_beside_a_known_one_is_refused() -> None:
    """An enforcement point that does not understand every parameter MUST reject the token."""
    for extra in ("approval", "nbf ", "NBF", "", None, 1):

        def change(made: Story, extra: Any = extra) -> None:
            made.root.header["remit"] = [*made.root.header["remit"], extra]

        change_is_fatal(change, (*HEADER, *STRUCTURE), base=lambda: says("nbf"))


BOUND: Final = pytest.mark.parametrize(
    ("feature", "keyword", "code"),
    [("sid", "session", "session_mismatch"), ("task", "task", "task_mismatch")],
    ids=["session", "task"],
)


@BOUND
@pytest.mark.parametrize("index", [0, 1, 2], ids=["root", "middle", "leaf"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_binding_holds_for_all_descendants(
    feature: str, keyword: str, code: str, index: int, listed: bool
) -> None:
    """Once set in any link, all descendants carry the restriction."""
    right: Any = issued(feature)[1][feature]

    def made() -> Story:
        return says(feature, depth=2, index=index, listed=listed)

    permits(made(), **{keyword: right})
    denies(made(), (code,))
    for wrong in ("other", right + " ", right.upper(), right[:-1], "", "  "):
        bearer: dict[str, Any] = {keyword: wrong}
        denies(made(), (code,), **bearer)


@BOUND
def test_two_links_cannot_be_bound_to_two_things(feature: str, keyword: str, code: str) -> None:
    """`sid`, `task`: every link is asked; a chain that names two fits neither."""
    first = issued(feature)[1][feature]
    made = says(feature, depth=1, index=0)
    made.leaf.set(**{feature: "other"})
    made.leaf.header.update(made.root.header)
    for value in (first, "other"):
        bearer: dict[str, Any] = {keyword: value}
        denies(made, (code, *STRUCTURE), **bearer)
    made.leaf.set(**{feature: first})
    permits(made, **{keyword: first})


def test_agents_are_named_by_the_leaf() -> None:
    """`sub`: the agent's name, as the signer of that token names it."""
    made = story(1)
    made.root.set(sub="boss")
    made.leaf.set(sub="worker")
    assert permits(made).agent == "worker"


@pytest.mark.parametrize("name", ["sub", "nbf", "sid", "task", "limits", "delegate_only"])
def test_an_addition_written_twice_is_refused(name: str) -> None:
    """Duplicate member names are refused."""
    feature = "nbf" if name == "sub" else name

    def change(made: Story) -> None:
        value = made.root.claims.pop(name, "reader")
        made.root.claims["aaa"] = Raw(f'1,"{name}":{json.dumps(value)},"{name}":{json.dumps(value)}')

    permits(says(feature), **VERIFY.get(feature, {}))
    made = says(feature)
    change(made)
    denies(made, STRUCTURE, **VERIFY.get(feature, {}))


def test_a_proof_carries_no_profile() -> None:
    """A proof that lists restrictions nobody defined for it is refused."""
    for listed in ("nbf", "sid", "limits"):

        def change(made: Story, listed: str = listed) -> None:
            made.proof.header.update(crit=["remit"], remit=[listed])

        change_is_fatal(change, PROOF)
