"""What is said about requests: a line of JSON in the log, and numbers for Prometheus.

Invariants:

- no token, secret, body, query or header of a request is written anywhere, and no path but its template;
- numbers have labels of which there are few: no agent's name, no identifier, no address;
- nothing waits for whoever reads the log: lines that nobody takes are dropped, and counted.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import secrets
import time
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import ClientDisconnect, Request

from remit.service.bounds import send_error
from remit.service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from remit.service.bounds import App, Message, Receive, Scope, Send

__all__ = ["REQUEST_ID", "JsonLines", "Log", "Metrics", "Telemetry", "log_as_json", "note"]

REQUEST_ID: Final = "X-Request-Id"
"""The header of an answer that says by which name the log knows it."""
SHARED_METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names where several workers keep their numbers."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_MOST_LINES: Final = 10_000
_LAST_LINES_TIME: Final = 2.0
_STANDARD_ERROR: Final = 2
_FIELDS: Final = "remit"
_HERE: Final = Path(__file__).resolve().parents[1]
_log: Final = logging.getLogger("remit.service")


def note(request: Request, *, token_id: str | None = None, issued: bool = False) -> None:
    """Note what a request was about, for the log and the numbers.

    Args:
        request: the request.
        token_id: the token it concerns, where there is one.
        issued: whether that token was issued for it.
    """
    if token_id is not None:
        request.state.token_id = token_id
    if issued:
        request.state.issued = True


class Metrics:
    """The numbers of one application. With several workers, what it shows is the sum of them all."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "remit_requests", "Requests.", ["route", "method", "status"], registry=registry
        )
        self._seconds = Histogram(
            "remit_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self._issued = Counter("remit_tokens_issued", "Tokens issued.", registry=registry)
        self._denials = Counter("remit_denials", "Refusals, by their code.", ["code"], registry=registry)
        self._failures = Counter(
            "remit_sign_in_failures", "Failures to sign in.", ["kind"], registry=registry
        )
        self._dropped = Counter("remit_log_lines_dropped", "Lines of the log dropped.", registry=registry)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def issued(self) -> None:
        """Count a token."""
        self._issued.inc()

    def denied(self, code: str) -> None:
        """Count a refusal."""
        self._denials.labels(code).inc()

    def sign_in_failed(self, kind: str) -> None:
        """Count a failure to sign in, of an `admin` or a `client`."""
        self._failures.labels(kind).inc()

    def line_dropped(self) -> None:
        """Count a line of the log that nobody took."""
        self._dropped.inc()

    def shown(self) -> tuple[bytes, str]:
        """Return all numbers as Prometheus reads them, and their content type."""
        registry = self._registry
        if os.environ.get(SHARED_METRICS):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST


class Telemetry:
    """Notes every request to an application, and answers where that fails.

    Args:
        app: the application.
        metrics: where requests are counted.
    """

    def __init__(self, app: App, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and say how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = secrets.token_hex(8)
        began = time.perf_counter()
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                line = (REQUEST_ID.lower().encode("ascii"), state["request_id"].encode("ascii"))
                message = {**message, "headers": [*message.get("headers", ()), line]}
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except ClientDisconnect:
            state["code"] = "disconnected"
        except Exception:  # noqa: BLE001 - a bug, whatever it is; its message and its trace may hold a token
            state["code"] = "internal_error"
            _log.exception("this is a bug")
            if status:
                raise _BrokenOffError from None
            await send_error(noted, ServiceError(500, "internal_error", "This is a bug; the log knows more."))
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        state: dict[str, Any] = scope["state"]
        route: str | None = getattr(scope.get("route"), "path", None)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.answered(route or "none", method, status, seconds)
        code, client = state.get("code"), scope.get("client")
        if code is not None:
            self._metrics.denied(code)
        if state.get("issued"):
            self._metrics.issued()
        fields = {
            "request_id": state["request_id"],
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "client": None if client is None else client[0],
            "code": code,
            "token_id": state.get("token_id"),
        }
        said = {name: value for name, value in fields.items() if value is not None}
        _log.info("request", extra={_FIELDS: said})


class _BrokenOffError(Exception):
    """An answer that had begun cannot be ended. It says nothing of what went wrong."""


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON. Of an error it tells the kind and the place, not the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage().removeprefix("remit: "),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["at"] = _place(record.exc_info[2])
        return json.dumps(line, default=str)


def _place(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_HERE)] or list(frames)
    return f"{Path(own[-1].filename).name}:{own[-1].lineno} ({own[-1].name})" if own else "unknown"


class Log(QueueHandler):
    """Takes records for a thread that writes them to standard error, and drops what it has no room for.

    Args:
        most: for how many lines it has room.
    """

    dropped: Callable[[], None] | None = None
    """Called for each line that is dropped."""

    def __init__(self, most: int = _MOST_LINES) -> None:
        self._lines: queue.Queue[logging.LogRecord] = queue.Queue(most)
        super().__init__(self._lines)
        self.setFormatter(JsonLines())
        QueueListener(self._lines, _Writer(self._drop)).start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Take a record, unless there is no room."""
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._drop()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - as logging calls it
        """Count it; to complain might take as long as to write."""
        self._drop()

    def finish(self) -> None:
        """Wait for the lines that were taken, but not for ever."""
        lines = self._lines
        with lines.all_tasks_done:
            lines.all_tasks_done.wait_for(lambda: not lines.unfinished_tasks, _LAST_LINES_TIME)

    def _drop(self) -> None:
        if self.dropped is not None:
            self.dropped()


class _Writer(logging.Handler):
    """Writes lines past Python's own buffer, whose lock would keep the process from ending."""

    def __init__(self, dropped: Callable[[], None]) -> None:
        super().__init__()
        self._dropped = dropped

    def createLock(self) -> None:  # noqa: N802 - as logging calls it
        """Have no lock: there is one thread, and when it hangs, nobody else is to wait for it at the end."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, however long that takes."""
        line = f"{record.getMessage()}\n".encode("utf-8", "backslashreplace")
        try:
            while line:
                line = line[os.write(_STANDARD_ERROR, line) :]
        except OSError:  # nobody reads it any more
            self._dropped()


@contextmanager
def log_as_json() -> Generator[Log]:
    """Have everything that is logged go to standard error, a line each, without anybody waiting for it."""
    log = Log()
    logging.root.handlers = [log]
    logging.root.setLevel(logging.WARNING)
    own = logging.getLogger("remit")
    own.handlers = []  # what a command prints for people
    own.setLevel(logging.INFO)
    try:
        yield log
    finally:
        log.finish()
