"""No private key, no secret and no token in any output but where it was asked for (R19)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import remit

from .support import Deployment

SECRET = "k-canary-3141592653"


def test_nothing_that_is_printed_holds_a_canary(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_API_KEY", SECRET)
    credential = deployment.issued()
    monkeypatch.setenv("REMIT_CREDENTIAL", credential.to_json())
    child = deployment.json("delegate", "--agent", "w", "--capability", "prices:read", "--out", "w.json")
    pem = json.loads(Path("issuer.key").read_text(encoding="utf-8"))["private_key"]
    canaries = [SECRET, "".join(pem.split("\n")[1:-2])]
    canaries += [
        json.loads(Path(name).read_text(encoding="utf-8"))["holder_key"]["d"]
        for name in ("pricing-agent.json", "w.json")
    ]
    assert child["chain"][0] == credential.token
    tokens = [credential.token, remit.Credential.load("w.json").token]
    commands = [
        ["inspect"], ["inspect", "w.json"], ["check"], ["check", "w.json"], ["check", "--capability", "nosuch"],
        ["explain", "--capability", "trades:propose", "--arg", "amount=9999"], ["tokens"], ["keys"], ["secrets"],
        ["secrets", "check"], ["doctor"], ["audit", "tail"], ["audit", "verify"], ["revoke", "--token", "w.json"],
        ["revoke", "--agent", "pricing-agent"], ["revocations"], ["keys", "rotate"], ["keys"], ["check"], ["explain", "--capability", "x"],
        ["issue", "nosuch"], ["issue", "pricing-agent", "--out", "again.json"], ["delegate", "--agent", "w", "--capability", "nosuch"],
        ["init", "--issuer", "x:y"], ["--help"], ["check", "--help"],
    ]  # fmt: skip
    for arguments in commands:
        for extra in ([], ["--json"]):
            Path("again.json").unlink(missing_ok=True)
            if "rotate" in arguments and extra:
                continue
            output = "".join(deployment.run(*arguments, *extra, status=None).output.split())
            assert not any(canary in output for canary in canaries), arguments
            asked_for = arguments[0] == "issue" and bool(extra)
            assert asked_for or not any(token in output for token in tokens), arguments
            assert asked_for or "eyJhbGciOi" not in output, arguments


def test_the_files_of_a_run_hold_no_token_but_credentials(deployment: Deployment) -> None:
    credential = deployment.issued()
    deployment.run("check", "pricing-agent.json")
    deployment.run("check", credential.token)
    deployment.run("revoke", "--token", "pricing-agent.json")
    deployment.run("revocations")
    for path in Path().rglob("*"):
        if path.is_file() and path.name != "pricing-agent.json":
            data = path.read_bytes()
            assert credential.token.encode() not in data, path
            assert credential.token.split(".")[2].encode() not in data, path
