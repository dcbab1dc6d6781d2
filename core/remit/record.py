"""Audit records: what was decided, and what came of it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal, Protocol, cast

from remit.encoding import EncodingError, JsonObject, JsonValue, canonicalize, snapshot
from remit.errors import ConfigError

__all__ = ["AuditRecord", "AuditSink", "Event", "RecordedArguments", "new_call_id"]

Event = Literal["decision", "outcome", "secret", "issue", "revoke", "checkpoint"]


class RecordedArguments(Mapping[str, JsonValue]):
    """Arguments in clear. Kept as JSON text, so that nobody changes them: each look is a fresh copy.

    Args:
        arguments: JSON values by parameter name.

    Raises:
        ConfigError: when they have no JSON form.
    """

    __slots__ = ("text",)

    text: str
    """The arguments as canonical JSON (RFC 8785)."""

    def __init__(self, arguments: Mapping[str, object]) -> None:
        given = dict(arguments)
        if not all(type(name) is str for name in given):
            raise ConfigError("recorded arguments must be named by strings")
        try:
            self.text = canonicalize(snapshot(given)[1]).decode("utf-8")
        except EncodingError as error:
            raise ConfigError(f"recorded arguments must be JSON; one of them {error}") from None

    def plain(self) -> JsonObject:
        """Return them as a new dictionary."""
        return cast("JsonObject", json.loads(self.text))

    def __getitem__(self, name: str) -> JsonValue:
        return self.plain()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.plain())

    def __len__(self) -> int:
        return len(self.plain())

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, RecordedArguments) else self.plain() == other

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"RecordedArguments({self.plain()!r})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=True)
class AuditRecord(Mapping[str, object]):
    """One record. It is also a read-only mapping of its fields, those that are None left out."""

    event: Event
    """`decision` before a call, `outcome` after one that was allowed, `secret`, `issue` or `revoke`; a log
    adds `checkpoint`, which is about itself."""
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
    arguments: Mapping[str, JsonValue] | None = None
    """The arguments that the guard was told to record in clear; large values stand as their digest."""

    def __post_init__(self) -> None:
        if self.arguments is not None and type(self.arguments) is not RecordedArguments:
            object.__setattr__(self, "arguments", RecordedArguments(self.arguments))

    def __getitem__(self, name: str) -> object:
        if name in _FIELDS and (value := getattr(self, name)) is not None:
            if name == "arguments":
                return cast("RecordedArguments", value).plain()
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
