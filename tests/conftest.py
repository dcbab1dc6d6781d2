"""What every test shares: how Hypothesis runs, frameworks that keep to themselves, ids that never change."""

import os
import tempfile

import pytest
from hypothesis import settings

# Before any framework is imported: it tells nobody that it runs, and writes nothing into the tester's home.
_HOME = tempfile.TemporaryDirectory(prefix="remit-tests-")
os.environ.update(
    CREWAI_DISABLE_TELEMETRY="true",
    CREWAI_TRACING_ENABLED="false",
    LANGSMITH_TRACING="false",
    XDG_DATA_HOME=_HOME.name,
)

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
