"""A log after a crash: nothing that was acknowledged is lost, nothing is dropped in silence."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import remit
from remit.audit import JsonlAudit
from remit.audit.line import digest_of

from .support import calls_of, codes, fill, head_of, lines_of, members_of, record, sound, unavailable


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    fill(path, 5)
    return path


def crash_after(path: Path, written: bytes) -> None:
    """What a writer leaves that died after writing these bytes, and before the head."""
    with path.open("ab") as file:
        file.write(written)


def next_line(path: Path, number: int) -> bytes:
    last = lines_of(path)[-1]
    members = {"seq": json.loads(last)["seq"] + 1, "prev": digest_of(last), **dict(record(number))}
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


def test_a_line_that_the_head_does_not_know_is_taken_over_and_that_is_recorded(log: Path) -> None:
    crash_after(log, next_line(log, 5))
    assert codes(log) == ["head_behind"]
    fill(log, 1, start=6)
    assert calls_of(log) == [f"call-{n}" for n in range(7)]
    said = members_of(log)[8]
    assert (said["event"], said["adopted"]) == ("checkpoint", 1)
    assert said["reason"] == "the head did not know 1 of the records before this one"
    assert sound(log).adopted == 1


@pytest.mark.parametrize("size", [1, 10, 100, -1])
def test_an_unfinished_line_is_put_aside_and_that_is_recorded(log: Path, size: int) -> None:
    torn = next_line(log, 5)[:size]
    crash_after(log, torn)
    assert codes(log) == ["line_torn"]
    fill(log, 1, start=6)
    assert calls_of(log) == [*(f"call-{n}" for n in range(5)), "call-6"]
    said = members_of(log)[7]
    aside = log.parent / said["torn"]["file"]
    assert aside.read_bytes() == torn
    assert said["torn"] == {"file": aside.name, "size": len(torn), "digest": digest_of(torn)}
    assert aside.stat().st_mode & 0o777 == 0o600
    assert "unfinished line" in said["reason"]
    assert sound(log).torn == 1


def test_lines_and_an_unfinished_one_are_told_apart(log: Path) -> None:
    crash_after(log, next_line(log, 5))
    crash_after(log, next_line(log, 6))
    crash_after(log, next_line(log, 7)[:-20])
    fill(log, 1, start=8)
    assert calls_of(log) == [*(f"call-{n}" for n in range(7)), "call-8"]
    report = sound(log)
    assert (report.adopted, report.torn) == (2, 1)


def test_opening_a_log_changes_nothing_until_something_is_recorded(log: Path) -> None:
    crash_after(log, next_line(log, 5) + b'{"seq"')
    before = {file.name: file.read_bytes() for file in log.parent.iterdir()}
    JsonlAudit(log).close()
    assert {file.name: file.read_bytes() for file in log.parent.iterdir()} == before


def test_a_writer_that_lives_on_finds_what_another_left_when_it_died(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path)
    audit.record(record(0))
    crash_after(path, next_line(path, 1) + b'{"seq":4,"prev":"')
    audit.record(record(2))
    audit.close()
    assert calls_of(path) == ["call-0", "call-1", "call-2"]
    report = sound(path)
    assert (report.adopted, report.torn) == (1, 1)


def test_a_writer_that_died_before_its_first_line_was_whole_left_a_log_that_begins_anew(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audit.jsonl"
    JsonlAudit(path)  # makes both files, and dies
    crash_after(path, b'{"seq":1,"prev":"AAAA')
    fill(path, 2)
    assert members_of(path)[0]["seq"] == 1
    assert sound(path).torn == 1


@pytest.mark.parametrize("what", ["head made", "log made", "neither written"])
def test_a_writer_that_died_while_it_made_the_files_left_a_log_that_can_be_opened(
    tmp_path: Path, what: str
) -> None:
    path = tmp_path / "audit.jsonl"
    if what != "log made":
        head_of(path).touch(mode=0o600)
    if what != "head made":
        path.touch(mode=0o600)
    fill(path, 2)
    sound(path)


# ── what a writer refuses to go on from ─────────────────────────────────────────────────────────────────────


def cut(path: Path) -> None:
    path.write_bytes(b"".join(lines_of(path)[:-2]))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def alter_last(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-20] + b"X" + data[-19:])


def replace(path: Path) -> None:
    other = path.with_name("other.jsonl")
    fill(other, 5)
    other.replace(path)


def add_what_does_not_follow(path: Path) -> None:
    crash_after(path, next_line(path, 5).replace(b'"prev":"', b'"prev":"x')[:-2] + b"}\n")


def add_junk(path: Path) -> None:
    crash_after(path, b"junk\n" + next_line(path, 5))


def add_a_number_too_high(path: Path) -> None:
    crash_after(path, next_line(path, 5).replace(b'{"seq":8', b'{"seq":9'))


def add_another_logs_checkpoint(path: Path) -> None:
    line = json.loads(next_line(path, 5))
    crash_after(path, json.dumps({**line, "event": "checkpoint", "log": "0" * 32}).encode() + b"\n")


def add_a_giant_line(path: Path) -> None:
    crash_after(path, b"x" * 3_000_000)


def lose_the_head(path: Path) -> None:
    head_of(path).unlink()


def empty_the_head(path: Path) -> None:
    head_of(path).write_bytes(b"")


def spoil_the_head(path: Path) -> None:
    head_of(path).write_bytes(b"junk")


def another_head(path: Path) -> None:
    other = path.with_name("other.jsonl")
    fill(other, 4)
    head_of(path).write_bytes(head_of(other).read_bytes())


ATTACKS: list[Callable[[Path], None]] = [
    cut, empty, Path.unlink, alter_last, replace, add_what_does_not_follow, add_junk, add_a_number_too_high,
    add_another_logs_checkpoint, add_a_giant_line, spoil_the_head, another_head, empty_the_head,
]  # fmt: skip


@pytest.mark.parametrize("attack", [*ATTACKS, lose_the_head], ids=lambda a: a.__name__)
def test_a_log_that_is_not_what_its_head_says_is_not_opened_and_the_error_says_how_to_go_on(
    log: Path, attack: Callable[[Path], None]
) -> None:
    attack(log)
    before = {file.name: file.read_bytes() for file in log.parent.iterdir()}
    with pytest.raises(remit.ConfigError) as caught:
        JsonlAudit(log)
    assert "remit audit verify" in str(caught.value)
    assert "begin a new one" in str(caught.value)
    assert {file.name: file.read_bytes() for file in log.parent.iterdir()} == before  # it is evidence
    assert codes(log) != []


SEEN_LATER = (alter_last, spoil_the_head, another_head, empty_the_head)
"""What changes neither the size nor the file: a running writer does not see it."""


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a not in SEEN_LATER], ids=lambda a: a.__name__)
def test_a_writer_notices_when_its_log_is_tampered_with_and_denies_from_then_on(
    tmp_path: Path, attack: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.audit.journal._LOOK_EVERY", 0.0)
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path)
    for number in range(6):
        audit.record(record(number))
    attack(path)
    for number in range(3):
        unavailable(audit, number)


def test_a_line_that_is_altered_under_a_running_writer_is_found_when_the_log_is_verified(log: Path) -> None:
    audit = JsonlAudit(log)
    alter_last(log)
    with pytest.raises(remit.ConfigError):
        JsonlAudit(log)
    audit.record(record(5))
    audit.close()
    assert codes(log)[-1] in {"line_altered", "line_unreadable"}


@pytest.mark.parametrize("attack", [spoil_the_head, another_head, empty_the_head], ids=lambda a: a.__name__)
def test_a_head_that_is_spoilt_under_a_running_writer_is_written_again(
    log: Path, attack: Callable[[Path], None]
) -> None:
    audit = JsonlAudit(log)
    attack(log)
    assert codes(log) != []
    audit.record(record(5))
    audit.close()
    sound(log)


def test_a_log_that_was_replaced_is_noticed_soon(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path)
    audit.record(record())
    fill(tmp_path / "other.jsonl", 1)
    (tmp_path / "other.jsonl").write_bytes(path.read_bytes())
    (tmp_path / "other.jsonl").replace(path)  # the same bytes, another file
    denied, deadline = False, time.monotonic() + 5
    while not denied and time.monotonic() < deadline:
        try:
            audit.record(record(1))
        except remit.Denied:
            denied = True
    assert denied
    assert codes(path) == ["cut_off"]  # what was written meanwhile went to the file that was taken away
