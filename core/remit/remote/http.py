"""Requests to the service, within bounds of time and size.

Invariants:

- nobody is asked but the server that was named: no redirect is followed, and no proxy, cookie or password
  comes in from anywhere;
- a whole exchange ends within its time, however slowly the server sends;
- no more of an answer is read than is allowed, and nothing is unpacked;
- no error shows anything of a request.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
import time
import weakref
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from remit._version import __version__
from remit.encoding import EncodingError, parse_object
from remit.errors import ConfigError, shown
from remit.files import as_path
from remit.forks import renew_in_child
from remit.names import seconds

try:
    # It lets the time of each read be bounded by that of the whole, which httpx, built on it, does not.
    import httpcore
except ImportError as _missing:
    raise ConfigError("the service is reached with httpcore: pip install 'remit[remote]'") from _missing

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from remit.encoding import JsonObject
    from remit.names import Duration

__all__ = ["JSON", "Answer", "Http", "NoAnswer", "check_url"]

JSON: Final = "application/json"
_LONGEST: Final = 60
"""Seconds: the longest that anybody may want to wait for an answer."""
_MAX_URL: Final = 2048
_URL: Final = re.compile(r"https?://[!-~]+", re.ASCII)
_CONNECTIONS: Final = 10
_IDLE: Final = 3.0
"""Seconds after which a connection is not used again: servers close them after five."""
_PIECE: Final = 65_536
_deadline: ContextVar[float] = ContextVar("remit-deadline")
"""When the exchange under way must have ended, by the monotonic clock."""


class NoAnswer(Exception):
    """The service gave no answer that can be used; the text says what it did instead."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What the service said."""

    status: int
    kind: str
    """Its media type, without parameters."""
    body: bytes

    def members(self) -> JsonObject:
        """Return the JSON object that it is.

        Raises:
            NoAnswer: when it is none.
        """
        if self.kind != JSON and not self.kind.endswith("+json"):
            raise NoAnswer("answered with something that is not JSON")
        try:
            return parse_object(self.body)
        except EncodingError as error:
            raise NoAnswer(f"answered with something that {error}") from None


class Http:
    """Connections to one server. Safe for threads.

    Args:
        url: where requests go; paths are put behind it.
        timeout: how long one exchange may take, in seconds.
        ca_file: the certificates (PEM) that the server's must lead to; those of the system by default.

    Raises:
        ConfigError: when an argument makes no sense.
    """

    def __init__(self, url: object, *, timeout: Duration, ca_file: str | os.PathLike[str] | None) -> None:
        self.url: str = check_url("the service's URL", url)
        self._timeout = seconds("timeout", timeout, maximum=_LONGEST)
        self._tls = None if ca_file is None and self.url.startswith("http:") else _tls(ca_file)
        self._lock = Lock()
        self._pool: httpcore.ConnectionPool | None = None
        self._closing: weakref.finalize[..., Any] | None = None
        renew_in_child(self)

    def renew(self) -> None:
        """Leave the connections to the process that this one was forked from."""
        if self._closing is not None:
            self._closing.detach()
        self._lock, self._pool, self._closing = Lock(), None, None

    def ask(
        self,
        method: str,
        url: str,
        *,
        most: int,
        headers: Sequence[tuple[str, str]] = (),
        content: bytes | None = None,
    ) -> Answer:
        """Return what the server says to one request, which is sent once.

        Args:
            method: `GET`, `POST`, `DELETE`.
            url: a path behind the server's URL, or a whole URL at the same server.
            most: bytes that the answer may have.
            headers: names and values.
            content: the body, if there is one.

        Raises:
            NoAnswer: when there is none that can be used, or nobody knows whether it was done.
        """
        target = self.url + url if url.startswith("/") else url
        sent = [("accept-encoding", "identity"), ("user-agent", f"remit/{__version__}"), *headers]
        waiting = dict.fromkeys(("connect", "pool", "read", "write"), float(self._timeout))
        started = _deadline.set(time.monotonic() + self._timeout)
        try:
            with self._opened().stream(
                method, target, headers=sent, content=content, extensions={"timeout": waiting}
            ) as response:
                return _read(response, most)
        except httpcore.TimeoutException:
            raise NoAnswer("did not answer in time") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            if isinstance(error.__cause__ or error.__context__, ssl.SSLCertVerificationError):
                raise NoAnswer("has a certificate that is not trusted") from None
            raise NoAnswer("cannot be reached, or did not end its answer") from None
        finally:
            _deadline.reset(started)

    def _opened(self) -> httpcore.ConnectionPool:
        with self._lock:
            if self._pool is None:
                self._pool = httpcore.ConnectionPool(
                    ssl_context=self._tls,
                    max_connections=_CONNECTIONS,
                    keepalive_expiry=_IDLE,
                    network_backend=_Backend(),
                )
                self._closing = weakref.finalize(self, self._pool.close)
                self._closing.atexit = False
            return self._pool

    def close(self) -> None:
        """Disconnect. It may be used again afterwards, and connects then."""
        with self._lock:
            closing, self._pool, self._closing = self._closing, None, None
        if closing is not None:
            closing()


def check_url(what: str, url: object) -> str:
    """Return a URL, without a slash at its end, whose server can be believed to be itself.

    Raises:
        ConfigError: when it is not `https`, or `http` on this machine. The message shows nothing of it: a
            password may stand in it.
    """
    parts = _split(url)
    if parts is None:
        raise ConfigError(
            f"{what} must be one such as 'https://auth.example', without a user, a password or a query"
        )
    if parts.scheme != "https" and not _is_here(parts.hostname or ""):
        raise ConfigError(
            f"{what} must begin with https: whoever is in between could answer instead; http is for this"
            " machine alone"
        )
    return parts.geturl().rstrip("/")


def _split(url: object) -> SplitResult | None:
    if not isinstance(url, str) or len(url) > _MAX_URL or not _URL.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # which is read here
    except ValueError:
        return None
    has_more = "@" in parts.netloc or "?" in url or "#" in url
    return None if has_more or not parts.hostname else parts


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext:
    if ca_file is None:
        return ssl.create_default_context()
    path = as_path(ca_file)
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ValueError):  # SSLError, which is an OSError, when there is no certificate in it
        raise ConfigError(f"ca_file {shown(str(path))} cannot be read, or holds no certificate") from None


def _read(response: httpcore.Response, most: int) -> Answer:
    if _said(response, b"content-encoding") not in {"", "identity"}:
        raise NoAnswer("answered with something that was packed, which nobody asked for")
    body = bytearray()
    for piece in response.iter_stream():
        body += piece
        if len(body) > most:
            raise NoAnswer(f"answered with more than {most} bytes")
    kind = _said(response, b"content-type").partition(";")[0].strip()
    return Answer(response.status, kind, bytes(body))


def _said(response: httpcore.Response, name: bytes) -> str:
    """Return the value of a header, or nothing; of one that is there twice, both."""
    values = [value for header, value in response.headers if header.lower() == name]
    return b", ".join(values).decode("latin-1").strip().lower()


def _left() -> float:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left


class _Stream(httpcore.NetworkStream):
    """A connection on which nothing waits for longer than the exchange may still take."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the whole's counts
        return self._stream.read(max_bytes, _left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - as above
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], _left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - as above
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left()))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Opens such connections."""

    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - as above
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._plain.connect_tcp(host, port, _left(), local_address, socket_options))
