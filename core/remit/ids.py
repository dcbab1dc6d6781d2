"""Token and proof identifiers: UUIDs of version 7 (RFC 9562, Section 5.7)."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["new_id"]

_VERSION: Final = 0x7 << 76
_VARIANT: Final = 0b10 << 62
_RANDOM: Final = ~((0xF << 76) | (0b11 << 62))


def new_id(now: float) -> str:
    """Return a fresh UUIDv7, lower-case and hyphenated; 74 of its bits are random.

    Args:
        now: seconds since the epoch, by the clock of whoever makes the identifier.
    """
    milliseconds = int(now * 1000) & (2**48 - 1)
    number = (milliseconds << 80) | (int.from_bytes(os.urandom(10), "big") & _RANDOM) | _VERSION | _VARIANT
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
