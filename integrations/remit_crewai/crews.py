"""Crews and tasks whose tools carry the credential of whoever uses them.

1. A run of a task begins and ends in `_execute_core` or its asynchronous twin, however it is started or ends:
   hooks and events are not told of a run that is cancelled, nor of one that fails outside of a crew.
2. The grants of a task are found in its tools, which its copies keep; each run has children of its own.
3. Within a run nothing else is bound: what CrewAI adds to the tools, such as delegation, inherits nothing.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final

from crewai import Crew, Process, Task
from crewai.context import get_current_task_id
from crewai.tools import BaseTool
from crewai.utilities.string_utils import sanitize_tool_name

import remit

from .tools import answer, carrying, holder_of, like, routes_of

_RUNS: Final = ("_execute_core", "_aexecute_core")
_lent: Final[ContextVar[Mapping[Any, remit.Credential]]] = ContextVar("remit_crewai_lent")


def guard_crew(
    crew: Crew,
    guard: remit.Guard,
    wallet: Mapping[str, remit.Credential],
    *,
    session: str | None = None,
) -> Crew:
    """Bind each agent of a crew to its own credential, in place, and return the crew.

    Decorated tools of an agent and of its tasks run under the agent's credential; with none, they are denied.
    In a hierarchical crew the tasks' tools are the manager's. All else, such as the tools by which CrewAI
    lets agents delegate, ask and remember, runs with nothing bound: a coworker has its own credential, or
    none. A tool that carries a credential already, by `guard_tools` or `grant_task`, keeps it.

    Args:
        crew: the crew; its copies are bound alike.
        guard: what checks each call.
        wallet: agent to credential, the agent by its role as it is written, before inputs are filled in; the
            manager that CrewAI makes itself is "Crew Manager".
        session: the session the calls belong to.

    Raises:
        ConfigError: an argument makes no sense or names what the crew does not have, or a tool cannot be
            bound, or was bound by `guard_crew` before.
    """
    if not isinstance(crew, Crew) or not isinstance(wallet, Mapping):
        raise remit.ConfigError("guard_crew takes a Crew, and a mapping from roles to credentials")
    owners, held = _owners(crew), {str(role).strip(): credential for role, credential in wallet.items()}
    if (unknown := sorted(held.keys() - {role for _, role in owners})) or len(held) < len(wallet):
        raise remit.ConfigError(f"the wallet names an agent twice, or one that is not there: {unknown}")
    if any(holder_of(tool) is guard_crew for owner, _ in owners for tool in owner.tools or ()):
        raise remit.ConfigError("the crew, or an agent of it, was bound by guard_crew before")
    lent = [(held.get(role, lambda: None), owner.tools) for owner, role in owners]
    made = [_bound(tools, guard_crew, guard, credential, session=session) for credential, tools in lent]
    # The crew's cache knows a tool by its name: what one agent's put there would answer for another's.
    named = [(sanitize_tool_name(tool.name), holder_of(tool)) for tools in made for tool in tools]
    shared = {name for name, holder in named if holder} & {name for name, holder in named if not holder}
    if crew.cache and shared:
        raise remit.ConfigError(f"a cache would answer for guarded tools: guard all of {sorted(shared)}")
    for (owner, _), bound in zip(owners, made, strict=True):  # now that nothing can be refused any more
        owner.tools = bound
    for task in crew.tasks:
        object.__setattr__(task, "__class__", like(type(task), _RUNS, _begun_anew))
    return crew


def grant_task(
    task: Task,
    guard: remit.Guard,
    credential: remit.Credential,
    *,
    capabilities: Sequence[str | remit.Capability] | None = None,
    secrets: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    limits: Mapping[str, remit.Limit] | None = None,
    ttl: str | float | timedelta | None = None,
    agent: str | None = None,
    session: str | None = None,
) -> Task:
    """Let the tools of a task run under a grant of their own, whoever runs the task; return the task.

    When a run of the task starts, a child of `credential` is delegated and bound to this run; when the run
    ends, fails or is cancelled, the child is closed and revoked. A copy of the task has the same grant, and
    each of its runs a child of its own. Decorated tools carry the grant; a tool that carries a credential
    already keeps it.

    Args:
        task: a task with tools; it is changed in place.
        guard: what checks each call, and revokes.
        credential: what is delegated from. It must have depth left, and is never used itself.
        capabilities: as for `Credential.delegate`; by default what `credential` has for these tools.
        secrets: as for `Credential.delegate`.
        limits: as for `Credential.delegate`.
        ttl: as for `Credential.delegate`.
        agent: who the child is for; by default the agent of `credential`.
        session: the session the calls belong to.

    Raises:
        ConfigError: an argument makes no sense, or no tool can carry the grant.
        AttenuationError: `credential` cannot be delegated, or the grant would be wider.
    """
    if not isinstance(task, Task) or not isinstance(credential, remit.Credential):
        raise remit.ConfigError("grant_task takes a Task and a Credential")
    needed = {_capability(tool) for tool in task.tools or []} - {None}
    if not needed:
        raise remit.ConfigError("the task has no tool that is decorated and carries no credential yet")
    own = [each for each in credential.capabilities if each.name in needed]
    terms: dict[str, Any] = {"secrets": secrets, "limits": limits, "ttl": ttl}
    terms["agent"] = credential.agent if agent is None else agent
    terms["capabilities"] = own if capabilities is None else capabilities
    credential.delegate(**terms, task="trial").close()  # what cannot be granted is refused now, not in a run
    grant = partial(remit.Guard.task, guard, credential, **terms)
    child, task_id = lambda: _lent.get({}).get(grant), get_current_task_id
    task.tools = _bound(task.tools, grant, guard, child, session=session, task=task_id)
    object.__setattr__(task, "__class__", like(type(task), _RUNS, _begun_anew))
    return task


def _owners(crew: Crew) -> list[tuple[Any, str]]:
    # Who has tools, and the role of the agent that uses them.
    hierarchical = crew.process is Process.hierarchical
    agents = [*crew.agents, *(task.agent for task in crew.tasks)]
    distinct = {id(agent): (agent, _role(agent)) for agent in agents if agent}
    tasks = [(task, _role(crew.manager_agent if hierarchical else task.agent)) for task in crew.tasks]
    return [*distinct.values(), *tasks]


def _role(agent: Any) -> str:
    # As written: the inputs of a kickoff can make any agent an "Admin". A manager may be yet to be made.
    return "Crew Manager" if agent is None else (getattr(agent, "_original_role", None) or agent.role).strip()


def _capability(tool: BaseTool) -> str | None:
    # What a tool is to be bound for; None for one that carries a credential, and for one that needs none.
    named = remit.ToolBinder.mark(tool.name, routes_of(tool)) or remit.capability_of(tool)
    return named if holder_of(tool) is None else None


def _bound(tools: Iterable[BaseTool] | None, holder: object, *lender: Any, **bearer: Any) -> list[BaseTool]:
    binder = remit.ToolBinder(*lender, **bearer, answer=answer)
    return [carrying(tool, binder, holder) if _capability(tool) else tool for tool in tools or []]


def _begun_anew(method: Callable[..., Any], _name: str) -> Callable[..., Any]:
    def run(self: Task, *args: Any, **kwargs: Any) -> Any:
        with _run_of(self):
            return method(self, *args, **kwargs)

    async def run_async(self: Task, *args: Any, **kwargs: Any) -> Any:
        with _run_of(self):
            return await method(self, *args, **kwargs)

    return run_async if iscoroutinefunction(method) else run


@contextmanager
def _run_of(task: Task) -> Generator[None]:
    grants: set[Any] = {holder for tool in task.tools or [] if isinstance(holder := holder_of(tool), partial)}
    with ExitStack() as stack:
        lent = {grant: stack.enter_context(grant(task=str(task.id))) for grant in grants}
        stack.enter_context(remit.unbound())
        stack.callback(_lent.reset, _lent.set(lent))
        yield
