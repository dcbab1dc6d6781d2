"""What every remote ledger does when its server stops, is killed or hangs, as guards see it.

A test module inherits `OutageContract` and gives it a `world`: an `OutageWorld` whose methods reach its server.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import remit
from remit.errors import Denied
from remit.ledger import RemoteLedger

from .contract import NOW, charge, live, of_token, outcome, proof


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


class OutageWorld(ABC):
    """An issuer, and guards whose ledger is on one server, on one clock that can be set ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.issuer = remit.Issuer.generate("https://auth.acme.example")

    @abstractmethod
    def ledger(self, *, timeout: int = 10) -> RemoteLedger:
        """Another ledger object for the same store."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the server in an orderly way."""

    @abstractmethod
    def start(self) -> None:
        """Start it again."""

    @abstractmethod
    def kill(self) -> None:
        """Kill it with -9."""

    @abstractmethod
    def hanging(self) -> AbstractContextManager[None]:
        """Have it hang for a block."""

    def clock(self) -> float:
        return time.time() + self.ahead

    def guard(self, *, timeout: int = 1, **options: Any) -> remit.Guard:
        usual: dict[str, Any] = {
            "trust": [self.issuer.anchor],
            "clock": self.clock,
            "ledger": self.ledger(timeout=timeout),
        }
        return remit.Guard(**{**usual, **options})

    def issue(self, capability: str = "tool:use", **options: Any) -> remit.Credential:
        usual: dict[str, Any] = {"agent": "a", "capabilities": [capability], "ttl": "1h"}
        return self.issuer.issue(**{**usual, **options})


class OutageContract:
    """The tests."""

    def test_without_a_server_limits_are_denied_and_all_else_lives_until_its_bound(
        self, world: OutageWorld
    ) -> None:
        guard = world.guard(timeout=10, fresh={"records:read": "5m", "*": "1m"})
        limited = world.issue(limits={"tool:use": remit.Limit(max_uses=100)})
        plain, read = world.issue(), world.issue("records:read")
        tries: list[tuple[Callable[[], object], str, str, str]] = [
            # at once, after 61 seconds, when it is back
            (
                lambda: guard.check(limited, "tool:use", {}),
                "ledger_unavailable",
                "revocations_stale",
                "allowed",
            ),
            (lambda: guard.check(plain, "tool:use", {}), "allowed", "revocations_stale", "allowed"),
            (lambda: guard.check(read, "records:read", {}), "allowed", "allowed", "allowed"),
            (lambda: guard.revoke("t"), "ledger_unavailable", "ledger_unavailable", "allowed"),
        ]
        assert [verdict(call) for call, *_ in tries[:3]] == ["allowed"] * 3
        world.stop()
        started = time.monotonic()
        assert [verdict(call) for call, *_ in tries] == [said for _, said, _, _ in tries]
        world.ahead = 61
        assert [verdict(call) for call, *_ in tries] == [said for _, _, said, _ in tries]
        world.ahead = 301
        assert verdict(tries[2][0]) == "revocations_stale"
        assert time.monotonic() - started < 8  # nothing waited for a server that refuses connections
        world.start()
        until(lambda: verdict(tries[1][0]) == "allowed")
        assert [verdict(call) for call, *_ in tries] == [said for _, _, _, said in tries]

    def test_a_guard_that_starts_before_its_server_denies_until_it_is_there(self, world: OutageWorld) -> None:
        world.stop()
        guard, credential = world.guard(), world.issue()
        assert verdict(lambda: guard.check(credential, "tool:use", {})) == "revocations_stale"
        world.start()
        until(lambda: verdict(lambda: guard.check(credential, "tool:use", {})) == "allowed")

    def test_what_was_charged_and_revoked_is_there_after_kill_9(self, world: OutageWorld) -> None:
        ledger, token = world.ledger(), live()
        ledger.revoke([of_token()])
        ledger.commit([charge("c", 2), charge("r", 1, window=60)], proof(), NOW)
        ledger.enroll(token)
        before = ledger.position()
        world.kill()
        world.start()
        after = ledger.position()
        assert after.number == before.number
        assert after.store != before.store  # so that guards read it all again
        assert ledger.revocations() == [of_token()]
        assert ledger.token("t-1") == token
        assert outcome(lambda: ledger.commit([], proof(), NOW)) == "proof_replayed"
        assert outcome(lambda: ledger.commit([charge("r", 1, window=60)], None, NOW)) == "limit_exceeded"
        assert outcome(lambda: ledger.commit([charge("c", 2)], None, NOW)) == "done"
        assert outcome(lambda: ledger.commit([charge("c", 2)], None, NOW)) == "limit_exceeded"

    def test_calls_are_denied_in_time_while_the_server_hangs(self, world: OutageWorld) -> None:
        guard = world.guard()
        limited = world.issue(limits={"tool:use": remit.Limit(max_uses=100)})
        plain = world.issue()
        until(lambda: verdict(lambda: guard.check(limited, "tool:use", {})) == "allowed")
        with world.hanging():
            started = time.monotonic()
            assert verdict(lambda: guard.check(limited, "tool:use", {})) == "ledger_unavailable"
            assert verdict(lambda: guard.revoke("t")) == "ledger_unavailable"
            assert time.monotonic() - started < 10  # two time-outs of one second, on a busy machine
            assert verdict(lambda: guard.check(plain, "tool:use", {})) == "allowed"
            world.ahead = 61
            started = time.monotonic()
            assert verdict(lambda: guard.check(plain, "tool:use", {})) == "revocations_stale"
            assert time.monotonic() - started < 10
        until(lambda: verdict(lambda: guard.check(plain, "tool:use", {})) == "allowed")
        until(lambda: verdict(lambda: guard.check(limited, "tool:use", {})) == "allowed")

    async def test_a_loop_keeps_ticking_while_the_server_hangs(self, world: OutageWorld) -> None:
        guard = world.guard(timeout=2)
        limited = world.issue("slow:use", limits={"slow:use": remit.Limit(max_uses=100)})

        @remit.requires_capability("slow:use")
        async def use() -> str:
            return "used"

        with guard.acting_as(limited):
            assert await use() == "used"
            with world.hanging():
                longest, last, calls = 0.0, time.monotonic(), [asyncio.ensure_future(use()) for _ in range(3)]
                while not all(call.done() for call in calls):
                    await asyncio.sleep(0.01)
                    longest, last = max(longest, time.monotonic() - last), time.monotonic()
                said = await asyncio.gather(*calls, return_exceptions=True)
                assert [getattr(each, "code", each) for each in said] == ["ledger_unavailable"] * 3
                assert longest < 1  # the calls took two seconds
            assert await use() == "used"
