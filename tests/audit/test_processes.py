"""Many writers at once, and writers that are killed: every record that was acknowledged is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remit.audit import JsonlAudit, SqliteAudit, read_log

from .support import KEY, calls_of, record, sound, take

KINDS: dict[str, Any] = {"jsonl": JsonlAudit, "sqlite": SqliteAudit}


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a process of its own; its identifier."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads are part of some tests
        pid = os.fork()
    if pid:
        return pid
    try:  # the child: nothing of pytest may run in it
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever it is, the parent is told
        traceback.print_exc()
        os._exit(1)


def ended_well(*pids: int) -> None:
    """Wait for processes, none of which may have failed."""
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * len(pids)


def calls(path: Path) -> list[str]:
    return [str(entry.members["call_id"]) for entry in read_log(path) if "call_id" in entry.members]


def write(kind: str, path: Path, name: str, count: int, options: dict[str, Any]) -> None:
    """What one of several processes does: three threads that record."""
    audit = KINDS[kind](path, every=50, **options)

    def work(thread: int) -> None:
        for number in range(count):
            audit.record(record(number, call_id=f"{name}-{thread}-{number}"))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    audit.close()


@pytest.mark.parametrize(
    ("kind", "options", "count"),
    [("jsonl", {}, 300), ("jsonl", {"max_bytes": 50_000}, 300), ("jsonl", {"signer": KEY}, 100), ("sqlite", {}, 40)],
    ids=["jsonl", "jsonl, rotated", "jsonl, signed", "sqlite"],
)  # fmt: skip
def test_eight_processes_of_three_threads_lose_nothing(
    tmp_path: Path, kind: str, options: dict[str, Any], count: int
) -> None:
    path = tmp_path / "audit"
    KINDS[kind](path).close()

    def writer(name: str) -> Callable[[], None]:
        return lambda: write(kind, path, name, count, options)

    running = {forked(writer(f"w{number}")) for number in range(8)}
    looks = 0
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        assert status == 0
        running.discard(pid)
        if next((True for _ in read_log(path, last=1)), False):
            sound(path)  # looking on does no harm, and sees one moment
            looks += 1
    expected = {f"w{w}-{t}-{n}" for w in range(8) for t in range(3) for n in range(count)}
    found = calls(path)
    assert len(found) == len(expected)
    assert set(found) == expected
    for name in (f"w{w}-{t}" for w in range(8) for t in range(3)):  # and each thread's own are in order
        own = [int(call.rpartition("-")[2]) for call in found if call.startswith(f"{name}-")]
        assert own == list(range(count))
    report = sound(path, *([KEY.anchor] if "signer" in options else []))
    assert (report.adopted, report.torn) == (0, 0)
    assert looks > 0
    if "max_bytes" in options:
        assert report.files > 20


@pytest.mark.parametrize(("kind", "rounds"), [("jsonl", 40), ("sqlite", 15)])
def test_writers_that_are_killed_lose_nothing_that_was_acknowledged(
    tmp_path: Path, kind: str, rounds: int
) -> None:
    path, acknowledged = tmp_path / "audit", list[str]()
    options: dict[str, Any] = {"every": 7, **({"max_bytes": 20_000} if kind == "jsonl" else {})}
    beside = KINDS[kind](path, **options)
    for turn in range(rounds):
        come, go = os.pipe()

        def victim(turn: int = turn, go: int = go) -> None:
            audit, number = KINDS[kind](path, **options), 0
            while True:
                audit.record(record(number, call_id=f"v{turn}-{number}", reason="x" * (number % 4000)))
                os.write(go, b"v%d-%d\n" % (turn, number))  # acknowledged
                number += 1

        pid = forked(victim)
        os.close(go)
        with os.fdopen(come, "rb") as pipe:
            first = pipe.readline()
            beside.record(record(turn))
            time.sleep(0.0007 * (turn * 7 % 23))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            rest = pipe.read()
        acknowledged += (first + rest).decode().split("\n")[:-1]
        if turn % 2:  # sometimes the log is opened by somebody new, sometimes it was open
            KINDS[kind](path, **options).close()
        beside.record(record(turn + 1000))
        if turn % 10 == 0:
            sound(path)
    beside.close()
    found = calls(path)
    assert len(acknowledged) > 5 * rounds
    assert set(acknowledged) <= set(found)
    assert {f"call-{turn + more}" for turn in range(rounds) for more in (0, 1000)} <= set(found)
    assert len(found) == len(set(found))
    sound(path)


class _DiesAt:
    """Ends the process, as `kill -9` does, at one of the system calls that change a log."""

    CALLS = ("write", "pwrite", "ftruncate", "open", "unlink", "rename")

    def __init__(self, at: int, torn: bool) -> None:
        self.left, self.torn = at, torn

    def wrap(self, call: str) -> Callable[..., Any]:
        real = getattr(os, call)

        def called(*args: Any, **kwargs: Any) -> Any:
            if self.left == 0:
                if self.torn and call == "write":  # the head, within one page, is written whole or not at all
                    real(args[0], args[1][: len(args[1]) // 2])
                os._exit(9)
            self.left -= 1
            return real(*args, **kwargs)

        return called


@pytest.mark.parametrize(
    ("torn", "keep"),
    [(False, None), (True, None), (False, 1)],
    ids=["before a call", "in the middle of a write", "old files are not kept"],
)
def test_a_writer_may_die_at_any_system_call(tmp_path: Path, torn: bool, keep: int | None) -> None:
    survived, at = False, 0
    options: dict[str, Any] = {"max_bytes": 4096, "every": 5, "keep": keep}
    while not survived:
        path = tmp_path / f"audit-{at}"
        come, go = os.pipe()

        def victim(at: int = at, path: Path = path, go: int = go) -> None:
            real, dies = os.write, _DiesAt(at, torn)
            for call in dies.CALLS:
                setattr(os, call, dies.wrap(call))
            with JsonlAudit(path, **options) as audit:
                for number in range(9):
                    audit.record(record(number, reason="x" * 700))
                    real(go, b"call-%d\n" % number)

        pid = forked(victim)
        os.close(go)
        with os.fdopen(come, "rb") as pipe:
            acknowledged = pipe.read().decode().split()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in {0, 9}
        survived = status == 0
        with JsonlAudit(path, **options) as audit:
            audit.record(record(99))
        report = sound(path)
        found = calls(path)
        assert found[-1] == "call-99"
        if keep is None:
            assert report.first == 1
            assert acknowledged == found[: len(acknowledged)]
            assert len(found) - 1 <= len(acknowledged) + 1  # at most one that was not acknowledged
        else:
            assert set(acknowledged[-1:]) <= set(found)
        at += 1
    assert at > 30


def test_a_process_that_was_forked_writes_for_itself(tmp_path: Path) -> None:
    """The child of a process with a lock in use has a lock and files of its own."""
    path = tmp_path / "audit"
    audit = JsonlAudit(path)
    audit.record(record(0))
    stop = threading.Event()

    def busy() -> None:
        number = 1
        while not stop.is_set():
            audit.record(record(number))
            number += 1

    thread = threading.Thread(target=busy)
    thread.start()

    def child(name: int) -> Callable[[], None]:
        def work() -> None:
            for number in range(20):
                audit.record(record(number, call_id=f"child-{name}-{number}"))

        return work

    try:
        ended_well(*[forked(child(name)) for name in range(5)])
    finally:
        stop.set()
        thread.join()
    audit.close()
    found = set(calls_of(path))
    assert {f"child-{child}-{number}" for child in range(5) for number in range(20)} <= found
    sound(path)


def test_a_database_is_opened_anew_in_a_process_that_was_forked(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    audit = SqliteAudit(path)
    audit.record(record(0))

    def child() -> None:
        audit.record(record(1))
        audit.close()

    ended_well(forked(child))
    audit.record(record(2))
    audit.close()
    assert sorted(calls(path)) == ["call-0", "call-1", "call-2"]
    sound(path)


def test_a_process_that_was_forked_while_its_parent_wrote_does_not_hold_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    audit = JsonlAudit(path, wait=1)
    come, go = os.pipe()

    def wait_and_write() -> None:
        os.read(come, 1)
        audit.record(record(1))

    with audit._lock:  # as if another thread were writing
        pid = forked(wait_and_write)
    audit.record(record(0))  # the child lives, and holds nothing
    os.write(go, b"x")
    ended_well(pid)
    os.close(come)
    os.close(go)
    audit.record(record(2))
    assert calls_of(path) == ["call-0", "call-1", "call-2"]


_ELSEWHERE = """
import sys
from remit.audit import AuditRecord, JsonlAudit
with JsonlAudit(sys.argv[1], max_bytes=10_000) as audit:
    for number in range(300):
        audit.record(AuditRecord(event="decision", at=1000.5 + number, allowed=True))
"""


def test_what_is_written_while_somebody_follows_is_seen_in_order(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    JsonlAudit(path).close()
    writer = subprocess.Popen([sys.executable, "-c", _ELSEWHERE, str(path)])
    try:
        seqs = [entry.seq for entry in take(read_log(path, follow=True, poll=0.005), 300)]
    finally:
        assert writer.wait() == 0
    assert seqs == list(range(1, 301))
    assert sound(path).files > 2
