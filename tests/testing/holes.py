"""What an attack finds on a tool, for tests."""

from __future__ import annotations

from contextvars import copy_context
from typing import Any

from remit.testing.bypass import Attack, Target, attacks_on, lines

ran: list[str] = []
"""What was really done; nothing ever is."""


def done(what: str) -> str:
    """Stands in the body of every tool that is attacked."""
    ran.append(what)
    return what


def found(tool: Any, package: str = "tests", **given: object) -> dict[str, list[str]]:
    """The attacks that got through, and what is said of them."""
    ran.clear()
    target = Target("tool", tool, given, package)
    attacks = attacks_on(target)
    said = {name: copy_context().run(_said, attack) for name, attack in attacks.items()}
    assert ran == [], "the body of the tool was run"
    return {name: told for name, told in said.items() if told}


def _said(attack: Attack) -> list[str]:
    return lines(attack())


def attacked(tool: Any) -> set[str]:
    """The attacks that can be tried on a tool."""
    return set(attacks_on(Target("tool", tool, package="tests")))
