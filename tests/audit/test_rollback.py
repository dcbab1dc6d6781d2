"""What a writer that goes on writing does not vouch for: a past that was removed, or put back."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

import remit
from remit.audit import JsonlAudit, SqliteAudit, verify_log
from remit.audit.head import Head, read_head, write_head
from remit.audit.line import Tail, checkpoint_body, digest_of, link

from .support import KEY, NOW, head_of, record


def denied(audit: JsonlAudit | SqliteAudit, number: int) -> str:
    """The reason why a record was not taken."""
    with pytest.raises(remit.Denied) as caught:
        audit.record(record(number))
    assert caught.value.code == "audit_unavailable"
    return caught.value.reason


@pytest.mark.parametrize("knows_the_head", [True, False])
def test_a_checkpoint_that_somebody_adds_removes_nothing_from_what_must_be_there(
    tmp_path: Path, knows_the_head: bool
) -> None:
    """Without the key: a line that says that all before was too old, and a writer that signs over it."""
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path, signer=KEY, every=10, max_bytes=4096)
    for number in range(60):
        audit.record(record(number))
    segments = sorted(tmp_path.glob("audit.jsonl.0*"))
    assert len(segments) > 1
    handle = os.open(head_of(path), os.O_RDWR)
    head = read_head(handle)
    assert head is not None
    first = int(segments[-1].name.rpartition(".")[2])
    line = link(
        Tail(head.seq, head.digest), checkpoint_body(NOW, {"log": head.log, "every": 10, "first": first})
    )
    with path.open("ab") as file:
        file.write(line)
    if knows_the_head:
        write_head(handle, Head(head.seq + 1, digest_of(line), head.size + len(line), head.log))
        for number in range(60, 75):
            audit.record(record(number))
        audit.close()
        for segment in segments[:-1]:
            segment.unlink()
        report = verify_log(path, [KEY.anchor])
        assert not report.ok
        assert report.findings[0].code == "lines_removed"
    else:
        assert "as if it began there" in denied(audit, 60)
    os.close(handle)


def test_a_writer_does_not_go_on_from_a_state_that_it_has_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path, signer=KEY, every=10)
    for number in range(15):
        audit.record(record(number))
    log, head = path.read_bytes(), head_of(path).read_bytes()
    for number in range(15, 40):
        audit.record(record(number))
    path.write_bytes(log)  # in place: the files stay the same
    head_of(path).write_bytes(head)
    assert "put back" in denied(audit, 40)


def test_a_head_that_was_replaced_is_not_written_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.audit.journal._LOOK_EVERY", 0)
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path)
    audit.record(record(1))
    shutil.copy2(head_of(path), tmp_path / "copy")
    (tmp_path / "copy").replace(head_of(path))
    assert "another head" in denied(audit, 2)


@pytest.mark.parametrize("how", ["emptied", "set back", "another log"])
def test_a_table_that_was_set_back_is_not_gone_on_with(tmp_path: Path, how: str) -> None:
    path = tmp_path / "audit.db"
    audit = SqliteAudit(path)
    for number in range(3):
        audit.record(record(number))
    other = sqlite3.connect(path)
    kept = other.execute("SELECT seq, hash, log FROM audit_head").fetchone()
    for number in range(3, 6):
        audit.record(record(number))
    with other:
        if how == "emptied":
            other.execute("DELETE FROM audit_lines")
            other.execute("DELETE FROM audit_head")
        elif how == "set back":
            other.execute("DELETE FROM audit_lines WHERE seq > ?", kept[:1])
            other.execute("UPDATE audit_head SET seq = ?, hash = ?", kept[:2])
        else:
            other.execute("UPDATE audit_head SET log = ?", ("0" * 32,))
    other.close()
    assert "put back" in denied(audit, 6)
    assert "put back" in denied(audit, 7)


def test_a_file_that_only_has_such_a_name_does_not_belong_to_the_log(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    (tmp_path / "audit.jsonl.20261122120000").write_text("an operator's note\n", encoding="utf-8")
    with JsonlAudit(path, max_bytes=4096, keep=2) as audit:
        for number in range(40):
            audit.record(record(number))
        shutil.copy2(path, tmp_path / "audit.jsonl.20261122120001")  # a dated copy
        for number in range(40, 80):
            audit.record(record(number))
    with JsonlAudit(path, max_bytes=4096, keep=2) as audit:
        audit.record(record(80))
    assert (tmp_path / "audit.jsonl.20261122120001").exists()


def test_nobody_hands_in_a_checkpoint(tmp_path: Path) -> None:
    with JsonlAudit(tmp_path / "audit.jsonl") as audit:
        audit.record(record(1))
        with pytest.raises(remit.ConfigError):
            audit.record(record(2, event="checkpoint"))
        audit.record(record(3))
    assert verify_log(tmp_path / "audit.jsonl").ok


def test_what_a_checkpoint_says_of_a_recovery_is_signed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path, signer=KEY)
    audit.record(record(1))
    with path.open("ab") as file:
        file.write(b'{"seq":3,"unfinished')
    audit.record(record(2))
    audit.close()
    assert verify_log(path, [KEY.anchor]).ok
    lines = path.read_bytes().splitlines(keepends=True)
    index = next(number for number, line in enumerate(lines) if b'"torn"' in line)
    start = lines[index].index(b'"torn"')
    lines[index] = lines[index][:start] + b'"tor_"' + lines[index][start + 6 :]
    path.write_bytes(b"".join(lines))
    codes = [finding.code for finding in verify_log(path, [KEY.anchor]).findings]
    assert "checkpoint_wrong" in codes
