"""What the ledger says of tokens: who has one, until when, and what was revoked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, ParamSpec, TypeVar

from remit.errors import Denied
from remit.ledger import LiveToken, Revocation
from remit.names import read_clock
from remit.service.errors import ServiceError
from remit.service.instance import Instance
from remit.standing import DEFAULT_FRESH

__all__ = ["Holding", "Registry", "State", "Tokens"]

P = ParamSpec("P")
T = TypeVar("T")

_STEP: Final = 500
_SCANNED: Final = 5000
"""How many tokens are gone through for those of one agent."""
_REMEMBERED: Final = 1000
"""Among how many of the newest revocations the reason of one is looked for."""


class State(StrEnum):
    """How a token stands."""

    LIVE = "live"
    REVOKED = "revoked"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    """The ledger does not know it: it was issued elsewhere, or is long over."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A root token that was issued, and how it stands."""

    token: LiveToken
    state: State


@dataclass(frozen=True, slots=True)
class Tokens:
    """Some of the tokens that have not expired."""

    holdings: list[Holding]
    last: LiveToken | None
    """Where the next page begins; None when there is no more."""
    is_cut: bool = False
    """Whether more tokens were not looked at, as there are too many."""
    looked_at: int = 0
    """How many tokens were gone through."""


class Registry:
    """Asks the ledger.

    Args:
        instance: whose ledger it is.
    """

    def __init__(self, instance: Instance) -> None:
        self._ledger, self._view, self._clock = instance.ledger, instance.view, instance.clock

    def tokens(self, limit: int, *, before: LiveToken | None = None, agent: str | None = None) -> Tokens:
        """Return one page of the tokens that have not expired, those that live longest first.

        Args:
            limit: how many at most.
            before: the last token of the page before; None for the first page.
            agent: those of this agent alone.
        """
        now = read_clock(self._clock)
        found: list[LiveToken] = []
        looked_at, is_cut = 0, False
        while len(found) <= limit:
            step = limit + 1 if agent is None else _STEP
            page = asked(self._ledger.tokens, now, limit=step, before=before)
            found += [token for token in page if agent is None or token.agent == agent]
            looked_at += len(page)
            if len(page) < step:
                break
            before = page[-1]
            if agent is not None and looked_at >= _SCANNED:
                is_cut = True
                break
        shown = found[:limit]
        last = shown[-1] if len(found) > limit else before if is_cut else None
        return Tokens(self.standing(shown), last, is_cut, looked_at)

    def token(self, token_id: str) -> Holding | None:
        """Return what is known of a root token, also when it has expired."""
        token = self.known(token_id)
        return None if token is None else self.standing([token])[0]

    def known(self, token_id: str) -> LiveToken | None:
        """Return what the ledger has noted of a token, whichever way that stands."""
        return asked(self._ledger.token, token_id)

    def standing(self, tokens: Iterable[LiveToken]) -> list[Holding]:
        """Return tokens with how they stand."""
        now, listed = read_clock(self._clock), list(tokens)
        revoked = self.revoked(subject for token in listed for subject in token.subjects)
        return [Holding(token, _state(token, revoked, now)) for token in listed]

    def revoked(self, subjects: Iterable[str]) -> Mapping[str, float]:
        """Return which subjects are revoked, and up to which time of issue (`inf`: always).

        Raises:
            ServiceError: 503, when that is not known.
        """
        now = read_clock(self._clock)
        if not now - self._view.refresh(now, DEFAULT_FRESH) <= DEFAULT_FRESH:
            raise ServiceError(
                503, "revocations_stale", "The ledger does not answer: what is revoked is not known."
            )
        return dict(self._view.revoked(frozenset(subjects)))

    def revocation(self, subjects: Iterable[str]) -> Revocation | None:
        """Return the newest revocation of one of these subjects, unless it was long ago."""
        wanted = set(subjects)
        for entry in asked(self._ledger.revocations, _REMEMBERED):
            if entry.subject in wanted:
                return entry
        return None


def _state(token: LiveToken, revoked: Mapping[str, float], now: float) -> State:
    if any(token.issued_at <= revoked.get(subject, -1) for subject in token.subjects):
        return State.REVOKED
    return State.LIVE if now < token.expires_at else State.EXPIRED


def asked(question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what the ledger answers.

    Raises:
        Denied: the ledger's own refusal.
        ServiceError: 503, when it does not answer.
    """
    try:
        return question(*args, **kwargs)
    except Denied:
        raise
    except Exception as error:  # a ledger raises whatever its driver does; the page says that it failed
        raise ServiceError(503, "ledger_unavailable", "The ledger does not answer.") from error
