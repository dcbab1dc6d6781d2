"""Tokens and canonical JSON: what goes out comes back, and nothing else does."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any, Final

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import remit
from remit.encoding import canonicalize

from .narrower import maps
from .test_capabilities import GUARD, ISSUER, NOW, capability

SETTINGS: Final = settings(
    deadline=None, database=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
SAFE: Final = 2**53 - 1
WHOLE: Final = st.integers(-SAFE, SAFE)
DOUBLES: Final = st.floats(allow_nan=False, allow_infinity=False)
BITS: Final = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack(">d", struct.pack(">Q", bits))[0])
FINITE: Final = BITS.filter(lambda value: value == value and abs(value) != float("inf"))  # noqa: PLR0124  # NaN differs
TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), WHOLE, DOUBLES, FINITE, TEXT),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(SETTINGS, max_examples=600)
@given(JSON)
def test_canonical_json_is_what_another_library_writes(value: Any) -> None:
    """Compared by their JCS serializations (RFC 8785)."""
    assert canonicalize(value) == rfc8785.dumps(value)


@settings(SETTINGS, max_examples=600)
@given(st.one_of(FINITE, DOUBLES))
def test_a_double_is_written_as_ecmascript_writes_it(value: float) -> None:
    """JCS serializes a number through its IEEE 754 double-precision value (RFC 8785, Section 3.2.2.3)."""
    text = canonicalize(value)
    assert text == rfc8785.dumps(value)
    assert float(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1"), (1e20, "100000000000000000000"), (1e21, "1e+21"), (1e-6, "0.000001"),
        (1e-7, "1e-7"), (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"),
        (333333333.33333329, "333333333.3333333"), (9007199254740994, "9007199254740994"),
        ("\u20ac$\u000f\nA'B\"\\\"/", '"\u20ac$\\u000f\\nA\'B\\"\\\\\\"/"'), ("\x7f", '"\x7f"'), ("\u2028", '"\u2028"'),
    ],
)  # fmt: skip
def test_known_texts(value: Any, text: str) -> None:
    """Examples of RFC 8785, Sections 3.2.2 and Appendix B."""
    assert canonicalize(value) == text.encode()


def test_names_are_sorted_by_utf_16() -> None:
    """Property name strings are sorted as arrays of UTF-16 code units (RFC 8785, Section 3.2.3)."""
    value: Any = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert canonicalize(value) == rfc8785.dumps(value)
    assert list(json.loads(canonicalize(value))) == [
        "\r",
        "1",
        "\u0080",
        "\u00f6",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]


@SETTINGS
@given(JSON)
def test_canonical_json_is_a_fixed_point(value: Any) -> None:
    """Whole-payload JCS canonicalization ensures a deterministic byte representation."""
    once = canonicalize(value)
    assert canonicalize(json.loads(once)) == once


def _grant(token: str) -> Any:
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["authorization_details"]


@SETTINGS
@given(maps())
def test_capabilities_come_back_from_a_token_as_they_went_in(
    pair: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """Fields equal the request."""
    asked = capability(pair[0])
    issued = ISSUER.issue(agent="a", capabilities=[asked, "u"])
    delivered = remit.Credential.from_token(issued.chain)
    assert sorted(item.name for item in delivered.capabilities) == ["t", "u"]
    assert list(delivered.capabilities) == list(issued.capabilities)
    assert [item for item in delivered.capabilities if item.name == "t"] == [asked]
    again = ISSUER.issue(agent="a", capabilities=delivered.capabilities)
    assert _grant(again.token) == _grant(issued.token)
    assert GUARD.validate(issued.chain).token_id == issued.token_id == delivered.token_id


NAMES: Final = TEXT.map(lambda text: "n" + "".join(filter(str.isprintable, text)).replace("*", "-") + "n")


@SETTINGS
@given(st.tuples(NAMES, NAMES, NAMES, NAMES), st.integers(1, 604_800), st.integers(0, 8))
def test_what_was_asked_for_is_in_the_token(names: tuple[str, str, str, str], ttl: int, depth: int) -> None:
    """R1: bound to agent, capabilities, secret names, ttl, optional session."""
    agent, name, session, task = names
    issued = ISSUER.issue(
        agent=agent, capabilities=[name], session=session, task=task, ttl=ttl, max_depth=depth
    )
    for credential in (issued, remit.Credential.from_token(issued.chain)):
        assert credential.agent == agent
        assert [item.name for item in credential.capabilities] == [name]
        assert int(credential.expires_at.timestamp()) == NOW + ttl
        assert credential.token_id == issued.token_id
    permit = GUARD.check(issued, name, {}, agent=agent, session=session, task=task)
    assert (permit.agent, permit.capability) == (agent, name)


@pytest.mark.parametrize("links", [1, 2, 4])
def test_a_flipped_byte_is_denied(links: int) -> None:
    """Flip every byte."""
    credential = ISSUER.issue(agent="a", capabilities=["t"], max_depth=8)
    for left in range(links - 2, -1, -1):
        credential = credential.delegate(agent="b", capabilities=["t"], max_depth=left)
    presentation = credential.present("t", {"x": 1})
    parts = [*credential.chain, _proof(presentation)]
    assert _verify(parts).capability == "t"

    @SETTINGS
    @given(st.data())
    def try_one(data: st.DataObject) -> None:
        which = data.draw(st.integers(0, len(parts) - 1))
        position = data.draw(st.integers(0, len(parts[which]) - 1))
        letter = data.draw(
            st.characters(max_codepoint=0x7F).filter(lambda found: found != parts[which][position])
        )
        changed = parts[which][:position] + letter + parts[which][position + 1 :]
        with pytest.raises(remit.Denied):
            _verify([*parts[:which], changed, *parts[which + 1 :]])

    try_one()


def _proof(presentation: Any) -> str:
    """The proof of a presentation, whichever of its two forms it has."""
    made = presentation if isinstance(presentation, dict) else presentation.to_dict()
    proof = made["aat_pop"]
    assert isinstance(proof, str)
    return proof


def _verify(parts: list[str]) -> remit.Permit:
    guard = remit.Guard(trust=[ISSUER.anchor], clock=lambda: NOW)
    return guard.verify({"aat_chain": parts[:-1], "aat_pop": parts[-1]}, "t", {"x": 1})
