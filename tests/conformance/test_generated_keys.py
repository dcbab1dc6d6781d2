"""Public keys: only one encoding of a key, and no key that verifies what nobody signed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import remit

from .curve import IDENTITY, P, encode, negative_zero, over_the_modulus, torsion
from .forge import ATTACKER, AUDIENCE, HOLDERS, ISSUER, ROOT, Signer, Story, b64, story, thumbprint_uri
from .judge import PROOF, STRUCTURE, change_is_fatal, change_is_harmless, denies, guard, permits

TORSION: Final = torsion()
BAD_KEYS: Final = [*TORSION, *negative_zero(), *over_the_modulus()]
REFUSED: Final = (*STRUCTURE, "token_signature_invalid")
FORGED: Final = encode(IDENTITY) + bytes(32)
"""R is the identity and S is 0: good under a small-order key whenever the hash is a multiple of its order."""


def _jwk(public: bytes) -> dict[str, Any]:
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(public)}


def _verifies(public: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(FORGED, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_the_torsion_points_are_the_eight_known_ones() -> None:
    """Small-order public keys: the identity, the point of order two, two of order four, four of order eight."""
    assert [point.hex() for point in TORSION] == sorted(
        [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        ]
    )
    assert len(set(BAD_KEYS)) == 8 + 2 + 38


@pytest.mark.parametrize("public", TORSION, ids=bytes.hex)
def test_the_library_accepts_what_nobody_signed(public: bytes) -> None:
    """`cryptography` accepts small-order public keys: this is the danger, shown."""
    assert any(_verifies(public, b"anything %d" % number) for number in range(200))


@pytest.mark.parametrize("public", BAD_KEYS, ids=bytes.hex)
def test_a_bad_key_is_no_trust_anchor(public: bytes) -> None:
    """Every key is checked against the small-order list and for canonical encoding on import."""
    assert remit.TrustAnchor(ISSUER, ROOT.jwk)
    with pytest.raises(remit.RemitError):
        remit.TrustAnchor(ISSUER, _jwk(public))


@pytest.mark.parametrize("public", BAD_KEYS, ids=bytes.hex)
def test_a_bad_key_is_no_holder_at_issue(public: bytes) -> None:
    """Every key is checked against the small-order list and for canonical encoding on import."""
    issuer = remit.Issuer.generate(ISSUER)
    assert issuer.issue(agent="a", capabilities=["t"], holder=HOLDERS[0].jwk).agent == "a"
    with pytest.raises(remit.RemitError):
        issuer.issue(agent="a", capabilities=["t"], holder=_jwk(public))


def _forge_under(public: bytes, made: Story) -> None:
    """The last link names `public`; the proof is 'signed' by nobody, ground until the signature verifies."""
    made.leaf.set(cnf={"jwk": _jwk(public)})
    made.proof.sign = lambda _: FORGED
    seen: list[bytes] = []

    def spy(message: bytes) -> bytes:
        seen.append(message)
        return FORGED

    for number in count():
        made.proof.set(jti=f"ground-{number}")
        made.proof.sign = spy
        made.seal()
        if _verifies(public, seen[-1]) or number > 100:
            return


@pytest.mark.parametrize("public", BAD_KEYS, ids=bytes.hex)
def test_a_bad_key_holds_no_leaf(public: bytes) -> None:
    """The identity point verifies *any* message, so that a proof under it proves nothing."""
    change_is_fatal(lambda made: _forge_under(public, made), (*REFUSED, *PROOF))


@pytest.mark.parametrize("public", [*TORSION, *negative_zero()], ids=bytes.hex)
def test_a_bad_key_signs_no_child(public: bytes) -> None:
    """A child signed by nobody under a small-order holder key is refused, however well it fits."""
    made = story(1)
    permits(made)
    made.root.set(cnf={"jwk": _jwk(public)})
    made.leaf.set(iss=thumbprint_uri(_jwk(public)))
    seen: list[bytes] = []

    def spy(message: bytes) -> bytes:
        seen.append(message)
        return FORGED

    made.leaf.sign = spy
    for number in range(100):
        made.leaf.set(jti=f"ground-{number}")
        made.seal()
        if _verifies(public, seen[-1]):
            break
    denies(made, REFUSED)


JWK_CHANGES: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "private key": lambda jwk: {**jwk, "d": b64(bytes(32))},
    "private key of its own": lambda jwk: {**jwk, "d": b64(bytes([2]) * 32)},
    "private key null": lambda jwk: {**jwk, "d": None},
    "private key empty": lambda jwk: {**jwk, "d": ""},
    "no kty": lambda jwk: {name: value for name, value in jwk.items() if name != "kty"},
    "no crv": lambda jwk: {name: value for name, value in jwk.items() if name != "crv"},
    "no x": lambda jwk: {name: value for name, value in jwk.items() if name != "x"},
    "kty EC": lambda jwk: {**jwk, "kty": "EC"},
    "kty RSA": lambda jwk: {**jwk, "kty": "RSA"},
    "kty oct": lambda jwk: {"kty": "oct", "k": jwk["x"]},
    "kty lower case": lambda jwk: {**jwk, "kty": "okp"},
    "kty null": lambda jwk: {**jwk, "kty": None},
    "kty list": lambda jwk: {**jwk, "kty": ["OKP"]},
    "crv X25519": lambda jwk: {**jwk, "crv": "X25519"},
    "crv Ed448": lambda jwk: {**jwk, "crv": "Ed448"},
    "crv lower case": lambda jwk: {**jwk, "crv": "ed25519"},
    "crv P-256": lambda jwk: {**jwk, "crv": "P-256"},
    "x number": lambda jwk: {**jwk, "x": 1},
    "x null": lambda jwk: {**jwk, "x": None},
    "x empty": lambda jwk: {**jwk, "x": ""},
    "x list": lambda jwk: {**jwk, "x": [jwk["x"]]},
    "x padded": lambda jwk: {**jwk, "x": jwk["x"] + "="},
    "x with white space": lambda jwk: {**jwk, "x": jwk["x"] + "\n"},
    "x in hexadecimal": lambda jwk: {**jwk, "x": bytes(32).hex()},
    "x short": lambda jwk: {**jwk, "x": b64(bytes([7]) * 31)},
    "x long": lambda jwk: {**jwk, "x": b64(bytes([7]) * 33)},
    "x with loose bits": lambda jwk: {**jwk, "x": jwk["x"][:-1] + chr(ord(jwk["x"][-1]) + 1)},
    "a string": lambda jwk: jwk["x"],
    "a list": lambda jwk: [jwk],
    "null": lambda _: None,
    "empty": lambda _: {},
    "a key set": lambda jwk: {"keys": [jwk]},
}


@pytest.mark.parametrize("index", [0, 1], ids=["root", "leaf"])
@pytest.mark.parametrize("name", JWK_CHANGES)
def test_cnf_holds_one_public_ed25519_key(index: int, name: str) -> None:
    """The `jwk` value MUST be a public key; private key material MUST NOT appear in this field."""

    def change(made: Story) -> None:
        made.links[index].set(cnf={"jwk": JWK_CHANGES[name](HOLDERS[index].jwk)})

    change_is_fatal(change, (*REFUSED, *PROOF))


@pytest.mark.parametrize("name", JWK_CHANGES)
def test_an_anchor_and_a_holder_are_one_public_ed25519_key(name: str) -> None:
    """The root issuer MUST validate that the submitted key is well-formed and is a public key."""
    wrong = JWK_CHANGES[name](HOLDERS[0].jwk)
    with pytest.raises(remit.RemitError):
        remit.TrustAnchor(ISSUER, wrong)
    if wrong is not None:  # None asks the issuer for a fresh key
        with pytest.raises(remit.RemitError):
            remit.Issuer.generate(ISSUER).issue(agent="a", capabilities=["t"], holder=wrong)


@pytest.mark.parametrize(
    "members", [{"kid": "k1"}, {"alg": "Ed25519"}, {"use": "sig"}, {"kid": "a", "note": [1]}]
)
@pytest.mark.parametrize("index", [0, 1], ids=["root", "leaf"])
def test_other_public_members_of_a_key_change_nothing(index: int, members: dict[str, Any]) -> None:
    """The thumbprint covers the required members, and members that are not understood are ignored (RFC 7517)."""
    change_is_harmless(lambda made: made.links[index].set(cnf={"jwk": {**HOLDERS[index].jwk, **members}}))


@pytest.mark.parametrize(
    "wrong", [None, True, 1, "x", [], {}, {"kid": "k"}, {"jkt": "x"}, {"JWK": HOLDERS[0].jwk}]
)
def test_cnf_without_a_jwk_is_refused(wrong: Any) -> None:
    """MUST contain `jwk` with the holder's public key."""
    change_is_fatal(lambda made: made.root.set(cnf=wrong), STRUCTURE)


def test_a_proof_by_any_other_key_is_refused() -> None:
    """The enforcement point verifies the PoP JWT signature against the leaf token's `cnf.jwk`."""
    for key in (ATTACKER, HOLDERS[0], ROOT, HOLDERS[2]):
        change_is_fatal(_signed_by(key.sign), PROOF)


def _signed_by(sign: Signer) -> Callable[[Story], None]:
    def change(made: Story) -> None:
        made.proof.sign = sign

    return change


def test_a_signature_with_another_representative_of_s_is_refused() -> None:
    """S + L is the same number modulo the order and would make every signature malleable."""
    order = 2**252 + 27742317777372353535851937790883648493

    def inflated(sign: Signer) -> Signer:
        def with_order_added(message: bytes) -> bytes:
            signature = sign(message)
            return signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")

        return with_order_added

    def change_leaf(made: Story) -> None:
        made.leaf.sign = inflated(made.leaf.sign)

    def change_proof(made: Story) -> None:
        made.proof.sign = inflated(made.proof.sign)

    change_is_fatal(change_leaf, ("token_signature_invalid", "token_malformed"))
    change_is_fatal(change_proof, PROOF)


def test_no_anchors_trust_nobody() -> None:
    """Empty never means everything: an empty list of anchors either is refused when built or denies."""
    permits(story())
    try:
        empty = guard(trust=[])
    except remit.ConfigError:
        return
    denies(story(), ("token_issuer_untrusted",), by=empty)


def test_an_anchor_this_guard_does_not_have_is_not_trusted() -> None:
    """Verify the root token signature against the public key of a trust anchor."""
    stranger = remit.TrustAnchor(ISSUER, ATTACKER.jwk)
    for trust in ([stranger], [remit.TrustAnchor("https://other.example", ROOT.jwk)]):
        denies(story(), ("token_issuer_untrusted", "token_signature_invalid"), by=guard(trust=trust))
    both = [stranger, remit.TrustAnchor(ISSUER, ROOT.jwk)]
    permits(story(), by=guard(trust=both, audience=AUDIENCE))
    permits(story(), by=guard(trust=both[::-1], audience=AUDIENCE))


def test_one_key_may_be_trusted_under_two_names() -> None:
    """`root.iss` equals the issuer of *the* anchor whose key verified the signature; two anchors may share a key."""
    both = [remit.TrustAnchor("https://other.example", ROOT.jwk), remit.TrustAnchor(ISSUER, ROOT.jwk)]
    permits(story(), by=guard(trust=both))
    permits(story(), by=guard(trust=both[::-1]))
    third = story()
    third.root.set(iss="https://third.example")
    denies(third, ("token_issuer_untrusted",), by=guard(trust=both))


def test_p_is_the_prime_of_the_curve() -> None:
    """The bounds these tests count from."""
    assert pow(2, P - 1, P) == 1
