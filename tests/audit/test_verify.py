"""N10: what is done to a log is found, and named by file, line and record."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import remit
from remit.audit import Finding, LogReport, verify_log

from .support import (
    KEY,
    chained,
    codes,
    fill,
    findings,
    head_of,
    lines_of,
    rewrite,
    sound,
    true_head,
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 14 lines: checkpoints at 1, 8 and 14."""
    path = tmp_path_factory.mktemp("log") / "audit.jsonl"
    fill(path, 11, every=8, signer=KEY)
    return path


@pytest.fixture
def log(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    for file in original.parent.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / original.name


def first(path: Path, *anchors: remit.TrustAnchor) -> tuple[str, str, int | None, int | None]:
    """The first finding: code, file name, line, record."""
    finding = findings(path, *anchors)[0]
    return finding.code, Path(finding.file).name, finding.line, finding.seq


def edit(line: bytes, **members: Any) -> bytes:
    return json.dumps({**json.loads(line), **members}, separators=(",", ":")).encode() + b"\n"


def test_a_sound_log_has_no_findings_and_its_report_says_what_was_looked_at(log: Path) -> None:
    report = sound(log)
    assert (report.files, report.lines, report.first, report.last) == (1, 14, 1, 14)
    assert report.log == json.loads(lines_of(log)[0])["log"]
    assert report.checkpoint is None  # no anchors: no signature was looked at
    assert report.unsigned == 14
    assert report.position == json.loads(json.dumps(report.to_dict()))["position"]
    assert report.to_dict()["ok"] is True
    assert report.path == str(log)


def test_verifying_changes_nothing(log: Path) -> None:
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in log.parent.iterdir()}
    verify_log(log, [KEY.anchor])
    assert {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in log.parent.iterdir()} == before


@pytest.mark.parametrize("line", range(1, 15))
def test_a_line_that_was_removed_is_named(log: Path, line: int) -> None:
    lines = lines_of(log)
    del lines[line - 1]
    rewrite(log, lines)
    code, file, place, seq = first(log)
    assert file == "audit.jsonl"
    if line == 14:
        assert (code, place, seq) == ("cut_off", 13, 13)
    elif line == 1:
        assert (code, place, seq) == ("lines_missing", 1, 2)
        assert "lines_removed" in codes(log)
    else:
        assert (code, place, seq) == ("lines_missing", line, line + 1)
        assert findings(log)[0].message == f"record {line} is missing before this line"


@pytest.mark.parametrize("line", range(1, 15))
@pytest.mark.parametrize("member", ["allowed", "prev", "agent", "at"])
def test_a_line_that_was_altered_is_named(log: Path, line: int, member: str) -> None:
    lines = lines_of(log)
    values = {"allowed": False, "prev": "B" * 43, "agent": "nobody", "at": 5}
    lines[line - 1] = edit(lines[line - 1], **{member: values[member]})
    rewrite(log, lines)
    found = findings(log)
    assert ("line_altered", line, line) in [(f.code, f.line, f.seq) for f in found]
    assert all(f.line == line for f in found)  # a checkpoint's signature may be wrong as well


@pytest.mark.parametrize("line", range(1, 15))
@pytest.mark.parametrize("seq", [0, 1, 3, 100, "2", None, -1, 2.5])
def test_a_line_whose_number_was_altered_is_found_at_its_place(log: Path, line: int, seq: Any) -> None:
    if seq == line:
        return
    lines = lines_of(log)
    lines[line - 1] = edit(lines[line - 1], seq=seq)
    rewrite(log, lines)
    assert first(log)[2] in {line, line + 1} or (line == 14 and first(log)[0] == "cut_off")


@pytest.mark.parametrize("one", [2, 5, 12])
@pytest.mark.parametrize("other", [3, 7, 13])
def test_lines_that_changed_places_are_named(log: Path, one: int, other: int) -> None:
    lines = lines_of(log)
    lines[one - 1], lines[other - 1] = lines[other - 1], lines[one - 1]
    rewrite(log, lines)
    found = findings(log)
    assert found[0].code in {"line_moved", "lines_missing"}
    named = {(f.line, f.seq) for f in found}
    assert named & {(one, other), (other, one)}


def test_a_line_that_was_moved_up_is_said_to_have_been_moved(log: Path) -> None:
    lines = lines_of(log)
    lines.insert(4, lines.pop(9))
    rewrite(log, lines)
    found = findings(log)
    assert [(f.code, f.line, f.seq) for f in found] == [
        ("line_moved", 6, 5), ("line_moved", 7, 6), ("line_moved", 8, 7), ("line_moved", 9, 8), ("line_moved", 10, 9)
    ]  # fmt: skip
    assert found[0].message == f"record 5 stands here, and belongs before {log}:5"


def test_two_neighbours_that_changed_places_are_one_finding(log: Path) -> None:
    lines = lines_of(log)
    lines[4], lines[5] = lines[5], lines[4]
    rewrite(log, lines)
    assert [(f.code, f.line, f.seq) for f in findings(log)] == [("line_moved", 6, 5)]


@pytest.mark.parametrize("line", range(1, 15))
@pytest.mark.parametrize("to", [1, 7, 14])
def test_a_line_that_stands_twice_is_named(log: Path, line: int, to: int) -> None:
    lines = lines_of(log)
    lines.insert(to, lines[line - 1])
    rewrite(log, lines)
    found = findings(log)
    assert found[0].line in {to + 1, to + 2}
    assert found[0].code in {"line_repeated", "line_moved", "lines_missing"}


@pytest.mark.parametrize("junk", [b"\n", b"x\n", b"\x00" * 50 + b"\n", b"[]\n", b"{}\n", b'{"seq":3}\n', b"\xff\xfe\n", b'{"seq":3,"prev":"x"}\n',
                                  b'{"seq":3,"seq":3,"prev":"' + b"A" * 43 + b'"}\n', b'{"seq":NaN,"prev":"' + b"A" * 43 + b'"}\n',
                                  '{"seq":3,"prev":"é"}\n'.encode(), b"[" * 100_000 + b"\n"], ids=lambda j: ascii(j[:20]))  # fmt: skip
@pytest.mark.parametrize("to", [0, 5, 14])
def test_junk_that_was_inserted_is_named_and_nothing_else_is(log: Path, junk: bytes, to: int) -> None:
    lines = lines_of(log)
    lines.insert(to, junk)
    rewrite(log, lines)
    assert [(f.code, f.line) for f in findings(log)] == [("line_unreadable", to + 1)]


def test_a_line_that_was_made_up_and_inserted_is_found(log: Path) -> None:
    lines = lines_of(log)
    lines.insert(5, edit(lines[5], agent="nobody"))
    rewrite(log, lines)
    assert first(log)[2] in {6, 7}


def test_a_line_that_is_junk_now_is_named_and_not_called_missing(log: Path) -> None:
    lines = lines_of(log)
    lines[6] = b"gone\n"
    rewrite(log, lines)
    assert [(f.code, f.line) for f in findings(log)] == [("line_unreadable", 7)]


@pytest.mark.parametrize("kept", range(14))
def test_a_cut_at_the_end_is_found_by_the_head(log: Path, kept: int) -> None:
    rewrite(log, lines_of(log)[:kept])
    found = findings(log)
    assert found[-1].code == "cut_off"
    assert found[-1].line == (kept or None)
    assert f"record{'s' if kept < 13 else ''} {kept + 1}" in found[-1].message


@pytest.mark.parametrize("bytes_gone", [1, 2, 50, 200])
def test_a_cut_inside_of_the_last_line_is_found(log: Path, bytes_gone: int) -> None:
    log.write_bytes(log.read_bytes()[:-bytes_gone])
    assert first(log)[:3] == ("line_torn", "audit.jsonl", 14)


def test_a_log_that_was_emptied_is_found(log: Path) -> None:
    rewrite(log, [])
    assert codes(log) == ["log_empty", "cut_off"]
    log.unlink()
    assert codes(log) == ["log_empty", "cut_off"]
    head_of(log).unlink()
    with pytest.raises(remit.ConfigError, match="there is no audit log"):
        verify_log(log)
    rewrite(log, [])
    assert codes(log) == ["log_empty", "head_missing"]  # nothing to verify is no good news


# ── the head ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_head_is_a_finding(log: Path) -> None:
    head_of(log).unlink()
    assert codes(log, KEY.anchor) == ["head_missing"]
    head_of(log).write_bytes(b"")
    assert codes(log, KEY.anchor) == ["head_missing"]


@pytest.mark.parametrize("change", ["seq", "hash", "size", "log"])
def test_a_head_that_says_something_else_is_a_finding(log: Path, change: str) -> None:
    head = json.loads(head_of(log).read_bytes())
    head[change] = {"seq": head["seq"] - 1, "hash": "B" * 43, "size": head["size"] + 1, "log": "0" * 32}[
        change
    ]
    head_of(log).write_bytes(json.dumps(head, separators=(",", ":")).ljust(255).encode() + b"\n")
    expected = {"seq": "head_wrong", "hash": "line_altered", "size": "head_wrong", "log": "head_wrong"}
    assert codes(log) == [expected[change]]


@given(position=st.integers(0, 255), value=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_byte_of_the_head_counts(log: Path, position: int, value: int) -> None:
    before = bytearray(head_of(log).read_bytes())
    changed = bytearray(before)
    changed[position] = value
    head_of(log).write_bytes(changed)
    try:
        assert bool(findings(log)) is (changed != before)
    finally:
        head_of(log).write_bytes(before)


def test_records_that_the_head_does_not_know_are_a_finding(log: Path) -> None:
    lines = lines_of(log)
    added = chained([*lines, edit(lines[3], agent="invented")])
    rewrite(log, [*lines, edit(added[-1], prev=_digest(lines[-1]))])
    [finding] = findings(log, KEY.anchor)
    assert (finding.code, finding.line, finding.seq) == ("head_behind", 15, 15)


def _digest(line: bytes) -> str:
    from remit.audit.line import digest_of

    return digest_of(line)


def test_a_log_is_told_from_another_by_its_identity(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    fill(other, 11, every=8, signer=KEY)
    mine, theirs = log.read_bytes(), other.read_bytes()
    log.write_bytes(theirs)
    other.write_bytes(mine)
    assert codes(log) == ["head_wrong"]
    assert codes(other) == ["head_wrong"]


def test_two_logs_swapped_with_their_heads_are_told_apart_by_a_noted_position(
    log: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    fill(other, 11, every=8, signer=KEY)
    noted = verify_log(log).position
    sound(log, expect=noted)
    for end in ("", ".head"):
        one, two = Path(f"{log}{end}"), Path(f"{other}{end}")
        first_bytes, second_bytes = one.read_bytes(), two.read_bytes()
        one.write_bytes(second_bytes)
        two.write_bytes(first_bytes)
    assert sound(log, KEY.anchor).log != sound(other, KEY.anchor).log
    assert codes(log, KEY.anchor, expect=noted) == ["expectation_failed"]


def test_a_part_of_another_log_cannot_be_put_in(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    fill(other, 11, every=8, signer=KEY)
    rewrite(log, [*lines_of(log)[:7], *lines_of(other)[7:]])
    assert "other_log" in codes(log)
    assert first(log)[2] in {7, 8}


# ── a position that was noted elsewhere ─────────────────────────────────────────────────────────────────────


def test_a_log_cut_back_with_its_head_is_found_by_a_position_that_was_noted(log: Path) -> None:
    noted = verify_log(log, [KEY.anchor]).position
    assert noted is not None
    rewrite(log, lines_of(log)[:10])
    true_head(log)
    assert codes(log) == []  # whoever can write both can cut back to any earlier state
    report = verify_log(log, [KEY.anchor])
    assert report.checkpoint is not None
    assert (report.ok, report.checkpoint.seq, report.unsigned) == (True, 8, 2)  # the documented limit
    [finding] = findings(log, KEY.anchor, expect=noted)
    assert (finding.code, finding.seq) == ("expectation_failed", 14)
    assert finding.message == "record 14, which was noted, is not there: the log ends with record 10"


def test_a_position_that_is_not_the_one_that_was_noted_is_found(log: Path) -> None:
    noted = verify_log(log).position
    assert noted is not None
    rewrite(log, chained([edit(line, agent="x") for line in lines_of(log)]))
    true_head(log)
    [finding] = [f for f in findings(log, expect=noted) if f.code == "expectation_failed"]
    assert finding.message == "record 14 is not the one that was noted"


@pytest.mark.parametrize(
    "expect", ["", "14", "14:", ":x", "0:" + "A" * 43, "014:" + "A" * 43, "14:" + "A" * 42, "14:" + "=" * 43, 14, b"x", chr(0x0661) + ":" + "A" * 43]
)  # fmt: skip
def test_a_position_that_is_none_is_refused(log: Path, expect: Any) -> None:
    with pytest.raises(remit.ConfigError, match="SEQ:HASH"):
        verify_log(log, expect=expect)


# ── whatever is done ────────────────────────────────────────────────────────────────────────────────────────


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_to_the_bytes_of_a_log_is_found(original: Path, log: Path, data: st.DataObject) -> None:
    before = original.read_bytes()
    at = data.draw(st.integers(0, len(before)), label="at")
    gone = data.draw(st.integers(0, 40), label="gone")
    new = data.draw(st.binary(max_size=40), label="new")
    after = before[:at] + new + before[at + gone :]
    log.write_bytes(after)
    assert bool(findings(log)) is (after != before)


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_to_the_order_and_number_of_lines_is_found(
    original: Path, log: Path, data: st.DataObject
) -> None:
    before = lines_of(original)
    after = data.draw(st.lists(st.sampled_from(before), max_size=16) | st.permutations(before))
    rewrite(log, after)
    assert bool(findings(log)) is (after != before)


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whoever_chains_the_lines_anew_without_the_key_changes_nothing_before_a_signature(
    original: Path, log: Path, data: st.DataObject
) -> None:
    before = lines_of(original)
    start = data.draw(st.sampled_from([[], before[:1], before[:5], before[:8], before[:10]]))
    after = chained([*start, *data.draw(st.lists(st.sampled_from(before), min_size=1, max_size=12))])
    rewrite(log, after)
    true_head(log)
    report = verify_log(log, [KEY.anchor])
    if report.ok:  # a record that no signature covers yet can be made up, as the page says
        assert report.checkpoint is not None
        assert after[: report.checkpoint.seq] == before[: report.checkpoint.seq]
        assert report.unsigned == len(after) - report.checkpoint.seq <= 8


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\0" * 100_000, b"x" * 3_000_000, b"\n" * 5_000, os.urandom(50_000)], ids=len
)
def test_a_file_that_is_no_log_at_all_is_found_wanting(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(content)
    report = verify_log(path)
    assert not report.ok
    assert len(report.findings) <= 101
    assert report.last is None


def test_a_giant_line_is_named_and_what_follows_is_read(log: Path) -> None:
    lines = lines_of(log)
    rewrite(log, [*lines[:3], b'{"seq":4,"x":"' + b"y" * 40_000_000 + b'"}\n', *lines[3:]])
    [finding] = findings(log)
    assert (finding.line, finding.message) == (4, "the line is longer than 1048576 bytes")


def test_findings_are_counted_after_the_first_hundred(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 1)
    with path.open("ab") as file:
        file.write(b"x\n" * 250)
    report = verify_log(path)
    assert (len(report.findings), report.more) == (100, 150)


def test_findings_quote_nothing_that_could_speak_to_a_terminal(log: Path) -> None:
    lines = lines_of(log)
    rewrite(log, [edit(lines[0], log="\x1b[31m\n"), b"\x1b]0;x\x07\n", *lines[1:]])
    for finding in findings(log, KEY.anchor):
        assert finding.message.isprintable()
        assert str(finding).startswith(f"{finding.file}")


def test_a_report_and_its_findings_cannot_be_changed(log: Path) -> None:
    report: LogReport = verify_log(log)
    with pytest.raises(AttributeError):
        report.findings = ()  # type: ignore[misc]  # the mistake itself
    with pytest.raises(AttributeError):
        Finding("cut_off", "x", "y").code = "log_empty"  # type: ignore[misc]  # as above


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("/nowhere")])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "audit.jsonl")
    with pytest.raises(remit.ConfigError):
        verify_log(tmp_path / "audit.jsonl")


@pytest.mark.parametrize("path", ["", None, 5, b"x", "a\0b"], ids=repr)
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(remit.ConfigError):
        verify_log(path)


@pytest.mark.parametrize(
    "anchors", [KEY.anchor, ["x"], "x", [KEY], 5], ids=["one", "text", "str", "issuer", "int"]
)
def test_what_are_no_anchors_is_refused(log: Path, anchors: Any) -> None:
    with pytest.raises(remit.ConfigError):
        verify_log(log, anchors)
