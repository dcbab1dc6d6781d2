"""Opening a ledger by its URL."""

from __future__ import annotations

import difflib
import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from remit.errors import ConfigError, RemitError, shown
from remit.ledger.memory import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from remit.ledger.base import Ledger

__all__ = ["open_ledger"]

_GROUP: Final = "remit.ledgers"
_MAX_URL: Final = 4096
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,31}", re.ASCII)


def open_ledger(url: str) -> Ledger:
    """Return the ledger that a URL names.

    Args:
        url: `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `redis://host/0` (`rediss://`
            with TLS), `postgresql://user@host/name`, or the scheme of a plug-in: an entry point of the
            group `remit.ledgers` that is called with the URL.

    Raises:
        ConfigError: when the URL has no scheme that is known, or its ledger cannot be opened. The
            message never shows the URL, which may hold a password.
    """
    if not isinstance(url, str) or len(url) > _MAX_URL or "://" not in url:
        raise ConfigError(
            "a ledger's URL must be text such as 'sqlite:///ledger.db' or 'redis://localhost/0'"
        )
    scheme, _, rest = url.partition("://")
    if not _SCHEME.fullmatch(scheme):
        raise ConfigError("a ledger's URL begins with a scheme such as 'sqlite://'; this one does not")
    opener = _SCHEMES.get(scheme)
    if opener is not None:
        return opener(url, rest)
    return _plugged_in(scheme)(url)


def _memory(_url: str, rest: str) -> Ledger:
    if rest:
        raise ConfigError("the URL of a ledger in memory is 'memory://', and no more")
    return MemoryLedger()


def _sqlite(_url: str, rest: str) -> Ledger:
    from remit.ledger.sqlite import SqliteLedger

    path = unquote(rest.removeprefix("/"))
    if not rest.startswith("/") or not path:
        raise ConfigError("a SQLite ledger's URL is 'sqlite:///relative.db' or 'sqlite:////absolute.db'")
    return SqliteLedger(path)


def _redis(url: str, _rest: str) -> Ledger:
    from remit.ledger.redis import RedisLedger

    return RedisLedger(url)


def _postgres(url: str, _rest: str) -> Ledger:
    from remit.ledger.postgres import PostgresLedger

    return PostgresLedger(url)


_SCHEMES: Final[Mapping[str, Callable[[str, str], Ledger]]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "redis": _redis,
    "rediss": _redis,
    "postgresql": _postgres,
    "postgres": _postgres,
}


def _plugged_in(scheme: str) -> Callable[[str], Ledger]:
    found = {point.name: point for point in entry_points(group=_GROUP)}
    if scheme not in found:
        known = sorted({*_SCHEMES, *found})
        close = difflib.get_close_matches(scheme[:64], known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"no ledger is known for {shown(scheme)}{hint} (known: {', '.join(known)})")
    try:
        opener: Any = found[scheme].load()
    except Exception as error:  # a plug-in may fail in any way when it is imported
        plugin, kind = found[scheme].value, type(error).__name__
        raise ConfigError(f"the plug-in {plugin!r} for {shown(scheme)} cannot be loaded: {kind}") from error

    def opened(url: str) -> Ledger:
        try:
            ledger: Ledger = opener(url)
        except RemitError:
            raise
        except Exception as error:  # noqa: BLE001 - as above; its message may quote the URL and its password
            raise ConfigError(f"the plug-in for {shown(scheme)} failed with {type(error).__name__}") from None
        if not callable(getattr(ledger, "commit", None)):
            raise ConfigError(f"the plug-in for {shown(scheme)} gave {shown(ledger)}, which is no ledger")
        return ledger

    return opened
