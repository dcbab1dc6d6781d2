"""Requests that are let through: from which places the arguments come, and what the application gets."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest

import remit
from remit_service import CapabilityMiddleware, headers

from .support import AUDIENCE, World, send

TRADE = {"account": "A-1", "symbol": "ACME", "amount": 900}


async def test_path_and_body_are_the_arguments_and_the_guarded_function_runs(world: World, app: Any) -> None:
    answer = await send(
        app,
        "POST",
        "/trades/A-1",
        headers=world.header("trades:propose", TRADE),
        json={"symbol": "ACME", "amount": 900},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json() in ({"done": "A-1 ACME 900"}, {"done": "A-1 ACME 900.0"})
    assert world.events() == [("decision", True, None), ("outcome", True, None)]
    assert world.audit.records[0].agent == "trader"


async def test_path_and_query_are_the_arguments(world: World, app: Any) -> None:
    header = world.header("trades:read", {"account": "A-1", "depth": "2"})
    answer = await send(app, "GET", "/trades/A-1?depth=2", headers=header)
    assert answer.json() == {
        "account": "A-1",
        "depth": "2",
        "agent": "trader",
        "token_id": world.credential.token_id,
    }


async def test_an_empty_text_is_an_argument(world: World, app: Any) -> None:
    answer = await send(app, "GET", "/search?q=", headers=world.header("trades:search", {"q": ""}))
    assert answer.json() == {"q": ""}


async def test_a_presentation_may_be_in_the_body(world: World, app: Any) -> None:
    body = {
        **world.presented("trades:propose", TRADE).to_dict(),
        "arguments": {"symbol": "ACME", "amount": 900},
    }
    answer = await send(app, "POST", "/trades/A-1", json=body)
    assert answer.status_code == 200, answer.text


async def test_a_presentation_alone_in_a_body_is_one_of_a_call_without_more_arguments(
    world: World, app: Any
) -> None:
    answer = await send(app, "POST", "/echo", json=world.presented("echo", {}).to_dict())
    assert answer.status_code == 200, answer.text
    assert answer.json()["body"] == "{}"


async def test_a_child_acts_under_its_own_chain(world: World, app: Any) -> None:
    parent = world.issue("lead", ["echo"], max_depth=1)
    child = parent.delegate("worker", ["echo"])
    answer = await send(app, "POST", "/echo", headers=world.header("echo", {}, credential=child))
    assert answer.status_code == 200
    assert world.audit.records[-1].agent == "worker"


@pytest.mark.parametrize("where", ["header", "body"])
async def test_the_application_gets_what_was_checked_and_nothing_of_the_presentation(
    world: World, app: Any, where: str
) -> None:
    arguments = {"n": 1.0, "text": "é\n", "list": [1, {"b": None, "a": True}], "to": "a b&c=d;e"}
    body = {name: arguments[name] for name in ("text", "n", "list")}
    given: dict[str, Any] = {"Content-Type": 'Application/JSON ; charset="UTF-8"', "X-Other": "stays"}
    presentation = world.presented("echo", arguments)
    if where == "header":
        given |= headers(presentation)
    else:
        body = {"arguments": body, **presentation.to_dict()}
    text = json.dumps(body, indent=4, ensure_ascii=False).encode()
    answer = await send(app, "POST", "/echo?to=a+b%26c%3dd%3Be", headers=given, content=text)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert json.loads(told["body"]) == {"text": "é\n", "n": 1.0, "list": [1, {"b": None, "a": True}]}
    assert told["query"] == "to=a+b%26c%3Dd%3Be"
    own = dict(told["headers"])
    assert own["content-type"] == "application/json"
    assert own["content-length"] == str(len(told["body"]))
    assert own["x-other"] == "stays"
    assert [name for name, _ in told["headers"]].count("content-length") == 1
    assert world.credential.token not in answer.text
    assert "remit-presentation" not in own


async def test_a_request_without_a_body_has_none_inside(world: World, app: Any) -> None:
    answer = await send(app, "POST", "/echo", headers=world.header("echo", {}))
    assert answer.json()["body"] == ""
    assert "content-type" not in dict(answer.json()["headers"])


async def test_a_public_route_needs_nothing_and_is_not_recorded(world: World, app: Any) -> None:
    answer = await send(app, "GET", "/healthz")
    assert answer.status_code == 200
    assert answer.text.strip('"') == "ok"
    assert world.events() == []


async def test_the_header_is_base64url_of_the_drafts_object(world: World) -> None:
    presentation = world.presented("echo", {})
    [(name, value)] = headers(presentation).items()
    assert name == "Remit-Presentation"
    assert "=" not in value
    assert json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))) == presentation.to_dict()


async def test_a_guard_whose_ledger_is_a_file_decides_in_a_thread(world: World, tmp_path: Any) -> None:
    used: list[str] = []

    class Watched(remit.SqliteLedger):
        def commit(self, *args: Any, **kwargs: Any) -> Any:
            used.append(threading.current_thread().name)
            return super().commit(*args, **kwargs)

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    ledger = Watched(tmp_path / "ledger.db")
    guard = world.another_guard(ledger=ledger)
    app = CapabilityMiddleware(inside, guard, {"GET /": "echo"})
    answer = await send(app, "GET", "/", headers=world.header("echo", {}, audience=AUDIENCE))
    ledger.close()
    assert answer.status_code == 204
    assert used
    assert all(name.startswith("remit-verify") for name in used)
