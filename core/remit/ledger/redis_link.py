"""The connections of one process to a Redis server.

Invariants:

- a command that may have been done is never sent again. What is sent again is what the server said it
  has not done: it does not know the script, or another node of its cluster has the keys;
- a connection that the server has closed is found out before anything is sent on it;
- no connection is shared over a fork;
- no error shows the password.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

from remit.errors import ConfigError
from remit.ledger.redis_scripts import NEWER
from remit.names import seconds

try:
    from redis.backoff import NoBackoff
    from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
    from redis.exceptions import ConnectionError as NotConnected
    from redis.exceptions import MovedError, NoScriptError, RedisError, ResponseError
    from redis.exceptions import TimeoutError as TimedOut
    from redis.retry import Retry
except ImportError as _missing:
    raise ConfigError("RedisLedger needs redis: pip install 'remit[redis]'") from _missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from remit.ledger.redis_scripts import Script
    from remit.names import Duration

__all__ = ["Address", "Link", "ResponseError"]

_LONGEST: Final = 60
"""Seconds: the longest that anybody may want to wait for an answer."""
_MAX_IDLE: Final = 16
"""How many connections are kept for later."""
_MAX_AGE: Final = 60.0
"""Seconds after which one that nobody used is not used again: a firewall may have dropped it unseen."""
_MAX_MOVES: Final = 3
_SILENCE: Final = 15.0
"""Seconds after which a subscription on which nothing came is asked whether it is still there."""
_MAX_MESSAGES: Final = 1000
"""How many messages are taken for one."""
_MAX_DIGITS: Final = 6
_TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
_BOOLEANS: Final = {"true": True, "yes": True, "false": False, "no": False}

_CLASSES: Final = {"redis": Connection, "rediss": SSLConnection, "unix": UnixDomainSocketConnection}


class _Wire(Protocol):
    """What is used of a connection of redis-py, which says little about its types."""

    def connect(self) -> None: ...
    def send_command(self, *command: Any) -> None: ...
    def read_response(self) -> Any: ...
    def can_read(self, timeout: float = 0) -> bool: ...
    def disconnect(self) -> None: ...


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where a server is, and how it is reached."""

    scheme: str
    options: Mapping[str, Any]
    """What a connection is made with."""
    prefix: str | None
    """The ledger's prefix, where the URL names one."""

    @classmethod
    def read(cls, url: object) -> Address:
        """Return what a URL says.

        Raises:
            ConfigError: when it is none for a Redis server. The message shows nothing of it: any part
                may be one of a password that was not percent-encoded.
        """
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            port = parts.port
        except ValueError:
            raise ConfigError(
                "the URL of a Redis ledger is not well-formed; is its password percent-encoded?"
            ) from None
        if parts.scheme not in _CLASSES or parts.fragment or "://" not in str(url):
            raise ConfigError("the URL of a Redis ledger is 'redis://host:6379/0', or 'rediss:' with TLS")
        options = _query(parts.scheme, parts.query)
        prefix = options.pop("prefix", None)
        for name, value in (("username", parts.username), ("password", parts.password)):
            if value:
                options[name] = unquote(value)
        if parts.scheme == "unix":
            if parts.hostname or not parts.path:
                raise ConfigError("the URL of a Redis ledger at a socket is 'unix:///run/redis.sock'")
            options["path"] = unquote(parts.path)
        else:
            options["host"], options["port"] = unquote(parts.hostname or "localhost"), port or 6379
            options["socket_keepalive"] = True
            if parts.path not in {"", "/"}:
                options["db"] = _database(parts.path[1:])
        return cls(parts.scheme, options, prefix)

    @property
    def name(self) -> str:
        """The server's address without names and passwords."""
        options = self.options
        where = options["path"] if self.scheme == "unix" else f"{options['host']}:{options['port']}"
        return f"{where}/{options.get('db', 0)}"

    def shows(self, text: str) -> bool:
        """Whether a text quotes the password."""
        password = self.options.get("password")
        return password is not None and (password in text or quote(password, safe="") in text)


def _query(scheme: str, query: str) -> dict[str, Any]:
    known = ("db", "prefix", *(_TLS_OPTIONS if scheme == "rediss" else ()))
    options: dict[str, Any] = {}
    for name, values in parse_qs(query, keep_blank_values=True).items():
        value: Any = values[0]
        if name == "db":
            value = _database(value)
        elif name == "ssl_check_hostname":
            value = _BOOLEANS.get(value.lower())
        if name not in known or len(values) > 1 or value is None:
            raise ConfigError(
                "the URL of a Redis ledger has an option that is not known, is there twice or makes no sense"
                f" (known: {', '.join(known)})"
            )
        options[name] = value
    return options


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise ConfigError("the URL of a Redis ledger ends with the number of a database, such as '/0'")
    return int(text)


class Link:
    """Connections to one server, or to the node of a cluster that has the ledger's keys. Safe for threads.

    Args:
        address: where the server is.
        timeout: the longest that connecting may take, and that waiting for an answer may.

    Raises:
        ConfigError: when no connection can be made with what the address says.
    """

    def __init__(self, address: Address, timeout: Duration) -> None:
        self.address = address
        self.timeout: int = seconds("timeout", timeout, maximum=_LONGEST)
        self._moved: tuple[str, int] | None = None
        """The node of a cluster that has the keys, when it is not the one of the address."""
        self._reset()
        try:
            self._make(self.timeout)
        except (TypeError, ValueError, OSError, RedisError) as error:
            raise ConfigError(
                f"no connection can be made with the URL of the Redis ledger ({type(error).__name__})"
            ) from None

    def _reset(self) -> None:
        self._idle: deque[tuple[_Wire, float]] = deque()
        """Connections, and when they were last used."""
        self._listeners: dict[int, _Listener] = {}
        """By thread: each that waits has its own."""
        self._process = os.getpid()

    def run(
        self, script: Script, keys: Sequence[str | bytes], arguments: Iterable[Any], more: int = 0
    ) -> Any:
        """Return what a script says.

        Args:
            script: the script.
            keys: all keys that it uses.
            arguments: text, bytes or numbers.
            more: seconds by which the answer may take longer than usual.

        Raises:
            RedisError: when it was not done, or nobody knows whether it was.
            ConfigError: when a newer version has written the store.
        """
        rest = (len(keys), *keys, *arguments)
        try:
            try:
                return self.ask("EVALSHA", script.digest, *rest, more=more)
            except NoScriptError:  # then it was not done
                return self.ask("EVAL", script.text, *rest, more=more)
        except ResponseError as error:
            if not str(error).startswith(NEWER):
                raise
        raise ConfigError("the store of the Redis ledger was written by a newer version of Remit")

    def ask(self, *command: Any, more: int = 0) -> Any:
        """Return the server's answer to one command, which is sent once.

        Raises:
            RedisError: when it was not done, or nobody knows whether it was.
        """
        try:
            for _ in range(_MAX_MOVES):
                try:
                    return self._ask(command, more)
                except MovedError as error:  # then it was not done
                    moved: tuple[str, int] = cast("Any", error).node_addr
                self._move(*moved)
        except RedisError as error:
            if "READONLY" in str(error):  # another server has its place, and maybe its name
                self._drop()
            if not self.address.shows(str(error)):
                raise
            failure = f"the Redis server failed with {type(error).__name__}, which showed the password"
        else:
            failure = "no node of the Redis cluster has the ledger's keys"
        raise RedisError(failure)

    def _ask(self, command: Sequence[Any], more: int) -> Any:
        wire = self._open(self.timeout + more) if more else self._take()
        try:
            wire.send_command(*command)
            answer = wire.read_response()
        except ResponseError:
            self._give(wire, more)
            raise
        except BaseException:  # also an interrupt: an answer that comes later is not one to the next question
            wire.disconnect()
            raise
        self._give(wire, more)
        return answer

    def _take(self) -> _Wire:
        if self._process != os.getpid():
            self._reset()
        while True:
            try:
                wire, used = self._idle.pop()
            except IndexError:
                return self._open(self.timeout)
            if time.monotonic() - used < _MAX_AGE and _is_good(wire):
                return wire
            wire.disconnect()

    def _give(self, wire: _Wire, more: int) -> None:
        if more or len(self._idle) >= _MAX_IDLE:
            wire.disconnect()
        else:
            self._idle.append((wire, time.monotonic()))

    def _make(self, timeout: int) -> _Wire:
        options = dict(self.address.options)
        if self._moved is not None:
            options["host"], options["port"] = self._moved
        kind = cast("Callable[..., _Wire]", _CLASSES[self.address.scheme])
        return kind(
            socket_timeout=timeout,
            socket_connect_timeout=self.timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            **options,
        )

    def _open(self, timeout: int) -> _Wire:
        wire = self._make(timeout)
        try:
            wire.connect()
        except (NotConnected, TimedOut):
            if self._moved is None:
                raise
            # The node is gone; the one of the address knows who took its place.
            self._moved = None
            wire = self._make(timeout)
            wire.connect()
        return wire

    def _move(self, host: str, port: int) -> None:
        if self.address.scheme == "unix":
            raise RedisError("another node of the Redis cluster has the ledger's keys: use its host and port")
        self._moved = (host or self.address.options["host"], port)
        self._drop()

    def _drop(self) -> None:
        idle, self._idle = self._idle, deque()
        for wire, _ in idle:
            wire.disconnect()

    def wait(self, channel: str, timeout: float) -> None:
        """Wait for a message on `channel`, or for `timeout` seconds; listen from the first call on.

        Raises:
            RedisError: when messages may have been missed. The next call listens anew.
        """
        if self._process != os.getpid():
            self._reset()
        own = threading.get_ident()
        try:
            listener = self._listeners.get(own)
            if listener is None:
                listener = self._listeners[own] = _Listener(self._open(self.timeout), channel)
            listener.wait(max(timeout, 0.0), self.timeout)
        except BaseException as error:  # also an interrupt: what it heard until then is lost
            listener = self._listeners.pop(own, None)
            if listener is not None:
                listener.close()
            if isinstance(error, RedisError) and not self.address.shows(str(error)):
                raise
            if not isinstance(error, (RedisError, OSError, ValueError, AttributeError)):
                raise
            failure = type(error).__name__  # that of a socket which another thread has closed is any of them
        else:
            return
        raise NotConnected(f"the Redis server was no longer listened to ({failure})")

    def close(self) -> None:
        """Disconnect what is idle and what listens."""
        if self._process != os.getpid():
            self._reset()
        listeners, self._listeners = self._listeners, {}
        for listener in listeners.values():
            listener.close()
        self._drop()


def _is_good(wire: _Wire) -> bool:
    try:
        return not wire.can_read()  # it could read the end, or an answer nobody waited for
    except (RedisError, OSError):
        return False


class _Listener:
    """A connection that has subscribed to a channel."""

    def __init__(self, wire: _Wire, channel: str) -> None:
        self._wire = wire
        self._heard = time.monotonic()
        self._asked: float | None = None
        """When it was asked whether it is still there, and has not answered."""
        try:
            wire.send_command("SUBSCRIBE", channel)
            wire.read_response()
        except BaseException:  # also an interrupt: nobody else would disconnect it
            wire.disconnect()
            raise

    def wait(self, timeout: float, patience: float) -> None:
        now = time.monotonic()
        if self._asked is not None and now - self._asked > patience:
            raise TimedOut("the Redis server is silent")
        if self._asked is None and now - self._heard > _SILENCE:
            self._wire.send_command("PING")
            self._asked = now
        count = 0
        while count < _MAX_MESSAGES and self._wire.can_read(0.0 if count else timeout):
            self._wire.read_response()
            self._heard, self._asked = time.monotonic(), None
            count += 1

    def close(self) -> None:
        self._wire.disconnect()
