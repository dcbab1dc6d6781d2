"""A check leaves one record, whatever it was asked about."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

import remit

from .junk import JUNK, outcome

ISSUER: Final = remit.Issuer.generate("https://auth.acme.example")
HOLDER: Final = ISSUER.issue(agent="agent", capabilities=["u"], secrets=["KEY"])
SOUND: Final = {"v": 1}

Call = Callable[[remit.Guard, Any], object]
CHECKS: Final[dict[str, Call]] = {
    "check(credential)": lambda guard, x: guard.check(x, "u", SOUND),
    "check(capability)": lambda guard, x: guard.check(HOLDER, x, SOUND),
    "check(arguments)": lambda guard, x: guard.check(HOLDER, "u", x),
    "check(argument)": lambda guard, x: guard.check(HOLDER, "u", {"v": x}),
    "check(agent)": lambda guard, x: guard.check(HOLDER, "u", SOUND, agent=x),
    "verify(presentation)": lambda guard, x: guard.verify(x, "u", SOUND),
    "verify(chain)": lambda guard, x: guard.verify({"aat_chain": x, "aat_pop": "a.b.c"}, "u", SOUND),
    "verify(proof)": lambda guard, x: guard.verify(
        {"aat_chain": list(HOLDER.chain), "aat_pop": x}, "u", SOUND
    ),
    "verify(tool)": lambda guard, x: guard.verify(HOLDER.present("u", SOUND), x, SOUND),
    "validate(token)": lambda guard, x: guard.validate(x),
    "validate(capability)": lambda guard, x: guard.validate(HOLDER.chain, capability=x),
}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", CHECKS)
def test_every_check_is_recorded_malformed_ones_included(name: str, junk: str) -> None:
    """R35: an audit record for **every** check, malformed ones included: token, agent, issuer, time, outcome."""
    audit = remit.MemoryAudit()
    guard = remit.Guard(trust=[ISSUER.anchor], audit=audit)
    result = outcome(lambda: CHECKS[name](guard, JUNK[junk]))
    assert result in {"returned", "denied"}
    (decision,) = [record for record in audit.records if record["event"] == "decision"]
    assert decision["allowed"] is (result == "returned")
    assert (decision.code is None) is (result == "returned")
    assert decision["call_id"]
    assert decision["at"]


@pytest.mark.parametrize("name", ["a\ud800", "a\x00", "\u202ea", "x" * 100_000])
def test_an_argument_with_an_odd_name_is_recorded_or_denied_like_any_other(name: str) -> None:
    """The decision is recorded; if it cannot be recorded the call is denied."""
    audit = remit.MemoryAudit()
    guard = remit.Guard(trust=[ISSUER.anchor], audit=audit)
    result = outcome(lambda: guard.check(HOLDER, "u", {name: 1}))
    assert result in {"returned", "denied"}
    assert [record["allowed"] for record in audit.records] == [result == "returned"]
    if result == "returned":
        assert json.loads(json.dumps({name: 1})) == dict(guard.check(HOLDER, "u", {name: 1}).arguments)
