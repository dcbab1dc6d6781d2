"""`remit doctor`: what it finds is what `remit.config.doctor` finds, with a status for scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from .support import Deployment


@pytest.fixture
def sound(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment without an error."""
    monkeypatch.setenv("BROKER_API_KEY", "x")
    monkeypatch.setenv("ORDERS_DB", "x")
    deployment.run("revoke", "token-1")
    return deployment


def test_warnings_alone_are_no_failure_unless_they_are_to_be(sound: Deployment) -> None:
    document = sound.json("doctor")
    assert document["ok"] is True
    severities = {finding["severity"] for finding in document["findings"]}
    assert "error" not in severities
    assert "warning" in severities
    assert sound.json("doctor", "--strict", status=1)["ok"] is False


def test_an_error_is_a_failure_and_is_named(sound: Deployment) -> None:
    Path("issuer.key").chmod(0o644)
    result = sound.run("doctor", status=1)
    assert "error: R001-key-file-open: " in result.stdout
    ids = {finding["id"]: finding for finding in sound.json("doctor", status=1)["findings"]}
    assert set(ids["R001-key-file-open"]) == {"id", "severity", "where", "what", "remedy"}


def test_a_policy_file_that_makes_no_sense_is_a_finding(sound: Deployment) -> None:
    with Path("remit.toml").open("a", encoding="utf-8") as file:
        file.write('\n[agents.x]\ncapabilitys = ["a"]\n')
    findings = sound.json("doctor", status=1)["findings"]
    assert any(
        finding["id"].startswith("R010") and "did you mean 'capabilities'" in finding["what"]
        for finding in findings
    )


def test_a_file_that_is_not_there_is_a_finding(sound: Deployment) -> None:
    assert sound.json("doctor", "--config", "nosuch.toml", status=1)["ok"] is False


def test_it_changes_nothing(deployment: Deployment) -> None:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    deployment.run("doctor", status=None)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
