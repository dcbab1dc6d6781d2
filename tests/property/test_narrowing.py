"""Constraints: what one says about another is true of every value."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from .narrower import pairs, triples
from .probes import probes
from .wires import LEAVES, TYPES, WIRES, Wire, _nested, build

SETTINGS: Final = settings(
    deadline=None,
    database=None,
    max_examples=1_500,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
FEWER: Final = settings(SETTINGS, max_examples=300)


def test_a_narrowing_that_is_accepted_admits_nothing_its_parent_refuses() -> None:
    """If the procedure returns true for (C_parent, C_child), then for all values v: C_child.check(v) implies C_parent.check(v)."""
    seen: Counter[str] = Counter()

    @SETTINGS
    @given(pairs())
    def try_one(pair: tuple[Wire, Wire]) -> None:
        parent, child = map(build, pair)
        accepted = parent.subsumes(child)
        seen["accepted" if accepted else "refused"] += 1
        event(f"{pair[0]['constraint_type']}: {'accepted' if accepted else 'refused'}")
        if not accepted:
            return
        for value in probes(*pair):
            if child.check(value):
                seen["admitted"] += 1
                assert parent.check(value), f"{value!r} is let in by {pair[1]} but not by {pair[0]}"

    try_one()
    assert seen["accepted"] >= 0.2 * (seen["accepted"] + seen["refused"])
    assert seen["admitted"] >= seen["accepted"]


def _one_type(kind: str) -> st.SearchStrategy[Wire]:
    if kind in LEAVES:
        return LEAVES[kind]
    return _nested(st.one_of(*LEAVES.values())).filter(lambda wire: wire["constraint_type"] == kind)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_by_itself_narrows_soundly(kind: str) -> None:
    """Sound: the procedure MUST NOT return true unless the semantic subsumption relation holds."""
    seen: Counter[str] = Counter()

    @settings(SETTINGS, max_examples=120)
    @given(pairs(_one_type(kind)))
    def try_one(pair: tuple[Wire, Wire]) -> None:
        parent, child = map(build, pair)
        accepted = parent.subsumes(child)
        seen["accepted"] += accepted
        if accepted:
            for value in probes(*pair):
                assert not child.check(value) or parent.check(value), (value, pair)

    try_one()
    assert seen["accepted"] >= 5  # an e-mail domain has few children, and Hypothesis tries each but once


@FEWER
@given(WIRES)
def test_every_constraint_may_be_passed_on_as_it_is(wire: Wire) -> None:
    """The parent subsumes the derived constraint: equal or narrower."""
    assert build(wire).subsumes(build(wire))


def test_narrower_than_narrower_is_narrower() -> None:
    """Authority can only narrow at each delegation step."""
    seen: Counter[str] = Counter()

    @settings(SETTINGS, max_examples=500)
    @given(triples())
    def try_one(wires: tuple[Wire, Wire, Wire]) -> None:
        parent, child, grandchild = map(build, wires)
        seen["tried"] += 1
        if parent.subsumes(child) and child.subsumes(grandchild):
            seen["both"] += 1
            assert parent.subsumes(grandchild), wires

    try_one()
    assert seen["both"] >= 0.05 * seen["tried"]


@FEWER
@given(WIRES, WIRES)
def test_any_two_constraints_at_random_are_judged_soundly(parent: Wire, child: Wire) -> None:
    """Cross-type subsumption: unlisted pairs are invalid, listed ones are sound."""
    wide, narrow = build(parent), build(child)
    if wide.subsumes(narrow):
        for value in probes(parent, child):
            assert not narrow.check(value) or wide.check(value), value


@FEWER
@given(WIRES)
def test_a_check_gives_a_verdict_for_every_value_and_the_same_one_twice(wire: Wire) -> None:
    """A predicate with two total, deterministic functions."""
    one, two = build(wire), build(wire)
    for value in probes(wire):
        first = one.check(value)
        assert first is True or first is False
        assert one.check(value) is first
        assert two.check(value) is first


@FEWER
@given(WIRES)
def test_a_check_sees_the_number_and_not_how_it_is_stored(wire: Wire) -> None:
    """Constraint values and arguments are compared by their JCS serializations: `1.0` and `1` are one number."""
    constraint = build(wire)
    for value in probes(wire):
        if type(value) is int and abs(value) <= 2**53:
            assert constraint.check(value) is constraint.check(float(value)), value


@FEWER
@given(WIRES)
def test_a_check_changes_neither_the_value_nor_the_constraint(wire: Wire) -> None:
    """Objects returned cannot widen authority: nothing is changed by looking."""
    constraint = build(wire)
    before = repr(constraint)
    for value in probes(wire):
        text = json.dumps(value)
        constraint.check(value)
        assert json.dumps(value) == text
    assert repr(constraint) == before


@FEWER
@given(WIRES, st.booleans())
def test_whether_an_argument_may_be_left_out_does_not_change_what_it_may_be(
    wire: Wire, optional: bool
) -> None:
    """Subsumption compares constraints without the member `optional`."""
    plain = build(wire)
    other: Any = build(wire).optional() if optional else build(wire)
    assert plain.subsumes(other)
    assert other.subsumes(plain)
    for value in probes(wire):
        assert plain.check(value) is other.check(value)
