"""Issue figures for `SqliteLedger`: races of processes, writers that are killed, and how fast news travel."""

from __future__ import annotations

from pathlib import Path

import pytest

from .processes import ProcessContract


class TestSqliteProcesses(ProcessContract):
    """All on one file, which the first of them makes."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """Nobody has made the file yet."""
        return f"sqlite:///{tmp_path / 'ledger.db'}"
