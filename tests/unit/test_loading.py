"""R30: a token is loaded from an environment variable, a file, or handed over as it is."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import remit

from .support import World, verdict


def test_a_credential_is_read_from_the_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    credential = world.issue()
    monkeypatch.setenv("REMIT_CREDENTIAL", credential.to_json())
    loaded = remit.Credential.from_env(clock=world.clock)
    assert (loaded.token_id, loaded.has_key) == (credential.token_id, True)
    assert verdict(lambda: world.guard.check(loaded, "tool:use", {})) == "allowed"
    monkeypatch.setenv("OTHER", f"  {credential.to_json()}\n")
    assert remit.Credential.from_env("OTHER").token_id == credential.token_id


def test_a_bare_token_is_read_from_the_environment_and_proves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = world.issue()
    monkeypatch.setenv("REMIT_CREDENTIAL", credential.token)
    loaded = remit.Credential.from_env("REMIT_CREDENTIAL")
    assert (loaded.agent, loaded.has_key) == ("agent-a", False)
    assert world.guard.validate(loaded).agent == "agent-a"
    assert verdict(lambda: world.guard.check(loaded, "tool:use", {})) == "proof_missing"


def test_a_credential_is_read_from_a_file(world: World, tmp_path: Path) -> None:
    credential = world.issue()
    credential.save(tmp_path / "credential")
    for path in (tmp_path / "credential", str(tmp_path / "credential")):
        assert verdict(lambda: world.guard.check(remit.Credential.load(path), "tool:use", {})) == "allowed"


def test_what_was_delivered_is_a_token_or_a_chain_with_or_without_its_key(world: World) -> None:
    credential = world.issue(max_depth=1)
    child = credential.delegate("worker", ["tool:use"])
    key = json.loads(child.to_json())["holder_key"]
    assert remit.Credential.from_token(credential.token).agent == "agent-a"
    for chain in (child.chain, list(child.chain)):
        held = remit.Credential.from_token(chain, key, clock=world.clock)
        assert (held.agent, held.issuer, held.has_key) == ("worker", credential.issuer, True)
        assert verdict(lambda: world.guard.check(held, "tool:use", {})) == "allowed"


def test_the_last_token_of_a_chain_alone_is_not_enough(world: World) -> None:
    child = world.issue(max_depth=1).delegate("worker", ["tool:use"])
    assert verdict(lambda: world.guard.validate(child.token)) == "token_issuer_untrusted"


def test_a_token_says_of_itself_what_anybody_may_have_written(world: World) -> None:
    stranger = remit.Issuer.generate("https://other.example").issue("admin", ["everything"])
    held = remit.Credential.from_token(stranger.chain)
    assert held.agent == "admin"  # it says so; that is no reason to believe it
    assert verdict(lambda: world.guard.validate(held)) == "token_issuer_untrusted"


@pytest.mark.parametrize("value", ["", "  ", None])
def test_a_variable_that_is_not_set_is_named(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("REMIT_CREDENTIAL", raising=False)
    else:
        monkeypatch.setenv("REMIT_CREDENTIAL", value)
    with pytest.raises(remit.ConfigError, match="'REMIT_CREDENTIAL' is not set"):
        remit.Credential.from_env("REMIT_CREDENTIAL")


@pytest.mark.parametrize("variable", ["", " ", "A=B", "A\x00", None, 5])
def test_a_name_that_no_variable_has_is_refused(variable: Any) -> None:
    with pytest.raises(remit.ConfigError):
        remit.Credential.from_env(variable)


@pytest.mark.parametrize(
    "members",
    [{}, {"chain": []}, {"chain": "x"}, {"chain": [1]}, {"chain": ["a.b.c"]}, {"holder_key": {}}],
    ids=repr,
)
def test_an_object_that_is_no_credential_is_refused(
    members: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_CREDENTIAL", json.dumps(members))
    with pytest.raises(remit.KeyFileError, match="holds no credential"):
        remit.Credential.from_env("REMIT_CREDENTIAL")


def test_a_key_that_is_not_the_tokens_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = (json.loads(world.issue().to_json()) for _ in range(2))
    keys: tuple[Any, ...] = (other["holder_key"], {**mine["holder_key"], "x": other["holder_key"]["x"]}, {**mine["holder_key"], "d": "AA"},
                {"kty": "OKP", "crv": "Ed25519", "x": mine["holder_key"]["x"]}, [], "d", 5)  # fmt: skip
    for key in keys:
        monkeypatch.setenv("REMIT_CREDENTIAL", json.dumps({"chain": mine["chain"], "holder_key": key}))
        with pytest.raises(remit.KeyFileError):
            remit.Credential.from_env("REMIT_CREDENTIAL")


@pytest.mark.parametrize("chain", [None, [], (), "", 5, [None], ["a.b.c"] * 2, {"a": 1}, [b"x"]], ids=repr)
def test_tokens_that_are_none_are_refused(chain: Any) -> None:
    with pytest.raises(remit.TokenRejected):
        remit.Credential.from_token(chain)
