"""Calls that start at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

T = TypeVar("T")


def together(call: Callable[[int], T], threads: int) -> list[T]:
    """What `call` returns for 0, 1, 2…, each in a thread of its own, all started at once."""
    start = Barrier(threads)

    def run(number: int) -> T:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))
