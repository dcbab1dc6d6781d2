"""Ledgers: the shared state that offline verification cannot hold."""

from remit.ledger.base import Charge, Ledger, Revocation
from remit.ledger.memory import MemoryLedger

__all__ = ["Charge", "Ledger", "MemoryLedger", "Revocation"]
