"""The server: listens, runs the application in one process or in several, and drops nobody when it stops.

Invariants:

- whatever is wrong with the policy file, the certificate or the address comes out before it listens;
- when it is told to stop, it takes no more connections, and gives requests that are under way `GRACE`
  seconds;
- a terminal that is closed stops it as SIGTERM does, unless it was told to outlive that;
- workers share nothing but the socket: each opens the policy file, the keys and the ledger for itself. They
  end with the process that started them, however that ends.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import uvicorn

from remit.config import load
from remit.errors import ConfigError, shown
from remit.service.app import create_app
from remit.service.bounds import MAX_HEAD
from remit.service.connection import Connection
from remit.service.instance import Instance
from remit.service.telemetry import Log, log_as_json

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["GRACE", "Settings", "Tls", "listen", "open_instance", "serve", "stop_signals", "work"]

GRACE: Final = 10
"""Seconds that requests under way are given when the server stops."""

_BACKLOG: Final = 2048
_HARD_STOP: Final = 5.0


class Tls(NamedTuple):
    """What the server shows of itself."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the service is served."""

    config: Path | None = None
    """The policy file; None for the usual one."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0 for any that is free."""
    workers: int = 1
    tls: Tls | None = None
    proxies: tuple[str, ...] = ()
    """Addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    behind_proxy: bool = False
    """Whether something in front ends TLS, so that plain HTTP may leave this machine."""


def serve(settings: Settings, *, ready: Callable[[str], None]) -> int:
    """Serve until a signal says to stop.

    Args:
        settings: how.
        ready: called with the URL as soon as requests are answered.

    Returns:
        The exit status.

    Raises:
        ConfigError, KeyFileError: when something is wrong with the policy file, the certificate or the
            address.
    """
    _check_tls(settings.tls)
    if settings.workers > 1:
        from remit.service.workers import Workers

        open_instance(settings.config).close()
        with closing(listen(settings)) as listener:
            url = _url(settings, listener)
            return Workers(settings, listener).run(ready=lambda: ready(url))
    with closing(open_instance(settings.config)) as instance, closing(listen(settings)) as listener:
        url = _url(settings, listener)
        with log_as_json() as log:
            work(settings, instance, listener, log=log, ready=lambda: ready(url))
    return 0


def stop_signals() -> list[signal.Signals]:
    """Return the signals that stop the service."""
    found = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        found.append(signal.SIGHUP)
    return found


def open_instance(path: Path | None) -> Instance:
    """Return the instance that a policy file describes, opened.

    Raises:
        ConfigError, KeyFileError: when it cannot be, or nobody could administer it.
    """
    config = load(path)
    if config.service.admin_token is None:
        raise ConfigError(
            f"{config.source.where('service')}: the service needs admin_token, a reference such as"
            " 'env://REMIT_ADMIN_TOKEN'; remit serve --new-admin-token makes a token"
        )
    return Instance.open(config)


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens where the settings say.

    Raises:
        ConfigError: when it cannot, or plain HTTP would leave this machine unprotected.
    """
    where = f"{shown(settings.host)}, port {settings.port}"
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, *_, address = found[0]
    except (OSError, UnicodeError):
        raise ConfigError(f"there is no address {where}") from None
    is_own = ip_address(str(address[0]).partition("%")[0]).is_loopback
    if not (is_own or settings.tls or settings.behind_proxy or settings.proxies):
        raise ConfigError(
            f"{shown(settings.host)} is not this machine's own: tokens would go over the network in clear."
            " Give --tls-cert and --tls-key, or --behind-proxy when something in front ends TLS"
        )
    try:
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen at {where}: {error.strerror}") from None
    listener.set_inheritable(True)
    return listener


def work(
    settings: Settings,
    instance: Instance,
    listener: socket.socket,
    *,
    log: Log,
    ready: Callable[[], None],
) -> None:
    """Answer what comes in at `listener` until a signal says to stop.

    Args:
        settings: how.
        instance: what it works with.
        listener: where it listens.
        log: what is dropped of it is counted.
        ready: called as soon as requests are answered.
    """
    app = create_app(instance)
    log.dropped = app.state.metrics.line_dropped
    tls = settings.tls
    server = _Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
            h11_max_incomplete_event_size=MAX_HEAD,
            timeout_graceful_shutdown=GRACE,
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.key,
        ),
        ready,
    )
    # uvicorn hands the signal on to whoever had it before: by then everything is done.
    handlers = {one: signal.signal(one, server.stopped) for one in stop_signals()}
    try:
        server.run(sockets=[listener])
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop. A thread that waits for a ledger for ever does not keep the process from ending."""
        super().handle_exit(sig, frame)
        last_resort = threading.Timer(GRACE + _HARD_STOP, os._exit, (1,))
        last_resort.daemon = True
        last_resort.start()

    def stopped(self, sig: int, frame: FrameType | None) -> None:
        """Heed a signal that uvicorn does not listen to, or not yet; when all is done it is a repetition."""
        if not self.should_exit:
            self.handle_exit(sig, frame)


def _check_tls(tls: Tls | None) -> None:
    if tls is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_no_password)
    except (OSError, ValueError) as error:  # of which ssl.SSLError is one
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        files = f"{shown(str(tls.certificate))} and {shown(str(tls.key))}"
        raise ConfigError(f"the certificate and the key in {files} cannot be used: {why}") from None


def _no_password() -> str:
    """Answer instead of asking at the terminal."""
    raise ValueError("the key is encrypted")


def _url(settings: Settings, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
