"""Reading an audit log, without judging it."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from remit.audit.files import log_path
from remit.audit.line import parse_line, record_of
from remit.audit.sealer import whole_number
from remit.audit.source import source_of, unreadable
from remit.encoding import EncodingError
from remit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remit.audit.source import Snapshot, Source
    from remit.encoding import JsonObject
    from remit.record import AuditRecord

__all__ = ["LogEntry", "entry_of", "read_log"]

_MOST: Final = 1_000_000
_MAX_POLL: Final = 3600


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line of an audit log, as it stands there. Whether it stands there rightly, `verify_log` says."""

    seq: int | None
    """The number of the record; None when the line cannot be read."""
    members: JsonObject
    """What the record says, by name, checkpoints included; empty when the line cannot be read."""
    record: AuditRecord | None
    """The same as a record; None when it is none."""
    problem: str | None = None
    """Why the line cannot be read."""


def read_log(
    path: str | os.PathLike[str], *, last: int | None = None, follow: bool = False, poll: float = 0.5
) -> Iterator[LogEntry]:
    """Yield the lines of an audit log, oldest first.

    Args:
        path: the log that `JsonlAudit` or `SqliteAudit` writes.
        last: how many lines, counted from the end; all by default.
        follow: whether to go on with what is written from now on, for ever.
        poll: how many seconds to wait before looking again, when following.

    Raises:
        ConfigError: when there is no log, it cannot be read, or an argument makes no sense.
    """
    if last is not None:
        whole_number("last", last, 0, _MOST)
    if not isinstance(poll, int | float) or not 0 < poll <= _MAX_POLL:
        raise ConfigError(f"poll must be seconds, more than 0 and at most {_MAX_POLL}")
    return _entries(log_path(path), source_of(path), last, poll if follow else None)


def _entries(path: str, source: Source, last: int | None, poll: float | None) -> Iterator[LogEntry]:
    try:
        with source.snapshot() as snapshot:
            seen = 0
            for data in _known(source, snapshot, last):
                entry = entry_of(data)
                seen = max(seen, entry.seq or 0)
                yield entry
            if poll is not None:
                if last == 0:
                    seen = next((entry_of(data).seq or 0 for data in source.last_lines(snapshot)), 0)
                pause = poll
                for data in source.new_lines(snapshot, seen, lambda: time.sleep(pause)):
                    yield entry_of(data)
    except OSError as error:
        raise unreadable(path, error) from None


def _known(source: Source, snapshot: Snapshot, last: int | None) -> Iterator[bytes]:
    if last is None:
        return (data for _, data in source.lines(snapshot))
    newest = deque[bytes](maxlen=last)
    newest.extendleft(islice(source.last_lines(snapshot), last))
    return iter(newest)


def entry_of(data: bytes) -> LogEntry:
    """Return what stands in one line of a log, also when it cannot be read."""
    try:
        line = parse_line(data)
    except EncodingError as error:
        return LogEntry(None, {}, None, f"the line {error}")
    try:
        return LogEntry(line.seq, line.members, record_of(line.members))
    except EncodingError as error:
        return LogEntry(line.seq, line.members, None, f"the line {error}")
