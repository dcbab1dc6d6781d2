"""Audit: where records of decisions and outcomes go, and how a log of them is verified."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from remit.audit.memory import MemoryAudit
from remit.record import AuditRecord, AuditSink

if TYPE_CHECKING:
    from remit.audit.findings import Finding, LogReport, SignedCheckpoint
    from remit.audit.jsonl import JsonlAudit
    from remit.audit.logger import LoggingAudit
    from remit.audit.otel import OpenTelemetryAudit
    from remit.audit.read import LogEntry, read_log
    from remit.audit.sqlite import SqliteAudit
    from remit.audit.tee import TeeAudit
    from remit.audit.verify import verify_log

__all__ = [
    "AuditRecord",
    "AuditSink",
    "Finding",
    "JsonlAudit",
    "LogEntry",
    "LogReport",
    "LoggingAudit",
    "MemoryAudit",
    "OpenTelemetryAudit",
    "SignedCheckpoint",
    "SqliteAudit",
    "TeeAudit",
    "read_log",
    "verify_log",
]

_LAZY: Final = {
    "Finding": "findings",
    "JsonlAudit": "jsonl",
    "LogEntry": "read",
    "LogReport": "findings",
    "LoggingAudit": "logger",
    "OpenTelemetryAudit": "otel",
    "SignedCheckpoint": "findings",
    "SqliteAudit": "sqlite",
    "TeeAudit": "tee",
    "read_log": "read",
    "verify_log": "verify",
}
"""Names that are imported on use, and the modules they are in."""


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
