"""R27, R28, R29, N4: what can be said of a token or a call without letting anything happen."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

import json
from typing import Any

import pytest

import remit

from .support import URI, World, refusal, verdict

READ = remit.Capability("records:read", record=remit.OneOf("A", "B"))


def test_explain_says_what_check_would_say(world: World) -> None:
    parent = world.issue(READ, max_depth=1)
    child = parent.delegate("worker", [remit.Capability("records:read", record="A")])
    said = world.guard.explain(child, "records:read", {"record": "A"})
    assert (said.allowed, said.code, said.agent, said.token_id) == (True, None, "worker", child.token_id)
    said = world.guard.explain(child, "records:read", {"record": "B"})
    assert (said.allowed, said.code, said.argument, said.link) == (False, "argument_denied", "record", 1)
    assert (said.agent, said.token_id) == ("worker", child.token_id)
    said = world.guard.explain(child, "records:read", {"record": "C"})
    assert (said.link, said.agent, said.token_id) == (0, "agent-a", parent.token_id)
    assert said.reason == refusal(lambda: world.guard.check(child, "records:read", {"record": "C"})).reason


def test_explain_is_a_json_object_as_well(world: World) -> None:
    said = world.guard.explain(world.issue(READ), "records:read", {"record": "C"}).to_dict()
    assert json.loads(json.dumps(said)) == said
    assert (said["allowed"], said["code"], said["argument"]) == (False, "argument_denied", "record")
    allowed = world.guard.explain(world.issue(READ), "records:read", {"record": "A"}).to_dict()
    assert "code" not in allowed


def test_explain_charges_nothing_and_records_nothing(world: World) -> None:
    credential = world.issue(limits={"tool:use": remit.Limit(max_uses=1, budget={"n": 5})})
    for _ in range(5):
        assert world.guard.explain(credential, "tool:use", {"n": 5}).allowed is True
    assert world.audit.records == []
    assert verdict(lambda: world.guard.check(credential, "tool:use", {"n": 5})) == "allowed"


def test_explain_says_when_a_limit_is_used_up(world: World) -> None:
    credential = world.issue(limits={"tool:use": remit.Limit(max_uses=1)})
    world.guard.check(credential, "tool:use", {})
    said = world.guard.explain(credential, "tool:use", {})
    assert (said.allowed, said.code, said.link) == (False, "limit_exceeded", 0)


@pytest.mark.parametrize(
    "thing", [None, "", "a.b.c", 5, [], {}, b"x", pytest.param(object(), id="object()")], ids=repr
)
def test_explain_never_raises_for_a_denial(world: World, thing: Any) -> None:
    for said in (
        world.guard.explain(thing, "tool:use", {}),
        world.guard.explain(world.issue(), thing, {}),
        world.guard.explain(world.issue(), "tool:use", {"n": object()}),
        world.guard.explain(world.issue(session="s"), "tool:use", {}),
    ):
        assert said.allowed is False
        assert said.reason
        assert said.code


def test_explain_allows_nothing(world: World) -> None:
    said = world.guard.explain(world.issue(), "tool:use", {})
    assert not hasattr(said, "__enter__")
    with pytest.raises(AttributeError):
        said.allowed = True  # type: ignore[misc]  # the mistake itself


def test_validate_takes_a_token_a_chain_or_a_credential(world: World) -> None:
    root = world.issue(max_depth=1)
    child = root.delegate("worker", ["tool:use"])
    for given in (root.token, root.chain, list(root.chain), root, remit.Credential.from_token(root.token)):
        assert world.guard.validate(given).agent == "agent-a"
    for given in (child.chain, list(child.chain), child):
        token = world.guard.validate(given)
        assert (token.agent, token.token_id, token.issuer) == ("worker", child.token_id, URI)
        assert token.expires_at == child.expires_at
    assert len(world.events("decision")) == 8


def test_validate_says_who_the_holder_is_by_its_key(world: World) -> None:
    first, second = world.issue(), world.issue()
    assert world.guard.validate(first).holder != world.guard.validate(second).holder
    assert len(world.guard.validate(first).holder) == 43


def test_validate_charges_nothing(world: World) -> None:
    credential = world.issue(limits={"tool:use": remit.Limit(max_uses=1)})
    for _ in range(3):
        world.guard.validate(credential, capability="tool:use")
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "allowed"


def test_validate_refuses_what_is_forged_expired_revoked_or_closed(world: World) -> None:
    good, revoked, closed = world.issue(), world.issue(), world.issue()
    world.guard.revoke(revoked.token_id)
    closed.close()
    forged = remit.Issuer.generate(URI, clock=world.clock).issue("agent-a", ["tool:use"])
    for given, code in ((good, "allowed"), (revoked, "token_revoked"), (closed, "credential_closed"),
                        (forged, "token_signature_invalid"), (good.token[:-1], "token_malformed")):  # fmt: skip
        assert verdict(lambda: world.guard.validate(given)) == code
    world.clock.now += 600
    assert verdict(lambda: world.guard.validate(good)) == "token_expired"


def test_a_token_that_was_validated_allows_no_call(world: World) -> None:
    token: Any = world.guard.validate(world.issue())
    assert verdict(lambda: world.guard.check(token, "tool:use", {})) == "token_malformed"
    with pytest.raises(remit.ConfigError):
        world.guard.acting_as(token)


# ── trust anchors ───────────────────────────────────────────────────────────────────────────────────────────


def test_several_issuers_may_be_trusted_each_for_its_own_tokens(world: World) -> None:
    other = remit.Issuer.generate("https://other.example", clock=world.clock)
    stranger = remit.Issuer.generate("https://stranger.example", clock=world.clock)
    guard = world.new_guard(trust=[world.issuer.anchor, other.anchor])
    assert guard.check(world.issue(), "tool:use", {}).issuer == URI
    assert guard.check(other.issue("b", ["t"]), "t", {}).issuer == "https://other.example"
    assert verdict(lambda: guard.check(stranger.issue("c", ["t"]), "t", {})) == "token_issuer_untrusted"


def test_an_issuer_may_have_two_keys_until_the_old_one_is_dropped(world: World) -> None:
    old, new = (remit.Issuer.generate(URI, clock=world.clock) for _ in range(2))
    before, after = old.issue("a", ["t"]), new.issue("a", ["t"])
    overlap, later = world.new_guard(trust=[old.anchor, new.anchor]), world.new_guard(trust=[new.anchor])
    for order in (overlap, world.new_guard(trust=[new.anchor, old.anchor])):
        assert verdict(lambda: order.check(before, "t", {})) == "allowed"
        assert verdict(lambda: order.check(after, "t", {})) == "allowed"
    assert verdict(lambda: later.check(before, "t", {})) == "token_signature_invalid"
    assert verdict(lambda: later.check(after, "t", {})) == "allowed"


def test_a_trusted_key_does_not_speak_for_another_issuer(world: World) -> None:
    key = world.issuer.anchor.jwk
    guard = world.new_guard(trust=[remit.TrustAnchor("https://other.example", key)])
    assert verdict(lambda: guard.check(world.issue(), "tool:use", {})) == "token_issuer_untrusted"


@pytest.mark.parametrize(
    "trust", [None, [], (), "anchor", b"x", [None], ["https://a.example"], 5, {}], ids=repr
)
def test_a_guard_that_trusts_nobody_or_nonsense_is_not_built(trust: Any) -> None:
    with pytest.raises(remit.ConfigError):
        remit.Guard(trust=trust)


@pytest.mark.parametrize(
    "options",
    [{"clock": 5}, {"clock": None, "max_ttl": 0}, {"max_ttl": "8"}, {"proof_window": 0}, {"proof_window": "x"},
     pytest.param({"audit": object()}, id="audit"), pytest.param({"ledger": object()}, id="ledger"), {"secrets": 5}, {"audience": " "}], ids=str,
)  # fmt: skip
def test_a_guard_that_makes_no_sense_is_not_built(world: World, options: dict[str, Any]) -> None:
    with pytest.raises(remit.ConfigError):
        world.new_guard(**options)


@pytest.mark.parametrize(
    ("uri", "jwk"), [("", {}), ("no scheme", {}), (URI, {}), (URI, None), (5, {}), (URI, {"kty": "OKP"})]
)
def test_an_anchor_that_makes_no_sense_is_refused(uri: Any, jwk: Any) -> None:
    with pytest.raises(remit.ConfigError):
        remit.TrustAnchor(uri, jwk)
