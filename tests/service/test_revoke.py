"""`POST /revoke` (RFC 7009): the administrator revokes anything, a client its own tokens, nobody another's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import pytest
from starlette.testclient import TestClient

import remit
from remit.keys import HolderKey
from remit.token import unverified_claims

from .oauth import OTHER, OTHER_SIGNED_IN, SIGNED_IN, Face, deployed, refused, served
from .support import ADMIN as ADMIN_TOKEN
from .support import URI

PARTNER: Final = remit.Issuer.generate("https://partner.example")
"""Another issuer that the service trusts."""
ADMIN: Final = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """One service for all these tests."""
    made = deployed(tmp_path_factory.mktemp("revoke") / "deployment")
    PARTNER.anchor.save(made.folder / "anchors" / "partner.json")
    with served(made) as face:
        yield face


@pytest.fixture
def client(face: Face) -> TestClient:
    return face.client()


def give_back(client: TestClient, token: str, **parameters: str) -> None:
    """Revoke as `pricing-agent`, unless said otherwise; whatever comes of it, nothing is said."""
    answer = client.post("/revoke", data={**SIGNED_IN, "token": token, **parameters})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"


def stands(face: Face, credential: remit.Credential) -> bool:
    """Whether a credential may still be used, and was not revoked."""
    decision = face.instance.guard.explain(credential, "prices:read", {})
    assert decision.code in {None, "token_revoked"}
    return decision.allowed


def test_a_client_gives_back_its_token(face: Face, client: TestClient) -> None:
    held, other = face.credential(), face.credential()
    child = held.delegate("b", ["prices:read"])
    give_back(client, held.token)
    assert (stands(face, held), stands(face, child), stands(face, other)) == (False, False, True)
    give_back(client, held.token)
    give_back(client, json.dumps([other.token]))
    assert not stands(face, other)


def test_nobody_revokes_anothers_token(face: Face, client: TestClient) -> None:
    held, theirs = face.credential(), face.issue(agent="reader")
    give_back(client, held.token, **OTHER_SIGNED_IN)
    give_back(client, theirs.token)
    give_back(client, theirs.token, **OTHER_SIGNED_IN)
    assert stands(face, held)
    assert stands(face, theirs)


def test_a_name_that_another_issuer_gave_is_another_name(face: Face, client: TestClient) -> None:
    held = PARTNER.issue("pricing-agent", ["prices:read"])
    give_back(client, held.token)
    assert stands(face, held)


def test_nobody_revokes_by_an_identifier_that_they_made_up(face: Face, client: TestClient) -> None:
    """Holders name what they derive, and may name it as somebody else's token is named."""
    victim, own = face.issue(agent="reader"), face.credential()
    key = HolderKey.from_jwk(own._to_members()["holder_key"])  # type: ignore[arg-type]
    child = unverified_claims(own.delegate("pricing-agent", ["prices:read"]).token)[1]
    child.id = victim.token_id
    chain = json.dumps([own.token, child.signed(key).text])
    answer = client.post("/revoke", data={**SIGNED_IN, "token": chain})
    refused(answer, "unsupported_token_type")
    assert stands(face, victim)
    assert stands(face, own)


def test_a_token_that_was_forged_revokes_nothing(face: Face, client: TestClient) -> None:
    victim = face.credential()
    claims = unverified_claims(victim.token)[1]
    forger = HolderKey.generate()
    give_back(client, claims.signed(forger, kid=face.instance.keys.issuer().anchor.key.thumbprint).text)
    claims.agent = OTHER
    give_back(client, claims.signed(forger).text, **OTHER_SIGNED_IN)
    stranger = remit.Issuer.generate("https://stranger.example")
    give_back(client, stranger.issue("pricing-agent", ["prices:read"]).token)
    give_back(client, victim.token_id)
    assert stands(face, victim)


def test_nobody_is_told_that_a_token_is_gone_whose_key_is_not_known_here_yet(
    face: Face, client: TestClient
) -> None:
    """Another instance may sign with a new key already, which this one has still to read."""
    new = remit.Issuer.generate(URI)
    held = new.issue("pricing-agent", ["prices:read"], max_depth=1)
    chain = json.dumps(list(held.delegate("b", ["prices:read"]).chain))
    for text in (held.token, json.dumps([held.token]), chain):
        for signed_in, headers in ((SIGNED_IN, {}), ({}, ADMIN)):
            answer = client.post("/revoke", data={**signed_in, "token": text}, headers=headers)
            body = refused(answer, "temporarily_unavailable", 503)
            assert (body["code"], answer.headers["retry-after"]) == ("key_unknown", "1")
    new.anchor.save(face.deployment.folder / "anchors" / "new.json")
    with served(face.deployment) as second:  # an instance that knows it
        assert stands(second, held)
        give_back(second.client(), held.token)
        assert not stands(second, held)
    (face.deployment.folder / "anchors" / "new.json").unlink()


def test_a_forged_token_under_a_key_that_is_known_is_none(face: Face, client: TestClient) -> None:
    held = face.issue(max_depth=1)
    forger, known = HolderKey.generate(), face.instance.keys.issuer().anchor.key.thumbprint
    claims = unverified_claims(held.token)[1]
    give_back(client, claims.signed(forger, kid=known).text)
    child = unverified_claims(held.delegate("b", ["prices:read"]).token)[1]
    give_back(client, json.dumps([held.token, child.signed(forger).text]))
    head, _, signature = claims.signed(forger, kid=forger.public.thumbprint).text.split(".")
    give_back(client, f"{head}.bm90IGpzb24.{signature}")


def test_the_administrator_does_not_revoke_one_token_for_another(face: Face, client: TestClient) -> None:
    """A holder may give what it derives the identifier of somebody's token, and show it as its own."""
    victim = face.issue(agent="reader")
    own, key = face.issue(agent="mallory", max_depth=1), HolderKey.generate()
    signer = HolderKey.from_jwk(own._to_members()["holder_key"])  # type: ignore[arg-type]
    child = unverified_claims(own.delegate("m2", ["prices:read"], holder=key.public.jwk).token)[1]
    child.id = victim.token_id
    posing = [own.token, child.signed(signer).text]
    partners = unverified_claims(PARTNER.issue("p", ["prices:read"]).token)[1]
    partners.id = victim.token_id
    theirs = partners.signed(PARTNER._key, kid=PARTNER.anchor.key.thumbprint).text
    for text in (json.dumps(posing), theirs):
        answer = client.post("/revoke", data={"token": text}, headers=ADMIN)
        assert "another" in refused(answer, "invalid_request")["reason"]
        assert stands(face, victim)
    client.post("/revoke", data={"token": own.token}, headers=ADMIN)
    assert not stands(face, own)


@pytest.mark.parametrize(
    "text",
    ["x", "a.b.c", "{}", "[]", "[7]", "[" * 10_000, "A" * 400_000, "\x00", '["a.b.c"],"x":1'],
    ids=range(9),
)
def test_what_is_no_token_is_as_good_as_revoked(client: TestClient, text: str) -> None:
    give_back(client, text)


def test_the_administrator_revokes_a_leaf_alone(face: Face, client: TestClient) -> None:
    root = face.issue(max_depth=2)
    leaf, sibling = root.delegate("b", ["prices:read"]), root.delegate("c", ["prices:read"])
    for text in (json.dumps(list(leaf.chain)), json.dumps(leaf.present("prices:read", {}).to_dict())):
        answer = client.post("/revoke", data={"token": text}, headers=face.deployment.headers)
        assert (answer.status_code, answer.content) == (200, b"")
    assert [stands(face, held) for held in (leaf, sibling, root)] == [False, True, True]
    client.post("/revoke", data={"token": root.token}, headers=face.deployment.headers)
    assert not stands(face, sibling)


def test_what_was_revoked_is_refused_by_another_instance(face: Face, client: TestClient) -> None:
    held = face.credential()
    with served(face.deployment) as second:
        assert stands(second, held)
        give_back(client, held.token)
        assert not stands(second, held)


def test_it_is_recorded_who_gave_it_back(face: Face, client: TestClient) -> None:
    held = face.credential()
    give_back(client, held.token)
    newest = face.instance.guard.revocations()[0]
    assert (newest.token_id, newest.reason) == (held.token_id, "given back by pricing-agent")
    assert newest.expires_at == int(held.expires_at.timestamp())


def test_whoever_asks_signs_in(face: Face, client: TestClient) -> None:
    held = face.credential()
    refused(client.post("/revoke", data={"token": held.token}), "invalid_client", 401)
    refused(
        client.post("/revoke", data={"token": held.token, **SIGNED_IN, "client_secret": "x" * 40}),
        "invalid_client",
        401,
    )
    refused(
        client.post("/revoke", data={"token": held.token}, headers={"Authorization": f"Bearer {held.token}"}),
        "invalid_token",
        401,
    )
    assert stands(face, held)


def test_a_token_is_needed(client: TestClient) -> None:
    refused(client.post("/revoke", data=SIGNED_IN), "invalid_request")
    refused(client.post("/revoke", json={**SIGNED_IN, "token": "x"}), "invalid_request", 415)


def test_a_hint_changes_nothing(face: Face, client: TestClient) -> None:
    held = face.credential()
    give_back(client, held.token, token_type_hint="refresh_token")
    assert not stands(face, held)


def test_nothing_is_said_to_be_revoked_when_the_ledger_does_not_answer(
    face: Face, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = face.credential()

    def gone(*arguments: object) -> None:
        raise OSError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(face.instance.ledger, "revoke", gone)
        answer = client.post("/revoke", data={**SIGNED_IN, "token": held.token})
    assert refused(answer, "temporarily_unavailable", 503)["code"] == "ledger_unavailable"
    assert stands(face, held)
