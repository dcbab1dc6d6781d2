"""What a verification of an audit log found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final, Literal

__all__ = ["Finding", "FindingCode", "Findings", "LogReport", "Place", "SignedCheckpoint"]

FindingCode = Literal[
    "log_empty",
    "log_unreadable",
    "line_unreadable",
    "line_torn",
    "line_altered",
    "line_repeated",
    "line_moved",
    "lines_missing",
    "lines_removed",
    "cut_off",
    "head_missing",
    "head_wrong",
    "head_behind",
    "other_log",
    "checkpoint_wrong",
    "checkpoint_untrusted",
    "checkpoint_missing",
    "expectation_failed",
]

_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands."""

    file: str
    line: int
    """Counted from 1; in a table, the number of the row."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a log."""

    code: FindingCode
    message: str
    """One sentence; no text from the log stands in it unquoted."""
    file: str
    line: int | None = None
    seq: int | None = None
    """The number of the record, where one is known."""

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line is not None else ''}: {self.message}"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint whose signature was verified: up to there nobody without its key changed the log."""

    seq: int
    """The number of the checkpoint's own line."""
    at: float
    """Seconds since the epoch, as it was signed."""
    issuer: str
    """Who signed it, by the trust anchor whose key it was."""
    kid: str
    """The thumbprint of the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What a verification found. Nothing is wrong with the log exactly when `findings` is empty."""

    path: str
    log: str | None
    """The log's identity, a random number it was given when it was begun."""
    files: int
    lines: int
    first: int | None
    """The number of the first record that is there; those before were removed as too old."""
    last: int | None
    """The number of the last record."""
    position: str | None
    """`SEQ:HASH` of the last record: noted elsewhere, it is what `expect` takes later."""
    checkpoint: SignedCheckpoint | None
    """The last checkpoint whose signature was verified."""
    unsigned: int
    """How many records come after it: only the head protects these from being cut off or rewritten."""
    adopted: int
    """How many records a writer took over that the head did not know, as after a crash."""
    torn: int
    """How many unfinished lines were put aside after a crash."""
    findings: tuple[Finding, ...]
    """What is wrong, in the order of the log."""
    more: int
    """How many further findings there were beside these."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def to_dict(self) -> dict[str, object]:
        """Return the report as a JSON object."""
        return {"ok": self.ok, **asdict(self)}


class Findings:
    """Collects the first hundred findings, and counts the others."""

    def __init__(self) -> None:
        self._found: dict[int, Finding] = {}
        self._count = 0

    def add(self, finding: Finding) -> int:
        """Add a finding; return what `replace` knows it by."""
        self._count += 1
        if len(self._found) < _MOST:
            self._found[self._count] = finding
        return self._count

    def replace(self, number: int, finding: Finding | None) -> None:
        """Say something else in place of a finding, or nothing."""
        if finding is None:
            self._found.pop(number, None)
            self._count -= 1
        elif number in self._found:
            self._found[number] = finding

    @property
    def some(self) -> bool:
        """Whether there is any."""
        return self._count > 0

    def result(self) -> tuple[tuple[Finding, ...], int]:
        """Return the findings, and the number of those that were only counted."""
        return tuple(self._found.values()), self._count - len(self._found)
