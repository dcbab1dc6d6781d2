"""The pages that show something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import groupby
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from remit.errors import CODES, Denied
from remit.ledger import NEVER, LiveToken, Revocation
from remit.names import check_name
from remit.record import AuditRecord
from remit.service.console import words
from remit.service.console.filters import PARAMETERS, Filter
from remit.service.console.forest import Forest, Node
from remit.service.console.picture import MOST, Picture, chosen
from remit.service.console.records import DEPTHS, Log, Moment
from remit.service.console.registry import Holding, Registry, State
from remit.service.console.rendering import Renderer
from remit.service.console.search import MOST_MOMENTS, Search
from remit.service.console.session import Session
from remit.service.errors import ServiceError
from remit.service.instance import Instance
from remit.service.intake import read_query

__all__ = ["Views", "token_id_of"]

_TOKENS: Final = 100
"""Tokens on a page."""
_ROOTS: Final = 400
"""Tokens of the ledger that a graph is made of, besides those in the log."""
_MOMENTS: Final = 50
"""Moments on a page."""
_RECENT: Final = 20
"""Moments on the page of a token."""
_PLACES: Final = 8
"""Places of one identifier on its page."""
_EXPIRY_DIGITS: Final = 12
_KEPT: Final = ("agent", "capability", "code", "text", "since", "until")
"""What stays as it is when another verdict or another page is asked for."""
_NOTICES: Final = frozenset({"revoked", "already"})


class Views:
    """Shows what is known.

    Args:
        instance: what it is known from.
        renderer: makes the pages.
    """

    def __init__(self, instance: Instance, renderer: Renderer) -> None:
        self._renderer = renderer
        self._registry = Registry(instance)
        self._log_path = instance.config.audit_path
        self._search = Search(self._log_path)

    def agents(self, request: Request, session: Session) -> Response:
        """Show who holds a token, by agent."""
        query = read_query(request, ("agent", "before", "notice"))
        agent = _name_in(query, "agent")
        page = self._registry.tokens(_TOKENS, before=_before(query.get("before")), agent=agent)
        tokens = [holding.token for holding in page.holdings]
        by_agent = sorted(page.holdings, key=lambda holding: holding.token.agent)
        groups = [(name, list(held)) for name, held in groupby(by_agent, lambda holding: holding.token.agent)]
        return self._renderer.page(
            "agents",
            session,
            groups=groups,
            named_by={token.token_id: Node((token.token_id,), token=token).named_by for token in tokens},
            agent=agent,
            tally=_tally(page.holdings),
            is_first="before" not in query,
            is_cut=page.is_cut,
            looked_at=page.looked_at,
            more=None if page.last is None else f"{page.last.expires_at}.{page.last.token_id}",
            notice=_notice(query) if agent is not None and self._is_revoked(agent) else None,
        )

    def graph(self, request: Request, session: Session) -> Response:
        """Show who passed what on to whom."""
        agent = _name_in(read_query(request, ("agent",)), "agent")
        page = self._registry.tokens(_ROOTS, agent=agent)
        tokens = [holding.token for holding in page.holdings]
        log = self._search.used() if agent is None else self._search.of_agent(agent, tokens)
        forest = _forest(tokens, log)
        roots = [
            root
            for root in forest.roots()
            if agent is None or any(node.agent == agent for node in root.family())
        ]
        nodes, left_out = chosen(roots)
        forest.settle(nodes, self._registry)
        return self._renderer.page(
            "graph",
            session,
            agent=agent,
            picture=Picture.of(nodes),
            left_out=left_out,
            most=MOST,
            log=log,
            unread=page.looked_at if agent is not None and page.is_cut else None,
            more_roots=page.last is not None,
            most_moments=MOST_MOMENTS,
            deeper=DEPTHS[-1],
        )

    def audit(self, request: Request, session: Session) -> Response:
        """Show what was decided, as a time line."""
        query = read_query(request, PARAMETERS)
        asked_for = Filter.read(query)
        log = asked_for.read_log(self._log_path, _MOMENTS)
        moments, end = asked_for.page(log, _MOMENTS)
        return self._renderer.page(
            "audit",
            session,
            query={name: query.get(name, "") for name in PARAMETERS},
            kept={name: query.get(name, "") for name in _KEPT},
            filter=asked_for,
            asked_for=[(name, query[name]) for name in _KEPT if query.get(name, "").strip()],
            log=log,
            days=_by_day(moments),
            named_by=self._named_by(moments),
            end=end,
            codes=sorted(CODES),
            depths=DEPTHS,
            path=self._log_path,
        )

    def token(self, request: Request, session: Session) -> Response:
        """Show an identifier: what is known of its token, or of each that has it, and what was done."""
        query = read_query(request, ("id", "notice"))
        token_id = token_id_of(query)
        log, forest = self._known_of(token_id)
        found = forest.places(token_id)
        places = found[:_PLACES] or [Node((token_id,))]
        nodes, left_out = chosen(places)
        nodes = list(dict.fromkeys(each for node in [*places, *nodes] for each in node.lineage()))
        forest.settle(nodes, self._registry)
        moments = [moment for moment in log.moments if token_id in moment.token_ids]
        return self._renderer.page(
            "token",
            session,
            status=200 if found else 404,
            token_id=token_id,
            is_known=bool(found),
            is_revoked=f"token:{token_id}" in self._registry.revoked([f"token:{token_id}"]),
            places=[(node, sum(1 for _ in node.family()) - 1, self._revocation(node)) for node in places],
            more_places=len(found) - len(places) if found else 0,
            picture=Picture.of(nodes, token_id),
            left_out=left_out,
            log=log,
            deeper=DEPTHS[-1],
            days=_by_day(moments[:_RECENT]),
            named_by=_names_in(forest),
            shown=min(_RECENT, len(moments)),
            older=max(0, len(moments) - _RECENT),
            notice=_notice(query),
        )

    def _known_of(self, token_id: str) -> tuple[Log, Forest]:
        """Return what log and ledger know of an identifier, and of what stands above it."""
        subject = f"token:{token_id}"
        listed = [holding.token for holding in self._registry.tokens(_ROOTS).holdings]
        tokens = [token for token in listed if subject in token.subjects]
        own = self._registry.known(token_id)
        if own is not None:
            tokens.append(own)
        log = self._search.of_tokens({token_id})
        forest = _forest(tokens, log)
        above = {each for node in forest.places(token_id)[:_PLACES] for each in node.trace[:-1]}
        if above:
            # Who had them: their own calls say so.
            log = self._search.of_tokens({token_id}, above)
            forest = _forest(tokens, log)
        return log, forest

    def _named_by(self, moments: list[Moment]) -> Callable[[AuditRecord], str | None]:
        """Return what tells who chose the name of a record's agent. The ledger says who had the roots."""
        forest = Forest([], (record for moment in moments for record in moment.records))
        with suppress(Denied, ServiceError):  # the time line is shown all the same
            forest.look_up(forest.roots(), self._registry)
        return _names_in(forest)

    def _is_revoked(self, agent: str) -> bool:
        return bool(self._registry.revoked([f"agent:{agent}"]))

    def _revocation(self, node: Node) -> Revocation | None:
        if node.state is not State.REVOKED:
            return None
        concerned = [node] if node.token is not None else node.lineage()
        return self._registry.revocation(subject for each in concerned for subject in each.subjects())


def _forest(tokens: list[LiveToken], log: Log) -> Forest:
    return Forest(tokens, (record for moment in log.moments for record in moment.records))


def _names_in(forest: Forest) -> Callable[[AuditRecord], str | None]:
    def named_by(record: AuditRecord) -> str | None:
        node = forest.find(record)
        return None if node is None or record.token_id != node.token_id else node.named_by

    return named_by


def token_id_of(query: Mapping[str, str]) -> str:
    """Return the token that a page is asked about.

    Raises:
        ConfigError: when it can be the name of none.
    """
    return check_name("id", query.get("id", ""))


def _name_in(query: Mapping[str, str], parameter: str) -> str | None:
    value = query.get(parameter, "").strip()
    return check_name(parameter, value) if value else None


def _notice(query: Mapping[str, str]) -> str | None:
    notice = query.get("notice")
    return notice if notice in _NOTICES else None


def _before(text: str | None) -> LiveToken | None:
    """Return the token at which the page before ended; a ledger looks at no more of it than this."""
    if text is None:
        return None
    expires_at, _, token_id = text.partition(".")
    if not (expires_at.isascii() and expires_at.isdecimal() and len(expires_at) <= _EXPIRY_DIGITS):
        raise ServiceError(400, "invalid_request", "before must be where the page before ended.")
    return LiveToken(
        token_id=check_name("before", token_id),
        agent="",
        issuer="",
        holder="",
        issued_at=0,
        expires_at=min(int(expires_at), NEVER),
    )


def _tally(holdings: list[Holding]) -> dict[str, int]:
    """Return what a page of tokens adds up to."""
    live = [holding for holding in holdings if holding.state is State.LIVE]
    return {
        "tokens": len(live),
        "agents": len({holding.token.agent for holding in live}),
        "revoked": len(holdings) - len(live),
    }


def _by_day(moments: list[Moment]) -> list[tuple[str, list[Moment]]]:
    """Return moments by the day of their record; a damaged line has that of what stands before it."""
    days: list[tuple[str, list[Moment]]] = []
    for moment in moments:
        day = words.day(moment.main.at) if moment.main is not None else None
        if not days or day not in {None, days[-1][0]}:
            days.append((day or "No date", []))
        days[-1][1].append(moment)
    return days
