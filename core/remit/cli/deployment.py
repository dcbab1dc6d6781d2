"""What the policy file describes, opened for the time of one command."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from remit.cli.output import note
from remit.errors import ConfigError, Denied, KeyFileError, RemitError, TokenRejected
from remit.guard import Guard
from remit.issue import Issuer
from remit.names import DEFAULT_MAX_TTL

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from remit.config import Config
    from remit.ledger import Ledger

__all__ = ["asked", "loaded", "open_guard", "open_ledger", "open_operator"]

P = ParamSpec("P")
T = TypeVar("T")


def loaded(path: Path | None) -> Config:
    """Return the policy file that a command was given.

    Raises:
        ConfigError: when it cannot be read, or something in it makes no sense.
    """
    from remit.config import load

    return load(path)


@contextmanager
def open_ledger(config: Config) -> Generator[Ledger]:
    """Open the ledger for the block.

    Raises:
        ConfigError: when it cannot be opened.
    """
    ledger = config.ledger()
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def open_operator(config: Config) -> Generator[tuple[Guard, Ledger]]:
    """Return a guard for taking back what was granted, and its ledger.

    An emergency is no time to repair anything else: it needs no anchor, no passphrase, no secret and no
    package of a secret's backend, and it works without the audit log, since a revocation stands whether
    or not it can be recorded.

    Raises:
        ConfigError: when the ledger cannot be opened.
    """
    longest = config.tables.guard.max_ttl
    max_ttl = DEFAULT_MAX_TTL if longest is None else longest
    nobody = Issuer.generate("urn:remit:nobody").anchor  # it is asked about no token, so it trusts nobody's
    try:
        audit = config.audit()
    except (ConfigError, Denied, KeyFileError) as error:
        note(f"what is done now is not recorded: {error}")
        audit = None
    with open_ledger(config) as ledger:
        yield Guard([nobody], ledger=ledger, audit=audit, max_ttl=max_ttl), ledger


@contextmanager
def open_guard(config: Config, *, audited: bool) -> Generator[Guard]:
    """Return the guard that the policy file describes.

    Args:
        config: the policy file.
        audited: whether what it decides is recorded; a question is not.

    Raises:
        ConfigError, KeyFileError: when something that the file names cannot be opened.
    """
    from remit.audit import MemoryAudit
    from remit.ledger import view_of

    with open_ledger(config) as ledger:
        guard = config.guard(ledger=ledger, audit=None if audited else MemoryAudit())
        try:
            yield guard
        finally:
            view_of(ledger, time.time).close()  # the guard's own: whatever follows the ledger ends before it


def asked(question: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a ledger answers to a question, which is one of its methods.

    Raises:
        TokenRejected: with `ledger_unavailable`, when it fails.
    """
    try:
        return question(*args, **kwargs)
    except RemitError:
        raise
    except Exception as error:  # whatever a ledger raises, it has no answer
        raise TokenRejected("ledger_unavailable", "The ledger does not answer.") from error
