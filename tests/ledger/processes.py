"""What every ledger that outlives a process must bear: the suite that the tests of each such ledger inherit.

A test class derives from `ProcessContract` and gives the URL of an empty ledger as the fixture `url`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

import remit
from remit.ledger import open_ledger

WORKER: Final = Path(__file__).with_name("worker.py")
PATIENCE: Final = 60
"""Seconds after which a process that does not answer is a failure."""

Start = Callable[..., "Worker"]


class Worker:
    """A process that does one job when it is told to."""

    def __init__(self, job: str, url: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), job, url, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line != "ready\n":
            _, errors = self.process.communicate(timeout=PATIENCE)
            pytest.fail(f"the worker said {line!r}\n{errors}")

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        said, errors = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, errors
        return json.loads(said)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def at_once(workers: Sequence[Worker]) -> list[Any]:
    """What processes find out that start at the same moment."""
    for worker in workers:
        worker.wait_until_ready()
    for worker in workers:
        worker.go()
    return [worker.result() for worker in workers]


class ProcessContract:
    """Inherit this, and override `url`."""

    within: ClassVar[float] = 1.0
    """Seconds after which a revocation is refused in all other processes."""

    @pytest.fixture
    def url(self) -> str:
        """The URL of an empty ledger."""
        raise NotImplementedError

    @pytest.fixture
    def start(self, url: str) -> Iterator[Start]:
        """Start a worker on the ledger."""
        started: list[Worker] = []

        def new(job: str, *arguments: str) -> Worker:
            started.append(Worker(job, url, *arguments))
            return started[-1]

        yield new
        for worker in started:
            worker.stop()

    def test_of_8_processes_one_gets_each_use_and_one_the_proof(self, start: Start) -> None:
        results = at_once([start("once") for _ in range(8)])
        for said in zip(*results, strict=True):
            assert said.count("done") == 1, said
        assert {code for said in results for code in said[:-1]} == {"done", "limit_exceeded"}
        assert {said[-1] for said in results} == {"done", "proof_replayed"}

    def test_siblings_in_processes_spend_what_their_parent_has_and_no_more(self, start: Start) -> None:
        spent = at_once([start("spend", str(number)) for number in range(4)])
        assert sum(spent) == 994  # 142 times 7, the most that fits into 1,000

    def test_of_20_processes_that_revoke_all_are_heard(self, start: Start, url: str) -> None:
        results = at_once([start("revoke", f"t-{number}") for number in range(20)])
        assert [own for own, _ in results] == [True] * 20
        assert sum(shared for _, shared in results) == 1
        ledger = open_ledger(url)
        revoked = sorted(str(entry.token_id) for entry in ledger.revocations())
        assert revoked == sorted([f"t-{number}" for number in range(20)] + ["shared"])
        assert len(ledger.changes(0).entries) == 21
        ledger.close()

    def test_writers_that_are_killed_50_times_lose_nothing_and_overspend_nothing(self, start: Start) -> None:
        [left] = at_once([start("killed", "50")])
        assert left["lost revocations"] == []
        assert left["uses that were had twice"] == 0
        # Each of the 100 writers may have been killed between its last charge and saying so.
        assert left["acknowledged charges"] <= left["charges"] <= left["acknowledged charges"] + 100
        assert left["uses of the rate"] <= 5
        assert left["room in the rate"] == "limit_exceeded"
        assert left["acknowledged revocations"] >= 50

    def test_a_revocation_is_refused_in_8_other_processes(
        self, start: Start, url: str, tmp_path: Path, record_property: Callable[[str, object], None]
    ) -> None:
        issuer = remit.Issuer.generate("https://auth.acme.example")
        credential = issuer.issue(agent="a", capabilities=["tool:use"], ttl="1h")
        issuer.anchor.save(tmp_path / "anchor.json")
        credential.save(tmp_path / "credential.json")
        ledger = open_ledger(url)
        guard = remit.Guard(trust=[issuer.anchor], ledger=ledger)
        workers = [start("watch", str(tmp_path)) for _ in range(8)]
        for worker in workers:
            worker.wait_until_ready()
        for worker in workers:
            worker.go()
        time.sleep(0.1)  # all of them are checking now
        guard.revoke(credential.token_id)
        done = time.monotonic()
        results = [worker.result() for worker in workers]
        ledger.close()
        assert [code for code, _ in results] == ["token_revoked"] * 8
        latest = max(moment for _, moment in results) - done
        record_property("seconds until the last process refused", latest)
        assert latest <= self.within
