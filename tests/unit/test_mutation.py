"""R12: nothing ambient: what Remit returns cannot be changed so that more is allowed."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest

import remit

from .support import World, refusal, verdict

TRADE: Final = remit.Capability("trades:propose", amount=remit.Range(max=1_000))


def _outcome(world: World, credential: remit.Credential) -> list[str]:
    return [
        verdict(lambda: world.guard.check(credential, "trades:propose", {"amount": 1_001})),
        verdict(lambda: world.guard.check(credential, "admin", {})),
        verdict(lambda: world.guard.resolve_secret(credential, "PATH", tool="trades:propose")),
        verdict(lambda: world.guard.check(credential, "trades:propose", {"amount": 1_000})),
    ]


EXPECTED: Final = ["argument_denied", "capability_missing", "secret_denied", "allowed"]


def _attempts(thing: Any, seen: set[int], depth: int = 5) -> Iterator[Callable[[], object]]:
    """Ways to change everything that is reached from `thing` by its public names."""
    if depth == 0 or id(thing) in seen or isinstance(thing, str | bytes | int | float | type(None) | type):
        return
    seen.add(id(thing))
    admin, loose = remit.Capability("admin"), remit.Anything()
    if isinstance(thing, Mapping):
        for value in list(thing.values()):
            yield from _attempts(value, seen, depth - 1)
        changing: Any = thing
        yield lambda: changing.update({"admin": admin, "amount": loose})
        yield lambda: changing.__setitem__("admin", admin)
        yield lambda: changing.pop("amount")
        return
    if isinstance(thing, list | tuple | set | frozenset):
        for value in list(thing):
            yield from _attempts(value, seen, depth - 1)
        growing: Any = thing
        yield lambda: growing.append(admin)
        yield lambda: growing.__setitem__(slice(None), ())
        return
    for name in dir(thing):
        if name.startswith("_"):
            continue
        held = getattr(thing, name, None)
        if callable(held):
            continue
        yield from _attempts(held, seen, depth - 1)
        for value in ({"admin": admin}, (admin,), "admin", 2**40, None, True):
            yield lambda: setattr(thing, name, value)


def _change_everything(thing: Any) -> int:
    """Change what can be changed; how often something was tried."""
    tried = 0
    for attempt in _attempts(thing, set()):
        tried += 1
        with contextlib.suppress(AttributeError, TypeError, KeyError, remit.RemitError):
            attempt()
    return tried


def _returned(world: World, credential: remit.Credential) -> dict[str, Any]:
    guard = world.guard
    child = credential.delegate("worker", [TRADE])
    guard.revoke(child.token_id)
    return {
        "permit": guard.check(credential, "trades:propose", {"amount": 1}),
        "permit of a presentation": guard.verify(
            credential.present("trades:propose", {"amount": 1}), "trades:propose", {"amount": 1}
        ),
        "token": guard.validate(credential),
        "credential": credential,
        "capability": credential.capability("trades:propose"),
        "limits": credential.limits,
        "decision": guard.explain(credential, "admin", {}),
        "records": world.audit.records,
        "revocations": guard.revocations(),
        "presentation": credential.present("trades:propose", {"amount": 1}),
        "anchor": world.issuer.anchor,
        "jwk": world.issuer.anchor.jwk,
        "denial": refusal(lambda: guard.check(credential, "admin", {})),
    }


KINDS: Final = ["permit", "permit of a presentation", "token", "credential", "capability", "limits", "decision", "records",
                "revocations", "presentation", "anchor", "jwk", "denial"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_no_change_to_what_is_returned_widens_what_is_allowed(world: World, kind: str) -> None:
    credential = world.issue(TRADE, max_depth=1)
    again = remit.Credential.from_env  # a second credential on the same tokens, from what was saved
    text = credential.to_json()
    assert _outcome(world, credential) == EXPECTED
    assert _change_everything(_returned(world, credential)[kind]) > 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REMIT_CREDENTIAL", text)
        fresh = again("REMIT_CREDENTIAL", clock=world.clock)
    assert _outcome(world, fresh) == EXPECTED


def test_changing_the_anchor_that_a_guard_was_given_does_not_make_it_trust_another_key(world: World) -> None:
    anchor = world.issuer.anchor
    guard = world.new_guard(trust=[anchor])
    stranger = remit.Issuer.generate(anchor.issuer, clock=world.clock)
    other: Any = stranger.anchor
    for name in ("raw", "thumbprint", "jwk", "uri"):
        with contextlib.suppress(AttributeError):
            setattr(anchor.key, name, getattr(other.key, name))
    for name in ("key", "issuer", "jwk"):
        with contextlib.suppress(AttributeError):
            setattr(anchor, name, getattr(other, name))
    assert (
        verdict(lambda: guard.check(stranger.issue("x", ["admin"]), "admin", {})) == "token_signature_invalid"
    )
    assert verdict(lambda: guard.check(world.issue(), "tool:use", {})) == "allowed"


def test_changing_the_list_of_anchors_afterwards_changes_nothing(world: World) -> None:
    trust = [world.issuer.anchor]
    guard = world.new_guard(trust=trust)
    stranger = remit.Issuer.generate("https://other.example", clock=world.clock)
    trust.append(stranger.anchor)
    assert verdict(lambda: guard.check(stranger.issue("x", ["a"]), "a", {})) == "token_issuer_untrusted"


def test_changing_what_a_grant_was_made_of_changes_nothing(world: World) -> None:
    capabilities: list[Any] = [TRADE]
    secrets = {"KEY": ["trades:propose"]}
    limits = {"trades:propose": remit.Limit(max_uses=1)}
    budget = {"n": 5.0}
    limit = remit.Limit(budget=budget)
    credential = world.issuer.issue("a", capabilities, secrets=secrets, limits=limits)
    capabilities.append("admin")
    secrets["PATH"] = ["trades:propose"]
    limits.clear()
    budget["n"] = 10**6
    assert credential.capabilities == (TRADE,)
    assert credential.secrets == ("KEY",)
    assert credential.limits == {"trades:propose": remit.Limit(max_uses=1)}
    assert limit == remit.Limit(budget={"n": 5})


def test_the_arguments_of_a_permit_are_a_copy_each_time(world: World) -> None:
    passed = {"rows": [1, 2], "to": {"name": "x"}}
    permit = world.guard.check(world.issue(), "tool:use", passed)
    permit.arguments["rows"].append(3)
    permit.arguments["to"]["name"] = "y"
    permit.arguments.clear()
    passed["rows"] = []
    assert permit.arguments == {"rows": [1, 2], "to": {"name": "x"}}


@pytest.mark.parametrize(
    "name", ["name", "constraints", "other_arguments", "_name", "_constraints", "_others", "new"]
)
def test_a_capability_cannot_be_changed(name: str) -> None:
    capability = remit.Capability("trades:propose", amount=remit.Range(max=5))
    with pytest.raises(AttributeError):
        setattr(capability, name, "admin")
    with pytest.raises(AttributeError):
        delattr(capability, name)
    with pytest.raises(TypeError):
        capability.constraints["amount"] = remit.Anything()  # type: ignore[index]  # the mistake itself
    assert capability == remit.Capability("trades:propose", amount=remit.Range(max=5))


@pytest.mark.parametrize(
    "constraint",
    [remit.Exact(1), remit.Range(max=5), remit.OneOf(1, 2), remit.AllOf(1), remit.Each(remit.OneOf("a")),
     remit.Fields(a=1), remit.Path("/srv"), remit.MaxLength(3), remit.Url("https://a.example")], ids=repr,
)  # fmt: skip
def test_a_constraint_cannot_be_changed(constraint: remit.Constraint) -> None:
    before = constraint.to_json()
    for name in [name for kind in type(constraint).__mro__ for name in getattr(kind, "__slots__", ())]:
        with pytest.raises(AttributeError):
            setattr(constraint, name, None)
        with pytest.raises(AttributeError):
            delattr(constraint, name)
    constraint.to_json().clear()
    assert constraint.to_json() == before
    assert constraint.optional() is not constraint
    assert constraint.to_json() == before


def test_a_permit_cannot_be_made_by_hand(world: World) -> None:
    for kind in (remit.Permit, remit.Credential, remit.Issuer):
        with pytest.raises(remit.ConfigError):
            kind()
    permit = world.guard.check(world.issue(), "tool:use", {})
    for name in ("capability", "arguments", "agent", "token_id", "chain", "issuer", "call_id"):
        with pytest.raises(AttributeError):
            setattr(permit, name, "admin")


def test_a_call_without_a_token_is_refused(world: World) -> None:
    nothing: list[Any] = [None, "", {}, [], (), object(), True, 0, b"", "agent-a"]
    for source in nothing:
        assert verdict(lambda: world.guard.check(source, "tool:use", {})) != "allowed"
        assert verdict(lambda: world.guard.verify(source, "tool:use", {})) != "allowed"
        assert verdict(lambda: world.guard.validate(source)) != "allowed"
        with pytest.raises(remit.ConfigError):
            world.guard.acting_as(source)
        with pytest.raises(remit.ConfigError):
            world.guard.task(source, task="t", capabilities=["a"]).__enter__()


def test_two_guards_share_nothing_but_what_they_were_given(world: World) -> None:
    credential = world.issue(limits={"tool:use": remit.Limit(max_uses=1)})
    other = world.new_guard()
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "allowed"
    world.guard.revoke(credential.token_id)
    assert verdict(lambda: other.check(credential, "tool:use", {})) == "allowed"
    assert other.revocations() == []


def test_a_record_is_a_mapping_that_cannot_be_changed(world: World) -> None:
    world.guard.check(world.issue(), "tool:use", {})
    [record] = world.audit.records
    with pytest.raises(AttributeError):
        record.allowed = False  # type: ignore[misc]  # the mistake itself
    with pytest.raises(TypeError):
        record["allowed"] = False  # type: ignore[index]  # the mistake itself
    world.audit.records.clear()
    assert len(world.audit.records) == 1
    assert dict(record)["event"] == record["event"] == "decision"
    assert len(record) == len(dict(record))
    for missing in ("code", "nonsense"):
        with pytest.raises(KeyError):
            record[missing]
