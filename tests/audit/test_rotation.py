"""A log that is continued in new files: one chain, whatever happens in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import remit
from remit.audit import JsonlAudit, read_log, verify_log

from .support import (
    KEY,
    calls_of,
    codes,
    fill,
    findings,
    head_of,
    lines_of,
    members_of,
    record,
    sound,
    unavailable,
)


def segments(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.0*"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log in several files."""
    path = tmp_path / "audit.jsonl"
    fill(path, 100, max_bytes=4096, every=10, signer=KEY)
    assert len(segments(path)) > 4
    return path


def test_files_stay_small_and_are_named_by_their_first_record(log: Path) -> None:
    for file in [*segments(log), log]:
        assert file.stat().st_size <= 4096 + 1500  # the last checkpoint, which is signed, comes on top
    for file in segments(log):
        assert int(file.name.rpartition(".")[2]) == members_of(file)[0]["seq"]
        assert len(file.name.rpartition(".")[2]) == 12


def test_no_record_is_lost_and_the_chain_goes_through_all_files(log: Path) -> None:
    assert calls_of(log) == [f"call-{n}" for n in range(100)]
    report = sound(log, KEY.anchor)
    assert report.files == len(segments(log)) + 1
    assert report.first == 1


def test_every_file_begins_and_ends_with_a_checkpoint_that_names_the_log(log: Path) -> None:
    names = {members_of(file)[end]["log"] for file in [*segments(log), log] for end in (0, -1)}
    assert len(names) == 1


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_file_that_is_missing_is_found(log: Path, which: int) -> None:
    gone = segments(log)[which]
    first = members_of(gone)[0]["seq"]
    last = members_of(gone)[-1]["seq"]
    gone.unlink()
    found = findings(log, KEY.anchor)
    assert found[0].code == ("lines_removed" if which == 0 else "lines_missing")
    assert f"records {first} to {last} are" in found[0].message
    assert len(found) == 1


def test_the_last_file_that_is_missing_is_found(log: Path) -> None:
    log.unlink()
    assert codes(log, KEY.anchor) == ["cut_off"]


@pytest.mark.parametrize("which", [0, 2])
def test_a_line_of_an_older_file_that_was_altered_is_named(log: Path, which: int) -> None:
    file = segments(log)[which]
    file.write_bytes(file.read_bytes().replace(b"agent-a", b"agent-b", 1))
    found = findings(log)
    line = next(n for n, data in enumerate(lines_of(file), 1) if b"agent-b" in data)
    assert [(f.code, f.file, f.line) for f in found] == [("line_altered", str(file), line)]


def test_an_older_file_that_was_cut_is_found(log: Path) -> None:
    file = segments(log)[1]
    data = file.read_bytes()
    file.write_bytes(data[:-10])
    assert {"line_torn"} <= set(codes(log))
    file.write_bytes(b"".join(lines_of(file)[:-2]))
    assert codes(log)[0] == "lines_missing"


def test_files_that_changed_names_are_found(log: Path) -> None:
    one, two = segments(log)[1:3]
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)
    assert codes(log)[0] in {"line_moved", "lines_missing"}


# ── old files that are not kept ─────────────────────────────────────────────────────────────────────────────


def test_only_so_many_old_files_are_kept_and_the_log_says_from_where_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 100, max_bytes=4096, keep=2)
    kept = segments(path)
    assert len(kept) == 2
    first = members_of(kept[0])[0]["seq"]
    report = sound(path)
    assert report.first == first > 1
    assert members_of(path)[0]["first"] == first


def test_removing_more_than_the_log_says_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 100, max_bytes=4096, keep=2)
    first = verify_log(path).first
    segments(path)[0].unlink()
    [finding] = findings(path)
    assert finding.code == "lines_removed"
    assert f"records {first} to" in finding.message
    fill(path, 1, start=100, max_bytes=4096)  # a writer does not cover it up
    assert codes(path) == ["lines_removed"]


def test_old_files_that_could_not_be_removed_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        fill(path, 100, max_bytes=4096, keep=2)
    assert len(segments(path)) > 2
    assert sound(path).first == 1
    fill(path, 60, start=100, max_bytes=4096, keep=2)
    assert len(segments(path)) == 2
    sound(path)


# ── crashes in between ──────────────────────────────────────────────────────────────────────────────────────


def renamed(path: Path) -> Path:
    """The state of a log whose writer died after it had renamed the file."""
    fill(path, 10)
    target = path.with_name(f"{path.name}.000000000001")
    path.rename(target)
    return target


@pytest.mark.parametrize("new", [None, b"", b'{"seq":13,"prev":"'])
def test_a_writer_that_died_between_two_files_left_a_log_that_goes_on(
    tmp_path: Path, new: bytes | None
) -> None:
    path = tmp_path / "audit.jsonl"
    renamed(path)
    if new is not None:
        path.write_bytes(new)
    if new != b'{"seq":13,"prev":"':
        assert sound(path).last == 12
    fill(path, 3, start=10)
    assert calls_of(path) == [f"call-{n}" for n in range(13)]
    report = sound(path)
    assert (report.files, report.torn) == (2, 1 if new else 0)


def test_a_writer_that_died_before_the_head_knew_of_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 40, max_bytes=4096)
    head = head_of(path).read_bytes()
    before = len(segments(path))
    number = 40
    while len(segments(path)) == before:
        head = head_of(path).read_bytes()
        fill(path, 1, start=number, max_bytes=4096)
        number += 1
    del head  # of a moment before the rotation; the one after it is made here
    last = segments(path)[-1]
    from remit.audit.line import digest_of

    members = members_of(last)[-1]
    says = {
        "seq": members["seq"],
        "hash": digest_of(lines_of(last)[-1]),
        "size": last.stat().st_size,
        "log": members["log"],
    }
    head_of(path).write_bytes(json.dumps(says, separators=(",", ":")).ljust(255).encode() + b"\n")
    path.write_bytes(lines_of(path)[0])
    fill(path, 1, start=number, max_bytes=4096)
    assert sound(path).adopted == 1


@pytest.mark.parametrize("attack", ["older file gone", "older file cut"])
def test_a_log_between_two_files_that_was_tampered_with_is_not_opened(tmp_path: Path, attack: str) -> None:
    path = tmp_path / "audit.jsonl"
    older = renamed(path)
    if attack == "older file gone":
        older.unlink()
    else:
        older.write_bytes(b"".join(lines_of(older)[:-1]))
    with pytest.raises(remit.ConfigError, match="is gone, but its head is there"):
        JsonlAudit(path)
    path.touch(mode=0o600)
    with pytest.raises(remit.ConfigError, match="shorter than its head"):
        JsonlAudit(path)


def test_two_writers_rotate_without_losing_each_other(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    one, two, idle = (JsonlAudit(path, max_bytes=4096) for _ in range(3))
    for number in range(100):
        (one if number % 3 else two).record(record(number))
    idle.record(record(100))
    for audit in (one, two, idle):
        audit.close()
    assert calls_of(path) == [f"call-{n}" for n in range(101)]
    sound(path)


def test_a_file_in_the_way_of_rotation_denies_and_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path, max_bytes=4096)
    audit.record(record())
    target = tmp_path / "audit.jsonl.000000000001"
    target.write_text("precious")
    for number in range(1, 40):
        try:
            audit.record(record(number))
        except remit.Denied:
            break
    assert "is there already" in unavailable(audit).reason
    assert target.read_text() == "precious"


def test_a_log_that_something_else_renamed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path)
    audit.record(record())
    path.rename(tmp_path / "audit.jsonl.1")
    assert "is gone, but its head is there" in unavailable(audit).reason
    (tmp_path / "audit.jsonl.1").rename(path)
    audit.record(record(1))
    audit.close()
    sound(path)


def test_reading_follows_the_files_in_order(log: Path) -> None:
    assert [entry.seq for entry in read_log(log)] == list(range(1, verify_log(log).lines + 1))
    last = [entry.seq for entry in read_log(log, last=40)]
    assert last == list(range(verify_log(log).lines - 39, verify_log(log).lines + 1))


def test_files_of_another_name_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    others = [
        "audit.jsonl.1",
        "audit.jsonl.old",
        "audit.jsonl.00000000001",
        f"audit.jsonl.{chr(0x0661) * 12}",
        "xaudit.jsonl.000000000001",
    ]
    for name in others:
        (tmp_path / name).write_text("not mine")
    fill(path, 100, max_bytes=4096, keep=1)
    assert all((tmp_path / name).read_text() == "not mine" for name in others)
    assert sound(path).files == 2
    assert len(list(tmp_path.iterdir())) == len(others) + 3
