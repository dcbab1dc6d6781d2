"""`MemoryLedger` keeps the contract; it is also the model that the others are compared with."""

from __future__ import annotations

from typing import ClassVar

import pytest

from remit.ledger import Ledger, MemoryLedger

from .contract import LedgerContract, NewStore, Opener


class TestMemoryLedger(LedgerContract):
    """In memory, one object is one store."""

    examples: ClassVar[int] = 50

    @pytest.fixture
    def new_store(self) -> NewStore:
        """An object, which is its own store."""

        def new() -> Opener:
            ledger: Ledger = MemoryLedger()
            return lambda: ledger

        return new
