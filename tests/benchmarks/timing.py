"""Timing that compares: medians over rounds, all in one process, in microseconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 15
ROUND_SECONDS = 0.02


def micros(work: Callable[[], Any]) -> float:
    """Return the median time of one call of `work` over rounds of many calls, in microseconds."""
    work()
    started = time.perf_counter()
    work()
    once = max(time.perf_counter() - started, 1e-7)
    calls = max(1, int(ROUND_SECONDS / once))
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(calls):
            work()
        rounds.append((time.perf_counter() - started) / calls)
    return statistics.median(rounds) * 1e6


def once_each(work: Callable[[Any], Any], inputs: list[Any]) -> float:
    """Return the median time of `work` over inputs that can be used once each, in microseconds."""
    times = []
    for each in inputs:
        started = time.perf_counter()
        work(each)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6
