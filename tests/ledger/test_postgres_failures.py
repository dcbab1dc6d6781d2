"""What a PostgreSQL server does to a ledger when it stops, hangs, is killed or set back."""

from __future__ import annotations

import asyncio
import logging
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

import remit
from remit.errors import Denied
from remit.ledger.postgres import PostgresLedger

from .contract import NOW, charge, live, of_token, outcome, proof
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


class World:
    """An issuer, and guards whose ledger is in one schema, on one clock that can be set ahead."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.schema = f"world_{next(_schemas)}"
        self.ahead = 0.0
        self.issuer = remit.Issuer.generate("https://auth.acme.example")
        self.ledgers: list[PostgresLedger] = []

    def clock(self) -> float:
        return time.time() + self.ahead

    def ledger(self, **options: Any) -> PostgresLedger:
        self.ledgers.append(PostgresLedger(self.server.dsn(), schema=self.schema, **options))
        return self.ledgers[-1]

    def guard(self, **options: Any) -> remit.Guard:
        usual: dict[str, Any] = {
            "trust": [self.issuer.anchor],
            "clock": self.clock,
            "ledger": self.ledger(timeout=1),
        }
        return remit.Guard(**{**usual, **options})

    def issue(self, capability: str = "tool:use", **options: Any) -> remit.Credential:
        usual: dict[str, Any] = {"agent": "a", "capabilities": [capability], "ttl": "1h"}
        return self.issuer.issue(**{**usual, **options})

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


def verdict(call: Callable[[], object]) -> str:
    """`allowed`, or the code of the refusal."""
    try:
        call()
    except Denied as denied:
        return denied.code
    return "allowed"


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that comes about by itself."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


# ── gone ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_server_limits_are_denied_and_all_else_lives_until_its_bound(world: World) -> None:
    guard = world.guard(fresh={"records:read": "5m", "*": "1m"})
    limited = world.issue(limits={"tool:use": remit.Limit(max_uses=100)})
    plain, read = world.issue(), world.issue("records:read")
    tries: list[tuple[Callable[[], object], str, str, str]] = [
        # at once, after 61 seconds, when it is back
        (lambda: guard.check(limited, "tool:use", {}), "ledger_unavailable", "revocations_stale", "allowed"),
        (lambda: guard.check(plain, "tool:use", {}), "allowed", "revocations_stale", "allowed"),
        (lambda: guard.check(read, "records:read", {}), "allowed", "allowed", "allowed"),
        (lambda: guard.revoke("t"), "ledger_unavailable", "ledger_unavailable", "allowed"),
    ]
    assert [verdict(call) for call, *_ in tries[:3]] == ["allowed"] * 3
    world.server.stop()
    started = time.monotonic()
    assert [verdict(call) for call, *_ in tries] == [said for _, said, _, _ in tries]
    world.ahead = 61
    assert [verdict(call) for call, *_ in tries] == [said for _, _, said, _ in tries]
    world.ahead = 301
    assert verdict(tries[2][0]) == "revocations_stale"
    assert time.monotonic() - started < 5  # nothing waited for a server that refuses connections
    world.server.start()
    until(lambda: verdict(tries[1][0]) == "allowed")
    assert [verdict(call) for call, *_ in tries] == [said for _, _, _, said in tries]


def test_a_guard_that_starts_before_its_server_denies_until_it_is_there(world: World) -> None:
    world.server.stop()
    guard, credential = world.guard(), world.issue()
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "revocations_stale"
    world.server.start()
    until(lambda: verdict(lambda: guard.check(credential, "tool:use", {})) == "allowed")


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


def test_what_was_charged_and_revoked_is_there_after_kill_9(world: World) -> None:
    ledger, token = world.ledger(), live()
    ledger.revoke([of_token()])
    ledger.commit([charge("c", 2), charge("r", 1, window=60)], proof(), NOW)
    ledger.enroll(token)
    before = ledger.position()
    world.server.kill()
    world.server.start()
    after = ledger.position()
    assert after.number == before.number
    assert after.store != before.store  # so that guards read it all again
    assert ledger.revocations() == [of_token()]
    assert ledger.token("t-1") == token
    assert outcome(lambda: ledger.commit([], proof(), NOW)) == "proof_replayed"
    assert outcome(lambda: ledger.commit([charge("r", 1, window=60)], None, NOW)) == "limit_exceeded"
    assert outcome(lambda: ledger.commit([charge("c", 2)], None, NOW)) == "done"
    assert outcome(lambda: ledger.commit([charge("c", 2)], None, NOW)) == "limit_exceeded"


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


def test_calls_are_denied_in_time_while_the_server_hangs(world: World, frozen: Callable[[], None]) -> None:
    guard = world.guard()
    limited = world.issue(limits={"tool:use": remit.Limit(max_uses=100)})
    plain = world.issue()
    guard.check(limited, "tool:use", {})
    frozen()
    started = time.monotonic()
    assert verdict(lambda: guard.check(limited, "tool:use", {})) == "ledger_unavailable"
    assert verdict(lambda: guard.revoke("t")) == "ledger_unavailable"
    assert time.monotonic() - started < 10
    assert verdict(lambda: guard.check(plain, "tool:use", {})) == "allowed"
    world.ahead = 61
    started = time.monotonic()
    assert verdict(lambda: guard.check(plain, "tool:use", {})) == "revocations_stale"
    assert time.monotonic() - started < 10
    world.server.thaw()
    until(lambda: verdict(lambda: guard.check(plain, "tool:use", {})) == "allowed")
    assert verdict(lambda: guard.check(limited, "tool:use", {})) == "allowed"


async def test_a_loop_keeps_ticking_while_the_server_hangs(world: World, frozen: Callable[[], None]) -> None:
    guard = world.guard()
    limited = world.issue("slow:use", limits={"slow:use": remit.Limit(max_uses=100)})

    @remit.requires_capability("slow:use")
    async def use() -> str:
        return "used"

    with guard.acting_as(limited):
        assert await use() == "used"
        frozen()
        longest, last, calls = 0.0, time.monotonic(), [asyncio.ensure_future(use()) for _ in range(3)]
        while not all(call.done() for call in calls):
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        said = await asyncio.gather(*calls, return_exceptions=True)
        assert [getattr(each, "code", each) for each in said] == ["ledger_unavailable"] * 3
        assert longest < 0.5  # the calls took a second or more
        world.server.thaw()
        assert await use() == "used"


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


def test_numbers_that_were_given_away_again_hide_nothing(world: World) -> None:
    """The server comes back as it was a moment ago; others revoke before the guard looks again."""
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
    position = view._position
    view.close()  # it sees nothing of what comes now
    world.server.kill()
    shutil.rmtree(world.server.data)
    (world.server.folder / "old").rename(world.server.data)
    for path in [world.server.data, *world.server.data.rglob("*")]:
        world.server.own(path)
    world.server.start()
    ledger.revoke([of_token(tokens[2].token_id, expires_at=expires_at)])
    assert ledger.position().number == position.number
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
