"""The audit log as calls: a decision, what came of it, and the secrets that were asked for on the way.

A log is read backwards, and what a page is about is picked out on the way: so many lines are looked at,
however few of them are of use, and fewer when there is enough. Who fills a log with calls that are denied
pushes nothing else out of sight, as long as it is within that many lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from remit.audit import LogEntry
from remit.audit.read import entry_of
from remit.audit.source import source_of, unreadable
from remit.errors import ConfigError
from remit.record import AuditRecord

__all__ = ["DEPTHS", "Log", "Moment", "Place", "Select", "begun_with", "mentioning", "of_tokens"]

DEPTHS: Final = (50_000, 200_000)
"""How many lines, counted from the end, a page looks at; the first where nobody says."""

_PLACE: Final = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,6}))?", re.ASCII)
_NEWEST: Final = 10**18 - 1
_CALL: Final = frozenset({"decision", "outcome", "secret"})
_TOKEN: Final = b'"token_id":'
_ROOT: Final = re.compile(rb'"chain":\["((?:[^"\\]|\\.)*)"')


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


Wanted: TypeAlias = Callable[[bytes], bool]
"""Tells of a line, before it is read, whether it may be of use. If in doubt, it says yes."""
Select: TypeAlias = Callable[[Iterator[Moment]], Iterable[Moment]]
"""Picks moments, newest first, and stops when it has enough."""


@dataclass(frozen=True, slots=True)
class Log:
    """What was found in an audit log, from its end on."""

    moments: list[Moment]
    """Newest first."""
    problem: str | None = None
    """Why there is nothing to be shown."""
    looked_at: int = 0
    """How many lines were looked at."""
    is_whole: bool = False
    """Whether there is nothing older."""
    is_bound: bool = False
    """Whether older lines were not looked at, as there are too many. When neither, enough was found."""

    @classmethod
    def read(
        cls,
        path: Path | None,
        depth: int = DEPTHS[0],
        *,
        wanted: Wanted | None = None,
        select: Select = list,
    ) -> Log:
        """Return what is found in a log, looking back from its end.

        Args:
            path: the log; None where the policy file names none.
            depth: how many lines are looked at, at most.
            wanted: which lines are of use; by default all.
            select: which moments are; by default all.
        """
        if path is None:
            return cls([], "Nothing is recorded: the policy file has no [audit].")
        look = _Look(depth, wanted)
        try:
            source = source_of(path)
            with source.snapshot() as snapshot:
                moments = list(select(_moments(look.entries(source.last_lines(snapshot)))))
        except (ConfigError, OSError) as error:
            problem = error if isinstance(error, ConfigError) else unreadable(str(path), error)
            return cls([], f"The audit log cannot be shown: {problem}.")
        return cls(moments, None, look.looked_at, look.is_whole, look.is_bound)


class _Look:
    """Goes back through lines, and knows how it ended."""

    def __init__(self, depth: int, wanted: Wanted | None) -> None:
        self._depth, self._wanted = depth, wanted
        self.looked_at = 0
        self.is_whole = self.is_bound = False

    def entries(self, lines: Iterable[bytes]) -> Iterator[LogEntry]:
        """Yield what stands in lines that are of use."""
        for data in lines:
            if self.looked_at == self._depth:
                self.is_bound = True
                return
            self.looked_at += 1
            if self._wanted is None or self._wanted(data):
                yield entry_of(data)
        self.is_whole = True


def of_tokens(data: bytes) -> bool:
    """Want lines that name a token; those of calls without one to believe are not."""
    return _TOKEN in data


def mentioning(texts: Iterable[str]) -> Wanted:
    """Want lines in which one of these texts stands, whatever as."""
    needles = [_quoted(text) for text in texts]
    return lambda data: any(needle in data for needle in needles)


def begun_with(roots: Collection[str]) -> Wanted:
    """Want lines whose chain begins with one of these tokens."""
    wanted = {_quoted(root) for root in roots}

    def is_wanted(data: bytes) -> bool:
        found = _ROOT.search(data)
        return found is not None and found[1] in wanted

    return is_wanted


def _quoted(text: str) -> bytes:
    """Return a text as it stands in a line."""
    return json.dumps(text)[1:-1].encode("ascii")


def _moments(entries: Iterable[LogEntry]) -> Iterator[Moment]:
    """Yield what lines tell, newest first, as they are.

    A call stands where its decision does, when the rest of it, which is newer, was seen. One whose decision
    is older than these lines stands at their end.
    """
    begun: dict[str, Moment] = {}
    place = Place(_NEWEST)
    for entry in entries:
        place = Place(place.seq, place.damaged + 1) if entry.seq is None else Place(entry.seq)
        record = entry.record
        if record is None or record.event not in _CALL or record.call_id is None:
            moment = Moment(entry, place)
        elif record.event == "decision":
            moment = begun.pop(record.call_id, Moment(entry, place))
            moment.line, moment.place = entry, place
        else:
            begun.setdefault(record.call_id, Moment(entry, place)).add(record)
            continue
        if record is not None:
            moment.add(record)
        yield moment
    for i, moment in enumerate(begun.values()):
        moment.place = Place(0, i)
        yield moment
