"""Fixtures of the unit tests."""

from __future__ import annotations

import pytest

from .support import World


@pytest.fixture
def world() -> World:
    """One issuer and one guard on one clock."""
    return World()
