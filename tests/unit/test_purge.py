"""R7: purge forgets what is of no more use, says how much, and revives nothing."""

from __future__ import annotations

import remit

from .support import DAY, NOW, World, verdict


def _revoke(world: World, ttl: str) -> remit.Credential:
    """A token that the guard has seen and then revoked."""
    credential = world.issue(ttl=ttl)
    world.guard.validate(credential)
    world.guard.revoke(credential.token_id)
    return credential


def test_purge_removes_what_has_expired_beyond_the_margin_and_counts_it(world: World) -> None:
    short, long = _revoke(world, "10m"), _revoke(world, "2h")
    world.guard.check(world.issue(limits={"tool:use": remit.Limit(max_uses=2, rate="1/m")}), "tool:use", {})
    used = world.issue()
    world.guard.verify(used.present("tool:use", {}), "tool:use", {})
    world.clock.now = NOW + 599 + DAY
    assert world.guard.purge() == 1  # the proof, which is outside its window anyway
    world.clock.now = NOW + 600 + DAY
    assert world.guard.purge() == 3  # one revocation, two counters
    assert [entry.token_id for entry in world.guard.revocations()] == [long.token_id]
    world.clock.now = NOW + 7_200 + DAY
    assert world.guard.purge() == 1
    assert world.guard.purge() == 0
    assert world.guard.revocations() == []
    assert verdict(lambda: world.guard.check(short, "tool:use", {})) == "token_expired"


def test_purging_an_empty_ledger_removes_nothing(world: World) -> None:
    assert world.guard.purge() == 0


def test_a_revocation_is_kept_while_its_token_could_be_used(world: World) -> None:
    credential = _revoke(world, "7d")
    for day in range(7):
        world.clock.now = NOW + day * DAY
        world.guard.purge()
        assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "token_revoked"


def test_the_revocation_of_a_token_never_seen_is_kept_as_long_as_a_token_can_live(world: World) -> None:
    credential = world.issue(ttl="7d")
    world.guard.revoke(credential.token_id)  # without having verified it
    world.clock.now = NOW + 7 * DAY - 1
    assert world.guard.purge() == 0
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "token_revoked"


def test_the_revocation_of_an_agent_is_kept_as_long_as_its_tokens_can_live(world: World) -> None:
    credential = world.issue(ttl="7d")
    world.guard.revoke_agent("agent-a")
    world.clock.now = NOW + 7 * DAY - 1
    world.guard.purge()
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "token_revoked"
    world.clock.now = NOW + 100 * DAY
    assert world.guard.purge() == 1


def test_a_short_lived_child_with_a_chosen_identifier_does_not_shorten_a_revocation(world: World) -> None:
    parent = world.issue(ttl="7d", max_depth=1)
    child = parent.delegate("b", ["tool:use"], ttl="1m")
    world.guard.validate(child)
    world.guard.revoke(child.token_id)
    world.guard.revoke(parent.token_id)
    world.clock.now = NOW + 2 * DAY
    world.guard.purge()
    assert parent.token_id in {entry.token_id for entry in world.guard.revocations()}
    assert verdict(lambda: world.guard.check(parent, "tool:use", {})) == "token_revoked"


def test_a_clock_that_steps_back_after_a_purge_revives_no_revoked_token(world: World) -> None:
    credential = _revoke(world, "10m")
    world.clock.now = NOW + 600 + DAY - 1  # as far ahead as the margin reaches
    world.guard.purge()
    world.clock.now = NOW + 1
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "token_revoked"


def test_a_clock_that_steps_back_after_a_purge_revives_no_proof(world: World) -> None:
    credential = world.issue()
    old = credential.present("tool:use", {})
    assert verdict(lambda: world.guard.verify(old, "tool:use", {})) == "allowed"
    world.clock.now = NOW + 700  # longer than any window of proofs
    assert world.guard.purge() == 1
    world.clock.now = NOW
    assert verdict(lambda: world.guard.verify(old, "tool:use", {})) == "proof_replayed"


def test_a_clock_that_steps_back_after_new_proofs_revives_no_old_one(world: World) -> None:
    credential = world.issue()
    old = credential.present("tool:use", {})
    world.guard.verify(old, "tool:use", {})
    world.clock.now = NOW + 300
    world.guard.verify(credential.present("tool:use", {}), "tool:use", {})  # forgets on the way
    world.clock.now = NOW + 1
    assert verdict(lambda: world.guard.verify(old, "tool:use", {})) == "proof_replayed"


def test_a_clock_that_steps_back_after_a_purge_revives_no_use(world: World) -> None:
    limit = remit.Limit(max_uses=1, budget={"n": 5})
    credential = world.issue(limits={"tool:use": limit})
    assert verdict(lambda: world.guard.check(credential, "tool:use", {"n": 5})) == "allowed"
    world.clock.now = NOW + 600 + DAY - 1
    world.guard.purge()
    world.clock.now = NOW + 1
    assert verdict(lambda: world.guard.check(credential, "tool:use", {"n": 0})) == "limit_exceeded"


def test_a_clock_that_jumps_ahead_and_back_gives_no_more_uses_in_a_window(world: World) -> None:
    credential = world.issue(ttl="7d", limits={"tool:use": remit.Limit(rate="2/m")})

    def use() -> str:
        return verdict(lambda: world.guard.check(credential, "tool:use", {}))

    assert [use(), use(), use()] == ["allowed", "allowed", "limit_exceeded"]
    world.clock.now = NOW + 3_600
    assert use() == "allowed"
    world.clock.now = NOW + 1  # the window of the first two uses is still open
    assert use() == "limit_exceeded"


def test_a_clock_that_steps_back_gives_no_more_uses(world: World) -> None:
    credential = world.issue(limits={"tool:use": remit.Limit(rate="1/m")})
    world.clock.now = NOW + 30
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "allowed"
    world.clock.now = NOW
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "limit_exceeded"
