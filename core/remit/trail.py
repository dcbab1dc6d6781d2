"""The guard's hand on the audit trail: no record, no call."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from remit.encoding import b64url_encode, canonicalize
from remit.errors import ConfigError, Denied, TokenRejected, shown
from remit.names import check_name, items, mapping
from remit.record import AuditRecord, RecordedArguments, new_call_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from remit.encoding import JsonObject, JsonValue
    from remit.record import AuditSink, Event
    from remit.verify import VerifiedChain

__all__ = ["Entry", "Trail"]

_MAX_NAME: Final = 256
_MAX_CLEAR: Final = 1024
"""Bytes of a value that is recorded in clear; a larger one is recorded as its digest."""
_MAX_NAMES: Final = 64
_DIGEST: Final = "$digest"


@dataclass(frozen=True, slots=True)
class Entry:
    """What all records of one call have in common."""

    now: float
    call_id: str | None
    chain: VerifiedChain | None
    """None when there was no chain to believe."""
    capability: object


class Trail:
    """Writes what a guard decides to its audit sink, if it has one.

    Args:
        sink: where records go; None records nothing.
        clear: capability to the names of the arguments that are recorded in clear; of all others there
            is nothing but the digest over the whole.

    Raises:
        ConfigError: when `clear` does not map capabilities to lists of names.
    """

    __slots__ = ("_clear", "_sink")

    def __init__(self, sink: AuditSink | None, clear: Mapping[str, Collection[str]] | None = None) -> None:
        self._sink = sink
        self._clear = {} if clear is None else _names(clear)

    def new_call(self) -> str | None:
        """Return an identifier that links the records of one call; None when nothing is recorded."""
        return None if self._sink is None else new_call_id()

    def decided(self, entry: Entry, arguments: JsonObject | None, denial: Denied | None) -> None:
        """Record a decision.

        Raises:
            TokenRejected: with `audit_unavailable`, when an allowed call could not be recorded. A
                denial stands, recorded or not.
        """
        record = _record(
            "decision",
            entry,
            denial,
            arguments_digest=None if arguments is None else _digest(arguments),
            arguments=self._in_clear(entry.capability, arguments) if self._clear and arguments else None,
        )
        self._write(record, must=denial is None)

    def settled(self, entry: Entry, error: BaseException | None) -> None:
        """Record how an allowed call ended. The tool has run: its result is not lost to a full disk."""
        if error is None or isinstance(error, Denied):
            record = _record("outcome", entry, error)
        else:
            record = replace(_record("outcome", entry, None), allowed=False, reason=type(error).__name__)
        self._write(record, must=False)

    def secret(self, entry: Entry, name: object, denial: Denied | None) -> None:
        """Record that a secret was resolved, or refused.

        Raises:
            TokenRejected: with `audit_unavailable`, when a resolution could not be recorded.
        """
        if self._sink is not None:
            self._write(_record("secret", entry, denial, subject=_text(name)), must=denial is None)

    def revoked(self, now: float, subject: str, reason: str | None) -> None:
        """Record a revocation, which stands whether or not it can be recorded."""
        self._write(
            AuditRecord(event="revoke", at=now, allowed=True, subject=subject, reason=reason), must=False
        )

    def _in_clear(self, capability: object, arguments: JsonObject) -> RecordedArguments | None:
        names = self._clear.get(str.__str__(capability)) if isinstance(capability, str) else None
        named = {name: _bounded(arguments[name]) for name in names or () if name in arguments}
        return RecordedArguments(named) if named else None

    def _write(self, record: AuditRecord, *, must: bool) -> None:
        if self._sink is None:
            return
        try:
            self._sink.record(record)
        except Exception as error:  # whatever a sink raises means the same: not recorded
            if must:
                raise TokenRejected(
                    "audit_unavailable", "The call could not be recorded, so it is denied."
                ) from error
            import logging  # not needed until a sink fails

            logging.getLogger("remit").exception("remit: a %s record could not be written", record.event)


def _record(
    event: Event,
    entry: Entry,
    denial: Denied | None,
    *,
    arguments_digest: str | None = None,
    arguments: RecordedArguments | None = None,
    subject: str | None = None,
) -> AuditRecord:
    chain = entry.chain
    return AuditRecord(
        event=event,
        at=entry.now,
        allowed=denial is None,
        call_id=entry.call_id,
        agent=chain.leaf.agent_name if chain is not None else None,
        capability=_text(entry.capability),
        token_id=chain.leaf.id if chain is not None else None,
        chain=tuple([link.id for link in chain.links]) if chain is not None else (),
        issuer=chain.root.issuer if chain is not None else None,
        code=None if denial is None else denial.code,
        reason=None if denial is None else denial.reason,
        arguments_digest=arguments_digest,
        arguments=arguments,
        subject=subject,
    )


def _text(name: object) -> str | None:
    """Return a name as a record shows it; a caller may have given anything."""
    return name[:_MAX_NAME] if isinstance(name, str) and name else None


def _digest(arguments: JsonObject) -> str:
    return b64url_encode(hashlib.sha256(canonicalize(arguments)).digest())


def _bounded(value: JsonValue) -> JsonValue:
    """Return a value as a record shows it: itself, or its digest when it is large.

    What looks like a digest is shown as its own digest, so that no argument can pass for one.
    """
    text = canonicalize(value)
    if len(text) > _MAX_CLEAR or (isinstance(value, dict) and _DIGEST in value):
        return {_DIGEST: b64url_encode(hashlib.sha256(text).digest()), "$size": len(text)}
    return value


def _names(clear: object) -> dict[str, tuple[str, ...]]:
    """Return which arguments are recorded in clear, by capability.

    Raises:
        ConfigError: when this does not say so.
    """
    named: dict[str, tuple[str, ...]] = {}
    for capability, given in mapping("record_arguments", clear).items():
        where = f"record_arguments of {shown(capability)}"
        names = [check_name("an argument's name", name) for name in items(where, given)]
        if not 0 < len(names) <= _MAX_NAMES:
            raise ConfigError(f"{where} must name 1 to {_MAX_NAMES} arguments")
        named[check_name("a capability", capability)] = tuple(dict.fromkeys(names))
    return named
