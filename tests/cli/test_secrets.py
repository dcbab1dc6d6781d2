"""`remit secrets`: names and places, never a value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .support import Deployment

CANARY = "k-canary-3141592653"


@pytest.fixture(autouse=True)
def _one_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_API_KEY", CANARY)


def test_the_list_asks_nobody(deployment: Deployment) -> None:
    assert deployment.json("secrets") == [
        {"name": "BROKER_API_KEY", "reference": "env://BROKER_API_KEY"},
        {"name": "ORDERS_DB", "reference": "env://ORDERS_DB"},
    ]
    text = deployment.run("secrets").stdout
    assert "env://BROKER_API_KEY" in text
    assert CANARY not in text


def test_a_check_says_what_can_be_had(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    result = deployment.run("secrets", "check", "--json", status=1)
    first, second = json.loads(result.stdout)
    assert first == {"name": "BROKER_API_KEY", "reference": "env://BROKER_API_KEY", "resolves": True}
    assert (second["resolves"], second["code"]) == (False, "secret_not_found")
    assert deployment.run("secrets", "check", status=1).stdout.startswith(
        "BROKER_API_KEY: ok\nORDERS_DB: secret_not_found"
    )
    assert deployment.run("secrets", "check", "BROKER_API_KEY").stdout == "BROKER_API_KEY: ok\n"
    monkeypatch.setenv("ORDERS_DB", "x")
    assert all(one["resolves"] for one in deployment.json("secrets", "check"))


def test_no_value_is_printed(deployment: Deployment) -> None:
    for arguments in (["secrets"], ["secrets", "check"], ["secrets", "check", "BROKER_API_KEY"], ["doctor"]):
        for extra in ([], ["--json"]):
            assert CANARY not in deployment.run(*arguments, *extra, status=None).output


def test_a_name_that_is_not_known_may_be_a_secret_and_is_not_repeated(deployment: Deployment) -> None:
    result = deployment.run("secrets", "check", CANARY, status=1)
    assert CANARY not in result.output
    assert "there are: BROKER_API_KEY, ORDERS_DB" in result.stderr


def test_a_deployment_without_secrets(deployment: Deployment) -> None:
    Path("remit.toml").write_text('[issuer]\nkey = "issuer.key"\n', encoding="utf-8")
    assert deployment.json("secrets") == deployment.json("secrets", "check") == []
    assert "no [secrets]" in deployment.run("secrets").stdout
    assert "no [secrets]" in deployment.run("secrets", "check").stdout


def test_a_file_that_holds_a_secret_is_asked(deployment: Deployment) -> None:
    Path("broker").write_text(CANARY, encoding="utf-8")
    policy = Path("remit.toml").read_text(encoding="utf-8")
    Path("remit.toml").write_text(policy.replace("env://ORDERS_DB", "file://broker"), encoding="utf-8")
    result = deployment.run("secrets", "check")
    assert result.stdout == "BROKER_API_KEY: ok\nORDERS_DB: ok\n"
    Path("broker").unlink()
    assert deployment.run("secrets", "check", status=1).exit_code == 1
