"""An attack: a holder writes itself a child token that grants more than its own, by hand.

No function of Remit's is used to sign, so nothing in the holder's process stands in its way. The
signature is good, and so is the link to the parent. It is the guard that has to refuse.
"""

import base64
import hashlib
import json
import secrets
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import remit


def forge_child(parent: remit.Credential, tools: dict[str, Any]) -> remit.Credential:
    """Return a credential whose last token was signed with the parent's own key and grants `tools`."""
    parent_key = Ed25519PrivateKey.from_private_bytes(decode(json.loads(parent.to_json())["holder_key"]["d"]))
    child_key = Ed25519PrivateKey.generate()
    head, body, _ = parent.token.split(".")
    claims = json.loads(decode(body))
    claims |= {
        "jti": secrets.token_hex(16),
        "iss": "urn:ietf:params:oauth:jwk-thumbprint:sha-256:" + thumbprint(parent_key),
        "sub": "accomplice",
        "cnf": {"jwk": public_jwk(child_key)},
        "del_depth": claims["del_depth"] + 1,
        "par_hash": encode(hashlib.sha256(f"{head}.{body}".encode()).digest()),
        "authorization_details": [{"type": "attenuating_agent_token", "tools": tools}],
    }
    claims.pop("limits", None)
    signed = f"{encode_json({'alg': 'Ed25519', 'typ': 'aat+jwt'})}.{encode_json(claims)}"
    token = f"{signed}.{encode(parent_key.sign(signed.encode()))}"
    return remit.Credential.from_token([*parent.chain, token], child_key)


def public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    """Return the public half of a key as a JWK (RFC 8037)."""
    return {"crv": "Ed25519", "kty": "OKP", "x": encode(key.public_key().public_bytes_raw())}


def thumbprint(key: Ed25519PrivateKey) -> str:
    """Return the thumbprint of a key (RFC 7638)."""
    return encode(hashlib.sha256(compact(public_jwk(key))).digest())


def encode_json(value: dict[str, Any]) -> str:
    """Return a JSON object as base64url."""
    return encode(compact(value))


def compact(value: dict[str, Any]) -> bytes:
    """Return a JSON object without spaces, its members in order."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def encode(data: bytes) -> str:
    """Return bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes that base64url without padding stands for."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
