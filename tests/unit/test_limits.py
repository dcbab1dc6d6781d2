"""R14, R15, N1: limits hold to the last use, under any number of threads, over a whole tree."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from types import MappingProxyType
from typing import Any

import pytest

import remit

from .support import NOW, World, refusal, verdict


def _limited(world: World, limit: remit.Limit, **options: Any) -> remit.Credential:
    return world.issue(limits={"tool:use": limit}, **options)


def _spend(world: World, credential: remit.Credential, **arguments: Any) -> str:
    return verdict(lambda: world.guard.check(credential, "tool:use", arguments))


def _together(calls: list[Any]) -> list[str]:
    """The verdicts of calls that start at the same moment, each in a thread of its own."""
    start = Barrier(len(calls))

    def run(call: Any) -> str:
        start.wait()
        return verdict(call)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_once_means_once_under_64_threads(world: World) -> None:
    for _ in range(5):
        credential = _limited(world, remit.Limit(max_uses=1))
        results = _together([lambda c=credential: world.guard.check(c, "tool:use", {}) for _ in range(64)])
        assert sorted(set(results)) == ["allowed", "limit_exceeded"]
        assert results.count("allowed") == 1


def test_a_tool_that_may_be_called_once_runs_once_under_64_threads(world: World) -> None:
    credential, ran = _limited(world, remit.Limit(max_uses=1)), []

    def tool(number: int) -> None:
        ran.append(number)

    bound = remit.bind_tool(tool, world.guard, credential, capability="tool:use")
    results = _together([lambda n=n: bound(n) for n in range(64)])
    assert (results.count("allowed"), len(ran)) == (1, 1)


def test_one_presentation_is_accepted_once_under_64_threads(world: World) -> None:
    shown = world.issue().present("tool:use", {})
    results = _together([lambda: world.guard.verify(shown, "tool:use", {}) for _ in range(64)])
    assert (results.count("allowed"), results.count("proof_replayed")) == (1, 63)


def test_the_use_after_the_last_is_denied_and_says_so(world: World) -> None:
    credential = _limited(world, remit.Limit(max_uses=3))
    assert [_spend(world, credential) for _ in range(4)] == ["allowed"] * 3 + ["limit_exceeded"]
    denied = refusal(lambda: world.guard.check(credential, "tool:use", {}))
    assert isinstance(denied, remit.LimitExceeded)
    assert (denied.capability, denied.link) == ("tool:use", 0)
    assert "3 uses" in denied.reason


def test_a_rate_lets_in_as_many_as_it_says_in_every_window(world: World) -> None:
    credential = _limited(world, remit.Limit(rate="3/m"))
    world.clock.now = NOW
    assert _spend(world, credential) == "allowed"
    world.clock.now = NOW + 30
    assert [_spend(world, credential) for _ in range(3)] == ["allowed", "allowed", "limit_exceeded"]
    world.clock.now = NOW + 59.9
    assert _spend(world, credential) == "limit_exceeded"
    world.clock.now = NOW + 60  # the first use has left the window, the other two have not
    assert [_spend(world, credential) for _ in range(2)] == ["allowed", "limit_exceeded"]
    world.clock.now = NOW + 90
    assert [_spend(world, credential) for _ in range(3)] == ["allowed", "allowed", "limit_exceeded"]


def test_a_window_slides_and_does_not_start_anew_on_the_minute(world: World) -> None:
    credential = _limited(world, remit.Limit(rate="2/m"))
    world.clock.now = NOW // 60 * 60 + 59
    assert [_spend(world, credential) for _ in range(2)] == ["allowed", "allowed"]
    world.clock.now += 2  # another minute on the wall
    assert _spend(world, credential) == "limit_exceeded"


def test_a_budget_is_spent_to_the_last_unit_and_no_further(world: World) -> None:
    credential = _limited(world, remit.Limit(budget={"amount": 2_500}))
    assert _spend(world, credential, amount=2_000) == "allowed"
    assert _spend(world, credential, amount=501) == "limit_exceeded"
    assert _spend(world, credential, amount=500) == "allowed"
    assert _spend(world, credential, amount=0) == "allowed"
    assert _spend(world, credential, amount=0.000001) == "limit_exceeded"


def test_a_budget_adds_decimals_as_people_do(world: World) -> None:
    credential = _limited(world, remit.Limit(budget={"amount": 0.3}))
    assert _spend(world, credential, amount=0.1) == "allowed"
    assert _spend(world, credential, amount=0.2) == "allowed"  # 0.1 + 0.2 is not 0.3 in binary
    assert _spend(world, credential, amount=0.000001) == "limit_exceeded"
    again = _limited(world, remit.Limit(budget={"amount": 1}))
    assert [_spend(world, again, amount=0.1) for _ in range(11)] == ["allowed"] * 10 + ["limit_exceeded"]


@pytest.mark.parametrize(
    "amount", [-1, -0.01, True, False, None, "5", "", [5], {"n": 5}, float("nan"), float("inf"), float("-inf"),
               0.1 + 0.2, 1e-7, 10**15, 1e300, b"5"], ids=repr
)  # fmt: skip
def test_an_amount_that_cannot_be_charged_is_denied_and_charges_nothing(world: World, amount: Any) -> None:
    credential = _limited(world, remit.Limit(budget={"amount": 10}))
    assert _spend(world, credential, amount=amount) in {"argument_denied", "limit_exceeded"}
    assert _spend(world, credential, amount=10) == "allowed"


def test_an_amount_that_is_left_out_is_denied(world: World) -> None:
    credential = _limited(world, remit.Limit(budget={"amount": 10}))
    assert _spend(world, credential) == "argument_denied"
    assert _spend(world, credential, Amount=1) == "argument_denied"


def test_a_default_is_charged_to_the_budget(world: World) -> None:
    credential = _limited(world, remit.Limit(budget={"amount": 10}))

    @remit.requires_capability("tool:use")
    def tool(amount: int = 6) -> int:
        return amount

    with world.guard.acting_as(credential):
        assert tool() == 6
        assert refusal(tool).code == "limit_exceeded"
        assert tool(4) == 4


def test_a_decimal_is_charged_as_the_number_it_is(world: World) -> None:
    credential = _limited(world, remit.Limit(budget={"amount": 1}))
    assert _spend(world, credential, amount=Decimal("0.9")) == "allowed"
    assert _spend(world, credential, amount=Decimal("0.2")) == "limit_exceeded"
    assert _spend(world, credential, amount=Decimal("0.10")) == "allowed"


def test_a_call_that_is_denied_charges_nothing(world: World) -> None:
    narrow = remit.Capability("tool:use", n=remit.Range(max=5))
    credential = world.issue(
        narrow, limits={"tool:use": remit.Limit(max_uses=1, rate="1/m", budget={"n": 5})}
    )
    for arguments in ({"n": 6}, {"n": -1}, {"n": 1, "x": 1}, {}):
        assert _spend(world, credential, **arguments) == "argument_denied"
    assert verdict(lambda: world.guard.check(credential, "tool:use", {"n": 1}, agent="b")) == "agent_mismatch"
    assert _spend(world, credential, n=5) == "allowed"


def test_a_call_that_one_counter_has_no_room_for_charges_none_of_them(world: World) -> None:
    credential = _limited(world, remit.Limit(max_uses=2, rate="9/m", budget={"a": 10, "b": 1}))
    assert [_spend(world, credential, a=1, b=2) for _ in range(5)] == ["limit_exceeded"] * 5
    assert [_spend(world, credential, a=5, b=0) for _ in range(2)] == ["allowed"] * 2
    assert _spend(world, credential, a=0, b=0) == "limit_exceeded"


def test_a_proof_is_not_burnt_by_a_call_that_a_limit_denies(world: World) -> None:
    credential = _limited(world, remit.Limit(rate="1/s"))
    first, second = (credential.present("tool:use", {}) for _ in range(2))
    assert verdict(lambda: world.guard.verify(first, "tool:use", {})) == "allowed"
    assert verdict(lambda: world.guard.verify(second, "tool:use", {})) == "limit_exceeded"
    world.clock.now += 1
    assert verdict(lambda: world.guard.verify(second, "tool:use", {})) == "allowed"


def test_a_replay_charges_nothing(world: World) -> None:
    credential = _limited(world, remit.Limit(max_uses=2))
    shown = credential.present("tool:use", {})
    results = [verdict(lambda: world.guard.verify(shown, "tool:use", {})) for _ in range(5)]
    assert results == ["allowed"] + ["proof_replayed"] * 4
    assert _spend(world, credential) == "allowed"


def test_siblings_cannot_overspend_their_parent(world: World) -> None:
    parent = _limited(world, remit.Limit(max_uses=3, budget={"n": 10}), max_depth=1)
    children = [parent.delegate(f"child-{i}", ["tool:use"]) for i in range(4)]
    assert [_spend(world, child, n=1) for child in children] == ["allowed"] * 3 + ["limit_exceeded"]
    assert _spend(world, parent, n=0) == "limit_exceeded"
    assert refusal(lambda: world.guard.check(children[0], "tool:use", {"n": 0})).link == 0


def test_siblings_cannot_overspend_their_parents_budget(world: World) -> None:
    parent = _limited(world, remit.Limit(budget={"n": 10}), max_depth=2)
    child = parent.delegate("b", ["tool:use"], max_depth=1)
    grandchild = child.delegate("c", ["tool:use"])
    assert [_spend(world, each, n=4) for each in (parent, child, grandchild)] == [
        "allowed",
        "allowed",
        "limit_exceeded",
    ]
    assert _spend(world, grandchild, n=2) == "allowed"
    assert [_spend(world, each, n=1) for each in (parent, child, grandchild)] == ["limit_exceeded"] * 3


def test_siblings_cannot_overspend_their_parent_in_parallel(world: World) -> None:
    parent = _limited(world, remit.Limit(max_uses=20, budget={"n": 15}), max_depth=1)
    children = [parent.delegate(f"child-{i}", ["tool:use"]) for i in range(8)]
    calls = [
        lambda c=child: world.guard.check(c, "tool:use", {"n": 1}) for child in children for _ in range(8)
    ]
    results = _together(calls)
    assert (results.count("allowed"), results.count("limit_exceeded")) == (15, 49)


def test_a_childs_own_limit_is_charged_beside_its_parents(world: World) -> None:
    parent = _limited(world, remit.Limit(max_uses=10), max_depth=1)
    child = parent.delegate("b", ["tool:use"], limits={"tool:use": remit.Limit(max_uses=2)})
    assert [_spend(world, child) for _ in range(3)] == ["allowed", "allowed", "limit_exceeded"]
    assert refusal(lambda: world.guard.check(child, "tool:use", {})).link == 1
    assert [_spend(world, parent) for _ in range(9)] == ["allowed"] * 8 + ["limit_exceeded"]


def test_a_child_cannot_give_itself_more_than_its_parent_has(world: World) -> None:
    parent = _limited(world, remit.Limit(max_uses=1), max_depth=1)
    child = parent.delegate("b", ["tool:use"], limits={"tool:use": remit.Limit(max_uses=1_000)})
    assert [_spend(world, child) for _ in range(2)] == ["allowed", "limit_exceeded"]


def test_limits_of_two_tokens_and_two_capabilities_are_counted_apart(world: World) -> None:
    limits = {name: remit.Limit(max_uses=1) for name in ("a", "b")}
    first, second = (world.issue("a", "b", limits=limits) for _ in range(2))
    for credential in (first, second):
        for name in ("a", "b"):
            assert verdict(lambda: world.guard.check(credential, name, {})) == "allowed"
            assert verdict(lambda: world.guard.check(credential, name, {})) == "limit_exceeded"


@pytest.mark.parametrize(
    "options",
    [{}, {"max_uses": 0}, {"max_uses": -1}, {"max_uses": True}, {"max_uses": 1.0}, {"max_uses": 2**53}, {"rate": ""},
     {"rate": "0/m"}, {"rate": "1/0s"}, {"rate": "1/w"}, {"rate": "100001/s"}, {"rate": "1/99999h"}, {"budget": {}},
     {"budget": {"n": 0}}, {"budget": {"n": -1}}, {"budget": {"n": True}}, {"budget": {"n": float("nan")}},
     {"budget": {"n": float("inf")}}, {"budget": {"n": 1e-7}}, {"budget": {"n": 10**12}}, {"budget": {"": 1}},
     {"budget": {1: 1}}, {"budget": [("n", 1)]}, {"budget": "n"}],
    ids=repr,
)  # fmt: skip
def test_a_limit_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(remit.ConfigError):
        remit.Limit(**options)


def test_a_limit_says_what_it_was_made_of_and_compares_by_it() -> None:
    limit = remit.Limit(max_uses=3, rate="10/2m", budget=MappingProxyType({"n": 0.5}))
    assert (limit.max_uses, limit.rate, limit.budget) == (3, (10, 120), {"n": 500_000})
    assert limit.to_json() == {"max_uses": 3, "rate": {"uses": 10, "seconds": 120}, "budget": {"n": 0.5}}
    same = remit.Limit(max_uses=3, rate="10/120s", budget={"n": 0.5})
    assert limit == same
    assert hash(limit) == hash(same)
    assert limit != remit.Limit(max_uses=3)
    assert limit != 3
    assert repr(remit.Limit(max_uses=3)) == "Limit(max_uses=3)"


def test_a_limit_on_something_not_granted_is_refused(world: World) -> None:
    for limits in (
        {"other": remit.Limit(max_uses=1)},
        {"tool:use": 3},
        {"tool:use": None},
        [remit.Limit(max_uses=1)],
    ):
        with pytest.raises(remit.ConfigError):
            world.issue(limits=limits)
