"""Another JOSE library verifies what the service issues, with the keys it publishes, and asks nobody (R28)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from remit.cli.rotation import rotate_key
from remit.token import unverified_claims

from .oauth import Face, deployed, served
from .support import holder

KEYS: Final = "/.well-known/jwks.json"
VERIFIER: Final = """
import json, sys
from joserfc import jwt
from joserfc.jwk import KeySet
known = json.load(sys.stdin)
token = jwt.decode(known["token"], KeySet.import_key_set(known["keys"]), algorithms=["Ed25519"])
assert "remit" not in sys.modules
print(json.dumps([token.header, token.claims]))
"""


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """One service for all these tests."""
    with served(deployed(tmp_path_factory.mktemp("jose") / "deployment")) as made:
        yield made


def keys(face: Face) -> dict[str, Any]:
    published: dict[str, Any] = face.client().get(KEYS).json()
    return published


def decoded(token: str, published: Any) -> Any:
    return jwt.decode(token, KeySet.import_key_set(published), algorithms=["Ed25519"])


def test_a_process_without_remit_verifies_a_token(face: Face) -> None:
    known: dict[str, Any] = {"token": face.token(holder(), scope="READ"), "keys": keys(face)}
    found = subprocess.run(
        [sys.executable, "-I", "-c", VERIFIER],
        input=json.dumps(known),
        capture_output=True,
        text=True,
        check=True,
    )
    header, claims = json.loads(found.stdout)
    assert (header["alg"], header["typ"], header["kid"]) == (
        "Ed25519",
        "aat+jwt",
        known["keys"]["keys"][0]["kid"],
    )
    assert claims == unverified_claims(known["token"])[1].payload()


def test_a_token_that_was_changed_does_not_verify(face: Face) -> None:
    token = face.token(holder(), scope="READ")
    head, payload, signature = token.split(".")
    other = face.token(holder(), scope="orders:read").split(".")
    for forged in (f"{head}.{other[1]}.{signature}", f"{head}.{payload}.{other[2]}", f"{head}.{payload}."):
        with pytest.raises(JoseError):
            decoded(forged, keys(face))


def test_tokens_of_before_and_after_a_rotation_verify(face: Face) -> None:
    before = face.token(holder(), scope="READ")
    rotation = rotate_key(face.instance.config)
    after = face.token(holder(), scope="READ")
    published = keys(face)
    assert [decoded(token, published).header["kid"] for token in (before, after)] == [
        rotation.previous,
        rotation.kid,
    ]
    face.instance.guard.revoke_key(rotation.previous)
    left = keys(face)
    assert decoded(after, left).claims["sub"] == "pricing-agent"
    with pytest.raises((JoseError, ValueError)):
        decoded(before, left)


def test_a_library_that_does_not_know_a_restriction_refuses_the_token(face: Face) -> None:
    with pytest.raises(JoseError):
        decoded(face.token(holder(), scope="trades:propose"), keys(face))
