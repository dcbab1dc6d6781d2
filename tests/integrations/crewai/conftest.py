"""CrewAI without a network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail each test that reaches for anything but this machine."""
    asked: list[Any] = []
    connect = socket.socket.connect

    def checked(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not _is_here(address[0]):
            asked.append(address)
            raise OSError(f"no network in tests: {address}")
        connect(self, address)

    def resolved(host: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        raise OSError(f"no network in tests: {host}")

    monkeypatch.setattr(socket.socket, "connect", checked)
    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    yield
    assert not asked


def _is_here(host: str) -> bool:
    return host == "localhost" or ip_address(host).is_loopback


@pytest.fixture
def world() -> Any:
    """An issuer, the guard that trusts it, and what they recorded."""
    from remit.testing.world import World

    return World()
