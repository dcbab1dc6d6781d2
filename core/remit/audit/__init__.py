"""Audit: where records of decisions and outcomes go."""

from remit.audit.memory import MemoryAudit
from remit.record import AuditRecord, AuditSink

__all__ = ["AuditRecord", "AuditSink", "MemoryAudit"]
