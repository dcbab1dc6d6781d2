"""An audit trail in memory, for tests and for one process."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from remit.forks import renew_in_child

if TYPE_CHECKING:
    from remit.record import AuditRecord

__all__ = ["MemoryAudit"]


class MemoryAudit:
    """Keeps records in a list, in the order they were made."""

    def __init__(self) -> None:
        self.renew()
        renew_in_child(self)
        self._records: list[AuditRecord] = []

    def renew(self) -> None:
        """Have a lock of its own in a process that was forked."""
        self._lock = Lock()

    def record(self, record: AuditRecord) -> None:
        """Keep the record."""
        with self._lock:
            self._records.append(record)

    @property
    def records(self) -> list[AuditRecord]:
        """All records so far, oldest first, as a new list."""
        with self._lock:
            return list(self._records)
