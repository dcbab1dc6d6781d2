"""Protected headers: what they may say, and what they may not decide."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from .forge import ATTACKER, HOLDERS, ROOT, Key, Pairs, Part, Raw, Signer, Story, b64, story
from .judge import (
    CODES,
    HEADER,
    PROOF,
    SIGNATURE,
    change_is_fatal,
    change_is_harmless,
)

ES256: Final = ec.generate_private_key(ec.SECP256R1())
RS256: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _es256(message: bytes) -> bytes:
    r, s = decode_dss_signature(ES256.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _rs256(message: bytes) -> bytes:
    return RS256.sign(message, padding.PKCS1v15(), hashes.SHA256())


def _hmac_with(secret: bytes) -> Signer:
    return lambda message: hmac.new(secret, message, hashlib.sha256).digest()


def _nothing(_: bytes) -> bytes:
    return b""


PARTS: Final[dict[str, Callable[[Story], Part]]] = {
    "root": lambda made: made.links[0],
    "child": lambda made: made.links[1],
    "proof": lambda made: made.proof,
}
SIGNERS: Final[dict[str, Key]] = {"root": ROOT, "child": HOLDERS[0], "proof": HOLDERS[1]}


def _codes(part: str, *, links: tuple[str, ...] = HEADER) -> tuple[str, ...]:
    return PROOF if part == "proof" else links


def _set_header(part: str, **members: Any) -> Callable[[Story], None]:
    def change(made: Story) -> None:
        PARTS[part](made).header.update(members)

    return change


def _replace_header(part: str, header: Any) -> Callable[[Story], None]:
    def change(made: Story) -> None:
        PARTS[part](made).header = header

    return change


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "alg",
    [
        "none", "None", "NONE", "nOnE", "", "EdDSA", "ed25519", "ED25519", "Ed25519 ", " Ed25519", "Ed448", "HS256",
        "HS384", "HS512", "ES256", "ES256K", "RS256", "PS256", "Ed25519\u0000", "\u0415d25519", None, True, 1,
        ["Ed25519"], ["none", "Ed25519"], {"alg": "Ed25519"},
    ],
    ids=repr,
)  # fmt: skip
def test_any_other_alg_is_refused_even_over_a_good_signature(part: str, alg: Any) -> None:
    """`alg` exactly `Ed25519`: if alg is "none", not on the allowlist or inconsistent with the key type, DENY."""
    change_is_fatal(_set_header(part, alg=alg), _codes(part))


@pytest.mark.parametrize("part", PARTS)
def test_no_alg_is_refused(part: str) -> None:
    """Implementations MUST NOT treat the absence of an `alg` header as equivalent to any permitted algorithm."""
    change_is_fatal(lambda made: PARTS[part](made).header.pop("alg"), _codes(part))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("alg", ["none", "HS256-raw", "HS256-x", "HS256-jwk", "ES256", "RS256"])
def test_other_algorithms_signed_in_their_own_way_are_refused(part: str, alg: str) -> None:
    """Implementations are subject to the full class of JWT algorithm confusion attacks."""
    key = SIGNERS[part]
    signers: dict[str, Signer] = {
        "none": _nothing,
        "HS256-raw": _hmac_with(key.public),
        "HS256-x": _hmac_with(b64(key.public).encode()),
        "HS256-jwk": _hmac_with(json.dumps(key.jwk).encode()),
        "ES256": _es256,
        "RS256": _rs256,
    }

    def change(made: Story) -> None:
        PARTS[part](made).header["alg"] = alg.partition("-")[0]
        PARTS[part](made).sign = signers[alg]

    change_is_fatal(change, _codes(part))


@pytest.mark.parametrize("part", PARTS)
def test_an_empty_signature_under_the_right_alg_is_refused(part: str) -> None:
    """Verify the signature against the public key."""

    def change(made: Story) -> None:
        PARTS[part](made).sign = _nothing

    change_is_fatal(change, _codes(part))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "typ",
    [
        "JWT", "jwt", "AAT+JWT", "Aat+jwt", "aat+JWT", "application/aat+jwt", "aat+jwt ", "aat", "at+jwt", "",
        "aat-pop+JWT", "application/aat-pop+jwt", "aat_pop+jwt", None, True, 0, ["aat+jwt"], {"aat+jwt": 1},
    ],
    ids=repr,
)  # fmt: skip
def test_any_other_typ_is_refused(part: str, typ: Any) -> None:
    """Enforcement points MUST reject an AAT whose `typ` is absent or is not `aat+jwt`."""
    change_is_fatal(_set_header(part, typ=typ), _codes(part))


@pytest.mark.parametrize("part", PARTS)
def test_no_typ_is_refused(part: str) -> None:
    """Wrong or missing `typ` is refused."""
    change_is_fatal(lambda made: PARTS[part](made).header.pop("typ"), _codes(part))


@pytest.mark.parametrize("part", PARTS)
def test_a_token_is_no_proof_and_a_proof_no_token(part: str) -> None:
    """It prevents an AAT from being accepted where a PoP JWT is required, and vice versa."""
    other = "aat+jwt" if part == "proof" else "aat-pop+jwt"
    change_is_fatal(_set_header(part, typ=other), _codes(part))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "crit",
    [
        [], None, True, 0, "remit", "", {}, {"remit": True}, ["unknown"], ["alg"], ["typ"], ["alg", "typ"], ["crit"],
        ["b64"], ["exp"], [""], [None], [1], [["remit"]], ["remit", "unknown"], ["Remit"], ["jwk"],
    ],
    ids=repr,
)  # fmt: skip
def test_a_bad_or_unknown_crit_is_refused(part: str, crit: Any) -> None:
    """If a crit header lists a parameter this enforcement point does not understand, DENY."""
    named = [name for name in crit if isinstance(name, str)] if isinstance(crit, list) else []
    members: dict[str, Any] = {
        name: [] for name in named if name not in {"alg", "typ", "crit", "remit", "b64"}
    }
    change_is_fatal(_set_header(part, crit=crit, **members), _codes(part))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("crit", "listed"),
    [
        (["remit"], []),
        (["remit"], None),
        (["remit"], True),
        (["remit"], "sid"),
        (["remit"], {"sid": True}),
        (["remit"], [None]),
        (["remit"], [1]),
        (["remit"], [""]),
        (["remit"], ["no-such-feature"]),
        (["remit"], ["SID"]),
        (["remit", "remit"], ["no-such-feature"]),
        (["remit", "alg"], ["no-such-feature"]),
    ],
)
def test_the_remit_parameter_must_name_features_that_are_known(part: str, crit: Any, listed: Any) -> None:
    """So that a verifier that does not know Remit refuses it instead of ignoring the restriction."""
    change_is_fatal(_set_header(part, crit=crit, remit=listed), _codes(part))


@pytest.mark.parametrize("part", PARTS)
def test_crit_that_lists_remit_without_the_parameter_is_refused(part: str) -> None:
    """Producers MUST NOT list names that do not occur as Header Parameter names (RFC 7515, Section 4.1.11)."""
    change_is_fatal(_set_header(part, crit=["remit"]), _codes(part))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("b64_member", [False, True])
def test_crit_b64_is_refused(part: str, b64_member: bool) -> None:  # a table of two
    """An enforcement point that does not understand every parameter listed in `crit` MUST reject the token."""
    change_is_fatal(_set_header(part, crit=["b64"], b64=b64_member), _codes(part))


KEY_PARAMETERS: Final[dict[str, Any]] = {
    "jwk": ATTACKER.jwk,
    "jku": "https://keys.example/jwks.json",
    "x5u": "https://keys.example/chain.pem",
    "x5c": ["MIIB"],
    "x5t": "AAAA",
    "kid": "whatever",
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", KEY_PARAMETERS)
def test_a_key_in_the_header_is_ignored(part: str, name: str) -> None:
    """A token carrying one is verified as if it were absent."""
    change_is_harmless(_set_header(part, **{name: KEY_PARAMETERS[name]}))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", KEY_PARAMETERS)
def test_a_key_in_the_header_verifies_nothing(part: str, name: str) -> None:
    """Enforcement points MUST NOT use a key supplied by a header parameter such as `jwk`, `jku`, `x5c`, or `x5u`."""

    def change(made: Story) -> None:
        PARTS[part](made).header[name] = KEY_PARAMETERS[name]
        PARTS[part](made).sign = ATTACKER.sign

    change_is_fatal(change, _codes(part, links=(*SIGNATURE, "token_issuer_untrusted")))


@pytest.mark.parametrize("part", PARTS)
def test_an_unknown_parameter_without_crit_is_ignored(part: str) -> None:
    """Enforcement points MUST ignore other header parameters they do not recognize."""
    change_is_harmless(_set_header(part, cty="JWT", vendor={"a": [1, 2]}, note=None))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "members",
    [
        [("alg", "Ed25519"), ("alg", "Ed25519")],
        [("alg", "none"), ("alg", "Ed25519")],
        [("alg", "Ed25519"), ("alg", "none")],
        [("alg", "Ed25519"), ("typ", "JWT")],
        [("alg", "Ed25519"), ("x", {}), ("x", {})],
        [("alg", "Ed25519"), ("x", Pairs([("y", 1), ("y", 1)]))],
        [("alg", "Ed25519"), ("x", [Pairs([("y", 1), ("y", 2)])])],
    ],
    ids=["same", "none first", "none last", "typ", "unknown", "nested", "in a list"],
)
def test_a_member_named_twice_is_refused(part: str, members: list[tuple[str, Any]]) -> None:
    """Duplicate member names are refused, because parsers differ in which duplicate they keep."""
    typ = "aat-pop+jwt" if part == "proof" else "aat+jwt"
    change_is_fatal(_replace_header(part, Pairs([*members, ("typ", typ)])), _codes(part))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"null", b"[]", b'["alg"]', b'"alg"', b"1", b"true", b"{", b"{}", b"{}{}", b"not json",
        b'{"alg":"Ed25519","typ":"TYP",}', b'{"alg":"Ed25519","typ":"TYP"} x', b"{'alg':'Ed25519','typ':'TYP'}",
        b'{"alg":"Ed25519","typ":"TYP","n":NaN}', b'{"alg":"Ed25519","typ":"TYP","n":-Infinity}',
        b'{"alg":"Ed25519","typ":"TYP","n":"\\ud800"}', b'{"alg":"Ed25519","typ":"TYP","n":"\xff"}',
        b'{"alg":"Ed25519","typ":"TYP","n":"a\nb"}', b'\xef\xbb\xbf{"alg":"Ed25519","typ":"TYP"}',
    ],
    ids=repr,
)  # fmt: skip
def test_a_header_that_is_not_one_strict_json_object_is_refused(part: str, wrong: bytes) -> None:
    """Strictness no JOSE library gives: NaN/Infinity, lone surrogates, duplicate names are all refused."""
    typ = b"aat-pop+jwt" if part == "proof" else b"aat+jwt"
    change_is_fatal(_replace_header(part, wrong.replace(b"TYP", typ)), _codes(part))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_header_in_another_encoding_is_refused(part: str, encoding: str) -> None:
    """Encoded as UTF-8, and nothing guesses: a second reading of the same bytes is a second meaning."""
    typ = "aat-pop+jwt" if part == "proof" else "aat+jwt"
    text = f'{{"alg":"Ed25519","typ":"{typ}"}}'
    change_is_fatal(_replace_header(part, text.encode(encoding)), _codes(part))


@pytest.mark.parametrize("part", PARTS)
def test_a_header_that_is_not_canonical_json_is_still_a_header(part: str) -> None:
    """Verify the signature exactly as presented; MUST NOT re-serialize or canonicalize."""
    typ = "aat-pop+jwt" if part == "proof" else "aat+jwt"
    spaced = f' {{ "typ" : "{typ}" ,\n\t"alg":"Ed\\u00325519" }} '
    change_is_harmless(_replace_header(part, Raw(spaced)))


def test_every_part_is_a_part_of_the_story() -> None:
    """The three parts these tests change are the three a presentation of two links has."""
    made = story()
    assert [select(made) for select in PARTS.values()] == [*made.links, made.proof]
    assert CODES.issuperset({*HEADER, *PROOF, *SIGNATURE})
