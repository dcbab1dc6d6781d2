"""Requests that a guard denies, and how that is told: 401, 403 or 503, in JSON, and on record."""

from __future__ import annotations

from typing import Any

import pytest

import remit
from remit_service import CapabilityMiddleware, headers

from .support import AUDIENCE, GRANTED, ROUTES, World, raw, send

TRADE = {"account": "A-1", "symbol": "ACME", "amount": 900}
BODY = {"symbol": "ACME", "amount": 900}


async def trade(app: Any, header: dict[str, str], body: Any = BODY, account: str = "A-1") -> Any:
    return await send(app, "POST", f"/trades/{account}", headers=header, json=body)


def told(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json()) == {"code", "reason"}
    return answer.status_code, answer.json()["code"]


async def test_nothing_presented_nothing_allowed(world: World, app: Any) -> None:
    answer = await trade(app, {})
    assert told(answer) == (401, "proof_missing")
    assert answer.headers["www-authenticate"] == 'Remit error="proof_missing"'
    assert world.events() == [("decision", False, "proof_missing")]


async def test_a_token_alone_is_no_presentation(world: World, app: Any) -> None:
    bearer = {"Authorization": f"Bearer {world.credential.token}"}
    assert told(await trade(app, bearer)) == (401, "proof_missing")
    bare = remit.Presentation(world.credential.chain, "")
    assert told(await trade(app, headers(bare))) == (401, "proof_missing")


@pytest.mark.parametrize(
    ("body", "account"),
    [
        ({"symbol": "INIT", "amount": 900}, "A-1"),
        ({"symbol": "ACME", "amount": 901}, "A-1"),
        ({"symbol": "ACME", "amount": "900"}, "A-1"),
        ({"symbol": "ACME"}, "A-1"),
        ({"symbol": "ACME", "amount": 900, "note": ""}, "A-1"),
        ({"symbol": "ACME", "amount": 900}, "A-2"),
        ({"symbol": "ACME", "amount": 900}, "A-1%20"),
    ],
)
async def test_a_proof_is_for_these_very_arguments(world: World, app: Any, body: Any, account: str) -> None:
    answer = await trade(app, world.header("trades:propose", TRADE), body, account)
    assert told(answer) in {(401, "proof_invalid"), (403, "argument_denied")}
    assert [event for event, *_ in world.events()] == ["decision"]


async def test_an_argument_that_the_token_does_not_allow_is_denied(world: World, app: Any) -> None:
    over = {**TRADE, "amount": 1_001}
    answer = await trade(app, world.header("trades:propose", over), {**BODY, "amount": 1_001})
    assert told(answer) == (403, "argument_denied")
    assert answer.headers["www-authenticate"] == 'Remit error="argument_denied"'
    assert "1001" not in answer.text


async def test_an_argument_in_the_query_is_one(world: World, app: Any) -> None:
    header = world.header("trades:read", {"account": "A-1", "depth": "3"})
    answer = await send(app, "GET", "/trades/A-1?depth=3", headers=header)
    assert told(answer) == (403, "argument_denied")


async def test_the_text_of_a_path_is_no_number(world: World, app: Any) -> None:
    credential = world.issue("reader", [remit.Capability("trades:read", account=7)])
    header = world.header("trades:read", {"account": 7}, credential=credential)
    assert told(await send(app, "GET", "/trades/7", headers=header)) == (403, "argument_denied")


async def test_a_proof_for_another_capability_is_none(world: World, app: Any) -> None:
    header = world.header("trades:read", {"account": "A-1"})
    assert told(await send(app, "GET", "/search?account=A-1", headers=header)) == (401, "proof_invalid")


async def test_a_capability_that_was_not_granted_is_missing(world: World, app: Any) -> None:
    credential = world.issue("clerk", ["trades:read"])
    header = world.header("trades:read", {}, credential=credential)
    assert told(await send(app, "POST", "/echo", headers=header)) == (403, "capability_missing")


@pytest.mark.parametrize("audience", [None, "https://other.acme.example"])
async def test_a_proof_for_another_service_is_none(world: World, app: Any, audience: str | None) -> None:
    header = world.header("echo", {}, audience=audience)
    assert told(await send(app, "POST", "/echo", headers=header)) == (401, "audience_mismatch")


async def test_a_request_that_is_sent_twice_is_served_once(world: World, app: Any) -> None:
    header = world.header("trades:propose", TRADE)
    assert (await trade(app, header)).status_code == 200
    assert told(await trade(app, header)) == (401, "proof_replayed")


async def test_a_replay_is_refused_in_the_other_place_too(world: World, app: Any) -> None:
    presentation = world.presented("echo", {})
    assert (await send(app, "POST", "/echo", headers=headers(presentation))).status_code == 200
    body = {**presentation.to_dict(), "arguments": {}}
    assert told(await send(app, "POST", "/echo", json=body)) == (401, "proof_replayed")


async def test_a_thief_of_the_chain_has_no_proof(world: World, app: Any) -> None:
    thief = world.issue("thief")
    own = thief.present("echo", {}, audience=AUDIENCE)
    forged = remit.Presentation(world.credential.chain, own.proof)
    assert told(await send(app, "POST", "/echo", headers=headers(forged)))[0] == 401


async def test_what_has_expired_is_refused(world: World, app: Any) -> None:
    credential = world.issue("brief", GRANTED, ttl="1m")
    world.clock.advance(61)
    header = world.header("echo", {}, credential=credential)
    assert told(await send(app, "POST", "/echo", headers=header)) == (401, "token_expired")


async def test_what_was_revoked_is_refused_from_then_on(world: World, app: Any) -> None:
    assert (await send(app, "POST", "/echo", headers=world.header("echo", {}))).status_code == 200
    world.guard.revoke(world.credential.token_id)
    assert told(await send(app, "POST", "/echo", headers=world.header("echo", {}))) == (401, "token_revoked")


async def test_whom_nobody_trusts_is_refused(world: World, app: Any) -> None:
    stranger = World(clock=world.clock)
    header = stranger.header("echo", {})
    assert told(await send(app, "POST", "/echo", headers=header)) == (401, "token_signature_invalid")


async def test_a_limit_is_spent_by_requests(world: World, app: Any) -> None:
    credential = world.issue("once", ["echo"], limits={"echo": remit.Limit(max_uses=1)})
    first, second = (world.header("echo", {}, credential=credential) for _ in range(2))
    assert (await send(app, "POST", "/echo", headers=first)).status_code == 200
    assert told(await send(app, "POST", "/echo", headers=second)) == (403, "limit_exceeded")


async def test_who_may_only_pass_on_may_not_use(world: World, app: Any) -> None:
    credential = world.issue("lead", ["echo"], delegate_only=["echo"], max_depth=1)
    header = world.header("echo", {}, credential=credential)
    assert told(await send(app, "POST", "/echo", headers=header)) == (403, "delegate_only")


async def test_a_token_that_is_bound_to_a_session_is_not_used_without_it(world: World, app: Any) -> None:
    credential = world.issue("guest", ["echo"], session="s-1")
    header = world.header("echo", {}, credential=credential)
    assert told(await send(app, "POST", "/echo", headers=header)) == (401, "session_mismatch")


class Broken(remit.MemoryLedger):
    def commit(self, *args: Any, **kwargs: Any) -> Any:
        raise OSError("the ledger is at 10.0.0.7 and away")


class Full:
    def record(self, record: remit.AuditRecord) -> None:
        raise OSError("the disk is full")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        pytest.param({"ledger": Broken()}, "ledger_unavailable", id="ledger"),
        pytest.param({"audit": Full()}, "audit_unavailable", id="audit"),
    ],
)
async def test_where_nobody_knows_it_says_so(world: World, options: dict[str, Any], code: str) -> None:
    reached: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append("yes")

    app = CapabilityMiddleware(inner, world.another_guard(**options), ROUTES)
    answer = await send(app, "POST", "/echo", headers=world.header("echo", {}))
    assert told(answer) == (503, code)
    assert "10.0.0.7" not in answer.text
    assert "www-authenticate" not in answer.headers
    assert reached == []


async def test_a_reason_shows_nothing_of_what_was_sent(world: World, app: Any) -> None:
    canary = "k-3141592653"
    header = [("remit-presentation", canary), ("content-type", "application/json"), (canary, canary)]
    for body in (b'{"a": "k-3141592653"}', b'{"k-3141592653": 1, "k-3141592653": 2}', b"k-3141592653"):
        answer = await raw(app, "POST", "/echo", header=header, body=body)
        assert answer.status in {400, 401}
        assert canary not in answer.text + str(answer.headers)
