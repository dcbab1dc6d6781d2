"""What every test shares: how Hypothesis runs, and ids that are the same in every process."""

import os

import pytest
from hypothesis import settings

# A slow machine is not a failing test; in CI the same commit always sees the same examples.
settings.register_profile("default", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse an address in a test's id: it differs in every process, and pytest-xdist shares tests out by id."""
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(
                f"{item.nodeid}: give what has no fixed `repr` an id: pytest.param(…, id=…)"
            )
