"""R1, R2, R16, R31, R32: what is issued is what was asked for, for a time, to one agent."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import remit

from .support import NOW, URI, World, refusal, verdict


def _payload(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    payload = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert isinstance(payload, dict)
    return payload


def test_the_fields_of_a_credential_equal_the_request(world: World) -> None:
    limit = remit.Limit(max_uses=3, rate="10/m", budget={"amount": 2_500})
    trade = remit.Capability(
        "trades:propose", symbol=remit.OneOf("ACME", "INIT"), amount=remit.Range(max=1_000)
    )
    credential = world.issuer.issue(
        agent="pricing-agent",
        capabilities=["pricing:read", trade],
        secrets=["BROKER_API_KEY"],
        ttl="30s",
        session="s-1",
        task="t-1",
        limits={"trades:propose": limit},
    )
    assert credential.agent == "pricing-agent"
    assert credential.capabilities == (remit.Capability("pricing:read"), trade)
    assert credential.secrets == ("BROKER_API_KEY",)
    assert credential.expires_at == datetime.fromtimestamp(NOW + 30, UTC)
    assert (credential.session, credential.task) == ("s-1", "t-1")
    assert credential.limits == {"trades:propose": limit}
    assert credential.issuer == URI
    assert credential.chain == (credential.token,)


def test_the_signed_token_says_what_the_credential_says(world: World) -> None:
    credential = world.issue(
        "a", "b", secrets={"KEY": ["b"]}, session="s", task="t", audience="here", max_depth=2
    )
    payload = _payload(credential.token)
    assert payload["jti"] == credential.token_id
    assert payload["sub"] == "agent-a"
    assert (payload["sid"], payload["task"], payload["aud"]) == ("s", "t", "here")
    assert (payload["iat"], payload["exp"]) == (NOW, NOW + 600)
    assert (payload["del_depth"], payload["del_max_depth"]) == (0, 2)
    tools = payload["authorization_details"][0]["tools"]
    assert set(tools) == {"a", "b", "secret:KEY"}
    assert tools["secret:KEY"]["tool"] == {"constraint_type": "one_of", "values": ["b"]}


def test_what_a_guard_says_of_a_token_equals_the_request(world: World) -> None:
    credential = world.issue("a", remit.Capability("b", n=1), secrets=["KEY"], session="s", task="t")
    token = world.guard.validate(credential, session="s", task="t")
    assert (token.agent, token.token_id, token.issuer) == ("agent-a", credential.token_id, URI)
    assert token.capabilities == (remit.Capability("a"), remit.Capability("b", n=remit.Exact(1)))
    assert token.secrets == ("KEY",)
    assert (token.session, token.task) == ("s", "t")
    assert token.expires_at == credential.expires_at
    assert token.chain == (credential.token_id,)


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("1h", 3_600),
        ("7d", 604_800),
        (45, 45),
        (timedelta(hours=2), 7_200),
        (60.0, 60),
    ],
)
def test_a_ttl_is_a_number_and_a_unit_or_seconds_or_a_timedelta(world: World, ttl: Any, seconds: int) -> None:
    assert _payload(world.issue(ttl=ttl).token)["exp"] == NOW + seconds


@pytest.mark.parametrize("ttl", ["0s", "-1s", "", "10", "1w", "8d", 0, -5, 1.5, float("nan"), float("inf"), True,
                                 None, timedelta(milliseconds=500), "\u0661\u0660m", "9" * 12 + "s"])  # fmt: skip
def test_a_ttl_that_makes_no_sense_is_refused(world: World, ttl: Any) -> None:
    with pytest.raises(remit.ConfigError):
        world.issue(ttl=ttl)


def test_without_a_ttl_a_token_lives_ten_minutes(world: World) -> None:
    assert _payload(world.issue().token)["exp"] == NOW + 600


def test_the_maximum_ttl_is_the_issuers_setting(world: World) -> None:
    short = remit.Issuer.generate(URI, max_ttl="1m", clock=world.clock)
    assert short.issue("a", ["t"], ttl="1m").expires_at == datetime.fromtimestamp(NOW + 60, UTC)
    with pytest.raises(remit.ConfigError, match="maximum of 60 seconds"):
        short.issue("a", ["t"], ttl="61s")
    with pytest.raises(remit.ConfigError):  # the default is not exempt
        short.issue("a", ["t"])


def test_the_maximum_also_bounds_a_window_that_opens_later(world: World) -> None:
    start = datetime.fromtimestamp(NOW + 6 * 86_400, UTC)
    assert world.issue(not_before=start, ttl="1d").agent == "agent-a"
    with pytest.raises(remit.ConfigError):
        world.issue(not_before=start, ttl="25h")


def test_a_token_of_a_laxer_issuer_is_refused_at_the_check(world: World) -> None:
    lax = remit.Issuer.generate(URI, max_ttl="365d", clock=world.clock)
    guard = remit.Guard(trust=[lax.anchor], clock=world.clock, max_ttl="1h")
    assert guard.check(lax.issue("a", ["t"], ttl="1h"), "t", {}).agent == "a"
    durable = lax.issue("a", ["t"], ttl=3_601)
    assert "lives longer" in refusal(lambda: guard.check(durable, "t", {})).reason
    assert verdict(lambda: guard.validate(durable)) == "token_malformed"


def test_the_default_maximum_of_a_guard_refuses_a_durable_credential(world: World) -> None:
    lax = remit.Issuer.generate(URI, max_ttl="365d", clock=world.clock)
    guard = remit.Guard(trust=[lax.anchor], clock=world.clock)
    assert verdict(lambda: guard.check(lax.issue("a", ["t"], ttl="7d"), "t", {})) == "allowed"
    assert verdict(lambda: guard.check(lax.issue("a", ["t"], ttl="8d"), "t", {})) == "token_malformed"


def test_every_token_has_its_own_identifier_and_key(world: World) -> None:
    made = [world.issue() for _ in range(20)]
    assert len({credential.token_id for credential in made}) == 20
    assert len({_payload(credential.token)["cnf"]["jwk"]["x"] for credential in made}) == 20


def test_one_agent_cannot_use_anothers_token_under_its_own_name(world: World) -> None:
    mine, other = world.issue(), world.issue(agent="agent-b")
    assert world.guard.check(mine, "tool:use", {}, agent="agent-a").agent == "agent-a"
    denied = refusal(lambda: world.guard.check(other, "tool:use", {}, agent="agent-a"))
    assert (denied.code, denied.reason) == ("agent_mismatch", "The token belongs to another agent.")


def test_a_capability_that_is_required_is_enforced(world: World) -> None:
    credential = world.issue("reports:read", "reports:list")
    assert world.guard.validate(credential, capability="reports:read").agent == "agent-a"
    denied = refusal(lambda: world.guard.validate(credential, capability="reports:write"))
    assert (denied.code, denied.capability) == ("capability_missing", "reports:write")


@pytest.mark.parametrize("capability", ["", " ", "tool", "tool:", "tool:us", "tool:use ", "TOOL:USE", "tool:use*", "*",
                                        "tool:*", "secret:KEY"])  # fmt: skip
def test_a_capability_is_compared_as_an_exact_string(world: World, capability: str) -> None:
    credential = world.issue(secrets=["KEY"])
    assert verdict(lambda: world.guard.check(credential, "tool:use", {})) == "allowed"
    assert verdict(lambda: world.guard.check(credential, capability, {})) == "capability_missing"
    assert verdict(lambda: world.guard.validate(credential, capability=capability)) == "capability_missing"


def test_a_secret_may_not_be_granted_under_the_name_of_a_capability(world: World) -> None:
    for wrong in ("secret:KEY", "secret:"):
        with pytest.raises(remit.ConfigError):
            world.issue(wrong)


def test_issuing_is_recorded_and_what_cannot_be_recorded_is_not_issued(world: World) -> None:
    issuer = remit.Issuer.generate(URI, audit=world.audit, clock=world.clock)
    credential = issuer.issue("a", ["t"])
    [record] = world.events("issue")
    assert (record.agent, record.token_id, record.issuer, record.at) == ("a", credential.token_id, URI, NOW)

    class Full:
        def record(self, record: remit.AuditRecord) -> None:
            raise OSError(28, "No space left on device")

    broken = remit.Issuer.generate(URI, audit=Full(), clock=world.clock)
    assert refusal(lambda: broken.issue("a", ["t"])).code == "audit_unavailable"
