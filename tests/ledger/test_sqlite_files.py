"""The file of a `SqliteLedger`: how it is made, what is taken for one, and what becomes of it while it is used."""

from __future__ import annotations

import gc
import os
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remit.errors import ConfigError, shown
from remit.ledger import Ledger, open_ledger, sqlite_schema
from remit.ledger import sqlite as sqlite_module
from remit.ledger.sqlite import SqliteLedger
from remit.ledger.sqlite_schema import APPLICATION_ID, STEPS

from .contract import NOW, charge, of_token, outcome, proof
from .threads import together

Open = Callable[..., SqliteLedger]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def open_(path: Path) -> Iterator[Open]:
    """Open the ledger, which is closed in the end."""
    opened: list[SqliteLedger] = []

    def new(at: Any = path, **options: Any) -> SqliteLedger:
        opened.append(SqliteLedger(at, **options))
        return opened[-1]

    yield new
    for ledger in opened:
        ledger.close()


def pragma(path: Path, name: str, value: int | None = None) -> Any:
    """What a file says, or is made to say, of itself."""
    connection = sqlite3.connect(path)
    try:
        row = connection.execute(f"PRAGMA {name}" if value is None else f"PRAGMA {name}={value}").fetchone()
        connection.commit()
    finally:
        connection.close()
    return row[0] if row else None


def revoked(ledger: Ledger) -> list[str | None]:
    return [entry.token_id for entry in ledger.revocations()]


# ── made ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_only_its_owner_may_read_what_is_made(open_: Open, path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        open_().revoke([of_token()])
        files = sorted(path.parent.iterdir())
    finally:
        os.umask(before)
    assert [file.name for file in files] == ["ledger.db", "ledger.db-shm", "ledger.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_folder_is_not_made(open_: Open, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its folder does not exist"):
        open_(tmp_path / "no" / "ledger.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [":memory:", "", "  ", None, 7, b"x", "a\0b", "x" * 5000], ids=repr)
def test_what_is_no_path_is_refused(open_: Open, wrong: Any) -> None:
    with pytest.raises(ConfigError):
        open_(wrong)


@pytest.mark.parametrize("timeout", [0, -1, "x", "", None, 0.5, "2h", float("nan"), True], ids=repr)
def test_a_timeout_that_makes_no_sense_is_refused(open_: Open, path: Path, timeout: Any) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        open_(timeout=timeout)
    assert not path.exists()


def test_what_is_no_regular_file_is_refused_at_once(open_: Open, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    for name in ("pipe", "folder", "nowhere"):
        with pytest.raises(ConfigError, match=r"is not a regular file|is not there"):
            open_(tmp_path / name)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "name",
    ["a b.db", "per%20cent", "question?mode=ro", "hash#x", "file:x.db", "\u540d'\"`.db", "-wal", "l.db"],
)
def test_a_file_may_have_any_name(
    open_: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = open_(name)
    ledger.revoke([of_token()])
    monkeypatch.chdir("/")  # the path was that of then
    ledger.close()
    assert revoked(ledger) == ["t-1"]
    assert name in {file.name for file in tmp_path.iterdir()}
    assert revoked(open_(tmp_path / name)) == ["t-1"]


def test_a_link_leads_to_the_same_ledger(open_: Open, path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    first = open_()
    link.symlink_to(path)
    second = open_(link)
    first.revoke([of_token("a")])
    second.revoke([of_token("b")])
    assert revoked(first) == revoked(second) == ["b", "a"]
    assert first.position() == second.position()
    assert [file.name for file in link.parent.iterdir()] == ["link.db"]


def test_threads_that_open_a_new_file_at_once_open_one_ledger(open_: Open) -> None:
    ledgers = together(lambda _: open_(), 8)
    assert len({ledger.position() for ledger in ledgers}) == 1
    said = together(lambda number: outcome(ledgers[number].commit, [charge()], None, NOW), 8)
    assert said.count("done") == 1


def test_a_url_opens_it(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ledgers = [open_ledger(f"sqlite:///{path}"), open_ledger("sqlite:///ledger.db")]
    assert [type(ledger) for ledger in ledgers] == [SqliteLedger] * 2
    ledgers[0].revoke([of_token()])
    assert revoked(ledgers[1]) == ["t-1"]
    for ledger in ledgers:
        ledger.close()


def test_it_says_what_it_is(open_: Open, path: Path) -> None:
    assert repr(open_()) == f"SqliteLedger({str(path)!r})"
    assert pragma(path, "application_id") == APPLICATION_ID
    assert pragma(path, "user_version") == len(STEPS)
    assert pragma(path, "journal_mode") == "wal"


# ── refused ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_no_database_is_refused_and_left_alone(open_: Open, path: Path) -> None:
    for content in (b"not a database, but longer than one hundred bytes " * 4, b"x", os.urandom(8192)):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=re.escape(shown(str(path)))):
            open_()
        assert path.read_bytes() == content
        path.unlink()


@pytest.mark.parametrize("mark", ["application_id", "user_version", "table"])
def test_a_database_of_another_application_is_refused_and_left_alone(
    open_: Open, path: Path, mark: str
) -> None:
    if mark == "table":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE revocation (theirs)")
        connection.close()
    else:
        pragma(path, mark, 7)
    content = path.read_bytes()
    with pytest.raises(ConfigError, match="another application"):
        open_()
    assert path.read_bytes() == content


def test_a_ledger_of_a_newer_remit_is_refused_and_left_alone(open_: Open, path: Path) -> None:
    open_().close()
    pragma(path, "user_version", len(STEPS) + 1)
    content = path.read_bytes()
    with pytest.raises(ConfigError, match="newer Remit"):
        open_()
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_ledger(open_: Open, path: Path) -> None:
    path.touch(0o600)
    ledger = open_()
    assert ledger.revoke([of_token()]) == [True]
    assert pragma(path, "user_version") == len(STEPS)


def test_an_older_ledger_is_brought_up_to_date_and_keeps_everything(
    open_: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = open_()
    old.revoke([of_token()])
    old.commit([charge(), charge("r", 1, window=60)], proof(), NOW)
    old.close()
    step = (
        "ALTER TABLE token ADD COLUMN colour TEXT",
        "CREATE TABLE extra (x)",
        "INSERT INTO extra VALUES (7)",
    )
    monkeypatch.setattr(sqlite_schema, "STEPS", (*STEPS, step))
    ledgers = together(lambda _: open_(), 4)
    for ledger in ledgers:
        assert revoked(ledger) == ["t-1"]
        assert outcome(ledger.commit, [charge()], None, NOW) == "limit_exceeded"
        assert outcome(ledger.commit, [], proof(), NOW) == "proof_replayed"
        assert ledger.position() == old.position()
    assert pragma(path, "user_version") == len(STEPS) + 1
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT x FROM extra").fetchall() == [(7,)]  # once, whoever did it
    connection.close()


def test_a_step_that_fails_leaves_the_older_ledger_as_it_was(
    open_: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_().close()
    with monkeypatch.context() as patched:
        patched.setattr(
            sqlite_schema, "STEPS", (*STEPS, ("CREATE TABLE extra (x)", "CREATE TABLE extra (x)"))
        )
        with pytest.raises(ConfigError, match="cannot be used"):
            open_()
    assert pragma(path, "user_version") == len(STEPS)
    assert open_().revoke([of_token()]) == [True]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT * FROM sqlite_master WHERE name = 'extra'").fetchall() == []
    connection.close()


# ── deleted, replaced, emptied, damaged ─────────────────────────────────────────────────────────────────────


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers look every time whether the file is still there, and not once in a second."""
    monkeypatch.setattr(sqlite_module, "_LOOK", 0.0)


def fails(call: Callable[..., object], *arguments: Any) -> None:
    """It raises, and what it raises is no refusal of a call."""
    with pytest.raises((OSError, sqlite3.Error, ConfigError)) as caught:
        call(*arguments)
    assert not hasattr(caught.value, "code")


def fails_altogether(ledger: SqliteLedger) -> None:
    fails(ledger.commit, [charge("other")], None, NOW)
    fails(ledger.revoke, [of_token("other")])
    fails(ledger.position)
    fails(ledger.changes, 0)


@pytest.mark.usefixtures("watchful")
def test_a_ledger_that_was_deleted_is_not_followed_nor_made_anew(open_: Open, path: Path) -> None:
    ledger = open_()
    ledger.revoke([of_token()])
    saved = path.with_name("saved")
    path.rename(saved)
    for _ in range(2):
        fails_altogether(ledger)
    assert not path.exists()
    ledger.close()
    fails_altogether(ledger)
    assert not path.exists()
    saved.rename(path)
    assert revoked(ledger) == ["t-1"]
    assert outcome(ledger.commit, [charge()], None, NOW) == "done"


def test_whoever_writes_looks_every_time(open_: Open, path: Path) -> None:
    ledger = open_()
    path.rename(path.with_name("saved"))
    fails(ledger.commit, [charge()], None, NOW)
    fails(ledger.revoke, [of_token()])


@pytest.mark.usefixtures("watchful")
def test_another_ledger_in_its_place_is_another_store(open_: Open, path: Path, tmp_path: Path) -> None:
    ledger = open_()
    ledger.revoke([of_token("old")])
    before = ledger.position()
    other = open_(tmp_path / "other.db")
    other.revoke([of_token("new")])
    other.close()
    (tmp_path / "other.db").replace(path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    assert ledger.position().store != before.store
    assert revoked(ledger) == ["new"]
    assert ledger.revoke([of_token("newer")]) == [True]
    assert revoked(open_()) == ["newer", "new"]


@pytest.mark.usefixtures("watchful")
def test_an_older_copy_in_its_place_is_another_store_though_it_has_come_as_far(
    open_: Open, path: Path, tmp_path: Path
) -> None:
    ledger, copy = open_(), tmp_path / "copy.db"
    ledger.backup(copy)
    ledger.revoke([of_token("lost")])
    before = ledger.position()
    restored = open_(copy)
    restored.revoke([of_token("made since")])
    assert restored.position().number == before.number
    restored.close()
    ledger.close()
    copy.replace(path)
    assert ledger.position().number == before.number
    assert ledger.position() != before


@pytest.mark.usefixtures("watchful")
@pytest.mark.parametrize("content", [b"", b"garbage " * 1000], ids=["empty", "garbage"])
def test_something_else_in_its_place_is_not_taken_for_a_ledger(
    open_: Open, path: Path, content: bytes
) -> None:
    ledger = open_()
    ledger.revoke([of_token()])
    ledger.close()
    saved = path.with_name("saved")
    path.rename(saved)
    path.write_bytes(content)
    fails_altogether(ledger)
    assert path.read_bytes() == content
    saved.replace(path)
    assert revoked(ledger) == ["t-1"]


@pytest.mark.usefixtures("watchful")
def test_a_file_that_was_emptied_in_place_is_not_taken_for_a_new_ledger(open_: Open, path: Path) -> None:
    ledger = open_()
    ledger.revoke([of_token()])
    ledger.close()
    os.truncate(path, 0)
    fails_altogether(ledger)
    assert path.stat().st_size == 0
    with pytest.raises(ConfigError, match="emptied"):
        ledger.position()


def test_a_damaged_file_fails_and_recovers_when_it_is_restored(
    open_: Open, path: Path, tmp_path: Path
) -> None:
    ledger = open_()
    ledger.revoke([of_token(f"t-{number}") for number in range(500)])
    ledger.backup(tmp_path / "good.db")
    ledger.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    fails(ledger.revocations)
    fails(ledger.commit, [charge()], None, NOW)
    fails(ledger.revoke, [of_token("more")])
    (tmp_path / "good.db").replace(path)
    assert len(ledger.revocations()) == 500
    assert outcome(ledger.commit, [charge()], None, NOW) == "done"


def test_a_file_that_is_replaced_while_it_is_opened_is_refused(
    open_: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sqlite_schema.file_id
    answers = iter([sqlite_schema.FileId(1, 2)])
    monkeypatch.setattr(sqlite_schema, "file_id", lambda at: next(answers, None) or found(at))
    with pytest.raises(ConfigError, match="replaced"):
        open_()
    assert not path.with_name("ledger.db-wal").exists()  # it was closed
    assert open_().position().number == 0


def test_a_sqlite_that_is_too_old_is_refused(open_: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 23, 1))
    with pytest.raises(ConfigError, match=r"3\.24"):
        open_()


def test_a_ledger_that_nobody_holds_is_closed(path: Path) -> None:
    ledger = SqliteLedger(path)
    ledger.revoke([of_token()])
    assert path.with_name("ledger.db-wal").exists()
    del ledger
    gc.collect()
    assert [file.name for file in path.parent.iterdir()] == ["ledger.db"]


# ── copies ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_backup_is_a_whole_ledger_for_its_owner_alone(open_: Open, tmp_path: Path) -> None:
    ledger, copy = open_(), tmp_path / "copy.db"
    ledger.revoke([of_token("a")])
    ledger.commit([charge()], proof(), NOW)
    before = os.umask(0)
    try:
        ledger.backup(copy)
    finally:
        os.umask(before)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    ledger.revoke([of_token("b")])
    restored = open_(copy)
    assert revoked(restored) == ["a"]
    assert outcome(restored.commit, [charge()], None, NOW) == "limit_exceeded"
    assert outcome(restored.commit, [], proof(), NOW) == "proof_replayed"


def test_a_backup_overwrites_nothing(open_: Open, path: Path, tmp_path: Path) -> None:
    ledger = open_()
    ledger.revoke([of_token()])
    (tmp_path / "there").write_text("kept")
    for taken in (path, tmp_path / "there", tmp_path, tmp_path / "no" / "copy.db"):
        with pytest.raises(ConfigError, match="cannot be made"):
            ledger.backup(taken)
    assert (tmp_path / "there").read_text() == "kept"
    assert revoked(ledger) == ["t-1"]


def test_a_copy_of_the_three_files_is_a_whole_ledger_too(open_: Open, path: Path, tmp_path: Path) -> None:
    """As after a crash of the machine: nobody has closed it."""
    ledger = open_()
    ledger.revoke([of_token("a")])
    (tmp_path / "crashed").mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", tmp_path / "crashed")
    assert revoked(open_(tmp_path / "crashed" / "ledger.db")) == ["a"]
