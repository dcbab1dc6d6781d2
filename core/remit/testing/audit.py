"""An audit trail to look things up in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remit.audit import MemoryAudit

if TYPE_CHECKING:
    from remit.record import AuditRecord

__all__ = ["RecordingAudit"]


class RecordingAudit(MemoryAudit):
    """A `MemoryAudit` that can be asked for the decisions and the outcomes alone."""

    @property
    def decisions(self) -> list[AuditRecord]:
        """The records of decisions, allowed or not, oldest first."""
        return [record for record in self.records if record.event == "decision"]

    @property
    def denials(self) -> list[AuditRecord]:
        """The records of decisions that denied a call, oldest first."""
        return [record for record in self.decisions if not record.allowed]

    @property
    def outcomes(self) -> list[AuditRecord]:
        """The records of what came of allowed calls, oldest first."""
        return [record for record in self.records if record.event == "outcome"]

    def verdicts(self) -> list[tuple[str | None, str | None, str | None]]:
        """Return of each decision the agent, the capability and the code of the denial, None if allowed."""
        return [(record.agent, record.capability, record.code) for record in self.decisions]
