"""R6, R20, R40: a revocation counts at once, for everything derived, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import remit
from remit.encoding import b64url_decode, b64url_encode, canonicalize, parse_object
from remit.keys import public_key

from .support import DAY, NOW, URI, World, refusal, verdict


def _use(world: World, credential: remit.Credential) -> str:
    return verdict(lambda: world.guard.check(credential, "tool:use", {}))


def test_a_revoked_token_is_denied_at_the_next_call(world: World) -> None:
    credential = world.issue()
    assert _use(world, credential) == "allowed"
    world.guard.revoke(credential.token_id)
    assert _use(world, credential) == "token_revoked"
    assert verdict(lambda: world.guard.validate(credential)) == "token_revoked"
    assert (
        verdict(lambda: world.guard.verify(credential.present("tool:use", {}), "tool:use", {}))
        == "token_revoked"
    )
    assert world.guard.explain(credential, "tool:use", {}).code == "token_revoked"


def test_a_second_revocation_says_that_it_was_done_already(world: World) -> None:
    credential = world.issue()
    assert world.guard.revoke(credential.token_id, reason="lost") is True
    world.clock.now += 5
    assert world.guard.revoke(credential.token_id, reason="again") is False
    [entry] = world.guard.revocations()
    assert (entry.token_id, entry.reason, entry.revoked_at) == (credential.token_id, "lost", NOW)


def test_a_revocation_survives_the_guard_that_made_it(world: World) -> None:
    ledger, credential = remit.MemoryLedger(), world.issue()
    world.new_guard(ledger=ledger).revoke(credential.token_id)
    other = world.new_guard(ledger=ledger)
    assert verdict(lambda: other.check(credential, "tool:use", {})) == "token_revoked"
    assert other.revoke(credential.token_id) is False


def test_a_token_can_be_revoked_before_anybody_has_seen_it(world: World) -> None:
    credential = world.issue()
    assert world.guard.revoke(credential.token_id) is True
    assert _use(world, credential) == "token_revoked"


def test_revocations_are_listed_newest_first(world: World) -> None:
    tokens = [world.issue().token_id for _ in range(4)]
    world.guard.revoke(tokens[0])
    world.clock.now += 1
    world.guard.revoke_many(tokens[1:3])
    world.guard.revoke(tokens[3])
    world.clock.now += 1
    world.guard.revoke_agent("agent-b", reason="compromised")
    listed = world.guard.revocations()
    assert listed[0].to_dict()["agent"] == "agent-b"
    assert listed[0].reason == "compromised"
    assert [entry.token_id for entry in listed[1:]] == [tokens[3], tokens[2], tokens[1], tokens[0]]


def test_with_a_parent_all_its_descendants_are_revoked(world: World) -> None:
    parent = world.issue(max_depth=2)
    child = parent.delegate("b", ["tool:use"], max_depth=1)
    grandchild = child.delegate("c", ["tool:use"])
    assert [_use(world, each) for each in (parent, child, grandchild)] == ["allowed"] * 3
    world.guard.revoke(parent.token_id)
    assert [_use(world, each) for each in (parent, child, grandchild)] == ["token_revoked"] * 3
    late = child.delegate("d", ["tool:use"])  # derived offline, after the revocation
    assert _use(world, late) == "token_revoked"


def test_a_child_is_revoked_alone(world: World) -> None:
    parent = world.issue(max_depth=1)
    child, sibling = (parent.delegate(name, ["tool:use"]) for name in ("b", "c"))
    world.guard.revoke(child.token_id)
    assert [_use(world, each) for each in (parent, child, sibling)] == ["allowed", "token_revoked", "allowed"]
    denied = refusal(lambda: world.guard.check(child, "tool:use", {}))
    assert denied.link == 1


def test_a_revocation_in_mid_run_stops_the_next_call(world: World) -> None:
    credential, ran = world.issue(), []

    @remit.requires_capability("tool:use")
    def tool(step: int) -> None:
        ran.append(step)
        if step == 2:
            world.guard.revoke(credential.token_id)

    with world.guard.acting_as(credential):
        tool(1)
        tool(2)
        assert refusal(lambda: tool(3)).code == "token_revoked"
    assert ran == [1, 2]


def test_closing_a_credential_in_mid_run_stops_the_next_call(world: World) -> None:
    credential, ran = world.issue(), []

    @remit.requires_capability("tool:use")
    def tool(step: int) -> None:
        ran.append(step)

    with world.guard.acting_as(credential):
        tool(1)
        credential.close()
        assert refusal(lambda: tool(2)).code == "credential_closed"
    assert ran == [1]


def test_revoke_many_counts_what_is_new(world: World) -> None:
    tokens = [world.issue().token_id for _ in range(3)]
    world.guard.revoke(tokens[1])
    assert world.guard.revoke_many(tokens) == 2
    assert world.guard.revoke_many(iter(tokens)) == 0
    assert world.guard.revoke_many([]) == 0
    assert world.guard.revoke_many(["x", "x"]) == 1


@pytest.mark.parametrize("wrong", ["", " ", None, 7, b"id", ["id"], "a\nb"])
def test_a_revocation_of_nothing_is_refused(world: World, wrong: Any) -> None:
    with pytest.raises(remit.ConfigError):
        world.guard.revoke(wrong)
    with pytest.raises(remit.ConfigError):
        world.guard.revoke_agent(wrong)
    with pytest.raises(remit.ConfigError):
        world.guard.revoke_many(["good", wrong])
    assert world.guard.revocations() == []


def test_a_text_is_not_taken_for_a_list_of_identifiers(world: World) -> None:
    for wrong in ("abc", b"abc", 5, None):
        with pytest.raises(remit.ConfigError):
            world.guard.revoke_many(wrong)  # type: ignore[arg-type]  # the mistake itself
    with pytest.raises(remit.ConfigError):
        world.guard.revoke("id", reason=5)  # type: ignore[arg-type]  # the mistake itself


def test_revoking_an_agent_revokes_all_its_tokens_and_no_others(world: World) -> None:
    mine, again = world.issue(), world.issue()
    other, alike = world.issue(agent="agent-b"), world.issue(agent="agent-a2")
    assert world.guard.revoke_agent("agent-a", reason="compromised") is True
    assert world.guard.revoke_agent("agent-a") is False
    assert [_use(world, each) for each in (mine, again)] == ["token_revoked"] * 2
    assert [_use(world, each) for each in (other, alike)] == ["allowed"] * 2


def test_revoking_an_agent_revokes_what_it_passed_on_and_what_was_passed_to_it(world: World) -> None:
    parent = world.issue(agent="lead", max_depth=2)
    child = parent.delegate("agent-a", ["tool:use"], max_depth=1)
    grandchild, sibling = child.delegate("helper", ["tool:use"]), parent.delegate("agent-b", ["tool:use"])
    world.guard.revoke_agent("agent-a")
    assert [_use(world, each) for each in (child, grandchild)] == ["token_revoked"] * 2
    assert [_use(world, each) for each in (parent, sibling)] == ["allowed"] * 2


def test_an_agent_gets_new_tokens_after_it_was_revoked(world: World) -> None:
    old = world.issue(ttl="1h")
    world.guard.revoke_agent("agent-a")
    world.clock.now += 30  # up to here clocks may differ
    assert _use(world, world.issue()) == "token_revoked"
    world.clock.now += 1
    new = world.issue()
    assert _use(world, new) == "allowed"
    assert _use(world, old) == "token_revoked"
    assert world.guard.revoke_agent("agent-a") is True  # which is news: there are new tokens
    assert _use(world, new) == "token_revoked"
    assert [entry.agent for entry in world.guard.revocations()] == ["agent-a"]


def test_an_old_token_stays_revoked_when_its_agent_is_revoked_again(world: World) -> None:
    old = world.issue(ttl="1h")
    for _ in range(3):
        world.guard.revoke_agent("agent-a")
        world.clock.now += 60
        assert _use(world, old) == "token_revoked"


def test_a_token_and_an_agent_of_the_same_name_are_different_things(world: World) -> None:
    credential = world.issue()
    world.guard.revoke_agent(credential.token_id)
    world.guard.revoke("agent-a")
    assert _use(world, credential) == "allowed"


def test_a_revocation_is_recorded(world: World) -> None:
    credential = world.issue()
    world.guard.revoke(credential.token_id, reason="lost")
    world.guard.revoke(credential.token_id)
    world.guard.revoke_agent("agent-b")
    records = world.events("revoke")
    assert [record.subject for record in records] == [f"token:{credential.token_id}", "agent:agent-b"]
    assert records[0].reason == "lost"


def test_a_revocation_stands_even_when_it_cannot_be_recorded(world: World) -> None:
    class Full:
        def record(self, record: remit.AuditRecord) -> None:
            raise OSError(28, "No space left on device")

    ledger, credential = remit.MemoryLedger(), world.issue()
    assert world.new_guard(ledger=ledger, audit=Full()).revoke(credential.token_id) is True
    guard = world.new_guard(ledger=ledger)
    assert verdict(lambda: guard.check(credential, "tool:use", {})) == "token_revoked"


class _Broken(remit.MemoryLedger):
    """A ledger that does not answer one of its questions."""

    def __init__(self, method: str) -> None:
        super().__init__()

        def fail(*args: object) -> Iterator[object]:
            raise ConnectionError("the ledger is away")

        setattr(self, method, fail)


def test_a_ledger_that_does_not_answer_denies_what_has_limits(world: World) -> None:
    guard = world.new_guard(ledger=_Broken("commit"))
    credential = world.issue(limits={"tool:use": remit.Limit(max_uses=5)})
    denied = refusal(lambda: guard.check(credential, "tool:use", {}))
    assert denied.code == "ledger_unavailable"
    assert "away" not in denied.reason
    assert isinstance(denied.__cause__, ConnectionError)


def test_a_ledger_that_does_not_answer_is_an_error_of_remit_in_everything_else(world: World) -> None:
    assert refusal(lambda: world.new_guard(ledger=_Broken("revoke")).revoke("x")).code == "ledger_unavailable"
    assert (
        refusal(lambda: world.new_guard(ledger=_Broken("revoke")).revoke_agent("x")).code
        == "ledger_unavailable"
    )
    assert refusal(world.new_guard(ledger=_Broken("revocations")).revocations).code == "ledger_unavailable"
    assert refusal(world.new_guard(ledger=_Broken("purge")).purge).code == "ledger_unavailable"
    limited = world.issue(limits={"tool:use": remit.Limit(max_uses=5)})
    decision = world.new_guard(ledger=_Broken("probe")).explain(limited, "tool:use", {})
    assert (decision.allowed, decision.code) == (False, "ledger_unavailable")


@pytest.mark.parametrize("answer", [None, 0, object(), [None], ["token:x"]])
def test_a_ledger_that_answers_nonsense_denies(world: World, answer: object) -> None:
    ledger: Any = remit.MemoryLedger()
    ledger.changes = lambda since: answer
    guard = world.new_guard(ledger=ledger)
    assert refusal(lambda: guard.check(world.issue(), "tool:use", {})).code == "revocations_stale"


def test_a_ledger_is_needed_as_a_ledger(world: World) -> None:
    with pytest.raises(remit.ConfigError):
        world.new_guard(ledger={})
    with pytest.raises(remit.ConfigError):
        world.new_guard(audit=[])


def test_a_holders_key_is_revoked_with_all_that_it_holds_and_derives(world: World) -> None:
    held = remit.Issuer.generate("https://any.example").anchor.jwk  # some public key
    mine, others = world.issue(max_depth=1), world.issue()
    child = mine.delegate("worker", ["tool:use"])
    key = world.guard.validate(mine).holder
    assert world.guard.revoke_key(key, reason="stolen")
    assert not world.guard.revoke_key(key)
    assert [_use(world, credential) for credential in (mine, child)] == ["token_revoked"] * 2
    assert verdict(lambda: world.guard.check(others, "tool:use", {})) == "allowed"
    assert world.guard.revoke_key(held)
    again = world.issue(holder=held)
    assert refusal(lambda: world.guard.validate(again)).code == "token_revoked"  # later tokens as well
    world.clock.now += 400 * DAY
    world.guard.purge()
    assert {entry.key for entry in world.guard.revocations()} == {
        key,
        public_key(held).thumbprint,
    }


def test_a_key_in_the_middle_of_a_chain_takes_what_comes_after_it(world: World) -> None:
    root = world.issue(max_depth=2)
    child = root.delegate("worker", ["tool:use"], max_depth=1)
    leaf = child.delegate("helper", ["tool:use"])
    world.guard.revoke_key(world.guard.validate(child).holder)
    assert verdict(lambda: world.guard.check(root, "tool:use", {})) == "allowed"
    assert refusal(lambda: world.guard.check(child, "tool:use", {})).link == 1
    assert refusal(lambda: world.guard.check(leaf, "tool:use", {})).link == 1


def test_an_issuers_key_is_revoked_with_all_that_it_signed(world: World) -> None:
    other = remit.Issuer.generate(URI, clock=world.clock)
    guard = world.new_guard(trust=[world.issuer.anchor, other.anchor])
    old, new = world.issue(), other.issue("agent-a", ["tool:use"])
    guard.revoke_key(world.issuer.anchor.jwk, reason="compromised")
    assert refusal(lambda: guard.check(old, "tool:use", {})).link == 0
    assert refusal(lambda: guard.check(world.issue(), "tool:use", {})).code == "token_revoked"
    assert verdict(lambda: guard.check(new, "tool:use", {})) == "allowed"


@pytest.mark.parametrize(
    "key", ["", "x", "a" * 44, None, {}, {"kty": "OKP"}, 7, "é" * 43, b"x" * 43], ids=repr
)
def test_what_is_no_key_is_not_revoked(world: World, key: Any) -> None:
    with pytest.raises(remit.ConfigError):
        world.guard.revoke_key(key)
    assert world.guard.revocations() == []


def test_the_expiry_a_forged_token_claims_shortens_no_revocation(world: World) -> None:
    real = world.issue(ttl="2h")
    forged = remit.Issuer.generate(URI, clock=world.clock).issue("agent-a", ["tool:use"], ttl="1s")
    parts = forged.token.split(".")
    claims = parse_object(b64url_decode(parts[1]))
    payload = b64url_encode(canonicalize({**claims, "jti": real.token_id}))
    handed_in = remit.Credential.from_token(f"{parts[0]}.{payload}.{parts[2]}")
    assert handed_in.token_id == real.token_id
    assert world.guard.revoke_credential(handed_in)
    world.clock.now += 3600 + DAY // 24
    assert world.guard.revocations()[0].expires_at > NOW + 7200
    assert refusal(lambda: world.new_guard(ledger=None).validate(handed_in)).code == "token_signature_invalid"


def test_a_token_that_lives_longer_than_an_unknown_revocation_is_kept_is_not_accepted(world: World) -> None:
    with pytest.raises(remit.ConfigError, match="max_ttl"):
        world.new_guard(max_ttl="91d")
    world.guard.revoke("somebody's")
    assert world.guard.revocations()[0].expires_at >= world.clock.now + 90 * DAY


@pytest.mark.parametrize("reason", ["a\0b", "leak \ud800", "x" * 1001, 7, b"x"], ids=repr)
def test_a_reason_that_some_ledger_could_not_keep_is_refused(world: World, reason: Any) -> None:
    with pytest.raises(remit.ConfigError):
        world.guard.revoke("t", reason=reason)
    assert world.guard.revocations() == []


def test_a_thumbprint_that_no_key_can_have_is_refused(world: World) -> None:
    good = world.guard.validate(world.issue()).holder
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    loose = good[:-1] + letters[letters.index(good[-1]) + 1]
    with pytest.raises(remit.ConfigError):
        world.guard.revoke_key(loose)
    assert world.guard.revoke_key(good)
