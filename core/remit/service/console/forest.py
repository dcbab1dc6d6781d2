"""Who passed what on to whom: the tokens of the ledger, and those that the audit log shows derived from them.

The ledger knows what was issued, and the record of an issue what it was exchanged for. Of what was
delegated, nobody is told until it is used: then the `chain` of an audit record names it, and who had it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from remit.ledger import LiveToken
from remit.record import AuditRecord
from remit.service.console.registry import Registry, State

__all__ = ["Forest", "Node"]

_DEEPEST: Final = 32
"""Links of a chain that are looked at."""
_REVOKED: Final = "token_revoked"
_EXPIRED: Final = "token_expired"


@dataclass(slots=True, eq=False)
class Node:
    """A token, and what is known of it."""

    token_id: str
    parent: Node | None = None
    children: list[Node] = field(default_factory=list["Node"])
    token: LiveToken | None = None
    """What the ledger knows; None for a token that was delegated offline."""
    agent: str | None = None
    """Who had it; None when it was never used itself, but only passed on."""
    state: State = State.UNKNOWN
    calls: int = 0
    denials: int = 0
    first_seen: float = math.inf
    last_seen: float = -math.inf
    last_code: str | None = None
    """The code of its newest call, when that was denied."""

    @property
    def expires_at(self) -> int | None:
        """When it expires, or at the latest when it was delegated; None when nobody knows."""
        known = (node.token for node in reversed(self.lineage()))
        return next((token.expires_at for token in known if token is not None), None)

    @property
    def depth(self) -> int:
        """How many tokens it was derived from."""
        return len(self.lineage()) - 1

    def lineage(self) -> list[Node]:
        """Return the tokens that it was derived from, root first, and itself."""
        found: list[Node] = [self]
        while (parent := found[-1].parent) is not None:
            found.append(parent)
        return found[::-1]

    def family(self) -> Iterator[Node]:
        """Yield it and all that was derived from it, parents before children."""
        waiting: list[Node] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children)

    def subjects(self) -> Iterator[str]:
        """Yield what would have to be revoked for this token to be."""
        if self.token is not None:
            yield from self.token.subjects
            return
        yield f"token:{self.token_id}"
        if self.agent is not None:
            yield f"agent:{self.agent}"

    def activity(self) -> float:
        """Return when it or something derived from it was last used or issued."""
        issued = -math.inf if self.token is None else self.token.issued_at
        return max(issued, *(node.last_seen for node in self.family()))


class Forest:
    """The tokens that are known, by identifier.

    Args:
        tokens: what the ledger knows.
        records: audit records, newest first.
    """

    def __init__(self, tokens: Iterable[LiveToken], records: Iterable[AuditRecord]) -> None:
        self.nodes: dict[str, Node] = {}
        for token in tokens:
            self.know(token)
        for record in records:
            self._see(record)

    def know(self, token: LiveToken) -> None:
        """Take what the ledger knows of a token."""
        node = self._node(token.token_id)
        node.token, node.agent = token, token.agent

    def _node(self, token_id: str) -> Node:
        return self.nodes.setdefault(token_id, Node(token_id))

    def _see(self, record: AuditRecord) -> None:
        """Take what a record says. One of an issue is about the token too, and no call."""
        parent: Node | None = None
        for token_id in record.chain[:_DEEPEST]:
            node = self._node(token_id)
            # Whoever derives a token chooses its identifier. Of one that was issued, its issue says all.
            if parent is not None and (node.token is None or record.event == "issue"):
                _join(parent, node)
            node.first_seen = min(node.first_seen, record.at)
            parent = node
        leaf = None if record.token_id is None else self.nodes.get(record.token_id)
        if leaf is None or record.token_id not in record.chain:
            return
        leaf.agent = leaf.agent or record.agent
        if record.event == "decision" or record.code is not None:
            leaf.calls += record.event == "decision"
            leaf.denials += record.code is not None
        if record.at > leaf.last_seen:
            leaf.last_seen, leaf.last_code = record.at, record.code

    def roots(self) -> list[Node]:
        """Return the tokens that were derived from none, those used or issued last first."""
        found = [(node.activity(), node) for node in self.nodes.values() if node.parent is None]
        found.sort(key=lambda pair: pair[0], reverse=True)
        return [node for _, node in found]

    def settle(self, nodes: Iterable[Node], registry: Registry, now: float) -> None:
        """Find out how tokens stand. Parents come before their children."""
        listed = list(nodes)
        for node in listed:
            if node.parent is None and node.token is None:
                holding = registry.token(node.token_id)
                if holding is not None:
                    self.know(holding.token)
        subjects = {subject for node in listed for subject in node.subjects()}
        revoked = registry.revoked(subjects)
        for node in listed:
            node.state = _state(node, revoked, now)


def _join(parent: Node, child: Node) -> None:
    """Note that a token was derived from another. It has one parent, and is no parent of its own."""
    if child.parent is None and child not in parent.lineage():
        child.parent = parent
        parent.children.append(child)


def _state(node: Node, revoked: Mapping[str, float], now: float) -> State:
    parent = None if node.parent is None else node.parent.state
    # A delegated token was issued before it was first seen; when exactly, only its holder knows.
    issued = node.first_seen if node.token is None else node.token.issued_at
    is_revoked = any(issued <= revoked.get(subject, -math.inf) for subject in node.subjects())
    if is_revoked or parent is State.REVOKED or node.last_code == _REVOKED:
        return State.REVOKED
    if node.token is not None:
        return State.LIVE if now < node.token.expires_at else State.EXPIRED
    if node.last_code == _EXPIRED:
        return State.EXPIRED
    return State.UNKNOWN if parent is None else parent
