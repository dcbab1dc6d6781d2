"""R10: the vault backend, against a real OpenBao server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import remit

from .conftest import Bao, free_port
from .support import PATIENT, check_guarded, shown, why

pytestmark = pytest.mark.servers

CANARY = "canary-7d20c1"


@pytest.fixture(scope="module")
def stocked(bao: Bao) -> Bao:
    """KV version 2 at `secret` and at `team/kv`, version 1 at `old`, and something that is no KV."""
    client = bao.client()
    client.sys.enable_secrets_engine("kv", path="old", options={"version": "1"})
    client.sys.enable_secrets_engine("kv", path="bare")  # without a version: 1
    client.sys.enable_secrets_engine("kv", path="team/kv", options={"version": "2"})
    client.sys.enable_secrets_engine("transit", path="transit")
    fields = {
        "password": CANARY,
        "user": "app",
        "port": 5432,
        "nested": {"a": "b"},
        "none": None,
        "empty": "",
    }
    for mount in ("old", "bare"):
        client.write_data(f"{mount}/app/db", data=fields)
        client.write_data(f"{mount}/one", data={"value": CANARY})
    for mount in ("secret", "team/kv"):
        client.write_data(f"{mount}/data/app/db", data={"data": fields})
        client.write_data(f"{mount}/data/one", data={"data": {"value": CANARY}})
    client.write_data("secret/data/gone", data={"data": {"value": CANARY}})
    client.delete("secret/data/gone")
    client.adapter.close()
    return bao


@pytest.fixture
def server(stocked: Bao, use_bao: Callable[[Bao], None]) -> Bao:
    use_bao(stocked)
    return stocked


def _secrets(reference: str, **options: Any) -> remit.Secrets:
    return remit.Secrets({"KEY": reference}, **{**PATIENT, **options})


@pytest.mark.parametrize("mount", ["old", "bare", "secret", "team/kv"])
def test_a_field_is_read_from_either_version(server: Bao, mount: str) -> None:
    assert _secrets(f"vault://{mount}/app/db#password").fetch("KEY") == CANARY
    assert _secrets(f"vault://{mount}/one").fetch("KEY") == CANARY
    assert _secrets(f"vault://{mount}/one#value").fetch("KEY") == CANARY


@pytest.mark.parametrize("mount", ["old", "secret", "team/kv"])
def test_what_is_not_there_is_not_found(server: Bao, mount: str) -> None:
    for place in ("app/none#password", "app#password", "app/db#Password", "app/db#none", "app/db#empty"):
        assert why(_secrets(f"vault://{mount}/{place}"))[0] == "secret_not_found", place


def test_a_secret_that_was_deleted_is_not_found(server: Bao) -> None:
    assert why(_secrets("vault://secret/gone#value"))[0] == "secret_not_found"
    assert why(_secrets("vault://secret/gone"))[0] == "secret_not_found"


@pytest.mark.parametrize("mount", ["old", "secret"])
def test_a_field_must_be_named_unless_there_is_one(server: Bao, mount: str) -> None:
    code, reason = why(_secrets(f"vault://{mount}/app/db"))
    assert code == "secret_backend_error"
    assert "6 fields" in reason
    assert CANARY not in reason


@pytest.mark.parametrize("field", ["port", "nested"])
def test_a_field_that_is_not_text_is_refused(server: Bao, field: str) -> None:
    assert why(_secrets(f"vault://secret/app/db#{field}"))[0] == "secret_backend_error"


@pytest.mark.parametrize(
    "path", ["transit/keys/x", "sys/health", "auth/token/lookup-self", "cubbyhole/x", "identity/x"]
)
def test_nothing_is_read_that_is_no_kv_mount(server: Bao, path: str) -> None:
    assert why(_secrets(f"vault://{path}#id")) == (
        "secret_backend_error", "The backend 'vault' could not give 'KEY': the path is in no KV mount.",
    )  # fmt: skip


def test_a_wrong_token_and_a_path_outside_its_policy_are_refused(
    server: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "refuses the token" in why(_secrets("vault://nowhere/x#y"))[1]
    client = server.client()
    client.sys.create_or_update_policy("db-only", 'path "secret/data/app/*" { capabilities = ["read"] }')
    narrow = client.auth.token.create(policies=["db-only"], no_default_policy=True)["auth"]["client_token"]
    client.adapter.close()
    for token in ("canary-wrong-token", narrow):
        monkeypatch.setenv("VAULT_TOKEN", token)
        with pytest.raises(remit.SecretDenied) as caught:
            _secrets("vault://secret/one").fetch("KEY")
        assert caught.value.code == "secret_backend_error"
        assert "refuses the token" in caught.value.reason
        assert token not in shown(caught.value)
    assert _secrets("vault://secret/app/db#password").fetch("KEY") == CANARY


def test_a_server_that_is_sealed_or_stopped_is_said_to_be(
    own_bao: Bao, use_bao: Callable[[Bao], None]
) -> None:
    use_bao(own_bao)
    client = own_bao.client()
    client.write_data("secret/data/one", data={"data": {"value": CANARY}})
    secrets = _secrets("vault://secret/one", ttl=None)
    assert secrets.fetch("KEY") == CANARY
    client.sys.seal()
    client.adapter.close()
    code, reason = why(secrets)
    assert (code, "sealed" in reason) == ("secret_backend_error", True)
    own_bao.stop()
    code, reason = why(secrets)
    assert (code, "cannot be reached" in reason) == ("secret_backend_error", True)


def test_a_certificate_is_checked_against_the_one_that_is_named(
    tls_bao: Bao, use_bao: Callable[[Bao], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_bao(tls_bao)
    client = tls_bao.client()
    client.write_data("secret/data/one", data={"data": {"value": CANARY}})
    client.adapter.close()
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "true")  # of which nothing comes
    assert "certificate is not trusted" in why(_secrets("vault://secret/one"))[1]
    monkeypatch.setenv("VAULT_CACERT", str(tls_bao.cacert))
    assert _secrets("vault://secret/one").fetch("KEY") == CANARY


def test_openbao_has_variables_of_its_own_and_the_two_are_not_mixed(
    server: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = _secrets("vault://secret/one", ttl=None)
    monkeypatch.setenv("BAO_ADDR", server.url)
    assert why(secrets)[1].endswith("BAO_TOKEN is not set, and there is no ~/.vault-token.")
    monkeypatch.setenv("BAO_TOKEN", server.token)
    monkeypatch.setenv("VAULT_TOKEN", "another")
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{free_port()}")
    assert secrets.fetch("KEY") == CANARY
    monkeypatch.delenv("BAO_ADDR")
    assert "cannot be reached" in why(secrets)[1]
    monkeypatch.delenv("VAULT_ADDR")
    assert "neither VAULT_ADDR nor BAO_ADDR is set" in why(secrets)[1]
    monkeypatch.setenv("VAULT_ADDR", "127.0.0.1:8200")
    assert "no http or https address" in why(secrets)[1]


def test_the_token_may_be_in_the_file_that_the_command_line_writes(
    server: Bao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    secrets = _secrets("vault://secret/one", ttl=None)
    assert why(secrets)[0] == "secret_backend_error"
    (tmp_path / ".vault-token").write_text(f"{server.token}\n")
    assert secrets.fetch("KEY") == CANARY
    (tmp_path / ".vault-token").write_bytes(b"\xff\xff")
    assert why(secrets)[0] == "secret_backend_error"


def test_a_namespace_is_asked_for_as_it_is_named(server: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    client = server.client()
    client.write_data("sys/namespaces/team-a", data={})
    client.adapter.close()
    hvac: Any = import_module("hvac")
    inside = hvac.Client(url=server.url, token=server.token, namespace="team-a")
    inside.sys.enable_secrets_engine("kv", path="own", options={"version": "2"})
    inside.write_data("own/data/one", data={"data": {"value": CANARY}})
    inside.adapter.close()
    secrets = _secrets("vault://own/one", ttl=None)
    assert why(secrets)[0] == "secret_backend_error"
    monkeypatch.setenv("VAULT_NAMESPACE", "team-a")
    assert secrets.fetch("KEY") == CANARY


def test_a_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        monkeypatch.setenv("VAULT_TOKEN", "t")
        assert "did not answer in time" in why(_secrets("vault://secret/one", timeout="1s"))[1]


def test_all_of_it_is_recorded_and_none_of_it_told(server: Bao, caplog: pytest.LogCaptureFixture) -> None:
    references = {
        "GOOD": "vault://secret/app/db#password",
        "MISSING": "vault://secret/app/none#password",
        "FAILING": "vault://transit/app/db#password",
    }
    expected = {"GOOD": CANARY, "MISSING": "secret_not_found", "FAILING": "secret_backend_error"}
    check_guarded(remit.Secrets(references, **PATIENT), expected, caplog)
    with caplog.at_level(logging.DEBUG):
        check_guarded(remit.Secrets(references, ttl=None, **PATIENT), expected, caplog)
    assert server.token not in caplog.text
