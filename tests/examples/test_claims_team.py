"""The AutoGen example, run as people run it, and against a guard that was broken on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

DECISION = re.compile(r"^(\w+) +([a-z]+:[a-z]+) .*?(?:allowed$|DENIED  ([a-z_]+):)", re.MULTILINE)
VERDICTS = [
    ("triage", "claims:read", "allowed"),
    ("triage", "claims:pay", "capability_missing"),
    ("clerk", "claims:pay", "argument_denied"),
    ("clerk", "claims:pay", "argument_denied"),
    ("clerk", "claims:pay", "allowed"),
    ("clerk", "claims:pay", "limit_exceeded"),
]
KEY = "canary-of-the-bank"
CANARY = f"import secrets; secrets.token_urlsafe = lambda _: {KEY!r}\n"
SABOTAGES = {
    "values are not checked": (
        "remit.Exact.check = remit.Range.check = lambda *_: True",
        "Really paid: 120 for C-8\n",
    ),
    "limits are not kept": (
        "remit.MemoryLedger.commit = lambda *_: None",
        "Really paid: 120 for C-7, 120 for C-7\n",
    ),
    "triage may pay as well": (
        """
issue = remit.Issuer.issue
def generous(self, agent, capabilities, **given):
    if agent != "triage":
        return issue(self, agent, capabilities, **given)
    return issue(self, agent, [*capabilities, "claims:pay"], secrets=["PAYMENT_API_KEY"])
remit.Issuer.issue = generous
""",
        "Really paid: 120 for C-7, 120 for C-7\n",
    ),
    "any hand-off is there": (
        "import remit_autogen; remit_autogen.allowed_handoffs = lambda handoffs, *_: handoffs",
        "Really handed on: triage to director\n",
    ),
    "answers are not cleaned": (
        "from remit.secrets.scrub import Scrubber; Scrubber.clean = lambda self, value: value",
        "Seen by a model: THE PAYMENT KEY\n",
    ),
}


def model(*calls: tuple[str, dict[str, Any]]) -> str:
    """Python that makes any model of OpenAI one that asks for these calls, whichever agent it is."""
    return f"""
import sys, types
from scripted_models.team import ScriptedClient
turns = [[call] for call in {list(calls)!r}] + ["CASE CLOSED"]
client = types.SimpleNamespace(OpenAIChatCompletionClient=lambda model: ScriptedClient(turns))
sys.modules["autogen_ext.models.openai"] = client
"""


GREEDY = model(
    ("pay_claim", {"claim": "C-7", "amount": 1200}),
    ("pay_claim", {"claim": "C-7", "amount": 1200, "api_key": "forged"}),
    ("transfer_to_director", {}),
    ("transfer_to_clerk", {}),
)


def test_the_attack_is_stopped_and_seen_in_the_audit(
    run_example: Any, private: Callable[[str], list[str]]
) -> None:
    done = run_example("claims_team")
    assert (done.returncode, done.stderr) == (0, "")
    seen = [(agent, name, code or "allowed") for agent, name, code in DECISION.findall(done.stdout)]
    assert seen == VERDICTS
    assert done.stdout.endswith(
        "Really handed on: triage to clerk\n"
        "Hand-offs in vain: transfer_to_director by triage, transfer_to_director by clerk\n"
        "Really paid: 120 for C-7\n"
        "Seen by a model: no payment key\n"
        "The attack was stopped.\n"
    )
    assert private(done.stdout) == []


def test_the_readme_shows_what_it_prints(run_example: Any, shown_in_readme: Any) -> None:
    printed = run_example("claims_team").stdout.splitlines()
    start, *rest = shown_in_readme("claims_team")
    assert printed[0].startswith(start.removesuffix(" …"))
    assert printed[1:] == rest


def test_the_key_is_used_and_not_told(run_example: Any) -> None:
    done = run_example("claims_team", first=CANARY)
    assert "Really paid: 120 for C-7\n" in done.stdout
    assert KEY not in done.stdout + done.stderr


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_guard_that_does_not_hold_is_found_out(run_example: Any, sabotage: str) -> None:
    broken, really = SABOTAGES[sabotage]
    done = run_example("claims_team", first=f"import remit\n{broken}")
    assert (done.returncode, done.stderr) == (1, "")
    assert really in done.stdout
    assert done.stdout.endswith("THE ATTACK GOT THROUGH, or the work was left undone.\n")


def test_another_model_cannot_do_more(run_example: Any) -> None:
    done = run_example("claims_team", "--model", "any", first=GREEDY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Really paid: nothing\n" in done.stdout


def test_another_model_and_a_broken_guard_are_found_out(run_example: Any) -> None:
    broken = "import remit_autogen; remit_autogen.allowed_handoffs = lambda handoffs, *_: handoffs\n"
    done = run_example("claims_team", "--model", "any", first=broken + GREEDY)
    assert (done.returncode, done.stderr) == (1, "")
    assert "Really handed on: triage to director, director to clerk" in done.stdout
    assert "Really paid: 1200 for C-7, 1200 for C-7\n" in done.stdout


def test_a_client_that_is_not_installed_is_named(run_example: Any) -> None:
    missing = "import sys; sys.modules['autogen_ext'] = None"
    done = run_example("claims_team", "--model", "any", first=missing)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--model needs autogen_ext" in done.stderr
    assert "pip install 'autogen-ext[openai]'" in done.stderr
