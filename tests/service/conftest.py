"""Fixtures of the tests of the service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from .support import Deployment


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """A deployment with agents, scopes and a SQLite ledger."""
    return Deployment.make(tmp_path / "deployment")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client that the tests of a module share, for what leaves nothing behind. It is the administrator."""
    deployment = Deployment.make(tmp_path_factory.mktemp("shared") / "deployment")
    with deployment.client() as made, made:
        made.headers.update(deployment.headers)
        yield made


@pytest.fixture
def client(deployment: Deployment) -> Iterator[TestClient]:
    """A client of its application, in this process."""
    with deployment.client() as made:
        yield made


@pytest.fixture
def admin(deployment: Deployment) -> dict[str, str]:
    """The headers of its administrator."""
    return deployment.headers
