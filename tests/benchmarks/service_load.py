"""Loads the issuing service, and prints one table: requests a second, and how long they take.

    python tests/benchmarks/service_load.py [--ledger sqlite] [--workers 1 2] [--seconds 5] [--connections 16]

It starts `remit serve` on each kind of ledger and with each number of workers, and loads it from processes of its own
over connections that stay open: each sends a request when the one before was answered. Requests are made before the
clock starts. Clients, service and ledger share this machine, which the table says as well.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from timing import micros

import remit

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for the servers of the tests of the ledgers

ADMIN: Final = "an admin token for a service that is measured"
URI: Final = "https://auth.acme.example"
PROGRAM: Final = Path(sys.executable).with_name("remit")
WORKS: Final = ("issue", "verify (bearer)", "verify (proof)")
ARGUMENTS: Final = {"symbol": "ACME", "amount": 900}
WARM: Final = 1.0
"""Seconds before the clock starts."""
MOST_PROOFS: Final = 10_000
"""Proofs that one client makes beforehand, at most."""
POLICY: Final = """
[issuer]
key = "issuer.key"
[ledger]
url = "{ledger}"
[audit]
path = "audit.jsonl"
[guard]
proof_window = "5m" # proofs are made before the clock starts
[service]
admin_token = "env://REMIT_ADMIN_TOKEN"
[scopes]
TRADE = [{{ capability = "trades:propose", arguments = {{ symbol = "ACME", amount = {{ max = 1000 }} }} }}]
"""


@dataclass(frozen=True)
class Load:
    """What one client process does."""

    url: str
    work: str
    connections: int
    seconds: float
    proofs: int


@dataclass(frozen=True)
class Result:
    """What came of it."""

    times: list[float]
    """Seconds that each request took that was answered with 200."""
    failures: int
    rate: float = 0.0
    """Requests a second that were answered so."""


# ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────


def request(path: str, body: object, *, admin: bool = False) -> bytes:
    """Return the bytes of a request."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    return (head + (f"Authorization: Bearer {ADMIN}\r\n" if admin else "") + "\r\n").encode() + data


def holder_key() -> dict[str, str]:
    """Return a new key, as a private JWK."""
    key = Ed25519PrivateKey.generate()
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": _text(key.public_key().public_bytes_raw()),
        "d": _text(key.private_bytes_raw()),
    }


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def issue(url: str, holder: dict[str, str]) -> remit.Credential:
    """Return a credential that the service issues."""
    body = json.dumps({"subject_pubkey": holder["x"], "scope": "TRADE", "expires_in_seconds": 3600}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ADMIN}"}
    asked = urllib.request.Request(f"{url}/v1/tokens", body, headers)  # noqa: S310 - our own server
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - as above
        return remit.Credential.from_token(json.load(answer)["token"], holder_key=holder)


def requests_of(load: Load) -> list[bytes]:
    """Return the requests of a client: one for all, or as many as there are proofs."""
    holder = holder_key()
    if load.work == "issue":
        body = {"subject_pubkey": holder["x"], "scope": "TRADE", "agent": "pricing-agent"}
        return [request("/v1/tokens", body, admin=True)]
    credential = issue(load.url, holder)
    if load.work == "verify (bearer)":
        return [request("/v1/tokens/verify", {"token": credential.token})]
    made = (credential.present("trades:propose", ARGUMENTS, audience=URI) for _ in range(load.proofs))
    beside = {"tool": "trades:propose", "arguments": ARGUMENTS}
    return [request("/v1/tokens/verify", {**presentation.to_dict(), **beside}) for presentation in made]


def run(load: Load, start: Any, results: Any) -> None:
    """Be a client process: prepare, wait for the others, load, and tell."""
    prepared = requests_of(load)
    start.wait()
    results.put(asyncio.run(_loaded(load, prepared)))


async def _loaded(load: Load, prepared: list[bytes]) -> Result:
    queue = iter(prepared if len(prepared) > 1 else _forever(prepared[0]))
    begin = time.perf_counter() + WARM
    parts = await asyncio.gather(
        *(_connection(load.url, queue, begin, begin + load.seconds) for _ in range(load.connections))
    )
    span = min(load.seconds, time.perf_counter() - begin)  # shorter where the proofs ran out
    times = [each for part in parts for each in part.times]
    return Result(times, sum(part.failures for part in parts), len(times) / span)


def _forever(one: bytes) -> Iterator[bytes]:
    while True:
        yield one


async def _connection(url: str, queue: Iterator[bytes], begin: float, end: float) -> Result:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    times: list[float] = []
    failures = 0
    for sent in queue:
        started = time.perf_counter()
        if started >= end:
            break
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        took = time.perf_counter() - started
        if started >= begin:
            if head.startswith(b"HTTP/1.1 200"):
                times.append(took)
            else:
                failures += 1
    writer.close()
    return Result(times, failures)


def loaded(url: str, work: str, options: argparse.Namespace) -> Result:
    """Load a service from several processes; what all of them saw."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    start: Any = context.Barrier(options.clients)
    each = Load(url, work, options.connections // options.clients, options.seconds, options.proofs)
    processes = [context.Process(target=run, args=(each, start, results)) for _ in range(options.clients)]
    for process in processes:
        process.start()
    parts: list[Result] = [results.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    times = [each for part in parts for each in part.times]
    return Result(times, sum(part.failures for part in parts), sum(part.rate for part in parts))


# ── services ────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def serving(ledger: str, workers: int) -> Iterator[str]:
    """A service on a ledger; its URL."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        remit.Issuer.generate(URI).save(folder / "issuer.key")
        (folder / "remit.toml").write_text(POLICY.format(ledger=ledger))
        command = [PROGRAM, "serve", "--port", "0", "--workers", str(workers), "--json"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "REMIT_ADMIN_TOKEN": ADMIN},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line:
                sys.exit(f"the service did not start:\n{(folder / 'log').read_text()}")
            yield json.loads(line)["url"]
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def ledger_of(kind: str) -> Iterator[str]:
    """The URL of a new ledger."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if kind == "redis":
            from ledger.redis_server import RedisServer

            # As the page on deployment has it: what was revoked is on the disk before it is answered.
            yield stack.enter_context(RedisServer(folder / "redis", persistent=True)).url
        elif kind == "postgres":
            from ledger.postgres_server import PostgresServer

            server = PostgresServer()
            stack.callback(server.remove)
            server.start()
            yield server.dsn()
        else:
            yield f"sqlite:///{folder / 'remit.db'}"


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────


def bare_rates() -> tuple[float, float]:
    """Return how often a second one thread signs, and verifies, 300 bytes."""
    key, message = Ed25519PrivateKey.generate(), bytes(300)
    signature, public = key.sign(message), key.public_key()
    return 1e6 / micros(lambda: key.sign(message)), 1e6 / micros(lambda: public.verify(signature, message))


def row(kind: str, workers: int, work: str, result: Result) -> str:
    """Return a line of the table."""
    if len(result.times) < 2:
        return f"| {kind} | {workers} | {work} | - | - | - | - | {result.failures} |"
    cuts = statistics.quantiles(result.times, n=100)
    p50, p95, p99 = (f"{1000 * cuts[at - 1]:.1f}" for at in (50, 95, 99))
    return f"| {kind} | {workers} | {work} | {result.rate:,.0f} | {p50} | {p95} | {p99} | {result.failures} |"


def options_of(words: list[str] | None = None) -> argparse.Namespace:
    """Return what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kinds = ["sqlite", "redis", "postgres"]
    parser.add_argument("--ledger", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each is measured")
    parser.add_argument("--clients", type=int, default=2, help="client processes")
    parser.add_argument("--connections", type=int, default=16, help="open connections of all of them")
    parser.add_argument(
        "--proofs", type=int, default=MOST_PROOFS, help="made by each client beforehand, at most"
    )
    return parser.parse_args(words)


def main() -> None:
    """Print the table."""
    options = options_of()
    signs, verifies = bare_rates()
    print(
        f"{os.cpu_count()} processors, {options.clients} client processes, {options.connections} connections"
    )
    print(f"bare Ed25519, one thread: {signs:,.0f} signatures a second, {verifies:,.0f} verifications\n")
    print("| ledger | workers | | requests a second | p50 ms | p95 ms | p99 ms | failed |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in options.ledger:
        for workers in options.workers:
            with ledger_of(kind) as ledger, serving(ledger, workers) as url:
                for work in options.work:
                    print(row(kind, workers, work, loaded(url, work, options)), flush=True)


if __name__ == "__main__":
    main()
