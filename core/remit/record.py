"""Audit records: what was decided, and what came of it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal, Protocol

__all__ = ["AuditRecord", "AuditSink", "Event", "new_call_id"]

Event = Literal["decision", "outcome", "secret", "issue", "revoke", "checkpoint"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=True)
class AuditRecord(Mapping[str, object]):
    """One record. It is also a read-only mapping of its fields, those that are None left out."""

    event: Event
    """`decision` before a call, `outcome` after one that was allowed, `secret`, `issue` or `revoke`."""
    at: float
    """Seconds since the epoch, by the clock of whoever recorded it."""
    allowed: bool
    """Whether it was allowed; for an outcome, whether the tool ended without an error."""
    call_id: str | None = None
    """Links the records of one call."""
    agent: str | None = None
    """The agent as its token names it; None when there was no token to believe."""
    capability: str | None = None
    token_id: str | None = None
    """The leaf token's `jti`."""
    chain: tuple[str, ...] = ()
    """The `jti` of every token of the chain, root first."""
    issuer: str | None = None
    """The root issuer's URI."""
    code: str | None = None
    """The code of the denial."""
    reason: str | None = None
    """The reason of the denial, or the type of the error a tool ended with."""
    arguments_digest: str | None = None
    """base64url of SHA-256 of the canonical arguments (RFC 8785)."""
    subject: str | None = None
    """What a `secret` or `revoke` record is about: a secret's name, or what was revoked."""

    def __getitem__(self, name: str) -> object:
        if name in _FIELDS and (value := getattr(self, name)) is not None:
            return list(self.chain) if name == "chain" else value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in _FIELDS if getattr(self, name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_FIELDS = tuple(field.name for field in fields(AuditRecord))


class AuditSink(Protocol):
    """Where audit records go. A call whose decision cannot be recorded is denied."""

    def record(self, record: AuditRecord) -> None:
        """Keep the record, or raise; it is durable when this returns, as far as the sink can tell."""
        ...


class _CallIds:
    """Identifiers that no two calls share: a random part for the process, and a count."""

    def __init__(self) -> None:
        self.reseed()

    def reseed(self) -> None:
        self._process = os.urandom(8).hex()
        self._count = itertools.count(1)

    def next(self) -> str:
        return f"{self._process}-{next(self._count)}"


_call_ids = _CallIds()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_call_ids.reseed)


def new_call_id() -> str:
    """Return an identifier for one call, unique over processes."""
    return _call_ids.next()
