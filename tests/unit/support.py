"""What the unit tests share: an issuer and a guard on one clock, and how a refusal is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

import remit

URI: Final = "https://auth.acme.example"
NOW: Final = 1_704_067_500
DAY: Final = 86_400


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """One issuer, and one guard that trusts it and records everything."""

    clock: Clock = field(default_factory=Clock)
    audit: remit.MemoryAudit = field(default_factory=remit.MemoryAudit)
    options: dict[str, Any] = field(default_factory=dict)
    issuer: remit.Issuer = field(init=False)
    guard: remit.Guard = field(init=False)

    def __post_init__(self) -> None:
        self.issuer = remit.Issuer.generate(URI, clock=self.clock)
        self.guard = self.new_guard(**self.options)

    def new_guard(self, **options: Any) -> remit.Guard:
        """Another guard for the same issuer, on the same clock."""
        usual: dict[str, Any] = {
            "trust": [self.issuer.anchor],
            "clock": self.clock,
            "audit": self.audit,
        }
        return remit.Guard(**{**usual, **options})

    def issue(self, *capabilities: str | remit.Capability, **options: Any) -> remit.Credential:
        """A credential for `agent-a`, unless said otherwise."""
        granted = capabilities or ("tool:use",)
        usual: dict[str, Any] = {"agent": "agent-a", "capabilities": list(granted)}
        return self.issuer.issue(**{**usual, **options})

    def events(self, event: str) -> list[remit.AuditRecord]:
        """The records of one kind, oldest first."""
        return [record for record in self.audit.records if record.event == event]


def refusal(call: Callable[[], object]) -> remit.Denied:
    """The refusal that `call` meets."""
    with pytest.raises(remit.Denied) as caught:
        call()
    return caught.value


def verdict(call: Callable[[], object]) -> str:
    """`allowed`, or the code of the refusal."""
    try:
        call()
    except remit.Denied as denied:
        return denied.code
    return "allowed"
