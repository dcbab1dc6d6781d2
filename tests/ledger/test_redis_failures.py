"""What a Redis server does to a ledger when it stops, hangs, forgets, refuses or is not what it should be."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import remit
from remit.errors import ConfigError
from remit.ledger.redis import RedisLedger

from .contract import NOW, charge, live, of_token, outcome, proof
from .outages import OutageContract, OutageWorld, until, verdict
from .redis_server import Proxy, RedisServer

pytestmark = pytest.mark.servers


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which has everything on disk before it answers."""
    with RedisServer(tmp_path / "server", persistent=True) as running:
        yield running


class World(OutageWorld):
    """Guards on one Redis server."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self.server = server
        self.ledgers: list[RedisLedger] = []

    def ledger(self, *, timeout: int = 10) -> RedisLedger:
        self.ledgers.append(RedisLedger(self.server.url, timeout=timeout))
        return self.ledgers[-1]

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server.start()

    def kill(self) -> None:
        self.server.kill()

    def hanging(self) -> AbstractContextManager[None]:
        return self.server.paused()


@pytest.fixture
def world(server: RedisServer) -> Iterator[World]:
    """The world around the server."""
    made = World(server)
    yield made
    for ledger in made.ledgers:
        ledger.close()


class TestOutages(OutageContract):
    """What every remote ledger does."""


# ── gone ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_under_load_kill_9_loses_nothing_that_was_answered(world: World) -> None:
    """Whatever was answered is there; whatever was not counts once or not at all, never twice."""
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
            except redis.RedisError:
                failed[number] += 1
            else:
                told[number].append(name)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        time.sleep(0.2)
        world.server.restart(killed=True)
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    ledger = world.ledger()
    kept = {entry.token_id for entry in ledger.revocations()}
    assert all(told)
    assert kept >= {name for names in told for name in names}
    client = world.server.client
    total, own = (
        int(client.get("{remit}:counter:sum")),
        [int(client.get(f"{{remit}}:counter:own-{number}")) for number in range(4)],
    )
    assert total == sum(own)
    assert client.zcard("{remit}:proofs") == total
    for number in range(4):
        assert charged[number] <= own[number] <= charged[number] + failed[number]
    assert len(ledger.changes(0).entries) == len(kept) == ledger.position().number


# ── forgetful ───────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_guard_knew_stays_revoked_when_the_server_comes_back_empty(world: World) -> None:
    guard = world.guard()
    before, after, good = world.issue(), world.issue(), world.issue()
    guard.check(good, "tool:use", {})
    world.ledger().revoke([of_token(before.token_id, expires_at=int(time.time()) + 3_600)])
    until(lambda: verdict(lambda: guard.check(before, "tool:use", {})) == "token_revoked")
    world.server.stop()
    shutil.rmtree(world.server.folder)
    world.server.start()
    assert world.ledger().revocations() == []
    # The new store's first change has the number that the guard has read up to in the old one.
    world.ledger().revoke([of_token(after.token_id, expires_at=int(time.time()) + 3_600)])
    until(lambda: verdict(lambda: guard.check(after, "tool:use", {})) == "token_revoked")
    assert verdict(lambda: guard.check(before, "tool:use", {})) == "token_revoked"
    assert verdict(lambda: guard.check(good, "tool:use", {})) == "allowed"


@pytest.mark.parametrize("lost", [1, 3])
def test_numbers_that_were_given_away_again_hide_nothing(world: World, lost: int) -> None:
    """The server comes back as it was a moment ago; others revoke before the guard looks again."""
    guard = world.guard()
    tokens = [world.issue() for _ in range(6)]
    expires_at = int(time.time()) + 3_600
    ledger = world.ledger()
    ledger.revoke([of_token(tokens[0].token_id, expires_at=expires_at)])
    past = world.server.folder / "appendonly.aof"
    shutil.copy(past, past.with_suffix(".old"))
    for token in tokens[1 : 1 + lost]:
        ledger.revoke([of_token(token.token_id, expires_at=expires_at)])
    until(lambda: verdict(lambda: guard.check(tokens[lost], "tool:use", {})) == "token_revoked")
    view = guard._enforcement.view
    position = view._position
    view.close()  # it sees nothing of what comes now
    world.server.kill()
    shutil.copy(past.with_suffix(".old"), past)
    world.server.start()
    for _ in range(lost):
        ledger.revoke([of_token(tokens[5].token_id, expires_at=expires_at), of_token(f"other-{_}")])
    assert ledger.position().number >= position.number
    view.catch_up()
    for token in (*tokens[: 1 + lost], tokens[5]):
        assert verdict(lambda token=token: guard.check(token, "tool:use", {})) == "token_revoked"  # type: ignore[misc]


# ── hung ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_that_is_lost_is_not_asked_for_again(world: World) -> None:
    """Whether it was done is not known; doing it again might charge twice."""
    proxy = Proxy(world.server)
    ledger = RedisLedger(f"redis://127.0.0.1:{proxy.port}", timeout=1)
    ledger.commit([charge("c", 10)], None, NOW)
    ledger.revoke([of_token("before")])  # the server knows the scripts now: their first words are their last
    asks: list[Callable[[], object]] = [
        lambda: ledger.commit([charge("c", 10)], proof(), NOW),
        lambda: ledger.revoke([of_token()]),
    ]
    for ask in asks:
        ledger.position()  # it is connected: what is lost is the answer to the question itself
        proxy.swallows = True
        with pytest.raises(redis.ConnectionError):
            ask()
        proxy.swallows = False
    assert world.server.client.get("{remit}:counter:c") == b"2"
    assert outcome(lambda: ledger.commit([], proof(), NOW)) == "proof_replayed"
    assert ledger.position().number == 2
    ledger.close()
    proxy.close()


# ── refusing ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_replica_takes_no_charges(world: World, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "replica", "--replicaof", "127.0.0.1", str(world.server.port)) as replica:
        ledger = RedisLedger(replica.url)
        until(lambda: replica.client.info("replication")["master_link_status"] == "up")
        world.ledger().revoke([of_token()])
        for ask in (lambda: ledger.commit([charge()], None, NOW), lambda: ledger.revoke([of_token("b")])):
            with pytest.raises(redis.ResponseError, match="READONLY"):
                ask()
        until(lambda: len(ledger.revocations()) == 1)
        assert any("replica" in found for found in ledger.examine())
        assert any("replicas" in found for found in world.ledger().examine())
        ledger.close()


def test_a_server_that_became_a_replica_is_left_for_the_one_that_took_its_place(
    world: World, tmp_path: Path
) -> None:
    """Both had the same name, and the connection to the old one is as good as ever."""
    proxy = Proxy(world.server)
    ledger = RedisLedger(f"redis://127.0.0.1:{proxy.port}")
    ledger.commit([charge("c", 3)], None, NOW)
    with RedisServer(tmp_path / "other") as other:
        world.server.client.replicaof("127.0.0.1", other.port)
        proxy.server = other
        with pytest.raises(redis.ResponseError, match="READONLY"):
            ledger.commit([charge("c", 3)], None, NOW)
        ledger.commit([charge("c", 3)], None, NOW)
        assert other.client.get("{remit}:counter:c") == b"1"
    ledger.close()
    proxy.close()


def test_a_server_whose_memory_is_full_charges_nothing_and_forgets_nothing(world: World) -> None:
    ledger, client = world.ledger(), world.server.client
    ledger.revoke([of_token("a")])
    client.config_set("maxmemory", 1)
    asks: list[Callable[[], object]] = [
        lambda: ledger.commit([charge("c"), charge("r", window=60)], proof(), NOW),
        lambda: ledger.revoke([of_token("b"), of_token("c")]),
        lambda: ledger.enroll(live()),
    ]
    for ask in asks:
        with pytest.raises(redis.RedisError):
            ask()
    client.config_set("maxmemory", 0)
    assert ledger.revocations() == [of_token("a")]
    assert (ledger.position().number, ledger.token("t-1")) == (1, None)
    assert outcome(lambda: ledger.commit([charge("c"), charge("r", window=60)], proof(), NOW)) == "done"


def test_a_server_that_is_busy_with_a_script_is_not_waited_for(world: World) -> None:
    guard = world.guard()
    limited = world.issue(limits={"tool:use": remit.Limit(max_uses=100)})
    guard.check(limited, "tool:use", {})
    client = world.server.client
    client.config_set("lua-time-limit", 50)
    busy = threading.Thread(target=_run_for_ever, args=(world.server,))
    busy.start()
    time.sleep(0.2)
    assert verdict(lambda: guard.check(limited, "tool:use", {})) == "ledger_unavailable"
    client.script_kill()
    busy.join()
    assert verdict(lambda: guard.check(limited, "tool:use", {})) == "allowed"


def _run_for_ever(server: RedisServer) -> None:
    with pytest.raises(redis.ResponseError):
        server.client.eval("while true do end", 0)


# ── what is wrong with a deployment ─────────────────────────────────────────────────────────────────────────


def findings(url: str) -> str:
    ledger = RedisLedger(url)
    try:
        return "\n".join(ledger.examine())
    finally:
        ledger.close()


def test_a_server_as_it_should_be_is_not_found_fault_with(server: RedisServer) -> None:
    assert findings(server.url) == ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("appendonly", "no", "memory alone"),
        ("appendfsync", "everysec", "appendfsync always"),
        ("appendfsync", "no", "appendfsync always"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("maxmemory-policy", "volatile-ttl", "noeviction"),
    ],
)
def test_what_makes_a_server_forget_is_found(server: RedisServer, name: str, value: str, words: str) -> None:
    server.client.config_set(name, value)
    found = findings(server.url)
    assert words in found
    assert len(found.splitlines()) == 1


def test_snapshots_alone_are_found_wanting(server: RedisServer) -> None:
    server.client.config_set("appendonly", "no")
    server.client.config_set("save", "900 1")
    assert "last snapshot" in findings(server.url)


def test_a_server_that_shows_no_settings_is_said_to(server: RedisServer) -> None:
    server.client.execute_command("ACL", "SETUSER", "u", "on", ">pw", "~*", "&*", "+@all", "-config", "-role")
    assert "CONFIG GET" in findings(f"redis://u:pw@127.0.0.1:{server.port}")


def test_a_server_that_does_not_answer_cannot_be_examined() -> None:
    with pytest.raises(redis.ConnectionError):
        RedisLedger("redis://127.0.0.1:1").examine()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://10.0.0.1", ["without TLS", "without a password"]),
        ("redis://cache.example", ["without TLS", "without a password"]),
        ("redis://:pw@cache.example", ["without TLS"]),
        ("rediss://:pw@cache.example", []),
        ("rediss://cache.example?ssl_certfile=c.pem&ssl_keyfile=k.pem", []),
        ("rediss://cache.example", ["without a password"]),
        ("rediss://:pw@cache.example?ssl_cert_reqs=none", ["not checked"]),
        ("rediss://:pw@cache.example?ssl_check_hostname=false", ["not checked"]),
        ("redis://localhost", []),
        ("redis://127.0.0.9", []),
        ("redis://[::1]", []),
        ("unix:///run/redis.sock", []),
    ],
)
def test_a_server_that_anybody_can_reach_is_found(
    url: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = RedisLedger(url)
    answers = {"CONFIG": [b"", b""], "ROLE": [b"master", 0, []]}
    monkeypatch.setattr(ledger._link, "ask", lambda command, *_: answers[command])
    reached = [found for found in ledger.examine() if "TLS" in found or "network" in found]
    assert len(reached) == len(words)
    assert all(word in found for word, found in zip(words, reached, strict=True))


# ── TLS, and sockets ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


def test_tls_is_used_and_the_certificate_checked(world: World, certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    proxy = Proxy(world.server, context)
    ledger = RedisLedger(f"rediss://127.0.0.1:{proxy.port}/0?ssl_ca_certs={certificate[0]}")
    ledger.wait(0)
    ledger.revoke([of_token(f"t-{number}") for number in range(3_000)])
    ledger.wait(5)
    assert len(ledger.revocations()) == 3_000
    ledger.close()
    for wrong in (
        f"rediss://127.0.0.1:{proxy.port}",
        f"rediss://localhost:{proxy.port}/0?ssl_ca_certs={certificate[0]}",  # it is not made out to that name
        f"redis://127.0.0.1:{proxy.port}",
        f"rediss://127.0.0.1:{world.server.port}/0?ssl_ca_certs={certificate[0]}",
    ):
        with pytest.raises(redis.RedisError):
            RedisLedger(wrong, timeout=1).position()
    proxy.close()


def test_a_server_at_a_socket(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "s", "--unixsocket", str(tmp_path / "s" / "sock")):
        ledger = RedisLedger(f"unix://{tmp_path / 's' / 'sock'}")
        ledger.wait(0)
        ledger.revoke([of_token()])
        ledger.wait(5)
        assert ledger.revocations() == [of_token()]
        ledger.close()


def test_certificates_that_are_not_there_are_named_when_it_connects(world: World, tmp_path: Path) -> None:
    ledger = RedisLedger(f"rediss://127.0.0.1:{world.server.port}/0?ssl_ca_certs={tmp_path / 'missing.pem'}")
    with pytest.raises((redis.RedisError, OSError)):
        ledger.position()
    with pytest.raises(ConfigError):
        RedisLedger(f"rediss://127.0.0.1:{world.server.port}/0?ssl_cert_reqs=sometimes")
