"""Fixtures of the tests of the console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .support import Clock, Console, Deployment


@pytest.fixture
def clock() -> Clock:
    """The clock of the service, which tests set."""
    return Clock()


@pytest.fixture
def console(tmp_path: Path, clock: Clock) -> Iterator[Console]:
    """A console at which nobody has signed in."""
    deployment = Deployment.make(tmp_path / "deployment")
    with deployment.instance(clock=clock) as instance:
        yield Console(deployment, instance)


@pytest.fixture
def signed_in(console: Console) -> Console:
    """A console at which the administrator has signed in."""
    console.sign_in()
    return console
