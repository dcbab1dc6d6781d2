"""The token on the wire: compact JWS and claims (AAT draft, Section 3, and Remit's profile).

Two types keep apart what has been verified from what has not: an `Envelope` is a token of which
only the shape is known, `Claims` exist only behind a signature that was verified. All knowledge of
the draft's encoding is in this module; the rest of Remit sees `Claims`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from remit.capability import Capability, Limit
from remit.encoding import EncodingError, b64url_decode, b64url_encode, canonicalize, parse_object
from remit.keys import HolderKey, PublicKey, public_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from remit.encoding import JsonObject, JsonValue

__all__ = [
    "CHECKPOINT",
    "FEED",
    "MAX_DEPTH",
    "MAX_TOKEN_SIZE",
    "PROOF",
    "TOKEN",
    "Claims",
    "Envelope",
    "Signed",
    "sign_proof",
    "sign_statement",
    "unverified_claims",
]

TOKEN: Final = "aat+jwt"  # noqa: S105 - the name of a type
PROOF: Final = "aat-pop+jwt"
CHECKPOINT: Final = "remit-checkpoint+jwt"
FEED: Final = "remit-revocations+jwt"
MAX_TOKEN_SIZE: Final = 65_536
"""Bytes of one token (draft Section 4.3.1, MAX_TOKEN_SIZE)."""
MAX_DEPTH: Final = 8
"""How many times authority may be passed on (draft Section 4.3, MAX_DELEGATION_DEPTH)."""

_ALG: Final = "Ed25519"
_DETAILS_TYPE: Final = "attenuating_agent_token"
_EXTENSION: Final = "remit"
_FEATURES: Final = ("nbf", "sid", "task", "delegate_only", "limits", "exchanged")
_SUBJECT: Final = re.compile(r"(token|agent|key):\S(.{0,254}\S)?")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x20\x7f]+")
_LATEST: Final = 253_402_300_799  # the last second that a datetime can show
_MAX_NAME: Final = 256
_MAX_HEADER: Final = 2048


@dataclass(frozen=True, slots=True)
class Header:
    """What Remit heeds in a protected header; keys that a header names are ignored (Section 3.5)."""

    kid: str | None
    features: tuple[str, ...]


@lru_cache(maxsize=256)
def _header(segment: str, typ: str) -> Header:
    members = parse_object(b64url_decode(segment))
    if members.get("alg") != _ALG:
        raise EncodingError("has a header whose alg is not Ed25519")
    if members.get("typ") != typ:
        raise EncodingError(f"has a header whose typ is not {typ}")
    features: tuple[str, ...] = ()
    if "crit" in members:
        if typ != TOKEN or members["crit"] != [_EXTENSION]:
            raise EncodingError("has a crit that this verifier does not understand")
        features = _set(members, _EXTENSION)
        if not set(features) <= set(_FEATURES):
            raise EncodingError("has a restriction in its header that this verifier does not understand")
    elif _EXTENSION in members:
        raise EncodingError("has a restriction in its header that crit does not protect")
    kid = members.get("kid")
    return Header(kid if isinstance(kid, str) else None, features)


@dataclass(slots=True, repr=False)
class Envelope:
    """A compact JWS whose signature has not been verified: nothing in it may be believed."""

    header: Header
    signing_input: bytes
    signature: bytes
    _payload: str

    @classmethod
    def read(cls, text: object, typ: str, *, max_size: int = MAX_TOKEN_SIZE) -> Envelope:
        """Return the parts of `text`, a token or a proof by its `typ`.

        Raises:
            EncodingError: when it is not a compact JWS of this type within the size limit.
        """
        if type(text) is not str:
            raise EncodingError("is not text")
        if len(text) > max_size:
            raise EncodingError(f"is larger than {max_size} bytes")
        parts = text.split(".", 3)
        if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
            raise EncodingError("does not have three parts")
        head, payload, signature = parts
        if len(head) > _MAX_HEADER:
            raise EncodingError("has a header that is too long")
        header = _header(head, typ)
        if not payload.isascii():
            raise EncodingError("is not base64url")
        return cls(header, text[: -len(signature) - 1].encode("ascii"), b64url_decode(signature), payload)

    @property
    def digest(self) -> str:
        """base64url of SHA-256 of the signing input: the draft's `par_hash` and `aat_hash` (Section 4.6)."""
        return _digest(self.signing_input)

    def opened_with(self, key: PublicKey) -> JsonObject | None:
        """Return the payload if `key` signed it, else None.

        Only after the signature is verified is the payload parsed (draft Section 8).

        Raises:
            EncodingError: when the payload that was signed is not one strict JSON object.
        """
        return self.unverified_payload() if key.verifies(self.signature, self.signing_input) else None

    def mentions_issuer(self, issuer: str) -> bool:
        """Tell whether the payload, neither verified nor parsed, seems to name `issuer`."""
        return f'"iss":"{issuer}"'.encode() in b64url_decode(self._payload)

    def unverified_payload(self) -> JsonObject:
        """Return the payload, which anybody may have written; for showing."""
        return parse_object(b64url_decode(self._payload))


@dataclass(slots=True, kw_only=True, repr=False)
class Claims:
    """What a token says, to be read only. Times are whole seconds since the epoch."""

    id: str
    issuer: str
    holder: PublicKey
    issued_at: int
    expires_at: int
    depth: int
    max_depth: int
    parent_hash: str | None = None
    audience: tuple[str, ...] | None = None
    tools: Mapping[str, Capability] | None
    """Capabilities by name; None when the token has no entry for them (the empty set)."""
    agent: str | None = None
    not_before: int | None = None
    session: str | None = None
    task: str | None = None
    delegate_only: tuple[str, ...] = ()
    limits: Mapping[str, Limit] = field(default_factory=dict[str, Limit])
    exchanged: tuple[str, ...] = ()
    """What it was exchanged for, as subjects of revocations: with any of them it is revoked too."""

    @property
    def agent_name(self) -> str:
        """The agent as the signer named it, or the thumbprint of its key where it did not."""
        return self.holder.thumbprint if self.agent is None else self.agent

    @classmethod
    def parse(cls, payload: JsonObject, features: tuple[str, ...] = ()) -> Claims:
        """Return the claims in a payload.

        Claims that restrict count whether or not the header lists them; one that the header lists
        and the payload lacks is refused.

        Raises:
            EncodingError: when a claim is missing or of the wrong type.
        """
        for feature in features:
            if feature not in payload:
                raise EncodingError(f"announces {feature} and does not carry it")
        tools = _tools(payload)
        granted = (tools or {}).keys()
        limits = _object(payload, "limits") if "limits" in payload else {}
        delegate_only = _set(payload, "delegate_only") if "delegate_only" in payload else ()
        if not (granted >= limits.keys() and granted >= set(delegate_only)):
            raise EncodingError("restricts a capability that it does not grant")
        return cls(
            id=_name(payload, "jti"),
            issuer=_issuer(payload),
            holder=_holder(payload),
            issued_at=_time(payload, "iat"),
            expires_at=_time(payload, "exp"),
            depth=_whole(payload, "del_depth"),
            max_depth=_whole(payload, "del_max_depth"),
            parent_hash=_text(payload, "par_hash") if "par_hash" in payload else None,
            audience=_audience(payload),
            tools=tools,
            agent=_name(payload, "sub") if "sub" in payload else None,
            not_before=_time(payload, "nbf") if "nbf" in payload else None,
            session=_name(payload, "sid") if "sid" in payload else None,
            task=_name(payload, "task") if "task" in payload else None,
            delegate_only=delegate_only,
            limits={name: Limit.parse(limit) for name, limit in limits.items()},
            exchanged=_subjects(payload) if "exchanged" in payload else (),
        )

    def payload(self) -> JsonObject:
        """Return the payload that spells these claims."""
        tools: JsonObject = {name: capability.to_json() for name, capability in (self.tools or {}).items()}
        payload: JsonObject = {
            "jti": self.id,
            "iss": self.issuer,
            "iat": self.issued_at,
            "exp": self.expires_at,
            "cnf": {"jwk": dict[str, Any](self.holder.jwk)},
            "del_depth": self.depth,
            "del_max_depth": self.max_depth,
            "authorization_details": [{"type": _DETAILS_TYPE, "tools": tools}],
        }
        optional: JsonObject = {
            "par_hash": self.parent_hash,
            "sub": self.agent,
            "nbf": self.not_before,
            "sid": self.session,
            "task": self.task,
            "delegate_only": list(self.delegate_only) or None,
            "limits": {name: limit.to_json() for name, limit in self.limits.items()} or None,
            "exchanged": list(self.exchanged) or None,
        }
        payload.update({name: value for name, value in optional.items() if value is not None})
        if self.audience is not None:
            payload["aud"] = self.audience[0] if len(self.audience) == 1 else list(self.audience)
        return payload

    def signed(self, key: HolderKey, *, kid: str | None = None) -> Signed:
        """Return these claims as a token signed with `key`; restrictions are announced in `crit`."""
        payload = self.payload()
        features = tuple([feature for feature in _FEATURES if feature in payload])
        return sign(_written_header(TOKEN, kid, features), payload, key)


class Signed(NamedTuple):
    """A token that was just signed, and the digest of its signing input."""

    text: str
    digest: str

    def __repr__(self) -> str:
        return f"<Signed {self.digest}>"


@lru_cache(maxsize=256)
def _written_header(typ: str, kid: str | None, features: tuple[str, ...]) -> str:
    header: JsonObject = {"alg": _ALG, "typ": typ}
    if kid is not None:
        header["kid"] = kid
    if features:
        header.update({"crit": [_EXTENSION], _EXTENSION: list(features)})
    return b64url_encode(canonicalize(header))


def sign(header: str, payload: JsonObject, key: HolderKey) -> Signed:
    """Return the compact JWS (RFC 7515, Section 7.1) of an encoded header and a payload."""
    signing_input = f"{header}.{b64url_encode(canonicalize(payload))}"
    signed = signing_input.encode("ascii")
    return Signed(f"{signing_input}.{b64url_encode(key.sign(signed))}", _digest(signed))


def sign_proof(payload: JsonObject, key: HolderKey) -> str:
    """Return a proof of possession as a compact JWS (draft Section 7.2)."""
    return sign(_written_header(PROOF, None, ()), payload, key).text


def sign_statement(typ: str, payload: JsonObject, key: HolderKey) -> str:
    """Return an issuer's statement as a compact JWS, of a type that nothing takes for a token."""
    return sign(_written_header(typ, key.public.thumbprint, ()), payload, key).text


def _digest(signing_input: bytes) -> str:
    return b64url_encode(hashlib.sha256(signing_input).digest())


def unverified_claims(text: object) -> tuple[Envelope, Claims]:
    """Return what a token says about itself, for showing; nobody has verified it.

    Raises:
        EncodingError: when it is not a token.
    """
    envelope = Envelope.read(text, TOKEN)
    return envelope, Claims.parse(envelope.unverified_payload(), envelope.header.features)


def _text(payload: JsonObject, name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise EncodingError(f"has a {name} that is not text")
    return value


def _name(payload: JsonObject, name: str) -> str:
    value = _text(payload, name)
    if len(value) > _MAX_NAME or not value.isprintable() or value != value.strip():
        raise EncodingError(f"has a {name} that is too long, not printable or has spaces around it")
    return value


def _whole(payload: JsonObject, name: str) -> int:
    value = payload.get(name)
    if type(value) is not int or value < 0:
        raise EncodingError(f"has a {name} that is not a whole number")
    return value


def _time(payload: JsonObject, name: str) -> int:
    value = _whole(payload, name)
    if value > _LATEST:
        raise EncodingError(f"has a {name} beyond the year 9999")
    return value


def _object(payload: JsonObject, name: str) -> JsonObject:
    value = payload.get(name)
    if not isinstance(value, dict) or not value:
        raise EncodingError(f"has a {name} that is not an object with members")
    return value


def _strings(payload: JsonObject, name: str) -> tuple[str, ...]:
    values = payload.get(name)
    texts = (
        [value for value in values if isinstance(value, str) and value] if isinstance(values, list) else []
    )
    if not texts or texts != values:
        raise EncodingError(f"has a {name} that is not a list of strings")
    return tuple(texts)


def _set(payload: JsonObject, name: str) -> tuple[str, ...]:
    texts = _strings(payload, name)
    if len(set(texts)) != len(texts):
        raise EncodingError(f"has a {name} that says something twice")
    return texts


def _subjects(payload: JsonObject) -> tuple[str, ...]:
    subjects = _set(payload, "exchanged")
    if not all(_SUBJECT.fullmatch(subject) and subject.isprintable() for subject in subjects):
        raise EncodingError("has an exchanged that names something but tokens, agents and keys")
    return subjects


def _audience(payload: JsonObject) -> tuple[str, ...] | None:
    if "aud" not in payload:
        return None
    return (_text(payload, "aud"),) if isinstance(payload["aud"], str) else _strings(payload, "aud")


def _issuer(payload: JsonObject) -> str:
    issuer = _text(payload, "iss")
    if not _URI.fullmatch(issuer):
        raise EncodingError("has an iss that is not a URI")
    return issuer


def _holder(payload: JsonObject) -> PublicKey:
    confirmation = payload.get("cnf")
    jwk = confirmation.get("jwk") if isinstance(confirmation, dict) else None
    if not isinstance(jwk, dict):
        raise EncodingError("has no cnf.jwk")
    try:
        return public_key(jwk)
    except EncodingError as error:
        raise EncodingError(f"has a cnf.jwk that {error}") from None


def _tools(payload: JsonObject) -> dict[str, Capability] | None:
    details = payload.get("authorization_details")
    if not isinstance(details, list):
        raise EncodingError("has no authorization_details")
    entries: list[JsonValue] = []
    for entry in details:
        if not isinstance(entry, dict):
            raise EncodingError("has authorization_details that are not objects")
        if entry.get("type") == _DETAILS_TYPE:
            entries.append(entry.get("tools"))
    if not entries:
        return None
    tools = entries[0]
    if len(entries) > 1 or not isinstance(tools, dict):
        raise EncodingError("has authorization_details without one map of tools")
    try:
        return {name: Capability.parse(name, wire) for name, wire in tools.items()}
    except EncodingError as error:
        raise EncodingError(f"has a capability that {error}") from None
