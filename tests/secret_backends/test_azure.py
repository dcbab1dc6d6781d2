"""R10: the Azure backend, through the real client, to a server of the tests' own."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

import remit
from remit.secrets.backends.azure import Azure

from .conftest import free_port
from .support import PATIENT, Web, check_guarded, why

CANARY = "canary-a2u4e0"
VERSION = "0123456789abcdef0123456789abcdef"
CHALLENGE = 'Bearer authorization="https://login.example/tenant", resource="https://vault.azure.net"'


class Credential:
    """Gives a token, and remembers what for."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> Any:
        from azure.core.credentials import AccessToken

        self.scopes += scopes
        return AccessToken("canary-azure-token", int(time.time()) + 3600)


def _client(url: str, vault: str, credential: Any = None) -> Any:
    """The real client for a vault, whose requests go to the server at `url` instead."""
    from azure.core.pipeline.transport import RequestsTransport
    from azure.keyvault.secrets import SecretClient

    class Diverted(RequestsTransport):  # type: ignore[misc,unused-ignore]
        def send(self, request: Any, **options: Any) -> Any:
            assert request.url.startswith(vault)
            meant, request.url = request.url, url + request.url.removeprefix(vault)
            try:
                return super().send(request, **options)
            finally:
                request.url = meant

    return SecretClient(
        vault,
        credential or Credential(),
        transport=Diverted(),
        retry_total=0,
        connection_timeout=1,
        read_timeout=3,
    )


def _value(value: str) -> tuple[int, dict[str, Any]]:
    return 200, {
        "value": value,
        "id": f"https://my-vault.vault.azure.net/secrets/x/{VERSION}",
        "attributes": {},
    }


def _error(status: int, code: str) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": code, "message": CANARY}, "challenge": CHALLENGE}


class Vaults(Web):
    """Key vaults: without a token they say where to get one."""

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """What is asked without a token is refused, with the challenge."""
        if "Authorization" not in self.asked[-1][1]:
            return _error(401, "Unauthorized")
        return super().answer(path.rstrip("/"))


@pytest.fixture
def azure(web: Web) -> Web:
    web.__class__ = Vaults
    web.answers = {
        "/secrets/db": _value(CANARY),
        f"/secrets/db/{VERSION}": _value("older"),
        "/secrets/fields": _value(json.dumps({"password": CANARY, "port": 1})),
        "/secrets/denied": _error(403, "Forbidden"),
        "/secrets/broken": _error(500, "InternalServerError"),
        "/secrets/stranger": _error(401, "Unauthorized"),
    }
    return web


def _backends(web: Web, made: list[str] | None = None) -> dict[str, Any]:
    def make(vault: str) -> Any:
        if made is not None:
            made.append(vault)
        return _client(web.url, vault)

    return {"azure": Azure(make)}


def _secrets(web: Web, reference: str, **options: Any) -> remit.Secrets:
    return remit.Secrets({"KEY": reference}, backends=_backends(web), **{**PATIENT, **options})


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("azure://my-vault/db", CANARY),
        (f"azure://my-vault/db/{VERSION}", "older"),
        ("azure://my-vault.vault.azure.net/db", CANARY),
        ("azure://my-vault/fields#password", CANARY),
    ],
)
def test_a_secret_is_read(azure: Web, reference: str, value: str) -> None:
    assert _secrets(azure, reference).fetch("KEY") == value


@pytest.mark.parametrize("reference", ["none", f"db/{'f' * 32}", "fields#user"])
def test_what_is_not_there_is_not_found(azure: Web, reference: str) -> None:
    assert why(_secrets(azure, f"azure://my-vault/{reference}"))[0] == "secret_not_found"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("denied", "access is denied"),
        ("stranger", "refused"),
        ("broken", "Azure answered with an error"),
        ("fields#port", "the field is not text"),
        ("db#password", "not a JSON object"),
    ],
)
def test_a_failure_is_said_without_what_azure_said(azure: Web, reference: str, said: str) -> None:
    code, reason = why(_secrets(azure, f"azure://my-vault/{reference}"))
    assert (code, said in reason) == ("secret_backend_error", True)
    assert "canary" not in reason


def test_one_client_a_vault_is_made_and_used_again(azure: Web) -> None:
    made: list[str] = []
    references = {
        "A": "azure://my-vault/db",
        "B": "azure://my-vault.vault.azure.net/db",
        "C": "azure://other/db",
    }
    secrets = remit.Secrets(references, backends=_backends(azure, made), ttl=None, **PATIENT)
    for _ in range(2):
        assert [secrets.fetch(name) for name in secrets.names] == [CANARY] * 3
    assert made == ["https://my-vault.vault.azure.net", "https://other.vault.azure.net"]


def test_a_vault_of_another_cloud_is_asked_where_it_is() -> None:
    asked: list[str] = []

    def make(vault: str) -> Any:
        asked.append(vault)
        raise OSError(CANARY)

    for cloud in ("vault.azure.cn", "vault.usgovcloudapi.net"):
        secrets = remit.Secrets({"KEY": f"azure://my-vault.{cloud}/db"}, backends={"azure": Azure(make)})
        assert why(secrets)[1].endswith("could not give 'KEY': it failed with OSError.")
    assert asked == ["https://my-vault.vault.azure.cn", "https://my-vault.vault.usgovcloudapi.net"]


def test_a_server_that_is_not_there_or_never_answers_is_not_waited_for() -> None:
    nobody, deaf = Web(), Web()
    nobody.url = f"http://127.0.0.1:{free_port()}"
    assert "cannot be reached" in why(_secrets(nobody, "azure://my-vault/db"))[1]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        deaf.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert "did not answer in time" in why(_secrets(deaf, "azure://my-vault/db", timeout="1s"))[1]


def test_the_client_it_makes_itself_is_the_real_one_with_the_default_credential() -> None:
    from azure.identity import DefaultAzureCredential
    from azure.keyvault.secrets import SecretClient

    from remit.secrets.backends import azure as module

    client = module._client("https://my-vault.vault.azure.net")
    assert isinstance(client, SecretClient)
    assert client.vault_url == "https://my-vault.vault.azure.net"
    policy: Any = client._client._config.authentication_policy
    assert isinstance(policy._credential, DefaultAzureCredential)
    client.close()


def test_all_of_it_is_recorded_and_none_of_it_told(azure: Web, caplog: pytest.LogCaptureFixture) -> None:
    references = {
        "GOOD": "azure://my-vault/fields#password",
        "MISSING": "azure://my-vault/none",
        "FAILING": "azure://my-vault/denied",
    }
    expected = {"GOOD": CANARY, "MISSING": "secret_not_found", "FAILING": "secret_backend_error"}
    check_guarded(remit.Secrets(references, backends=_backends(azure), **PATIENT), expected, caplog)
    assert "canary-azure-token" not in caplog.text
