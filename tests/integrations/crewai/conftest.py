"""CrewAI without telemetry and without a network, and with a home of its own."""

from __future__ import annotations

import os
import socket
import tempfile
import warnings
from collections.abc import Iterator
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

_HOME = tempfile.TemporaryDirectory(prefix="remit-crewai-")
os.environ.update(  # before CrewAI is imported
    CREWAI_DISABLE_TELEMETRY="true",
    CREWAI_TRACING_ENABLED="false",
    OTEL_SDK_DISABLED="true",
    XDG_DATA_HOME=_HOME.name,
)
with warnings.catch_warnings():  # CrewAI refuses an attribute that Python's import system sets
    warnings.filterwarnings("ignore", "Cannot set an attribute on 'crewai.rag'", ImportWarning)
    import_module("crewai")
_OWN_WARNINGS = (  # of CrewAI about itself
    "ignore:deprecated$:DeprecationWarning",
    "ignore:function_calling_llm is deprecated:DeprecationWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for warning in _OWN_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


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
