"""R24, N3: a child is never wider, and a right that may only be passed on is not used."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

import remit

from .support import World, refusal, verdict

READ = remit.Capability("records:read", record=remit.OneOf("A", "B"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"capabilities": ["records:write"]}, "records:write"),
        ({"capabilities": ["records:read"]}, "records:read"),
        ({"capabilities": [remit.Capability("records:read", record=remit.OneOf("A", "C"))]}, "record"),
        ({"capabilities": [READ.with_other_arguments()]}, "arguments that the parent does not name"),
        (
            {"capabilities": [remit.Capability("records:read", record=remit.OneOf("A").optional())]},
            "left out",
        ),
        ({"capabilities": [remit.Capability("records:read", record="A", other=1)]}, "other"),
        ({"capabilities": [READ], "secrets": ["OTHER_KEY"]}, "OTHER_KEY"),
        ({"capabilities": [READ], "ttl": "11m"}, "outlive"),
        ({"capabilities": [READ], "max_depth": 2}, "max_depth"),
        ({"capabilities": [READ], "session": "s-2"}, "session"),
        ({"capabilities": [READ], "task": "t-2"}, "task"),
    ],
    ids=str,
)
def test_what_would_widen_is_refused_and_named(world: World, options: dict[str, Any], says: str) -> None:
    parent = world.issue(READ, secrets=["KEY"], session="s-1", task="t-1", ttl="10m", max_depth=2)
    assert parent.delegate("b", [READ], ttl="10m", max_depth=1, session="s-1", task="t-1").agent == "b"
    with pytest.raises(remit.AttenuationError) as caught:
        parent.delegate("b", **options)
    assert says in str(caught.value)
    assert not isinstance(caught.value, remit.Denied)


def test_a_token_may_not_be_delegated_unless_it_says_so(world: World) -> None:
    with pytest.raises(remit.AttenuationError, match="may not be delegated"):
        world.issue().delegate("b", ["tool:use"])
    child = world.issue(max_depth=1).delegate("b", ["tool:use"])
    with pytest.raises(remit.AttenuationError):
        child.delegate("c", ["tool:use"])


def test_a_child_inherits_nothing_it_does_not_name(world: World) -> None:
    parent = world.issue("a", "b", secrets=["PATH"], max_depth=1)
    child = parent.delegate("worker", ["a"])
    assert [capability.name for capability in child.capabilities] == ["a"]
    assert child.secrets == ()
    assert verdict(lambda: world.guard.check(child, "b", {})) == "capability_missing"
    assert verdict(lambda: world.guard.resolve_secret(child, "PATH", tool="a")) == "secret_denied"


def test_every_link_is_looked_at_and_not_only_the_leaf(world: World) -> None:
    parent = world.issue(READ, max_depth=2)
    child = parent.delegate("b", [remit.Capability("records:read", record="A")], max_depth=1)
    grandchild = child.delegate("c", [remit.Capability("records:read", record="A")])
    assert verdict(lambda: world.guard.check(grandchild, "records:read", {"record": "A"})) == "allowed"
    assert (
        verdict(lambda: world.guard.check(grandchild, "records:read", {"record": "B"})) == "argument_denied"
    )
    assert verdict(lambda: world.guard.check(child, "records:read", {"record": "B"})) == "argument_denied"


def test_a_payload_that_was_edited_is_refused(world: World) -> None:
    credential = world.issue(READ)
    head, payload, signature = credential.token.split(".")
    text = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    text["authorization_details"][0]["tools"]["admin"] = {}
    edited = base64.urlsafe_b64encode(json.dumps(text, separators=(",", ":")).encode()).decode().rstrip("=")
    assert verdict(lambda: world.guard.validate(f"{head}.{edited}.{signature}")) == "token_signature_invalid"


def test_links_cannot_be_dropped_reordered_or_mixed(world: World) -> None:
    narrow = remit.Capability("records:read", record="A")
    parent = world.issue(READ, max_depth=2)
    child = parent.delegate("b", [narrow], max_depth=1)
    grandchild = child.delegate("c", [narrow])
    other = world.issue(READ, max_depth=2)
    root, middle, leaf = grandchild.chain
    assert world.guard.validate([root, middle, leaf]).agent == "c"
    for chain in ([leaf], [middle], [root, leaf], [middle, leaf], [leaf, middle, root], [other.token, middle, leaf],
                  [root, middle, middle], [root, root], []):  # fmt: skip
        assert verdict(lambda: world.guard.validate(chain)) in {
            "token_issuer_untrusted", "token_signature_invalid", "token_chain_invalid", "token_malformed",
        }  # fmt: skip


def test_a_credential_without_its_key_cannot_delegate(world: World) -> None:
    parent = world.issue(max_depth=1)
    thief = remit.Credential.from_token(parent.chain)
    assert refusal(lambda: thief.delegate("b", ["tool:use"])).code == "proof_missing"
    parent.close()
    assert refusal(lambda: parent.delegate("b", ["tool:use"])).code == "credential_closed"


def test_a_child_gets_the_parents_own_capability_by_name(world: World) -> None:
    parent = world.issue(READ, max_depth=1)
    child = parent.delegate("b", [parent.capability("records:read")])
    assert child.capabilities == (READ,)
    with pytest.raises(remit.AttenuationError):
        parent.capability("records:write")


def test_a_childs_secret_follows_the_capabilities_it_gets(world: World) -> None:
    parent = world.issue("a", "b", secrets={"PATH": ["a"]}, max_depth=1)
    child = parent.delegate("worker", ["a", "b"], secrets=["PATH"])
    assert verdict(lambda: world.guard.resolve_secret(child, "PATH", tool="a")) == "allowed"
    assert verdict(lambda: world.guard.resolve_secret(child, "PATH", tool="b")) == "secret_denied"
    with pytest.raises(remit.AttenuationError):
        parent.delegate("worker", ["a", "b"], secrets={"PATH": ["b"]})
    with pytest.raises(remit.AttenuationError):
        parent.delegate("worker", ["b"], secrets=["PATH"])


def test_depth_is_limited(world: World) -> None:
    with pytest.raises(remit.ConfigError):
        world.issue(max_depth=9)
    credential = world.issue(max_depth=8)
    for level in range(7, -1, -1):
        credential = credential.delegate(f"agent-{level}", ["tool:use"], max_depth=level)
    assert len(credential.chain) == 9
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "allowed"


# ── delegate-only rights ────────────────────────────────────────────────────────────────────────────────────


def _coordinator(world: World, **options: Any) -> remit.Credential:
    return world.issue(
        "payments:read", agent="coordinator", delegate_only=["payments:refund"], max_depth=3, **options
    )


def test_a_coordinator_may_pass_on_what_it_may_not_use(world: World) -> None:
    coordinator = _coordinator(world)
    denied = refusal(lambda: world.guard.check(coordinator, "payments:refund", {}))
    assert denied.code == "delegate_only"
    assert "another agent" in denied.reason
    worker = coordinator.delegate("worker", ["payments:refund"])
    assert verdict(lambda: world.guard.check(worker, "payments:refund", {})) == "allowed"
    assert verdict(lambda: world.guard.check(coordinator, "payments:read", {})) == "allowed"


def test_delegate_only_holds_on_every_way_in(world: World) -> None:
    coordinator = _coordinator(world, secrets=["PATH"])
    guard = world.guard

    @remit.requires_capability("payments:refund")
    def refund() -> str:
        return "ran"

    with guard.acting_as(coordinator):
        assert refusal(refund).code == "delegate_only"
    shown = coordinator.present("payments:refund", {})
    assert verdict(lambda: guard.verify(shown, "payments:refund", {})) == "delegate_only"
    assert verdict(lambda: guard.validate(coordinator, capability="payments:refund")) == "delegate_only"
    assert (
        verdict(lambda: guard.resolve_secret(coordinator, "PATH", tool="payments:refund")) == "delegate_only"
    )
    assert guard.explain(coordinator, "payments:refund", {}).code == "delegate_only"


def test_a_coordinator_does_not_get_the_right_by_passing_it_to_its_own_name(world: World) -> None:
    coordinator = _coordinator(world)
    itself = coordinator.delegate("coordinator", ["payments:refund"], max_depth=1)
    assert verdict(lambda: world.guard.check(itself, "payments:refund", {})) == "delegate_only"
    again = coordinator.delegate("worker", ["payments:refund"], max_depth=1).delegate(
        "coordinator", ["payments:refund"]
    )
    assert verdict(lambda: world.guard.check(again, "payments:refund", {})) == "delegate_only"
    onward = itself.delegate("worker", ["payments:refund"])
    assert verdict(lambda: world.guard.check(onward, "payments:refund", {})) == "allowed"


def test_a_coordinator_does_not_get_the_right_by_passing_it_to_its_own_key(world: World) -> None:
    coordinator = _coordinator(world)
    payload = coordinator.token.split(".")[1]
    own = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["cnf"]["jwk"]
    with pytest.raises(remit.AttenuationError):
        coordinator.delegate("worker", ["payments:refund"], holder=own)
    round_about = coordinator.delegate("worker", ["payments:refund"], max_depth=1).delegate(
        "helper", ["payments:refund"], holder=own
    )
    key = json.loads(coordinator.to_json())["holder_key"]
    held = remit.Credential.from_token(round_about.chain, key, clock=world.clock)
    assert verdict(lambda: world.guard.check(held, "payments:refund", {})) == "delegate_only"


def test_a_child_may_hold_a_right_back_as_well(world: World) -> None:
    parent = world.issue("a", max_depth=2)
    child = parent.delegate("b", ["a"], delegate_only=["a"], max_depth=1)
    assert verdict(lambda: world.guard.check(parent, "a", {})) == "allowed"
    assert verdict(lambda: world.guard.check(child, "a", {})) == "delegate_only"
    assert verdict(lambda: world.guard.check(child.delegate("c", ["a"]), "a", {})) == "allowed"


def test_delegate_only_takes_names_and_capabilities_each_once(world: World) -> None:
    narrow = remit.Capability("payments:refund", amount=remit.Range(max=10))
    credential = world.issue("a", delegate_only=[narrow], max_depth=1)
    child = credential.delegate("worker", [narrow])
    assert verdict(lambda: world.guard.check(child, "payments:refund", {"amount": 11})) == "argument_denied"
    for wrong in (["x", "x"], "x", [""], [None], 5):
        with pytest.raises(remit.ConfigError):
            world.issue("a", delegate_only=wrong)
