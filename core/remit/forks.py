"""What a forked process must not share with its parent: locks, connections, values."""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol

__all__ = ["renew_in_child"]


class _Renewed(Protocol):
    def renew(self) -> None: ...


_renewed: Final[weakref.WeakSet[_Renewed]] = weakref.WeakSet()


def renew_in_child(part: _Renewed) -> None:
    """Have `part.renew()` called in every process that is forked from this one, for as long as it lives."""
    _renewed.add(part)


def _renew_all() -> None:
    for part in list(_renewed):
        part.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_renew_all)
