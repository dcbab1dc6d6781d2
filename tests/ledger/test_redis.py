"""`RedisLedger` keeps the contract against a real server, and against a cluster; what is its own besides."""

from __future__ import annotations

import copy
import logging
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
import redis
from redis.connection import Connection

import remit
from remit.errors import ConfigError
from remit.ledger import NEVER, PURGE_MARGIN, RemoteLedger, Revocation, open_ledger
from remit.ledger import redis as module
from remit.ledger import redis_link as link_module
from remit.ledger.redis import RedisLedger
from remit.ledger.redis_scripts import FORGET_COUNTERS

from .contract import (
    DAY,
    NOW,
    LedgerContract,
    NewStore,
    Opener,
    charge,
    followed,
    live,
    of_agent,
    of_token,
    outcome,
    proof,
    subjects,
)
from .redis_server import RedisCluster, RedisServer

pytestmark = pytest.mark.servers
_log = logging.getLogger("figures")

CANARY = "canary/of:the@password?#&%20"
_numbers = count()


def store_name() -> str:
    """A prefix that nobody has used."""
    return f"store-{next(_numbers)}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the module; each store has a prefix of its own."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Two nodes, each with half of the slots."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def new_ledger(server: RedisServer) -> Iterator[Callable[..., RedisLedger]]:
    """Makes ledgers on a store of the test's own."""
    name, made = store_name(), list[RedisLedger]()

    def new(**options: Any) -> RedisLedger:
        made.append(RedisLedger(server.url, **{"prefix": name, **options}))
        return made[-1]

    yield new
    for ledger in made:
        ledger.close()


@pytest.fixture
def ledger(new_ledger: Callable[..., RedisLedger]) -> RedisLedger:
    """An empty ledger."""
    return new_ledger()


class TestRedisLedger(LedgerContract):
    """Each prefix is one store."""

    examples: ClassVar[int] = 30

    @pytest.fixture
    def new_store(self, server: RedisServer) -> NewStore:
        """A prefix that nobody has used."""

        def new() -> Opener:
            name = store_name()
            return lambda: RedisLedger(server.url, prefix=name)

        return new


class TestRedisCluster(LedgerContract):
    """As before, where the node of the URL has the slots of about every other store."""

    examples: ClassVar[int] = 5

    @pytest.fixture
    def new_store(self, cluster: RedisCluster) -> NewStore:
        """A prefix that nobody has used."""

        def new() -> Opener:
            name = store_name()
            return lambda: RedisLedger(cluster.nodes[0].url, prefix=name)

        return new


# ── where it is ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        7,
        "redis:",
        "localhost:6379",
        "http://localhost",
        f"redis://:{CANARY}@localhost/0",
        "redis://:canary/slash@localhost/0",
        "redis://:123/canary@localhost/0",
        "redis://:123?canary=x@localhost/0",
        "redis://:123?canary@localhost/0",
        "redis://:123#canary@localhost/0",
        "redis://localhost:0x10/0",
        "redis://localhost:99999/0",
        "redis://localhost/canary",
        "redis://localhost/0/1",
        "redis://localhost/-1",
        "redis://localhost/٣",
        "redis://localhost/?db=canary",
        "redis://localhost/?db=1&db=2",
        "redis://localhost/?decode_responses=true",
        "redis://localhost/?protocol=3",
        "redis://localhost/?retry_on_timeout=true",
        "redis://localhost/?password=canary",
        "redis://localhost/?ssl_cert_reqs=none",
        "rediss://localhost/?ssl_check_hostname=canary",
        "rediss://localhost/?ssl_cert_reqs=canary",
        "redis://localhost/?prefix=",
        "redis://localhost/?prefix={canary",
        "unix://",
        "unix://localhost/run/redis.sock",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_and_not_shown(url: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        RedisLedger(url)
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__ and caught.value.__suppress_context__}"
    assert "canary" not in shown.replace("'{canary'", "")  # a prefix is no secret
    assert "None" in shown or "True" in shown


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://localhost", "localhost:6379/0"),
        ("redis://", "localhost:6379/0"),
        ("redis://localhost/", "localhost:6379/0"),
        ("redis://cache.example:7000/3", "cache.example:7000/3"),
        ("redis://[::1]:7000/3", "::1:7000/3"),
        ("redis://localhost?db=4", "localhost:6379/4"),
        (
            "rediss://u:canary@cache.example/1?ssl_ca_certs=ca.pem&ssl_check_hostname=no",
            "cache.example:6379/1",
        ),
        (f"redis://u%40:{quote(CANARY, safe='')}@localhost/1", "localhost:6379/1"),
        ("unix:///run/redis.sock?db=2", "/run/redis.sock/2"),
        ("unix://u:canary@/run/redis.sock", "/run/redis.sock/0"),
    ],
)
def test_a_ledger_says_where_it_is_and_not_how_it_gets_in(url: str, name: str) -> None:
    assert repr(RedisLedger(url)) == f"<RedisLedger 'remit' at {name}>"
    assert "canary" not in repr(vars(RedisLedger(url)))


def test_a_url_can_name_the_prefix(server: RedisServer) -> None:
    name = store_name()
    ledger = open_ledger(f"{server.url}?prefix={name}")
    ledger.revoke([of_token("a")])
    assert RedisLedger(server.url, prefix=name).revocations() == [of_token("a")]
    assert RedisLedger(f"{server.url}?prefix={name}", prefix=name).revocations() == [of_token("a")]
    with pytest.raises(ConfigError, match="prefix"):
        RedisLedger(f"{server.url}?prefix={name}", prefix="other")


@pytest.mark.parametrize("prefix", ["", " ", "a{b", "a}b", "x" * 65, "é", "a\n", 7])
def test_a_prefix_that_would_break_the_hash_tag_is_refused(prefix: Any) -> None:
    with pytest.raises(ConfigError):
        RedisLedger("redis://localhost", prefix=prefix)


@pytest.mark.parametrize("timeout", [0, -1, 61, "2", "1h", None, float("nan"), True, 0.5])
def test_a_time_out_that_makes_no_sense_is_refused(timeout: Any) -> None:
    with pytest.raises(ConfigError):
        RedisLedger("redis://localhost", timeout=timeout)


def test_without_redis_py_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['redis'] = None; import remit\n"
        "try: remit.open_ledger('redis://localhost')\n"
        "except remit.ConfigError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'remit[redis]'" in said.stdout


def test_a_server_that_is_away_is_no_error_until_it_is_asked() -> None:
    ledger = RedisLedger("redis://127.0.0.1:1")
    for ask in (ledger.position, ledger.examine, lambda: ledger.wait(0), lambda: ledger.revoke([of_token()])):
        with pytest.raises(redis.ConnectionError):
            ask()
    assert ledger.revoke([]) == []
    ledger.close()


def test_it_is_a_ledger_that_guards_follow(ledger: RedisLedger) -> None:
    assert isinstance(ledger, RemoteLedger)
    with pytest.raises(TypeError):
        copy.copy(ledger)


# ── what is on the server ───────────────────────────────────────────────────────────────────────────────────


def test_nothing_grows_for_ever(ledger: RedisLedger, server: RedisServer) -> None:
    """Each counter has a time to live; all else is a handful of keys that purging empties."""
    for number in range(5):
        ledger.commit(
            [
                charge(f"u-{number}", 9),
                charge(f"r-{number}", 9, window=60, expires_at=NOW + 90 * DAY),
                charge(f"old-{number}", expires_at=NOW - 10 * DAY),
            ],
            proof(f"p-{number}"),
            NOW + 0.5,
        )
    ledger.revoke([of_token("a"), of_agent()])
    ledger.enroll(live())
    client, prefix = server.client, ledger._prefix
    bounded = {
        f"{{{prefix}}}:{name}"
        for name in ("meta", "order", "revoked", "expiry", "proofs", "counters", "tokens", "lifetimes")
    }
    lives = {key.decode(): client.ttl(key) for key in client.scan_iter(f"{{{prefix}}}:*", count=10_000)}
    assert {key for key, left in lives.items() if left == -1} == bounded
    for key, left in lives.items():
        expected = {"u": 600, "r": 90 * DAY, "o": 0}.get(key.partition("counter:")[2][:1])
        assert expected is None or PURGE_MARGIN + expected - 10 <= left <= PURGE_MARGIN + expected + 1
    assert ledger.purge(NOW + 92 * DAY) == 5 * 3 + 5 + 2 + 1
    assert [key.decode() for key in client.scan_iter(f"{{{prefix}}}:*", count=10_000)] == [
        f"{{{prefix}}}:meta"
    ]


def test_the_life_of_a_counter_is_only_ever_put_off(ledger: RedisLedger, server: RedisServer) -> None:
    """A clock that is ahead must not make the server forget early."""
    key = f"{{{ledger._prefix}}}:counter:c"
    client = server.client
    for now, expected in ((NOW + 500, 100), (NOW + 590, 100), (NOW, 600), (NOW + 700, 600)):
        ledger.commit([charge("c", 9)], None, now)
        assert 0 <= PURGE_MARGIN + expected - client.ttl(key) <= 10
    client.persist(key)
    ledger.commit([charge("c", 9)], None, NOW)
    assert client.ttl(key) > 0


def test_what_nobody_purges_is_removed_in_the_end(ledger: RedisLedger, server: RedisServer) -> None:
    later = NOW + 100 * DAY
    for number in range(20):
        ledger.revoke([of_token(f"t-{number}")])
        ledger.enroll(live(f"t-{number}"))
        ledger.commit([charge(f"c-{number}")], None, NOW)
    for number in range(6):
        ledger.revoke([of_token(f"new-{number}", revoked_at=later, expires_at=later + 600)])
        ledger.enroll(live(f"new-{number}", issued_at=later, expires_at=later + 600))
        ledger.commit([charge(f"new-{number}", expires_at=later + 600)], None, later)
    assert len(ledger.revocations()) == len(ledger.tokens(0)) == 6
    assert server.client.zcard(f"{{{ledger._prefix}}}:counters") == 6
    assert server.client.hlen(f"{{{ledger._prefix}}}:tokens") == 6
    assert [len(followed(ledger)), ledger.position().number] == [6, 26]


def test_of_a_rate_as_many_uses_are_kept_as_it_allows(ledger: RedisLedger, server: RedisServer) -> None:
    for step in range(50):
        ledger.commit([charge("r", 3, window=10)], None, NOW + step * 10)
    assert server.client.llen(f"{{{ledger._prefix}}}:counter:r") == 3


def test_a_use_that_a_clock_set_back_made_is_kept_as_late_as_the_one_before(ledger: RedisLedger) -> None:
    charges, times = [charge("r", 2, window=60)], (NOW + 100, NOW, NOW + 160, NOW + 70)
    said = [outcome(lambda now=now: ledger.commit(charges, None, now)) for now in times]  # type: ignore[misc]
    assert said == ["done", "done", "done", "limit_exceeded"]


def test_what_is_revoked_again_is_not_removed_for_having_been_long_gone(ledger: RedisLedger) -> None:
    later = NOW + 100 * DAY
    ledger.revoke([of_token("a"), of_token("b")])
    again = of_token("a", revoked_at=later, expires_at=later + 600)
    assert ledger.revoke([again]) == [False]
    assert ledger.revocations() == [replace(of_token("a"), expires_at=later + 600)]


def test_lists_longer_than_one_script_reads(new_ledger: Callable[..., RedisLedger]) -> None:
    ledger = new_ledger(timeout=1)
    names = [f"t-{number:05}" for number in range(12_000)]
    assert all(ledger.revoke([of_token(name) for name in names]))
    assert subjects(ledger.changes(0).entries) == [f"token:{name}" for name in names]
    assert subjects(followed(ledger, limit=5_000)) == [f"token:{name}" for name in names]
    assert ledger.changes(0, 4_000).position.number == 4_000
    assert [entry.token_id for entry in ledger.revocations()] == names[::-1]
    assert len(ledger.revocations(3_000)) == 3_000
    for number in range(1_200):
        ledger.enroll(live(f"t-{number:04}"))
    assert [token.token_id for token in ledger.tokens(NOW, limit=1_100)] == names_down(1_200)[:1_100]
    assert len(ledger.tokens(NOW, limit=5_000)) == 1_200
    ledger.commit([charge(f"c-{number}") for number in range(1_200)], None, NOW)
    assert ledger.purge(NOW + 2 * DAY) == 14_400


def names_down(number: int) -> list[str]:
    """The names of so many tokens, from the last."""
    return [f"t-{each:04}" for each in reversed(range(number))]


def test_a_list_that_changes_while_it_is_read_lacks_nothing(
    new_ledger: Callable[..., RedisLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is revoked again meanwhile moves from the end of the list to its beginning."""
    ledger, other = new_ledger(), new_ledger()
    ledger.revoke([of_token(f"t-{number}") for number in range(10)])
    monkeypatch.setattr(module, "_BATCH", 4)
    read, reads = ledger._read, count()

    def reading(order: str, beyond: int, limit: int) -> Any:
        rows = read(order, beyond, limit)
        if next(reads) == 0:
            other.revoke([of_token("t-0", expires_at=NOW + 900), of_token("new")])
        return rows

    monkeypatch.setattr(ledger, "_read", reading)
    listed = ledger.revocations()
    assert [entry.token_id for entry in listed] == ["new", "t-0", *(f"t-{n}" for n in range(9, 0, -1))]


def test_a_store_that_is_lost_while_it_is_read_is_told_apart(
    ledger: RedisLedger, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.revoke([of_token(f"t-{number}") for number in range(10)])
    before, client = ledger.position(), server.client
    monkeypatch.setattr(module, "_BATCH", 4)
    read, reads = ledger._read, count()

    def reading(order: str, beyond: int, limit: int) -> Any:
        if next(reads) == 1:
            client.delete(*client.scan_iter(f"{{{ledger._prefix}}}:*", count=10_000))
            ledger.revoke([of_token(f"new-{number}") for number in range(9)])
        return read(order, beyond, limit)

    monkeypatch.setattr(ledger, "_read", reading)
    page = ledger.changes(0)
    assert (page.position.store, page.position.number) == (before.store, 4)
    assert subjects(page.entries) == [f"token:t-{number}" for number in range(4)]
    assert ledger.changes(4).position == ledger.position() != before


def test_the_proofs_of_a_flood_are_forgotten_bit_by_bit(ledger: RedisLedger, server: RedisServer) -> None:
    for number in range(30):
        ledger.commit([], proof(f"old-{number}", NOW + 300 + number), NOW)
    for number in range(6):
        ledger.commit([], proof(f"new-{number}", NOW + 900), NOW + 500)
    assert server.client.zcard(f"{{{ledger._prefix}}}:proofs") == 6
    again = [proof(f"old-{number}", NOW + 300 + number) for number in range(30)]
    for each in again:
        assert outcome(lambda each=each: ledger.commit([], each, NOW)) == "proof_replayed"  # type: ignore[misc]


def test_a_call_that_is_refused_writes_nothing(ledger: RedisLedger, server: RedisServer) -> None:
    ledger.commit([charge("full")], proof("seen"), NOW)
    client = server.client

    def everything() -> dict[bytes, bytes]:
        keys = sorted(client.scan_iter(f"{{{ledger._prefix}}}:*", count=10_000))
        return {key: client.dump(key) for key in keys}

    before = everything()
    assert (
        outcome(lambda: ledger.commit([charge("a"), charge("full")], proof("p", NOW + 900), NOW + 400))
        == "limit_exceeded"
    )
    assert outcome(lambda: ledger.commit([charge("a")], proof("seen"), NOW)) == "proof_replayed"
    ledger.probe([charge("a"), charge("r", window=60)], NOW)
    assert everything() == before


@pytest.mark.parametrize(
    "spoiled", ["meta", "order", "revoked", "expiry", "proofs", "counters", "counter:c", "counter:r"]
)
def test_a_key_of_another_kind_is_an_error_and_nothing_is_half_done(
    ledger: RedisLedger, server: RedisServer, spoiled: str
) -> None:
    """Somebody else's data under a key of ours; what raises halfway would not be undone."""
    client, prefix = server.client, f"{{{ledger._prefix}}}:"
    ledger.commit([charge("other")], proof("seen"), NOW)
    ledger.revoke([of_token("old", expires_at=NOW - 400 * DAY)])
    client.delete(prefix + spoiled)
    if spoiled == "counter:c":
        client.sadd(prefix + spoiled, "a")
    else:
        client.set(prefix + spoiled, "not a number")
    keys = sorted(client.scan_iter(f"{prefix}*", count=10_000))
    before = {key: client.dump(key) for key in keys}
    charges = [charge("first"), charge("c"), charge("r", window=60)]
    asks: list[Callable[[], object]] = []
    if spoiled in {"meta", "proofs", "counters", "counter:c", "counter:r"}:
        asks.append(lambda: ledger.commit(charges, proof(), NOW))
    if spoiled in {"meta", "order", "revoked", "expiry"}:
        asks.append(lambda: ledger.revoke([of_token("a"), of_token("b")]))
    for ask in asks:
        with pytest.raises(redis.ResponseError):
            ask()
    assert {key: client.dump(key) for key in sorted(client.scan_iter(f"{prefix}*", count=10_000))} == before


def test_a_store_of_a_newer_version_is_left_alone(ledger: RedisLedger, server: RedisServer) -> None:
    ledger.revoke([of_token("a")])
    server.client.hset(f"{{{ledger._prefix}}}:meta", "version", "2")
    asks: list[Callable[[], object]] = [
        ledger.position,
        ledger.revocations,
        lambda: ledger.changes(0),
        lambda: ledger.revoke([of_token("b")]),
        lambda: ledger.commit([charge()], None, NOW),
        lambda: ledger.probe([charge()], NOW),
        lambda: ledger.enroll(live()),
        lambda: ledger.tokens(NOW),
        lambda: ledger.purge(NOW + DAY),
    ]
    for ask in asks:
        with pytest.raises(ConfigError, match="newer"):
            ask()


def test_the_store_has_another_name_when_it_was_lost(ledger: RedisLedger, server: RedisServer) -> None:
    ledger.revoke([of_token()])
    before = ledger.position()
    client = server.client
    client.delete(*client.scan_iter(f"{{{ledger._prefix}}}:*", count=10_000))
    after = ledger.position()
    assert (after.number, after.store == before.store) == (0, False)
    assert ledger.position() == after


def test_scripts_that_the_server_has_forgotten_are_told_again(
    ledger: RedisLedger, server: RedisServer
) -> None:
    for turn in range(3):
        server.client.script_flush()
        assert (
            outcome(lambda: ledger.commit([charge("c", 2)], None, NOW))
            == ["done", "done", "limit_exceeded"][turn]
        )
    server.client.script_flush()
    assert ledger.revoke([of_token()]) == [True]


def test_a_counter_that_came_again_while_it_was_purged_is_kept(
    ledger: RedisLedger, new_ledger: Callable[..., RedisLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two steps in which spent counters are removed, others may do anything."""
    other, later = new_ledger(), NOW + 2 * DAY
    ledger.commit([charge("c"), charge("d")], None, NOW)
    run = ledger._link.run

    def running(script: Any, *rest: Any, **options: Any) -> Any:
        if script is FORGET_COUNTERS:
            other.purge(later)
            other.commit([charge("c", expires_at=later + 600)], None, later)
        return run(script, *rest, **options)

    monkeypatch.setattr(ledger._link, "run", running)
    assert ledger.purge(later) == 0
    assert outcome(lambda: other.commit([charge("c")], None, later)) == "limit_exceeded"
    assert other.purge(later + 600 + PURGE_MARGIN) == 1


# ── connections ─────────────────────────────────────────────────────────────────────────────────────────────


def test_connections_that_the_server_closed_are_replaced_without_a_failed_call(
    ledger: RedisLedger, server: RedisServer
) -> None:
    barrier = threading.Barrier(4)

    def use() -> None:
        barrier.wait()
        for _ in range(20):
            ledger.position()

    for _ in range(3):
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.client.client_kill_filter(_type="normal", skipme=True) > 0
        ledger.commit([charge("c", 9)], None, NOW)
    assert outcome(lambda: ledger.commit([charge("c", 9, amount=6)], None, NOW)) == "done"
    assert outcome(lambda: ledger.commit([charge("c", 9)], None, NOW)) == "limit_exceeded"


def test_a_connection_that_nobody_used_for_long_is_not_used_again(
    ledger: RedisLedger, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall may have dropped it: a charge sent on it would be lost, and the call with it."""

    def connections() -> int:
        received: int = server.client.info("stats")["total_connections_received"]
        return received - next(asked)

    asked = count()
    ledger.position()
    before = connections()
    ledger.position()
    assert connections() == before
    monkeypatch.setattr(link_module, "_MAX_AGE", 0.0)
    ledger.position()
    assert connections() == before + 1


def test_a_crowd_leaves_few_connections_behind(ledger: RedisLedger, server: RedisServer) -> None:
    before = len(server.client.client_list())
    start = threading.Barrier(40)

    def use(_: int) -> int:
        start.wait()
        return ledger.position().number

    with ThreadPoolExecutor(40) as pool, server.paused():
        said = pool.map(use, range(40))
        time.sleep(0.3)
        server.resume()
        assert set(said) == {0}
    assert len(server.client.client_list()) - before <= 16


def test_closing_gives_back_every_connection(
    new_ledger: Callable[..., RedisLedger], server: RedisServer
) -> None:
    def connected() -> int:
        return len(server.client.client_list()) - 1

    before = connected()
    ledger = new_ledger()
    ledger.wait(0)
    ledger.position()
    assert connected() == before + 2
    ledger.close()
    for _ in range(100):
        if connected() == before:
            break
        time.sleep(0.02)
    assert connected() == before
    ledger.wait(0)
    ledger.position()


def test_an_interrupted_call_does_not_leave_its_answer_to_the_next(
    ledger: RedisLedger, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.revoke([of_token()])
    real = Connection.read_response

    def interrupted(*_: object, **__: object) -> Any:
        raise KeyboardInterrupt

    with server.paused(), ThreadPoolExecutor() as pool:
        monkeypatch.setattr(Connection, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ledger.revocations()
        monkeypatch.setattr(Connection, "read_response", real)
        asked = pool.submit(ledger.token, "t-1")
        time.sleep(0.2)
        server.resume()
        assert asked.result() is None


# ── push ────────────────────────────────────────────────────────────────────────────────────────────────────


def waited(ledger: RedisLedger, timeout: float = 10) -> float:
    """How long it waited, in seconds."""
    start = time.monotonic()
    ledger.wait(timeout)
    return time.monotonic() - start


@pytest.mark.parametrize("away", [False, True])
def test_a_revocation_is_pushed(server: RedisServer, cluster: RedisCluster, away: bool) -> None:
    """Also in a cluster, from another node than the one that is listened to."""
    url, name = (cluster.nodes[0].url, cluster.prefix_on(1)) if away else (server.url, store_name())
    ledger, other = RedisLedger(url, prefix=name), RedisLedger(url, prefix=name)
    ledger.wait(0)
    other.revoke([of_token("a")])
    assert waited(ledger) < 5
    assert waited(ledger, 0.05) >= 0.04  # one message is told once
    other.revoke([of_token("a")])
    assert waited(ledger, 0.05) >= 0.04  # what is no news is not told
    for number in range(50):
        other.revoke([of_token(f"t-{number}")])
    for _ in range(60):
        if waited(ledger, 0.05) >= 0.04:
            break
    else:
        pytest.fail("messages were told without end")
    ledger.close()
    other.close()


def test_stores_do_not_wake_one_another(server: RedisServer, new_ledger: Callable[..., RedisLedger]) -> None:
    ledger = new_ledger()
    ledger.wait(0)
    RedisLedger(server.url, prefix=store_name()).revoke([of_token()])
    assert waited(ledger, 0.05) >= 0.04


def test_who_waits_learns_that_the_connection_broke_and_listens_anew(
    ledger: RedisLedger, new_ledger: Callable[..., RedisLedger], server: RedisServer
) -> None:
    ledger.wait(0)
    server.client.client_kill_filter(_type="pubsub")
    with pytest.raises(redis.ConnectionError):
        ledger.wait(5)
    ledger.wait(0)
    new_ledger().revoke([of_token()])
    assert waited(ledger) < 5


def test_a_connection_that_went_silent_is_found_out(
    new_ledger: Callable[..., RedisLedger], server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall that drops what is idle tells neither side."""
    monkeypatch.setattr(link_module, "_SILENCE", 0.05)
    ledger = new_ledger(timeout=1)
    for _ in range(10):
        ledger.wait(0.03)  # it asks, and is answered
    with server.paused(), pytest.raises(redis.TimeoutError):
        wait_often(ledger)
    ledger.wait(0)


def wait_often(ledger: RedisLedger) -> None:
    """As who follows a ledger does."""
    for _ in range(100):
        ledger.wait(0.05)


def test_threads_that_wait_do_not_take_one_anothers_messages(
    ledger: RedisLedger, new_ledger: Callable[..., RedisLedger]
) -> None:
    ready, woken = threading.Barrier(4), list[float]()

    def listen() -> None:
        ledger.wait(0)
        ready.wait()
        woken.append(waited(ledger))

    threads = [threading.Thread(target=listen) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    new_ledger().revoke([of_token()])
    for thread in threads:
        thread.join()
    assert len(woken) == 3
    assert max(woken) < 5


def test_closing_wakes_who_waits(ledger: RedisLedger) -> None:
    said: list[object] = []
    ready = threading.Event()

    def listen() -> None:
        ledger.wait(0)
        ready.set()
        try:
            said.append(waited(ledger, 30))
        except redis.RedisError as error:
            said.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    assert ready.wait(10)
    ledger.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(said) == 1


# ── clusters ────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_keys_of_a_store_are_in_one_slot(cluster: RedisCluster) -> None:
    for place in (0, 1):
        name = cluster.prefix_on(place)
        ledger = RedisLedger(cluster.nodes[0].url, prefix=name)
        ledger.revoke([of_token("a{b}c"), of_agent()])
        ledger.enroll(live("{x}"))
        ledger.commit([charge("{a}b"), charge("}{", window=60)], proof("{p}"), NOW)
        node = cluster.nodes[place].client
        keys = [key for key in node.scan_iter(count=10_000) if key.startswith(f"{{{name}}}:".encode())]
        assert len(keys) == 10
        assert len({node.cluster("keyslot", key.decode()) for key in keys}) == 1
        ledger.close()


def test_a_ledger_follows_its_keys_to_another_node(cluster: RedisCluster) -> None:
    name = cluster.prefix_on(0)
    ledger = RedisLedger(cluster.nodes[0].url, prefix=name)
    ledger.commit([charge("c", 3)], None, NOW)
    cluster.move(name, 0, 1)
    ledger.commit([charge("c", 3)], None, NOW)
    cluster.move(name, 1, 0)
    ledger.commit([charge("c", 3)], None, NOW)
    assert outcome(lambda: ledger.commit([charge("c", 3)], None, NOW)) == "limit_exceeded"
    ledger.close()


def test_a_ledger_goes_back_to_the_node_of_its_url_when_another_is_gone(tmp_path: Path) -> None:
    """As when a replica has taken the place of the node, which the other nodes know."""
    with RedisCluster(tmp_path) as cluster:
        name = cluster.prefix_on(1)
        ledger = RedisLedger(cluster.nodes[0].url, prefix=name, timeout=5)
        ledger.commit([charge()], None, NOW)
        cluster.lose_second()
        ledger.commit([charge()], None, NOW)  # what the node had is gone with it
        assert outcome(lambda: ledger.commit([charge()], None, NOW)) == "limit_exceeded"
        ledger.close()


def test_nodes_that_send_a_call_to_one_another_are_not_followed_for_ever(tmp_path: Path) -> None:
    with RedisCluster(tmp_path) as cluster:
        name = cluster.prefix_on(0)
        slot, nodes = cluster.slot_of(name), [node.client for node in cluster.nodes]
        ids = [node.cluster("myid").decode() for node in nodes]
        for node, other in zip(nodes, reversed(ids), strict=True):
            node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", other)
        with pytest.raises(redis.RedisError, match="no node"):
            RedisLedger(cluster.nodes[0].url, prefix=name).commit([charge()], None, NOW)


def test_a_cluster_is_not_followed_from_a_socket() -> None:
    with pytest.raises(redis.RedisError, match="host and port"):
        RedisLedger("unix:///run/redis.sock")._link._move("127.0.0.1", 7000)


def test_a_slot_that_nobody_has_is_an_error(cluster: RedisCluster) -> None:
    name = cluster.prefix_on(0)
    slot = cluster.slot_of(name)
    cluster.nodes[0].client.execute_command("CLUSTER", "DELSLOTS", slot)
    try:
        with pytest.raises(redis.RedisError):
            RedisLedger(cluster.nodes[0].url, prefix=name).commit([charge()], None, NOW)
    finally:
        cluster.nodes[0].client.execute_command("CLUSTER", "ADDSLOTS", slot)
        cluster.settle()


# ── rights ──────────────────────────────────────────────────────────────────────────────────────────────────


def allowed(server: RedisServer, user: str, *rules: str) -> str:
    """The URL of a user who may do what the rules say."""
    server.client.execute_command("ACL", "SETUSER", user, "on", ">pw", "~*", "&*", *rules)
    return f"redis://{user}:pw@127.0.0.1:{server.port}/0"


@pytest.mark.parametrize("rule", ["-eval", "-evalsha", "-incrby", "-@write", "-@all"])
def test_a_user_who_may_not_do_everything_changes_nothing(server: RedisServer, rule: str) -> None:
    name = store_name()
    server.client.script_flush()
    ledger = RedisLedger(allowed(server, f"u{name}", "+@all", rule), prefix=name)
    with pytest.raises(redis.RedisError):
        ledger.commit([charge()], proof(), NOW)
    RedisLedger(server.url, prefix=name).commit([charge()], None, NOW)


def test_a_user_who_may_not_push_can_still_revoke(server: RedisServer) -> None:
    name = store_name()
    ledger = RedisLedger(allowed(server, f"u{name}", "+@all", "-publish", "-info"), prefix=name)
    assert ledger.revoke([of_token()]) == [True]
    assert ledger.revoke([of_token()]) == [False]
    assert ledger.position().number == 1
    assert subjects(RedisLedger(server.url, prefix=name).changes(0).entries) == ["token:t-1"]


# ── price ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_charge_costs_little_more_than_a_round_trip(ledger: RedisLedger, server: RedisServer) -> None:
    """Measured in turns, so that what else the machine does weighs on both alike."""
    client, charges = server.client, [charge("digest-of-a-token:tool:use:uses", 10**9)]
    took: tuple[list[float], list[float]] = [], []
    for step in range(1_500):
        for which, call in enumerate((client.ping, lambda: ledger.commit(charges, None, NOW))):
            start = time.perf_counter()
            call()
            if step >= 100:
                took[which].append(time.perf_counter() - start)
    ping, charged = (statistics.median(each) for each in took)
    _log.info("a charge costs %.2f round trips of %.1f µs", charged / ping, ping * 1e6)
    assert charged < 3 * ping


def test_reading_what_is_new_costs_what_is_new(ledger: RedisLedger, server: RedisServer) -> None:
    """Also in memory: what a revocation takes on the server is bounded."""
    client = server.client
    before = client.info("memory")["used_memory"]
    many = [
        of_token(f"0190f3a2-7b4c-7def-8a1b-{number:012}", revoked_at=NOW + 0.123456)
        for number in range(20_000)
    ]
    for first in range(0, len(many), 5_000):
        ledger.revoke(many[first : first + 5_000])
    each = (client.info("memory")["used_memory"] - before) / len(many)
    _log.info("a revocation takes %.0f bytes on the server", each)
    assert each < 800
    client.config_resetstat()
    position = ledger.position()
    ledger.changes(position.number)
    ledger.revocations(10)
    ledger.purge(NOW)
    spent = sum(figures["usec"] for name, figures in client.info("commandstats").items() if "evalsha" in name)
    assert spent < 200_000


def test_a_million_revocations_are_not_read_to_answer_one(ledger: RedisLedger) -> None:
    """The scripts read by index: their sorted sets are asked for a range, never for everything."""
    text = " ".join(script.text for script in _scripts())
    for command in (
        "KEYS '",
        "'KEYS",
        "'SCAN",
        "'HGETALL",
        "'SMEMBERS",
        "'LRANGE",
        "'ZRANGE'",
        "'HKEYS",
        "'HVALS",
    ):
        assert command not in text
    assert ledger.position().number == 0


def _scripts() -> list[Any]:
    from remit.ledger import redis_scripts

    return [each for each in vars(redis_scripts).values() if isinstance(each, redis_scripts.Script)]


# ── secrecy ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_error_and_no_log_shows_the_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also of a server that has no such command as AUTH, and says with what it was called."""
    caplog.set_level(logging.DEBUG)
    with RedisServer(tmp_path, "--rename-command", "AUTH", "") as odd:
        url = odd.url.replace("redis://", f"redis://user:{quote(CANARY, safe='')}@")
        ledger = RedisLedger(url)
        with pytest.raises(redis.RedisError) as caught:
            odd_error(url)
        assert CANARY in str(caught.value)  # so there is something to hide
        for ask in (ledger.position, lambda: ledger.wait(0)):
            with pytest.raises(redis.RedisError) as caught:
                ask()
            error: BaseException | None = caught.value
            while error is not None:
                assert CANARY not in f"{error} {error!r}"
                error = error.__cause__ or error.__context__
    assert CANARY not in caplog.text


def odd_error(url: str) -> None:
    """What redis-py says by itself."""
    redis.Redis.from_url(url, protocol=2).ping()


def test_a_wrong_password_is_an_error_that_does_not_show_it(tmp_path: Path) -> None:
    with RedisServer(tmp_path, password="the-right-one") as server:
        for url in (server.url.replace("the-right-one", "canary"), server.url.replace(":the-right-one@", "")):
            ledger = RedisLedger(url)
            with pytest.raises(redis.AuthenticationError) as caught:
                ledger.commit([charge()], None, NOW)
            assert "canary" not in str(caught.value)
        RedisLedger(server.url).commit([charge()], None, NOW)


def test_the_names_that_are_public() -> None:
    assert remit.open_ledger is open_ledger
    assert Revocation.of("key:k", 1, NEVER, None, None).key == "k"
