"""Delegate-only rights and limits on the wire: whom they bind and who pays."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

import pytest

import remit

from .forge import HOLDERS, Raw, Story, story
from .judge import STRUCTURE, denies, guard, permits
from .profile import issued, says


def _calls(capability: str, args: dict[str, Any], **options: Any) -> Story:
    made = story(0, tool=capability, args=args)
    feature = options.pop("feature")
    header, claims = issued(feature)
    made.root.set(**{feature: options.pop("value", None) or claims[feature]})
    if options.pop("listed", True):
        made.root.header.update({name: header[name] for name in ("crit", "remit")})
    return made


@pytest.mark.parametrize("listed", [True, False])
def test_a_delegate_only_right_may_not_be_used(listed: bool) -> None:
    """`delegate_only`: capabilities the holder may pass on but not use itself."""
    permits(_calls("read_file", {"path": "/data/q3"}, feature="delegate_only", listed=listed))
    denies(
        _calls("search", {"limit": 1, "query": "x"}, feature="delegate_only", listed=listed),
        ("delegate_only",),
    )


def test_a_delegate_only_right_may_be_used_by_whom_it_was_passed_on_to() -> None:
    """Coordinator denied, worker allowed."""
    header, claims = issued("delegate_only")
    made = story(1, tool="search", args={"limit": 1, "query": "x"})
    made.root.set(delegate_only=claims["delegate_only"])
    made.root.header.update({name: header[name] for name in ("crit", "remit")})
    permits(made)


@pytest.mark.parametrize(
    "wrong", [["delete_file"], ["read_file", "read_file"], ["*"], [None], [["search"]], "search", {"search": True}]
)  # fmt: skip
def test_delegate_only_names_capabilities_that_are_granted(wrong: Any) -> None:
    """What it names must be there, each once."""
    permits(says("delegate_only"))
    denies(says("delegate_only", wrong), STRUCTURE)


def _times(made: Callable[[int], Story], count: int, judge: remit.Guard) -> None:
    for number in range(count):
        permits(made(number), by=judge)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("index", [0, 1, 2], ids=["root", "middle", "leaf"])
def test_limits_of_every_link_are_charged(index: int, listed: bool) -> None:
    """Counters are keyed by the token that states them and **every ancestor's** counter is charged."""
    header, claims = issued("limits")

    def made(number: int) -> Story:
        built = story(2, tool="search", args={"limit": 1, "query": "x"})
        built.links[index].set(limits=deepcopy(claims["limits"]))
        if listed:
            built.links[index].header.update({name: header[name] for name in ("crit", "remit")})
        built.proof.set(jti=f"p-{number}")
        return built

    judge = guard(ledger=remit.MemoryLedger())
    _times(made, 2, judge)
    denies(made(9), ("limit_exceeded",), by=judge)


def test_siblings_cannot_overspend_a_parent() -> None:
    """Every ancestor's counter is charged in the same transaction, so siblings cannot overspend a parent."""
    header, claims = issued("limits")

    def made(number: int) -> Story:
        built = story(1, tool="search", args={"limit": 1, "query": "x"})
        built.root.set(limits=claims["limits"])
        built.root.header.update({name: header[name] for name in ("crit", "remit")})
        holder = HOLDERS[5 + number]
        built.leaf.set(jti=f"child-{number}", cnf={"jwk": holder.jwk})
        built.proof.sign = holder.sign
        built.proof.set(jti=f"p-{number}")
        return built

    judge = guard(ledger=remit.MemoryLedger())
    _times(made, 2, judge)
    denies(made(3), ("limit_exceeded",), by=judge)


def test_a_budget_is_a_sum_and_a_refused_call_costs_nothing() -> None:
    """Charged atomically, all or nothing."""
    _, claims = issued("limits")
    limits = {"search": {"budget": claims["limits"]["search"]["budget"]}}
    judge = guard(ledger=remit.MemoryLedger())

    def spend(number: int, amount: float) -> Story:
        made = _calls("search", {"limit": amount, "query": "x"}, feature="limits", value=limits)
        made.proof.set(jti=f"p-{number}")
        return made

    permits(spend(1, 40), by=judge)
    denies(spend(2, 11), ("limit_exceeded",), by=judge)
    permits(spend(3, 10), by=judge)
    permits(spend(4, 0), by=judge)
    denies(spend(5, 1), ("limit_exceeded",), by=judge)
    denies(spend(6, -1), ("limit_exceeded", "argument_denied"), by=judge)


def _member(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda limits: {"search": {**limits["search"], name: value}}


WRONG: Final[dict[str, list[Any]]] = {
    "max_uses": [0, -1, True, "2", None, Raw("2.0"), Raw("2e0"), 1.5, [], {}, 10**30],
    "rate": [None, True, 1, "", "x", "5", "0/m", [], {}, [1], ["5", "m"], {"n": 5}, -1, 1.5],
    "budget": [
        None, True, 1, "5", [], {}, {"limit": -1}, {"limit": "5"}, {"limit": None}, {"limit": True},
        {"limit": Raw("NaN")}, {"limit": Raw("1e999")}, {"limit": [1]}, {"limit": {"max": 1}},
    ],
}  # fmt: skip
LIMITS_WRONG: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "a capability not granted": lambda limits: {**limits, "delete_file": limits["search"]},
    "a limit that is a number": lambda _: {"search": 2},
    "a limit that is null": lambda _: {"search": None},
    "a limit that is a list": lambda limits: {"search": [limits["search"]]},
    "a limit that limits nothing": lambda _: {"search": {}},
    "a member nobody knows": lambda limits: {"search": {**limits["search"], "per": "day"}},
    **{f"{name} is {value!r}": _member(name, value) for name, values in WRONG.items() for value in values},
}


@pytest.mark.parametrize("name", LIMITS_WRONG)
def test_a_limit_that_cannot_be_read_is_refused(name: str) -> None:
    """`max_uses`, `rate` (n per seconds), `budget` (sum of a numeric argument, never negative or NaN)."""
    _, claims = issued("limits")
    permits(says("limits"))
    denies(says("limits", LIMITS_WRONG[name](claims["limits"])), STRUCTURE)
