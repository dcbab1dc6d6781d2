"""What child processes do in the tests of `RedisLedger`: `python redis_children.py WHAT URL ...`.

One process imports Remit, uses a ledger, and forks as many children as it takes: they inherit its ledger,
connections and all, and start at the same moment.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import remit
from remit.errors import Denied
from remit.ledger import Charge, Revocation
from remit.ledger.redis import RedisLedger
from remit.proof import Proof

NOW = 1_704_067_500


def charge(counter: str, ceiling: int, amount: int = 1, window: int | None = None) -> Charge:
    """One charge."""
    return Charge(counter, amount, ceiling, window, NOW + 600, 0, "tool:use", "it")


def revocation(name: str) -> Revocation:
    """The revocation of a token."""
    return Revocation(token_id=name, revoked_at=NOW, expires_at=NOW + 600)


def said(call: Callable[[], object]) -> str:
    """`done`, or the code of the refusal."""
    try:
        call()
    except Denied as denied:
        return denied.code
    return "done"


def spend(ledger: RedisLedger, charges: list[Charge]) -> str:
    """`done`, or why not."""
    return said(lambda: ledger.commit(charges, None, NOW))


def children(number: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` returns for 0, 1, 2…, each in a process of its own, all started at once."""
    start, go = os.pipe()
    answers = []
    for each in range(number):
        answer, tell = os.pipe()
        answers.append(answer)
        if os.fork() == 0:
            status = 1
            try:
                os.close(go)
                os.read(start, 1)  # it ends when the parent closes its end
                os.write(tell, json.dumps(work(each)).encode())
                status = 0
            finally:
                os._exit(status)
        os.close(tell)
    time.sleep(0.1)
    os.close(go)
    found = []
    for answer in answers:
        with os.fdopen(answer) as lines:
            found.append(json.loads(lines.read()))
    assert [os.wait()[1] for _ in answers] == [0] * number
    return found


def race(ledger: RedisLedger) -> Any:
    """Eight processes after one use, one proof, and the budget of one parent."""

    def run(each: int) -> Any:
        once = [spend(ledger, [charge(f"once-{turn}", 1)]) for turn in range(20)]
        proved = said(lambda: ledger.commit([], Proof("p", NOW + 301), NOW))
        charges = [charge(f"child-{each}", 1_000, 7), charge("parent", 1_000, 7)]
        spent = 7 * [spend(ledger, charges) for _ in range(40)].count("done")
        rate = [spend(ledger, [charge("rate", 10, window=60)]) for _ in range(5)]
        return once, proved, spent, rate.count("done")

    ledger.position()  # so that there is a connection to be inherited
    found = children(8, run)
    ledger.position()
    return found


def inherit(ledger: RedisLedger) -> Any:
    """Children that inherit what listens and what is connected, use it their way and close it."""
    ledger.wait(0)
    ledger.position()

    def run(each: int) -> Any:
        if each % 2:
            ledger.close()
        ledger.wait(0)
        number = ledger.position().number
        ledger.close()
        return number

    found = children(4, run)
    children(1, lambda _: ledger.revoke([revocation("a")]))
    start = time.monotonic()
    ledger.wait(20)  # it still hears what is said
    return found, ledger.position().number, time.monotonic() - start


def revoke(ledger: RedisLedger) -> Any:
    """Twenty processes that revoke at once."""
    ledger.position()
    return children(20, lambda each: ledger.revoke([revocation(f"t-{each}"), revocation("shared")]))


def killed(ledger: RedisLedger) -> Any:
    """Fifty writers, each killed in the middle of something; what they were told was done."""
    chance = random.Random(7)
    told: list[str] = []
    for turn in range(50):
        answer, tell = os.pipe()
        child = os.fork()
        if child == 0:
            write_for_ever(ledger, turn, tell)
        os.close(tell)
        lines = os.read(answer, 1_000_000)  # until it has begun
        time.sleep(chance.random() * 0.015)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(answer, "rb") as rest:
            told += (lines + rest.read()).decode().splitlines()
    return told


def write_for_ever(ledger: RedisLedger, turn: int, tell: int) -> None:
    """Charge and revoke, and tell what was done."""
    for step in count():
        name = f"{turn}-{step}"
        charges = [charge("sum", 10**9), charge(f"own-{turn}", 10**9), charge("few", 25)]
        if spend(ledger, charges) != "done":
            ledger.commit(charges[:2], Proof(name, NOW + 301), NOW)
        os.write(tell, f"c {name}\n".encode())
        ledger.revoke([revocation(name), revocation(f"{name}+")])
        os.write(tell, f"r {name}\n".encode())


def follow(ledger: RedisLedger) -> Any:
    """Eight processes whose guards are asked all the time; how long after a revocation each denied."""
    issuer = remit.Issuer.generate("https://auth.acme.example")
    credentials = [issuer.issue(agent="a", capabilities=["tool:use"], ttl="1h") for _ in range(5)]

    def denied_at(guard: remit.Guard, credential: remit.Credential) -> float:
        while True:
            answer = said(lambda: guard.check(credential, "tool:use", {}))
            if answer == "token_revoked":
                return time.monotonic()
            if answer not in {"done", "revocations_stale"}:
                raise AssertionError(answer)
            time.sleep(0.002)

    def run(each: int) -> Any:
        guard = remit.Guard([issuer.anchor], ledger=ledger)
        if each == 8:
            at = []
            time.sleep(1.0)  # the others are up and listening
            for credential in credentials:
                time.sleep(0.15)
                at.append(time.monotonic())
                guard.revoke(credential.token_id)
            return at
        return [denied_at(guard, credential) for credential in credentials]

    *others, revoked = children(9, run)
    return [[seen - at for seen, at in zip(other, revoked, strict=True)] for other in others]


if __name__ == "__main__":
    work = {"race": race, "inherit": inherit, "revoke": revoke, "killed": killed, "follow": follow}[
        sys.argv[1]
    ]
    sys.stdout.write(json.dumps(work(RedisLedger(sys.argv[2], timeout=10))))
