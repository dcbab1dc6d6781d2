"""Limits: whatever the order of calls across a tree, no ancestor is ever overspent, and nothing is charged for nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import remit

NOW: Final = 1_704_067_500
SETTINGS: Final = settings(
    deadline=None, database=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow]
)
AMOUNTS: Final = (0, 1, 2, 3, 5, 10, 0.1, 0.2, 0.7, 2.5)


@dataclass
class Node:
    """A credential of the tree and what the model knows about its limit."""

    credential: remit.Credential
    parent: Node | None
    spec: dict[str, Any]
    uses: list[tuple[int, Decimal]] = field(default_factory=list)

    def line(self) -> list[Node]:
        """This node and its ancestors."""
        return [self, *(self.parent.line() if self.parent else [])]

    def fits(self, at: int, amount: Decimal) -> bool:
        """Whether one more use keeps within what this node states."""
        if len(self.uses) >= self.spec.get("max_uses", 10**9):
            return False
        if sum((spent for _, spent in self.uses), amount) > Decimal(str(self.spec.get("budget", 10**9))):
            return False
        count: int
        count, seconds = self.spec.get("rate", (10**9, 1))
        return len([when for when, _ in self.uses if at - seconds < when]) < count

    def on_the_edge(self, at: int) -> bool:
        """Whether a use is exactly as old as the window, where windows may differ on whom they count."""
        _, seconds = self.spec.get("rate", (0, 0))
        return any(at - seconds == when for when, _ in self.uses)


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    """At least one of the three limits, or none at all."""
    spec: dict[str, Any] = {}
    if draw(st.booleans()):
        spec["max_uses"] = draw(st.integers(1, 6))
    if draw(st.booleans()):
        spec["rate"] = (draw(st.integers(1, 4)), draw(st.sampled_from((10, 30, 60))))
    if draw(st.booleans()):
        spec["budget"] = draw(st.sampled_from((1, 5, 12, 0.3, 7.5)))
    return spec


def _limit(spec: dict[str, Any]) -> dict[str, Any]:
    if not spec:
        return {}
    rate = f"{spec['rate'][0]}/{spec['rate'][1]}s" if "rate" in spec else None
    budget = {"amount": spec["budget"]} if "budget" in spec else None
    return {"limits": {"t": remit.Limit(max_uses=spec.get("max_uses"), rate=rate, budget=budget)}}


STEPS: Final = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(AMOUNTS), st.sampled_from((0, 0, 1, 5, 11, 31, 61))),
    min_size=5,
    max_size=25,
)
SHAPES: Final = st.lists(st.tuples(st.integers(0, 5), limits()), min_size=1, max_size=5)


def _tree(
    root: dict[str, Any], shape: list[tuple[int, dict[str, Any]]], clock: list[int]
) -> tuple[list[Node], remit.Guard]:
    issuer = remit.Issuer.generate("https://auth.acme.example", clock=lambda: clock[0])
    guard = remit.Guard(trust=[issuer.anchor], ledger=remit.MemoryLedger(), clock=lambda: clock[0])
    capability = remit.Capability("t", amount=remit.Range(min=0))
    top = issuer.issue(agent="root", capabilities=[capability], ttl="7d", max_depth=8, **_limit(root))
    nodes = [Node(top, None, root)]
    for number, (place, spec) in enumerate(shape):
        parent = nodes[place % len(nodes)]
        child = parent.credential.delegate(
            agent=f"child-{number}",
            capabilities=[capability],
            max_depth=8 - len(parent.line()),
            **_limit(spec),
        )
        nodes.append(Node(child, parent, spec))
    return nodes, guard


def test_no_ancestor_is_ever_overspent_and_nothing_is_charged_for_a_refusal() -> None:
    """Every ancestor's counter is charged in the same transaction, so siblings cannot overspend a parent."""
    seen: Counter[str] = Counter()

    @SETTINGS
    @given(limits(), SHAPES, STEPS)
    def try_one(root: dict[str, Any], shape: list[Any], steps: list[tuple[int, float, int]]) -> None:
        clock = [NOW]
        nodes, guard = _tree(root, shape, clock)
        for place, amount, wait in steps:
            clock[0] += wait
            node, spent = nodes[place % len(nodes)], Decimal(str(amount))
            fits = all(link.fits(clock[0], spent) for link in node.line())
            edge = any(link.on_the_edge(clock[0]) for link in node.line())
            result = _denied(guard, node.credential, {"amount": amount})
            seen[result] += 1
            if result == "allowed":
                assert fits, "a limit was overspent"
                for link in node.line():
                    link.uses.append((clock[0], spent))
            else:
                assert result == "limit_exceeded"
                assert not fits or edge, "a call within every limit was refused"

    try_one()
    assert seen["allowed"] > 500
    assert seen["limit_exceeded"] > 500


@settings(SETTINGS, max_examples=150)
@given(st.integers(1, 5), st.lists(st.integers(0, 3), min_size=8, max_size=20))
def test_explaining_and_being_denied_cost_nothing(maximum: int, steps: list[int]) -> None:
    """`explain` charges nothing; a denied call charges nothing."""
    clock = [NOW]
    nodes, guard = _tree({"max_uses": maximum}, [(0, {})], clock)
    child = nodes[1].credential
    used = 0
    for step in steps:
        if step == 0:
            assert guard.explain(child, "t", {"amount": 1}).allowed or used >= maximum
        elif step == 1:
            assert _denied(guard, child, {"amount": -1}) == "argument_denied"
        elif step == 2:
            assert (
                _denied(guard, child, {"amount": 1}, session="elsewhere", agent="nobody") == "agent_mismatch"
            )
        elif used < maximum:
            assert guard.check(child, "t", {"amount": 1}).agent == "child-0"
            used += 1
        else:
            assert _denied(guard, child, {"amount": 1}) == "limit_exceeded"


def _denied(
    guard: remit.Guard, credential: remit.Credential, arguments: dict[str, Any], **options: Any
) -> str:
    try:
        guard.check(credential, "t", arguments, **options)
    except remit.Denied as denied:
        return denied.code
    return "allowed"


@settings(SETTINGS, max_examples=150)
@given(
    st.lists(
        st.sampled_from((1, 2, 0.5, -1, -0.5, True, "1", None, [1], 10**18, 1e-9)), min_size=1, max_size=12
    )
)
def test_a_budget_takes_only_numbers_that_count(amounts: list[Any]) -> None:
    """`budget`: sum of a numeric argument, never negative or NaN."""
    issuer = remit.Issuer.generate("https://auth.acme.example", clock=lambda: NOW)
    guard = remit.Guard(trust=[issuer.anchor], clock=lambda: NOW)
    credential = issuer.issue(agent="a", capabilities=["t"], limits={"t": remit.Limit(budget={"amount": 5})})
    spent = Decimal(0)
    for amount in amounts:
        code = _denied(guard, credential, {"amount": amount})
        if isinstance(amount, int | float) and not isinstance(amount, bool) and amount in (1, 2, 0.5):
            assert code == ("allowed" if spent + Decimal(str(amount)) <= 5 else "limit_exceeded")
            spent += Decimal(str(amount)) if code == "allowed" else 0
        elif amount == 1e-9:
            assert code in {"allowed", "argument_denied", "limit_exceeded"}
        else:
            assert code in {"argument_denied", "limit_exceeded"}
    assert _denied(guard, credential, {}) in {"argument_denied", "limit_exceeded"}
    assert _denied(guard, credential, {"other": 1}) in {"argument_denied", "limit_exceeded"}
