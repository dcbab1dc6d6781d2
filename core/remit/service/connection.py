"""One HTTP/1.1 connection, with the bounds that uvicorn leaves open.

Invariants:

- a connection on which no request begins, or ends, is broken off: one byte now and then keeps nothing open;
- there are never more connections than `MOST`, and a file descriptor for each. For a new one another is
  broken off on which nothing is under way, so that whoever opens many keeps nobody out;
- what is no HTTP is answered with JSON like everything else, and reaches no route.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEAD_TIME", "Connection"]

HEAD_TIME: Final = 10.0
"""Seconds in which the head of a request must be there; up to twice as long, as nobody looks all the time."""
MOST: Final = 2000
"""Connections of one process."""

_SPARE_FILES: Final = 128
_BAD: Final = (400, b"Bad Request", "invalid_request", "This is not HTTP/1.1, or its head is too large.")
_BUSY: Final = (503, b"Service Unavailable", "too_busy", "There are too many connections; try again.")
_WORKING: Final = "working"
_CLOSING: Final = "closing"
_SENDS_HEAD: Final = (h11.IDLE, h11.SEND_RESPONSE)


class Connection(H11Protocol):
    """A connection that cannot be kept without using it. As `http=` of `uvicorn.Config`."""

    _look_again: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > _most():
            self._make_room()
        self._watch(self._state())

    def _make_room(self) -> None:
        others: Any = self.connections
        for other in others:
            if other is not self and other._state() not in (_WORKING, _CLOSING):  # noqa: SLF001 - of this class
                other.transport.abort()
                return
        self._answer(*_BUSY)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._look_again is not None:
            self._look_again.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - it says the same each time
        """Answer what is no HTTP; a request that is under way takes it for the end of the connection."""
        cycle: Any = self.cycle  # None before the first request, whatever it is annotated with
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state in _SENDS_HEAD:
            self._answer(*_BAD)
        else:
            self.transport.close()

    def _answer(self, status: int, phrase: bytes, code: str, reason: str) -> None:
        body = json.dumps({"code": code, "reason": reason}).encode("ascii")
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode("ascii")),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        head = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
        # Not by way of h11, whose state may be that of a request which is half there.
        self.transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, phrase, head, body))
        self.transport.close()

    def _state(self) -> object:
        """Return what changes whenever the connection does what connections are for."""
        if self.transport.is_closing():
            return _CLOSING
        cycle: Any = self.cycle
        if cycle is None:
            return "new"
        return cycle if cycle.response_complete else _WORKING

    def _watch(self, seen: object) -> None:
        self._look_again = self.loop.call_later(HEAD_TIME, self._look, seen)

    def _look(self, seen: object) -> None:
        state = self._state()
        if state is seen and state is not _WORKING:  # how long that takes, others see to
            self.transport.abort()
        else:
            self._watch(state)


def _most() -> int:
    try:
        import resource
    except ModuleNotFoundError:  # not a system that counts files so
        return MOST
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if files == resource.RLIM_INFINITY else max(1, min(MOST, files - _SPARE_FILES))
