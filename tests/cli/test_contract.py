"""The installed program: what scripts may rely on. Each test starts processes, so there are few."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import remit

from .support import PROGRAM, URI, Deployment, run


def test_generate_issue_validate_revoke_and_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R36, with every path from the environment."""
    place = tmp_path / "deployed"
    at = Deployment(tmp_path)
    assert at.program("init", "--issuer", URI, "--dir", str(place)).returncode == 0
    with (place / "remit.toml").open("a", encoding="utf-8") as file:
        file.write('[agents.reader]\ncapabilities = ["prices:read"]\n')
    monkeypatch.setenv("REMIT_CONFIG", str(place / "remit.toml"))
    issued = at.program("issue", "reader", "--json")
    assert issued.returncode == 0
    document = json.loads(issued.stdout)
    token, token_id = document["token"], document["token_id"]
    monkeypatch.setenv("REMIT_CREDENTIAL", json.dumps(document["credential"]))
    checked = at.program("check", "--json")
    assert (checked.returncode, json.loads(checked.stdout)["token_id"]) == (0, token_id)
    assert at.program("check", token).returncode == 0
    assert at.program("revoke", token_id).returncode == 0
    listed = json.loads(at.program("revocations", "--json").stdout)
    assert [entry["token_id"] for entry in listed] == [token_id]
    refused = at.program("check", token, "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["code"] == "token_revoked"
    assert refused.stderr == "remit: token_revoked: The token was revoked.\n"
    assert at.program("check", "--nosuch").returncode == 2
    again = at.program("init", "--issuer", URI, "--dir", str(place))
    assert again.returncode == 1
    assert at.program("audit", "verify", str(place / "audit.jsonl")).returncode == 0


def test_what_is_issued_goes_into_the_environment_of_an_agent(deployment: Deployment) -> None:
    script = (
        'export REMIT_CREDENTIAL="$(remit issue pricing-agent)" && remit check --capability trades:propose '
        "--arg symbol=ACME --arg amount=900 && remit delegate --agent w --capability prices:read | remit check -"
    )
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=deployment.folder,
        env={**os.environ, "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("allowed: 'trades:propose' for agent 'pricing-agent'\ngood: token ")


def test_twenty_revocations_at_once_are_all_there(deployment: Deployment) -> None:
    names = [f"token-{number}" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(lambda name: deployment.program("revoke", name), names))
    assert [one.returncode for one in done] == [0] * 20, [one.stderr for one in done]
    assert {entry["token_id"] for entry in deployment.json("revocations")} == set(names)
    assert deployment.run("audit", "verify").exit_code == 0


def test_a_reader_that_goes_away_is_no_traceback(deployment: Deployment) -> None:
    deployment.run("revoke", *[f"token-{number:05}" for number in range(500)])
    process = subprocess.Popen(
        [PROGRAM, "revocations", "--json"],
        cwd=deployment.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What is started here can be interrupted, also where the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_following_a_log_shows_what_is_written_and_ends_with_an_interrupt(deployment: Deployment) -> None:
    deployment.issued()
    command = [str(PROGRAM), "audit", "tail", "--follow", "--json", "-n", "1"]
    with subprocess.Popen(
        command, cwd=deployment.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "issue"
        deployment.run("revoke", "token-1")
        assert json.loads(process.stdout.readline())["subject"] == "token:token-1"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")


def test_a_credential_that_was_printed_is_one(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = deployment.program("issue", "pricing-agent").stdout
    monkeypatch.setenv("REMIT_CREDENTIAL", printed)
    credential = remit.Credential.from_env()
    guard = remit.Guard.from_config(deployment.folder / "remit.toml")
    assert guard.check(credential, "prices:read", {}).agent == "pricing-agent"


def test_the_help_lists_every_command(tmp_path: Path) -> None:
    printed = run("--help").stdout
    for name in ("init", "issue", "inspect", "check", "delegate", "revoke", "revocations", "keys", "secrets", "audit",
                 "explain", "demo", "doctor", "tokens"):  # fmt: skip
        assert f" {name} " in printed
