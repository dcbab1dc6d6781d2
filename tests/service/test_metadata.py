"""What is published: the keys (RFC 7517), and where everything is (RFC 8414)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from remit.cli.rotation import rotate_key

from .oauth import Face, deployed, served
from .support import URI

KEYS = "/.well-known/jwks.json"
SERVER = "/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """One service for all these tests."""
    with served(deployed(tmp_path_factory.mktemp("metadata") / "deployment")) as made:
        yield made


@pytest.fixture
def client(face: Face) -> TestClient:
    return face.client()


def kids(client: TestClient) -> list[str]:
    return [key["kid"] for key in client.get(KEYS).json()["keys"]]


def test_the_keys_are_public_and_named(face: Face, client: TestClient) -> None:
    key = face.instance.keys.issuer().anchor.key
    answer = client.get(KEYS)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"keys": [{**key.jwk, "kid": key.thumbprint, "alg": "Ed25519", "use": "sig"}]}


def test_the_metadata_say_where_everything_is(client: TestClient) -> None:
    said = client.get(SERVER).json()
    assert said["issuer"] == said["remit_token_issuer"] == URI
    assert said["aat_issuer"] is True
    assert said["authorization_details_types_supported"] == ["attenuating_agent_token"]
    assert said["grant_types_supported"] == [
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ]
    for name, value in said.items():
        if name.endswith(("_endpoint", "_uri")):
            assert value.startswith(f"{URI}/"), name
            answer = client.request("POST" if name.endswith("_endpoint") else "GET", value.removeprefix(URI))
            assert answer.status_code not in {404, 405}, name


def test_the_metadata_go_by_the_url_of_the_service(tmp_path: Path) -> None:
    url = "https://tokens.acme.example/remit"
    with served(deployed(tmp_path / "deployment", uri="urn:acme:agents", service=f'url = "{url}/"')) as face:
        said = TestClient(face.app, base_url="https://tokens.acme.example").get(SERVER).json()
    assert (said["issuer"], said["token_endpoint"]) == (url, f"{url}/token")
    assert said["remit_token_issuer"] == "urn:acme:agents"


@pytest.mark.parametrize("path", ["/tenant", "/a/b", "/a%20b"])
def test_the_metadata_are_where_those_of_an_issuer_with_a_path_are(tmp_path: Path, path: str) -> None:
    """Between the host and the path, as RFC 8414, Section 3.1, has it; and where they are without."""
    with served(deployed(tmp_path / "deployment", uri=f"{URI}{path}")) as face:
        client = TestClient(face.app, base_url=URI)
        told = client.get(f"{SERVER}{path}")
        assert told.json()["issuer"] == f"{URI}{path}"
        assert told.json()["jwks_uri"] == f"{URI}{path}{KEYS}"
        assert told.content == client.get(SERVER).content
        again = client.get(f"{SERVER}{path}", headers={"If-None-Match": told.headers["etag"]})
        assert again.status_code == 304
        for other in (f"{path}/", f"{path}x", "/", f"/{path}", "/other", path.upper()):
            answer = client.get(f"{SERVER}{other}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), other


def test_an_issuer_without_a_path_has_its_metadata_in_one_place(client: TestClient) -> None:
    for path in ("/tenant", "/", "//"):
        assert client.get(f"{SERVER}{path}").status_code == 404


@pytest.mark.parametrize("path", [KEYS, SERVER])
def test_what_has_not_changed_is_not_sent_again(client: TestClient, path: str) -> None:
    answer = client.get(path)
    tag = answer.headers["etag"]
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert tag.startswith('"')
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["etag"], again.headers["cache-control"]) == (tag, "public, max-age=60")
    for unknown in ('"other"', "", tag.strip('"'), tag[:-2] + '"'):
        assert client.get(path, headers={"If-None-Match": unknown}).content == answer.content


def test_a_key_is_published_for_as_long_as_it_is_trusted(tmp_path: Path) -> None:
    with served(deployed(tmp_path / "deployment")) as face, served(face.deployment) as second:
        clients = (face.client(), second.client())
        before = [client.get(KEYS).headers["etag"] for client in clients]
        rotation = rotate_key(face.instance.config)
        for client in clients:
            assert kids(client) == [rotation.kid, rotation.previous]
        assert clients[0].get(KEYS, headers={"If-None-Match": before[0]}).status_code == 200
        face.instance.guard.revoke_key(rotation.previous, reason="retired")
        for client in clients:
            assert kids(client) == [rotation.kid]
        second.instance.guard.revoke_key(rotation.kid, reason="compromised")
        for client in clients:
            assert kids(client) == []
