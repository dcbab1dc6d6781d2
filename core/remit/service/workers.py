"""Several processes that serve at one socket. One that dies is replaced.

When the service starts, a worker that cannot ends them all. Later it is tried again, with a pause that grows:
what keeps it from starting may pass, and the others go on meanwhile.

uvicorn has such a supervisor, whose interface changes from release to release.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import closing
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final, NamedTuple

from remit.errors import RemitError
from remit.service.server import GRACE, Settings, open_instance, stop_signals, work
from remit.service.telemetry import SHARED_METRICS, log_as_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess
    from multiprocessing.synchronize import Event

__all__ = ["Workers"]

_TICK: Final = 0.1
_PATIENCE: Final = GRACE + 8.0
"""Seconds after which a worker that does not stop is killed; it ends itself before that."""


_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
"""Seconds from one try to the next; a worker that has worked for as long is replaced at once."""


class _Worker(NamedTuple):
    process: SpawnProcess
    ready: Event
    began: float
    pause: float
    """Seconds from its start until it is replaced, when it dies before."""


class Workers:
    """Processes that serve at one socket.

    Args:
        settings: how many there are, and what they do.
        listener: where they listen.
    """

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings, self._listener = settings, listener
        self._context = multiprocessing.get_context("spawn")
        self._stop = threading.Event()

    def run(self, *, ready: Callable[[], None]) -> int:
        """Run them until a signal says to stop.

        Args:
            ready: called when all of them answer requests.

        Returns:
            The exit status: 1 when a worker could not start at first.
        """
        handlers = {one: signal.signal(one, self._heed) for one in stop_signals()}
        try:
            with tempfile.TemporaryDirectory(prefix="remit-metrics-") as folder:
                os.environ[SHARED_METRICS] = folder
                workers = [self._start(_FIRST_PAUSE) for _ in range(self._settings.workers)]
                try:
                    return self._watch(workers, ready)
                finally:
                    _end(workers)
                    del os.environ[SHARED_METRICS]
        finally:
            for one, handler in handlers.items():
                signal.signal(one, handler)

    def _heed(self, *_: object) -> None:
        self._stop.set()

    def _watch(self, workers: list[_Worker], ready: Callable[[], None]) -> int:
        said = False
        while not self._stop.is_set():
            wait([one.process.sentinel for one in workers if one.process.is_alive()], timeout=_TICK)
            for i, worker in enumerate(workers):
                if worker.process.is_alive() or self._stop.is_set():
                    continue
                if not (said or worker.ready.is_set()):
                    return 1
                workers[i] = self._replaced(worker)
            if not said and all(worker.ready.is_set() for worker in workers):
                said = True
                ready()
        return 0

    def _replaced(self, worker: _Worker) -> _Worker:
        """Return another worker for one that has died, or the same for as long as there is a pause."""
        age = time.monotonic() - worker.began
        if age < worker.pause:
            return worker
        has_worked = worker.ready.is_set() and age >= _LONGEST_PAUSE
        pause = _FIRST_PAUSE if has_worked else min(2 * worker.pause, _LONGEST_PAUSE)
        try:
            return self._start(pause)
        except OSError:  # there are no more processes, or files, for now
            return worker._replace(began=time.monotonic(), pause=pause)

    def _start(self, pause: float) -> _Worker:
        ready = self._context.Event()
        arguments = (self._settings, self._listener, ready)
        process = self._context.Process(target=_serve, args=arguments, name="remit-worker")
        process.start()
        return _Worker(process, ready, time.monotonic(), pause)


def _serve(settings: Settings, listener: socket.socket, ready: Event) -> None:
    """Run in the worker."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    with log_as_json() as log:
        try:
            instance = open_instance(settings.config)
        except RemitError as error:
            logging.getLogger("remit").error("remit: a worker cannot start: %s", error)  # noqa: TRY400 - no trace
            sys.exit(1)
        with closing(instance):
            work(settings, instance, listener, log=log, ready=ready.set)


def _end_with(sentinel: int) -> None:
    """Stop when the process ends that started this one."""
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
