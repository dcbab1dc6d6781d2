"""`guard_crew`: each agent of a crew under its own credential, in every way a crew can be run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from crewai import Agent, Flow
from crewai.flow.flow import listen, start
from crewai.project import CrewBase, agent, crew, task
from crewai.tools import BaseTool, tool

import remit
from remit.testing.world import World

from .support import (
    ACME,
    INIT,
    RUNS,
    TRADES,
    Desk,
    Duty,
    Team,
    agent_of,
    codes,
    crew_of,
    drive,
    guard_crew,
    guard_tools,
    task_of,
    trader,
)

DELEGATE = {"task": "Trade.", "context": "none", "coworker": "Worker"}
ASK = {"question": "Trade?", "context": "none", "coworker": "Worker"}


def duo(desk: Desk, turns: Any = ((ACME,), (INIT,)), **settings: Any) -> Any:
    """Two agents with the same tool, and a task for each."""
    agents = [agent_of(role, turns, [desk.trade]) for role in ("First", "Second")]
    return Team(agents=agents, tasks=[task_of(each) for each in agents], **settings)


def wallet(world: World) -> dict[str, remit.Credential]:
    init = remit.Capability("trades:propose", symbol="INIT", amount=remit.Range(max=1_000))
    return {"First": world.grant("first", TRADES), "Second": world.grant("second", init)}


EACH_ITS_OWN = [
    ("first", "trades:propose", None),
    ("first", "trades:propose", "argument_denied"),
    ("second", "trades:propose", "argument_denied"),
    ("second", "trades:propose", None),
]


@pytest.mark.parametrize("how", RUNS)
def test_each_agent_runs_under_its_own_credential(world: World, how: str) -> None:
    desk = Desk()
    made = duo(desk)
    assert guard_crew(made, world.guard, wallet(world)) is made
    output = drive(made, how)
    assert world.audit.verdicts() == EACH_ITS_OWN
    assert desk.done == [("trade", "ACME", 900), ("trade", "INIT", 900)]
    assert codes(output) == ["argument_denied"] * 2


@pytest.mark.parametrize("how", ["kickoff_for_each", "kickoff_for_each_async", "akickoff_for_each"])
def test_each_copy_for_an_input_is_bound_alike(world: World, how: str) -> None:
    desk = Desk()
    made = guard_crew(duo(desk), world.guard, wallet(world))
    inputs: list[dict[str, Any]] = [{"n": 1}, {"n": 2}]
    if how == "kickoff_for_each":
        made.kickoff_for_each(inputs)
    else:
        asyncio.run(getattr(made, how)(inputs))
    assert sorted(world.audit.verdicts(), key=str) == sorted(EACH_ITS_OWN * 2, key=str)


def test_a_copy_is_bound_alike(world: World) -> None:
    guard_crew(duo(Desk()), world.guard, wallet(world)).copy().kickoff()
    assert world.audit.verdicts() == EACH_ITS_OWN


@pytest.mark.parametrize("how", ["kickoff", "akickoff"])
def test_a_stream_runs_each_agent_under_its_own_credential(world: World, how: str) -> None:
    made = guard_crew(duo(Desk(), stream=True), world.guard, wallet(world))

    async def read() -> str:
        streaming = await made.akickoff()
        return "".join([chunk.content async for chunk in streaming])

    with world.guard.acting_as(world.grant("boss", "trades:propose")):
        text = "".join(chunk.content for chunk in made.kickoff()) if how == "kickoff" else asyncio.run(read())
    assert "done" in text
    assert world.audit.verdicts() == EACH_ITS_OWN


@pytest.mark.parametrize("how", RUNS)
def test_tasks_at_the_same_time_keep_apart(world: World, how: str) -> None:
    made = duo(Desk())
    made.tasks[0].async_execution = True
    guard_crew(made, world.guard, wallet(world))
    drive(made, how)
    assert sorted(world.audit.verdicts(), key=str) == sorted(EACH_ITS_OWN, key=str)


def test_a_flow_may_run_it_in_the_block_of_another(world: World) -> None:
    made = guard_crew(duo(Desk()), world.guard, wallet(world))

    class Work(Flow[Any]):
        @start()
        def begin(self) -> Any:
            return made.kickoff()

        @listen(begin)
        async def again(self, output: Any) -> Any:
            return await made.akickoff()

    with world.guard.acting_as(world.grant("boss", "trades:propose")):
        Work().kickoff()
    assert world.audit.verdicts() == EACH_ITS_OWN * 2


@pytest.mark.parametrize("how", RUNS)
def test_an_agent_that_is_not_in_the_wallet_has_nothing_bound(world: World, how: str) -> None:
    desk = Desk()
    made = guard_crew(duo(desk), world.guard, {"First": wallet(world)["First"]})
    with world.guard.acting_as(world.grant("boss", "trades:propose")):
        output = drive(made, how)
    assert desk.done == [("trade", "ACME", 900)]
    assert codes(output) == ["argument_denied", "not_bound", "not_bound"]


def test_a_role_is_taken_as_it_is_written(world: World) -> None:
    desk = Desk()
    low = agent_of("{title}\n", [[ACME]], [desk.trade])
    admin = agent_of("Admin", [[ACME]], [desk.trade])
    made = Team(agents=[low, admin], tasks=[task_of(low), task_of(admin)])
    guard_crew(made, world.guard, {"Admin": trader(world), "{title}": world.grant("low", "pricing:read")})
    output = made.kickoff(inputs={"title": "Admin"})
    assert low.role.strip() == "Admin"
    assert codes(output) == ["capability_missing"]


def test_a_role_is_taken_as_it_was_written_after_a_run_as_well(world: World) -> None:
    made = crew_of(agent_of("{title}", [[ACME]], [Desk().trade]))
    made.kickoff(inputs={"title": "Admin"})
    with pytest.raises(remit.ConfigError, match=r"not there: .*'Admin'"):
        guard_crew(made, world.guard, {"Admin": trader(world)})
    assert (
        codes(guard_crew(made, world.guard, {"{title}": trader(world)}).kickoff(inputs={"title": "x"})) == []
    )


def test_an_agents_name_of_the_wallet_must_be_in_the_crew(world: World) -> None:
    made = duo(Desk())
    before = [list(each.tools) for each in (*made.agents, *made.tasks)]
    with pytest.raises(remit.ConfigError, match=r"not there: .*'Third'"):
        guard_crew(made, world.guard, {**wallet(world), "Third": trader(world)})
    assert [list(each.tools) for each in (*made.agents, *made.tasks)] == before


@pytest.mark.parametrize("what", ["crew", "wallet", "credential", "guard"])
def test_what_makes_no_sense_is_refused_and_changes_nothing(world: World, what: str) -> None:
    made = duo(Desk())
    before = [list(each.tools) for each in (*made.agents, *made.tasks)]
    arguments: dict[str, Any] = {"crew": made, "guard": world.guard, "wallet": wallet(world)}
    if what == "credential":
        arguments["wallet"] = {"Second": None}
    else:
        arguments[what] = None
    with pytest.raises(remit.ConfigError):
        guard_crew(**arguments)
    assert [list(each.tools) for each in (*made.agents, *made.tasks)] == before


def test_a_crew_is_bound_once(world: World) -> None:
    made = guard_crew(duo(Desk()), world.guard, wallet(world))
    for each in (made, made.copy(), Team(agents=[made.agents[0]], tasks=[task_of(made.agents[0])])):
        with pytest.raises(remit.ConfigError, match="before"):
            guard_crew(each, world.guard, {})
    made.kickoff()
    assert world.audit.verdicts() == EACH_ITS_OWN


def test_a_tool_of_a_task_is_that_of_its_agent(world: World) -> None:
    desk = Desk()
    clerk = agent_of("Clerk", [[ACME]])
    made = Team(agents=[clerk], tasks=[task_of(clerk, tools=[desk.trade])])
    guard_crew(made, world.guard, {"Clerk": trader(world)}).kickoff()
    assert world.audit.verdicts() == [("trader", "trades:propose", None)]


def test_a_tool_that_carries_a_credential_keeps_it(world: World) -> None:
    [carrying] = guard_tools([Desk().trade], world.guard, world.grant("other", TRADES))
    made = crew_of(agent_of("Clerk", [[ACME]], [carrying]))
    guard_crew(made, world.guard, {"Clerk": world.grant("clerk", "pricing:read")})
    assert made.agents[0].tools[0] is carrying
    made.kickoff()
    assert world.audit.verdicts() == [("other", "trades:propose", None)]


def test_a_session_is_bound(world: World) -> None:
    held = trader(world, session="s-1")
    for session, expected in (("s-1", []), (None, ["session_mismatch"])):
        made = crew_of(agent_of("Clerk", [[ACME]], [Desk().trade]))
        assert codes(guard_crew(made, world.guard, {"Clerk": held}, session=session).kickoff()) == expected


# ── crews as they are usually written ──

AGENTS = """
researcher:
  role: >
    {topic} researcher
  goal: Find what is to be found about {topic}.
  backstory: Has always done so.
  tools: [get_price]
writer:
  role: >
    Writer
  goal: Write it down.
  backstory: Has always done so.
"""
TASKS = """
research:
  description: Research {topic}.
  expected_output: A list.
  agent: researcher
write:
  description: Write about {topic}.
  expected_output: A page.
  agent: writer
  tools: [get_price]
"""


def project(desk: Desk, folder: Path) -> Any:
    from crewai.project import llm as an_llm
    from crewai.project import tool as a_tool

    from scripted_models.crew import ScriptedLLM

    folder.joinpath("agents.yaml").write_text(AGENTS, encoding="utf-8")
    folder.joinpath("tasks.yaml").write_text(TASKS, encoding="utf-8")
    turns = [[("get_price", {"symbol": "ACME"})], [("get_price", {"symbol": "INIT"})]]

    @CrewBase
    class Project:
        agents: Any
        tasks: Any
        agents_config: Any = str(folder / "agents.yaml")
        tasks_config: Any = str(folder / "tasks.yaml")

        @a_tool
        def get_price(self) -> BaseTool:
            return desk.price

        @an_llm
        def scripted(self) -> Any:
            return ScriptedLLM(turns)

        @agent
        def researcher(self) -> Agent:
            return Agent(config=self.agents_config["researcher"], llm=ScriptedLLM(turns))

        @agent
        def writer(self) -> Agent:
            return Agent(config=self.agents_config["writer"], llm=ScriptedLLM(turns))

        @task
        def research(self) -> Any:
            return Duty(config=self.tasks_config["research"])

        @task
        def write(self) -> Any:
            return Duty(config=self.tasks_config["write"])

        @crew
        def crew(self) -> Any:
            return Team(agents=self.agents, tasks=self.tasks)

    return Project()


@pytest.mark.parametrize("how", RUNS)
def test_a_project_of_classes_and_yaml_is_bound_in_one_call(world: World, tmp_path: Path, how: str) -> None:
    desk = Desk()
    made = project(desk, tmp_path).crew()
    held = {
        "{topic} researcher": world.grant("researcher", remit.Capability("pricing:read", symbol="ACME")),
        "Writer": world.grant("writer", remit.Capability("pricing:read", symbol="INIT")),
    }
    output = drive(guard_crew(made, world.guard, held), how, inputs={"topic": "Writer"})
    assert world.audit.verdicts() == [
        ("researcher", "pricing:read", None),
        ("researcher", "pricing:read", "argument_denied"),
        ("writer", "pricing:read", "argument_denied"),
        ("writer", "pricing:read", None),
    ]
    assert codes(output) == ["argument_denied"] * 2


def test_a_wallet_comes_from_a_policy_file(world: World, tmp_path: Path) -> None:
    tmp_path.joinpath("remit.toml").write_text(
        '[issuer]\nuri = "https://auth.acme.example"\nkey = "issuer.key"\n\n'
        '[agents.First]\ncapabilities = ["trades:propose"]\n\n[agents.Second]\ncapabilities = ["pricing:read"]\n',
        encoding="utf-8",
    )
    remit.Issuer.generate("https://auth.acme.example").save(tmp_path / "issuer.key")
    guard = remit.Guard.from_config(tmp_path / "remit.toml")
    made = guard_crew(duo(Desk()), guard, remit.wallet_from_config(tmp_path / "remit.toml"))
    assert codes(made.kickoff()) == ["capability_missing"] * 2


def test_a_tool_without_a_guard_must_not_answer_for_one_with_it_out_of_the_cache(world: World) -> None:
    desk = Desk()
    free, held = agent_of("Free", [], [tool(desk.bare)]), agent_of("Held", [], [desk.trade])
    tasks = [task_of(free), task_of(held)]
    crew = Team(agents=[free, held], tasks=tasks, cache=True)
    wallet = {"Held": world.grant("held", TRADES)}
    with pytest.raises(remit.ConfigError, match="propose_trade"):
        guard_crew(crew, world.guard, wallet)
    assert held.tools[0].func is not None
    crew.cache = False
    assert guard_crew(crew, world.guard, wallet) is crew


@pytest.mark.parametrize("wallet", [{5: None}, {"Held": None, " Held": None}], ids=["no name", "twice"])
def test_a_wallet_that_makes_no_sense_is_refused(world: World, wallet: dict[Any, Any]) -> None:
    held = agent_of("Held", [], [Desk().trade])
    crew = Team(agents=[held], tasks=[task_of(held)])
    credentials = dict.fromkeys(wallet, world.grant("held", TRADES))
    with pytest.raises(remit.ConfigError, match="wallet"):
        guard_crew(crew, world.guard, credentials)
