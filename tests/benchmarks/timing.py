"""Timing that compares: medians over rounds, all in one process, in microseconds."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

ROUNDS = 15
ROUND_SECONDS = 0.02


def micros(work: Callable[[], Any]) -> float:
    """Return the median time of one call of `work` over rounds of many calls, in microseconds."""
    return _median(partial(_called, work))


def micros_awaited(work: Callable[[], Awaitable[Any]]) -> float:
    """Return the same for a coroutine function, awaited in one event loop that stays."""
    with asyncio.Runner() as runner:
        return _median(lambda calls: runner.run(_awaited(work, calls)))


def side_by_side(works: dict[str, Callable[[], float]], *, rounds: int = 5) -> dict[str, float]:
    """Return the median of several measurements of each, taken in turns so that all see the same machine."""
    taken = [{name: measure() for name, measure in works.items()} for _ in range(rounds)]
    return {name: statistics.median(one[name] for one in taken) for name in works}


def once_each(work: Callable[[Any], Any], inputs: list[Any]) -> float:
    """Return the median time of `work` over inputs that can be used once each, in microseconds."""
    times = []
    for each in inputs:
        started = time.perf_counter()
        work(each)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6


def _median(seconds_of: Callable[[int], float]) -> float:
    """Return the median time of one call, in microseconds; `seconds_of` makes so many calls and times them."""
    seconds_of(1)
    calls = max(1, int(ROUND_SECONDS / max(seconds_of(1), 1e-7)))
    return statistics.median(seconds_of(calls) / calls for _ in range(ROUNDS)) * 1e6


def _called(work: Callable[[], Any], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        work()
    return time.perf_counter() - started


async def _awaited(work: Callable[[], Awaitable[Any]], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        await work()
    return time.perf_counter() - started
