"""The checks on a chain of lines, one line after the other, whatever keeps them.

1. each line is one; 2. its number follows the one before; 3. its `prev` is the hash of the line before;
4. each checkpoint speaks of this log and of its own place, and is signed by a trusted key where there are
any; 5. the end is what the head says; 6. a position that was noted elsewhere is where it was.

One line is remembered, not more. Where two neighbours do not fit, the one after them says which of the
two was altered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from remit.audit.findings import Finding, Findings, Place, SignedCheckpoint
from remit.audit.line import GENESIS, STATED, Line, Tail, digest_of, parse_line
from remit.encoding import EncodingError
from remit.errors import shown
from remit.token import CHECKPOINT, Envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remit.anchor import TrustAnchor
    from remit.audit.findings import FindingCode
    from remit.audit.head import Head
    from remit.encoding import JsonObject

__all__ = ["ChainCheck", "Expectation"]

_MOST_GAPS: Final = 100


class Expectation(NamedTuple):
    """A position that was noted elsewhere."""

    seq: int
    digest: str


class _Gap:
    """Numbers that were skipped, and may turn up later."""

    __slots__ = ("finding", "missing", "place")

    def __init__(self, missing: range, place: Place, finding: int) -> None:
        self.missing, self.place, self.finding = missing, place, finding


class ChainCheck:
    """Verifies the lines that `feed` is given, oldest first; `end` says how they should end.

    Args:
        anchors: whose signatures count; with none, signatures are not looked at.
        head: what the head says, if there is one.
        expect: a position that was noted elsewhere.
    """

    def __init__(self, anchors: Sequence[TrustAnchor], head: Head | None, expect: Expectation | None) -> None:
        self.findings: Findings = Findings()
        self.log: str | None = None
        self.tail: Tail | None = None
        """The last line that was in order."""
        self.first: int | None = None
        self.checkpoint: SignedCheckpoint | None = None
        self.adopted: int = 0
        self.torn: int = 0
        self.lines: int = 0
        self._anchors = anchors
        self._head = head
        self._expect = expect
        self._place: Place | None = None
        self._doubt: tuple[Place, int, Place, int] | None = None
        """Two neighbours that do not fit, until the next line says which of them was altered."""
        self._gaps: list[_Gap] = []
        self._unread = 0
        """Lines since the last one in order that could not be read."""
        self._kept_from = 1
        """The first record that is kept, as the log itself says."""
        self._every: int | None = None
        self._unsigned: Place | None = None
        """The first checkpoint without a signature since the last one with a good one."""
        self._at_head: str | None = None
        self._at_expected: str | None = None

    def _find(self, code: FindingCode, message: str, place: Place, seq: int | None = None) -> int:
        return self.findings.add(Finding(code, message, place.file, place.line or None, seq))

    # ── each line ───────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, data: bytes, place: Place) -> None:
        """Verify the next line, of which `data` are the exact bytes."""
        self.lines += 1
        try:
            line = parse_line(data)
        except EncodingError as error:
            self._unread += 1
            torn = not data.endswith(b"\n")
            self._find("line_torn" if torn else "line_unreadable", f"the line {error}", place)
            return
        digest = digest_of(data)
        if self._head is not None and line.seq == self._head.seq:
            self._at_head = digest
        if self._expect is not None and line.seq == self._expect.seq:
            self._at_expected = digest
        if self.tail is None or self._place is None:
            self._begin(line, place)
        elif line.seq <= self.tail.seq:
            self._out_of_order(line, digest, place)
            return
        else:
            self._follow(line, self.tail, self._place, place)
        self.tail, self._place, self._unread = Tail(line.seq, digest), place, 0
        if line.members.get("event") == "checkpoint":
            self._see_checkpoint(line, place)

    def _begin(self, line: Line, place: Place) -> None:
        self.first = line.seq
        if line.seq == 1 and line.prev != GENESIS:
            self._find("line_altered", "the first line of a log joins nothing, and this one does", place, 1)
        if line.members.get("event") != "checkpoint":
            self._find("lines_missing", "the log does not begin with a line that says which log it is", place,
                       line.seq)  # fmt: skip

    def _follow(self, line: Line, tail: Tail, before: Place, place: Place) -> None:
        fits = line.prev == tail.digest
        doubt, self._doubt = self._doubt, None
        if doubt is not None:
            self._altered(doubt, second=not fits)
        skipped = line.seq - tail.seq - 1
        if skipped > self._unread:
            missing = range(tail.seq + 1, line.seq)
            number = self._find("lines_missing", f"{_are(missing)} missing before this line", place, line.seq)
            if len(self._gaps) < _MOST_GAPS:
                self._gaps.append(_Gap(missing, place, number))
        elif skipped == 0 and not fits and doubt is None:
            self._doubt = (before, tail.seq, place, line.seq)

    def _altered(self, doubt: tuple[Place, int, Place, int], *, second: bool) -> None:
        first_place, first_seq, second_place, second_seq = doubt
        place, seq = (second_place, second_seq) if second else (first_place, first_seq)
        self._find("line_altered", f"record {seq} is not as it was written", place, seq)

    def _out_of_order(self, line: Line, digest: str, place: Place) -> None:
        for gap in self._gaps:
            if line.seq in gap.missing:
                self._moved(gap, line.seq, place)
                return
        again = "again" if self.tail is not None and digest == self.tail.digest else "a second time"
        self._find("line_repeated", f"record {line.seq} stands here {again}", place, line.seq)

    def _moved(self, gap: _Gap, seq: int, place: Place) -> None:
        self._gaps.remove(gap)
        moved = Finding("line_moved", f"record {seq} stands here, and belongs before {gap.place}", place.file,
                        place.line, seq)  # fmt: skip
        rest = [part for part in (range(gap.missing.start, seq), range(seq + 1, gap.missing.stop)) if part]
        self.findings.replace(gap.finding, moved)
        for part in rest:
            number = self._find("lines_missing", f"{_are(part)} missing before this line", gap.place)
            self._gaps.append(_Gap(part, gap.place, number))

    # ── checkpoints ─────────────────────────────────────────────────────────────────────────────────────────

    def _see_checkpoint(self, line: Line, place: Place) -> None:
        members = line.members
        log, first, adopted = members.get("log"), members.get("first"), members.get("adopted")
        if not isinstance(log, str) or (self.log is not None and log != self.log):
            self._find("other_log", "the checkpoint is that of another log", place, line.seq)
            return
        self.log = log
        if not self._anchors:
            self._keep_from(first)
        if type(adopted) is int:
            self.adopted += adopted
        self.torn += "torn" in members
        statement = members.get("statement")
        if statement is not None:
            self._see_signature(line, statement, place)
        elif self._unsigned is None:
            self._unsigned = place

    def _keep_from(self, first: object) -> None:
        """Take a checkpoint's word that older records were removed, a signed one's where signatures count."""
        if type(first) is int:
            self._kept_from = max(self._kept_from, first)

    def _see_signature(self, line: Line, statement: object, place: Place) -> None:
        try:
            envelope = Envelope.read(statement, CHECKPOINT)
            payload = envelope.unverified_payload()
        except EncodingError as error:
            self._find("checkpoint_wrong", f"the checkpoint's signature {error}", place, line.seq)
            return
        if {name: value for name, value in payload.items() if name != "iss"} != _statement(line):
            self._find(
                "checkpoint_wrong", "the checkpoint's signature is for something else", place, line.seq
            )
            return
        if not self._anchors:
            return
        kid = envelope.header.kid
        named = [anchor for anchor in self._anchors if anchor.key.thumbprint == kid]
        signers = [anchor for anchor in named if anchor.issuer == payload.get("iss")]
        if not signers:
            whose = f"{shown(payload.get('iss'))} with the key {shown(kid)}"
            self._find("checkpoint_untrusted", f"the checkpoint is signed by {whose}, which is not trusted",
                       place, line.seq)  # fmt: skip
            return
        if envelope.opened_with(signers[0].key) is None:
            self._find(
                "checkpoint_wrong", "the checkpoint's signature is not that of its key", place, line.seq
            )
            return
        at, every = line.members.get("at"), line.members.get("every")
        if isinstance(at, int | float) and type(every) is int:
            self.checkpoint = SignedCheckpoint(line.seq, at, signers[0].issuer, signers[0].key.thumbprint)
            self._every, self._unsigned = every, None
            self._keep_from(line.members.get("first"))

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

    def end(self, place: Place, size: int) -> None:
        """Verify how the log ends.

        Args:
            place: its last line, or the file itself when it has none.
            size: how many bytes its last file has that has any.
        """
        if self.tail is None:
            if not self.findings.some:
                self._find("log_empty", "the log holds no record, so there is nothing to verify", place)
        elif self.first is not None and self.first > self._kept_from:
            self._find("lines_removed", f"{_are(range(self._kept_from, self.first))} not there, and nothing"
                       " says that they were removed as too old", place, self.first)  # fmt: skip
        tail = self.tail or Tail(0, GENESIS)
        self._compare_head(tail, place, size)
        self._compare_expected(tail, place)
        if self._anchors and self.tail is not None:
            self._need_signature(tail, place)

    def _compare_head(self, tail: Tail, place: Place, size: int) -> None:
        head, doubt = self._head, self._doubt
        if (
            doubt is not None
        ):  # the last two lines do not fit, and only the head can say which is the wrong one
            last_is_wrong = head is not None and tail.seq == head.seq and tail.digest != head.digest
            self._altered(doubt, second=last_is_wrong)
        if head is None:
            return
        if self.log is not None and head.log != self.log:
            self._find("head_wrong", "the head is that of another log", place)
        elif tail.seq + self._unread < head.seq:
            missing = range(tail.seq + 1, head.seq + 1)
            self._find("cut_off", f"the log ends here; {_are(missing)} cut off", place, tail.seq or None)
        elif tail.seq >= head.seq > 0 and self._at_head != head.digest:
            if tail.seq == head.seq and doubt is None:
                self._find(
                    "line_altered", f"record {tail.seq}, the last, is not as it was written", place, tail.seq
                )
            elif tail.seq > head.seq:
                self._find("head_wrong", f"the head speaks of another record {head.seq}", place)
        elif tail.seq > head.seq:
            added = _records(range(head.seq + 1, tail.seq + 1))
            self._find("head_behind", f"the head does not know {added}: a writer died here, or somebody added"
                       f" {'them' if tail.seq > head.seq + 1 else 'it'}", place, tail.seq)  # fmt: skip
        elif head.size != size and not self.findings.some:
            self._find("head_wrong", f"the head speaks of {head.size} bytes; there are {size}", place)

    def _compare_expected(self, tail: Tail, place: Place) -> None:
        expect = self._expect
        if expect is None or self._at_expected == expect.digest:
            return
        if self._at_expected is not None:
            said = f"record {expect.seq} is not the one that was noted"
        elif expect.seq > tail.seq:
            said = f"record {expect.seq}, which was noted, is not there: the log ends with record {tail.seq}"
        else:
            said = f"record {expect.seq}, which was noted, is not there"
        self._find("expectation_failed", said, place, expect.seq)

    def _need_signature(self, tail: Tail, place: Place) -> None:
        if self.checkpoint is None or self._every is None:
            self._find("checkpoint_missing", "no checkpoint is signed by a trusted key", place)
        elif self._unsigned is not None:
            self._find(
                "checkpoint_missing", "a checkpoint is not signed, and none after it is", self._unsigned
            )
        elif tail.seq - self.checkpoint.seq > self._every:
            self._find("checkpoint_missing", f"a signed checkpoint was due {self._every} records after record"
                       f" {self.checkpoint.seq}", place)  # fmt: skip


def _statement(line: Line) -> JsonObject:
    """Return what the signature of a checkpoint has to be over."""
    about: JsonObject = {name: value for name, value in line.members.items() if name in STATED}
    return {**about, "seq": line.seq - 1, "hash": line.prev}


def _records(numbers: range) -> str:
    return f"record {numbers[0]}" if len(numbers) == 1 else f"records {numbers[0]} to {numbers[-1]}"


def _are(numbers: range) -> str:
    return f"{_records(numbers)} {'is' if len(numbers) == 1 else 'are'}"
