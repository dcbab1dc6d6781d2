"""Fixtures of the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from .support import POLICY, URI, Deployment, run


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REMIT_CONFIG", "REMIT_CREDENTIAL", "BROKER_API_KEY", "ORDERS_DB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """A deployment with two agents."""
    run("init", "--issuer", URI)
    with (tmp_path / "remit.toml").open("a", encoding="utf-8") as file:
        file.write(POLICY)
    return Deployment(tmp_path)
