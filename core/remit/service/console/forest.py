"""Who passed what on to whom: the tokens of the ledger, and those that the audit log shows derived from them.

The ledger knows what was issued, and what that was exchanged for. Of what was delegated, nobody is told until
it is used: then the `chain` of an audit record names it, and who had it.

Invariants:

- whoever derives a token chooses its identifier and its agent's name. A token is therefore known by its
  place: the identifiers from the first root down to it. Who has no part in a chain puts nothing there;
- what was exchanged begins a chain of its own, and has its place below what it was exchanged for;
- a place is longer than the one that it hangs from, so that there is no circle;
- how a token stands is what the ledger says of it. Of one that the ledger does not know it is inferred, and
  said to be, unless that very identifier is revoked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from remit.ledger import LiveToken
from remit.record import AuditRecord
from remit.service.console.registry import Registry, State

__all__ = ["Forest", "Node", "Trace"]

Trace: TypeAlias = tuple[str, ...]
"""The place of a token: identifiers, from that of the first root to its own."""

_DEEPEST: Final = 32
"""Links of a chain that are looked at."""
_REVOKED: Final = "token_revoked"
_EXPIRED: Final = "token_expired"


@dataclass(slots=True, eq=False)
class Node:
    """A token at its place, and what is known of it."""

    trace: Trace
    parent: Node | None = None
    children: list[Node] = field(default_factory=list["Node"])
    is_issued: bool = False
    """Whether an issuer gave it its identifier, so that the ledger may know it."""
    token: LiveToken | None = None
    """What the ledger knows; None for a token that was delegated offline."""
    agent: str | None = None
    """Who had it; None when it was never used itself, but only passed on."""
    state: State = State.UNKNOWN
    is_inferred: bool = False
    """Whether the ledger does not say that it stands so, but what it was derived from, or its last call."""
    calls: int = 0
    denials: int = 0
    first_seen: float = math.inf
    last_seen: float = -math.inf
    last_code: str | None = None
    """The code of its newest call, when that was denied."""

    @property
    def token_id(self) -> str:
        """Its identifier, which may be that of other tokens too."""
        return self.trace[-1]

    @property
    def depth(self) -> int:
        """How many tokens it was derived from."""
        return len(self.trace) - 1

    @property
    def expires_at(self) -> int | None:
        """When it expires, or at the latest when it was delegated; None when nobody knows."""
        known = (node.token for node in reversed(self.lineage()))
        return next((token.expires_at for token in known if token is not None), None)

    @property
    def named_by(self) -> str | None:
        """Who chose its agent's name, in words; None when its issuer did.

        The agent told is the one that the issuer itself named; those in between were again named by somebody.
        """
        lineage = self.lineage()
        before = _ancestors(lineage[0].token)
        if self.parent is None and not before:
            return None
        told = (_origin(node.token) for node in lineage if node.token is not None)
        agent = next(told, lineage[0].agent)
        if agent is None:
            return "named by whoever passed it on"
        return f"named by {agent}" if self.depth + len(before) == 1 else f"named by somebody after {agent}"

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
        """Yield what would have to be revoked for this token to be, besides what it was derived from."""
        if self.token is not None:
            yield from self.token.subjects
            return
        yield f"token:{self.token_id}"
        if self.agent is not None:
            yield f"agent:{self.agent}"

    def activity(self) -> float:
        """Return when it or something derived from it was last used or issued."""
        return max(max(node.last_seen, _issued(node)) for node in self.family())

    def count(self, record: AuditRecord) -> None:
        """Count a record of a call with it, which is older than those before."""
        self.agent = self.agent or record.agent
        self.calls += record.event == "decision"
        self.denials += record.code is not None
        if record.at > self.last_seen:
            self.last_seen, self.last_code = record.at, record.code


class Forest:
    """The tokens that are known, by place.

    Args:
        tokens: what the ledger knows.
        records: audit records, newest first.
    """

    def __init__(self, tokens: Iterable[LiveToken], records: Iterable[AuditRecord]) -> None:
        self.nodes: dict[Trace, Node] = {}
        self._homes: dict[str, Trace] = {}
        """The places of tokens that were exchanged, by identifier: their issuer chose it."""
        known, seen = list(tokens), list(records)
        for token in known:
            self._settle_home(token.token_id, (*_ancestors(token), token.token_id))
        for record in seen:
            if record.event == "issue" and record.chain:
                self._settle_home(record.chain[-1], record.chain)
        for token in known:
            self._know(self._issued(token.token_id), token)
        for record in seen:
            self._see(record)

    def _settle_home(self, token_id: str, trace: Trace) -> None:
        if 1 < len(trace) <= _DEEPEST:
            self._homes.setdefault(token_id, trace)

    def _know(self, node: Node, token: LiveToken) -> None:
        node.token, node.agent = token, token.agent

    def _issued(self, token_id: str) -> Node:
        """Return the node of a token whose identifier its issuer chose."""
        node = self._node(self._homes.get(token_id, (token_id,)))
        node.is_issued = True
        return node

    def _node(self, trace: Trace) -> Node:
        node = self.nodes.get(trace)
        if node is None:
            parent = self._node(trace[:-1]) if len(trace) > 1 else None
            node = self.nodes[trace] = Node(trace, parent, is_issued=parent is None)
            if parent is not None:
                parent.children.append(node)
        return node

    def _see(self, record: AuditRecord) -> None:
        """Take what a record says. One of an issue is about the token too, and no call."""
        node = self.find(record)
        if node is None:
            return
        for each in node.lineage():
            each.first_seen = min(each.first_seen, record.at)
        if record.token_id == node.token_id:
            node.count(record)

    def find(self, record: AuditRecord) -> Node | None:
        """Return the node of the token that a record is about; None when no chain was believed."""
        chain = record.chain[:_DEEPEST]
        if not chain:
            return None
        if record.event == "issue" and chain == record.chain:
            return self._issued(chain[-1])
        return self._node((*self._issued(chain[0]).trace, *chain[1:])[:_DEEPEST])

    def places(self, token_id: str) -> list[Node]:
        """Return the places of an identifier: that of an issued token first, then those used last first."""
        found = [node for node in self.nodes.values() if node.token_id == token_id]
        return sorted(found, key=lambda node: (not node.is_issued, -node.activity()))

    def roots(self) -> list[Node]:
        """Return the tokens that were derived from none, those used or issued last first."""
        found = [node for node in self.nodes.values() if node.parent is None]
        return sorted(found, key=Node.activity, reverse=True)

    def look_up(self, nodes: Iterable[Node], registry: Registry) -> None:
        """Have the ledger say what it knows of tokens that were issued, so far as it was not asked yet."""
        for node in nodes:
            if node.is_issued and node.token is None:
                token = registry.known(node.token_id)
                if token is not None:
                    self._know(node, token)

    def settle(self, nodes: Iterable[Node], registry: Registry) -> None:
        """Find out how tokens stand. Parents come before their children."""
        listed = list(nodes)
        self.look_up(listed, registry)
        revoked = registry.revoked({subject for node in listed for subject in node.subjects()})
        said = {
            holding.token.token_id: holding.state
            for holding in registry.standing(node.token for node in listed if node.token is not None)
        }
        for node in listed:
            if node.token is not None:
                node.state, node.is_inferred = said[node.token_id], False
            elif f"token:{node.token_id}" in revoked:
                node.state, node.is_inferred = State.REVOKED, False
            else:
                node.state = _inferred(node, revoked)
                node.is_inferred = node.state is not State.UNKNOWN


def _inferred(node: Node, revoked: Mapping[str, float]) -> State:
    """Return how a token stands that the ledger does not know, by its parent and its last call."""
    above = State.UNKNOWN if node.parent is None else node.parent.state
    # A delegated token was issued before it was first seen; when exactly, only its holder knows.
    is_revoked = any(node.first_seen <= revoked.get(subject, -math.inf) for subject in node.subjects())
    if is_revoked or above is State.REVOKED or node.last_code == _REVOKED:
        return State.REVOKED
    return State.EXPIRED if node.last_code == _EXPIRED else above


def _issued(node: Node) -> float:
    return -math.inf if node.token is None else node.token.issued_at


def _ancestors(token: LiveToken | None) -> Trace:
    """Return what a token was exchanged for, by identifier, the first root first."""
    return _named(token, "token:")


def _origin(token: LiveToken) -> str:
    """Return the agent that the issuer gave the first token to, from which this one comes."""
    return next(iter(_named(token, "agent:")), token.agent)


def _named(token: LiveToken | None, kind: str) -> Trace:
    subjects = () if token is None else token.revoked_with
    return tuple(subject.removeprefix(kind) for subject in subjects if subject.startswith(kind))
