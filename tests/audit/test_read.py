"""Reading a log: all of it, its end, and what comes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.audit import JsonlAudit, LogEntry, SqliteAudit, read_log

from .support import fill, lines_of, record, rewrite, take

Sink = Callable[..., Any]


@pytest.fixture(params=[JsonlAudit, SqliteAudit], ids=["jsonl", "sqlite"])
def make(request: pytest.FixtureRequest) -> Sink:
    """Either kind of log."""
    return request.param  # type: ignore[no-any-return]  # one of the two


def numbers(entries: list[LogEntry]) -> list[int | None]:
    return [entry.seq for entry in entries]


def test_a_log_is_read_from_its_beginning_with_its_checkpoints(tmp_path: Path, make: Sink) -> None:
    with make(tmp_path / "audit") as audit:
        audit.record(record(1, code="x", arguments={"a": [1]}))
    entries = list(read_log(tmp_path / "audit"))
    assert [entry.members["event"] for entry in entries] == ["checkpoint", "decision", "checkpoint"]
    assert entries[1].record == record(1, code="x", arguments={"a": [1]})
    assert entries[0].record is not None
    assert entries[0].record.event == "checkpoint"
    assert {entry.problem for entry in entries} == {None}


@pytest.mark.parametrize("last", [0, 1, 5, 12, 13, 100])
def test_the_end_of_a_log_is_read_without_its_beginning(tmp_path: Path, make: Sink, last: int) -> None:
    with make(tmp_path / "audit") as audit:
        for number in range(10):
            audit.record(record(number))
    entries = list(read_log(tmp_path / "audit", last=last))
    assert numbers(entries) == list(range(1, 13))[max(12 - last, 0) :] if last else entries == []


def test_the_end_is_found_behind_lines_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    with JsonlAudit(path) as audit:
        for number in range(60):
            audit.record(record(number, reason="x" * 4000, subject="y" * 4000))  # more than a block in all
    assert path.stat().st_size > 5 * 65_536
    for last in (1, 7, 30, 62):
        assert numbers(list(read_log(path, last=last))) == list(range(63 - last, 63))


def test_lines_that_cannot_be_read_are_shown_as_such_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    fill(path, 3)
    lines = lines_of(path)
    rewrite(path, [*lines[:2], b"junk\x1b[31m\n", b"\x00\n", *lines[2:], b'{"seq":6'])
    entries = list(read_log(path))
    assert numbers(entries) == [1, 2, None, None, 3, 4, 5, None]
    assert [entry.problem for entry in entries if entry.problem] == [
        "the line is not JSON", "the line is not JSON", "the line ends in the middle"
    ]  # fmt: skip
    assert entries[2].members == {}
    assert numbers(list(read_log(path, last=4))) == [3, 4, 5, None]


def test_following_goes_on_with_what_is_written_later(tmp_path: Path, make: Sink) -> None:
    with make(tmp_path / "audit") as audit:
        for number in range(5):
            audit.record(record(number))
        follower = read_log(tmp_path / "audit", last=2, follow=True, poll=0.001)
        assert numbers(take(follower, 2)) == [5, 6]
        for number in range(3):
            audit.record(record(number))
        assert numbers(take(follower, 3)) == [7, 8, 9]


@pytest.mark.parametrize("last", [0, None])
def test_following_begins_at_the_end_or_at_the_beginning(
    tmp_path: Path, make: Sink, last: int | None
) -> None:
    with make(tmp_path / "audit") as audit:
        for number in range(5):
            audit.record(record(number))
        follower = read_log(tmp_path / "audit", last=last, follow=True, poll=0.001)
        audit_thread = threading.Timer(0.05, audit.record, [record(6)])
        audit_thread.start()
        assert next(follower).seq == (1 if last is None else 7)
        audit_thread.join()


def test_following_a_log_that_nobody_writes_yet_sees_who_begins(tmp_path: Path, make: Sink) -> None:
    with make(tmp_path / "audit") as audit:
        audit.record(record(0))
    follower = read_log(tmp_path / "audit", follow=True, poll=0.001)
    assert numbers(take(follower, 3)) == [1, 2, 3]
    with make(tmp_path / "audit") as audit:
        audit.record(record(1))
    assert numbers(take(follower, 2)) == [4, 5]
    follower.close()  # type: ignore[attr-defined]  # a generator has it


def test_following_goes_through_any_number_of_new_files(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    with JsonlAudit(path, max_bytes=4096) as audit:
        audit.record(record(0))
        follower = read_log(path, follow=True, poll=0.001)
        assert next(follower).seq == 1
        for number in range(100):
            audit.record(record(number))
        assert numbers(take(follower, 100)) == list(range(2, 102))


def test_following_survives_old_files_that_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    with JsonlAudit(path, max_bytes=4096, keep=1) as audit:
        audit.record(record(0))
        follower = read_log(path, follow=True, poll=0.001)
        assert numbers(take(follower, 2)) == [1, 2]
        for number in range(100):
            audit.record(record(number))
        first = next(follower).seq
        assert first == 3  # the file that was open is read to its end, though it has no name any more
        seen = take(follower, 40)
        assert numbers(seen) == sorted(entry.seq for entry in seen)


def test_following_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    fill(path, 3)
    follower = read_log(path, last=1, follow=True, poll=0.001)
    assert next(follower).seq == 5
    line = lines_of(path)[-1].replace(b'"seq":5', b'"seq":6')
    with path.open("ab", buffering=0) as file:
        file.write(line[:50])
        rest = threading.Timer(0.1, file.write, [line[50:]])
        rest.start()
        assert next(follower).seq == 6
        rest.join()


@pytest.mark.parametrize("options", [{"last": -1}, {"last": True}, {"last": "5"}, {"last": 10**7}, {"poll": 0}, {"poll": -1}, {"poll": "1"}, {"poll": float("nan")}], ids=repr)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_when_it_is_called(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    fill(tmp_path / "audit", 1)
    with pytest.raises(remit.ConfigError):
        read_log(tmp_path / "audit", **options)


def test_a_log_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(remit.ConfigError, match="no audit log"):
        list(read_log(tmp_path / "audit"))
    with pytest.raises(remit.ConfigError, match=r"no audit log|cannot be read"):
        list(read_log(tmp_path / "missing" / "audit"))


def test_following_shows_what_cannot_be_read_and_ends_with_an_error_when_the_folder_is_gone(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "audit"
    fill(path, 1)
    follower = read_log(path, last=1, follow=True, poll=0.001)
    assert next(follower).seq == 3
    with path.open("ab") as file:
        file.write(b"junk\n")
    assert next(follower).problem == "the line is not JSON"
    shutil.rmtree(folder)
    with pytest.raises(remit.ConfigError, match="cannot be read"):
        next(follower)
