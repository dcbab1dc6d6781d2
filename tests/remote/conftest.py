"""Fixtures of the tests of the service from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .support import FakeService


@pytest.fixture
def service() -> Iterator[FakeService]:
    """A service that a test can have say anything."""
    made = FakeService()
    yield made
    made.server.stop()
