"""One record into several sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remit.audit.closing import Closing
from remit.errors import ConfigError, shown

if TYPE_CHECKING:
    from remit.record import AuditRecord, AuditSink

__all__ = ["TeeAudit"]


class TeeAudit(Closing):
    """Gives each record to several sinks, in order; all must take it.

    When one fails, those after it are not asked, and the guard denies the call. Those before it hold a
    decision then whose call did not run, so put the sink that is most likely to fail first.

    Args:
        sinks: at least one.

    Raises:
        ConfigError: when there is none, or something among them is no sink.
    """

    def __init__(self, *sinks: AuditSink) -> None:
        for sink in sinks:
            if not callable(getattr(sink, "record", None)):
                raise ConfigError(f"TeeAudit takes audit sinks such as MemoryAudit(), not {shown(sink)}")
        if not sinks:
            raise ConfigError("TeeAudit needs at least one sink: what goes nowhere is not recorded")
        self._sinks = sinks

    def record(self, record: AuditRecord) -> None:
        """Give the record to every sink, or raise what the first one raises that fails."""
        for sink in self._sinks:
            sink.record(record)

    def close(self) -> None:
        """Close every sink that can be closed, and then raise what the first of them raised that failed."""
        failures: list[Exception] = []
        for sink in self._sinks:
            close = getattr(sink, "close", None)
            if callable(close):
                try:
                    close()
                except Exception as error:  # noqa: BLE001 - a foreign sink may raise anything; the others are closed first
                    failures.append(error)
        if failures:
            raise failures[0]

    def __repr__(self) -> str:
        return f"TeeAudit({', '.join(map(repr, self._sinks))})"
