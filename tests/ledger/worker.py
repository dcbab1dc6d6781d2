"""A process that uses a ledger; `processes.py` starts it, says `go`, and reads what it found out.

`python worker.py JOB URL ARGUMENT…` prints `ready` when its ledger is open, and then one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec

import remit
from remit.ledger import Charge, Ledger, Revocation, open_ledger
from remit.proof import Proof

P = ParamSpec("P")

NOW: Final = 1_704_067_500
CEILING: Final = 1_000_000_007
"""Of the sum that is charged while writers are killed: nobody gets there."""
RATE: Final = 5
WRITERS: Final = 2


def charge(counter: str, ceiling: int, *, amount: int = 1, window: int | None = None) -> Charge:
    return Charge(counter, amount, ceiling, window, NOW + 600, 0, "tool:use", "it")


def code_of(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> str:
    try:
        call(*args, **kwargs)
    except remit.Denied as denied:
        return denied.code
    return "done"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _go() -> None:
    _say("ready")
    sys.stdin.readline()


def once(ledger: Ledger) -> Any:
    """Take the one use of each of twenty counters, and use one proof."""
    _go()
    said = [code_of(ledger.commit, [charge(f"once-{n}", 1)], None, NOW) for n in range(20)]
    return [*said, code_of(ledger.commit, [], Proof("p", NOW + 301), NOW)]


def spend(ledger: Ledger, sibling: str) -> Any:
    """Spend as much as there is, seven at a time; the sum that was let in."""
    charges = [charge(f"child-{sibling}", 1_000, amount=7), charge("parent", 1_000, amount=7)]
    _go()
    return 7 * sum(code_of(ledger.commit, charges, None, NOW) == "done" for _ in range(60))


def revoke(ledger: Ledger, token_id: str) -> Any:
    """Revoke a token of its own, and one that everybody revokes."""
    _go()
    own = Revocation(revoked_at=NOW, expires_at=NOW + 600, token_id=token_id)
    shared = Revocation(revoked_at=NOW, expires_at=NOW + 600, token_id="shared")
    return ledger.revoke([own, shared])


def watch(ledger: Ledger, folder: str) -> Any:
    """Check until the credential is refused; when that was, by the clock that all processes share."""
    anchor = remit.TrustAnchor.load(Path(folder, "anchor.json"))
    credential = remit.Credential.load(Path(folder, "credential.json"))
    guard = remit.Guard(trust=[anchor], ledger=ledger)
    guard.check(credential, "tool:use", {})
    _go()
    for _ in range(3_000):
        code = code_of(guard.check, credential, "tool:use", {})
        if code != "done":
            return [code, time.monotonic()]
        time.sleep(0.01)
    return ["never", time.monotonic()]


def killed(ledger: Ledger, url: str, rounds: str) -> Any:
    """Let writers be killed in the middle of what they do, and see what is left."""
    ledger.close()
    randomness = random.Random(int(rounds))
    acknowledged: list[str] = []
    _go()
    for turn in range(int(rounds)):
        writers = [_start_writer(url, turn, writer) for writer in range(WRITERS)]
        acknowledged += _stop(writers, randomness.uniform(0, 0.012))
    survivor = open_ledger(url)
    return _what_is_left(survivor, acknowledged)


def _start_writer(url: str, turn: int, writer: int) -> tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        os.close(reading)
        _write(open_ledger(url), turn, writer, writing)
    finally:
        os._exit(1)


def _write(ledger: Ledger, turn: int, writer: int, acknowledge: int) -> None:
    """Write without end; say what was done once it is."""
    for step in range(1_000_000):
        name = f"{turn}-{writer}-{step}"
        charges = [
            charge("sum", CEILING),
            charge(f"once-{turn}-{step}", 1),
            charge("rate", RATE, window=60),
        ]
        done = [f"sum {name}"] if code_of(ledger.commit, charges[:1], None, NOW) == "done" else []
        done += [f"once {turn}-{step}"] if code_of(ledger.commit, charges[1:2], None, NOW) == "done" else []
        done += ["rate"] if code_of(ledger.commit, charges[2:], None, NOW) == "done" else []
        entry = Revocation(revoked_at=NOW, expires_at=NOW + 600, token_id=name)
        done += [f"revoked {name}"] if ledger.revoke([entry]) == [True] else []
        os.write(acknowledge, "".join(f"{each}\n" for each in done).encode())


def _stop(writers: list[tuple[int, int]], after: float) -> list[str]:
    """Kill the writers some time after the first has written; what they said was done."""
    select.select([reading for _, reading in writers], [], [], 30)
    time.sleep(after)
    for pid, _ in writers:
        os.kill(pid, signal.SIGKILL)
    said: list[str] = []
    for pid, reading in writers:
        os.waitpid(pid, 0)
        with os.fdopen(reading, "rb") as pipe:
            said += pipe.read().decode().splitlines()
    return said


def _what_is_left(ledger: Ledger, acknowledged: list[str]) -> dict[str, Any]:
    sums = [each for each in acknowledged if each.startswith("sum ")]
    uses = [each for each in acknowledged if each.startswith("once ")]
    revoked = {each.removeprefix("revoked ") for each in acknowledged if each.startswith("revoked ")}
    low, high = 0, CEILING
    while low < high:  # the most that still fits
        middle = (low + high + 1) // 2
        fits = code_of(ledger.probe, [charge("sum", CEILING, amount=middle)], NOW) == "done"
        low, high = (middle, high) if fits else (low, middle - 1)
    return {
        "acknowledged charges": len(sums),
        "charges": CEILING - low,
        "uses": len(uses),
        "uses that were had twice": len(uses) - len(set(uses)),
        "uses of the rate": acknowledged.count("rate"),
        "acknowledged revocations": len(revoked),
        "lost revocations": sorted(revoked - {str(entry.token_id) for entry in ledger.revocations()}),
        "room in the rate": code_of(ledger.probe, [charge("rate", RATE, window=60)], NOW),
    }


JOBS: Final[dict[str, Callable[..., Any]]] = {
    "once": once,
    "spend": spend,
    "revoke": revoke,
    "watch": watch,
    "killed": killed,
}


def main() -> None:
    job, url, *arguments = sys.argv[1:]
    with_url = [url] if job == "killed" else []
    _say(json.dumps(JOBS[job](open_ledger(url), *with_url, *arguments)))


if __name__ == "__main__":
    main()
