"""`make bench`: Remit, its peers and the bare signatures beneath them, side by side in one run.

Each row is one piece of work in microseconds (median), beside the floor that no implementation can
go under and the peers that do the same. Read the ratios: absolute times are this machine's.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import frameworks
import peers
import state
from timing import micros, once_each

import remit

TOOL, ARGUMENTS = peers.TOOL, peers.ARGUMENTS
CAPABILITY = remit.Capability(
    TOOL, symbol=remit.OneOf("ACME", "INIT"), amount=remit.Range(max=1_000), note="x"
)
ISSUER = remit.Issuer.generate("https://auth.acme.example")


def row(
    work: str, *, remit_takes: float, floor: float | None = None, target: str = "", **others: float
) -> None:
    """Print one line of the table."""
    ratio = f"{remit_takes / floor:5.2f}x" if floor else "      "
    rest = "  ".join(f"{name} {value:.1f}" for name, value in others.items())
    shown_floor = f"{floor:9.1f}" if floor else " " * 9
    print(f"{work:<44}{remit_takes:10.1f}{shown_floor} {ratio}  {target:<12} {rest}", flush=True)


def chain_of(depth: int) -> remit.Credential:
    """Return a credential that was delegated `depth` times."""
    credential = ISSUER.issue("pricing-agent", [CAPABILITY], max_depth=depth)
    for level in range(depth):
        credential = credential.delegate("pricing-agent", [CAPABILITY], max_depth=depth - level - 1)
    return credential


def new_guards(count: int) -> list[remit.Guard]:
    """Return guards that have seen no token yet."""
    return [remit.Guard([ISSUER.anchor]) for _ in range(count)]


def issuing_and_verifying(sign: float, verify: float) -> None:
    """Rows on signing tokens and on verifying them from the wire."""
    holder = remit.Issuer.generate("https://holder.example").anchor.jwk
    made = {
        "PyJWT": peers.pyjwt(),
        "joserfc": peers.joserfc(),
        "biscuit": peers.biscuit(),
    }
    warrant = peers.tenuo_warrant()
    row(
        "issue, 3 constraints, holder key given",
        remit_takes=micros(lambda: ISSUER.issue("pricing-agent", [CAPABILITY], holder=holder)),
        floor=sign,
        target="<= 2.00x",
        tenuo=micros(warrant["issue"]),
        **{name: micros(issue) for name, (issue, _) in made.items()},
    )
    row("issue, 3 constraints, fresh holder key", remit_takes=micros(lambda: ISSUER.issue("a", [CAPABILITY])))
    for depth in (0, 1, 4, 8):
        chain = chain_of(depth).chain
        row(
            f"cold verify from the wire, depth {depth}",
            remit_takes=once_each(lambda guard, chain=chain: guard.validate(chain), new_guards(300)),
            floor=verify * (depth + 1),
            target="<= 1.35x",
            **(
                {
                    "tenuo": micros(warrant["cold verify"]),
                    **{name: micros(check) for name, (_, check) in made.items()},
                }
                if depth == 0
                else {}
            ),
        )
    for depth in (1, 8):
        parent = ISSUER.issue("pricing-agent", [CAPABILITY], max_depth=depth)
        for level in range(depth - 1):
            parent = parent.delegate("pricing-agent", [CAPABILITY], max_depth=depth - level - 1)
        guard = remit.Guard([ISSUER.anchor])
        guard.validate(parent.chain)
        leaves = [parent.delegate("worker", [CAPABILITY]).chain for _ in range(200)]
        row(
            f"new leaf under a verified parent, depth {depth}",
            remit_takes=once_each(guard.validate, leaves),
            floor=verify,
            target="~1 signature",
        )


def checking() -> None:
    """Rows on calls whose token is known."""
    credential = chain_of(0)
    limited = ISSUER.issue("a", [CAPABILITY], limits={TOOL: remit.Limit(max_uses=2**50)})
    plain = remit.Guard([ISSUER.anchor])
    audited = remit.Guard([ISSUER.anchor], audit=remit.MemoryAudit())
    warrant = peers.tenuo_warrant()
    symbols, note = frozenset({"ACME", "INIT"}), "x"
    compare = micros(
        lambda: ARGUMENTS["symbol"] in symbols and ARGUMENTS["amount"] <= 1000 and ARGUMENTS["note"] == note
    )
    row(
        "warm check, 3 constraints, no audit",
        remit_takes=micros(lambda: plain.check(credential, TOOL, ARGUMENTS)),
        floor=compare,
        target="<= 5",
        tenuo_with_proof=micros(warrant["check"]),
    )
    row("warm check, audit in memory", remit_takes=micros(lambda: audited.check(credential, TOOL, ARGUMENTS)))
    row(
        "warm check that counts a use in memory",
        remit_takes=micros(lambda: plain.check(limited, TOOL, ARGUMENTS)),
    )

    def bare(symbol: str, amount: int, note: str) -> str:
        return f"{symbol} {amount} {note}"

    guarded = remit.requires_capability(TOOL)(bare)
    floor = micros(lambda: bare("ACME", 900, "x"))
    with plain.acting_as(credential):
        row(
            "decorated plain function",
            remit_takes=micros(lambda: guarded("ACME", 900, "x")),
            floor=floor,
            target="<= 10",
        )
    os.environ["BENCH_KEY"] = "not-a-key"
    holder = ISSUER.issue("a", ["t"], secrets=["BENCH_KEY"])
    row(
        "resolve a secret from the environment",
        remit_takes=micros(lambda: plain.resolve_secret(holder, "BENCH_KEY", tool="t")),
        floor=micros(lambda: os.environ["BENCH_KEY"]),
    )


def proving(sign: float, verify: float) -> None:
    """Rows on proofs of possession."""
    warrant, holder = peers.tenuo_warrant(), chain_of(0)
    row(
        "proof: sign",
        remit_takes=micros(lambda: holder.present(TOOL, ARGUMENTS)),
        floor=sign,
        tenuo=micros(warrant["proof sign"]),
    )
    for depth in (0, 4):
        credential = chain_of(depth)
        cases = [(guard, credential.present(TOOL, ARGUMENTS)) for guard in new_guards(200)]
        row(
            f"proof: verify with chain and arguments, depth {depth}",
            remit_takes=once_each(lambda case: case[0].verify(case[1], TOOL, ARGUMENTS), cases),
            floor=verify * (depth + 2),
        )


def revocations() -> None:
    """Rows on a check beside many revocations."""
    for count in (10, 100_000, 1_000_000):
        guard, credential = remit.Guard([ISSUER.anchor]), chain_of(0)
        guard.revoke_many([f"019471f8-0000-7000-8000-{number:012x}" for number in range(count)])
        check = partial(guard.check, credential, TOOL, ARGUMENTS)
        row(f"warm check beside {count:,} revocations", remit_takes=micros(check))


def shared_state() -> None:
    """Rows on ledgers and audit."""
    credential = chain_of(0)
    state.audits(row, lambda guard: partial(guard.check, credential, TOOL, ARGUMENTS), ISSUER.anchor)
    state.ledgers(row)
    state.propagation(row)


def in_frameworks() -> None:
    """Rows on tools of the agent frameworks."""
    frameworks.rows(row, remit.Guard([ISSUER.anchor]), chain_of(0), TOOL)


def importing() -> None:
    """Rows on `import remit` in a new process."""

    # With compiled modules on disk, as an installed package has them.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def seconds(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        return time.perf_counter() - started

    def median_of(code: str) -> float:
        seconds(code)
        return statistics.median(seconds(code) for _ in range(7)) * 1e6

    row(
        "import remit, in a process of its own",
        remit_takes=median_of("import remit"),
        floor=median_of("pass"),
        target="<= 150,000",
    )


def main() -> None:
    """Print the table."""
    print(
        f"{peers.date()}  Python {platform.python_version()}  {os.cpu_count()} cores  microseconds, medians"
    )
    print(f"{'':<44}{'remit':>10}{'floor':>9}  {'ratio':>5}  {'target':<12} peers")
    sections: list[Callable[[], Any]] = [checking, revocations, shared_state, in_frameworks, importing]
    sign, verify = map(micros, peers.bare())
    nacl_sign, nacl_verify = map(micros, peers.pynacl())
    print(f"{'bare sign, 300 bytes':<54}{sign:9.1f}{'':22}PyNaCl {nacl_sign:.1f}")
    print(f"{'bare verify, 300 bytes':<54}{verify:9.1f}{'':22}PyNaCl {nacl_verify:.1f}")
    issuing_and_verifying(sign, verify)
    proving(sign, verify)
    for section in sections:
        section()


if __name__ == "__main__":
    main()
