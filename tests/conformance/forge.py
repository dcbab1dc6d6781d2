"""Builds AAT tokens and proofs, valid or broken in any way, without a line of Remit.

Everything here is `cryptography` and `json`, so a mistake in Remit's own encoder cannot hide itself: what these
functions sign is judged by the guard, and nothing the guard is made of had a part in making it.

A `Story` is one presentation before it is sealed: links, each with its header, claims and signer, and a proof.
Change any of them, then `seal()`. Hashes, signatures and the proof are made last, over what is really there, so
that a changed claim is properly signed and only the check meant for it can catch it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NOW: Final = 1_704_067_500
ISSUER: Final = "https://auth.acme.example"
AUDIENCE: Final = "https://tools.acme.example"
ENTRY: Final = "attenuating_agent_token"

Claims = dict[str, Any]
Signer = Callable[[bytes], bytes]


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64(text: str) -> bytes:
    """Undo `b64`."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True)
class Raw:
    """JSON text written as it is, valid or not."""

    text: str


@dataclass(frozen=True)
class Pairs:
    """An object as a list of members, so that a name can come twice."""

    members: Sequence[tuple[str, Any]]


def dumps(value: Any) -> bytes:
    """Compact JSON with sorted names; `Raw` and `Pairs` are written as told, lone surrogates as escapes."""
    return _text(value).encode("utf-8")


def _text(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(name)}:{_text(item)}" for name, item in value.members) + "}"
    if isinstance(value, Mapping):
        return _text(Pairs(sorted(value.items())))
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(item) for item in value) + "]"
    return json.dumps(value)


class Key:
    """An Ed25519 key made from a small number, so that a failing test says which."""

    def __init__(self, number: int) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        self.public: bytes = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def jwk(self) -> Claims:
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(self.public)}

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)


ROOT: Final = Key(1)
HOLDERS: Final = tuple(Key(number) for number in range(2, 20))
ATTACKER: Final = Key(99)


def thumbprint_uri(jwk: Mapping[str, Any]) -> str:
    """RFC 9278 over the three members that an OKP thumbprint covers."""
    digest = hashlib.sha256(dumps({name: jwk[name] for name in ("crv", "kty", "x")})).digest()
    return "urn:ietf:params:oauth:jwk-thumbprint:sha-256:" + b64(digest)


def signing_input_hash(token: str) -> str:
    """What `par_hash` and `aat_hash` carry."""
    return b64(hashlib.sha256(token.rpartition(".")[0].encode("utf-8")).digest())


def compact(header: Any, payload: Any, sign: Signer) -> str:
    """One compact JWS; `header` and `payload` may be bytes, which are encoded unseen."""
    head, body = (b64(part if isinstance(part, bytes) else dumps(part)) for part in (header, payload))
    signing_input = f"{head}.{body}"
    return f"{signing_input}.{b64(sign(signing_input.encode('ascii')))}"


def details(tools: Any) -> list[Claims]:
    """The one `authorization_details` entry of a token."""
    return [{"type": ENTRY, "tools": tools}]


@dataclass
class Part:
    """One JWS to be: a link or the proof."""

    header: Any
    claims: Any
    sign: Signer
    finish: Callable[[str], str] = str
    """What happens to the compact text after it is signed."""

    def seal(self) -> str:
        return self.finish(compact(self.header, self.claims, self.sign))

    def set(self, **claims: Any) -> None:
        self.claims.update(claims)

    def drop(self, *names: str) -> None:
        for name in names:
            del self.claims[name]

    @property
    def tools(self) -> Any:
        return self.claims["authorization_details"][0]["tools"]

    @tools.setter
    def tools(self, tools: Any) -> None:
        self.claims["authorization_details"] = details(tools)


@dataclass
class Story:
    """One presentation in the making; `seal()` gives the draft's object."""

    links: list[Part]
    proof: Part
    tool: str
    args: dict[str, Any]
    auto_hash: set[int] = field(default_factory=set)
    """Links whose `par_hash` is computed over the parent as it will really be."""
    auto_proof: bool = True
    """Whether the proof names and hashes the leaf as it will really be."""

    @property
    def root(self) -> Part:
        return self.links[0]

    @property
    def leaf(self) -> Part:
        return self.links[-1]

    def tokens(self) -> list[str]:
        made: list[str] = []
        for index, link in enumerate(self.links):
            if index in self.auto_hash and isinstance(link.claims, dict):
                link.claims["par_hash"] = signing_input_hash(made[-1])
            made.append(link.seal())
        return made

    def seal(self) -> dict[str, Any]:
        chain = self.tokens()
        if self.auto_proof:
            self.proof.set(aat_hash=signing_input_hash(chain[-1]))
            if isinstance(self.leaf.claims, dict):
                self.proof.set(aat_id=self.leaf.claims.get("jti", "none"))
        return {"aat_chain": chain, "aat_pop": self.proof.seal()}


TOOLS: Final[Claims] = {
    "read_file": {"path": {"constraint_type": "one_of", "values": ["/data/q3", "/data/q4"]}},
    "search": {"limit": {"constraint_type": "range", "max": 100}, "query": {"constraint_type": "wildcard"}},
}
ARGS: Final[Claims] = {"path": "/data/q3"}


def link_claims(index: int, depth: int, tools: Any) -> Claims:
    """The claims of the link at `index`, without `par_hash`."""
    signer = ROOT if index == 0 else HOLDERS[index - 1]
    return {
        "jti": f"019471f8-0000-7000-8000-{index:012d}",
        "iss": ISSUER if index == 0 else thumbprint_uri(signer.jwk),
        "iat": NOW - 300,
        "exp": NOW + 3_300,
        "cnf": {"jwk": HOLDERS[index].jwk},
        "del_depth": index,
        "del_max_depth": depth,
        "authorization_details": details(deepcopy(tools)),
    }


def story(depth: int = 1, *, tools: Any = None, tool: str = "read_file", args: Claims | None = None) -> Story:
    """A valid presentation of `depth + 1` links in which every link grants the same."""
    granted = TOOLS if tools is None else tools
    links = []
    for index in range(depth + 1):
        signer = ROOT if index == 0 else HOLDERS[index - 1]
        header = {"alg": "Ed25519", "typ": "aat+jwt"}
        links.append(Part(header, link_claims(index, depth, granted), signer.sign))
    passed = dict(ARGS if args is None else args)
    proof = Part(
        {"alg": "Ed25519", "typ": "aat-pop+jwt"},
        {
            "jti": "019471f8-0000-7000-8000-000000000a01",
            "iat": NOW,
            "aat_tool": tool,
            "aat_aud": AUDIENCE,
            "hta": deepcopy(passed),
        },
        HOLDERS[depth].sign,
    )
    return Story(links, proof, tool, passed, set(range(1, depth + 1)))
