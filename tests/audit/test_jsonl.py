"""A log in a file: how it is made, what it refuses, how it ends."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.audit import JsonlAudit

from .support import KEY, calls_of, fill, head_of, members_of, record, sound, unavailable


def test_records_of_a_guard_are_in_the_log_in_order(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    issuer = remit.Issuer.generate("https://auth.acme.example")
    with JsonlAudit(path) as audit:
        guard = remit.Guard([issuer.anchor], audit=audit)
        guard.check(issuer.issue("agent-a", ["tool:use"]), "tool:use", {"n": 1})
        with pytest.raises(remit.Denied):
            guard.check("junk", "tool:use", {})  # type: ignore[arg-type]  # the mistake itself
    said = [(m["event"], m["allowed"], m.get("code")) for m in members_of(path)]
    assert said == [
        ("checkpoint", True, None), ("decision", True, None), ("decision", False, "token_malformed"),
        ("checkpoint", True, None),
    ]  # fmt: skip
    assert sound(path).last == 4


def test_only_the_owner_can_read_the_log_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        fill(tmp_path / "audit.jsonl", 60, max_bytes=4096)
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert len(modes) > 3
    assert set(modes.values()) == {0o600}


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for start in (0, 5, 10):
        fill(path, 5, start=start)
    assert calls_of(path) == [f"call-{n}" for n in range(15)]
    assert [m["seq"] for m in members_of(path)] == list(range(1, 20))
    assert sound(path).adopted == 0


def test_a_log_is_opened_and_closed_without_a_trace_when_nothing_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 1)
    before = path.read_bytes()
    fill(path, 0)
    assert path.read_bytes() == before


def test_a_closed_log_records_nothing_and_can_be_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path)
    audit.record(record())
    audit.close()
    audit.close()
    assert "closed" in unavailable(audit).reason
    assert calls_of(path) == ["call-0"]


def test_a_log_is_closed_at_the_end_of_its_block_after_an_error_too(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    def fail() -> None:
        with JsonlAudit(path) as audit:
            audit.record(record())
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    assert members_of(path)[-1]["event"] == "checkpoint"


def test_a_checkpoint_stands_at_every_so_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 30, every=10)
    places = [m["seq"] for m in members_of(path) if m["event"] == "checkpoint"]
    assert places == [1, 10, 20, 30, 35]


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    audit = JsonlAudit("audit.jsonl")
    monkeypatch.chdir("/")
    audit.record(record())
    audit.close()
    sound(tmp_path / "audit.jsonl")


def test_several_sinks_on_one_path_in_one_process_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    first, second = JsonlAudit(path), JsonlAudit(path)
    for number in range(10):
        (first if number % 2 else second).record(record(number))
    first.close()
    second.close()
    assert calls_of(path) == [f"call-{n}" for n in range(10)]
    sound(path)


def test_threads_share_a_log(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with JsonlAudit(path) as audit:

        def work(worker: int) -> None:
            for number in range(50):
                audit.record(record(worker * 1000 + number))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(calls_of(path))) == 400
    sound(path)


def test_records_can_be_forced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(handle)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    fill(tmp_path / "lazy.jsonl", 20)
    assert synced == []
    fill(tmp_path / "audit.jsonl", 20, fsync=True)
    assert len(synced) > 20
    sound(tmp_path / "audit.jsonl")


# ── what is refused when it is opened ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "options",
    [
        {"every": 0}, {"every": 1}, {"every": -5}, {"every": 1.5}, {"every": True}, {"every": 10**7}, {"every": None},
        {"max_bytes": 0}, {"max_bytes": 4095}, {"max_bytes": "1M"}, {"max_bytes": 2**60}, {"keep": 1},
        {"max_bytes": 4096, "keep": 0}, {"max_bytes": 4096, "keep": -1}, {"max_bytes": 4096, "keep": "all"},
        {"signer": "key"}, pytest.param({"signer": KEY.anchor}, id="a signer without its private key"), {"wait": 0}, {"wait": -1}, {"wait": "long"}, {"wait": 601},
    ],
    ids=repr,
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_and_make_no_file(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(remit.ConfigError):
        JsonlAudit(tmp_path / "audit.jsonl", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["", " ", None, 5, b"audit.jsonl", "a\0b"], ids=repr)
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(remit.ConfigError):
        JsonlAudit(path)


def test_a_folder_that_is_not_there_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(remit.ConfigError, match="cannot be opened: No such file"):
        JsonlAudit(tmp_path / "missing" / "audit.jsonl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", ["audit.jsonl", "audit.jsonl.head"])
def test_a_symbolic_link_is_refused(tmp_path: Path, which: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("")
    (tmp_path / which).symlink_to(victim)
    with pytest.raises(remit.ConfigError, match=r"cannot be opened|not a regular file"):
        JsonlAudit(tmp_path / "audit.jsonl")
    assert victim.read_text() == ""


@pytest.mark.parametrize("which", ["audit.jsonl", "audit.jsonl.head"])
@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, which: str, kind: str) -> None:
    (os.mkfifo if kind == "fifo" else os.mkdir)(tmp_path / which)
    with pytest.raises(remit.ConfigError, match=r"regular file|cannot be opened"):
        JsonlAudit(tmp_path / "audit.jsonl")


def test_a_device_is_refused() -> None:
    with pytest.raises(remit.ConfigError, match=r"cannot be opened|not a regular file"):
        JsonlAudit("/dev/full")


@pytest.mark.parametrize("which", ["audit.jsonl", "audit.jsonl.head"])
def test_a_log_that_anybody_can_write_is_refused(tmp_path: Path, which: str) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 1)
    (tmp_path / which).chmod(0o666)
    with pytest.raises(remit.ConfigError, match="anybody can write"):
        JsonlAudit(path)


def test_a_group_may_be_let_in_to_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, 1)
    path.chmod(0o640)
    fill(path, 1, start=1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_of_somebody_else_is_not_taken_for_a_log(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text("precious\n")
    with pytest.raises(remit.ConfigError, match="has records, but no head"):
        JsonlAudit(path)
    assert path.read_text() == "precious\n"
    assert not head_of(path).exists()


def test_an_empty_file_that_was_made_before_becomes_the_log(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch(mode=0o640)
    fill(path, 2)
    sound(path)


def test_a_log_is_not_pickled_and_its_repr_holds_its_path(tmp_path: Path) -> None:
    with JsonlAudit(tmp_path / "audit.jsonl", signer=KEY) as audit:
        assert repr(audit) == f"JsonlAudit({str(tmp_path / 'audit.jsonl')!r})"
        with pytest.raises(TypeError):
            pickle.dumps(audit)


def test_a_log_that_is_forgotten_closes_its_files(tmp_path: Path) -> None:
    audit = JsonlAudit(tmp_path / "audit.jsonl")
    assert audit._journal is not None
    handle = audit._journal.handle
    os.fstat(handle)
    del audit
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


def test_the_heavy_parts_are_imported_on_use() -> None:
    code = "import sys, remit; print({'sqlite3', 'opentelemetry', 'fcntl'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_name_that_audit_does_not_have_is_none() -> None:
    import remit.audit

    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        remit.audit.nothing_of_the_kind  # noqa: B018 - the mistake itself
    for name in remit.audit.__all__:
        assert getattr(remit.audit, name) is not None
