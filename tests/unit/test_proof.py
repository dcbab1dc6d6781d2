"""R21, R22: signed by the issuer, and of use only to whoever has the holder's key."""
# ruff: noqa: B023 - what is made in a loop is called there

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import remit

from .support import NOW, World, refusal, verdict


def _verify(world: World, presentation: Any, arguments: dict[str, Any] | None = None, **options: Any) -> str:
    given: dict[str, Any] = {"n": 1} if arguments is None else arguments
    return verdict(lambda: world.guard.verify(presentation, "tool:use", given, **options))


def _jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    raw = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).decode().rstrip("=")
    return {"kty": "OKP", "crv": "Ed25519", "x": raw}


def test_the_holder_proves_a_call(world: World) -> None:
    shown = world.issue().present("tool:use", {"n": 1})
    permit = world.guard.verify(shown, "tool:use", {"n": 1})
    assert (permit.agent, permit.arguments) == ("agent-a", {"n": 1})


def test_a_presentation_may_be_the_drafts_object(world: World) -> None:
    shown = world.issue(max_depth=1).delegate("b", ["tool:use"]).present("tool:use", {"n": 1})
    wire = shown.to_dict()
    assert set(wire) == {"aat_chain", "aat_pop"}
    assert _verify(world, wire) == "allowed"
    assert _verify(world, shown) == "proof_replayed"


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("place", [0, 7, -1])
def test_a_flipped_bit_is_refused(world: World, part: int, place: int) -> None:
    credential = world.issue()
    parts = credential.token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(parts[part] + "=" * (-len(parts[part]) % 4)))
    raw[place] ^= 1
    parts[part] = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    flipped = ".".join(parts)
    assert flipped != credential.token
    assert verdict(lambda: world.guard.validate(flipped)) in {"token_signature_invalid", "token_malformed"}
    assert verdict(lambda: world.guard.validate(credential.token)) == "allowed"


def test_a_guard_needs_the_public_key_and_no_network(world: World) -> None:
    public = remit.TrustAnchor(world.issuer.anchor.issuer, world.issuer.anchor.jwk)
    guard = remit.Guard(trust=[public], clock=world.clock)
    assert guard.check(world.issue(), "tool:use", {}).agent == "agent-a"


def test_a_thief_with_the_tokens_alone_can_do_nothing(world: World) -> None:
    chain = world.issue(secrets=["PATH"], max_depth=1).chain
    thief = remit.Credential.from_token(chain)
    assert verdict(lambda: world.guard.check(thief, "tool:use", {})) == "proof_missing"
    assert verdict(lambda: world.guard.resolve_secret(thief, "PATH", tool="tool:use")) == "proof_missing"
    with pytest.raises(remit.Denied):
        thief.present("tool:use", {})
    with pytest.raises(remit.Denied):
        thief.delegate("thief", ["tool:use"])
    for wire in ({"aat_chain": list(chain)}, {"aat_chain": list(chain), "aat_pop": ""}):
        assert _verify(world, wire) == "proof_missing"
    tool = remit.bind_tool(lambda n: n, world.guard, thief, capability="tool:use")
    assert verdict(lambda: tool(1)) == "proof_missing"


def test_a_thief_cannot_claim_another_key(world: World) -> None:
    credential = world.issue()
    for key in (
        Ed25519PrivateKey.generate(),
        {**_jwk(Ed25519PrivateKey.generate()), "d": "A" * 43},
        {"kty": "OKP"},
        "key",
    ):
        with pytest.raises(remit.ConfigError):
            remit.Credential.from_token(credential.chain, key)  # type: ignore[arg-type]  # the mistake itself


def test_a_proof_by_another_key_is_refused(world: World) -> None:
    mine, other = world.issue(), world.issue()
    forged = remit.Presentation(mine.chain, other.present("tool:use", {"n": 1}).proof)
    assert _verify(world, forged) == "proof_invalid"


def test_a_proof_of_the_parent_is_none_of_the_child(world: World) -> None:
    parent = world.issue(max_depth=1)
    child = parent.delegate("b", ["tool:use"])
    assert (
        _verify(world, remit.Presentation(child.chain, parent.present("tool:use", {"n": 1}).proof))
        == "proof_invalid"
    )
    assert (
        _verify(world, remit.Presentation(parent.chain, child.present("tool:use", {"n": 1}).proof))
        == "proof_invalid"
    )


def test_a_proof_is_for_these_arguments_and_this_capability(world: World) -> None:
    credential = world.issue("tool:use", "tool:other")
    for arguments in ({"n": 2}, {"n": "1"}, {}, {"n": 1, "m": None}, {"N": 1}, {"n": True}):
        assert _verify(world, credential.present("tool:use", {"n": 1}), arguments) == "proof_invalid"
    assert _verify(world, credential.present("tool:other", {"n": 1})) == "proof_invalid"
    assert _verify(world, credential.present("tool:use", {"n": 1.0})) == "allowed"  # the same number


def test_a_replay_is_refused_while_its_time_counts_and_afterwards(world: World) -> None:
    shown = world.issue().present("tool:use", {"n": 1})
    assert _verify(world, shown) == "allowed"
    for moment in (0, 15, 30):
        world.clock.now = NOW + moment
        assert _verify(world, shown) == "proof_replayed"
    world.clock.now = NOW + 31
    assert _verify(world, shown) == "proof_invalid"


def test_a_replay_at_another_guard_with_the_same_ledger_is_refused(world: World) -> None:
    ledger = remit.MemoryLedger()
    first, second = (world.new_guard(ledger=ledger) for _ in range(2))
    shown = world.issue().present("tool:use", {})
    assert verdict(lambda: first.verify(shown, "tool:use", {})) == "allowed"
    assert verdict(lambda: second.verify(shown, "tool:use", {})) == "proof_replayed"


@pytest.mark.parametrize(
    ("offset", "code"), [(-31, "proof_invalid"), (-30, "allowed"), (30, "allowed"), (31, "proof_invalid")]
)
def test_a_proof_is_for_now(world: World, offset: int, code: str) -> None:
    world.clock.now = NOW + 100
    credential = world.issue()
    world.clock.now = NOW + 100 + offset
    shown = credential.present("tool:use", {"n": 1})
    world.clock.now = NOW + 100
    assert _verify(world, shown) == code


def test_the_window_of_proofs_is_the_guards_setting(world: World) -> None:
    guard = world.new_guard(proof_window="5s")
    early, late = (world.issue().present("tool:use", {}) for _ in range(2))
    world.clock.now += 5
    assert verdict(lambda: guard.verify(early, "tool:use", {})) == "allowed"
    world.clock.now += 1
    assert verdict(lambda: guard.verify(late, "tool:use", {})) == "proof_invalid"


def test_a_nonce_that_was_asked_for_is_needed(world: World) -> None:
    credential = world.issue()
    for nonce in (None, "other", "N-1"):
        shown = credential.present("tool:use", {"n": 1}, nonce=nonce)
        assert _verify(world, shown, nonce="n-1") == "proof_invalid"
    assert _verify(world, credential.present("tool:use", {"n": 1}, nonce="n-1"), nonce="n-1") == "allowed"


def test_a_proof_for_another_enforcement_point_is_refused(world: World) -> None:
    guard = world.new_guard(audience=["https://a.example", "urn:a"])
    credential = world.issue()

    def at(audience: str | None) -> str:
        shown = credential.present("tool:use", {}, audience=audience)
        return verdict(lambda: guard.verify(shown, "tool:use", {}))

    assert [at("https://a.example"), at("urn:a"), at(None)] == ["allowed"] * 3
    assert [at("https://b.example"), at("https://a.example/")] == ["audience_mismatch"] * 2
    strict = world.new_guard(audience="urn:a", require_proof_audience=True)
    assert (
        refusal(lambda: strict.verify(credential.present("tool:use", {}), "tool:use", {})).code
        == "audience_mismatch"
    )


def test_a_token_for_another_enforcement_point_is_refused(world: World) -> None:
    here, strict = (
        world.new_guard(audience="urn:a"),
        world.new_guard(audience="urn:a", require_chain_audience=True),
    )
    mine, other, any_place = (
        world.issue(audience=["urn:a", "urn:c"]),
        world.issue(audience="urn:b"),
        world.issue(),
    )
    for guard, credential, code in (
        (here, mine, "allowed"), (here, other, "audience_mismatch"), (here, any_place, "allowed"),
        (strict, mine, "allowed"), (strict, any_place, "audience_mismatch"), (world.guard, mine, "audience_mismatch"),
    ):  # fmt: skip
        assert verdict(lambda: guard.check(credential, "tool:use", {})) == code
        assert verdict(lambda: guard.validate(credential)) == code


def test_an_audience_that_is_required_needs_a_name(world: World) -> None:
    wrong: tuple[dict[str, Any], ...] = ({"require_proof_audience": True}, {"require_chain_audience": True}, {"audience": []}, {"audience": ""},
                    {"audience": ["a", "a"]}, {"audience": [None]}, {"audience": 5})  # fmt: skip
    for options in wrong:
        with pytest.raises(remit.ConfigError):
            world.new_guard(**options)


def test_a_token_may_be_bound_to_a_key_that_the_issuer_never_has(world: World) -> None:
    key = Ed25519PrivateKey.generate()
    delivered = world.issue(holder=_jwk(key))
    assert delivered.has_key is False
    assert verdict(lambda: world.guard.check(delivered, "tool:use", {})) == "proof_missing"
    held = remit.Credential.from_token(delivered.chain, key, clock=world.clock)
    assert _verify(world, held.present("tool:use", {"n": 1})) == "allowed"
    private = {**_jwk(key), "d": base64.urlsafe_b64encode(key.private_bytes_raw()).decode().rstrip("=")}
    assert remit.Credential.from_token(delivered.token, private).has_key
    for wrong in (private, {}, "key", 5):
        with pytest.raises(remit.ConfigError):
            world.issue(holder=wrong)


@pytest.mark.parametrize("options", [{"audience": ""}, {"nonce": ""}, {"audience": 5}, {"nonce": 5}])
def test_a_presentation_that_makes_no_sense_is_not_made(world: World, options: dict[str, Any]) -> None:
    with pytest.raises(remit.ConfigError):
        world.issue().present("tool:use", {}, **options)


def test_only_arguments_with_a_json_form_can_be_proved(world: World) -> None:
    credential = world.issue()
    for arguments in ({"n": object()}, {"n": float("nan")}, {"n": {1, 2}}, [("n", 1)], {1: 1}, None):
        with pytest.raises(remit.ConfigError):
            credential.present("tool:use", arguments)  # type: ignore[arg-type]  # the mistake itself
    with pytest.raises(remit.ConfigError, match="large"):
        credential.present("tool:use", {"n": "x" * 300_000})
