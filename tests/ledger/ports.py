"""Ports for servers that tests start, stop and start again while other tests run."""

from __future__ import annotations

import secrets
import socket
from typing import Final

BUS: Final = 10_000
"""How far above its port the nodes of a Redis cluster talk to one another."""
_FIRST: Final = 12_000
_COUNT: Final = 10_000


def free_port() -> int:
    """A port of the loopback device that nobody uses, and whose cluster bus nobody uses.

    It is none of those that a system gives to clients (from 32,768 on Linux): those may be taken at any moment,
    also while the server is away for a while.
    """
    while True:
        port = _FIRST + secrets.randbelow(_COUNT)
        with socket.socket() as one, socket.socket() as bus:
            try:
                one.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + BUS))
            except OSError:
                continue
            return port
