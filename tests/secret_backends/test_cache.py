"""What is remembered of remote backends and for how long, who waits for whom, and what a fork keeps."""

from __future__ import annotations

import gc
import os
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import remit
from remit.secrets import BackendFailure
from remit.secrets.cache import Cache

from .support import Clock, Counting, Local, why

CANARY = "canary-cac4e0"


class Kept:
    """A store over one remote backend, on a clock that is moved."""

    def __init__(self, **options: Any) -> None:
        self.backend = Counting(CANARY)
        self.clock = Clock()
        references = {"KEY": "own://place", "SAME": "own://place", "OTHER": "own://other"}
        self.secrets = remit.Secrets(
            references, backends={"own": self.backend}, clock=self.clock, **{"ttl": "30s", **options}
        )

    @property
    def asked(self) -> int:
        return len(self.backend.asked)


# ── how long ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_value_is_asked_for_again_when_its_time_is_over() -> None:
    kept = Kept()
    for moved, asked in ((0, 1), (29.9, 1), (30, 2), (59.9, 2), (60, 3), (1000, 4)):
        kept.clock.now = 1000 + moved
        kept.backend.answer = f"value at {moved}"
        kept.secrets.fetch("KEY")
        assert kept.asked == asked, moved
    assert kept.secrets.fetch("KEY") == "value at 1000"


def test_the_time_counts_from_before_it_was_asked_for() -> None:
    kept = Kept()

    def slow(reference: Any) -> str:
        kept.clock.now += 20
        return "old already"

    kept.backend.read = slow  # type: ignore[method-assign]
    assert kept.secrets.fetch("KEY") == "old already"
    kept.backend.read = lambda reference: "new"  # type: ignore[method-assign]
    kept.clock.now += 9
    assert kept.secrets.fetch("KEY") == "old already"
    kept.clock.now += 1
    assert kept.secrets.fetch("KEY") == "new"


def test_a_clock_that_steps_back_makes_nothing_last_longer() -> None:
    kept = Kept()
    kept.secrets.fetch("KEY")
    kept.clock.now -= 1
    kept.secrets.fetch("KEY")
    assert kept.asked == 2


def test_a_clock_that_tells_no_time_keeps_nothing() -> None:
    kept = Kept()
    kept.clock.now = float("nan")
    assert [kept.secrets.fetch("KEY") for _ in range(3)] == [CANARY] * 3
    assert kept.asked == 3


def test_without_a_ttl_nothing_is_kept() -> None:
    kept = Kept(ttl=None)
    for _ in range(3):
        kept.secrets.fetch("KEY")
    assert kept.asked == 3
    assert kept.secrets._cache._kept == {}


def test_what_is_not_remote_is_never_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Local(CANARY)
    secrets = remit.Secrets({"KEY": "own://x"}, backends={"own": backend}, ttl="1h")
    for _ in range(3):
        secrets.fetch("KEY")
    assert len(backend.asked) == 3


def test_one_place_is_asked_once_whatever_its_names_and_another_by_itself() -> None:
    kept = Kept()
    for name in ("KEY", "SAME", "OTHER", "KEY", "OTHER", "SAME"):
        kept.secrets.fetch(name)
    assert kept.backend.asked == ["own://place", "own://other"]


@pytest.mark.parametrize(
    "answer", [ValueError(CANARY), None, "", b"bytes", 5, remit.SecretDenied("secret_denied", "x")], ids=repr
)
def test_no_failure_is_kept(answer: object) -> None:
    kept = Kept()
    kept.backend.answer = answer
    for asked in (1, 2, 3):
        why(kept.secrets)
        assert kept.asked == asked
    kept.backend.answer = CANARY
    assert kept.secrets.fetch("KEY") == CANARY


def test_a_value_is_not_used_when_its_time_is_over_and_the_backend_fails() -> None:
    kept = Kept()
    kept.secrets.fetch("KEY")
    kept.clock.now += 30
    kept.backend.answer = ConnectionError()
    assert why(kept.secrets)[0] == "secret_backend_error"
    assert kept.secrets._cache._kept == {}


def test_forgetting_drops_every_value() -> None:
    kept = Kept()
    kept.secrets.fetch("KEY")
    kept.secrets.fetch("OTHER")
    kept.secrets.forget()
    assert kept.secrets._cache._kept == {}
    kept.backend.answer = "rotated"
    assert kept.secrets.fetch("KEY") == "rotated"


def test_a_guards_decisions_are_not_cached_with_the_value() -> None:
    """A value that is at hand is refused to whoever may not have it."""
    kept = Kept()
    issuer = remit.Issuer.generate("https://auth.acme.example")
    guard = remit.Guard(trust=[issuer.anchor], secrets=kept.secrets)
    credential = issuer.issue("a", ["t"], secrets=["KEY"])
    assert guard.resolve_secret(credential, "KEY", tool="t").reveal() == CANARY
    with pytest.raises(remit.SecretDenied) as other:
        guard.resolve_secret(issuer.issue("b", ["t"], secrets=["OTHER"]), "KEY", tool="t")
    guard.revoke(credential.token_id)
    with pytest.raises(remit.TokenRejected) as revoked:
        guard.resolve_secret(credential, "KEY", tool="t")
    assert (other.value.code, revoked.value.code, kept.asked) == ("secret_denied", "token_revoked", 1)


# ── who waits for whom ──────────────────────────────────────────────────────────────────────────────────────


def _in_threads(count: int, call: Callable[[], object]) -> tuple[list[threading.Thread], list[object]]:
    results: list[object] = []

    def run() -> None:
        try:
            results.append(call())
        except remit.SecretDenied as denied:
            results.append(denied)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, results


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def _all_wait(kept: Kept, count: int) -> None:
    """Until the backend was asked, and everybody waits for its answer."""
    assert kept.backend.entered.acquire(timeout=30)
    waiting: Any = kept.secrets._cache._flights["own://place", "place"].done
    deadline = time.monotonic() + 30
    while len(waiting._cond._waiters) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("answer", [CANARY, ConnectionError(CANARY), None])
def test_those_who_ask_at_once_share_one_question_and_its_answer(answer: object) -> None:
    kept = Kept()
    kept.backend.answer, kept.backend.gate = answer, threading.Event()
    threads, results = _in_threads(32, lambda: kept.secrets.fetch("KEY"))
    _all_wait(kept, 32)
    kept.backend.gate.set()
    _join(threads)
    assert kept.asked == 1
    assert len(results) == 32
    if answer == CANARY:
        assert set(results) == {CANARY}
    else:
        assert {type(result) for result in results} == {remit.SecretDenied}
        assert len(set(map(id, results))) == 32  # an error of one's own: another's frames are not in it
        assert CANARY not in repr(results)


def test_a_question_under_way_holds_up_no_other() -> None:
    kept = Kept()
    slow, kept.backend.gate = threading.Event(), None
    real = kept.backend.read

    def read(reference: Any) -> Any:
        if reference.path == "place":
            assert slow.wait(30)
        return real(reference)

    kept.backend.read = read  # type: ignore[method-assign]
    threads, results = _in_threads(4, lambda: kept.secrets.fetch("KEY"))
    assert kept.secrets.fetch("OTHER") == CANARY
    assert results == []
    slow.set()
    _join(threads)
    assert results == [CANARY] * 4


def test_an_answer_that_was_under_way_when_all_was_forgotten_is_not_kept() -> None:
    kept = Kept()
    gate = kept.backend.gate = threading.Event()
    kept.backend.answer = "before the rotation"
    threads, results = _in_threads(1, lambda: kept.secrets.fetch("KEY"))
    assert kept.backend.entered.acquire(timeout=30)
    kept.secrets.forget()
    kept.backend.gate = None
    after: list[object] = []
    real = kept.backend.read
    kept.backend.read = lambda reference: "after it"  # type: ignore[method-assign]
    after.append(kept.secrets.fetch("KEY"))
    kept.backend.read = real  # type: ignore[method-assign]
    gate.set()
    _join(threads)
    assert (results, after) == (["before the rotation"], ["after it"])
    assert kept.secrets.fetch("KEY") == "after it"


def test_nobody_waits_for_ever_and_the_next_one_asks_anew() -> None:
    kept = Kept(timeout="1s")
    gate = kept.backend.gate = threading.Event()
    before = time.monotonic()
    threads, results = _in_threads(8, lambda: kept.secrets.fetch("KEY"))
    _all_wait(kept, 8)
    _join(threads)
    assert time.monotonic() - before < 8
    assert [denied.code for denied in results if isinstance(denied, remit.SecretDenied)] == [
        "secret_backend_error"
    ] * 8
    assert kept.asked == 1
    kept.backend.gate = None
    kept.backend.answer = "at last"
    assert kept.secrets.fetch("KEY") == "at last"
    kept.backend.answer = "too late"
    gate.set()  # the first question is answered now
    time.sleep(0.05)
    assert kept.secrets.fetch("KEY") == "at last"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_a_backend_raises_everybody_gets_an_answer(error: type[BaseException]) -> None:
    kept = Kept()
    kept.backend.answer = error(CANARY)
    code, reason = why(kept.secrets)
    assert (code, error.__name__ in reason) == ("secret_backend_error", True)


def test_a_system_without_threads_to_spare_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        assert "there is no thread" in why(kept.secrets)[1]
    assert kept.secrets.fetch("KEY") == CANARY


def test_the_threads_end_with_their_questions() -> None:
    kept = Kept(ttl=None)
    for _ in range(20):
        kept.secrets.fetch("KEY")
    deadline = time.monotonic() + 10
    while any(thread.name == "remit-secret" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_backend_finds_nothing_bound_in_the_thread_it_is_asked_in() -> None:
    """A client that calls a guarded tool of the program acts under nobody's credential."""
    ran: list[str] = []

    @remit.requires_capability("t")
    def tool(key: remit.Secret = remit.secret("KEY")) -> str:
        return "done"

    class Calling(Counting):
        def read(self, reference: Any) -> str:
            try:
                tool()
            except remit.Denied as denied:
                ran.append(denied.code)
            return CANARY

    issuer = remit.Issuer.generate("https://auth.acme.example")
    secrets = remit.Secrets({"KEY": "own://x"}, backends={"own": Calling()})
    guard = remit.Guard(trust=[issuer.anchor], secrets=secrets)
    with guard.acting_as(issuer.issue("a", ["t"], secrets=["KEY"])):
        assert tool() == "done"
    assert ran == ["not_bound"]


# ── forks ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # that is the case
def test_a_forked_process_shares_no_lock_no_value_and_no_connection() -> None:
    """A child that is forked while its parent holds every lock, with a question under way."""
    kept = Kept()
    made: list[int] = []

    class Made(Counting):
        def __init__(self) -> None:
            super().__init__(CANARY)
            made.append(os.getpid())

    kept.secrets._backends._make = lambda scheme: Made()  # type: ignore[method-assign]
    kept.secrets._backends._given = {}
    kept.secrets.fetch("OTHER")
    backend: Any = kept.secrets._backends.of("own")
    gate = backend.gate = threading.Event()
    assert backend.entered.acquire(timeout=30)  # of the one before
    threads, results = _in_threads(1, lambda: kept.secrets.fetch("KEY"))
    assert backend.entered.acquire(timeout=30)
    with kept.secrets._cache._lock:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                empty = kept.secrets._cache._kept == {} and kept.secrets._cache._flights == {}
                values = [kept.secrets.fetch(name) for name in ("KEY", "OTHER")]
                status = 0 if empty and values == [CANARY] * 2 and made[-1] == os.getpid() else 2
            finally:
                os._exit(status)
    deadline = time.monotonic() + 20
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the child waits for ever")
        time.sleep(0.01)
        ended, status = os.waitpid(child, os.WNOHANG)
    assert os.waitstatus_to_exitcode(status) == 0
    gate.set()
    _join(threads)
    assert results == [CANARY]
    assert len(made) == 1


def test_a_store_that_is_gone_is_not_kept_for_the_next_fork() -> None:
    from remit import forks

    cache = Cache(30, 10, time.monotonic)
    assert cache in forks._renewed
    gone = weakref.ref(cache)
    del cache
    gc.collect()
    assert gone() is None


class Silent(BackendFailure):
    """A plug-in's own failure, which forgot to say why, and knows a value."""

    def __init__(self) -> None:
        Exception.__init__(self, "canary-77")


@pytest.mark.parametrize("remote", [True, False])
def test_a_failure_that_does_not_say_why_is_told_by_its_kind(remote: bool) -> None:
    class Plugged:
        def __init__(self) -> None:
            self.remote = remote

        def check(self, reference: Any) -> None:
            """Accept anything."""

        def read(self, reference: Any) -> str:
            raise Silent

    secrets = remit.Secrets({"KEY": "own://place"}, backends={"own": Plugged()})
    with pytest.raises(remit.SecretDenied) as denied:
        secrets.fetch("KEY")
    assert "Silent" in denied.value.reason
    assert "canary" not in "".join(traceback.format_exception(denied.value))


def test_a_name_that_looks_like_a_reference_is_not_taken_for_it() -> None:
    class Named:
        def check(self, reference: Any) -> None:
            """Accept anything."""

        def read(self, reference: Any) -> str:
            return f"{reference.path} {reference.options}"

    secrets = remit.Secrets({"KEY": "env://N?v=1"}, backends={"env": Named()})
    assert secrets.fetch("KEY") != secrets.fetch("N?v=1")
