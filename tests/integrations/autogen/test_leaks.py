"""Tokens, holder keys and secrets, looked for wherever AutoGen writes things down; and what would be dumped.

Each place is also looked into for something that must be there, so that a search of nothing proves nothing.
"""

from __future__ import annotations

import copy
import json
import logging
from typing import Any

import pytest
from autogen_agentchat import EVENT_LOGGER_NAME, TRACE_LOGGER_NAME
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import EVENT_LOGGER_NAME as CORE_EVENTS
from autogen_core import ComponentModel, ComponentToConfig
from autogen_core.tools import StaticStreamWorkbench

import remit
from remit_autogen import CapabilityWorkbench, guard_tools
from scripted_models.team import ScriptedClient, Turn

from .support import Adder, Counter, Desk, Upto, World, drive, verdicts

CANARY = "canary-51d0-secret"
BANK_KEY = remit.secret("BANK_KEY")
CALLS: Turn = [("pay", {"amount": 1, "memo": "find-me"}), ("pay", {"amount": 99, "memo": "find-me"})]


class Bank:
    """An agent that may pay, whose tool needs a secret, and all that must not be found."""

    def __init__(self, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BANK_KEY", CANARY)
        self.world = World(secrets={"BANK_KEY": "env://BANK_KEY"})
        allowed = remit.Capability("bank:pay", amount=remit.Range(max=10), memo=remit.Anything())
        self.credential = self.world.grant("payer", allowed, secrets=["BANK_KEY"])

        @remit.requires_capability("bank:pay")
        def pay(amount: int, memo: str, key: remit.Secret = BANK_KEY) -> str:
            """Pay somebody."""
            return f"paid {amount} for {memo} with {key.reveal()}"

        self.model = ScriptedClient([CALLS])
        given: dict[str, Any] = (
            {"workbench": CapabilityWorkbench([pay], self.world.guard, self.credential)}
            if way == "workbench"
            else {"tools": guard_tools([pay], self.world.guard, self.credential)}
        )
        self.agent = AssistantAgent("payer", self.model, max_tool_iterations=2, **given)
        holder = json.loads(self.credential.to_json())
        self.hidden = [CANARY, self.credential.token, *self.credential.token.split("."), *strings_in(holder)]

    def look(self, place: object) -> None:
        """Fail unless what is known to be there is found, and nothing else is."""
        text = place if isinstance(place, str) else repr(place)
        assert "find-me" in text
        assert not [hidden for hidden in self.hidden if len(hidden) > 15 and hidden in text]


def strings_in(value: Any) -> list[str]:
    """All strings in a JSON value."""
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for child in children for text in strings_in(child)]


@pytest.mark.parametrize("way", ["workbench", "guard_tools"])
async def test_nothing_is_written_down(
    way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bank = Bank(way, monkeypatch)
    team = RoundRobinGroupChat([bank.agent], max_turns=1)
    with caplog.at_level(logging.DEBUG):
        for name in (EVENT_LOGGER_NAME, TRACE_LOGGER_NAME, CORE_EVENTS, "autogen_core"):
            caplog.set_level(logging.DEBUG, logger=name)
        result = await drive(team)
    assert verdicts(result) == ["ok", "argument_denied"]
    bank.look(result)
    bank.look("".join(message.model_dump_json() for message in result.messages))
    bank.look(await bank.agent.save_state())
    bank.look(await team.save_state())
    bank.look(bank.model.shown)
    bank.look(repr([record.__dict__ for record in caplog.records]))
    bank.look(f"find-me {bank.model.offered!r}")
    assert "Pay somebody." in repr(bank.model.offered)
    assert "'key'" not in repr(bank.model.offered)


def things(world: World) -> list[Any]:
    """Everything of the adapter's making that AutoGen could dump."""
    desk, credential = Desk(), world.trader()
    tools = guard_tools([desk.get_price, desk.take_note, Adder(), Counter(), Upto()], world.guard, credential)
    return [*tools, CapabilityWorkbench([desk.get_price], world.guard, credential)]


NUMBER = range(6)


@pytest.mark.parametrize("number", NUMBER)
def test_what_is_guarded_is_not_dumped(number: int) -> None:
    world = World()
    thing = things(world)[number]
    assert len(things(world)) == len(NUMBER)
    assert thing.component_provider_override is None
    for dump in (thing.dump_component, thing._to_config):
        with pytest.raises(remit.ConfigError, match="cannot be dumped: it would be loaded without its guard"):
            dump()
    with pytest.raises((remit.ConfigError, TypeError, UserWarning)):
        ComponentToConfig.dump_component(thing)


@pytest.mark.parametrize("number", NUMBER)
def test_what_is_guarded_shows_no_credential(number: int) -> None:
    world = World()
    thing = things(world)[number]
    for text in (repr(thing), repr(vars(thing)), repr(vars(type(thing)))):
        assert "eyJ" not in text


class Dumpable(ScriptedClient):
    """A client that can be dumped, so that the tools come next."""

    def dump_component(self) -> ComponentModel:
        return ComponentModel(provider="none.Client", component_type="model", config={})


def test_an_agent_with_a_guard_is_not_dumped() -> None:
    world, desk = World(), Desk()
    credential = world.trader()
    bench = CapabilityWorkbench([desk.get_price], world.guard, credential)
    tools = guard_tools([desk.get_price], world.guard, credential)
    ways: list[dict[str, Any]] = [{"workbench": bench}, {"tools": tools}]
    for settings in ways:
        agent = AssistantAgent("a", Dumpable([]), **settings)
        with pytest.raises(remit.ConfigError, match="cannot be dumped"):
            agent.dump_component()
        with pytest.raises(remit.ConfigError, match="cannot be dumped"):
            RoundRobinGroupChat([agent]).dump_component()
    plain = AssistantAgent("a", Dumpable([]), workbench=StaticStreamWorkbench([]))
    assert plain.dump_component().config["name"] == "a"


def test_a_guarded_tool_among_others_is_not_dumped() -> None:
    world = World()
    (tool,) = guard_tools([Desk().get_price], world.guard, world.trader())
    with pytest.raises(remit.ConfigError, match="cannot be dumped"):
        StaticStreamWorkbench([tool]).dump_component()
    with pytest.raises(remit.ConfigError, match="cannot be dumped"):
        copy.copy(tool).dump_component()
