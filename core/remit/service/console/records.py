"""The audit log as calls: a decision, what came of it, and the secrets that were asked for on the way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from remit.audit import LogEntry, read_log
from remit.errors import ConfigError
from remit.record import AuditRecord

__all__ = ["DEPTHS", "Log", "Moment", "Place"]

DEPTHS: Final = (2_000, 10_000, 50_000)
"""How many lines, counted from the end, a page looks at."""

_PLACE: Final = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,6}))?", re.ASCII)
_NEWEST: Final = 10**18 - 1
_CALL: Final = frozenset({"decision", "outcome", "secret"})


class Place(NamedTuple):
    """Where a moment stands, also when its line has no number to be read."""

    seq: int
    """The number of its record, or of the next newer one."""
    damaged: int = 0
    """How many damaged lines stand between that one and this, itself included; at the end of what was
    looked at, which number 0 stands for, how many calls."""

    def __str__(self) -> str:
        return f"{self.seq}-{self.damaged}" if self.damaged else str(self.seq)

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """Return the place that `str` spelt; None when it is none."""
        match = _PLACE.fullmatch(text)
        return None if match is None else cls(int(match[1]), int(match[2] or 0))

    def is_after(self, other: Place) -> bool:
        """Tell whether this stands further down a time line."""
        return (-self.seq, self.damaged) > (-other.seq, other.damaged)


@dataclass(slots=True)
class Moment:
    """What the time line shows as one: a call with all its records, another record, or a damaged line."""

    line: LogEntry
    """The line by which it has its place: of a call, that of the decision."""
    place: Place
    decision: AuditRecord | None = None
    outcome: AuditRecord | None = None
    secrets: list[AuditRecord] = field(default_factory=list[AuditRecord])
    other: AuditRecord | None = None
    """What is no part of a call: `issue`, `revoke`, `checkpoint`."""

    @property
    def records(self) -> list[AuditRecord]:
        """All its records, in the order in which they were made."""
        told = (self.decision, *self.secrets, self.outcome, self.other)
        return [record for record in told if record is not None]

    @property
    def main(self) -> AuditRecord | None:
        """The record that says most; None for a line that is none."""
        return next(iter(self.records), None)

    @property
    def refusal(self) -> AuditRecord | None:
        """The record of a denial, when there is one."""
        return next((record for record in self.records if record.code is not None), None)

    @property
    def is_allowed(self) -> bool:
        """Whether nothing was denied. How the tool ended is something else."""
        return self.refusal is None and self.main is not None and self.main.allowed

    @property
    def kind(self) -> str:
        """What it looks like: `allowed`, `denied`, `failed`, `damaged`, or the event of another record."""
        record = self.main
        if record is None:
            return "damaged"
        if self.refusal is not None:
            return "denied"
        if self.outcome is not None and not self.outcome.allowed:
            return "failed"
        return "allowed" if record.event in _CALL else record.event

    @property
    def token_ids(self) -> frozenset[str]:
        """The tokens that it is about."""
        found = {token_id for record in self.records for token_id in record.chain}
        for record in self.records:
            if record.token_id is not None:
                found.add(record.token_id)
            if record.subject is not None and record.subject.startswith("token:"):
                found.add(record.subject.removeprefix("token:"))
        return frozenset(found)

    def add(self, record: AuditRecord) -> None:
        """Take a record, which is older than those that are there."""
        if record.event == "secret":
            self.secrets.insert(0, record)
        elif record.event == "outcome" and self.outcome is None:
            self.outcome = record
        elif record.event == "decision" and self.decision is None:
            self.decision = record
        else:
            self.other = record


@dataclass(frozen=True, slots=True)
class Log:
    """The end of an audit log."""

    moments: list[Moment]
    """Newest first."""
    problem: str | None = None
    """Why there is nothing to be shown."""
    is_whole: bool = True
    """Whether there is nothing older."""

    @classmethod
    def read(cls, path: Path | None, depth: int = DEPTHS[0]) -> Log:
        """Return what is at the end of a log.

        Args:
            path: the log; None where the policy file names none.
            depth: how many lines.
        """
        if path is None:
            return cls([], "Nothing is recorded: the policy file has no [audit].")
        try:
            entries = list(read_log(path, last=depth))
        except ConfigError as error:
            return cls([], f"The audit log cannot be shown: {error}.")
        return cls(_moments(reversed(entries)), is_whole=len(entries) < depth)


def _moments(entries: Iterable[LogEntry]) -> list[Moment]:
    """Return what lines tell, newest first, as they are.

    A call stands where its decision does; one whose decision is older than these lines stands at their end.
    """
    moments: list[Moment] = []
    calls: dict[str, Moment] = {}
    place = Place(_NEWEST)
    for entry in entries:
        place = Place(place.seq, place.damaged + 1) if entry.seq is None else Place(entry.seq)
        record = entry.record
        if record is None or record.event not in _CALL or record.call_id is None:
            moment = Moment(entry, place)
            moments.append(moment)
        else:
            moment = calls.setdefault(record.call_id, Moment(entry, place))
            if record.event == "decision" and moment.decision is None:
                moment.line, moment.place = entry, place
                moments.append(moment)
        if record is not None:
            moment.add(record)
    begun_before = [moment for moment in calls.values() if moment.decision is None]
    for i, moment in enumerate(begun_before):
        moment.place = Place(0, i)
    return moments + begun_before
