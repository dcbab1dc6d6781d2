"""What a `SqliteLedger` does when others hold its file, the disk is full, or its process forks."""

from __future__ import annotations

import ctypes
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.errors import shown
from remit.ledger import sqlite_statements as statements
from remit.ledger.sqlite import SqliteLedger
from remit.ledger.sqlite_examine import examine_file, examine_place

from .contract import NOW, charge, of_token, outcome, proof
from .threads import together

NOBODY = 65_534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    opened = SqliteLedger(path, timeout="1s")
    opened.close()
    opened._timeout = 0.3  # less than whole seconds, so that these tests wait less
    opened.position()  # opens it
    yield opened
    opened.close()


@pytest.fixture
def patient(path: Path) -> Iterator[SqliteLedger]:
    """For tests in which nobody is held up, however slow the machine is."""
    opened = SqliteLedger(path, timeout="1m")
    yield opened
    opened.close()


@contextmanager
def held(path: Path, *statements: str) -> Generator[sqlite3.Connection]:
    """Somebody else who has the file open and did these things."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        for statement in statements:
            connection.execute(statement)
        yield connection
    finally:
        connection.close()


@contextmanager
def as_nobody() -> Generator[None]:
    """Have the modes of files count also for root, in this thread (Linux)."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.setfsuid(NOBODY)
    try:
        yield
    finally:
        libc.setfsuid(0)


class Stage:
    """A guard on the ledger, and two credentials: one with a limit, one without."""

    def __init__(self, ledger: SqliteLedger, **options: Any) -> None:
        self.now = float(NOW)
        issuer = remit.Issuer.generate("https://auth.acme.example", clock=lambda: self.now)
        self.guard = remit.Guard(trust=[issuer.anchor], ledger=ledger, clock=lambda: self.now, **options)
        limit = remit.Limit(max_uses=1_000)
        self.free = issuer.issue(agent="a", capabilities=["tool:use"], ttl="1h")
        self.limited = issuer.issue(
            agent="a", capabilities=["tool:use"], ttl="1h", limits={"tool:use": limit}
        )

    def use(self, credential: remit.Credential) -> str:
        return outcome(self.guard.check, credential, "tool:use", {})


# ── held by others ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_another_holds_exclusively_is_waited_for_and_no_longer(
    ledger: SqliteLedger, path: Path
) -> None:
    stage = Stage(ledger, fresh="1m")
    assert stage.use(stage.limited) == "done"
    ledger.close()
    with held(
        path, "PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE", "UPDATE ledger SET changes = changes"
    ):
        begun = time.monotonic()
        assert stage.use(stage.limited) == "ledger_unavailable"
        assert time.monotonic() - begun < 20
        assert stage.use(stage.free) == "done"  # what is known is recent enough
        stage.now += 61
        assert stage.use(stage.free) == "revocations_stale"
    assert stage.use(stage.free) == "done"
    assert stage.use(stage.limited) == "done"


def test_readers_do_not_wait_for_a_writer(ledger: SqliteLedger, path: Path) -> None:
    ledger.revoke([of_token()])
    with held(path, "BEGIN IMMEDIATE", "UPDATE ledger SET changes = 77"):
        ledger.close()  # and do not wait either when they open it again
        assert ledger.position().number == 1
        assert len(ledger.changes(0).entries) == len(ledger.revocations()) == 1
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            ledger.commit([charge()], None, NOW)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            ledger.revoke([of_token("other")])
    assert outcome(ledger.commit, [charge()], None, NOW) == "done"
    assert ledger.position().number == 1


def test_a_writer_waits_for_its_turn(patient: SqliteLedger, path: Path) -> None:
    with held(path, "BEGIN IMMEDIATE") as other:
        done: list[str] = []
        thread = threading.Thread(target=lambda: done.append(outcome(patient.commit, [charge()], None, NOW)))
        thread.start()
        time.sleep(0.1)
        assert done == []
        other.execute("COMMIT")
        thread.join()
    assert done == ["done"]


def test_threads_wait_no_longer_for_each_other_than_for_other_processes(
    ledger: SqliteLedger, path: Path
) -> None:
    def attempt(_: int) -> str:
        try:
            ledger.commit([charge()], None, NOW)
        except (sqlite3.OperationalError, TimeoutError) as error:
            return type(error).__name__
        return "done"

    begun = time.monotonic()
    with held(path, "BEGIN IMMEDIATE"):
        said = together(attempt, 12)
    assert time.monotonic() - begun < 3  # and not the four seconds that it takes one after another
    assert "done" not in said
    assert outcome(ledger.commit, [charge()], None, NOW) == "done"


def test_a_file_that_is_held_while_it_is_opened_is_an_error_that_says_so(path: Path) -> None:
    SqliteLedger(path).close()
    with (
        held(path, "PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE", "UPDATE ledger SET changes = changes"),
        pytest.raises(remit.ConfigError, match="locked"),
    ):
        SqliteLedger(path, timeout="1s")


# ── disks and modes ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_may_not_be_written_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others, at every level
        path = Path(folder) / "ledger.db"
        SqliteLedger(path).close()
        path.chmod(0o444)
        path.parent.chmod(0o777)  # it is the file that stops nobody
        with as_nobody(), pytest.raises(remit.ConfigError, match="readonly"):
            SqliteLedger(path)


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(0o555)
    with as_nobody(), pytest.raises(remit.ConfigError, match="Permission denied"):
        SqliteLedger(folder / "ledger.db")
    assert list(folder.iterdir()) == []


FULL = """
import json, resource, sys
from remit.ledger import Charge, Revocation
from remit.ledger.sqlite import SqliteLedger

ledger = SqliteLedger(sys.argv[1])
charges = lambda n: [Charge("sum", 1, 10**9, None, 1_800_000_000, 0, "c", "l"), Charge(f"{n}" * 100, 1, 1, None, 1_800_000_000, 0, "c", "l")]
entry = lambda n: Revocation(token_id=f"t-{n}", revoked_at=1_704_067_500, expires_at=1_800_000_000, reason="x" * 900)
ledger.revoke([entry(-1)])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
done, revoked, errors, n = 0, ["t--1"], [], 0
while len(errors) < 5:
    n += 1
    try:
        ledger.commit(charges(n), None, 1_704_067_500)
        done += 1
        ledger.revoke([entry(n)])
        revoked.append(f"t-{n}")
    except Exception as error:
        errors.append([type(error).__name__, hasattr(error, "code")])
readable = len(ledger.revocations())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.commit(charges(0), None, 1_704_067_500)
kept = {entry.token_id for entry in ledger.revocations()}
connection = ledger._connection
total = connection.execute("SELECT total FROM counter WHERE name = 'sum'").fetchone()[0]
check = connection.execute("PRAGMA integrity_check").fetchone()[0]
print(json.dumps([done + 1, total, sorted(set(revoked) - kept), errors, readable, len(revoked), check]))
"""


def test_a_full_disk_denies_loses_nothing_and_recovers(path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    done, total, lost, errors, readable, revoked, check = json.loads(run.stdout)
    assert (lost, check) == ([], "ok")
    assert done == total
    assert readable == revoked > 20
    assert {is_refusal for _, is_refusal in errors} == {False}


# ── transactions ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, sqlite3.OperationalError])
def test_what_is_interrupted_is_undone_and_holds_nobody_up(
    ledger: SqliteLedger, path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    done = statements.commit

    def interrupted(*arguments: Any) -> None:
        done(*arguments)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(statements, "commit", interrupted)
        with pytest.raises(error):
            ledger.commit([charge()], proof(), NOW)
    other = SqliteLedger(path, timeout="1s")
    assert outcome(other.commit, [charge()], proof(), NOW) == "done"
    assert outcome(ledger.commit, [charge()], None, NOW) == "limit_exceeded"
    other.close()


def traced(ledger: SqliteLedger, call: Callable[[], object]) -> list[str]:
    """The statements by which it begins, ends and syncs transactions."""
    said: list[str] = []
    connection = ledger._connection
    assert connection is not None
    connection.set_trace_callback(said.append)
    with suppress(Exception):
        call()
    connection.set_trace_callback(None)
    return [text for text in said if text.startswith(("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA"))]


def test_a_revocation_is_synced_and_a_charge_where_that_was_asked_for(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    synced = ["PRAGMA synchronous=FULL", "BEGIN IMMEDIATE", "COMMIT", "PRAGMA synchronous=NORMAL"]
    assert traced(ledger, lambda: ledger.revoke([of_token()])) == synced
    assert traced(ledger, lambda: ledger.commit([charge()], None, NOW)) == ["BEGIN IMMEDIATE", "COMMIT"]
    failed: Any = [of_token("x"), None]
    assert traced(ledger, lambda: ledger.revoke(failed)) == [*synced[:2], "ROLLBACK", synced[3]]
    durable = SqliteLedger(tmp_path / "durable.db", durable=True)
    for each, level in ((ledger, 1), (durable, 2)):
        each.revoke([of_token("y")])
        each.close()
        each.commit([charge("z")], None, NOW)
        assert each._connection is not None
        assert each._connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert "PRAGMA synchronous=NORMAL" not in traced(durable, lambda: durable.revoke([of_token("w")]))
    durable.close()


def test_a_ledger_may_be_closed_while_others_use_it(patient: SqliteLedger) -> None:
    def work(number: int) -> int:
        done = 0
        for _ in range(40):
            if number == 0:
                patient.close()
            else:
                done += outcome(patient.commit, [charge("c", 1_000)], None, NOW) == "done"
        return done

    assert sum(together(work, 4)) == 120
    assert outcome(patient.probe, [charge("c", 1_000, amount=880)], NOW) == "done"
    assert outcome(patient.probe, [charge("c", 1_000, amount=881)], NOW) == "limit_exceeded"


def test_much_is_purged_in_pieces_between_which_others_write(
    patient: SqliteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "_BATCH", 100)
    patient.revoke([of_token(f"t-{number}") for number in range(950)])
    other, between = SqliteLedger(path, timeout="1m"), list[str]()
    late = charge(expires_at=NOW + 90_000)
    monkeypatch.setattr("time.sleep", lambda _: between.append(outcome(other.commit, [late], None, NOW)))
    assert patient.purge(NOW + 600 + 86_400) == 950
    assert between[:2] == ["done", "limit_exceeded"]
    assert len(between) == 9
    other.close()


def test_rates_of_many_uses_are_purged_in_pieces(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "_BATCH", 10)
    for number in range(6):
        ledger.commit([charge(f"r-{number}", 8, window=60)] * 8, None, NOW)
    assert ledger.purge(NOW + 600 + 86_400) == 6
    assert ledger._connection is not None
    assert ledger._connection.execute("SELECT count(*) FROM rate_use").fetchone() == (0,)


# ── forks ───────────────────────────────────────────────────────────────────────────────────────────────────


def in_child(call: Callable[[], object]) -> Any:
    """What `call` returns in a child that was forked."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, json.dumps(call()).encode())
        except BaseException as error:  # noqa: BLE001 - the child tells of everything and ends here
            os.write(writing, json.dumps(f"{type(error).__name__}: {error}").encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said)


def test_parent_and_child_use_one_ledger_after_a_fork(patient: SqliteLedger, path: Path) -> None:
    patient.commit([charge("c", 10)], None, NOW)
    other = SqliteLedger(path, timeout="1m")

    def child() -> object:
        assert patient._connection is other._connection is None  # nothing of the parent's is left
        said = [outcome(each.commit, [charge("c", 10)], None, NOW) for each in (patient, other, patient)]
        return [
            said,
            patient.revoke([of_token("child")]),
            in_child(lambda: other.revoke([of_token("child")])),
        ]

    assert in_child(child) == [["done"] * 3, [True], [False]]
    assert [outcome(patient.commit, [charge("c", 10)], None, NOW) for _ in range(7)] == ["done"] * 6 + [
        "limit_exceeded"
    ]
    assert other.revoke([of_token("child")]) == [False]
    other.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_threads_write_loses_nothing(patient: SqliteLedger) -> None:
    def work(number: int) -> int:
        if number:
            return sum(outcome(patient.commit, [charge("c", 10**6)], None, NOW) == "done" for _ in range(100))
        return sum(
            in_child(lambda: outcome(patient.commit, [charge("c", 10**6)], None, NOW)) == "done"
            for _ in range(5)
        )

    assert together(work, 3) == [5, 100, 100]
    assert outcome(patient.probe, [charge("c", 10**6, amount=10**6 - 205)], NOW) == "done"
    assert outcome(patient.probe, [charge("c", 10**6, amount=10**6 - 204)], NOW) == "limit_exceeded"


def test_a_child_of_a_fork_that_found_the_ledger_in_use_may_not_use_it(
    ledger: SqliteLedger, path: Path
) -> None:
    ledger._lock.acquire()  # as a thread that waits for other processes
    try:
        said = in_child(ledger.position)
        assert said.startswith("OSError")
        assert in_child(ledger.close) is None  # and it does not wait for ever
    finally:
        ledger._lock.release()
    assert ledger.position().number == 0


def test_a_fork_that_python_does_not_see_is_noticed(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getpid", lambda: -1)
    for call in (ledger.position, lambda: ledger.commit([charge()], None, NOW)):
        with pytest.raises(OSError, match="forked"):
            call()
    monkeypatch.undo()
    assert outcome(ledger.commit, [charge()], None, NOW) == "done"


# ── examined ────────────────────────────────────────────────────────────────────────────────────────────────


def mounts(tmp_path: Path, kind: str, point: Path) -> Path:
    """A list of file systems, as Linux writes it."""
    escaped = str(point).replace(" ", "\\040")
    table = tmp_path / "mountinfo"
    table.write_text(
        f"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
        f"23 22 0:5 / /proc rw - proc proc rw\n"
        f"99 22 0:50 / {escaped} rw shared:7 master:2 - {kind} server:/x rw\n"
    )
    return table


@pytest.mark.parametrize(
    ("kind", "says"),
    [("ext4", None), ("nfs4", "nfs4"), ("cifs", "cifs"), ("fuse.sshfs", "fuse.sshfs"), ("tmpfs", "restart")],
)
def test_it_says_on_what_kind_of_file_system_it_is(tmp_path: Path, kind: str, says: str | None) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    path = folder / "ledger.db"
    SqliteLedger(path).close()
    findings = examine_place(path, mounts(tmp_path, kind, folder))
    assert len(findings) == (says is not None)
    assert says is None or says in findings[0]
    assert examine_place(path, mounts(tmp_path, kind, tmp_path / "with")) == []  # no part of a name


def test_it_says_who_else_may_read_or_replace_it(ledger: SqliteLedger, path: Path) -> None:
    path.parent.chmod(0o777)
    for mode in (0o604, 0o640, 0o620, 0o660, 0o602, 0o666):
        path.chmod(mode)
        findings = examine_place(path, Path("/nonexistent"))
        assert [finding for finding in findings if f"mode {mode:04o}" in finding]
    assert [finding for finding in findings if "mode 0777" in finding]
    path.chmod(0o600)
    path.parent.chmod(0o1777)
    assert examine_place(path, Path("/nonexistent")) == []
    assert ledger.position().number == 0


def test_it_says_when_the_disk_is_nearly_full_or_the_log_too_long(
    ledger: SqliteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.revoke([of_token()])
    monkeypatch.setattr("remit.ledger.sqlite_examine._TIGHT", 2**60)
    monkeypatch.setattr("remit.ledger.sqlite_examine._LONG_WAL", 1_000)
    findings = "\n".join(examine_place(path, Path("/nonexistent")))
    assert "MB left" in findings
    assert f"The log {shown(f'{path}-wal')} has" in findings


def test_it_says_when_the_file_is_damaged_or_its_journal_is_another(ledger: SqliteLedger, path: Path) -> None:
    ledger.revoke([of_token(f"t-{number}") for number in range(500)])
    assert not [finding for finding in ledger.examine() if "damaged" in finding or "journal" in finding]
    ledger.close()
    connection = sqlite3.connect(path)
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'proof_expiry'").fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 200)
    assert [finding for finding in ledger.examine() if "damaged" in finding]
    with held(path.with_name("other.db"), "CREATE TABLE x (y)") as other:
        assert [finding for finding in examine_file(other) if "'delete'" in finding]
