"""Many requests at once, of two agents: each runs under its own permit, and no other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI, Request

import remit
from remit_service import CapabilityMiddleware

from .support import World, send

TIMES = 25
"""For each of the two agents."""


@remit.requires_capability("read")
def read(account: str) -> str:
    return account


@remit.requires_capability("read")
async def read_async(account: str) -> str:
    await asyncio.sleep(0)
    return account


def app_of(world: World) -> FastAPI:
    app = FastAPI()
    table = {"GET /sync/{account}": "read", "GET /async/{account}": "read"}
    app.add_middleware(CapabilityMiddleware, guard=world.guard, routes=table)

    @app.get("/sync/{account}")
    def sync(account: str, request: Request) -> list[str]:
        return [read(account), request.scope["remit"].agent]

    @app.get("/async/{account}")
    async def later(account: str, request: Request) -> list[str]:
        await asyncio.sleep(0.001)
        return [await read_async(account), request.scope["remit"].agent]

    return app


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_fifty_requests_of_two_agents_never_mix(world: World, way: str) -> None:
    app = app_of(world)
    accounts = {"anna": "A-1", "bert": "B-2"}
    agents = {
        agent: world.issue(agent, [remit.Capability("read", account=account)])
        for agent, account in accounts.items()
    }

    async def ask(agent: str, account: str) -> tuple[int, Any]:
        header = world.header("read", {"account": account}, credential=agents[agent])
        answer = await send(app, "GET", f"/{way}/{account}", headers=header)
        return answer.status_code, answer.json()

    calls = [(agent, account) for _ in range(TIMES) for agent in accounts for account in accounts.values()]
    answers = await asyncio.gather(*(ask(agent, account) for agent, account in calls))
    for (agent, account), (status, answer) in zip(calls, answers, strict=True):
        if accounts[agent] == account:
            assert (status, answer) == (200, [account, agent])
        else:
            assert (status, answer["code"]) == (403, "argument_denied")
    decisions = [each for each in world.audit.records if each.event == "decision"]
    assert len(decisions) == 4 * TIMES
    assert sum(each.allowed for each in decisions) == 2 * TIMES
    assert sum(each.event == "outcome" for each in world.audit.records) == 2 * TIMES


async def test_of_fifty_replays_at_once_one_is_served(world: World) -> None:
    app = app_of(world)
    credential = world.issue("anna", ["read"])
    header = world.header("read", {"account": "A-1"}, credential=credential)
    answers = await asyncio.gather(*(send(app, "GET", "/sync/A-1", headers=header) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 49
