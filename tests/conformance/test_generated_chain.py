"""How links hang together: order, hashes, signers, sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import permutations
from typing import Any, Final

import pytest

from .forge import (
    ATTACKER,
    HOLDERS,
    NOW,
    ROOT,
    Story,
    b64,
    dumps,
    signing_input_hash,
    story,
    thumbprint_uri,
    unb64,
)
from .judge import CHAIN, HEADER, MALFORMED, STRUCTURE, change_is_fatal, denies, guard, permits

BROKEN: Final = (*STRUCTURE, *HEADER, *CHAIN, "token_issuer_untrusted", "proof_invalid")
TOKEN_LIMIT: Final = 65_536
CHAIN_LIMIT: Final = 262_144


def _chain_is_refused(change: Callable[[list[Any]], list[Any]], depth: int = 2) -> None:
    """The chain is accepted, and after `change` to its tokens refused, the proof still being good for its leaf."""
    made = story(depth)
    sealed = made.seal()
    permits(sealed, made)
    changed = {**sealed, "aat_chain": change(list(sealed["aat_chain"]))}
    denies(changed, BROKEN, made)


@pytest.mark.parametrize("order", [order for order in permutations(range(3)) if order != (0, 1, 2)], ids=repr)
def test_links_in_another_order_are_refused(order: tuple[int, ...]) -> None:
    """A binding MUST preserve the order of the chain."""
    _chain_is_refused(lambda chain: [chain[index] for index in order])


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_chain_with_a_link_missing_is_refused(gone: int) -> None:
    """A presented chain is a single linear path: it cannot skip depths."""
    _chain_is_refused(lambda chain: chain[:gone] + chain[gone + 1 :])


@pytest.mark.parametrize("twice", [0, 1, 2])
def test_a_chain_with_a_link_twice_is_refused(twice: int) -> None:
    """Or contain the same token instance more than once."""
    _chain_is_refused(lambda chain: chain[: twice + 1] + chain[twice:])
    _chain_is_refused(lambda chain: [*chain, chain[twice]])
    _chain_is_refused(lambda chain: [chain[twice], *chain])


def test_a_chain_that_goes_round_is_refused() -> None:
    """Token-instance cycle detection."""
    _chain_is_refused(lambda chain: [*chain, *chain])
    _chain_is_refused(lambda chain: [*chain, chain[0], chain[1], chain[2]])


def test_a_leaf_alone_is_not_a_chain() -> None:
    """A token MUST NOT be accepted except as the leaf of a successfully verified chain."""
    _chain_is_refused(lambda chain: chain[-1:])


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_token_of_another_chain_is_refused(index: int) -> None:
    """The `par_hash` claim commits the child to exactly one parent token's signing input."""
    other = story(2)
    for link in other.links:
        link.set(jti=link.claims["jti"].replace("7000", "7001"))
    permits(other)
    stranger = other.tokens()[index]
    _chain_is_refused(lambda chain: [*chain[:index], stranger, *chain[index + 1 :]])


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: signing_input_hash(token) + "=",
        lambda token: signing_input_hash(token)[:-1],
        lambda token: signing_input_hash(token) + "A",
        lambda token: hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest(),
        lambda token: b64(hashlib.sha256(token.encode()).digest()),
        lambda token: b64(hashlib.sha256(token.split(".")[1].encode()).digest()),
        lambda token: b64(hashlib.sha256(unb64(token.split(".")[1])).digest()),
        lambda token: b64(hashlib.sha512(token.rpartition(".")[0].encode()).digest()),
        lambda token: b64(hashlib.sha256(token.rpartition(".")[0].encode()).digest()[:16]),
        lambda token: signing_input_hash(token).swapcase(),
        lambda token: " " + signing_input_hash(token),
        lambda token: [signing_input_hash(token)],
        lambda _: b64(bytes(32)),
        lambda _: "",
    ],
    ids=["padded", "short", "long", "hex", "with signature", "payload only", "claims only", "sha512", "half", "case",
         "space", "list", "zeros", "empty"],
)  # fmt: skip
def test_par_hash_is_exactly_the_parents_digest(forge: Callable[[str], Any]) -> None:
    """derived.par_hash == base64url-nopad(SHA-256(parent token signing input))."""

    def change(made: Story) -> None:
        parent = made.tokens()[0]
        made.auto_hash.clear()
        made.leaf.set(par_hash=forge(parent))

    change_is_fatal(change, STRUCTURE)


def test_a_parent_with_another_signature_is_the_same_parent() -> None:
    """The parent token signing input is hashed, not its signature: a re-signed parent is a parent (control)."""
    made = story(1)
    tokens = made.tokens()
    assert made.tokens() == tokens
    assert signing_input_hash(tokens[0]) == made.leaf.claims["par_hash"]


def test_the_same_child_under_a_wider_parent_of_the_same_holder_is_refused() -> None:
    """Grant-context substitution: pairing a child with a different parent held by the same key."""
    narrow = story(1)
    narrow.root.set(aud="https://tools.acme.example")
    sealed = narrow.seal()
    wide = story(1)
    wide.root.set(jti="wide")
    permits(sealed, narrow)
    permits(wide)
    denies({**sealed, "aat_chain": [wide.tokens()[0], sealed["aat_chain"][1]]}, CHAIN, narrow)


@pytest.mark.parametrize("index", [1, 2])
@pytest.mark.parametrize("who", ["attacker", "root", "itself", "grandparent", "sibling"])
def test_a_child_signed_by_anyone_but_the_holder_of_its_parent_is_refused(index: int, who: str) -> None:
    """Verify child signature under the key in parent.cnf.jwk."""
    key = {
        "attacker": ATTACKER,
        "root": ROOT,
        "itself": HOLDERS[index],
        "grandparent": ROOT if index == 1 else HOLDERS[0],
        "sibling": HOLDERS[9],
    }[who]
    for issuer in (None, thumbprint_uri(key.jwk)):

        def change(made: Story, issuer: str | None = issuer) -> None:
            made.links[index].sign = key.sign
            if issuer:
                made.links[index].set(iss=issuer)

        change_is_fatal(change, (*HEADER, *STRUCTURE), base=lambda: story(2))


def test_a_root_signed_by_a_holder_is_refused() -> None:
    """A root token is signed by the private key corresponding to a trust anchor."""

    def change(made: Story) -> None:
        made.root.sign = ATTACKER.sign

    change_is_fatal(change, ("token_issuer_untrusted", "token_signature_invalid"))


def test_a_child_is_no_root_even_when_signed_by_the_anchor() -> None:
    """`del_depth` 0 and no `par_hash` make a root, and a thumbprint is no anchor."""
    made = story(1)
    permits(made)
    made.links[1].sign = ROOT.sign
    lone = Story([made.links[1]], made.proof, made.tool, made.args)
    denies(lone, BROKEN)


def test_the_holder_of_a_parent_cannot_present_the_childs_chain() -> None:
    """An invocation is authorized only when the presenter is the holder of the leaf token."""
    made = story(1)
    permits(made)
    made.proof.sign = HOLDERS[0].sign
    denies(made, ("proof_invalid",))


def test_a_prefix_of_a_chain_is_a_chain_of_its_own() -> None:
    """Prefix presentation of a valid chain, proved by the holder of its last token, is accepted."""
    made = story(1)
    prefix = Story(made.links[:1], made.proof, made.tool, made.args)
    prefix.proof.sign = HOLDERS[0].sign
    permits(prefix)


def test_one_key_may_hold_several_links() -> None:
    """The same holder key or actor may still appear more than once, through distinct tokens."""
    made = story(1)
    made.leaf.set(cnf={"jwk": HOLDERS[0].jwk})
    made.proof.sign = HOLDERS[0].sign
    permits(made)


def _sized(made: Story, index: int, size: int) -> None:
    """Pad link `index` with a claim that nobody knows until the compact token has exactly `size` bytes."""
    link = made.links[index]
    for filler in range(4):
        link.header = {"alg": "Ed25519", "typ": "aat+jwt", "x": "x" * filler}
        link.claims["pad"] = ""
        rest = size - len(b64(dumps(link.header))) - len(b64(bytes(64))) - 2
        octets = rest * 3 // 4
        if len(b64(bytes(octets))) != rest:
            continue
        link.claims["pad"] = "p" * (octets - len(dumps(link.claims)))
        assert len(link.seal()) == size
        return
    pytest.fail(f"no token of {size} bytes can be made")


@pytest.mark.parametrize("index", [0, 1], ids=["root", "leaf"])
def test_a_token_may_have_64_kib_and_no_more(index: int) -> None:
    """Sizes over 64 KiB a token are refused."""

    def sized(size: int) -> Story:
        made = story(1)
        if index:
            made.tokens()
        _sized(made, index, size)
        return made

    permits(sized(TOKEN_LIMIT))
    denies(sized(TOKEN_LIMIT + 1), MALFORMED)
    denies(sized(TOKEN_LIMIT * 2), MALFORMED)


def test_a_chain_may_have_256_kib_and_no_more() -> None:
    """Sizes over 256 KiB a chain are refused."""

    def sized(last: int) -> Story:
        made = story(4)
        for index in range(4):
            made.tokens()
            _sized(made, index, (CHAIN_LIMIT - 3_000) // 4)
        made.tokens()
        rest = sum(len(token) for token in made.tokens()[:4])
        _sized(made, 4, last - rest)
        assert sum(len(token) for token in made.tokens()) == last
        return made

    permits(sized(CHAIN_LIMIT))
    denies(sized(CHAIN_LIMIT + 1), MALFORMED)


def test_a_very_long_list_of_tokens_is_refused() -> None:
    """The total encoded size and the depth of a chain are finite."""
    made = story(1)
    sealed = made.seal()
    permits(sealed, made)
    token = sealed["aat_chain"][1]
    denies({**sealed, "aat_chain": [sealed["aat_chain"][0]] + [token] * 10_000}, (*STRUCTURE, *CHAIN), made)
    denies({**sealed, "aat_chain": [""] * 100_000}, (*STRUCTURE, *CHAIN), made)


def test_a_verified_parent_says_nothing_about_a_forged_child() -> None:
    """Cached by the digest of the exact chain bytes: a verified chain stays verified, nothing else about it does."""
    judge = guard()
    permits(story(1), by=judge)
    forged = story(1)
    forged.leaf.set(jti="forged")
    forged.leaf.sign = ATTACKER.sign
    forged.proof.set(jti="p2")
    denies(forged, ("token_signature_invalid",), by=judge)
    later = story(1)
    later.proof.set(jti="p3", iat=NOW)
    permits(later, by=judge)
