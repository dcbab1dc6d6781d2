"""Proofs of possession: the holder signs the very call (AAT draft, Sections 7 and 8, step 7)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from remit.encoding import EncodingError, canonicalize
from remit.errors import ConfigError, TokenRejected, shown
from remit.ids import new_id
from remit.token import PROOF, Envelope, sign_proof

if TYPE_CHECKING:
    from remit.encoding import JsonObject
    from remit.keys import HolderKey
    from remit.verify import VerifiedChain

__all__ = [
    "EXCHANGE",
    "MAX_PROOF_SIZE",
    "MAX_WINDOW",
    "Presentation",
    "Proof",
    "ProofPolicy",
    "make_proof",
    "verify_proof",
]

EXCHANGE: Final = "remit:exchange"
"""The tool that a proof for an exchange of tokens names. No token grants it."""
MAX_PROOF_SIZE: Final = 262_144
"""Bytes of one proof, which carries the arguments of the call."""

MAX_WINDOW: Final = 300
"""Seconds: the widest window a guard may have. Proofs are remembered as long, since guards share ledgers."""

_MAX_ID: Final = 256


@dataclass(frozen=True, slots=True)
class Presentation:
    """What crosses a process boundary for one call: a chain and a proof (draft Section 7.4).

    Args:
        chain: the tokens, root first.
        proof: the proof of possession for this call.
    """

    chain: tuple[str, ...]
    proof: str

    def to_dict(self) -> dict[str, object]:
        """Return the draft's JSON object, `{"aat_chain": [...], "aat_pop": "..."}`."""
        return {"aat_chain": list(self.chain), "aat_pop": self.proof}

    def __repr__(self) -> str:
        return f"<Presentation of {len(self.chain)} tokens>"


def read_presentation(presentation: object) -> Presentation:
    """Return `presentation`, a `Presentation` or the draft's object, as the former.

    Raises:
        TokenRejected: when it is neither, or has no proof.
    """
    chain: object
    proof: object
    if isinstance(presentation, Presentation):
        chain, proof = presentation.chain, presentation.proof
    elif isinstance(presentation, Mapping):
        chain, proof = _members(cast("Mapping[str, object]", presentation))
    else:
        raise TokenRejected("token_malformed", "The presentation is not an object with a chain and a proof.")
    if not isinstance(chain, list | tuple):
        raise TokenRejected("token_malformed", "The presentation has no chain.")
    if proof is None or (type(proof) is str and not proof):
        raise TokenRejected("proof_missing", "The presentation has no proof of possession.")
    if type(proof) is not str:
        raise TokenRejected("proof_invalid", "The proof of possession is not text.")
    return Presentation(tuple(cast("list[str]", chain)), proof)


def _members(presentation: Mapping[str, object]) -> tuple[object, object]:
    try:
        return presentation.get("aat_chain"), presentation.get("aat_pop")
    except Exception as error:  # a mapping of somebody's own may raise anything when it is read
        raise TokenRejected("token_malformed", "The presentation cannot be read.") from error


@dataclass(frozen=True, slots=True)
class ProofPolicy:
    """What a guard asks of a proof."""

    audiences: frozenset[str]
    """The names of this enforcement point."""
    require_audience: bool
    window: int
    """Seconds that a proof's time may lie away from now, in either direction."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that was verified, as the ledger remembers it."""

    key: str
    """The holder and the proof's `jti`: together they are used once."""
    expires_at: int
    """From then on its time is outside the window anyway."""


def make_proof(
    *,
    token_id: str,
    token_digest: str,
    tool: str,
    arguments: JsonObject,
    key: HolderKey,
    now: float,
    audience: str | None,
    nonce: str | None,
) -> str:
    """Return a proof for one call (draft Section 7.2).

    Raises:
        ConfigError: when the arguments make it too large.
    """
    payload: JsonObject = {
        "jti": new_id(now),
        "iat": int(now),
        "aat_id": token_id,
        "aat_hash": token_digest,
        "aat_tool": tool,
        "hta": arguments,
    }
    if audience is not None:
        payload["aat_aud"] = audience
    if nonce is not None:
        payload["nonce"] = nonce
    proof = sign_proof(payload, key)
    if len(proof) > MAX_PROOF_SIZE:
        raise ConfigError(f"the arguments of {shown(tool)} make the proof larger than {MAX_PROOF_SIZE} bytes")
    return proof


def verify_proof(
    proof: str,
    chain: VerifiedChain,
    *,
    tool: str,
    arguments: JsonObject,
    now: int,
    nonce: str | None,
    policy: ProofPolicy,
) -> Proof:
    """Verify a proof for one call, steps 7a to 7h; whether it is a replay, the ledger knows (7i).

    Raises:
        TokenRejected: when it does not prove possession for this call, here and now.
    """
    try:
        envelope = Envelope.read(proof, PROOF, max_size=MAX_PROOF_SIZE)
        payload = envelope.opened_with(chain.leaf.holder)
        if payload is None:
            raise _invalid("was not signed by the holder of the token")  # 7b
        identifier = _text(payload, "jti")
        _check_target(payload, chain, tool, arguments)
    except EncodingError as error:
        raise _invalid(str(error)) from None
    _check_audience(payload, policy)
    issued_at = payload.get("iat")
    if type(issued_at) is not int or not -policy.window <= now - issued_at <= policy.window:  # 7g
        raise _invalid(f"was not made within {policy.window} seconds of now")
    if nonce is not None and not _same_nonce(payload.get("nonce"), nonce):  # 7h
        raise _invalid("does not carry the nonce it was asked for")
    return Proof(f"{chain.leaf.holder.thumbprint}:{identifier}", issued_at + MAX_WINDOW + 1)


def _same_nonce(carried: object, asked: object) -> bool:
    if not isinstance(carried, str) or not isinstance(asked, str):
        return False
    if len(carried) != len(asked) or not asked.strip():
        return False
    return hmac.compare_digest(carried.encode("utf-8", "replace"), asked.encode("utf-8", "replace"))


def _invalid(problem: str) -> TokenRejected:
    return TokenRejected("proof_invalid", f"The proof of possession {problem}.")


def _text(payload: JsonObject, name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not value or len(value) > _MAX_ID * 8:
        raise EncodingError(f"has a {name} that is not text")
    return value


def _check_target(payload: JsonObject, chain: VerifiedChain, tool: str, arguments: JsonObject) -> None:
    """Steps 7c, 7e and 7f."""
    if len(_text(payload, "jti")) > _MAX_ID:
        raise _invalid("has an identifier that is too long")
    if _text(payload, "aat_id") != chain.leaf.id or _text(payload, "aat_hash") != chain.digests[-1]:
        raise _invalid("was made for another token")
    if _text(payload, "aat_tool") != tool:
        raise _invalid("was made for another tool")
    proved = payload.get("hta")
    if not isinstance(proved, dict) or canonicalize(proved) != canonicalize(arguments):
        raise _invalid("was made for other arguments")


def _check_audience(payload: JsonObject, policy: ProofPolicy) -> None:
    """Step 7d."""
    if "aat_aud" in payload:
        audience = payload["aat_aud"]
        if not isinstance(audience, str) or audience not in policy.audiences:
            raise TokenRejected("audience_mismatch", "The proof was made for another enforcement point.")
    elif policy.require_audience:
        raise TokenRejected("audience_mismatch", "The proof does not name this enforcement point.")
