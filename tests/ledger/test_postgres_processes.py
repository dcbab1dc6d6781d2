"""Issue figures for `PostgresLedger`: races of processes, writers that are killed, and how fast news travel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .postgres_server import PostgresServer
from .processes import ProcessContract

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One server for the module; each test has a database of its own. It is not to outlive a power cut."""
    running = PostgresServer(fsync="off")
    try:
        yield running.start()
    finally:
        running.remove()


class TestPostgresProcesses(ProcessContract):
    """All in one database, in which the first of them makes the schema."""

    @pytest.fixture
    def url(self, server: PostgresServer) -> str:
        """Nobody has made the schema yet."""
        return server.dsn(database=server.new_database())
