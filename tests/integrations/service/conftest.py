"""A world, and an application of each framework in it."""

from __future__ import annotations

from typing import Any

import pytest

from .support import APPS, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=APPS)
def app(request: pytest.FixtureRequest, world: World) -> Any:
    return APPS[request.param](world)
