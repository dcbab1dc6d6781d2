"""One running instance of the service: what its routes share."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from remit.errors import ConfigError
from remit.ledger import view_of
from remit.record import AuditRecord
from remit.service.access import Access
from remit.service.keyring import Keyring

if TYPE_CHECKING:
    from remit.config import Config
    from remit.guard import Guard
    from remit.ledger import Ledger, RevocationView
    from remit.names import Clock
    from remit.record import AuditSink

__all__ = ["Instance", "Recorder"]

_WEB: Final = ("http", "https")


class Recorder:
    """An audit sink that knows whether it works.

    Args:
        sink: where records go.
        clock: seconds since the epoch.
    """

    def __init__(self, sink: AuditSink, clock: Clock) -> None:
        self._sink, self._clock = sink, clock
        self._works = True

    def record(self, record: AuditRecord) -> None:
        """Keep the record, or raise what the sink raises."""
        try:
            self._sink.record(record)
        except Exception:  # whatever a sink raises means the same: not recorded
            self._works = False
            raise
        self._works = True

    def takes_records(self) -> bool:
        """Tell whether the last record could be kept.

        Where it could not, another one is tried, which says that calls were denied meanwhile: an instance
        that is asked for nothing as it is not ready would never get well otherwise.
        """
        if not self._works:
            denial = AuditRecord(event="decision", at=self._clock(), allowed=False, code="audit_unavailable")
            with suppress(Exception):  # whatever a sink raises means the same: it takes nothing
                self.record(denial)
        return self._works

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Instance:
    """What one instance works with. Open it with `open`, and close it."""

    config: Config
    url: str
    """Where the service is reached, without a slash at the end; the issuer in its metadata."""
    keys: Keyring
    ledger: Ledger
    guard: Guard
    """Verifies what is presented here; it goes by the ledger, as every guard beside it."""
    access: Access
    audit: Recorder | None
    clock: Clock

    @classmethod
    def open(cls, config: Config, *, clock: Clock | None = None) -> Instance:
        """Return an instance for a policy file: its ledger, keys and audit log are open.

        Args:
            config: what `remit.config.load` returns.
            clock: seconds since the epoch; `time.time` by default.

        Raises:
            ConfigError: when the file names no issuer's key or no URL, or something in it cannot be opened.
            KeyFileError: when a key cannot be used.
        """
        ticks = time.time if clock is None else clock
        access = Access.of(config)
        sink = config.audit()
        audit = None if sink is None else Recorder(sink, ticks)
        ledger = config.ledger()
        try:
            keys = Keyring(config, audit=audit, ledger=ledger, clock=clock)
            url = _base_url(config, keys.issuer().uri)
            audiences = dict.fromkeys([url, keys.issuer().uri, *config.service.audience])
            guard = config.guard(trust=keys, ledger=ledger, audit=audit, audience=audiences, clock=clock)
        except BaseException:  # whatever it is, the ledger is not left open
            with suppress(Exception):  # what a ledger raises when it closes is less than what went wrong
                ledger.close()
            raise
        return cls(
            config=config,
            url=url,
            keys=keys,
            ledger=ledger,
            guard=guard,
            access=access,
            audit=audit,
            clock=ticks,
        )

    @property
    def view(self) -> RevocationView:
        """What this process knows of revocations."""
        return view_of(self.ledger, self.clock)

    def close(self) -> None:
        """Give back the ledger's connections and threads."""
        self.view.close()
        self.ledger.close()


def _base_url(config: Config, uri: str) -> str:
    if config.service.url is not None:
        return config.service.url
    if urlsplit(uri).scheme in _WEB:
        return uri.rstrip("/")
    raise ConfigError(
        f"{config.source.where('service')}: the service needs url, as its issuer {uri!r} is no http URL"
    )
