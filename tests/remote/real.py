"""A real service on a port of this machine: its policy file, its ledger and its keys, in a folder."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

import remit
from remit.config import load
from remit.service import Instance, create_app

URI: Final = "https://auth.acme.example"
ADMIN: Final = "an-admin-token-of-some-40-characters-abcd"
CLIENT: Final = ("pricing-agent", "the secret: of the+pricing/agent & 0123456789")
PATIENCE: Final = 30
POLICY: Final = """
[issuer]
uri = "{uri}"
key = "issuer.key"
anchors = "anchors"
[ledger]
url = "sqlite:///remit.db"
[audit]
path = "audit.jsonl"
[service]
admin_token = "env://REMIT_TEST_ADMIN"
url = "{url}"
require_nonce = true
[secrets]
BROKER_API_KEY = "env://BROKER_API_KEY"
[scopes]
READ = ["prices:read", "orders:read"]
[agents.pricing-agent]
client_secret = "env://REMIT_TEST_CLIENT"
scope = ["READ"]
capabilities = [
  {{ capability = "trades:propose", arguments = {{ symbol = {{ one_of = ["ACME", "INIT"] }}, amount = {{ min = 1, max = 1000 }} }} }},
]
secrets = {{ BROKER_API_KEY = ["trades:propose"] }}
limits."trades:propose" = {{ max_uses = 3 }}
ttl = "5m"
max_depth = 2
[agents.plain]
capabilities = ["prices:read"]
"""


@dataclass
class Real:
    """A service that runs."""

    url: str
    folder: Path
    instance: Instance

    def rotate(self) -> None:
        """Have another key sign, which is an anchor before; the old one stays trusted."""
        new = remit.Issuer.generate(URI)
        new.anchor.save(self.folder / "anchors" / f"{new.anchor.key.thumbprint}.json")
        new.save(self.folder / "new.key")
        (self.folder / "new.key").replace(self.folder / "issuer.key")

    def retire(self, kid: str) -> None:
        """Trust a key no more."""
        (self.folder / "anchors" / f"{kid}.json").unlink()


@contextmanager
def running(folder: Path) -> Generator[Real]:
    """A service for a block."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    key = remit.Issuer.generate(URI)
    key.save(folder / "issuer.key")
    (folder / "anchors").mkdir()
    key.anchor.save(folder / "anchors" / f"{key.anchor.key.thumbprint}.json")
    (folder / "remit.toml").write_text(POLICY.format(uri=URI, url=url))
    os.environ.update(REMIT_TEST_ADMIN=ADMIN, REMIT_TEST_CLIENT=CLIENT[1])
    try:
        instance = Instance.open(load(folder / "remit.toml"))
    finally:
        del os.environ["REMIT_TEST_ADMIN"], os.environ["REMIT_TEST_CLIENT"]
    server = uvicorn.Server(uvicorn.Config(create_app(instance), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        end = time.monotonic() + PATIENCE
        while not server.started:
            assert time.monotonic() < end, "it did not start"
            time.sleep(0.005)
        yield Real(url, folder, instance)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()
        instance.close()
