"""Capabilities: a delegation that is accepted lets in no call that its parent would refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from hypothesis import HealthCheck, given, settings

import remit

from .narrower import maps
from .probes import probes

SETTINGS: Final = settings(
    deadline=None,
    database=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NOW: Final = 1_704_067_500
ISSUER: Final = remit.Issuer.generate("https://auth.acme.example", clock=lambda: NOW)
GUARD: Final = remit.Guard(trust=[ISSUER.anchor], clock=lambda: NOW)

Map = dict[str, Any]


def capability(spec: Map) -> remit.Capability:
    """The capability `t` with the constraints of a map."""
    from .wires import build  # keeps the strategies out of the way of the reader

    constraints = {
        name: build(entry[0]).optional() if entry[1] else build(entry[0])
        for name, entry in spec.items()
        if name != "*"
    }
    made = remit.Capability("t", **constraints)
    return made.with_other_arguments() if "*" in spec else made


def calls(*specs: Map) -> Iterator[dict[str, Any]]:
    """Argument sets made from probes for the constraints of some maps."""
    names = sorted({name for spec in specs for name in spec if name != "*"})
    values = {name: probes(*(spec[name][0] for spec in specs if name in spec))[:12] or [1] for name in names}
    yield {}
    for place in range(12):
        full = {name: found[place % len(found)] for name, found in values.items()}
        yield full
        yield {**full, "other": 1}
        yield {**full, "*": 1}
        for name, value in full.items():
            yield {other: kept for other, kept in full.items() if other != name}
            yield {name: value}


def allows(credential: remit.Credential, arguments: dict[str, Any]) -> bool:
    """Whether the guard lets this call through; anything but a denial of the arguments is a failure."""
    try:
        return GUARD.check(credential, "t", arguments).capability == "t"
    except remit.CapabilityDenied as denied:
        if denied.code != "argument_denied":
            raise
        return False


def test_a_delegation_that_is_accepted_lets_in_no_call_its_parent_refuses() -> None:
    """C(child) ⊆ C(parent)."""
    seen: Counter[str] = Counter()

    @SETTINGS
    @given(maps())
    def try_one(pair: tuple[Map, Map]) -> None:
        parent, child = pair
        wide = ISSUER.issue(agent="a", capabilities=[capability(parent)], max_depth=1)
        seen["tried"] += 1
        try:
            derived = wide.delegate(agent="b", capabilities=[capability(child)])
        except remit.AttenuationError:
            return
        seen["accepted"] += 1
        narrow = ISSUER.issue(agent="b", capabilities=[capability(child)])
        assert GUARD.validate(derived.chain).agent == "b"
        for arguments in calls(parent, child):
            if allows(narrow, arguments):
                seen["admitted"] += 1
                assert allows(wide, arguments), (arguments, pair)
                assert allows(derived, arguments), (arguments, pair)
            else:
                assert not allows(derived, arguments), (arguments, pair)

    try_one()
    assert seen["accepted"] >= 0.1 * seen["tried"]
    assert seen["admitted"] >= seen["accepted"]


@SETTINGS
@given(maps())
def test_every_capability_may_be_passed_on_as_it_is(pair: tuple[Map, Map]) -> None:
    """Derived with the same capabilities: such a child has the same authority as its parent."""
    parent = ISSUER.issue(agent="a", capabilities=[capability(pair[0])], max_depth=1)
    child = parent.delegate(agent="b", capabilities=[capability(pair[0])])
    for arguments in calls(pair[0]):
        assert allows(parent, arguments) is allows(child, arguments)


@SETTINGS
@given(maps())
def test_explain_says_what_check_does(pair: tuple[Map, Map]) -> None:
    """Never raises for a denial, charges nothing."""
    credential = ISSUER.issue(agent="a", capabilities=[capability(pair[0])])
    for arguments in list(calls(pair[0], pair[1]))[:8]:
        decision = GUARD.explain(credential, "t", arguments)
        assert decision.allowed is allows(credential, arguments)
