"""The compact form and the JSON inside it: one reading or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from .forge import ARGS, TOOLS, Pairs, Part, Raw, Story, b64, compact, details, dumps, story
from .judge import (
    ARGUMENT,
    HEADER,
    MALFORMED,
    PROOF,
    STRUCTURE,
    change_is_fatal,
    change_is_harmless,
    denies,
    permits,
)

PARTS: Final[dict[str, Callable[[Story], Part]]] = {
    "root": lambda made: made.links[0],
    "child": lambda made: made.links[1],
    "proof": lambda made: made.proof,
}
ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _codes(part: str) -> tuple[str, ...]:
    return PROOF if part == "proof" else (*HEADER, *STRUCTURE)


def _finish(part: str, finish: Callable[[str], str]) -> Callable[[Story], None]:
    def change(made: Story) -> None:
        PARTS[part](made).finish = finish

    return change


def _segment(index: int, change: Callable[[str], str]) -> Callable[[str], str]:
    def finish(token: str) -> str:
        segments = token.split(".")
        segments[index] = change(segments[index])
        return ".".join(segments)

    return finish


def _loose_end(segment: str) -> str:
    """The same bytes with other unused bits in the last character."""
    unused = {0: 0, 2: 4, 3: 2}[len(segment) % 4]
    assert unused, "a segment of whole groups has no unused bits"
    return segment[:-1] + ALPHABET[ALPHABET.index(segment[-1]) ^ 1]


COMPACT: Final[dict[str, Callable[[str], str]]] = {
    "empty": lambda _: "",
    "dots only": lambda _: "..",
    "no payload and signature": lambda token: token.split(".")[0],
    "no signature": lambda token: token.rpartition(".")[0],
    "empty signature": lambda token: token.rpartition(".")[0] + ".",
    "empty header": _segment(0, lambda _: ""),
    "empty payload": _segment(1, lambda _: ""),
    "a fourth part": lambda token: token + ".AAAA",
    "an empty fourth part": lambda token: token + ".",
    "five parts": lambda token: token + "..",
    "a leading dot": lambda token: "." + token,
    "padded header": _segment(0, lambda s: s + "=" * (-len(s) % 4 or 4)),
    "padded payload": _segment(1, lambda s: s + "=" * (-len(s) % 4 or 4)),
    "padded signature": lambda token: token + "==",
    "leading space": lambda token: " " + token,
    "trailing space": lambda token: token + " ",
    "trailing newline": lambda token: token + "\n",
    "newline in payload": _segment(1, lambda s: s[:8] + "\n" + s[8:]),
    "space in signature": _segment(2, lambda s: s[:8] + " " + s[8:]),
    "tab in header": _segment(0, lambda s: s[:4] + "\t" + s[4:]),
    "NUL at the end": lambda token: token + "\x00",
    "junk in payload": _segment(1, lambda s: s[:8] + "!" + s[8:]),
    "junk at the end": lambda token: token + "!",
    "standard alphabet": _segment(2, lambda s: s[:-1] + "+"),
    "slash": _segment(2, lambda s: "/" + s[1:]),
    "a letter outside ASCII": _segment(2, lambda s: "\u0410" + s[1:]),
    "a full-width digit": _segment(1, lambda s: s[:-1] + "\uff11"),
    "a lone surrogate": lambda token: token + "\ud800",
    "loose bits in the signature": _segment(2, _loose_end),
    "short signature": _segment(2, lambda s: s[:-4]),
    "long signature": _segment(2, lambda s: s + "AAAA"),
    "one letter more": lambda token: token + "A",
    "one letter less": lambda token: token[:-1],
    "twice": lambda token: token + token,
    "JSON serialization": lambda token: dumps(
        dict(zip(("protected", "payload", "signature"), token.split("."), strict=True))
    ).decode(),
    "quoted": lambda token: f'"{token}"',
    "bearer": lambda token: "Bearer " + token,
    "tilde": lambda token: token + "~",
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", COMPACT)
def test_only_the_one_compact_form_is_read(part: str, name: str) -> None:
    """Non-canonical base64url and extra parts are all refused."""
    # What nobody signed is not parsed, so it does not say who it pretends to be from.
    other = {"proof": "proof_missing", "root": "token_issuer_untrusted"}.get(part)
    codes = _codes(part) if other is None else (*_codes(part), other)
    change_is_fatal(_finish(part, COMPACT[name]), codes)


def _with_loose_end(part: Part, segment: int) -> None:
    """Sign over a segment whose last character has other unused bits: a good signature over loose base64."""
    name = "z"
    while True:
        target = part.header if segment == 0 else part.claims
        target[name] = "pad"
        encoded = [b64(dumps(part.header)), b64(dumps(part.claims))]
        if len(encoded[segment]) % 4:
            break
        name += "z"
    encoded[segment] = _loose_end(encoded[segment])
    text = ".".join(encoded)
    part.finish = lambda _: f"{text}.{b64(part.sign(text.encode()))}"


@pytest.mark.parametrize("segment", [0, 1])
def test_loose_bits_under_a_good_signature_are_refused(segment: int) -> None:
    """Non-canonical base64url is refused, also where the signature covers it."""
    change_is_fatal(lambda made: _with_loose_end(made.root, segment), MALFORMED, base=lambda: story(0))


@pytest.mark.parametrize("joint", ["", " ", "\n"])
def test_padding_and_white_space_under_a_good_signature_are_refused(joint: str) -> None:
    """Non-canonical base64url is refused, also where the signature covers it."""

    def change(made: Story) -> None:
        head, body = b64(dumps(made.root.header)), b64(dumps(made.root.claims))
        body = body + joint if joint else body + "=" * (-len(body) % 4 or 4)
        text = f"{head}.{body}"
        made.root.finish = lambda _: f"{text}.{b64(made.root.sign(text.encode()))}"

    change_is_fatal(change, MALFORMED, base=lambda: story(0))


def test_an_unencoded_payload_is_refused() -> None:
    """A payload stands in base64url or not at all (`b64` is not understood)."""

    def change(made: Story) -> None:
        text = f"{b64(dumps(made.root.header))}.{dumps(made.root.claims).decode()}"
        made.root.finish = lambda _: f"{text}.{b64(made.root.sign(text.encode()))}"

    change_is_fatal(change, (*HEADER, *STRUCTURE), base=lambda: story(0))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["first", "last", "both the same"])
def test_a_claim_named_twice_is_refused(part: str, name: str) -> None:
    """Parse the claims, rejecting any JSON object with duplicate member names."""

    def change(made: Story) -> None:
        made.seal()
        made.auto_proof = part != "proof"
        claims = PARTS[part](made).claims
        double = ("iat", claims["iat"] if name == "both the same" else 1)
        members = [*claims.items()]
        PARTS[part](made).claims = Pairs([double, *members] if name == "first" else [*members, double])

    change_is_fatal(change, _codes(part), base=lambda: story(0) if part == "root" else story())


DOUBLE: Final = Pairs([("a", 1), ("a", 1)])
NESTED: Final[dict[str, Callable[[Story], None]]] = {
    "cnf": lambda made: made.root.set(cnf=Pairs([("jwk", made.root.claims["cnf"]["jwk"])] * 2)),
    "jwk": lambda made: made.root.set(cnf={"jwk": Pairs([*made.root.claims["cnf"]["jwk"].items()] * 2)}),
    "entry": lambda made: made.root.set(authorization_details=[Pairs([*details(TOOLS)[0].items()] * 2)]),
    "tools": lambda made: made.root.set(authorization_details=details(Pairs([*TOOLS.items()] * 2))),
    "constraint map": lambda made: setattr(
        made.root, "tools", {"read_file": Pairs([*TOOLS["read_file"].items()] * 2)}
    ),
    "constraint": lambda made: setattr(
        made.root, "tools", {"read_file": {"path": Pairs([*TOOLS["read_file"]["path"].items()] * 2)}}
    ),
    "clause": lambda made: setattr(
        made.root,
        "tools",
        {
            "read_file": {
                "path": {
                    "constraint_type": "all",
                    "constraints": [Pairs([("constraint_type", "wildcard")] * 2)],
                }
            }
        },
    ),
    "an unknown claim": lambda made: made.root.set(vendor={"deep": [DOUBLE]}),
    "another entry": lambda made: made.root.set(
        authorization_details=[*details(TOOLS), {"type": "other", "x": DOUBLE}]
    ),
    "escaped names": lambda made: made.root.set(vendor=Raw('{"a":1,"\\u0061":2}')),
}


@pytest.mark.parametrize("name", NESTED)
def test_a_member_named_twice_anywhere_in_a_token_is_refused(name: str) -> None:
    """Rejecting any JSON object with duplicate member names."""
    change_is_fatal(NESTED[name], MALFORMED, base=lambda: story(0))


@pytest.mark.parametrize(
    "hta",
    [
        Pairs([("path", "/data/q3")] * 2),
        {"path": "/data/q3", "x": DOUBLE},
        Pairs([("path", "/etc"), *ARGS.items()]),
    ],
    ids=["arguments", "nested", "first differs"],
)
def test_an_argument_named_twice_in_a_proof_is_refused(hta: Any) -> None:
    """Parse the PoP JWT claims, rejecting any JSON object with duplicate member names."""
    change_is_fatal(lambda made: made.proof.set(hta=hta), PROOF, base=lambda: story(tools={"read_file": {}}))


BAD_JSON: Final[dict[str, Callable[[str], bytes]]] = {
    "trailing comma": lambda text: (text[:-1] + ",}").encode(),
    "trailing garbage": lambda text: (text + "x").encode(),
    "two objects": lambda text: (text + text).encode(),
    "a list around": lambda text: f"[{text}]".encode(),
    "a string": lambda _: b'"claims"',
    "null": lambda _: b"null",
    "comment": lambda text: (text[:-1] + "/**/}").encode(),
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without mark": lambda text: text.encode("utf-16-le"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "not UTF-8": lambda text: text[:-1].encode() + b',"x":"\xff"}',
    "overlong UTF-8": lambda text: text[:-1].encode() + b',"x":"\xc0\xaf"}',
    "a surrogate in UTF-8": lambda text: text[:-1].encode() + b',"x":"\xed\xa0\x80"}',
    "a control character": lambda text: (text[:-1] + ',"x":"a\nb"}').encode(),
    "NUL after": lambda text: text.encode() + b"\x00",
    "NaN": lambda text: (text[:-1] + ',"x":NaN}').encode(),
    "Infinity": lambda text: (text[:-1] + ',"x":Infinity}').encode(),
    "-Infinity": lambda text: (text[:-1] + ',"x":[-Infinity]}').encode(),
    "a number too big for a double": lambda text: (text[:-1] + ',"x":1e400}').encode(),
    "a lone surrogate": lambda text: (text[:-1] + ',"x":"\\ud800"}').encode(),
    "a lone low surrogate": lambda text: (text[:-1] + ',"x":"\\udc00a"}').encode(),
    "a lone surrogate as a name": lambda text: (text[:-1] + ',"\\ud800":1}').encode(),
    "leading zero": lambda text: (text[:-1] + ',"x":01}').encode(),
    "bare plus": lambda text: (text[:-1] + ',"x":+1}').encode(),
    "hexadecimal": lambda text: (text[:-1] + ',"x":0x10}').encode(),
    "digits without end": lambda text: (text[:-1] + ',"x":' + "9" * 5_000 + "}").encode(),
    "nesting in a list": lambda text: (text[:-1] + ',"x":' + "[" * 9_000 + "]" * 9_000 + "}").encode(),
    "nesting in an object": lambda text: (text[:-1] + ',"x":' + '{"a":' * 5_000 + "1" + "}" * 5_001).encode(),
    "nesting that never ends": lambda text: (text[:-1] + ',"x":' + "[" * 20_000).encode(),
}


def _raw_claims(part: str, change: Callable[[str], bytes]) -> Story:
    made = story(0)
    made.seal()
    made.auto_proof = part == "root"
    target = made.root if part == "root" else made.proof
    target.claims = change(dumps(target.claims).decode())
    return made


@pytest.mark.parametrize("part", ["root", "proof"])
@pytest.mark.parametrize("name", BAD_JSON)
def test_claims_that_are_not_one_strict_json_object_are_refused(part: str, name: str) -> None:
    """Duplicate member names, NaN/Infinity, lone surrogates, deep nesting are all refused."""
    permits(_raw_claims(part, str.encode))
    denies(_raw_claims(part, BAD_JSON[name]), MALFORMED if part == "root" else PROOF)


@pytest.mark.parametrize("part", ["root", "child"])
def test_claims_that_are_not_canonical_json_are_still_claims(part: str) -> None:
    """Issuers SHOULD serialize payloads as JCS-canonical JSON; a verifier takes them exactly as presented."""

    def change(made: Story) -> None:
        target = PARTS[part](made)
        target.claims["note"] = Raw(' [ 1 , "\\u0041\\/" ,\n2.50 ] ')

    change_is_harmless(change)


def test_a_proof_that_is_not_canonical_json_is_still_a_proof() -> None:
    """Requirements that bind producers only and have no step: the JCS form of the PoP payload."""
    permits(_raw_claims("proof", lambda text: ("\n " + text.replace(":{", " : { ")).encode()))


def test_a_claim_nobody_defined_is_ignored() -> None:
    """A token MUST NOT be rejected solely because it contains claims outside those defined in this specification."""

    def change(made: Story) -> None:
        made.root.set(vendor={"a": [1, None, True, "x", 1.5]}, act={"sub": "someone"}, scope="everything")

    change_is_harmless(change)


@pytest.mark.parametrize(
    "form", [Raw("10.0"), Raw("1e1"), Raw("1.0E+1"), Raw("100e-1")], ids=lambda raw: raw.text
)
def test_an_argument_is_compared_by_its_number_not_by_its_digits(form: Raw) -> None:
    """Regardless of JSON serialization choices, such as key order or `1.0` versus `1`."""

    def base() -> Story:
        return story(tool="search", args={"limit": 10, "query": "x"})

    change_is_harmless(lambda made: made.proof.set(hta={"query": "x", "limit": form}), base)


@pytest.mark.parametrize(
    "form",
    [
        "9007199254740993",
        "1.00000000000000001",
        "9007199254740992.5",
        "1" + "0" * 400,
        "1e309",
        "0." + "3" * 30,
    ],
)
@pytest.mark.parametrize("where", ["one_of", "exact", "range", "nested", "proof"])
def test_a_number_that_does_not_survive_is_refused(form: str, where: str) -> None:
    """Arguments and constraint values MUST contain only admissible numbers."""
    constraints: dict[str, dict[str, Any]] = {
        "one_of": {"constraint_type": "one_of", "values": [1, Raw(form)]},
        "exact": {"constraint_type": "exact", "value": Raw(form)},
        "range": {"constraint_type": "range", "max": Raw(form)},
        "nested": {"constraint_type": "not_one_of", "excluded": [{"a": [Raw(form)]}]},
        "proof": {"constraint_type": "wildcard"},
    }

    def change(made: Story) -> None:
        if where == "proof":
            made.proof.set(hta={"limit": Raw(form)})
        else:
            made.root.tools = {"search": {"limit": constraints[where]}, "other": {}}

    def base() -> Story:
        tools = {"search": {"limit": {"constraint_type": "wildcard"}}, "other": {}}
        return story(0, tools=tools, tool="search", args={"limit": 5})

    change_is_fatal(change, PROOF if where == "proof" else (*STRUCTURE, *ARGUMENT), base)


def test_forged_bytes_are_what_was_asked_for() -> None:
    """The forge itself: raw bytes go through untouched."""
    assert compact(b"{", b"\xff", lambda _: b"s").split(".") == [b64(b"{"), b64(b"\xff"), b64(b"s")]
