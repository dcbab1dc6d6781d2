"""The pages that show something."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from remit.errors import CODES
from remit.ledger import NEVER, LiveToken, Revocation
from remit.names import check_name, read_clock
from remit.service.console import words
from remit.service.console.filters import PARAMETERS, Filter
from remit.service.console.forest import Forest, Node
from remit.service.console.picture import MOST, Picture, chosen
from remit.service.console.records import DEPTHS, Log, Moment
from remit.service.console.registry import Holding, Registry, State
from remit.service.console.rendering import Renderer
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
        self._renderer, self._clock = renderer, instance.clock
        self._registry = Registry(instance)
        self._log_path = instance.config.audit_path

    def agents(self, request: Request, session: Session) -> Response:
        """Show who holds a token, by agent."""
        query = read_query(request, ("agent", "before", "notice"))
        agent = _name_in(query, "agent")
        page = self._registry.tokens(_TOKENS, before=_before(query.get("before")), agent=agent)
        by_agent = sorted(page.holdings, key=lambda holding: holding.token.agent)
        groups = [(name, list(held)) for name, held in groupby(by_agent, lambda holding: holding.token.agent)]
        return self._renderer.page(
            "agents",
            session,
            groups=groups,
            agent=agent,
            tally=_tally(page.holdings),
            is_first="before" not in query,
            is_cut=page.is_cut,
            more=None if page.last is None else f"{page.last.expires_at}.{page.last.token_id}",
            notice=_notice(query) if agent is not None and self._is_revoked(agent) else None,
        )

    def graph(self, request: Request, session: Session) -> Response:
        """Show who passed what on to whom."""
        agent = _name_in(read_query(request, ("agent",)), "agent")
        log = Log.read(self._log_path)
        forest = self._forest(log)
        roots = [
            root
            for root in forest.roots()
            if agent is None or any(node.agent == agent for node in root.family())
        ]
        nodes, left_out = chosen(roots)
        forest.settle(nodes, self._registry, read_clock(self._clock))
        return self._renderer.page(
            "graph",
            session,
            agent=agent,
            picture=Picture.of(nodes),
            left_out=left_out,
            most=MOST,
            log=log,
            depth=DEPTHS[0],
        )

    def audit(self, request: Request, session: Session) -> Response:
        """Show what was decided, as a time line."""
        query = read_query(request, PARAMETERS)
        asked_for = Filter.read(query)
        log = Log.read(self._log_path, asked_for.lines)
        moments, end = asked_for.page(log.moments, _MOMENTS)
        return self._renderer.page(
            "audit",
            session,
            query={name: query.get(name, "") for name in PARAMETERS},
            kept={name: query.get(name, "") for name in _KEPT},
            filter=asked_for,
            asked_for=[(name, query[name]) for name in _KEPT if query.get(name, "").strip()],
            log=log,
            days=_by_day(moments),
            end=end,
            codes=sorted(CODES),
            depths=DEPTHS,
            path=self._log_path,
        )

    def token(self, request: Request, session: Session) -> Response:
        """Show one token: what is known of it, where it comes from, and what was done with it."""
        query = read_query(request, ("id", "notice"))
        token_id = token_id_of(query)
        now = read_clock(self._clock)
        log = Log.read(self._log_path)
        holding = self._registry.token(token_id)
        forest = self._forest(log, holding)
        node = forest.nodes.get(token_id)
        is_known = node is not None
        node = node or Node(token_id)
        nodes, left_out = chosen([node])
        nodes = [*node.lineage()[:-1], *nodes]
        forest.settle(nodes, self._registry, now)
        moments = [moment for moment in log.moments if token_id in moment.token_ids]
        return self._renderer.page(
            "token",
            session,
            status=200 if is_known else 404,
            node=node,
            is_known=is_known,
            picture=Picture.of(nodes, token_id),
            left_out=left_out,
            derived=sum(1 for _ in node.family()) - 1,
            revocation=self._revocation(node) if node.state is State.REVOKED else None,
            log=log,
            depth=DEPTHS[0],
            days=_by_day(moments[:_RECENT]),
            shown=min(_RECENT, len(moments)),
            older=max(0, len(moments) - _RECENT),
            notice=_notice(query),
        )

    def _forest(self, log: Log, holding: Holding | None = None) -> Forest:
        tokens = [each.token for each in self._registry.tokens(_ROOTS).holdings]
        if holding is not None:
            tokens.append(holding.token)
        return Forest(tokens, (record for moment in log.moments for record in moment.records))

    def _is_revoked(self, agent: str) -> bool:
        return bool(self._registry.revoked([f"agent:{agent}"]))

    def _revocation(self, node: Node) -> Revocation | None:
        return self._registry.revocation(subject for each in node.lineage() for subject in each.subjects())


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
