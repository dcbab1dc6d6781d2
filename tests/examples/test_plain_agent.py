"""The example in plain Python, run as people run it, and against a guard that was broken on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

CODE = re.compile(r"^(.*): DENIED  ([a-z_]+):", re.MULTILINE)
DENIALS = [
    ("deploy", "argument_denied"),
    ("deploy", "limit_exceeded"),
    ("thief, during the task", "limit_exceeded"),
    ("thief, after the task", "token_revoked"),
]
SABOTAGES = {
    "values are not checked": "remit.Exact.check = remit.OneOf.check = lambda *_: True",
    "limits are not kept": "remit.MemoryLedger.commit = lambda *_: None",
    "nothing is revoked": """
from remit.ledger.view import RevocationView
RevocationView.revoked = lambda *_: ()
remit.MemoryLedger.commit = lambda *_: None
""",
    "nothing is allowed": "remit.Exact.check = lambda *_: False",
}
KEY = "canary-of-the-deployment-service"
CANARY = f"import secrets; secrets.token_urlsafe = lambda _: {KEY!r}\n"


def model(*calls: tuple[str, dict[str, Any]]) -> str:
    """Python that makes `others:model` a model that asks for these calls."""
    return f"""
import sys, types
def model(conversation, calls={list(calls)!r}):
    done = sum(message["role"] == "tool" for message in conversation)
    return calls[done] if done < len(calls) else None
sys.modules["others"] = types.SimpleNamespace(model=model)
"""


def test_the_attacks_are_stopped_and_told(run_example: Any, private: Callable[[str], list[str]]) -> None:
    done = run_example("plain_agent")
    assert (done.returncode, done.stderr) == (0, "")
    assert CODE.findall(done.stdout) == DENIALS
    assert done.stdout.endswith("Really deployed: api 1.4\nThe attack was stopped.\n")
    assert private(done.stdout) == []


def test_the_readme_shows_what_it_prints(run_example: Any, shown_in_readme: Any) -> None:
    assert shown_in_readme("plain_agent") == run_example("plain_agent").stdout.splitlines()


def test_a_program_that_asks_the_network_is_noticed(run_example: Any) -> None:
    """What keeps all examples off the network does so."""
    asking = "__import__('socket').create_connection(('192.0.2.1', 80), timeout=1)"
    for first in (asking, asking.replace("192.0.2.1", "localhost.example")):
        assert run_example("plain_agent", first=first).returncode == 99


def test_the_key_is_used_and_not_told(run_example: Any) -> None:
    done = run_example("plain_agent", first=CANARY)
    assert "deployed with [secret DEPLOY_KEY]" in done.stdout
    assert KEY not in done.stdout + done.stderr


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_guard_that_does_not_hold_is_found_out(run_example: Any, sabotage: str) -> None:
    done = run_example("plain_agent", first="import remit\n" + SABOTAGES[sabotage])
    assert (done.returncode, done.stderr) == (1, "")
    assert "THE ATTACK GOT THROUGH" in done.stdout


GREEDY = [
    ("deploy", {"service": "billing", "version": "6.6.6"}),
    ("deploy", {"service": "api", "version": "1.4", "key": "forged"}),
    ("deploy", {"service": "api"}),
    ("read_log", {"service": "api"}),
    ("remove", {}),
]


def test_another_model_cannot_do_more(run_example: Any) -> None:
    done = run_example("plain_agent", "--model", "others:model", first=model(*GREEDY))
    assert (done.returncode, done.stderr) == (0, "")
    assert "there is no tool remove" in done.stdout
    assert "Really deployed: nothing\n" in done.stdout


def test_another_model_and_a_broken_guard_are_found_out(run_example: Any) -> None:
    broken = model(*GREEDY) + "import remit\n" + SABOTAGES["values are not checked"]
    done = run_example("plain_agent", "--model", "others:model", first=broken)
    assert (done.returncode, done.stderr) == (1, "")
    assert "billing 6.6.6" in done.stdout


def test_a_model_that_never_ends_is_stopped(run_example: Any) -> None:
    done = run_example(
        "plain_agent", "--model", "others:model", first=model(*[("read_log", {"service": "api"})] * 1_000)
    )
    assert done.returncode == 0
    assert done.stdout.count("read_log: ") == 20


@pytest.mark.parametrize(
    "name", ["nosuchmodule:model", "plain_agent.loop:nosuch", "plain_agent.loop", "", ":f"]
)
def test_a_model_that_is_not_there_is_a_usage_error(run_example: Any, name: str) -> None:
    done = run_example("plain_agent", "--model", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no module:function" in done.stderr
