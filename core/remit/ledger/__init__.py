"""Ledgers: the shared state that offline verification cannot hold."""

from remit.ledger.base import PAGE, Ledger, RemoteLedger
from remit.ledger.entries import (
    NEVER,
    PURGE_MARGIN,
    Change,
    Changes,
    Charge,
    LiveToken,
    Position,
    Revocation,
)
from remit.ledger.memory import MemoryLedger
from remit.ledger.open import open_ledger
from remit.ledger.view import RevocationView, view_of

__all__ = [
    "NEVER",
    "PAGE",
    "PURGE_MARGIN",
    "Change",
    "Changes",
    "Charge",
    "Ledger",
    "LiveToken",
    "MemoryLedger",
    "Position",
    "RemoteLedger",
    "Revocation",
    "RevocationView",
    "open_ledger",
    "view_of",
]
