"""An audit trail in memory, for tests and for one process."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from remit.record import AuditRecord

__all__ = ["MemoryAudit"]


class MemoryAudit:
    """Keeps records in a list, in the order they were made."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._records: list[AuditRecord] = []

    def record(self, record: AuditRecord) -> None:
        """Keep the record."""
        with self._lock:
            self._records.append(record)

    @property
    def records(self) -> list[AuditRecord]:
        """All records so far, oldest first, as a new list."""
        with self._lock:
            return list(self._records)
