"""`remit serve`: the issuing service and its console."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final

import typer

from remit.cli import options
from remit.cli.output import note, print_json, print_json_line, say
from remit.errors import ConfigError

__all__ = ["serve"]

_NEEDED: Final = frozenset(
    {"fastapi", "h11", "jinja2", "markupsafe", "prometheus_client", "pydantic", "starlette", "uvicorn"}
)
_MAX_WORKERS: Final = 64
_TOKEN_BYTES: Final = 32


_Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where it listens.")]
_Port = Annotated[int, typer.Option("--port", min=0, max=65_535, help="The port; 0 for any that is free.")]
_Workers = Annotated[int, typer.Option("--workers", min=1, max=_MAX_WORKERS, help="How many processes.")]
_Cert = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", help="Its certificate chain, in PEM.")
]
_Key = Annotated[
    Path | None, typer.Option("--tls-key", metavar="FILE", help="The key of the certificate, in PEM.")
]
_Proxies = Annotated[
    list[str] | None,
    typer.Option(
        "--proxy",
        metavar="ADDRESS",
        help="A proxy, or a network of them, that ends TLS and whose X-Forwarded-For and X-Forwarded-Proto"
        " are believed; may be repeated.",
    ),
]
_BehindProxy = Annotated[
    bool,
    typer.Option(
        "--behind-proxy",
        help="Serve plain HTTP at an address of the network: something in front ends TLS.",
    ),
]
_NewToken = Annotated[
    bool,
    typer.Option("--new-admin-token", help="Print a new admin token and its hash, and serve nothing."),
]


def serve(
    *,
    host: _Host = "127.0.0.1",
    port: _Port = 8000,
    workers: _Workers = 1,
    tls_cert: _Cert = None,
    tls_key: _Key = None,
    proxy: _Proxies = None,
    behind_proxy: _BehindProxy = False,
    new_admin_token: _NewToken = False,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Issue, verify and revoke tokens over HTTP, with a console at /console, until a signal ends it.

    In the policy file, admin_token of the table service refers to the admin token, or to its hash. SIGTERM
    and SIGINT let requests that are under way end.
    """
    if new_admin_token:
        _print_admin_token(as_json=as_json)
        return
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key need one another")
    for address in proxy or ():
        _check_proxy(address)
    with _extra():
        from remit.service import server
    tls = None if tls_cert is None or tls_key is None else server.Tls(tls_cert, tls_key)
    settings = server.Settings(
        config=config,
        host=host,
        port=port,
        workers=workers,
        tls=tls,
        proxies=tuple(proxy or ()),
        behind_proxy=behind_proxy,
    )

    def ready(url: str) -> None:
        if as_json:
            print_json_line({"url": url, "pid": os.getpid()})
        else:
            say(f"listening at {url}")

    raise typer.Exit(server.serve(settings, ready=ready))


def _print_admin_token(*, as_json: bool) -> None:
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    digest = f"sha256:{hashlib.sha256(token.encode('ascii')).hexdigest()}"
    if as_json:
        print_json({"admin_token": token, "hash": digest})
        return
    say(f"admin token  {token}")
    say(f"its hash     {digest}")
    note("the token is for whoever administers the service; the hash is for what admin_token refers to")


def _check_proxy(address: str) -> None:
    try:
        ip_network(address)
    except ValueError:
        raise typer.BadParameter("--proxy must be an address or a network, such as 10.0.0.0/8") from None


@contextmanager
def _extra() -> Generator[None]:
    """Name the extra when a package is missing that it brings."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise ConfigError("remit serve needs the service's packages: pip install 'remit[service]'") from None
