"""What the audit log has of tokens and of agents, however much else stands in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from remit.ledger import LiveToken
from remit.service.console.records import Log, Moment, Select, begun_with, mentioning, of_tokens

__all__ = ["MOST_MOMENTS", "Search"]

MOST_MOMENTS: Final = 5000
"""How many moments a graph, or the page of a token, is made of. What names no token is none of them."""


class Search:
    """Looks for moments with a token that was believed.

    Args:
        path: the log; None where the policy file names none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def used(self) -> Log:
        """Return the newest moments with any token."""
        return Log.read(self._path, wanted=of_tokens, select=_most(_has_chain))

    def of_tokens(self, token_ids: Collection[str], above: Collection[str] = ()) -> Log:
        """Return the newest moments that are about one of these tokens.

        Args:
            token_ids: tokens, and with them what was derived from them.
            above: tokens of which only their own calls are of use.
        """
        wanted = mentioning([*token_ids, *above])
        return Log.read(
            self._path,
            wanted=wanted,
            select=_most(
                lambda moment: (
                    not moment.token_ids.isdisjoint(token_ids)
                    or any(record.token_id in above for record in moment.records)
                )
            ),
        )

    def of_agent(self, agent: str, tokens: Iterable[LiveToken]) -> Log:
        """Return the newest moments with what an agent has or had, with what that comes from and became.

        Args:
            agent: the agent.
            tokens: what the ledger says that it has.
        """
        own = Log.read(
            self._path,
            wanted=mentioning([agent]),
            select=_most(lambda moment: any(record.agent == agent for record in moment.records)),
        )
        roots = {record.chain[0] for moment in own.moments for record in moment.records if record.chain}
        roots.update(token.token_id for token in tokens)
        return Log.read(self._path, wanted=begun_with(roots), select=_most(_has_chain))


def _most(is_wanted: Callable[[Moment], bool]) -> Select:
    def select(moments: Iterator[Moment]) -> Iterator[Moment]:
        return islice(filter(is_wanted, moments), MOST_MOMENTS)

    return select


def _has_chain(moment: Moment) -> bool:
    return any(record.chain for record in moment.records)
