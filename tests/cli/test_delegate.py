"""`remit delegate`: a narrower child, offline."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.keys import HolderKey

from .support import Deployment, payload_of


@pytest.fixture
def parent(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> remit.Credential:
    credential = deployment.issued()
    monkeypatch.setenv("REMIT_CREDENTIAL", credential.to_json())
    return credential


def test_a_child_is_narrower_and_works(deployment: Deployment, parent: remit.Credential) -> None:
    document = deployment.json(
        "delegate", "--agent", "worker", "--capability", "trades:propose", "--secret", "BROKER_API_KEY",
        "--ttl", "2m", "--session", "s", "--task", "t", "--audience", "desk", "--max-depth", "1",
    )  # fmt: skip
    payload = payload_of(document["token"])
    assert document["chain"] == [parent.token, document["token"]]
    assert (document["agent"], document["issuer"]) == ("worker", parent.issuer)
    assert document["capabilities"] == ["trades:propose"]
    assert document["secrets"] == ["BROKER_API_KEY"]
    assert payload["exp"] - payload["iat"] == 120
    assert (payload["sid"], payload["task"], payload["aud"]) == ("s", "t", "desk")
    assert payload["del_max_depth"] - payload["del_depth"] == 1
    child = remit.Credential.from_token(document["credential"]["chain"], document["credential"]["holder_key"])
    guard = remit.Guard([remit.Issuer.load("issuer.key").anchor], audience="desk")
    assert (
        guard.check(child, "trades:propose", {"symbol": "ACME", "amount": 1}, session="s", task="t").agent
        == "worker"
    )


def test_it_needs_no_policy_file(deployment: Deployment, parent: remit.Credential) -> None:
    Path("remit.toml").unlink()
    assert deployment.json("delegate", "--agent", "w", "--capability", "prices:read")["capabilities"] == [
        "prices:read"
    ]


def test_without_a_ttl_it_lives_as_long_as_its_parent(
    deployment: Deployment, parent: remit.Credential
) -> None:
    document = deployment.json("delegate", "--agent", "w", "--capability", "prices:read")
    assert document["expires_at"] == int(parent.expires_at.timestamp())


@pytest.mark.parametrize(
    "command", [["delegate", "--agent", "w"], ["delegate", "--capability", "prices:read"]]
)
def test_who_and_what_must_be_named(
    command: list[str], deployment: Deployment, parent: remit.Credential
) -> None:
    deployment.run(*command, status=2)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--capability", "users:read"], "attenuation_error"),
        (["--capability", ""], "attenuation_error"),
        (["--capability", "prices:read", "--ttl", "11m"], "attenuation_error"),
        (["--capability", "prices:read", "--max-depth", "2"], "attenuation_error"),
        (["--capability", "prices:read", "--secret", "BROKER_API_KEY"], "attenuation_error"),
        (["--capability", "prices:read", "--ttl", "0s"], "config_error"),
        (["--capability", "prices:read", "--max-depth", "-1"], "config_error"),
        (["--capability", "prices:read", "--session", " "], "config_error"),
        (["--capability", "prices:read", "--capability", "prices:read"], "config_error"),
    ],
)
def test_what_would_widen_or_makes_no_sense_is_refused(
    options: list[str], code: str, deployment: Deployment, parent: remit.Credential
) -> None:
    assert deployment.json("delegate", "--agent", "w", *options, status=1)["code"] == code


def test_a_grant_file_narrows_and_limits(deployment: Deployment, parent: remit.Credential) -> None:
    grant: dict[str, Any] = {
        "capabilities": [{"capability": "trades:propose", "arguments": {"symbol": "ACME", "amount": {"min": 5, "max": 7}}}],
        "limits": {"trades:propose": {"max_uses": 1}},
    }  # fmt: skip
    Path("grant.json").write_text(json.dumps(grant), encoding="utf-8")
    document = deployment.json("delegate", "--agent", "w", "--grant", "grant.json")
    payload: dict[str, Any] = payload_of(document["token"])
    assert payload["limits"] == {"trades:propose": {"max_uses": 1}}
    grant["capabilities"] = ["trades:propose"]
    Path("grant.json").write_text(json.dumps(grant), encoding="utf-8")
    refused = deployment.json("delegate", "--agent", "w", "--grant", "grant.json", status=1)
    assert (refused["code"], refused["capability"]) == ("attenuation_error", "trades:propose")


def test_a_token_without_its_key_cannot_be_delegated(
    deployment: Deployment, parent: remit.Credential
) -> None:
    command = ["delegate", parent.token, "--agent", "w", "--capability", "prices:read"]
    assert deployment.json(*command, status=1)["code"] == "proof_missing"


def test_a_child_goes_into_a_file_of_its_owner(deployment: Deployment, parent: remit.Credential) -> None:
    command = ["delegate", "--agent", "w", "--capability", "prices:read", "--out", "w.json"]
    deployment.run(*command)
    assert stat.S_IMODE(Path("w.json").stat().st_mode) == 0o600
    assert remit.Credential.load("w.json").agent == "w"
    assert "never overwritten" in deployment.run(*command, status=1).stderr


def test_a_child_with_a_key_of_its_own(deployment: Deployment, parent: remit.Credential) -> None:
    key = HolderKey.generate()
    Path("w.jwk").write_text(json.dumps(key.public.jwk), encoding="ascii")
    document = deployment.json("delegate", "--agent", "w", "--capability", "prices:read", "--holder", "w.jwk")
    assert payload_of(document["token"])["cnf"]["jwk"] == key.public.jwk
    own = json.loads(parent.to_json())["holder_key"]
    Path("own.jwk").write_text(
        json.dumps({name: own[name] for name in ("kty", "crv", "x")}), encoding="ascii"
    )
    command = ["delegate", "--agent", "w", "--capability", "prices:read", "--holder", "own.jwk"]
    assert deployment.json(*command, status=1)["code"] == "attenuation_error"


def test_a_chain_ends_where_its_depth_does(deployment: Deployment, parent: remit.Credential) -> None:
    first = deployment.run(
        "delegate", "--agent", "a", "--capability", "prices:read", "--max-depth", "1"
    ).stdout
    second = deployment.run(
        "delegate", "-", "--agent", "b", "--capability", "prices:read", stdin=first
    ).stdout
    assert deployment.json("check", "-", stdin=second)["agent"] == "b"
    third = deployment.run(
        "delegate", "-", "--agent", "c", "--capability", "prices:read", stdin=second, status=1
    )
    assert "may not be delegated" in third.stderr
