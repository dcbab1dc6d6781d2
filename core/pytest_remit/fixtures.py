"""Fixtures: an issuer and a guard of the test's own, on a clock that stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    import remit
    from remit.testing import FrozenClock, RecordingAudit

__all__ = [
    "CredentialFactory",
    "remit_audit",
    "remit_clock",
    "remit_credential",
    "remit_guard",
    "remit_issuer",
]


class CredentialFactory(Protocol):
    """What the fixture `remit_credential` is."""

    def __call__(
        self, agent: str, *capabilities: str | remit.Capability, **settings: Any
    ) -> remit.Credential:
        """Issue a credential.

        Args:
            agent: the agent's name.
            capabilities: what it grants.
            settings: further arguments of `Issuer.issue`, such as `ttl="5m"`, `secrets` or `limits`.
        """
        ...


@pytest.fixture
def remit_clock() -> FrozenClock:
    """A clock that stands still until `remit_clock.advance("10m")`."""
    from remit.testing import FrozenClock

    return FrozenClock()


@pytest.fixture
def remit_audit() -> RecordingAudit:
    """An audit trail in memory, with `decisions`, `denials` and `outcomes`."""
    from remit.testing import RecordingAudit

    return RecordingAudit()


@pytest.fixture
def remit_issuer(remit_clock: FrozenClock) -> remit.Issuer:
    """An issuer with a new key, on the frozen clock."""
    import remit

    return remit.Issuer.generate("https://issuer.example", clock=remit_clock)


@pytest.fixture
def remit_guard(
    remit_issuer: remit.Issuer, remit_audit: RecordingAudit, remit_clock: FrozenClock
) -> remit.Guard:
    """A guard that trusts the issuer, with a ledger in memory, the recording audit and the frozen clock."""
    import remit

    return remit.Guard(
        trust=[remit_issuer.anchor], ledger=remit.MemoryLedger(), audit=remit_audit, clock=remit_clock
    )


@pytest.fixture
def remit_credential(remit_issuer: remit.Issuer) -> CredentialFactory:
    """Issue credentials: `remit_credential("reader", "orders:read", ttl="5m")`."""

    def issued(agent: str, *capabilities: str | remit.Capability, **settings: Any) -> remit.Credential:
        return remit_issuer.issue(agent, list(capabilities), **settings)

    return issued
