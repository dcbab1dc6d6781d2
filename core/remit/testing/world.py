"""One issuer, the guard that trusts it, and nothing outside of the test."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from remit.guard import Guard
from remit.issue import Issuer
from remit.ledger import MemoryLedger
from remit.secrets import Secrets
from remit.testing.audit import RecordingAudit
from remit.testing.clock import FrozenClock

if TYPE_CHECKING:
    from remit.capability import Capability
    from remit.credential import Credential
    from remit.ledger import Ledger
    from remit.secrets.reference import Reference

__all__ = ["World"]

_ISSUER: Final = "https://issuer.example"


class _Values:
    """A backend of secrets that holds them itself."""

    remote = False

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def check(self, reference: Reference) -> None:
        reference.check_parts()

    def read(self, reference: Reference) -> str | None:
        return self._values.get(reference.path)


class World:
    """An issuer with a new key and the guard that trusts it, on one frozen clock.

    Args:
        issuer: the issuer's URI.
        secrets: the values of secrets by name; there are none by default.
        record_arguments: as for `Guard`.
        ledger: the guard's ledger; by default one in memory.
        audit: the guard's audit trail; by default one in memory.
    """

    clock: FrozenClock
    audit: RecordingAudit
    issuer: Issuer
    guard: Guard

    def __init__(
        self,
        *,
        issuer: str = _ISSUER,
        secrets: Mapping[str, str] | None = None,
        record_arguments: Mapping[str, Collection[str]] | None = None,
        ledger: Ledger | None = None,
        audit: RecordingAudit | None = None,
    ) -> None:
        values = dict(secrets or {})
        self.clock = FrozenClock()
        self.audit = RecordingAudit() if audit is None else audit
        self.issuer = Issuer.generate(issuer, clock=self.clock)
        self.guard = Guard(
            trust=[self.issuer.anchor],
            ledger=MemoryLedger() if ledger is None else ledger,
            audit=self.audit,
            clock=self.clock,
            secrets=Secrets({name: f"test://{name}" for name in values}, backends={"test": _Values(values)}),
            record_arguments=record_arguments,
        )

    def grant(self, agent: str, *capabilities: str | Capability, **settings: Any) -> Credential:
        """Issue a credential, good for ten minutes.

        Args:
            agent: the agent's name.
            capabilities: what it grants.
            settings: further arguments of `Issuer.issue`, such as `secrets` or `ttl`.
        """
        given: dict[str, Any] = {"ttl": "10m", **settings}
        return self.issuer.issue(agent, list(capabilities), **given)
