"""What a PostgreSQL server does to a ledger when it stops, hangs, is killed or set back."""

from __future__ import annotations

import logging
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from remit.ledger.postgres import PostgresLedger

from .contract import NOW, charge, live, of_token, outcome, proof
from .outages import OutageContract, OutageWorld, until, verdict
from .postgres_server import PostgresServer
from .threads import together

pytestmark = pytest.mark.servers
_schemas = count()
_log: Final = logging.getLogger("figures")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One server for the module; each test has a schema of its own."""
    running = PostgresServer()
    try:
        yield running.start()
    finally:
        running.remove()


class World(OutageWorld):
    """Guards whose ledger is in one schema."""

    def __init__(self, server: PostgresServer) -> None:
        super().__init__()
        self.server = server
        self.schema = f"world_{next(_schemas)}"
        self.ledgers: list[PostgresLedger] = []

    def ledger(self, *, timeout: int = 10, pool_size: int = 5) -> PostgresLedger:
        dsn = self.server.dsn()
        self.ledgers.append(PostgresLedger(dsn, schema=self.schema, timeout=timeout, pool_size=pool_size))
        return self.ledgers[-1]

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server.start()

    def kill(self) -> None:
        self.server.kill()

    @contextmanager
    def hanging(self) -> Generator[None]:
        self.server.freeze()
        try:
            yield
        finally:
            self.server.thaw()

    def total(self) -> int:
        """The sum of all counters."""
        asked = "SELECT coalesce(sum(total), 0)::bigint FROM counters"
        return int(self.server.execute(asked, schema=self.schema)[0][0])

    def proofs(self) -> int:
        """How many proofs are remembered."""
        return int(self.server.execute("SELECT count(*) FROM proofs", schema=self.schema)[0][0])


@pytest.fixture
def world(server: PostgresServer) -> Iterator[World]:
    """A world on the server, which runs when the test begins, and runs again after it."""
    made = World(server)
    yield made
    for ledger in made.ledgers:
        ledger.close()
    if server.process is None:
        server.start()


class TestOutages(OutageContract):
    """What every remote ledger does."""


# ── gone ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_a_restart_not_one_call_fails(world: World) -> None:
    ledger = world.ledger(pool_size=4)
    together(lambda n: ledger.commit([charge(f"c-{n}")], None, NOW), 4)
    for turn in range(2):
        world.server.restart()
        charges = [[charge(f"{turn}-{number}")] for number in range(8)]
        said = together(lambda n, charges=charges: outcome(lambda: ledger.commit(charges[n], None, NOW)), 8)  # type: ignore[misc]
        assert said == ["done"] * 8


def test_a_guard_hears_of_revocations_again_after_a_restart(world: World) -> None:
    """Within less than the time in which it would ask by itself, had it not been told."""
    guard, other = world.guard(), world.ledger()
    first, second, third = world.issue(), world.issue(), world.issue()
    guard.check(third, "tool:use", {})
    other.revoke([of_token(first.token_id, expires_at=int(time.time()) + 3_600)])
    until(lambda: verdict(lambda: guard.check(first, "tool:use", {})) == "token_revoked")
    world.server.restart()
    until(lambda: verdict(lambda: guard.check(third, "tool:use", {})) == "allowed")
    listening = "SELECT 1 FROM pg_stat_activity WHERE query = %s"
    until(lambda: bool(world.server.execute(listening, f'LISTEN "{world.schema}_revoked"')))
    other.revoke([of_token(second.token_id, expires_at=int(time.time()) + 3_600)])
    until(lambda: verdict(lambda: guard.check(second, "tool:use", {})) == "token_revoked")
    assert verdict(lambda: guard.check(first, "tool:use", {})) == "token_revoked"
    assert verdict(lambda: guard.check(third, "tool:use", {})) == "allowed"


# ── killed ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_under_load_kill_9_loses_nothing_that_was_answered(world: World) -> None:
    """Whatever was answered is there; whatever was not counts once or not at all, never twice."""
    world.ledger().position()
    stop = threading.Event()
    told: list[list[str]] = [[] for _ in range(4)]
    charged, failed = [0] * 4, [0] * 4

    def work(number: int) -> None:
        ledger = world.ledger(timeout=5)
        while not stop.is_set():
            name = f"{number}-{len(told[number])}-{failed[number]}"
            try:
                ledger.commit([charge("sum", 10**9), charge(f"own-{number}", 10**9)], proof(name), NOW)
                charged[number] += 1
                ledger.revoke([of_token(name)])
            except psycopg.Error:
                failed[number] += 1
                time.sleep(0.01)
            else:
                told[number].append(name)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        time.sleep(0.3)
        world.server.kill()
        world.server.start()
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    ledger = world.ledger()
    kept = {entry.token_id for entry in ledger.revocations()}
    assert all(told)
    assert kept >= {name for names in told for name in names}
    total = world.total()
    assert total == 2 * world.proofs()  # each charge went to both counters, with its proof
    assert sum(charged) <= total // 2 <= sum(charged) + sum(failed)
    assert len(ledger.changes(0).entries) == len(kept) == ledger.position().number


# ── hung ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def frozen(world: World) -> Iterator[Callable[[], None]]:
    """Freezes the server; it is thawed in the end."""
    try:
        yield world.server.freeze
    finally:
        world.server.thaw()


def test_no_call_hangs_longer_than_it_may(world: World, frozen: Callable[[], None]) -> None:
    """Each with a connection, and each without one: the kernel goes on to accept them."""
    calls: list[Callable[[PostgresLedger], object]] = [
        lambda ledger: ledger.commit([charge("c", 9)], proof(), NOW),
        lambda ledger: ledger.probe([charge("c", 9)], NOW),
        lambda ledger: ledger.revoke([of_token()]),
        lambda ledger: ledger.revoke([of_token(), of_token()]),
        lambda ledger: ledger.position(),
        lambda ledger: ledger.changes(0),
        lambda ledger: ledger.revocations(),
        lambda ledger: ledger.enroll(live()),
        lambda ledger: ledger.token("t-1"),
        lambda ledger: ledger.tokens(NOW),
        lambda ledger: ledger.purge(NOW),
        lambda ledger: ledger.migrate(),
        lambda ledger: ledger.examine(),
    ]
    connected = [world.ledger(timeout=1) for _ in calls]
    for ledger in connected:
        ledger.position()
    listener, late = world.ledger(timeout=1), world.ledger(timeout=1)
    listener.wait(0)
    ledgers = [*connected, *(world.ledger(timeout=1) for _ in calls)]
    frozen()

    def run(number: int) -> float:
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            calls[number % len(calls)](ledgers[number])
        return time.monotonic() - started

    took = together(run, len(ledgers))
    assert max(took[: len(calls)]) < 5  # one second, on a busy machine
    assert max(took[len(calls) :]) < 8  # libpq gives a connection two at least
    started = time.monotonic()
    listener.wait(0.2)
    with pytest.raises(psycopg.OperationalError):
        late.wait(0.2)
    for ledger in [*ledgers, listener]:
        ledger.close()
    assert time.monotonic() - started < 8
    world.server.thaw()
    for ledger in ledgers:
        until(lambda ledger=ledger: _answers(ledger))  # type: ignore[misc]


def _answers(ledger: PostgresLedger) -> bool:
    try:
        ledger.position()
    except psycopg.OperationalError:
        return False
    return True


def test_an_answer_that_is_lost_is_not_asked_for_again(world: World, frozen: Callable[[], None]) -> None:
    """Whether it was done is not known; doing it again might charge twice."""
    ledger = world.ledger(timeout=1, pool_size=1)
    ledger.commit([charge("c", 10)], None, NOW)
    frozen()
    with pytest.raises(psycopg.OperationalError, match="has said nothing for 1 seconds"):
        ledger.commit([charge("c", 10)], None, NOW)
    world.server.thaw()
    until(lambda: world.total() == 2)  # the server had it, and has done it
    time.sleep(0.3)
    assert world.total() == 2
    ledger.commit([charge("c", 10)], None, NOW)
    assert world.total() == 3


def test_one_connection_that_hangs_speaks_for_all(world: World, frozen: Callable[[], None]) -> None:
    """Not each of those that wait to be used costs a call."""
    ledger = world.ledger(timeout=1)
    together(lambda n: ledger.commit([charge(f"c-{n}")], None, NOW), 5)
    assert len(ledger._pool._idle) > 1
    frozen()
    with pytest.raises(psycopg.OperationalError):
        ledger.position()
    assert ledger._pool._idle == []


def test_a_lock_that_is_not_given_back_denies_and_holds_nobody_for_ever(world: World) -> None:
    ledger = world.ledger(timeout=1)
    ledger.commit([charge("c", 10)], None, NOW)
    function = Identifier(world.schema, "charge")
    shown = SQL("SELECT proconfig FROM pg_proc WHERE oid = {}::regproc").format(function.as_string())
    assert "lock_timeout=5s" in world.server.execute(shown)[0][0]
    world.server.execute(
        SQL("ALTER FUNCTION {} SET lock_timeout = '2s'").format(function)
    )  # it takes less time
    with world.server.connect(world.schema) as owner, owner.transaction():
        owner.execute("LOCK TABLE counters")
        with pytest.raises(psycopg.OperationalError):
            ledger.commit([charge("c", 10)], None, NOW)
        with pytest.raises(psycopg.OperationalError):
            ledger.commit([charge("c", 10)], None, NOW)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        # The server gives up by itself, though whoever asked has long gone.
        until(lambda: world.server.execute(waiting) == [(0,)])
    assert world.total() == 1


# ── set back ────────────────────────────────────────────────────────────────────────────────────────────────


def _followers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "remit-revocations"}


def test_numbers_that_were_given_away_again_hide_nothing(world: World) -> None:
    """The server comes back as it was a moment ago; others revoke before the guard looks again."""
    others = _followers()
    guard, ledger = world.guard(), world.ledger()
    tokens = [world.issue() for _ in range(3)]
    expires_at = int(time.time()) + 3_600
    ledger.revoke([of_token(tokens[0].token_id, expires_at=expires_at)])
    world.server.stop()
    shutil.copytree(world.server.data, world.server.folder / "old")
    world.server.start()
    ledger.revoke([of_token(tokens[1].token_id, expires_at=expires_at)])
    until(lambda: verdict(lambda: guard.check(tokens[1], "tool:use", {})) == "token_revoked")
    view = guard._enforcement.view
    view.close()  # it sees nothing of what comes now
    until(lambda: not _followers() - others)  # its thread may have been about to read everything anew
    view.catch_up()
    position = view._position
    world.server.kill()
    shutil.rmtree(world.server.data)
    (world.server.folder / "old").rename(world.server.data)
    for path in [world.server.data, *world.server.data.rglob("*")]:
        world.server.own(path)
    world.server.start()
    ledger.revoke([of_token(tokens[2].token_id, expires_at=expires_at)])
    assert ledger.position().number == position.number > 0
    view.catch_up()
    for token in tokens:
        assert verdict(lambda token=token: guard.check(token, "tool:use", {})) == "token_revoked"  # type: ignore[misc]


# ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_charge_costs_little_more_than_a_round_trip_that_is_flushed(world: World) -> None:
    """Measured in turns, so that what else the machine does weighs on all alike."""
    ledger, charges = world.ledger(), [charge("digest-of-a-token:tool:use:uses", 10**9)]
    ledger.position()
    with world.server.connect() as bare:
        bare.execute("CREATE TABLE plain (number integer); INSERT INTO plain VALUES (0)")
        calls: list[Callable[[], object]] = [
            lambda: bare.execute("SELECT 1").fetchone(),
            lambda: bare.execute("UPDATE plain SET number = number + 1"),
            lambda: ledger.commit(charges, None, NOW),
            lambda: ledger.probe(charges, NOW),
        ]
        took: list[list[float]] = [[] for _ in calls]
        for step in range(600):
            for which, call in enumerate(calls):
                started = time.perf_counter()
                call()
                if step >= 50:
                    took[which].append(time.perf_counter() - started)
    trip, flushed, charged, probed = (statistics.median(each) for each in took)
    _log.info(
        "a charge costs %.2f flushed round trips of %.0f µs, a question %.2f bare ones of %.0f µs",
        *(charged / flushed, flushed * 1e6, probed / trip, trip * 1e6),
    )
    assert charged < 3 * flushed
