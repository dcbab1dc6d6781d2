"""One line of an audit log: a record, its place, and the hash of the line before it.

A line is JSON in ASCII: ``{"seq":7,"prev":"…","event":"decision",…}`` and a line feed. `prev` is
base64url of SHA-256 over every byte of the line before, its line feed included, so that a line that
is removed, altered or moved no longer fits. Control characters and everything beyond ASCII stand as
escapes: a line is safe to show on a terminal, whatever a model put into a name.
"""

from __future__ import annotations

import hashlib
import json
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from remit.encoding import EncodingError, b64url_encode, parse_object
from remit.errors import ConfigError, shown
from remit.record import AuditRecord, RecordedArguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from remit.encoding import JsonObject
    from remit.record import Event

__all__ = [
    "GENESIS",
    "MAX_LINE",
    "Line",
    "Tail",
    "body_of",
    "checkpoint_body",
    "digest_of",
    "link",
    "parse_line",
    "record_of",
]

GENESIS: Final = "A" * 43
"""What stands for the hash of the line before the first: 32 bytes of zero."""
MAX_LINE: Final = 1 << 20
"""Bytes of a line; a longer one is not written, and not read."""

_MAX_TEXT: Final = 4096
_LATEST: Final = 1e12
_DIGEST_SIZE: Final = 43
_TEXTS: Final = ("call_id", "agent", "capability", "token_id", "issuer", "code", "reason", "arguments_digest",
                 "subject")  # fmt: skip


STATED: Final = frozenset({"log", "every", "first", "at", "adopted", "torn", "reason"})
"""The members of a checkpoint that its signature is over, besides where it stands."""


class Tail(NamedTuple):
    """The last line of a log: where the next one joins."""

    seq: int
    digest: str


class Line(NamedTuple):
    """A line that was read. That it stands in the right place is not known yet."""

    seq: int
    prev: str
    members: JsonObject


def body_of(record: AuditRecord) -> str:
    """Return the members of a record as a line holds them.

    Text of more than 4,096 characters is cut, and says so; a lone surrogate becomes U+FFFD.

    Raises:
        ConfigError: when it is not a record that can be written.
    """
    try:
        if record.event == "checkpoint":
            raise ConfigError("a log writes its checkpoints itself")
        body = _body(record, encode_basestring_ascii)
        if "\\" in body or len(body) > _MAX_TEXT:  # a surrogate may stand alone, or a text be too long
            body = _body(record, _quoted)
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{shown(record)} cannot be recorded: {type(error).__name__}") from None
    # The one control character that JSON leaves as it is; outside of strings there is none.
    return body.replace("\x7f", "\\u007f") if "\x7f" in body else body


def _body(record: AuditRecord, quote: Callable[[str], str]) -> str:
    allowed = "true" if record.allowed else "false"
    body = f'"event":{quote(record.event)},"at":{_number(record.at)},"allowed":{allowed}'
    if (text := record.call_id) is not None:
        body += f',"call_id":{quote(text)}'
    if (text := record.agent) is not None:
        body += f',"agent":{quote(text)}'
    if (text := record.capability) is not None:
        body += f',"capability":{quote(text)}'
    if (text := record.token_id) is not None:
        body += f',"token_id":{quote(text)}'
    if chain := record.chain:
        body += f',"chain":[{",".join(map(quote, chain))}]'
    if (text := record.issuer) is not None:
        body += f',"issuer":{quote(text)}'
    if (text := record.arguments_digest) is not None:
        body += f',"arguments_digest":{quote(text)}'
    return body + _more(record, quote)


def _more(record: AuditRecord, quote: Callable[[str], str]) -> str:
    body = ""
    if (text := record.code) is not None:
        body += f',"code":{quote(text)}'
    if (text := record.reason) is not None:
        body += f',"reason":{quote(text)}'
    if (text := record.subject) is not None:
        body += f',"subject":{quote(text)}'
    if (arguments := record.arguments) is not None:
        body += f',"arguments":{_ascii_json(cast("RecordedArguments", arguments).plain())}'
    return body


def _quoted(text: str) -> str:
    if len(text) > _MAX_TEXT:
        text = f"{text[:_MAX_TEXT]}… ({len(text)} characters)"
    return encode_basestring_ascii(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


def _number(at: object) -> str:
    if not isinstance(at, int | float) or not -_LATEST < at < _LATEST:  # nor is NaN between them
        raise TypeError
    return float.__repr__(float(at)).removesuffix(".0")


def _ascii_json(members: JsonObject) -> str:
    return json.dumps(members, separators=(",", ":"), allow_nan=False)


def checkpoint_body(at: float, members: JsonObject) -> str:
    """Return the members of a checkpoint line: those of its record, and `members`."""
    return f'"event":"checkpoint","at":{_number(at)},"allowed":true,{_ascii_json(members)[1:-1]}'


def link(tail: Tail, body: str) -> bytes:
    """Return the line that joins `body` to what ends with `tail`.

    Raises:
        ConfigError: when it would be too long.
    """
    line = f'{{"seq":{tail.seq + 1},"prev":"{tail.digest}",{body}}}\n'.encode("ascii")
    if len(line) > MAX_LINE:
        raise ConfigError(f"a record of more than {MAX_LINE} bytes is not written")
    return line


def digest_of(line: bytes) -> str:
    """Return what the next line holds in `prev`."""
    return b64url_encode(hashlib.sha256(line).digest())


def parse_line(data: bytes) -> Line:
    """Return the line that `data` spells, line feed included.

    Raises:
        EncodingError: when it is not one; the message is a predicate.
    """
    if len(data) > MAX_LINE:
        raise EncodingError(f"is longer than {MAX_LINE} bytes")
    if not data.endswith(b"\n"):
        raise EncodingError("ends in the middle")
    if not data.isascii():
        raise EncodingError("is not ASCII")
    members = parse_object(data)
    seq, prev = members.pop("seq", None), members.pop("prev", None)
    if type(seq) is not int or seq < 1:
        raise EncodingError("has no seq")
    if not isinstance(prev, str) or len(prev) != _DIGEST_SIZE:
        raise EncodingError("has no prev")
    return Line(seq, prev, members)


def record_of(members: JsonObject) -> AuditRecord:
    """Return the record that a line holds.

    Raises:
        EncodingError: when the members are not those of a record.
    """
    at, chain, arguments = members.get("at"), members.get("chain", []), members.get("arguments")
    texts = {name: members[name] for name in ("event", *_TEXTS) if name in members}
    if not isinstance(at, int | float) or type(members.get("allowed")) is not bool or "event" not in texts:
        raise EncodingError("is not an audit record")
    if not isinstance(chain, list) or not all(isinstance(text, str) for text in [*texts.values(), *chain]):
        raise EncodingError("is not an audit record")
    if arguments is not None and not isinstance(arguments, dict):
        raise EncodingError("is not an audit record")
    event = cast("Event", texts.pop("event"))
    return AuditRecord(
        event=event,
        at=at,
        allowed=members["allowed"] is True,
        chain=tuple(cast("list[str]", chain)),
        arguments=None if arguments is None else RecordedArguments(arguments),
        **cast("dict[str, str]", texts),
    )
