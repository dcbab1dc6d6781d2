"""Verifying an audit log, from its files or its table alone."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from remit.anchor import check_anchors
from remit.audit.check import ChainCheck, Expectation
from remit.audit.files import log_path
from remit.audit.findings import LogReport, Place
from remit.audit.source import ChangedMeanwhileError, source_of, unreadable
from remit.errors import ConfigError
from remit.names import items

if TYPE_CHECKING:
    from collections.abc import Iterable

    from remit.anchor import TrustAnchor
    from remit.audit.source import Snapshot, Source

__all__ = ["verify_log"]

_POSITION: Final = re.compile(r"([1-9][0-9]{0,17}):([A-Za-z0-9_-]{43})", re.ASCII)
_ATTEMPTS: Final = 2


def verify_log(
    path: str | os.PathLike[str], anchors: Iterable[TrustAnchor] = (), *, expect: str | None = None
) -> LogReport:
    """Verify an audit log: that no line was removed, altered, moved, repeated, added or cut off.

    Nothing is changed, and writers may go on meanwhile. The log is read once, a line at a time.

    Args:
        path: the log that `JsonlAudit` or `SqliteAudit` writes.
        anchors: whose checkpoints count. With any, a log that lacks a signed checkpoint where one is due
            is found wanting; with none, signatures are not looked at, and whoever can write the log and
            its head could have rewritten both.
        expect: `SEQ:HASH`, the `position` of an earlier report that was noted elsewhere; it finds a log
            that was cut back to a state that was once right.

    Returns:
        What was found; nothing is wrong exactly when `findings` is empty.

    Raises:
        ConfigError: when there is no log, it cannot be read, or another argument makes no sense.
    """
    given = list(items("anchors", anchors))
    trusted = check_anchors(given) if given else []
    expected = None if expect is None else _expectation(expect)
    where, source = log_path(path), source_of(path)

    def once() -> LogReport:
        with source.snapshot() as snapshot:
            return _report(where, source, snapshot, ChainCheck(trusted, snapshot.head, expected))

    try:
        for _ in range(_ATTEMPTS):
            with suppress(FileNotFoundError, ChangedMeanwhileError):  # a writer removed an old file, or began
                return once()
        return once()
    except OSError as error:
        raise unreadable(where, error) from None


def _report(path: str, source: Source, snapshot: Snapshot, check: ChainCheck) -> LogReport:
    place = Place(path, 0)
    for place, data in source.lines(snapshot):  # afterwards, `place` is where the log ends
        check.feed(data, place)
    check.end(place, source.size(snapshot))
    if snapshot.problem is not None:
        check.findings.add(snapshot.problem)
    findings, more = check.findings.result()
    tail, signed = check.tail, check.checkpoint
    return LogReport(
        path=path,
        log=check.log,
        files=source.files(snapshot),
        lines=check.lines,
        first=check.first,
        last=None if tail is None else tail.seq,
        position=None if tail is None else f"{tail.seq}:{tail.digest}",
        checkpoint=signed,
        unsigned=0 if tail is None else tail.seq - (0 if signed is None else signed.seq),
        adopted=check.adopted,
        torn=check.torn,
        findings=findings,
        more=more,
    )


def _expectation(expect: object) -> Expectation:
    match = _POSITION.fullmatch(expect) if isinstance(expect, str) else None
    if match is None:
        raise ConfigError("expect must be SEQ:HASH, as the position of a report")
    return Expectation(int(match[1]), match[2])
