"""The example with two frameworks, run as people run it, and against a guard that was broken on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALM = """
import os, warnings
warnings.filterwarnings("ignore", "Cannot set an attribute on 'crewai.rag'", ImportWarning)
warnings.filterwarnings("ignore", "deprecated$|function_calling_llm is deprecated", DeprecationWarning)
for name in ("CREWAI_DISABLE_TELEMETRY", "CREWAI_TRACING_ENABLED"):
    del os.environ[name]
"""  # what CrewAI warns of about itself; and that it is silent is for the example to see to
TELL = """
import atexit
told = ("CREWAI_DISABLE_TELEMETRY", "CREWAI_TRACING_ENABLED")
atexit.register(lambda: print(*map(os.environ.get, told)))
"""
DECISION = re.compile(
    r"^(\w+) +([a-z]+:[a-z]+)(?: (\d+) [\w ]+)? +(?:allowed$|DENIED  ([a-z_]+):)", re.MULTILINE
)
SHOPPING = [
    ("buyer", "shop:read", ""),
    ("buyer", "shop:order", "60"),
    ("buyer", "shop:order", "80"),
    ("caterer", "shop:read", ""),
    ("caterer", "shop:order", "80"),
    ("caterer", "shop:order", "30"),
    ("caterer", "shop:order", "5"),
]
CODES = ["", "", "limit_exceeded", "", "limit_exceeded", "", "", *["token_revoked"] * len(SHOPPING)]
BROKEN = {
    "limits not kept": "255 of 100 euros",
    "no budget in the parent": "255 of 100 euros",
    "a budget for each": "145 of 100 euros",
    "not revoked": "100 of 100 euros",
    "greedy models, limits not kept": "320 of 100 euros",
}
SABOTAGE = """
import sys
from unittest.mock import patch

import remit
from remit_demo.script import ScriptedModel
from scripted_models.crew import ScriptedLLM
from shared_budget import __main__ as example
from shared_budget import buyers

issue, delegate = remit.Issuer.issue, remit.Credential.delegate

def unlimited(self, agent, capabilities, **given):
    return issue(self, agent, capabilities, **given | {"limits": None})

def of_its_own(self, agent, capabilities, **given):
    return delegate(self, agent, capabilities, **given | {"limits": BUDGET})

BUDGET = {"shop:order": remit.Limit(budget={"euros": example.BUDGET})}

def play(name, *broken):
    print("==", name)
    for each in broken:
        each.start()
    print("== exit", example.main())
    patch.stopall()

careless = patch("remit.MemoryLedger.commit", lambda *_: None)
no_budget = patch("remit.Issuer.issue", unlimited)
play("limits not kept", careless)
play("no budget in the parent", no_budget)
play("a budget for each", no_budget, patch("remit.Credential.delegate", of_its_own))
play("not revoked", patch("remit.Guard.revoke_credential", lambda *_, **__: True))
sys.argv[1:] = ["--model", "any:model"]
most = ("order", {"goods": "chairs", "euros": 80})
greedy = (
    patch.object(buyers, "init_chat_model", lambda name: ScriptedModel(turns=[most, most])),
    patch.object(buyers, "LLM", lambda model: ScriptedLLM([[most], [most]])),
)
play("greedy models, limits not kept", *greedy, careless)
play("greedy models", *greedy)
"""


def test_the_attack_is_stopped_and_the_readme_shows_it(
    run_example: Any, private: Callable[[str], list[str]], shown_in_readme: Any
) -> None:
    done = run_example("shared_budget", first=CALM + TELL)
    assert (done.returncode, done.stderr) == (0, "")
    first, *printed, settings = done.stdout.splitlines()
    assert settings == "true false"
    decisions = DECISION.findall(done.stdout)
    assert [decision[:3] for decision in decisions] == SHOPPING * 2
    assert [decision[3] for decision in decisions] == CODES
    start, *rest = shown_in_readme("shared_budget")
    assert first.startswith(start.removesuffix(" …"))
    assert printed == rest
    assert printed[-2].endswith("; 95 of 100 euros")
    assert printed[-1] == "The attack was stopped."
    assert private(done.stdout) == []


def test_a_guard_that_does_not_hold_is_found_out(run_example: Any, tmp_path: Path) -> None:
    """All in one process: to import the frameworks takes longer than all the rest."""
    (tmp_path / "sabotage.py").write_text(SABOTAGE, encoding="utf-8")
    done = run_example("sabotage", first=CALM)
    assert (done.returncode, done.stderr) == (0, "")
    first, *plays = re.split(r"^== (?!exit)", done.stdout, flags=re.MULTILINE)
    assert first == ""
    *broken, whole = plays
    told = {play.partition("\n")[0]: play for play in broken}
    assert told.keys() == BROKEN.keys()
    for name, really in BROKEN.items():
        assert told[name].endswith(
            f"; {really}\nTHE ATTACK GOT THROUGH, or the work was left undone.\n== exit 1\n"
        ), name
    assert whole.endswith(
        "Really ordered: chairs for 80; 80 of 100 euros\nThe attack was stopped.\n== exit 0\n"
    )


def test_a_model_that_cannot_be_had_is_told(run_example: Any) -> None:
    done = run_example("shared_budget", "--model", "nosuchprovider:model", first=CALM)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("shared_budget: failed with ")
    assert "Traceback" not in done.stderr
