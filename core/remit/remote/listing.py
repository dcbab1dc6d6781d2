"""A page of the tokens that were issued, as the service lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from remit.errors import ConfigError
from remit.ledger import NEVER, LiveToken
from remit.names import MAX_NAME, check_name, check_uri
from remit.remote.http import NoAnswer

if TYPE_CHECKING:
    from remit.encoding import JsonObject, JsonValue

__all__ = ["page_of"]

_MAX_CURSOR: Final = 2048
_MAX_PREFIXED: Final = MAX_NAME + 8
"""Of a name with what it is the name of before it: `secret:`, `agent:`, `token:`."""


def page_of(said: JsonObject) -> tuple[list[LiveToken], str | None]:
    """Return the tokens of a page that were not revoked, and the cursor of the next page.

    Raises:
        NoAnswer: when it is no such page.
    """
    entries, cursor = said.get("tokens"), said.get("next")
    if not isinstance(entries, list) or not (cursor is None or _is_cursor(cursor)):
        raise NoAnswer("answered with something that is no list of tokens")
    try:
        found = [_token(entry) for entry in entries]
    except ConfigError:
        raise NoAnswer("listed something that is no token") from None
    return [token for token in found if token is not None], cursor if isinstance(cursor, str) else None


def _is_cursor(cursor: JsonValue) -> bool:
    return isinstance(cursor, str) and 0 < len(cursor) <= _MAX_CURSOR


def _token(entry: JsonValue) -> LiveToken | None:
    if not isinstance(entry, dict) or type(entry.get("revoked")) is not bool:
        raise ConfigError("no token")
    session, task = entry.get("session"), entry.get("task")
    token = LiveToken(
        token_id=check_name("token_id", entry.get("token_id")),
        agent=check_name("agent", entry.get("agent")),
        issuer=check_uri("issuer", entry.get("issuer")),
        holder=check_name("holder", entry.get("holder")),
        issued_at=_second(entry.get("issued_at")),
        expires_at=_second(entry.get("expires_at")),
        capabilities=_names(entry.get("capabilities")),
        session=None if session is None else check_name("session", session),
        task=None if task is None else check_name("task", task),
        revoked_with=_names(entry.get("revoked_with")),
    )
    return None if entry["revoked"] else token


def _names(value: JsonValue) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [None]
    texts = [name for name in names if isinstance(name, str) and 0 < len(name) <= _MAX_PREFIXED]
    if len(texts) != len(names):
        raise ConfigError("no list of names")
    return tuple(texts)


def _second(value: JsonValue) -> int:
    if type(value) is not int or not 0 <= value <= NEVER:
        raise ConfigError("no time")
    return value
