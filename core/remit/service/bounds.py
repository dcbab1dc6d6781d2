"""Bounds of size and time, around the whole application: no request takes more than its share.

Invariants:

- a body that says it is larger than `MAX_BODY` is refused before any of it is read, and one that turns out
  to be is refused as soon as it is;
- a body that is not there in time, and an answer that is not, end the request. What a thread is doing then
  goes on, and still counts as a request, so that there are never more of them than `AT_ONCE`;
- whether the process lives and can work is answered whatever else is going on;
- bodies that are being worked on take no more than `BODIES` together. The beginning of each always has room,
  so that large ones do not keep small ones out;
- whoever is still sending when the answer is there has the connection closed, after a short while in which
  what comes is thrown away, so that the answer is not lost with it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from remit.service.errors import ServiceError
from remit.service.intake import MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["ANSWER_TIME", "AT_ONCE", "BODIES", "BODY_TIME", "MAX_HEAD", "Bounds", "send_error"]

BODY_TIME: Final = 10.0
"""Seconds in which a whole body must be there."""
ANSWER_TIME: Final = 30.0
"""Seconds in which a whole answer must be there."""
MAX_HEAD: Final = 32_768
"""Bytes of the head of a request: its path and its headers."""
AT_ONCE: Final = 1000
"""How many requests one process works on."""
BODIES: Final = 64 * MAX_BODY
"""Bytes of all bodies that one process keeps at once."""

_OPEN: Final = frozenset({"/healthz", "/readyz"})
_BEGINNING: Final = 16_384
_LINGER_TIME: Final = 1.0
_LINGER_BYTES: Final = 16 * MAX_BODY
_MAX_LENGTH: Final = 18


async def send_error(send: Send, error: ServiceError) -> None:
    """Answer with an error, where no route does."""
    body = json.dumps({"code": error.code, "reason": error.reason}).encode("ascii")
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error.headers}
    lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": lines})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Bounds:
    """Keeps the requests to an application within bounds.

    Args:
        app: the application.
        body_time: as `BODY_TIME`.
        answer_time: as `ANSWER_TIME`.
        at_once: as `AT_ONCE`.
        bodies: as `BODIES`.
    """

    def __init__(
        self,
        app: App,
        *,
        body_time: float = BODY_TIME,
        answer_time: float = ANSWER_TIME,
        at_once: int = AT_ONCE,
        bodies: int = BODIES,
    ) -> None:
        self._app = app
        self._body_time, self._answer_time, self._at_once = body_time, answer_time, at_once
        self._running: set[asyncio.Task[None]] = set()
        self._room = _Room(bodies - at_once * _BEGINNING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, within bounds."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope["headers"], receive, send, self._body_time, self._room)
        is_open = scope["path"] in _OPEN
        error = (None if is_open else self._refusal()) or _head_refusal(scope) or exchange.refusal()
        if error is not None:
            await send_error(exchange.send, error)
            return
        task = asyncio.ensure_future(self._run(scope, exchange))
        if not is_open:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        try:
            await asyncio.wait({task}, timeout=self._answer_time)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            task.result()
            return
        task.add_done_callback(_ended)
        task.cancel()
        await exchange.give_up()

    async def _run(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            exchange.forget()

    def _refusal(self) -> ServiceError | None:
        return None if len(self._running) < self._at_once else _too_busy()


class _Room:
    """How many bytes there are for what bodies have beyond their beginning."""

    def __init__(self, size: int) -> None:
        self.left = size


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        headers: list[tuple[bytes, bytes]],
        receive: Receive,
        send: Send,
        body_time: float,
        room: _Room,
    ) -> None:
        self._receive, self._send, self._room = receive, send, room
        self._taken = 0
        """Bytes of the room."""
        self._lengths = [value for name, value in headers if name == b"content-length"]
        self._codings = [value for name, value in headers if name == b"transfer-encoding"]
        self._deadline = asyncio.get_running_loop().time() + body_time
        self._left = MAX_BODY
        self._complete = not self._codings and self._lengths in ([], [b"0"])
        self._late = False
        """Whether the request was given up, so that what still comes of it is thrown away."""
        self._started = False

    def refusal(self) -> ServiceError | None:
        """Return why a request is refused by its headers alone."""
        if len(self._lengths) + len(self._codings) > 1:  # two parties may see two different bodies
            return ServiceError(400, "invalid_request", "The length of the body is said twice.")
        if self._lengths and not (self._lengths[0].isdigit() and len(self._lengths[0]) <= _MAX_LENGTH):
            return ServiceError(400, "invalid_request", "The length of the body is no number.")
        if self._lengths and int(self._lengths[0]) > MAX_BODY:
            return _too_large()
        return None

    async def receive(self) -> Message:
        """Return what comes next of the body, unless it is too much or too late."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise ServiceError(408, "timeout", "The body did not come in time.") from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _too_large()
        self._take(max(0, MAX_BODY - self._left - _BEGINNING))
        self._complete = not message.get("more_body", False)
        return message

    def _take(self, size: int) -> None:
        self._room.left -= size - self._taken
        self._taken = size
        if self._room.left < 0:
            raise _too_busy()

    def forget(self) -> None:
        """Give the room back that the body has taken."""
        self._room.left += self._taken
        self._taken = 0

    async def send(self, message: Message) -> None:
        """Pass an answer on. With a body that is still coming, it is the last on this connection."""
        if self._late:
            return
        if message["type"] == "http.response.start":
            self._started = True
            if not self._complete:
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        elif not self._complete and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def give_up(self) -> None:
        """End an exchange that takes too long; an answer that has begun is broken off."""
        if not self._started:
            reason = "This takes too long; what was asked for may have been done, or not."
            await send_error(self.send, ServiceError(503, "timeout", reason))
        self._late = True

    async def _linger(self) -> None:
        left = _LINGER_BYTES
        try:
            async with asyncio.timeout(_LINGER_TIME):
                while left > 0:
                    message = await self._receive()
                    if not message.get("more_body", False):
                        return
                    left -= len(message["body"])
        except TimeoutError:
            return


def _head_refusal(scope: Scope) -> ServiceError | None:
    size = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
    size += sum(len(name) + len(value) for name, value in scope["headers"])
    if size <= MAX_HEAD:
        return None
    return ServiceError(431, "too_large", f"The head of the request is larger than {MAX_HEAD} bytes.")


def _too_busy() -> ServiceError:
    reason = "There is too much to do; try again."
    return ServiceError(503, "too_busy", reason, headers={"Retry-After": "1"})


def _too_large() -> ServiceError:
    return ServiceError(413, "too_large", f"The body is larger than {MAX_BODY} bytes.")


def _ended(task: asyncio.Task[None]) -> None:
    """Take notice of how a request ended that was given up, so that nothing warns of it."""
    if not task.cancelled():
        task.exception()
