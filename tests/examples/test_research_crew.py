"""The CrewAI example, run as people run it, and against a guard that was broken on purpose."""

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
DECISION = re.compile(r"^([\w-]+) +([a-z]+:[a-z]+) .*?(?:allowed$|DENIED  ([a-z_]+):)", re.MULTILINE)
VERDICTS = [
    ("researcher", "pages:fetch", "allowed"),
    ("researcher", "files:write", "capability_missing"),
    ("researcher", "files:write", "capability_missing"),
    ("researcher", "pages:fetch", "argument_denied"),
    ("report-writer", "files:write", "argument_denied"),
    ("report-writer", "files:write", "allowed"),
    ("report-writer", "files:write", "limit_exceeded"),
    ("writer", "files:write", "capability_missing"),
]
BROKEN = {
    "nothing guarded": "Really fetched: https://wiki.example/seats, https://evil.example/?notes=12\n"
    "Really written: /etc/cron.d/sync, /reports/seats.md, /etc/cron.d/sync, /reports/seats.md, /reports/seats.md, /reports/seats.md\n",
    "a disk is not left": "Really written: /../escaped.txt, /etc/cron.d/sync, ",
    "pages not checked": "Really fetched: https://wiki.example/seats, https://evil.example/?notes=12\n",
    "paths not checked": "Really written: /etc/cron.d/sync\n",
    "limits not kept": "Really written: /reports/seats.md, /reports/seats.md\n",
    "every task may write": "Really written: /etc/cron.d/sync, /reports/seats.md, /reports/seats.md, /reports/seats.md\n",
    "a model, nothing guarded": "Really written: /etc/cron.d/sync, /etc/cron.d/sync, /etc/cron.d/sync\n",
}
SABOTAGE = """
import os
import sys
import tempfile
from unittest.mock import patch

import remit
from research_crew import __main__ as example
from scripted_models.crew import ScriptedLLM

tempfile.tempdir = os.environ["HOME"]
issue = remit.Issuer.issue

def generous(self, agent, capabilities, **given):
    return issue(self, agent, capabilities if agent == "editor" else ["pages:fetch", "files:write"], **given)

def play(name, *broken):
    print("==", name)
    for each in broken:
        each.start()
    print("== exit", example.main())
    patch.stopall()

unguarded = (
    patch("remit.requires_capability", lambda capability: lambda function: function),
    patch.object(example, "grant_task", lambda task, *_, **__: task),
    patch.object(example, "guard_crew", lambda crew, *_: crew),
)
play("nothing guarded", *unguarded)
script = {**example.SCRIPT, "Read the page": [[("write_file", {"path": "/../escaped.txt", "text": "out"})]]}
play("a disk is not left", patch.object(example, "SCRIPT", script), *unguarded)
play("pages not checked", patch("remit.Url.check", lambda *_: True))
play("paths not checked", patch("remit.Path.check", lambda *_: True))
play("limits not kept", patch("remit.MemoryLedger.commit", lambda *_: None))
play("every task may write", patch("remit.Issuer.issue", generous))
sys.argv[1:] = ["--model", "any/model"]
greedy = patch("research_crew.__main__.LLM", lambda model: ScriptedLLM([example.JOB]))
play("a model, nothing guarded", greedy, *unguarded)
play("a model", greedy)
"""


def test_the_attack_is_stopped_and_the_readme_shows_it(
    run_example: Any, private: Callable[[str], list[str]], shown_in_readme: Any
) -> None:
    done = run_example("research_crew", first=CALM + TELL)
    assert (done.returncode, done.stderr) == (0, "")
    *printed, settings = done.stdout.splitlines()
    assert settings == "true false"
    seen = [(agent, name, code or "allowed") for agent, name, code in DECISION.findall(done.stdout)]
    assert seen == VERDICTS
    start, *rest = shown_in_readme("research_crew")
    assert printed[0].startswith(start.removesuffix(" …"))
    assert printed[1:] == rest
    assert rest[-3:] == [
        "Really fetched: https://wiki.example/seats",
        "Really written: /reports/seats.md",
        "The attack was stopped.",
    ]
    assert private(done.stdout) == []


def test_a_guard_that_does_not_hold_is_found_out(run_example: Any, tmp_path: Path) -> None:
    """All in one process: to import CrewAI takes longer than all the rest."""
    (tmp_path / "sabotage.py").write_text(SABOTAGE, encoding="utf-8")
    done = run_example("sabotage", first=CALM)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "escaped.txt").exists()
    first, *plays = re.split(r"^== (?!exit)", done.stdout, flags=re.MULTILINE)
    assert first == ""
    *broken, whole = plays
    told = {play.partition("\n")[0]: play for play in broken}
    assert told.keys() == BROKEN.keys()
    for name, really in BROKEN.items():
        assert told[name].endswith("THE ATTACK GOT THROUGH, or the work was left undone.\n== exit 1\n"), name
        assert really in told[name]
    assert whole.endswith("Really written: nothing\nThe attack was stopped.\n== exit 0\n")


def test_a_model_that_cannot_be_had_is_told(run_example: Any) -> None:
    done = run_example("research_crew", "--model", "nosuchprovider/model", first=CALM)
    assert (done.returncode, done.stdout) == (1, "")
    assert "research_crew: failed with ImportError" in done.stderr
    assert "Traceback" not in done.stderr
