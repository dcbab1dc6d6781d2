"""Every claim of a token and of a proof: missing, of the wrong kind, or saying the wrong thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from .forge import (
    ATTACKER,
    HOLDERS,
    ISSUER,
    TOOLS,
    Raw,
    Story,
    details,
    story,
    thumbprint_uri,
)
from .judge import (
    STRUCTURE,
    anchor,
    change_is_fatal,
    change_is_harmless,
    denies,
    guard,
    permits,
)

WRONG: Final[dict[str, Any]] = {
    "null": None,
    "true": True,
    "false": False,
    "a string": "x",
    "an empty string": "",
    "a number": 7,
    "a negative number": -1,
    "a fraction": 1.5,
    "a list": [],
    "an object": {},
    "a list of itself": ["x"],
}
REQUIRED: Final = ("jti", "iss", "iat", "exp", "cnf", "del_depth", "del_max_depth", "authorization_details")
FIT: Final[dict[str, set[str]]] = {
    "jti": {"a string"},
    "del_max_depth": {"a number"},
}
"""Values of `WRONG` that happen to be right for a claim."""


def _link(index: int, **claims: Any) -> Callable[[Story], None]:
    return lambda made: made.links[index].set(**claims)


@pytest.mark.parametrize("index", [0, 1], ids=["root", "child"])
@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_claim_must_be_there(index: int, name: str) -> None:
    """All claims listed as REQUIRED MUST be present."""
    codes = (*STRUCTURE, "token_issuer_untrusted") if name == "iss" else STRUCTURE
    change_is_fatal(lambda made: made.links[index].drop(name), codes)


@pytest.mark.parametrize("index", [0, 1], ids=["root", "child"])
@pytest.mark.parametrize(
    ("name", "wrong"),
    [(name, wrong) for name in REQUIRED for wrong in WRONG if wrong not in FIT.get(name, set())],
)
def test_a_required_claim_must_be_of_its_kind(index: int, name: str, wrong: str) -> None:
    """If absent or not of the type the claim has, DENY."""
    codes = (*STRUCTURE, "token_issuer_untrusted", "token_expired", "capability_missing")
    change_is_fatal(_link(index, **{name: WRONG[wrong]}), codes)


def test_a_derived_token_needs_par_hash() -> None:
    """MUST be present in all derived tokens."""

    def change(made: Story) -> None:
        made.auto_hash.clear()

    change_is_fatal(change, STRUCTURE)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("index", [0, 1], ids=["root", "child"])
def test_par_hash_is_the_digest_in_a_child_and_nothing_in_a_root(index: int, wrong: str) -> None:
    """`par_hash` MUST be absent in root tokens, and in derived ones the digest of the parent."""

    def change(made: Story) -> None:
        made.auto_hash.clear()
        made.links[index].set(par_hash=WRONG[wrong])
        if index == 0:
            made.auto_hash.add(1)

    change_is_fatal(change, STRUCTURE)


@pytest.mark.parametrize(
    ("index", "claims"),
    [
        (0, {"del_depth": 1}),
        (0, {"del_depth": -1}),
        (0, {"del_depth": Raw("0.0")}),
        (0, {"del_depth": Raw("0e0")}),
        (0, {"del_depth": "0"}),
        (0, {"del_max_depth": 9}),
        (0, {"del_max_depth": 10**30}),
        (0, {"del_max_depth": Raw("1.0")}),
        (0, {"del_max_depth": Raw("1e0")}),
        (0, {"del_max_depth": "1"}),
        (0, {"del_max_depth": -1}),
        (0, {"del_max_depth": 0}),
        (1, {"del_depth": 0}),
        (1, {"del_depth": 2, "del_max_depth": 1}),
        (1, {"del_depth": Raw("1.0")}),
        (1, {"del_depth": True}),
        (1, {"del_depth": "1"}),
        (1, {"del_max_depth": 0}),
        (1, {"del_max_depth": 2}),
        (1, {"del_max_depth": Raw("1.0")}),
        (1, {"del_max_depth": True}),
    ],
    ids=repr,
)
def test_depths_are_integers_and_only_go_down(index: int, claims: dict[str, Any]) -> None:
    """Delegation depth increments exactly by one at each link; holders can only lower `del_max_depth`."""
    change_is_fatal(_link(index, **claims), STRUCTURE)


def test_a_chain_of_eight_derivations_is_verified_and_of_nine_is_not() -> None:
    """MAX_DELEGATION_DEPTH MUST be at least 8; the suite beside the draft sets it to 8."""
    permits(story(8))
    denies(story(9), STRUCTURE)


def test_a_ninth_derivation_under_a_root_that_allows_eight_is_refused() -> None:
    """`child.del_depth <= parent.del_max_depth`."""

    def change(made: Story) -> None:
        for link in made.links:
            link.set(del_max_depth=8)

    made = story(9)
    change(made)
    denies(made, STRUCTURE)
    fits = story(8)
    change(fits)
    permits(fits)


@pytest.mark.parametrize(
    "issuer",
    ["https://other.example", ISSUER + "/", ISSUER.upper(), ISSUER + "#", "auth.acme.example", " " + ISSUER,
     ISSUER + "\u0000", "https://auth.acme.example@evil.example", thumbprint_uri(ATTACKER.jwk)],
)  # fmt: skip
def test_the_issuer_of_a_root_is_its_anchors(issuer: str) -> None:
    """Verify root.iss equals the issuer of the trust anchor whose key verified the signature."""
    change_is_fatal(_link(0, iss=issuer), (*STRUCTURE, "token_issuer_untrusted"))


def test_an_anchors_key_is_trusted_under_its_own_name_only() -> None:
    """`iss` equals the issuer of the anchor whose *key verified the signature*, not of any anchor."""
    both = guard(trust=[anchor(), anchor(ATTACKER, "https://other.example")])
    permits(story(), by=both)
    made = story()
    made.root.set(iss="https://other.example")
    denies(made, by=guard(trust=[anchor(), anchor(ATTACKER, "https://other.example")]))


@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER,
        thumbprint_uri(HOLDERS[1].jwk),
        thumbprint_uri(ATTACKER.jwk),
        thumbprint_uri(HOLDERS[0].jwk).upper(),
        thumbprint_uri(HOLDERS[0].jwk) + "=",
        thumbprint_uri(HOLDERS[0].jwk).rpartition(":")[2],
        thumbprint_uri(HOLDERS[0].jwk).replace("sha-256", "sha-512"),
    ],
)
def test_the_issuer_of_a_child_is_the_thumbprint_of_its_signer(issuer: str) -> None:
    """Verify child.iss equals jwk_thumbprint_uri(parent.cnf.jwk)."""
    change_is_fatal(_link(1, iss=issuer), STRUCTURE)


@pytest.mark.parametrize("jti", ["J", "\u00e9t\u00e9", "0" * 200, "019471F8-0000-7000-8000-00000000000A"])
def test_a_token_identifier_is_any_string_that_says_something(jti: str) -> None:
    """Requirements that bind producers only: the lowercase form of UUID `jti` values."""
    change_is_harmless(_link(0, jti=jti))


def test_two_links_with_one_identifier_are_refused() -> None:
    """If any value appears more than once in the presented chain, DENY (token-instance cycle detection)."""
    change_is_fatal(lambda made: made.links[1].set(jti=made.root.claims["jti"]), STRUCTURE)


ENTRIES: Final[dict[str, Any]] = {
    "no entry": [],
    "only another type": [{"type": "other", "tools": TOOLS}],
    "two entries": [*details(TOOLS), *details(TOOLS)],
    "type missing": [{"tools": TOOLS}],
    "type in capitals": [{"type": "ATTENUATING_AGENT_TOKEN", "tools": TOOLS}],
    "an object, not a list": {"type": "attenuating_agent_token", "tools": TOOLS},
    "no tools": [{"type": "attenuating_agent_token"}],
    **{f"tools is {name}": details(value) for name, value in WRONG.items() if name != "an object"},
    **{
        f"a map is {name}": details({**TOOLS, "z": value})
        for name, value in WRONG.items()
        if name != "an object"
    },
    **{f"a constraint is {name}": details({**TOOLS, "z": {"a": value}}) for name, value in WRONG.items()},
}


@pytest.mark.parametrize("name", ENTRIES)
def test_there_is_exactly_one_entry_and_it_is_well_formed(name: str) -> None:
    """A non-empty array containing exactly one entry whose `tools` is an object whose values are objects."""
    change_is_fatal(
        lambda made: made.root.set(authorization_details=ENTRIES[name]),
        (*STRUCTURE, "capability_missing"),
        base=lambda: story(0),
    )


def test_entries_of_other_types_are_ignored() -> None:
    """MUST ignore entries of other types."""
    other = {"type": "payment_initiation", "tools": {"anything": {}}, "locations": ["https://bank.example"]}
    change_is_harmless(lambda made: made.root.set(authorization_details=[other, *details(TOOLS), other]))


def test_a_link_in_the_middle_without_an_entry_grants_nothing_below() -> None:
    """They represent the empty capability set and can only derive further empty-capability tokens."""
    change_is_fatal(
        lambda made: made.links[1].set(authorization_details=[]), (*STRUCTURE, "capability_missing"),
        base=lambda: story(2),
    )  # fmt: skip


def test_an_unknown_tool_is_missing() -> None:
    """Verify tool is present in leaf_aat.tools."""
    permits(story())
    for tool in ("Read_file", "read_file ", "read_file\u0000", "", "delete_file", "*"):
        made = story()
        made.tool = tool
        made.proof.set(aat_tool=tool)
        denies(made, ("capability_missing", "proof_invalid"))
