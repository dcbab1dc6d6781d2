"""What the tests of the service share: a deployment in a folder, its application, and a real `remit serve`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from starlette.testclient import TestClient

import remit
from remit.config import load
from remit.keys import HolderKey
from remit.service import Instance, create_app

URI: Final = "https://auth.acme.example"
ADMIN: Final = "an-admin-token-of-some-40-characters-abcd"
CLIENT_SECRET: Final = "the-secret-of-the-pricing-agent-0123456789"
PROGRAM: Final = Path(sys.executable).with_name("remit")
PATIENCE: Final = 60
"""Seconds after which a process that does not answer is a failure."""
POLICY: Final = """
[secrets]
BROKER_API_KEY = "env://BROKER_API_KEY"

[capabilities]
"prices:read" = { effect = "read" }
"orders:read" = { effect = "read" }
"users:read" = { effect = "read" }
"notes:write" = { effect = "write" }
"mail:send" = { effect = "send" }
"trades:propose" = { effect = "pay" }

[scopes]
READ = ["prices:read", "orders:read"]
USER = ["users:read"]
INPUT = ["notes:write"]
"service:mailer" = [{ capability = "mail:send", arguments = { to = { email = "acme.example" } } }]

[agents.pricing-agent]
client_secret = "env://PRICING_CLIENT_SECRET"
scope = ["READ"]
capabilities = [
  { capability = "trades:propose", arguments = { symbol = { one_of = ["ACME", "INIT"] }, amount = { min = 1, max = 1000 } } },
]
secrets = { BROKER_API_KEY = ["trades:propose"] }
limits."trades:propose" = { max_uses = 3 }
ttl = "5m"
max_depth = 2

[agents.reader]
capabilities = ["prices:read"]
session = "s-1"
"""


class Clock:
    """A clock that tests set."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Serving:
    """A `remit serve` that runs."""

    process: subprocess.Popen[str]
    url: str
    pid: int
    log_path: Path
    headers: dict[str, str] = field(default_factory=dict)
    """Those of the administrator."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return httpx.URL(self.url).port or 0

    @property
    def log(self) -> str:
        """What it has said on standard error."""
        return self.log_path.read_text()

    def client(self, **options: Any) -> httpx.Client:
        """A client of its own; nothing of the environment's proxies."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, **options)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@dataclass
class Deployment:
    """A folder with a policy file, keys, and what the environment has to hold."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        ledger: str = "sqlite:///remit.db",
        policy: str = POLICY,
        service: str = "",
        issuer: str = "",
        uri: str = URI,
    ) -> Deployment:
        """A deployment in `folder`, which is made.

        Args:
            folder: where.
            ledger: the ledger's URL.
            policy: the tables that say who may do what.
            service: more lines of `[service]`.
            issuer: more lines of `[issuer]`.
            uri: the issuer's.
        """
        folder.mkdir(parents=True, exist_ok=True)
        key = remit.Issuer.generate(uri)
        key.save(folder / "issuer.key")
        (folder / "anchors").mkdir()
        key.anchor.save(folder / "anchors" / f"{key.anchor.key.thumbprint}.json")
        (folder / "remit.toml").write_text(
            f'[issuer]\nuri = "{uri}"\nkey = "issuer.key"\nanchors = "anchors"\n{issuer}\n'
            f'[ledger]\nurl = "{ledger}"\n[audit]\npath = "audit.jsonl"\n'
            f'[service]\nadmin_token = "env://REMIT_ADMIN_TOKEN"\n{service}\n{policy}'
        )
        return cls(
            folder,
            {
                "REMIT_ADMIN_TOKEN": ADMIN,
                "PRICING_CLIENT_SECRET": CLIENT_SECRET,
                "BROKER_API_KEY": "the-broker-key",
            },
        )

    @property
    def path(self) -> Path:
        """The policy file."""
        return self.folder / "remit.toml"

    @property
    def headers(self) -> dict[str, str]:
        """Those of the administrator."""
        return {"Authorization": f"Bearer {self.environment['REMIT_ADMIN_TOKEN']}"}

    @contextmanager
    def instance(self, *, clock: Callable[[], float] | None = None) -> Generator[Instance]:
        """An instance in this process, closed at the end."""
        with surroundings(self.environment):
            instance = Instance.open(load(self.path), clock=clock)
        try:
            yield instance
        finally:
            instance.close()

    @contextmanager
    def client(
        self, *, clock: Callable[[], float] | None = None, address: str = "192.0.2.1"
    ) -> Generator[TestClient]:
        """A client of an application in this process, of which nothing raised comes out as such."""
        with self.instance(clock=clock) as instance:
            yield client_of(instance, address=address)

    @contextmanager
    def serve(self, *options: str, port: int = 0) -> Generator[Serving]:
        """Run `remit serve` on a free port of this machine."""
        log_path = self.folder / f"serve-{os.urandom(4).hex()}.log"
        command = [str(PROGRAM), "serve", "--config", str(self.path), "--port", str(port), "--json", *options]
        with log_path.open("w") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            line = _first_line(process)
            if not line:
                raise AssertionError(f"it did not start: {log_path.read_text()}")
            said = json.loads(line)
            yield Serving(process, said["url"], said["pid"], log_path, self.headers)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(PATIENCE)
            if process.stdout is not None:
                process.stdout.close()


def _first_line(process: subprocess.Popen[str]) -> str:
    stream = process.stdout
    if stream is None:
        raise AssertionError("it has no standard output")
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(stream.readline()), daemon=True)
    reader.start()
    reader.join(PATIENCE)
    return lines[0] if lines else ""


def client_of(instance: Instance, *, address: str = "192.0.2.1") -> TestClient:
    """A client of the application of an instance, at `address`."""
    return TestClient(
        create_app(instance),
        base_url=instance.url,
        client=(address, 50_000),
        raise_server_exceptions=False,
        follow_redirects=False,
    )


@contextmanager
def surroundings(environment: dict[str, str]) -> Generator[None]:
    """Have variables in the environment for a block."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def holder() -> HolderKey:
    """A fresh key of an agent."""
    return HolderKey.generate()


def credential_of(token: str, key: HolderKey) -> remit.Credential:
    """What an agent holds, to whom the service has issued `token`."""
    return remit.Credential.from_token([token], holder_key=key.private_jwk())
