"""Many processes on one Redis server: races, forks, writers that are killed, and revocations that travel."""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remit.ledger.redis import RedisLedger

from .contract import NOW, charge, outcome
from .redis_server import RedisServer

pytestmark = pytest.mark.servers
_log = logging.getLogger("figures")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which has everything on disk before it answers."""
    with RedisServer(tmp_path / "server", persistent=True) as running:
        yield running


def children(what: str, server: RedisServer) -> Any:
    """What the processes tell."""
    program = Path(__file__).with_name("redis_children.py")
    said = subprocess.run(
        [sys.executable, "-W", "error", str(program), what, server.url],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ},
    )
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)


def test_eight_processes_that_inherit_one_ledger_never_get_more_than_there_is(server: RedisServer) -> None:
    found = children("race", server)
    for turn in range(20):
        said = [once[turn] for once, *_ in found]
        assert (said.count("done"), said.count("limit_exceeded")) == (1, 7)
    proved = [proved for _, proved, *_ in found]
    assert (proved.count("done"), proved.count("proof_replayed")) == (1, 7)
    assert sum(spent for _, _, spent, _ in found) == 994  # 142 times 7, the most that fits
    assert sum(uses for *_, uses in found) == 10


def test_children_leave_the_connections_of_their_parent_alone(server: RedisServer) -> None:
    found, number, waited = children("inherit", server)
    assert (found, number) == ([0] * 4, 1)
    assert waited < 10


def test_of_twenty_revoking_processes_all_twenty_are_there(server: RedisServer) -> None:
    found = children("revoke", server)
    assert [own for own, _ in found] == [True] * 20
    assert [shared for _, shared in found].count(True) == 1
    ledger = RedisLedger(server.url)
    assert {entry.token_id for entry in ledger.revocations()} == {"shared", *(f"t-{n}" for n in range(20))}
    assert len(ledger.changes(0).entries) == ledger.position().number == 21
    ledger.close()


def test_fifty_writers_killed_in_the_middle_lose_nothing_and_overspend_nothing(server: RedisServer) -> None:
    told = children("killed", server)
    charged = [line[2:] for line in told if line.startswith("c ")]
    revoked = [line[2:] for line in told if line.startswith("r ")]
    assert len({name.partition("-")[0] for name in charged}) > 40  # nearly all got to write
    ledger = RedisLedger(server.url)
    kept = {entry.token_id for entry in ledger.revocations()}
    assert kept >= {*revoked, *(f"{name}+" for name in revoked)}
    assert {name.removesuffix("+") for name in kept if name} == {
        name for name in kept if name and not name.endswith("+")
    }
    assert len(ledger.changes(0).entries) == len(kept) == ledger.position().number
    client = server.client
    total = int(client.get("{remit}:counter:sum"))
    own = {key: int(client.get(key)) for key in client.scan_iter("{remit}:counter:own-*", count=10_000)}
    assert total == sum(own.values())
    assert len(charged) <= total <= len(charged) + 50  # of each, at most the last charge was not told
    assert int(client.get("{remit}:counter:few")) == 25
    assert client.zcard("{remit}:proofs") == total - 25
    assert outcome(lambda: ledger.commit([charge("few", 25)], None, NOW)) == "limit_exceeded"
    ledger.close()


def test_a_revocation_is_seen_by_eight_other_processes(server: RedisServer) -> None:
    found = children("follow", server)
    assert len(found) == 8
    every = [lag for lags in found for lag in lags]
    _log.info(
        "seconds from a revocation to its denial: %.4f, at most %.4f", statistics.median(every), max(every)
    )
    assert max(every) < 1  # a tenth of it, where the machine has nothing else to do
    assert statistics.median(every) < 0.1
