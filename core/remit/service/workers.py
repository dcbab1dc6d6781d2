"""Several processes that serve at one socket. One that dies is replaced; one that cannot start ends them all.

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
from contextlib import closing
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final, NamedTuple

from remit.errors import RemitError
from remit.service.server import GRACE, Settings, log_as_json, open_instance, work
from remit.service.telemetry import SHARED_METRICS

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess
    from multiprocessing.synchronize import Event

__all__ = ["Workers"]

_TICK: Final = 0.1
_PATIENCE: Final = GRACE + 8.0
"""Seconds after which a worker that does not stop is killed; it ends itself before that."""


class _Worker(NamedTuple):
    process: SpawnProcess
    ready: Event


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
            The exit status: 1 when a worker could not start.
        """
        handlers = {one: signal.signal(one, self._heed) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            with tempfile.TemporaryDirectory(prefix="remit-metrics-") as folder:
                os.environ[SHARED_METRICS] = folder
                workers = [self._start() for _ in range(self._settings.workers)]
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
            wait([worker.process.sentinel for worker in workers], timeout=_TICK)
            for i, worker in enumerate(workers):
                if worker.process.is_alive() or self._stop.is_set():
                    continue
                if not worker.ready.is_set():
                    return 1
                workers[i] = self._start()
            if not said and all(worker.ready.is_set() for worker in workers):
                said = True
                ready()
        return 0

    def _start(self) -> _Worker:
        ready = self._context.Event()
        arguments = (self._settings, self._listener, ready)
        process = self._context.Process(target=_serve, args=arguments, name="remit-worker")
        process.start()
        return _Worker(process, ready)


def _serve(settings: Settings, listener: socket.socket, ready: Event) -> None:
    """Run in the worker."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    log_as_json()
    try:
        instance = open_instance(settings.config)
    except RemitError as error:
        logging.getLogger("remit").error("remit: a worker cannot start: %s", error)  # noqa: TRY400 - no trace
        sys.exit(1)
    with closing(instance):
        work(settings, instance, listener, ready=ready.set)


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
