"""`SqliteLedger` keeps the contract, and keeps it in a file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from remit.ledger.sqlite import SqliteLedger

from .contract import LedgerContract, NewStore, Opener


class TestSqliteLedger(LedgerContract):
    """Each file is a store."""

    examples: ClassVar[int] = 40

    @pytest.fixture
    def new_store(self, tmp_path: Path) -> NewStore:
        """A new file each time."""
        made: list[Path] = []

        def new() -> Opener:
            made.append(tmp_path / f"ledger-{len(made)}.db")
            path = made[-1]
            return lambda: SqliteLedger(path)

        return new
