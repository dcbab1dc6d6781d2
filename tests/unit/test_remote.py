"""Ledgers behind a network: followed from a thread, and never waited for on an event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

import remit

from .support import World, refusal, verdict


class Remote(remit.MemoryLedger):
    """A ledger that is reached over a wire, which may be slow or cut."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = False
        self.held = threading.Event()
        self.held.set()
        self.pushed = threading.Event()

    def _cross(self) -> None:
        if not self.held.wait(5):
            raise TimeoutError("held")
        if self.cut:
            raise ConnectionError("cut")

    def position(self) -> Any:
        self._cross()
        return super().position()

    def revoke(self, revocations: Any) -> Any:
        self._cross()
        news = super().revoke(revocations)
        self.pushed.set()
        return news

    def commit(self, charges: Any, proof: Any, now: float) -> None:
        self._cross()
        super().commit(charges, proof, now)

    def wait(self, timeout: float) -> None:
        """Wait for a push."""
        self._cross()
        self.pushed.wait(timeout)
        self.pushed.clear()


@pytest.fixture
def remote() -> Iterator[Remote]:
    ledger = Remote()
    yield ledger
    ledger.held.set()


def eventually(found: Any, seconds: float = 5) -> None:
    """Wait until `found` says so."""
    deadline = time.monotonic() + seconds
    while not found():
        if time.monotonic() > deadline:
            pytest.fail("it never came true")
        time.sleep(0.005)


def test_a_push_is_heard_by_every_guard(world: World, remote: Remote) -> None:
    guards = [world.new_guard(ledger=remote, clock=lambda: world.clock.now) for _ in range(3)]
    credential = world.issue()
    calls = [partial(guard.check, credential, "tool:use", {}) for guard in guards]
    assert [verdict(call) for call in calls] == ["allowed"] * 3
    guards[0].revoke(credential.token_id)
    assert verdict(calls[0]) == "token_revoked"
    eventually(lambda: [verdict(call) for call in calls] == ["token_revoked"] * 3, 0.9)


def test_cut_off_limits_are_denied_and_the_rest_lives_until_its_bound(world: World, remote: Remote) -> None:
    guard = world.new_guard(ledger=remote, fresh="1m")
    free, limited = world.issue(ttl="1h"), world.issue(ttl="1h", limits={"tool:use": remit.Limit(max_uses=2)})
    guard.check(limited, "tool:use", {})
    remote.cut = True
    assert verdict(lambda: guard.check(limited, "tool:use", {})) == "ledger_unavailable"
    assert verdict(lambda: guard.check(free, "tool:use", {})) == "allowed"
    assert refusal(lambda: guard.revoke(free.token_id)).code == "ledger_unavailable"
    world.clock.now += 61
    assert verdict(lambda: guard.check(free, "tool:use", {})) == "revocations_stale"
    assert verdict(lambda: guard.check(limited, "tool:use", {})) == "revocations_stale"
    remote.cut = False
    eventually(lambda: verdict(lambda: guard.check(free, "tool:use", {})) == "allowed")
    assert verdict(lambda: guard.check(limited, "tool:use", {})) == "allowed"
    assert verdict(lambda: guard.check(limited, "tool:use", {})) == "limit_exceeded"


def test_a_clock_that_jumps_while_the_ledger_answers_makes_nothing_stale(
    world: World, remote: Remote
) -> None:
    guard, credential = world.new_guard(ledger=remote, fresh="5s"), world.issue(ttl="7d")
    for jump in (0, 3600, 86_400, -3600):
        world.clock.now += jump
        assert verdict(lambda: guard.check(credential, "tool:use", {})) == "allowed"


def test_what_a_guard_knew_outlives_a_ledger_that_lost_it(world: World, remote: Remote) -> None:
    guard, revoked, other = world.new_guard(ledger=remote), world.issue(), world.issue()
    guard.check(other, "tool:use", {})
    for credential in (world.issue(), world.issue(), revoked):
        guard.revoke(credential.token_id)
    eventually(lambda: remote.pushed.is_set() is False)
    with remote._lock:
        remote._revoked.clear()
        remote._count, remote._store = 0, "restored empty"
    guard.revoke("something-new")
    assert verdict(lambda: guard.check(revoked, "tool:use", {})) == "token_revoked"
    remote.revoke([remit.Revocation(revoked_at=1, expires_at=2**33, token_id=other.token_id)])
    eventually(lambda: verdict(lambda: guard.check(other, "tool:use", {})) == "token_revoked")


async def ticks(until: asyncio.Event) -> int:
    """How often the event loop came round."""
    count = 0
    while not until.is_set():
        await asyncio.sleep(0.005)
        count += 1
    return count


async def test_an_event_loop_does_not_wait_for_the_ledger(world: World, remote: Remote) -> None:
    guard = world.new_guard(ledger=remote)
    credential = world.issue(limits={"tool:use": remit.Limit(max_uses=5)})

    @remit.requires_capability("tool:use")
    async def tool() -> str:
        return "done"

    @remit.requires_capability("tool:use")
    async def stream() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def both() -> list[Any]:
        with guard.acting_as(credential):
            return [await tool(), [item async for item in stream()]]

    assert await both() == ["done", [1, 2]]
    done = asyncio.Event()
    counting = asyncio.create_task(ticks(done))
    remote.held.clear()
    calling = asyncio.create_task(both())
    await asyncio.sleep(0.2)
    assert not calling.done()
    remote.held.set()
    assert await calling == ["done", [1, 2]]
    done.set()
    assert await counting > 10


async def test_a_stream_made_in_a_block_keeps_its_binding_and_is_checked_when_it_begins(
    world: World, remote: Remote
) -> None:
    guard = world.new_guard(ledger=remote)
    credential = world.issue()

    async def stream() -> AsyncIterator[Any]:
        got = yield 1
        yield got

    tool = remit.bind_tool(stream, guard, credential, capability="tool:use")
    made: Any = tool()
    assert await anext(made) == 1
    assert await made.asend("x") == "x"
    with pytest.raises(StopAsyncIteration):
        await anext(made)
    late: Any = tool()
    guard.revoke(credential.token_id)
    with pytest.raises(remit.Denied):
        await anext(late)
    unbound = remit.requires_capability("tool:use")(stream)
    with pytest.raises(remit.CapabilityDenied):
        unbound()


async def test_a_call_that_is_cancelled_while_it_is_checked_has_an_outcome(
    world: World, remote: Remote
) -> None:
    guard = world.new_guard(ledger=remote)
    credential = world.issue(limits={"tool:use": remit.Limit(max_uses=5)})
    ran = []

    async def tool() -> None:
        ran.append(1)

    bound: Any = remit.bind_tool(tool, guard, credential, capability="tool:use")
    await bound()
    remote.held.clear()
    calling = asyncio.create_task(bound())
    await asyncio.sleep(0.05)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    remote.held.set()
    await asyncio.to_thread(eventually, lambda: len(world.events("outcome")) == 2)
    decision, outcome = world.events("decision")[-1], world.events("outcome")[-1]
    assert (decision.allowed, outcome.allowed, outcome.reason) == (True, False, "CancelledError")
    assert decision.call_id == outcome.call_id
    assert ran == [1]


async def test_a_denial_is_raised_from_the_thread_as_it_is(world: World, remote: Remote) -> None:
    guard = world.new_guard(ledger=remote)

    @remit.requires_capability("tool:use")
    async def tool(size: int) -> int:
        return size

    with guard.acting_as(world.issue(remit.Capability("tool:use", size=remit.Range(max=3)))):
        assert await tool(3) == 3
        with pytest.raises(remit.CapabilityDenied) as denied:
            await tool(4)
    assert (denied.value.code, denied.value.argument) == ("argument_denied", "size")


def test_the_thread_ends_with_the_guards(world: World) -> None:
    before = set(threading.enumerate())
    guard: Any = world.new_guard(ledger=Remote())
    guard.check(world.issue(), "tool:use", {})
    [follower] = set(threading.enumerate()) - before
    assert follower.daemon
    del guard
    eventually(lambda: not follower.is_alive())


def test_a_ledger_that_cannot_push_is_asked_instead(world: World) -> None:
    class Deaf(Remote):
        def wait(self, timeout: float) -> None:
            raise PermissionError("no channel for you")

    ledger = Deaf()
    guard, credential = world.new_guard(ledger=ledger, fresh="1m"), world.issue()
    guard.check(credential, "tool:use", {})
    ledger.revoke([remit.Revocation(revoked_at=1, expires_at=2**33, token_id=credential.token_id)])
    eventually(lambda: verdict(lambda: guard.check(credential, "tool:use", {})) == "token_revoked")
    ledger.cut = True
    time.sleep(1.2)  # more than a heartbeat: it was found to be away, by the thread too
    other = world.issue()
    ledger.cut = False
    ledger.revoke([remit.Revocation(revoked_at=1, expires_at=2**33, token_id=other.token_id)])
    eventually(lambda: verdict(lambda: guard.check(other, "tool:use", {})) == "token_revoked")


def test_a_thread_that_cannot_be_started_is_done_without(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ledger = Remote()
    guard, credential = world.new_guard(ledger=ledger, fresh="5s"), world.issue()
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", none_left)
        assert verdict(lambda: guard.check(credential, "tool:use", {})) == "allowed"
        ledger.revoke([remit.Revocation(revoked_at=1, expires_at=2**33, token_id=credential.token_id)])
        world.clock.now += 6
        assert verdict(lambda: guard.check(credential, "tool:use", {})) == "token_revoked"
    assert verdict(lambda: guard.check(world.issue(), "tool:use", {})) == "allowed"


@pytest.mark.parametrize("end", ["the loop", "the coroutine"])
def test_a_call_whose_caller_is_gone_before_it_is_checked_has_an_outcome(
    world: World, remote: Remote, end: str
) -> None:
    guard = world.new_guard(ledger=remote)
    limited = world.issue(limits={"tool:use": remit.Limit(max_uses=5)})
    ran: list[int] = []

    async def tool() -> None:
        ran.append(1)

    bound: Any = remit.bind_tool(tool, guard, limited, capability="tool:use")

    async def program() -> None:
        remote.held.clear()
        call = bound()
        if end == "the loop":
            running = asyncio.create_task(call)
            await asyncio.sleep(0.05)
            assert not running.done()
            return
        call.send(None)
        await asyncio.sleep(0.05)
        call.close()

    asyncio.run(program())
    remote.held.set()
    eventually(lambda: len(world.events("outcome")) == 1)
    [decision], [outcome] = world.events("decision"), world.events("outcome")
    assert (decision.allowed, outcome.allowed) == (True, False)
    assert outcome.reason == {"the loop": "CancelledError", "the coroutine": "GeneratorExit"}[end]
    assert ran == []


async def test_checks_have_threads_of_their_own(world: World, remote: Remote) -> None:
    guard = world.new_guard(ledger=remote)
    credential = world.issue(limits={"tool:use": remit.Limit(max_uses=50)})

    async def tool() -> int:
        return 1

    bound: Any = remit.bind_tool(tool, guard, credential, capability="tool:use")
    loop = asyncio.get_running_loop()
    workers = 40  # more than the loop's default threads

    def step() -> int:
        return int(asyncio.run_coroutine_threadsafe(bound(), loop).result(10))

    assert await asyncio.gather(*(asyncio.to_thread(step) for _ in range(workers))) == [1] * workers


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_child_that_is_forked_while_a_check_holds_the_locks_is_not_held_up(world: World) -> None:
    credential = world.issue(limits={"tool:use": remit.Limit(max_uses=5)})
    enforcement = world.guard._enforcement
    ledger: Any = enforcement.ledger
    with ledger._lock, enforcement.verifier._lock, enforcement.view._lock, world.audit._lock:
        child = os.fork()
        if not child:
            signal.alarm(20)  # what hangs is killed
            world.guard.check(credential, "tool:use", {})
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
