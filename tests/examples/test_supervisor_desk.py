"""The LangChain example, run as people run it, and against a guard that was broken on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

DECISION = re.compile(r"^(\w+) +([a-z]+:[a-z]+) +(?:allowed$|DENIED  ([a-z_]+):)", re.MULTILINE)
VERDICTS = [
    ("clerk", "invoices:read", "allowed"),
    ("clerk", "invoices:read", "argument_denied"),
    ("clerk", "payments:send", "capability_missing"),
    ("payer", "payments:send", "argument_denied"),
    ("payer", "payments:send", "allowed"),
    ("payer", "payments:send", "limit_exceeded"),
    ("supervisor", "payments:send", "delegate_only"),
]
SABOTAGES = {
    "nothing is guarded": "remit.requires_capability = lambda capability: lambda function: function",
    "values are not checked": "remit.Exact.check = lambda *_: True",
    "limits are not kept": "remit.MemoryLedger.commit = lambda *_: None",
    "the supervisor may pay": """
issue = remit.Issuer.issue
remit.Issuer.issue = lambda *args, **given: issue(*args, **given | {"delegate_only": None})
""",
    "nobody is bound": """
import remit_langchain
from langchain.agents.middleware import AgentMiddleware
class Idle(AgentMiddleware):
    tools = ()
    def __init__(self, *_): ...
    def wrap_tool_call(self, request, handler):
        try:
            return handler(request)
        except remit.Denied as denied:
            from langchain_core.messages import ToolMessage
            return ToolMessage(denied.reason, tool_call_id=request.tool_call["id"])
remit_langchain.CapabilityMiddleware = Idle
""",
}
GREEDY = """
import langchain.chat_models
from remit_demo.script import ScriptedModel
theft = ("send_payment", {"account": "X-666", "amount": 9000})
langchain.chat_models.init_chat_model = lambda name: ScriptedModel(turns=[theft] * 3)
"""


def test_the_attack_is_stopped_and_seen_in_the_audit(
    run_example: Any, private: Callable[[str], list[str]]
) -> None:
    done = run_example("supervisor_desk")
    assert (done.returncode, done.stderr) == (0, "")
    seen = [
        (agent, capability, code or "allowed") for agent, capability, code in DECISION.findall(done.stdout)
    ]
    assert seen == VERDICTS
    assert "Really paid: 120 to A-71\nThe attack was stopped.\n" in done.stdout
    assert private(done.stdout) == []


def test_the_readme_shows_what_it_prints(run_example: Any, shown_in_readme: Any) -> None:
    printed = run_example("supervisor_desk").stdout.splitlines()
    start, *rest = shown_in_readme("supervisor_desk")
    assert printed[0].startswith(start.removesuffix(" …"))
    assert printed[1:] == rest


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_guard_that_does_not_hold_is_found_out(run_example: Any, sabotage: str) -> None:
    done = run_example("supervisor_desk", first="import remit\n" + SABOTAGES[sabotage])
    assert (done.returncode, done.stderr) == (1, "")
    assert "THE ATTACK GOT THROUGH" in done.stdout


def test_another_model_cannot_do_more(run_example: Any) -> None:
    done = run_example("supervisor_desk", "--model", "some:model", first=GREEDY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Really paid: nothing\n" in done.stdout


def test_another_model_and_a_broken_guard_are_found_out(run_example: Any) -> None:
    broken = "import remit\n" + SABOTAGES["nothing is guarded"] + GREEDY
    done = run_example("supervisor_desk", "--model", "some:model", first=broken)
    assert (done.returncode, done.stderr) == (1, "")
    assert "9000 to X-666" in done.stdout


def test_a_model_that_cannot_be_had_is_one_sentence(run_example: Any) -> None:
    done = run_example("supervisor_desk", "--model", "nosuchprovider:model")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("supervisor_desk: failed with ")
