"""Who has which token: what the ledger knows of tokens that were issued, page by page."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from remit.encoding import EncodingError, b64url_decode, b64url_encode, parse_object
from remit.errors import ConfigError, Denied, TokenRejected
from remit.ledger import NEVER
from remit.metadata import LiveToken
from remit.names import check_name, read_clock
from remit.service.asked import invalid
from remit.standing import DEFAULT_FRESH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from remit.service.instance import Instance

__all__ = ["Register"]

_USUAL: Final = 100
_MOST: Final = 1000
_SEARCHED: Final = 10
"""How many pages of the ledger are looked through for one page of an agent's tokens."""
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,3}")
_MAX_CURSOR: Final = 2048


class Register:
    """The tokens that were issued and have not expired.

    Args:
        instance: whose ledger knows them.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def page(self, query: Mapping[str, str]) -> tuple[list[dict[str, object]], str | None]:
        """Return one page, and the cursor of the next one, None after the last.

        Of one agent's tokens a page may have fewer than the limit, also when there is a next one.

        Args:
            query: `limit`, `cursor` and `agent`, as far as they were given.

        Raises:
            ServiceError: 400, when one of them makes no sense.
            Denied: when the ledger does not answer, or what is revoked is not known.
        """
        limit, agent = _limit(query.get("limit")), query.get("agent")
        before = None if "cursor" not in query else _opened(query["cursor"])
        now = read_clock(self._instance.clock)
        self._instance.view.refresh(now, DEFAULT_FRESH)
        found: list[LiveToken] = []
        is_last = False
        for _ in range(1 if agent is None else _SEARCHED):
            page = self._tokens(now, limit if agent is None else _MOST, before)
            is_last = len(page) < (limit if agent is None else _MOST)
            for token in page:
                before = token
                if agent is None or token.agent == agent:
                    found.append(token)
                if len(found) == limit:
                    is_last &= token is page[-1]
                    break
            if is_last or len(found) == limit:
                break
        return self._shown(found, now), None if is_last or before is None else _cursor(before)

    def _tokens(self, now: float, limit: int, before: LiveToken | None) -> list[LiveToken]:
        try:
            return self._instance.ledger.tokens(now, limit=limit, before=before)
        except Denied:
            raise
        except Exception as error:  # whatever a ledger raises, it has no answer
            raise TokenRejected("ledger_unavailable", "The ledger does not answer.") from error

    def _shown(self, tokens: list[LiveToken], now: float) -> list[dict[str, object]]:
        view = self._instance.view
        if not now - view.refresh(now, DEFAULT_FRESH) <= DEFAULT_FRESH:
            raise TokenRejected("revocations_stale", "It is not known which of the tokens are revoked.")
        shown: list[dict[str, object]] = []
        for token in tokens:
            named = view.revoked(frozenset(token.subjects))
            revoked = any(token.issued_at <= until for _, until in named)
            shown.append({**token.to_dict(), "revoked": revoked})
        return shown


def _limit(text: str | None) -> int:
    if text is None:
        return _USUAL
    if not _NUMBER.fullmatch(text) or int(text) > _MOST:
        raise invalid(f"limit must be a whole number from 1 to {_MOST}.")
    return int(text)


def _cursor(last: LiveToken) -> str:
    return b64url_encode(json.dumps({"e": last.expires_at, "t": last.token_id}).encode())


def _opened(cursor: str) -> LiveToken:
    """Return the place that a cursor stands for, as the last token of the page before."""
    refusal = invalid("cursor is not the one that came with the page before.")
    if len(cursor) > _MAX_CURSOR:
        raise refusal
    try:
        members = parse_object(b64url_decode(cursor))
        token_id = check_name("a token id", members.get("t"))
    except (EncodingError, ConfigError):
        raise refusal from None
    expires_at = members.get("e")
    if members.keys() != {"e", "t"} or type(expires_at) is not int or not 0 <= expires_at <= NEVER:
        raise refusal
    return LiveToken(token_id=token_id, agent="", issuer="", holder="", issued_at=0, expires_at=expires_at)
