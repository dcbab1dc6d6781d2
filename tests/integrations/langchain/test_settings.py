"""What `guard_tools` is given: which capability a tool has, and what is refused before any call."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.tools import BaseTool, tool

import remit
from remit_langchain import guard_tools

from .support import Desk, World, code_of


def read(record: str) -> str:
    """Read one record."""
    return f"read {record}"


class SyncTool(BaseTool):
    name: str = "sync"
    description: str = "Read one record."

    def _run(self, record: str) -> str:
        return read(record)


class Declaring(SyncTool):
    name: str = "declaring"
    __capability__ = "records:declared"


def test_the_capability_is_what_it_was_given_else_decorated_with_else_declared_else_the_name() -> None:
    world, desk = World(), Desk()
    tools: list[Any] = [desk.take_note, desk.get_price, Declaring(), tool(read)]
    expected = ["notes:write", "pricing:read", "records:declared", "read"]
    credential = world.grant("a", *expected)
    made = guard_tools(tools, world.guard, credential, capability={"take_note": "notes:write"})
    made[0].invoke({"text": "x"})
    made[1].invoke({"symbol": "ACME"})
    made[2].invoke({"record": "r"})
    made[3].invoke({"record": "r"})
    assert [capability for _, capability, _ in world.decisions] == expected
    assert [remit.capability_of(each) for each in made] == expected


@pytest.mark.parametrize(
    ("tools", "capability"),
    [
        (["take_note", "get_price"], "pricing:read"),
        (["take_note"], {"take_notes": "notes:write"}),
        (["get_price"], "pricing:write"),
        (["get_price"], {"get_price": "pricing:write"}),
        (["take_note"], ""),
        (["take_note"], {"take_note": " "}),
        ([], "pricing:read"),
    ],
)
def test_a_capability_that_fits_no_tool_is_refused(tools: list[str], capability: Any) -> None:
    world, desk = World(), Desk()
    given = [getattr(desk, name) for name in tools]
    with pytest.raises(remit.ConfigError):
        guard_tools(given, world.guard, world.trader(), capability=capability)


def test_two_tools_of_one_name_are_refused() -> None:
    """One of them would be gone."""
    world, desk = World(), Desk()
    with pytest.raises(remit.ConfigError, match="once"):
        guard_tools([desk.get_price, tool(desk.aget_price)], world.guard, world.trader())


def test_session_and_task_are_passed_on_to_the_check() -> None:
    world, desk = World(), Desk()
    bound = world.trader(session="s-1", task="t-1")
    cases: list[tuple[dict[str, Any], str | None]] = [
        ({"session": "s-1", "task": "t-1"}, None),
        ({"session": "s-2", "task": "t-1"}, "session_mismatch"),
        ({"session": "s-1", "task": "t-2"}, "task_mismatch"),
        ({}, "session_mismatch"),
    ]
    for keywords, code in cases:
        (made,) = guard_tools([desk.get_price], world.guard, bound, **keywords)
        answer = made.invoke({"name": "get_price", "args": {"symbol": "A"}, "id": "c", "type": "tool_call"})
        assert code_of(answer) == code
    assert desk.done == [("price", "A")]


def test_what_is_no_list_of_tools_is_refused() -> None:
    world, desk = World(), Desk()
    wrong: list[Any] = [
        tool(desk.take_note),
        desk.take_note,
        [{"type": "web_search"}],
        [SyncTool],
        ["take_note"],
        "take_note",
        None,
    ]
    for tools in wrong:
        with pytest.raises(remit.ConfigError):
            guard_tools(tools, world.guard, world.trader())


def test_a_missing_guard_or_credential_or_an_unknown_exit_behavior_is_refused() -> None:
    world, desk = World(), Desk()
    trader = world.trader()
    wrong: list[tuple[Any, Any, Any]] = [
        (None, trader, "continue"),
        (world.guard, None, "continue"),
        (world.guard, trader.token, "continue"),
        (world.guard, trader, "stop"),
    ]
    for guard, credential, exit_behavior in wrong:
        for tools in ([desk.take_note], []):
            with pytest.raises(remit.ConfigError):
                guard_tools(tools, guard, credential, exit_behavior=exit_behavior)
