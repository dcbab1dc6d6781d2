"""Every claim of a proof, and the presentation it comes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from .forge import AUDIENCE, Pairs, Story, story
from .judge import CHAIN, PROOF, STRUCTURE, change_is_fatal, change_is_harmless, denies, guard, permits
from .test_generated_claims import WRONG

PROOF_REQUIRED: Final = ("jti", "iat", "aat_id", "aat_hash", "aat_tool", "hta")


@pytest.mark.parametrize("name", PROOF_REQUIRED)
def test_a_required_claim_of_a_proof_must_be_there(name: str) -> None:
    """It MUST contain the required claims listed below."""

    def change(made: Story) -> None:
        made.seal()
        made.auto_proof = False
        made.proof.drop(name)

    change_is_fatal(change, PROOF)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (name, wrong)
        for name in (*PROOF_REQUIRED, "aat_aud")
        for wrong in WRONG
        if (name, wrong) != ("jti", "a string")
    ],
)
def test_a_claim_of_a_proof_must_be_of_its_kind(name: str, wrong: str) -> None:
    """Non-empty strings, a NumericDate and a JSON object."""

    def change(made: Story) -> None:
        made.seal()
        made.auto_proof = False
        made.proof.set(**{name: WRONG[wrong]})

    change_is_fatal(change, (*PROOF, "audience_mismatch") if name == "aat_aud" else PROOF)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_nonce_that_was_not_issued_is_refused(wrong: str) -> None:
    """MUST reject a PoP JWT that omits it or carries a value the enforcement point did not issue."""
    made = story()
    made.proof.set(nonce="n-1")
    permits(made, nonce="n-1")
    other = story()
    other.proof.set(nonce=WRONG[wrong])
    denies(other, PROOF, nonce="n-1")
    denies(story(), PROOF, nonce="n-1")


@pytest.mark.parametrize(
    ("asked", "carried"),
    [
        ("1", 1),
        ("True", True),
        ("None", None),
        ("[]", []),
        ("{}", {}),
        ("1.5", 1.5),
        ("n", "N"),
        ("n", "n "),
        ("n", ""),
    ],
)
def test_a_nonce_is_the_very_text_that_was_asked_for(asked: str, carried: Any) -> None:
    """Verify pop_jwt.nonce is present and is a value this enforcement point issued."""
    made = story()
    made.proof.set(nonce=asked)
    permits(made, nonce=asked)
    made.proof.set(nonce=carried)
    denies(made, PROOF, nonce=asked)
    made.proof.drop("nonce")
    denies(made, PROOF, nonce=asked)


@pytest.mark.parametrize(
    "hta",
    [
        {}, {"path": "/data/q4"}, {"path": "/data/q3", "x": 1}, {"path": "/data/q3 "}, {"path": ["/data/q3"]},
        {"Path": "/data/q3"}, {"path": None}, {"path": "/data/q3", "path ": "/data/q3"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_proof_is_for_these_arguments_only(hta: dict[str, Any]) -> None:
    """If the canonical byte sequences differ, DENY."""
    tools: dict[str, Any] = {"read_file": {}}
    change_is_fatal(lambda made: made.proof.set(hta=hta), PROOF, base=lambda: story(tools=tools))


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (1, True),
        (0, False),
        (1, "1"),
        (None, False),
        (0, None),
        ([], {}),
        ([1], 1),
        ("é", "e\u0301"),
        (1, 1.5),
        ("", None),
    ],
)
def test_values_that_python_or_a_reader_confuses_are_different_arguments(value: Any, other: Any) -> None:
    """`hta`, when JCS-canonicalized, equals the JCS-canonical form of the args map."""

    def base() -> Story:
        return story(tools={"read_file": {}}, args={"v": value})

    change_is_fatal(lambda made: made.proof.set(hta={"v": other}), PROOF, base)


def test_the_order_of_arguments_does_not_matter() -> None:
    """Argument map comparison is unambiguous regardless of key order."""

    def base() -> Story:
        return story(tools={"read_file": {}}, args={"a": 1, "b": {"c": [1, 2], "d": None}})

    hta = Pairs([("b", Pairs([("d", None), ("c", [1, 2])])), ("a", 1)])
    change_is_harmless(lambda made: made.proof.set(hta=hta), base)
    change_is_fatal(lambda made: made.proof.set(hta={"a": 1, "b": {"c": [2, 1], "d": None}}), PROOF, base)


def test_a_proof_for_another_tool_is_refused() -> None:
    """Verify pop_jwt.aat_tool equals tool using the exact-string matching rules."""
    tools: dict[str, Any] = {"read_file": {}, "Read_file": {}, "search": {}}
    for tool in ("search", "Read_file", "read_file ", "read%5Ffile"):
        change_is_fatal(_proof(aat_tool=tool), PROOF, base=lambda: story(tools=tools))


def _proof(**claims: Any) -> Callable[[Story], None]:
    return lambda made: made.proof.set(**claims)


def test_a_claim_of_a_proof_nobody_defined_is_ignored() -> None:
    """MUST ignore unrecognized top-level JWT claims."""
    change_is_harmless(_proof(vendor={"x": [1]}, exp=1, aud="someone else", iss="anyone"))


def test_a_proof_may_name_no_audience() -> None:
    """`aat_aud` is OPTIONAL."""
    change_is_harmless(lambda made: made.proof.drop("aat_aud"))
    made = story()
    made.proof.drop("aat_aud")
    denies(made, (*PROOF, "audience_mismatch"), by=guard(require_proof_audience=True))
    permits(story(), by=guard(require_proof_audience=True))


def test_a_chain_without_its_proof_is_refused() -> None:
    """The presenter of a token chain MUST demonstrate control of the private key."""
    made = story()
    sealed = made.seal()
    permits(sealed, made)
    wrongs: list[Any] = [None, "", b"", [], {}, 0, True, [sealed["aat_pop"]]]
    for wrong in wrongs:
        denies({**sealed, "aat_pop": wrong}, (*PROOF, "proof_missing", "token_malformed"), made)
    denies({"aat_chain": sealed["aat_chain"]}, (*PROOF, "proof_missing", "token_malformed"), made)


def test_a_presentation_needs_a_chain() -> None:
    """If chain is empty, DENY."""
    made = story()
    sealed = made.seal()
    permits(sealed, made)
    token = sealed["aat_chain"][0]
    wrongs: list[Any] = [
        None,
        "",
        [],
        {},
        0,
        True,
        [None],
        [[token]],
        [token, None],
        [token.encode()],
        "..",
        (),
        [""],
    ]
    for wrong in wrongs:
        denies({**sealed, "aat_chain": wrong}, (*STRUCTURE, *CHAIN), made)
    denies({"aat_pop": sealed["aat_pop"]}, (*STRUCTURE, *CHAIN), made)


def test_members_of_a_presentation_nobody_defined_are_ignored() -> None:
    """Enforcement points ignore members they do not recognize."""
    made = story()
    permits({**made.seal(), "traceparent": "00-1", "aat_other": [1], "audience": AUDIENCE}, made)
