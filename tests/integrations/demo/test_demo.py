"""The demonstration, run as people run it, and run against a guard that was broken on purpose."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

import remit
from remit.secrets import Scrubber
from remit_demo import app, grants, main, story
from remit_demo.script import ScriptedModel

CANARY = "canary-of-the-payment-provider"
ALLOWED_REFUND = [("O-1001", 40)]
DENIALS = [
    "capability_missing",
    "argument_denied",
    "capability_missing",
    "argument_denied",
    "argument_denied",
    "limit_exceeded",
    "delegate_only",
    "token_revoked",
    "token_chain_invalid",
]
CODE = re.compile(r"(?<![\w'])(?:token|capability|argument|limit|delegate|proof|secret)_[a-z_]+(?![\w'])")
TOKEN = re.compile(r"[\w-]{20,}\.[\w-]{20,}\.[\w-]{20,}")
KEY_OR_DIGEST = re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])")

Sabotage = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "desk.sqlite"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: CANARY)


def refunds(database: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT order_id, amount FROM refunds").fetchall()


def test_only_the_allowed_refund_happens(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(database=database) == 0
    assert refunds(database) == ALLOWED_REFUND
    output = capsys.readouterr().out
    assert "Everything went as it must." in output
    assert "BROKEN" not in output


def test_every_denial_is_shown_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert CODE.findall(capsys.readouterr().out) == DENIALS


def test_nothing_private_is_printed_or_stored(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(database=database) == 0
    output = "".join(capsys.readouterr())
    assert "[secret PAYMENT_API_KEY]" in output, "the provider repeats the key, so something must be masked"
    assert CANARY not in output
    assert not TOKEN.search(output)
    assert not KEY_OR_DIGEST.search(output)
    assert CANARY.encode() not in database.read_bytes()
    assert app.KEY_VARIABLE not in os.environ


def test_it_fits_eighty_columns_and_needs_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 80
    assert "\x1b" not in output


def test_it_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the demonstration opened a connection")

    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGSMITH_API_KEY", "made-up")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert main() == 0


# ── the comparison at the end is real: a guard that is broken anywhere makes it fail ────────────────────────


def unchecked_values(patch: pytest.MonkeyPatch) -> None:
    for kind in (remit.Exact, remit.Range, remit.Prefix):
        patch.setattr(kind, "check", lambda *_: True)


def unlimited(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(remit.MemoryLedger, "commit", lambda *_: None)


def unrevoked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("remit.ledger.view.RevocationView.revoked", lambda *_: ())


def wider(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(remit.Capability, "widening", lambda *_: None)


def usable(patch: pytest.MonkeyPatch) -> None:
    issue: Callable[..., remit.Credential] = remit.Issuer.issue

    def lenient(self: remit.Issuer, **keywords: Any) -> remit.Credential:
        return issue(self, **keywords | {"delegate_only": None})

    patch.setattr(remit.Issuer, "issue", lenient)


def talkative(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scrubber, "clean", lambda _, value, *__: value)


def forgetful(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(remit.MemoryAudit, "record", lambda *_: None)


def generous(patch: pytest.MonkeyPatch) -> None:
    def everything(orchestrator: remit.Credential, **_: object) -> remit.Credential:
        return orchestrator.delegate("reader", ["customers:read", "orders:read"])

    patch.setattr(grants, "delegate_reader", everything)


SABOTAGES = [unchecked_values, unlimited, unrevoked, wider, usable, talkative, forgetful, generous]


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.__name__)
def test_it_fails_when_something_does_not_hold(
    sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sabotage(monkeypatch)
    assert main() == 1
    output = capsys.readouterr().out
    assert "BROKEN" in output
    assert "Something went as it must not." in output


def test_without_checks_the_injection_would_have_its_way(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unchecked_values(monkeypatch)
    unlimited(monkeypatch)
    assert main(database=database) == 1
    assert refunds(database) == [("O-2001", 5000), ("O-1001", 95), ("O-1001", 40), ("O-1001", 40)]


# ── with another model ──────────────────────────────────────────────────────────────────────────────────────


class Greedy(ScriptedModel):
    """Tries the same refunds as every agent, and never looks anything up."""

    turns: list[Any] = Field(default_factory=lambda: story.REFUNDER_SCRIPT * 2)


@pytest.fixture
def greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "init_chat_model", lambda _: Greedy())


@pytest.mark.usefixtures("greedy")
def test_another_model_cannot_do_more(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(model="some:model", database=database) == 0
    assert refunds(database) == []
    assert "no refund but the one that was granted" in capsys.readouterr().out


@pytest.mark.usefixtures("greedy")
def test_another_model_with_a_broken_guard_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    unchecked_values(monkeypatch)
    usable(monkeypatch)
    assert main(model="some:model") == 1


def test_a_model_that_cannot_be_had_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(model="nosuchprovider:model") == 1
    assert "model 'nosuchprovider:model' failed" in capsys.readouterr().err


def test_a_database_that_is_there_is_left_alone(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database.write_text("somebody's")
    assert main(database=database) == 2
    assert database.read_text() == "somebody's"
    assert "exists already" in capsys.readouterr().err


# ── as a program ────────────────────────────────────────────────────────────────────────────────────────────


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *command], capture_output=True, text=True, check=False, timeout=60
    )


def test_python_m_runs_it(database: Path) -> None:
    done = run("-m", "remit_demo", "--database", str(database))
    assert (done.returncode, done.stderr) == (0, "")
    assert CODE.findall(done.stdout) == DENIALS
    assert refunds(database) == ALLOWED_REFUND


def test_it_prints_on_a_stream_that_knows_only_ascii(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run("-m", "remit_demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert CODE.findall(done.stdout) == DENIALS
