"""Connections to a PostgreSQL server: how they are made, kept, waited for and given up.

Invariants:

- nothing is waited for longer than the patience it was made with, also when the server is there but
  says nothing. What was given up on is closed, and never used again;
- a connection is connected in the thread that needs it, which so learns at once that it cannot be. No
  threads are started;
- a connection that was closed from the other end is not handed out, and nothing need be sent to know;
- nothing is kept in a session: no settings and no prepared statements. So a pooler between this and
  the server may give each transaction another one;
- a connection is used by the process that made it only;
- no password is in what can be printed, logged or raised.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from remit.errors import ConfigError
from remit.forks import renew_in_child

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.pq import TransactionStatus
    from psycopg.sql import SQL, Identifier
except ImportError as _error:
    raise ConfigError("PostgresLedger needs psycopg: pip install 'remit[postgres]'") from _error

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg.abc import RV, PQGen

__all__ = ["Connection", "Listener", "Pool", "Server"]

_IDLE: Final = 300.0
"""Seconds after which an unused connection is not used again: something on the way may have dropped it."""
_OLDEST: Final = 130_000
"""The oldest version of the server that has all that is used."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that raises when the server says nothing for `patience` seconds."""

    patience: float = 2.0
    made_for: int = 0
    """Which use of the pool it was made for; one that was closed since does not take it back."""

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Wait as psycopg does, but not for ever."""
        return super().wait(_until_silent(gen, self.patience), *args, **kwargs)

    def __del__(self, *_: object) -> None:
        """Say nothing: the ledger was dropped, and libpq closes what this process has opened."""

    @property
    def spoken_to(self) -> bool:
        """Whether something has come in while nobody asked: mostly that the server has gone."""
        return readable([self.fileno()], 0)


def _until_silent(gen: PQGen[RV], patience: float) -> PQGen[RV]:
    try:
        wanted = next(gen)
        deadline = time.monotonic() + patience
        while True:
            ready = yield wanted
            if ready:
                deadline = time.monotonic() + patience
            elif time.monotonic() >= deadline:
                raise psycopg.OperationalError(f"the server has said nothing for {patience:g} seconds")
            wanted = gen.send(ready)
    except StopIteration as done:
        result: RV = done.value
        return result


def readable(files: list[int], timeout: float) -> bool:
    """Wait until one of the files can be read from, for `timeout` seconds; tell whether one can."""
    if not hasattr(select, "poll"):
        return bool(select.select(files, (), (), timeout)[0])
    poll = select.poll()  # unlike select(), it takes numbers above 1024
    for file in files:
        poll.register(file, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


class Server:
    """Where the server is and how it is spoken to.

    Args:
        dsn: a URL or a connection string, as libpq reads them; a URL may have `schema` besides.
        patience: seconds that it may take to connect, and that the server may say nothing.

    Raises:
        ConfigError: when the former cannot be read. The message shows nothing of it.
    """

    def __init__(self, dsn: str, patience: int) -> None:
        dsn, schema = _without_schema(dsn)
        self.schema: str | None = schema
        self._parameters = _read(dsn)
        self.patience = patience
        milliseconds = str(patience * 1000)
        for name, value in {
            "application_name": "remit",
            "connect_timeout": str(patience),
            "target_session_attrs": "read-write",  # what a standby knows of revocations is old
            "tcp_user_timeout": milliseconds,
            "keepalives_idle": "10",
            "keepalives_interval": "2",
            "keepalives_count": "3",
        }.items():
            self._parameters.setdefault(name, value)
        self._parameters["client_encoding"] = "UTF8"

    def connect(self) -> Connection:
        """Return a new connection, on which every statement is a transaction.

        Raises:
            psycopg.OperationalError: when there is none to be had.
            ConfigError: when the server is too old, or its text is not in UTF-8.
        """
        try:
            connection = Connection.connect("", autocommit=True, prepare_threshold=None, **self._parameters)
        except psycopg.Error as error:
            failure = type(error)(str(error))
        else:
            connection.patience = self.patience
            return _checked(connection)
        raise failure  # anew: the other one leads to the password, by its traceback and its connection

    def __repr__(self) -> str:
        given = self._parameters
        place = given.get("host") or given.get("hostaddr") or given.get("service") or "local"
        return f"{place}:{given.get('port', 5432)}/{given.get('dbname') or given.get('user') or ''}"


def _without_schema(dsn: str) -> tuple[str, str | None]:
    """Return a URL without the parameter that is the ledger's own, and what that says."""
    place, mark, query = dsn.rpartition("?") if isinstance(dsn, str) and "://" in dsn else ("", "", "")
    parameters = query.split("&")
    schemas = [parameter.partition("=")[2] for parameter in parameters if parameter.startswith("schema=")]
    if not mark or not schemas:
        return dsn, None
    if len(schemas) > 1:
        raise ConfigError("the URL of a PostgreSQL ledger names its schema more than once")
    others = "&".join(parameter for parameter in parameters if not parameter.startswith("schema="))
    return f"{place}?{others}" if others else place, schemas[0]


def _read(dsn: object) -> dict[str, Any]:
    hint = "a PostgreSQL ledger needs a URL such as 'postgresql://user:password@host/database'"
    if not isinstance(dsn, str) or not dsn.strip():
        raise ConfigError(hint)
    try:
        given: dict[str, Any] = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # its message quotes what it does not understand
        given = {}
    ports = str(given.get("port") or 5432).split(",")
    # A password with one of these in it, as it is, is read as part of something else, which is shown.
    strays = [str(given.get(name) or "") for name in ("host", "dbname", "user")]
    if not given or any("@" in stray for stray in strays) or not all(map(_is_number, ports)):
        raise ConfigError(f"{hint}; '@', '/' and ':' in a password are written as %40, %2F and %3A")
    return given


def _is_number(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit())


def _checked(connection: Connection) -> Connection:
    encoding = connection.info.parameter_status("server_encoding")
    version = connection.info.server_version
    problem = None
    if version < _OLDEST:
        problem = f"a PostgreSQL ledger needs PostgreSQL {_OLDEST // 10_000} or newer"
    elif encoding not in {None, "UTF8"}:
        problem = f"a PostgreSQL ledger needs a database with the encoding UTF8, not {encoding}"
    if problem is not None:
        connection.close()
        raise ConfigError(problem)
    return connection


class Pool:
    """A few connections that the threads of one process share.

    Args:
        server: where they lead.
        size: how many there are at most; whoever needs one more waits.
    """

    def __init__(self, server: Server, size: int) -> None:
        self._server = server
        self._size = size
        self._use = 0
        self._start()
        renew_in_child(self)

    def _start(self) -> None:
        self._idle: list[tuple[Connection, float]] = []
        # One for each connection that there may be. A queue, since it is the quickest to wait on.
        self._slots: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._size):
            self._slots.put(None)

    @contextmanager
    def connection(self, patience: float | None = None) -> Generator[Connection]:
        """Lend a connection; what is in the middle of something afterwards is closed.

        Args:
            patience: seconds that the server may say nothing, where that is not the usual.

        Raises:
            psycopg.OperationalError: when there is none to be had.
        """
        slots = self._slots
        try:
            slots.get(timeout=self._server.patience)
        except Empty:
            raise psycopg.OperationalError(
                f"all {self._size} connections of this process are in use"
            ) from None
        try:
            connection = self._take()
            connection.patience = patience or self._server.patience
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            slots.put(None)

    def _take(self) -> Connection:
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                break
            if time.monotonic() - since < _IDLE and not connection.spoken_to:
                return connection
            connection.close()
        use = self._use
        connection = self._server.connect()
        connection.made_for = use
        return connection

    def _give_back(self, connection: Connection) -> None:
        status = connection.pgconn.transaction_status
        if status == TransactionStatus.IDLE and connection.made_for == self._use:
            self._idle.append((connection, time.monotonic()))
            return
        if status in {TransactionStatus.ACTIVE, TransactionStatus.UNKNOWN}:
            self._close_idle()  # the server has gone or hangs, for all of them
        connection.close()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop()[0].close()

    def close(self) -> None:
        """Close all connections, those that are in use when they come back."""
        self._use += 1
        self._close_idle()

    def renew(self) -> None:
        """Leave all connections to the process that made them, without a word on any of them."""
        self._use += 1
        self._start()


class Listener:
    """One connection that hears what is notified on a channel; for any number of threads.

    Args:
        server: where it leads.
        channel: an SQL identifier.
    """

    def __init__(self, server: Server, channel: str) -> None:
        self._start()
        self._server = server
        self._channel = channel
        renew_in_child(self)

    def _start(self) -> None:
        self._connection: Connection | None = None
        self._lock = Lock()
        self._wakers: tuple[socket.socket, socket.socket] | None = None
        self._heard = 0
        """How often something came in."""

    def wait(self, timeout: float) -> None:
        """Wait for a notification, or for `timeout` seconds. It listens when this returns.

        When it has not listened before, it returns at once: something may have been missed.

        Raises:
            psycopg.OperationalError: when the connection is lost, or none is to be had.
        """
        heard = self._heard
        with self._lock:
            if self._connection is None or self._wakers is None:
                self._listen()
                return
            if heard != self._heard:  # another thread waited before, and took it
                return
            try:
                if readable([self._connection.fileno(), self._wakers[0].fileno()], timeout):
                    self._hear(self._connection)
            except psycopg.Error:
                self._close()
                raise

    def _hear(self, connection: Connection) -> None:
        self._heard += 1
        connection.pgconn.consume_input()
        while connection.pgconn.notifies():
            pass

    def _listen(self) -> None:
        connection = self._server.connect()
        try:
            connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)))
        except psycopg.Error:
            connection.close()
            raise
        self._connection, self._wakers = connection, socket.socketpair()

    def close(self) -> None:
        """Stop listening; who waits returns at once."""
        wakers = self._wakers
        if wakers is not None:
            with suppress(OSError):  # it was closed in this moment
                wakers[1].send(b"\0")
        with self._lock:
            self._close()

    def _close(self) -> None:
        connection, wakers = self._connection, self._wakers
        self._connection = self._wakers = None
        if connection is not None:
            connection.close()
        for waker in wakers or ():
            waker.close()

    def __del__(self) -> None:
        """Close what a ledger had open that was dropped."""
        self._close()

    def renew(self) -> None:
        """Leave the connection to the process that made it."""
        for waker in self._wakers or ():
            waker.close()  # this process's copies
        self._start()
