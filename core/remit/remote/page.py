"""One page of the revocation feed, verified.

Invariants:

- a `Page` exists only for the question that was asked, with this nonce, now;
- an issuer signed it that the guard trusts, with a key that is not known to be revoked;
- everything in it is of the right kind and size.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from remit.encoding import EncodingError
from remit.ledger import NEVER, Change, Position
from remit.remote.http import NoAnswer
from remit.token import FEED, Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from remit.encoding import JsonObject, JsonValue
    from remit.trust import AnchorSource

__all__ = ["MAX_ENTRIES", "MAX_PAGE", "Page", "read_page"]

MAX_ENTRIES: Final = 5_000
MAX_PAGE: Final = 8 * 1024 * 1024
"""Bytes: more than so many entries can take."""
_MAX_STORE: Final = 256
_MAX_SUBJECT: Final = 512
_KINDS: Final = ("token", "agent", "key")
_PARTS: Final = 3
_HIGHEST: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Page:
    """What was revoked from some number on. Made by `read_page` alone."""

    position: Position
    """How far it goes."""
    more: bool
    """Whether there may be more after it."""
    entries: tuple[Change, ...]
    signer: str
    """The thumbprint of the key that signed it."""


def read_page(
    text: str, *, trust: AnchorSource, is_revoked: Callable[[str], bool], since: int, nonce: str
) -> Page:
    """Return the page that answers a question.

    Args:
        text: a compact JWS.
        trust: whose pages count.
        is_revoked: tells whether a key, by its thumbprint, was revoked.
        since: the number that was asked from.
        nonce: what was sent to be repeated.

    Raises:
        NoAnswer: when it is none that can be believed.
    """
    try:
        envelope = Envelope.read(text, FEED, max_size=MAX_PAGE)
        payload, signer = _opened(envelope, trust, is_revoked)
        _check_question(payload, since, nonce)
        return _page(payload, signer)
    except EncodingError as error:
        raise NoAnswer(f"sent a page that {error}") from None


def _opened(
    envelope: Envelope, trust: AnchorSource, is_revoked: Callable[[str], bool]
) -> tuple[JsonObject, str]:
    kid = envelope.header.kid
    if kid is None:
        raise EncodingError("does not say which key signed it")
    if not any(anchor.key.thumbprint == kid for anchor in trust.anchors()):
        trust.refresh(kid)
    named = [anchor for anchor in trust.anchors() if anchor.key.thumbprint == kid]
    if not named:
        raise EncodingError("was not signed by an issuer that is trusted here")
    if is_revoked(kid):
        raise EncodingError("was signed with a key that was revoked")
    payload = envelope.opened_with(named[0].key)
    if payload is None:
        raise EncodingError("has a signature that does not verify")
    if payload.get("iss") not in [anchor.issuer for anchor in named]:
        raise EncodingError("names another issuer than the one that signed it")
    return payload, kid


def _check_question(payload: JsonObject, since: int, nonce: str) -> None:
    _whole(payload, "iat")  # when it was made; that it was made now, the nonce shows
    if _whole(payload, "since") != since:
        raise EncodingError("answers another question")
    repeated = payload.get("nonce")
    if not isinstance(repeated, str) or not hmac.compare_digest(repeated.encode(), nonce.encode()):
        raise EncodingError("does not repeat the nonce, so it may be an old one")


def _page(payload: JsonObject, signer: str) -> Page:
    store, number, more = payload.get("store"), _whole(payload, "number"), payload.get("more")
    if not isinstance(store, str) or not 0 < len(store) <= _MAX_STORE:
        raise EncodingError("has a store that is not a name")
    if type(more) is not bool:
        raise EncodingError("does not say whether there is more")
    entries = payload.get("entries")
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        raise EncodingError(f"has entries that are not a list of at most {MAX_ENTRIES}")
    changes = tuple([_change(entry) for entry in entries])
    if more and not changes:
        raise EncodingError("leads nowhere")
    return Page(Position(store, number), more, changes, signer)


def _change(entry: JsonValue) -> Change:
    if not isinstance(entry, list) or len(entry) != _PARTS:
        raise EncodingError("has an entry that is not a subject and two times")
    subject, expires_at, until = entry
    if not isinstance(subject, str) or len(subject) > _MAX_SUBJECT:
        raise EncodingError("has an entry whose subject is not text")
    kind, colon, name = subject.partition(":")
    if kind not in _KINDS or not colon or not name or "\0" in name:
        raise EncodingError("has an entry that names neither a token, an agent nor a key")
    if type(expires_at) is not int or not 0 <= expires_at <= NEVER:
        raise EncodingError("has an entry that does not say until when it matters")
    if until is None:
        return Change(subject, expires_at, None)
    if (
        kind != "agent"
        or type(until) is bool
        or not isinstance(until, int | float)
        or not 0 <= until <= NEVER
    ):
        raise EncodingError("has an entry whose time of issue makes no sense")
    return Change(subject, expires_at, until)


def _whole(payload: JsonObject, name: str) -> int:
    value = payload.get(name)
    if type(value) is not int or not 0 <= value <= _HIGHEST:
        raise EncodingError(f"has a {name} that is not a whole number")
    return value
