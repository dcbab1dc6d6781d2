"""Audit records on Python's `logging`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from remit.audit.line import body_of
from remit.errors import ConfigError, TokenRejected, shown

if TYPE_CHECKING:
    from remit.record import AuditRecord

__all__ = ["LoggingAudit"]


class LoggingAudit:
    """Logs each record as one line of JSON, in ASCII and without control characters.

    A logger that would drop the record is a failure, and the guard denies the call: configure `logging`
    first. What a handler does with the line, and whether that works, `logging` tells nobody. Lines are
    not chained; who can write the log can change it.

    Args:
        logger: where to log; the logger `remit.audit` by default.
        level: the level to log at; `logging.INFO` by default.

    Raises:
        ConfigError: when an argument makes no sense.
    """

    def __init__(self, logger: logging.Logger | None = None, *, level: int = logging.INFO) -> None:
        if logger is not None and not isinstance(logger, logging.Logger):
            raise ConfigError(f"logger must be one of the logging module, not {shown(logger)}")
        if type(level) is not int or level <= logging.NOTSET:
            raise ConfigError("level must be a level of the logging module, such as logging.INFO")
        self._logger = logging.getLogger("remit.audit") if logger is None else logger
        self._level = level

    def record(self, record: AuditRecord) -> None:
        """Log the record.

        Raises:
            Denied: with `audit_unavailable`, when the logger would drop it.
            ConfigError: when it is not a record.
        """
        line = f"{{{body_of(record)}}}"
        if not self._logger.isEnabledFor(self._level) or not self._logger.hasHandlers():
            raise TokenRejected("audit_unavailable", "The audit logger drops records: it has no handler or a"
                                " higher level.")  # fmt: skip
        self._logger.log(self._level, "%s", line)

    def __repr__(self) -> str:
        return f"LoggingAudit({self._logger.name!r})"
