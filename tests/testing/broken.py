"""Adapters that break the contract, each in one way, and the tests of the contract that say so."""

from __future__ import annotations

import asyncio
import functools
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import remit
from remit.binding import current_binding
from remit.testing import Call

from . import toy
from .driven import ToyContract

Binding = Callable[[toy.Agent, remit.Guard, remit.Credential], None]
Making = Callable[[toy.Tool, Callable[..., Any], remit.Guard, remit.Credential], toy.Tool]

latest: list[remit.Credential] = []


def bare_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function inside a guarded one; nobody but a debugger can have it like that."""
    for _ in range(3):
        inside = inspect.getclosurevars(function).nonlocals
        if "tool" in inside:
            bare: Callable[..., Any] = inside["tool"].function
            return bare
        function = inside.get("call", inside.get("inner", function))
    return function


# ── agents ──────────────────────────────────────────────────────────────────────────────────────────────────
def binds_nothing(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    agent.around = lambda tool: nullcontext()


def binds_around_every_tool(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    agent.around = lambda tool: guard.acting_as(credential)


def leaves_other_tools_what_is_around(
    agent: toy.Agent, guard: remit.Guard, credential: remit.Credential
) -> None:
    bound = agent.around
    agent.around = lambda tool: bound(tool) if remit.capability_of(tool.function) else nullcontext()


def prefers_what_is_around(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    bound = agent.around
    agent.around = lambda tool: nullcontext() if current_binding() else bound(tool)


def binds_what_was_bound_last(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    latest.append(credential)
    agent.around = lambda tool: guard.acting_as(latest[-1], capability=remit.capability_of(tool.function))


def binds_on_threads_alone(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    bound = agent.around

    def around(tool: toy.Tool) -> AbstractContextManager[Any]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return bound(tool)
        return nullcontext()

    agent.around = around


def binds_for_the_whole_run(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    run = agent.stream

    def stream() -> Iterator[toy.Reply]:
        guard.acting_as(credential).__enter__()
        return run()

    agent.stream = stream  # type: ignore[method-assign]


def streams_as_its_maker(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    run, bound = agent.stream, agent.around

    def stream() -> Iterator[toy.Reply]:
        agent.around = lambda tool: nullcontext() if current_binding() else bound(tool)
        return iter(list(run()))

    agent.stream = stream  # type: ignore[method-assign]


def swallows_denials(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    agent.on_error = lambda error: toy.Reply("done")


def lets_denials_end_the_run(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    agent.on_error = lambda error: None


def keeps_the_reason_to_itself(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    agent.on_error = lambda error: toy.Reply("no", getattr(error, "code", None))


def keeps_the_cache(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    agent.cache = {}


def around_each_function(
    agent: toy.Agent, change: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    """Have each guarded function of an agent called by way of another."""
    for tool in agent.tools:
        if remit.capability_of(tool.function) is not None:
            guarded, changed = tool.function, change(tool.function)
            changed.__signature__ = inspect.signature(guarded)  # type: ignore[attr-defined]
            changed.__capability__ = remit.capability_of(guarded)  # type: ignore[attr-defined]
            tool.function = changed


def asks_twice(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    def change(function: Callable[..., Any]) -> Callable[..., Any]:
        def twice(**given: Any) -> Any:
            guard.check(credential, str(remit.capability_of(function)), given)
            return function(**given)

        return twice

    around_each_function(agent, change)


def tries_again(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    def change(function: Callable[..., Any]) -> Callable[..., Any]:
        def again(**given: Any) -> Any:
            try:
                return function(**given)
            except remit.Denied:
                return function(**given)

        async def async_again(**given: Any) -> Any:
            try:
                return await function(**given)
            except remit.Denied:
                return await function(**given)

        return async_again if inspect.iscoroutinefunction(function) else again

    around_each_function(agent, change)


def counts_defaults(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    def change(function: Callable[..., Any]) -> Callable[..., Any]:
        def filled_in(**given: Any) -> Any:
            call = inspect.signature(function).bind(**given)
            call.apply_defaults()
            guard.check(credential, str(remit.capability_of(function)), call.arguments)
            return function(**given)

        return filled_in

    around_each_function(agent, change)


def checks_what_the_model_wrote(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    for tool in agent.tools:
        checked_before_conversion(tool, guard, credential)


def checked_before_conversion(tool: toy.Tool, guard: remit.Guard, credential: remit.Credential) -> None:
    capability = remit.capability_of(tool.function)
    if capability is None:
        return

    def run(arguments: Mapping[str, Any]) -> Any:
        guard.explain(credential, capability, arguments)
        permit = guard.check(credential, capability, {"record": arguments["record"]})
        return bare_of(tool.function)(**tool.converted({**arguments, **permit.arguments}))

    async def arun(arguments: Mapping[str, Any]) -> Any:
        result = run(arguments)
        return await result if inspect.iscoroutine(result) else result

    tool.run, tool.arun = run, arun  # type: ignore[method-assign]


def decides_at_the_start(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    for tool in agent.tools:
        capability = remit.capability_of(tool.function)
        if capability is not None and guard.explain(credential, capability, {"record": "ok"}).allowed:
            tool.function = bare_of(tool.function)


def shows_the_token_in_results(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    def change(function: Callable[..., Any]) -> Callable[..., Any]:
        def told(**given: Any) -> Any:
            return f"{function(**given)} {credential.token}"

        return function if inspect.iscoroutinefunction(function) else told

    around_each_function(agent, change)


def shows_the_token_in_denials(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    agent.on_error = lambda error: toy.Reply(f"{error} {credential.token}", getattr(error, "code", None))


def keeps_the_credential_as_text(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    agent.state = {"credential": credential.to_json()}  # type: ignore[attr-defined]


def shows_tracebacks(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    def shown(error: Exception) -> toy.Reply:
        told = "".join(traceback.format_exception(error))
        return toy.Reply(told, getattr(error, "code", None))

    agent.on_error = shown


def hides_errors(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    agent.on_error = lambda error: toy.shown(error) or toy.Reply("done")


def calls_errors_denials(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    agent.on_error = lambda error: toy.shown(error) or toy.Reply(str(error), "argument_denied")


def opens_when_the_guard_fails(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    def change(function: Callable[..., Any]) -> Callable[..., Any]:
        def opened(**given: Any) -> Any:
            try:
                return function(**given)
            except remit.Denied as denied:
                if denied.code.endswith("_unavailable"):
                    return bare_of(function)(**given)
                raise

        return function if inspect.iscoroutinefunction(function) else opened

    around_each_function(agent, change)


def guards_all_tools(agent: toy.Agent, guard: remit.Guard, credential: remit.Credential) -> None:
    for tool in agent.tools:
        if remit.capability_of(tool.function) is None:
            tool.function = remit.bind_tool(tool.function, guard, credential)


# ── tools ───────────────────────────────────────────────────────────────────────────────────────────────────
class Opened(toy.Tool):
    """A tool that another way leads to."""

    raw: Any = None


def keeps_the_bare_function(
    tool: toy.Tool, function: Callable[..., Any], guard: remit.Guard, credential: remit.Credential
) -> toy.Tool:
    made = Opened(tool.function)
    made.raw = bare_of(tool.function)
    return made


def keeps_what_it_wraps(
    tool: toy.Tool, function: Callable[..., Any], guard: remit.Guard, credential: remit.Credential
) -> toy.Tool:
    tool.function.__wrapped__ = bare_of(function)  # type: ignore[attr-defined]
    tool.function.__signature__ = inspect.signature(tool.function, follow_wrapped=False)  # type: ignore[attr-defined]
    return tool


def holds(holder: Callable[[Callable[..., Any]], Any]) -> Making:
    """Make tools that hold the bare function in something."""

    def made(
        tool: toy.Tool, function: Callable[..., Any], guard: remit.Guard, credential: remit.Credential
    ) -> toy.Tool:
        tool.meta = holder(bare_of(tool.function))  # type: ignore[attr-defined]
        return tool

    return made


class Forgetful(toy.Tool):
    def __deepcopy__(self, memo: object) -> toy.Tool:
        return toy.Tool(bare_of(self.function))


class Shown(toy.Tool):
    def schema(self) -> dict[str, Any]:
        schema = super().schema()
        return {**schema, "properties": {**schema["properties"], "key": {"type": "string"}}}


class Alike(toy.Tool):
    def schema(self) -> dict[str, Any]:
        schema = super().schema()
        return {**schema, "properties": {name: {"type": "string"} for name in schema["properties"]}}


def made_as(kind: type[toy.Tool]) -> Making:
    """Make tools of another class."""
    return lambda tool, function, guard, credential: kind(tool.function)


def leaves_it_to_what_is_around(
    tool: toy.Tool, function: Callable[..., Any], guard: remit.Guard, credential: remit.Credential
) -> toy.Tool:
    return toy.Tool(function if remit.capability_of(function) else remit.requires_capability(function))


def decides_when_it_is_made(
    tool: toy.Tool, function: Callable[..., Any], guard: remit.Guard, credential: remit.Credential
) -> toy.Tool:
    return toy.Tool(bare_of(tool.function))


def changes_the_original(
    tool: toy.Tool, function: Callable[..., Any], guard: remit.Guard, credential: remit.Credential
) -> toy.Tool:
    if not inspect.iscoroutinefunction(function):
        function.__kwdefaults__ = {}
        function.__code__ = (lambda record="": record).__code__
    return tool


def shows_its_token(
    tool: toy.Tool, function: Callable[..., Any], guard: remit.Guard, credential: remit.Credential
) -> toy.Tool:
    tool.token = credential.token  # type: ignore[attr-defined]
    return tool


def takes_secrets_from_anyone(
    tool: toy.Tool, function: Callable[..., Any], guard: remit.Guard, credential: remit.Credential
) -> toy.Tool:
    if not credential.secrets:
        return tool
    bare = bare_of(tool.function)

    def open_archive(host: str, key: str = "") -> Any:
        value = key or guard.resolve_secret(credential, "ARCHIVE_KEY", tool="archive:open").reveal()
        return bare(host, value)

    return toy.Tool(open_archive)


BINDINGS: Final[Mapping[Binding, str | tuple[str, ...]]] = {
    binds_nothing: "test_an_allowed_call_runs_once_and_its_result_is_shown",
    binds_around_every_tool: (
        "test_a_nested_agent_that_is_not_bound_is_denied",
        "test_a_guarded_tool_lends_its_credential_to_nobody",
        "test_work_that_is_left_behind_has_nothing_bound",
    ),
    leaves_other_tools_what_is_around: (
        "test_a_tool_without_a_capability_has_nothing_bound",
        "test_a_nested_agent_that_is_not_bound_is_denied",
    ),
    prefers_what_is_around: (
        "test_an_agent_acts_under_its_own_credential_in_the_block_of_another",
        "test_a_nested_agent_acts_under_its_own_credential",
    ),
    binds_what_was_bound_last: "test_agents_that_run_at_once_keep_apart",
    binds_on_threads_alone: "test_an_allowed_call_runs_once_and_its_result_is_shown",
    binds_for_the_whole_run: "test_nothing_stays_bound_after_a_run",
    streams_as_its_maker: "test_a_stream_runs_under_the_agents_own_credential",
    swallows_denials: "test_a_denied_argument_is_answered_and_nothing_runs",
    lets_denials_end_the_run: (
        "test_calls_of_one_turn_do_not_disturb_each_other",
        "test_a_capability_that_is_not_granted_is_denied",
        "test_a_token_of_a_stranger_is_denied",
    ),
    keeps_the_reason_to_itself: "test_a_denied_argument_is_answered_and_nothing_runs",
    keeps_the_cache: (
        "test_a_shared_cache_serves_nothing_to_an_agent_that_may_not",
        "test_a_shared_cache_serves_nothing_undecided",
        "test_a_credential_that_is_closed_in_mid_run_is_denied",
    ),
    asks_twice: "test_one_decision_and_one_outcome_for_an_allowed_call",
    tries_again: "test_one_decision_and_no_outcome_for_a_denied_call",
    counts_defaults: "test_a_default_is_no_argument",
    checks_what_the_model_wrote: "test_the_tool_runs_on_the_arguments_that_were_checked",
    decides_at_the_start: (
        "test_a_token_that_is_revoked_in_mid_run_is_denied",
        "test_a_token_that_expires_in_mid_run_is_denied",
    ),
    shows_the_token_in_results: "test_the_model_is_told_no_token_no_key_and_no_secret",
    shows_the_token_in_denials: "test_the_model_is_told_no_token_no_key_and_no_secret",
    keeps_the_credential_as_text: "test_the_model_is_told_no_token_no_key_and_no_secret",
    shows_tracebacks: "test_a_denial_tells_nothing_of_how_it_came_about",
    hides_errors: "test_an_error_of_a_tool_is_no_result",
    calls_errors_denials: "test_an_error_of_a_tool_is_no_result",
    opens_when_the_guard_fails: "test_a_guard_that_cannot_decide_denies",
    guards_all_tools: "test_a_tool_without_a_capability_is_untouched",
}
MAKINGS: Final[Mapping[str, tuple[Making, str | tuple[str, ...]]]] = {
    "keeps the bare function": (keeps_the_bare_function, "test_no_route_goes_around_the_check"),
    "keeps what it wraps": (keeps_what_it_wraps, "test_nothing_leads_to_the_bare_function"),
    "keeps the bare function in a table": (
        holds(lambda f: {"fn": f}),
        "test_nothing_leads_to_the_bare_function",
    ),
    "keeps the bare function in a list": (holds(lambda f: [f]), "test_nothing_leads_to_the_bare_function"),
    "keeps the bare function in a partial": (
        holds(functools.partial),
        "test_nothing_leads_to_the_bare_function",
    ),
    "keeps the tool of the bare function": (holds(toy.Tool), "test_nothing_leads_to_the_bare_function"),
    "forgets the guard in copies": (made_as(Forgetful), "test_a_copy_is_no_way_around"),
    "shows the secret's parameter": (made_as(Shown), "test_a_secret_is_no_parameter"),
    "loses the types": (made_as(Alike), "test_the_schema_is_the_functions_own"),
    "leaves it to what is around": (
        leaves_it_to_what_is_around,
        ("test_what_is_bound_around_does_not_help_a_tool", "test_every_route_works_where_it_is_allowed"),
    ),
    "decides when it is made": (decides_when_it_is_made, "test_no_route_outlives_its_credential"),
    "changes the original": (changes_the_original, "test_the_original_stays_as_it_was"),
    "shows its token": (shows_its_token, "test_neither_token_nor_key_is_in_a_tool"),
    "takes secrets from anyone": (takes_secrets_from_anyone, "test_a_secret_cannot_be_given_by_the_model"),
    "shows secrets": (takes_secrets_from_anyone, "test_a_secret_reaches_the_tool_and_not_the_answer"),
}


def bound_by(change: Binding) -> type[ToyContract]:
    """The contract of an adapter that binds agents in another way."""

    class Broken(ToyContract):
        def agent(
            self,
            tools: Sequence[Callable[..., Any]],
            guard: remit.Guard,
            credential: remit.Credential | None,
            turns: Sequence[Sequence[Call]],
        ) -> toy.Agent:
            agent = super().agent(tools, guard, credential, turns)
            if credential is not None:
                change(agent, guard, credential)
            return agent

    return Broken


def made_by(change: Making) -> type[ToyContract]:
    """The contract of an adapter that makes tools in another way."""

    class Broken(ToyContract):
        def guarded(
            self,
            function: Callable[..., Any],
            guard: remit.Guard,
            credential: remit.Credential,
            capability: str | None = None,
        ) -> toy.Tool:
            tool = super().guarded(function, guard, credential, capability)
            return change(tool, function, guard, credential)

        def routes(self, tool: toy.Tool) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
            raw = {"raw": lambda given: tool.raw(**given)} if isinstance(tool, Opened) else {}
            return {**super().routes(tool), **raw}

    return Broken


class OneRoute(ToyContract):
    """An adapter that names one route alone."""

    def routes(self, tool: toy.Tool) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        return {"run": tool.run}


class EagerStream(ToyContract):
    """An adapter whose streams have run before anybody reads them."""

    def stream(self, agent: toy.Agent) -> Iterator[object]:
        return iter(list(agent.stream()))


class UnboundMayDoAnything(ToyContract):
    """An adapter that lets agents through that it does not know."""

    def agent(
        self,
        tools: Sequence[Callable[..., Any]],
        guard: remit.Guard,
        credential: remit.Credential | None,
        turns: Sequence[Sequence[Call]],
    ) -> toy.Agent:
        agent = super().agent(tools, guard, credential, turns)
        if credential is None:
            for tool in agent.tools:
                tool.function = bare_of(tool.function)
        return agent


ADAPTERS: Final[Mapping[str, tuple[type[ToyContract], str | tuple[str, ...]]]] = {
    **{change.__name__: (bound_by(change), tests) for change, tests in BINDINGS.items()},
    **{name: (made_by(change), tests) for name, (change, tests) in MAKINGS.items()},
    "names one route": (OneRoute, "test_the_routes_are_many"),
    "streams before it is read": (EagerStream, "test_a_stream_does_not_keep_what_it_was_made_under"),
    "lets strangers through": (UnboundMayDoAnything, "test_an_agent_without_a_credential_is_denied"),
}
BROKEN: Final = [
    (name.replace("_", " "), kind, test)
    for name, (kind, tests) in ADAPTERS.items()
    for test in ([tests] if isinstance(tests, str) else tests)
]
"""What is broken, the contract of an adapter that is broken like that, and a test that must fail."""
