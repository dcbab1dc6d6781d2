"""Exchanging a chain for a root token: nothing is gained by it, and nothing is shaken off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

import remit
from remit.exchange import Exchange, ancestors, common_audience, origin
from remit.keys import HolderKey
from remit.token import Claims, unverified_claims
from remit.trust import FixedAnchors
from remit.verify import ChainVerifier, VerifiedChain

from .support import DAY, NOW, World, refusal, verdict

READ = "prices:read"
PAY = "payments:send"


def verified(world: World, credential: remit.Credential) -> VerifiedChain:
    return ChainVerifier(FixedAnchors([world.issuer.anchor]), 90 * DAY).verify(credential.chain)


def exchange(
    world: World, credential: remit.Credential, *capabilities: str | remit.Capability, **asked: Any
) -> remit.Credential:
    """What `credential` is exchanged for, with its key."""
    key = HolderKey.generate()
    usual: dict[str, Any] = {"holder": key.public.jwk, "agent": "worker"}
    order = Exchange.asked(verified(world, credential), capabilities or (READ,), **{**usual, **asked})
    token = world.issuer.exchange(order).token
    mine = None if "holder" in asked else key.private_jwk()
    return remit.Credential.from_token(token, mine, clock=world.clock)


def claims_of(credential: remit.Credential) -> Claims:
    return unverified_claims(credential.token)[1]


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(remit.AttenuationError) as caught:
        call()
    return str(caught.value)


@pytest.fixture
def held(world: World) -> remit.Credential:
    """A root token that may be passed on twice, and twice exchanged."""
    return world.issue(READ, remit.Capability(PAY, amount=remit.Range(max=100)), max_depth=2, ttl="10m")


def test_an_exchange_gives_a_root_token_to_another_key(world: World, held: remit.Credential) -> None:
    world.clock.now += 60
    made = exchange(world, held, remit.Capability(PAY, amount=remit.Range(max=5)))
    claims = claims_of(made)
    assert len(made.chain) == 1
    assert (claims.issuer, claims.depth, claims.max_depth) == (world.issuer.uri, 0, 0)
    assert (claims.agent, claims.issued_at) == ("worker", NOW + 60)
    assert claims.holder != claims_of(held).holder
    world.guard.check(made, PAY, {"amount": 5})
    assert verdict(lambda: world.guard.check(made, PAY, {"amount": 6})) == "argument_denied"
    assert verdict(lambda: world.guard.check(made, READ, {})) == "capability_missing"


def test_what_was_exchanged_lives_no_longer_than_the_chain(world: World, held: remit.Credential) -> None:
    leaf = held.delegate("b", [READ], ttl="2m", max_depth=1)
    world.clock.now += 60
    assert claims_of(exchange(world, leaf)).expires_at == NOW + 120
    assert claims_of(exchange(world, leaf, ttl="30s")).expires_at == NOW + 90
    assert "outlive" in refused(lambda: exchange(world, leaf, ttl="61s"))


def test_it_cannot_be_had_for_a_chain_that_has_expired(world: World, held: remit.Credential) -> None:
    world.clock.now += 600
    assert "no time" in refused(lambda: exchange(world, held))


def test_the_time_of_issue_is_the_issuers(world: World, held: remit.Credential) -> None:
    """A holder may date a child 30 seconds ahead, and an agent's revocation goes by the time of issue."""
    world.clock.now += 30
    ahead = held.delegate("b", [READ], max_depth=1)
    world.clock.now -= 30
    assert claims_of(ahead).issued_at == NOW + 30
    assert claims_of(exchange(world, ahead)).issued_at == NOW


def test_each_exchange_uses_up_depth(world: World, held: remit.Credential) -> None:
    once = exchange(world, held, max_depth=1)
    twice = exchange(world, once)
    assert "used up" in refused(lambda: exchange(world, twice))
    assert "more than the parent has left" in refused(lambda: exchange(world, held, max_depth=2))
    assert "used up" in refused(lambda: exchange(world, world.issue(READ)))


def test_an_exchange_and_a_delegation_share_the_depth(world: World, held: remit.Credential) -> None:
    leaf = exchange(world, held, max_depth=1).delegate("c", [READ])
    world.guard.check(leaf, READ, {})
    assert "used up" in refused(lambda: exchange(world, leaf))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("mail:send", "not among what the chain grants"),
        (PAY, "does not name"),
        (remit.Capability(PAY, amount=remit.Range(max=101)), "would let 'amount' be"),
        (remit.Capability(PAY, amount=remit.Range(max=100)).with_other_arguments(), "does not name"),
        (remit.Capability(PAY, amount=remit.Range(max=100).optional()), "be left out"),
    ],
    ids=["another", "open", "wider", "other-arguments", "optional"],
)
def test_a_wider_capability_is_refused(
    world: World, held: remit.Credential, asked: str | remit.Capability, why: str
) -> None:
    with pytest.raises(remit.AttenuationError) as caught:
        exchange(world, held, asked)
    assert why in str(caught.value)
    assert caught.value.capability in {"mail:send", PAY}


def test_the_key_has_no_part_in_the_chain(world: World, held: remit.Credential) -> None:
    leaf = held.delegate("b", [READ], max_depth=1)
    once = exchange(world, held, max_depth=1)
    for source, key in [
        (held, claims_of(held).holder),
        (leaf, claims_of(leaf).holder),
        (leaf, claims_of(held).holder),
        (once, claims_of(held).holder),
        (held, world.issuer.anchor.key),
    ]:
        assert "no part in the chain" in refused(partial(exchange, world, source, holder=key.jwk))


def test_a_key_is_needed_and_public(world: World, held: remit.Credential) -> None:
    chain = verified(world, held)
    for holder in (
        None,
        HolderKey.generate().private_jwk(),
        {"kty": "OKP", "crv": "Ed25519", "x": "AQ" + "A" * 41},
    ):
        with pytest.raises(remit.ConfigError):
            Exchange.asked(chain, [READ], holder=holder)  # type: ignore[arg-type]


@pytest.mark.parametrize("limited", ["root", "leaf"])
def test_what_is_limited_is_not_exchanged_for_fresh_counters(world: World, limited: str) -> None:
    limits = {PAY: remit.Limit(max_uses=1)}
    root = world.issue(READ, PAY, max_depth=2, limits=limits if limited == "root" else None)
    leaf = root.delegate("b", [READ, PAY], max_depth=1, limits=limits if limited == "leaf" else None)
    assert "counts its uses" in refused(lambda: exchange(world, leaf, PAY))
    world.guard.check(exchange(world, leaf, READ), READ, {})


def test_what_may_only_be_passed_on_is_not_exchanged(world: World) -> None:
    root = world.issue(READ, PAY, delegate_only=[PAY], max_depth=2)
    assert "only be passed on" in refused(lambda: exchange(world, root, PAY))
    assert "only be passed on" in refused(
        lambda: exchange(world, root.delegate("b", [PAY], max_depth=1), PAY)
    )


def test_nobody_is_granted_the_exchange_itself(world: World) -> None:
    """Nor is a proof for it made for whoever names it as the tool to be called: a model may."""
    with pytest.raises(remit.ConfigError, match="Remit's own"):
        world.issue("remit:exchange")
    with pytest.raises(remit.ConfigError, match="Remit's own"):
        world.issue(READ, max_depth=1).present("remit:exchange", {"scope": "READ"})


def test_session_and_task_and_window_are_carried_on(world: World) -> None:
    root = world.issue(READ, max_depth=2, session="s-1")
    leaf = root.delegate("b", [READ], task="t-1", max_depth=1)
    made = exchange(world, leaf)
    world.guard.check(made, READ, {}, session="s-1", task="t-1")
    assert verdict(lambda: world.guard.check(made, READ, {}, task="t-1")) == "session_mismatch"
    assert verdict(lambda: world.guard.check(made, READ, {}, session="s-1")) == "task_mismatch"
    assert "session" in refused(lambda: exchange(world, leaf, session="s-2"))
    assert "task" in refused(lambda: exchange(world, leaf, task="t-2"))
    narrowed = exchange(world, world.issue(READ, max_depth=1), session="s-9")
    assert verdict(lambda: world.guard.check(narrowed, READ, {}, session="s-1")) == "session_mismatch"


def test_links_bound_to_two_sessions_are_not_exchanged(world: World) -> None:
    """Nobody could use such a chain; `delegate` makes none, but a holder may write one."""
    root = world.issue(READ, max_depth=2, session="s-1")
    loose = world.issue(READ, max_depth=2)
    key = HolderKey.from_jwk(root._to_members()["holder_key"])  # type: ignore[arg-type]
    child = claims_of(loose.delegate("b", [READ], session="s-2", max_depth=1))
    parent = claims_of(root)
    child.issuer, child.parent_hash = parent.holder.uri, root._digest
    odd = remit.Credential.from_token([root.token, child.signed(key).text], clock=world.clock)
    assert "another session" in refused(lambda: exchange(world, odd))


def test_the_window_is_carried_on(world: World) -> None:
    opens = datetime.fromtimestamp(NOW + 60, UTC)
    made = exchange(world, world.issue(READ, max_depth=1, not_before=opens))
    assert verdict(lambda: world.guard.check(made, READ, {})) == "token_not_yet_valid"
    world.clock.now += 60
    world.guard.check(made, READ, {})


def test_audiences_are_intersected(world: World) -> None:
    root = world.issue(READ, max_depth=3, audience=["https://a.example", "https://b.example"])
    leaf = root.delegate("b", [READ], audience=["https://b.example", "https://c.example"], max_depth=2)
    assert claims_of(exchange(world, leaf)).audience == ("https://b.example",)
    assert claims_of(exchange(world, root, audience="https://a.example")).audience == ("https://a.example",)
    assert "audience" in refused(lambda: exchange(world, leaf, audience="https://a.example"))
    apart = root.delegate("b", [READ], audience="https://c.example", max_depth=2)
    assert "audience" in refused(lambda: exchange(world, apart))
    made = exchange(world, leaf)
    elsewhere = world.new_guard(audience="https://a.example")
    assert verdict(lambda: elsewhere.check(made, READ, {})) == "audience_mismatch"


def test_no_audience_is_any_and_an_empty_one_is_none() -> None:
    assert common_audience([None, None]) is None
    assert common_audience([None, ("a", "b"), None, ("b",)]) == ("b",)
    with pytest.raises(remit.AttenuationError):
        common_audience([("a",), ("b",), ("a",)])


def test_secrets_come_along_as_far_as_every_link_allows(world: World) -> None:
    root = world.issue(READ, PAY, max_depth=3, secrets={"KEY": [READ, PAY], "OTHER": [PAY]})
    assert exchange(world, root, READ).secrets == ("KEY",)
    leaf = root.delegate("b", [READ, PAY], secrets={"KEY": [PAY]}, max_depth=2)
    assert exchange(world, leaf, READ).secrets == ()
    made = exchange(world, leaf, READ, PAY)
    assert made.secrets == ("KEY",)
    guard = world.new_guard(secrets=remit.Secrets({"KEY": "env://PATH"}))
    guard.resolve_secret(made, "KEY", tool=PAY)
    assert verdict(lambda: guard.resolve_secret(made, "KEY", tool=READ)) == "secret_denied"


def test_only_what_this_issuer_has_issued_is_exchanged(world: World) -> None:
    other = remit.Issuer.generate("https://other.example", clock=world.clock)
    theirs = other.issue("a", [READ], max_depth=1)
    chain = ChainVerifier(FixedAnchors([other.anchor]), DAY).verify(theirs.chain)
    order = Exchange.asked(chain, [READ], holder=HolderKey.generate().public.jwk)
    assert "this issuer" in refused(lambda: world.issuer.exchange(order))


@pytest.mark.parametrize("which", ["token", "key", "agent"])
@pytest.mark.parametrize("link", [0, 1, 2])
@pytest.mark.parametrize("times", [1, 2])
def test_revoking_anything_of_the_chain_reaches_what_it_was_exchanged_for(
    world: World, which: str, link: int, times: int
) -> None:
    chain = [world.issue(READ, max_depth=8, agent="a0")]
    for number in (1, 2):
        chain.append(chain[-1].delegate(f"a{number}", [READ], max_depth=8 - number))
    made = chain[-1]
    for number in range(times):
        made = exchange(world, made, agent=f"worker-{number}", max_depth=4 - number)
    world.guard.check(made, READ, {})
    found = claims_of(chain[link])
    if which == "token":
        world.guard.revoke(found.id)
    elif which == "key":
        world.guard.revoke_key(found.holder.thumbprint)
    else:
        world.guard.revoke_agent(found.agent_name)
    assert refusal(lambda: world.guard.check(made, READ, {})).code == "token_revoked"
    assert verdict(lambda: world.guard.check(made.delegate("x", [READ]), READ, {})) == "token_revoked"


def test_revoking_the_key_that_signed_the_chain_reaches_what_another_signed_for_it(world: World) -> None:
    """Else whoever stole a key exchanges what they forge with it, and keeps that when it is revoked."""
    forged = world.issue(READ, max_depth=1)
    stolen, before = world.issuer.anchor, world.issuer
    chain = verified(world, forged)
    world.issuer = remit.Issuer.generate(before.uri, clock=world.clock)
    guard = world.new_guard(trust=[stolen, world.issuer.anchor])
    key = HolderKey.generate()
    token = world.issuer.exchange(Exchange.asked(chain, [READ], holder=key.public.jwk)).token
    made = remit.Credential.from_token(token, key.private_jwk(), clock=world.clock)
    guard.check(made, READ, {})
    guard.revoke_key(stolen.key.thumbprint)
    assert verdict(lambda: guard.check(made, READ, {})) == "token_revoked"
    guard.check(world.issue(READ), READ, {})


def test_siblings_and_sources_outlive_the_exchanged_token(world: World, held: remit.Credential) -> None:
    one, other = exchange(world, held), exchange(world, held)
    world.guard.revoke(one.token_id)
    assert verdict(lambda: world.guard.check(one, READ, {})) == "token_revoked"
    world.guard.check(other, READ, {})
    world.guard.check(held, READ, {})


def test_where_it_comes_from_cannot_be_made_up(world: World, held: remit.Credential) -> None:
    """A holder may name a child as it likes, and write into it what it was exchanged for."""
    key = HolderKey.from_jwk(held._to_members()["holder_key"])  # type: ignore[arg-type]
    child = claims_of(held.delegate("somebody-else", [READ], max_depth=1))
    leaf = remit.Credential.from_token([held.token, child.signed(key).text], clock=world.clock)
    made = exchange(world, leaf, agent="another")
    assert origin(claims_of(made)) == origin(claims_of(held)) == "agent-a"
    assert ancestors(claims_of(made))[:2] == (held.token_id, leaf.token_id)
    child.exchanged = ("agent:aaaa", "token:made-up")
    made_up = remit.Credential.from_token([held.token, child.signed(key).text], clock=world.clock)
    assert verdict(lambda: exchange(world, made_up, agent="another")) == "token_malformed"


def test_a_verifier_that_does_not_know_exchanges_refuses_the_token(
    world: World, held: remit.Credential
) -> None:
    assert "exchanged" in unverified_claims(exchange(world, held).token)[0].header.features
    assert unverified_claims(held.token)[0].header.features == ()


def test_it_is_recorded_and_noted_as_what_it_comes_from(world: World, held: remit.Credential) -> None:
    ledger, audit = remit.MemoryLedger(), remit.MemoryAudit()
    world.issuer._audit, world.issuer._ledger = audit, ledger
    made = exchange(world, held)
    assert audit.records[-1].chain == (held.token_id, made.token_id)
    noted = ledger.token(made.token_id)
    assert noted is not None
    assert (noted.agent, noted.capabilities) == ("worker", (READ,))


def test_nothing_is_exchanged_that_cannot_be_noted(world: World, held: remit.Credential) -> None:
    class Broken:
        def enroll(self, token: object) -> None:
            raise OSError("gone")

    world.issuer._ledger = Broken()
    assert verdict(lambda: exchange(world, held)) == "ledger_unavailable"


def test_an_exchange_that_makes_no_sense_is_refused(world: World, held: remit.Credential) -> None:
    odd: list[dict[str, Any]] = [
        {"agent": " "},
        {"session": ""},
        {"max_depth": -1},
        {"ttl": "0s"},
        {"audience": []},
    ]
    for asked in odd:
        with pytest.raises(remit.ConfigError):
            exchange(world, held, **asked)
    chain = verified(world, held)
    for capabilities in ([], READ, [READ, READ], ["secret:KEY"]):
        with pytest.raises(remit.ConfigError):
            Exchange.asked(chain, capabilities, holder=HolderKey.generate().public.jwk)
