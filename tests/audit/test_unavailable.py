"""What cannot be recorded is denied: a full disk, a folder that is gone, a lock that is not given back."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.audit import JsonlAudit, SqliteAudit

from .support import KEY, calls_of, codes, head_of, record, sound, unavailable

Sink = Callable[..., Any]


@pytest.fixture(params=[JsonlAudit, SqliteAudit], ids=["jsonl", "sqlite"])
def make(request: pytest.FixtureRequest) -> Sink:
    """Either kind of log."""
    return request.param  # type: ignore[no-any-return]  # one of the two


def guarded(audit: Any) -> tuple[Callable[[], object], list[int]]:
    """A guarded call with this audit, and how often its tool ran."""
    issuer = remit.Issuer.generate("https://auth.acme.example")
    guard, ran = remit.Guard([issuer.anchor], audit=audit), list[int]()

    @remit.requires_capability("tool:use")
    def tool() -> None:
        ran.append(1)

    credential = issuer.issue("agent-a", ["tool:use"])

    def call() -> None:
        with guard.acting_as(credential):
            tool()

    return call, ran


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Lets files grow to so many bytes, as a full disk does, and lifts that afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_denies_and_the_tool_does_not_run(
    tmp_path: Path, small_disk: Callable[[int], None]
) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path)
    call, ran = guarded(audit)
    call()
    size = path.stat().st_size
    small_disk(size + 100)  # the beginning of a line has room
    for _ in range(3):
        with pytest.raises(remit.Denied) as caught:
            call()
        assert caught.value.code == "audit_unavailable"
    small_disk(resource.RLIM_INFINITY)
    assert len(ran) == 1
    assert path.stat().st_size == size  # nothing is left of what was not recorded
    sound(path)
    call()  # it recovers by itself
    assert len(ran) == 2
    audit.close()
    assert sound(path).torn == 0


def test_a_disk_that_was_full_leaves_no_unfinished_line_behind_when_it_cannot_be_shortened(
    tmp_path: Path, small_disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path)
    audit.record(record(0))
    small_disk(path.stat().st_size + 100)

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        unavailable(audit, 1)
    small_disk(resource.RLIM_INFINITY)
    assert codes(path) == ["line_torn"]
    audit.record(record(2))
    audit.close()
    assert calls_of(path) == ["call-0", "call-2"]
    assert sound(path).torn == 1


def test_a_database_on_a_full_disk_denies(tmp_path: Path, small_disk: Callable[[int], None]) -> None:
    path = tmp_path / "audit.sqlite"
    audit = SqliteAudit(path)
    call, ran = guarded(audit)
    call()
    small_disk(path.stat().st_size + 8192)

    def many() -> None:
        for _ in range(200):
            call()

    with pytest.raises(remit.Denied) as caught:
        many()
    assert caught.value.code == "audit_unavailable"
    before = len(ran)
    with pytest.raises(remit.Denied):
        call()
    small_disk(resource.RLIM_INFINITY)
    assert len(ran) == before
    call()
    audit.close()
    sound(path)


def test_an_error_of_the_disk_is_the_cause_and_its_path_is_not_in_the_reason(tmp_path: Path) -> None:
    audit = JsonlAudit(tmp_path / "audit.jsonl", max_bytes=4096)
    shutil.rmtree(tmp_path)
    denied = unavailable(audit)
    assert denied.reason == "The audit log cannot be written: No such file or directory."
    assert isinstance(denied.__cause__, OSError)


def test_a_folder_that_was_deleted_denies_and_is_not_made_again(tmp_path: Path, make: Sink) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    audit = make(folder / "audit")
    call, ran = guarded(audit)
    call()
    shutil.rmtree(folder)
    for _ in range(3):
        with pytest.raises(remit.Denied) as caught:
            call()
        assert caught.value.code == "audit_unavailable"
    assert len(ran) == 1
    assert not folder.exists()
    with pytest.raises(remit.Denied):
        audit.close()
    audit.close()


def test_a_log_that_was_deleted_denies_and_does_not_begin_anew(tmp_path: Path, make: Sink) -> None:
    audit = make(tmp_path / "audit")
    audit.record(record())
    (tmp_path / "audit").unlink()
    unavailable(audit)
    assert not (tmp_path / "audit").exists()


def test_a_database_that_was_replaced_denies(tmp_path: Path) -> None:
    audit = SqliteAudit(tmp_path / "audit")
    audit.record(record())
    other = SqliteAudit(tmp_path / "other")
    other.record(record())
    other.close()
    (tmp_path / "other").replace(tmp_path / "audit")
    assert "another file stands in its place" in unavailable(audit).reason


_NOBODY = """
import os, sys
import remit
from remit.audit import JsonlAudit, SqliteAudit
if os.geteuid() == 0:  # who may do everything is not refused
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for kind in (JsonlAudit, SqliteAudit):
    try:
        kind(sys.argv[1])
    except remit.ConfigError as error:
        print(error)
"""


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir(mode=0o555)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o055)
    done = subprocess.run(
        [sys.executable, "-c", _NOBODY, str(folder / "audit")], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("cannot be opened: Permission denied") == 2
    assert list(folder.iterdir()) == []


_HOLDER = """
import fcntl, os, sys, time
handle = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_that_another_process_does_not_give_back_denies_in_time(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path, wait=1)
    audit.record(record(0))
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(head_of(path))], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        started = time.monotonic()
        assert "another process has held the log for 1 s" in unavailable(audit).reason
        assert 0.9 < time.monotonic() - started < 5
        with pytest.raises(remit.ConfigError, match="another process has held"):
            JsonlAudit(path, wait=1)
        assert codes(path) == []  # looking is not kept waiting for ever
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        audit.record(record(1))  # a lock ends with its process
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
    audit.close()
    assert calls_of(path) == ["call-0", "call-1"]


def test_a_thread_that_does_not_go_on_denies_the_others_in_time(tmp_path: Path, make: Sink) -> None:
    audit = make(tmp_path / "audit", wait=1)
    with audit._lock:
        assert "other threads" in unavailable(audit).reason
    audit.record(record())
    audit.close()


def test_a_database_that_another_process_does_not_give_back_denies_in_time(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "audit.sqlite"
    audit = SqliteAudit(path, wait=1)
    audit.record(record(0))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "locked" in unavailable(audit).reason
    other.close()
    audit.record(record(1))
    audit.close()
    sound(path)


def test_a_signer_that_fails_denies(tmp_path: Path, make: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = make(tmp_path / "audit", signer=KEY)

    def fail(*_: object) -> str:
        raise remit.ConfigError("no key today")

    with monkeypatch.context() as patch:
        patch.setattr(remit.Issuer, "attest", fail)
        unavailable(audit)
    audit.record(record())
    audit.close()
    sound(tmp_path / "audit", KEY.anchor)


def test_an_interrupt_in_the_middle_of_a_record_leaves_a_log_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path)
    audit.record(record(0))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("remit.audit.journal.write_head", interrupt)
        with pytest.raises(KeyboardInterrupt):
            audit.record(record(1))
    thread = threading.Thread(target=audit.record, args=(record(2),))  # no lock is held any more
    thread.start()
    thread.join(10)
    audit.close()
    assert calls_of(path) == ["call-0", "call-1", "call-2"]
    assert sound(path).adopted == 1


def test_a_head_that_cannot_be_written_leaves_nothing_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    audit = JsonlAudit(path)
    audit.record(record(0))

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("remit.audit.journal.write_head", fail)
        assert "Input/output error" in unavailable(audit, 1).reason
    audit.record(record(2))
    audit.close()
    assert calls_of(path) == ["call-0", "call-2"]
    assert sound(path).adopted == 0
