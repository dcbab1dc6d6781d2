"""A log in a table: the same chain, found out in the same ways."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.audit import SqliteAudit, read_log, verify_log

from .support import KEY, codes, findings, record, sound, unavailable


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of 14 lines: checkpoints at 1, 8 and 14."""
    path = tmp_path / "audit.sqlite"
    with SqliteAudit(path, every=8, signer=KEY) as audit:
        for number in range(11):
            audit.record(record(number))
    return path


def sql(path: Path, *statements: str, values: tuple[object, ...] = ()) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [connection.execute(statement, values).fetchall() for statement in statements]


def test_a_log_in_a_table_holds_what_one_in_a_file_does(log: Path) -> None:
    [rows] = sql(log, "SELECT seq, line FROM audit_lines ORDER BY seq")
    assert [json.loads(line)["seq"] for _, line in rows] == [seq for seq, _ in rows] == list(range(1, 15))
    [agents] = sql(
        log, "SELECT DISTINCT json_extract(line, '$.agent') FROM audit_lines WHERE line LIKE '%decision%'"
    )
    assert agents == [("agent-a",)]
    report = sound(log, KEY.anchor)
    assert (report.files, report.lines, report.last, report.unsigned) == (1, 14, 14, 0)


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        audit = SqliteAudit(tmp_path / "audit.sqlite")
        audit.record(record())
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {0o600}
    audit.close()


def test_it_goes_on_where_it_ended(log: Path) -> None:
    with SqliteAudit(log, every=8, signer=KEY) as audit:
        audit.record(record(50))
    assert sound(log, KEY.anchor).last == 16  # a record, and the checkpoint that is due then


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM audit_lines WHERE seq = 5", ["lines_missing"]),
        ("DELETE FROM audit_lines WHERE seq = 14", ["cut_off"]),
        ("DELETE FROM audit_lines WHERE seq > 3", ["cut_off"]),
        ("DELETE FROM audit_lines WHERE seq = 1", ["lines_missing", "lines_removed"]),
        ("DELETE FROM audit_lines", ["log_empty", "cut_off"]),
        ("DELETE FROM audit_head", ["head_missing"]),
        ("UPDATE audit_head SET seq = 13", ["head_wrong"]),
        ("UPDATE audit_head SET hash = 'x'", ["head_wrong"]),
        ("UPDATE audit_head SET log = 'x'", ["head_wrong"]),
        ("UPDATE audit_lines SET line = replace(line, 'agent-a', 'agent-b') WHERE seq = 5", ["line_altered"]),
        ("UPDATE audit_lines SET line = replace(line, '\"every\":8', '\"every\":9') WHERE seq = 14", ["checkpoint_wrong", "line_altered"]),
        ("UPDATE audit_lines SET line = line || ' ' WHERE seq = 5", ["line_altered"]),
        ("UPDATE audit_lines SET line = 'junk' WHERE seq = 5", ["line_unreadable"]),
        ("UPDATE audit_lines SET line = x'00ff' WHERE seq = 5", ["line_unreadable"]),
        ("UPDATE audit_lines SET line = CAST(x'ff' AS TEXT) WHERE seq = 5", ["line_unreadable"]),
        ("UPDATE audit_lines SET line = 5 WHERE seq = 5", ["line_unreadable"]),
        ("UPDATE audit_lines SET line = hex(zeroblob(3000000)) WHERE seq = 5", ["line_unreadable"]),
        ("UPDATE audit_lines SET line = (SELECT line FROM audit_lines WHERE seq = 6) WHERE seq = 5", ["lines_missing", "line_repeated"]),
        ("INSERT INTO audit_lines SELECT 15, line FROM audit_lines WHERE seq = 14", ["line_repeated"]),
        ("INSERT INTO audit_lines SELECT 0, line FROM audit_lines WHERE seq = 14", None),
        ("INSERT INTO audit_lines SELECT -5, line FROM audit_lines WHERE seq = 1", ["line_repeated"]),
        ("UPDATE audit_lines SET seq = 100 WHERE seq = 5", ["line_moved"]),
    ],
)  # fmt: skip
def test_what_is_done_to_the_table_is_found(log: Path, statement: str, expected: list[str] | None) -> None:
    sql(log, statement)
    assert codes(log) != []
    if expected is not None:
        assert codes(log, KEY.anchor) == expected


def test_a_row_is_named(log: Path) -> None:
    sql(log, "UPDATE audit_lines SET line = replace(line, 'agent-a', 'agent-b') WHERE seq = 5")
    [finding] = findings(log)
    assert (finding.file, finding.line, finding.seq) == (str(log), 5, 5)


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE audit_lines", "DROP TABLE audit_head", "ALTER TABLE audit_head DROP COLUMN hash"],
)
def test_a_database_without_a_log_is_an_error(log: Path, statement: str) -> None:
    sql(log, statement)
    with pytest.raises(remit.ConfigError, match=r"without an audit log|cannot be read"):
        verify_log(log)


def test_a_view_is_not_taken_for_the_table(log: Path) -> None:
    sql(log, "ALTER TABLE audit_lines RENAME TO other", "CREATE VIEW audit_lines AS SELECT * FROM other")
    with pytest.raises(remit.ConfigError, match="without an audit log"):
        verify_log(log)


def test_a_database_that_is_damaged_is_an_error_and_not_a_pass(log: Path) -> None:
    data = bytearray(log.read_bytes())
    data[2000:9000] = os.urandom(7000)
    log.write_bytes(data)
    try:
        assert not verify_log(log).ok
    except remit.ConfigError as error:
        assert "cannot be read" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("content", [b"precious", b"SQLite format 3\0" + b"x" * 100])
def test_a_file_of_somebody_else_is_not_taken_for_a_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "audit"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(remit.ConfigError, match="cannot be used as a database"):
        SqliteAudit(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("options", [{"every": 1}, {"signer": "x"}, {"wait": 0}, {"wait": 1000}], ids=repr)
def test_settings_that_make_no_sense_are_refused_and_make_no_file(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(remit.ConfigError):
        SqliteAudit(tmp_path / "audit", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_symbolic_link_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    (tmp_path / "audit").symlink_to(tmp_path / "victim")
    for path in (tmp_path / "audit", tmp_path / "missing" / "audit"):
        with pytest.raises(remit.ConfigError, match="cannot be opened"):
            SqliteAudit(path)


@pytest.mark.parametrize("name", ["a?mode=memory", "a#b", "a%41", "a b'\"", "é"])
def test_a_path_is_a_path_whatever_it_looks_like(tmp_path: Path, name: str) -> None:
    with SqliteAudit(tmp_path / name) as audit:
        audit.record(record())
    assert sound(tmp_path / name).last == 3
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_log_that_was_closed_records_nothing(tmp_path: Path) -> None:
    audit = SqliteAudit(tmp_path / "audit", fsync=True)
    assert repr(audit).startswith("SqliteAudit(")
    audit.record(record())
    audit.close()
    audit.close()
    assert "closed" in unavailable(audit).reason


@pytest.fixture
def read_only(log: Path) -> Iterator[Path]:
    """A copy in a folder that cannot be written."""
    folder = log.parent / "archive"
    folder.mkdir()
    shutil.copy(log, folder)
    folder.chmod(0o555)
    yield folder / log.name
    folder.chmod(0o755)


def test_a_copy_that_cannot_be_written_is_verified_and_read_too(read_only: Path) -> None:
    assert sound(read_only, KEY.anchor).last == 14
    assert len(list(read_log(read_only))) == 14


def test_verifying_and_reading_change_nothing(log: Path) -> None:
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in log.parent.iterdir()}
    verify_log(log)
    list(read_log(log, last=5))
    assert {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in log.parent.iterdir()} == before


def test_a_log_that_somebody_begins_to_write_is_looked_at_again(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from remit.audit.check import ChainCheck

    real, looks = ChainCheck.end, list[int]()

    def write_once(check: ChainCheck, *args: Any) -> None:
        if not looks:
            with SqliteAudit(log, every=8, signer=KEY) as audit:
                audit.record(record(77))
        looks.append(1)
        real(check, *args)

    monkeypatch.setattr(ChainCheck, "end", write_once)
    assert sound(log, KEY.anchor).last == 16
    assert len(looks) == 2


def test_a_live_log_is_verified_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    with SqliteAudit(path) as audit:
        for number in range(5):
            audit.record(record(number))
            assert sound(path).last == number + 2
