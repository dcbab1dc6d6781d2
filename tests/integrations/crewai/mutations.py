"""The mechanisms of the CrewAI adapter, to be taken away one by one: does a test notice?

    python tests/integrations/crewai/mutations.py [WORD…]

`tests/integrations/mutation.py` says how that is done.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
if not __package__:  # run as a script
    sys.path.append(str(HERE.parents[1]))
    __package__ = "integrations.crewai"

from ..mutation import Mutation, main  # noqa: E402, TID252 - one engine for the tables of all adapters

SOURCES: Final = ("core/remit", "integrations/remit_crewai")
TOOLS: Final = "integrations/remit_crewai/tools.py"
CREWS: Final = "integrations/remit_crewai/crews.py"
WAYS: Final = "integrations/remit_crewai/ways.py"
INIT: Final = "integrations/remit_crewai/__init__.py"
BINDER: Final = "core/remit/binder.py"
LENDER: Final = "core/remit/lender.py"
BINDING: Final = "core/remit/binding.py"
DECORATOR: Final = "core/remit/decorator.py"
RUN: Final = "        with _run_of(self):\n            return method"
RUN_ASYNC: Final = "        with _run_of(self):\n            return await"
SCOPED: Final = (
    '        object.__setattr__(task, "__class__", like(type(task), _RUNS, _begun_anew))\n    return crew'
)
GRANTED: Final = (
    '    object.__setattr__(task, "__class__", like(type(task), _RUNS, _begun_anew))\n    return task'
)
REGISTER: Final = "    kind.__init_subclass__()  # CrewAI registers classes by name, for checkpoints: the original is the one\n"

MUTATIONS: Final = (
    Mutation(
        "a restored tool is the original",
        TOOLS,
        "restored = Restored if binder.mark(name, routes) is None else None",
        "restored = None",
    ),
    Mutation(
        "the defaults of a schema count as passed",
        TOOLS,
        "declared=declared, defaults=_defaults(given))",
        "declared=declared)",
    ),
    Mutation(
        "an unguarded namesake answers out of the cache",
        CREWS,
        "    if crew.cache and shared:\n",
        "    if not crew and shared:\n",
    ),
    Mutation("a role may be in the wallet twice", CREWS, " or len(held) < len(wallet):", ":"),
    Mutation(
        "a default of a schema is lost",
        "core/remit/parameters.py",
        "                    if filled or kind not in _SCALARS:\n",
        "                    if kind not in _SCALARS:\n",
    ),
    # The tools
    Mutation(
        "a denial is raised",
        DECORATOR,
        "        except Denied as denied:\n            return answer(denied)\n        return answered_later",
        "        except Denied:\n            raise\n        return answered_later",
    ),
    Mutation(
        "a denial of what is awaited is raised",
        DECORATOR,
        "            return await result\n        except Denied as denied:\n            return answer(denied)",
        "            return await result\n        except Denied:\n            raise",
    ),
    Mutation(
        "a denial is mere text",
        TOOLS,
        'return ToolFailure(message=denied.reason, code="capability_denied", details=denied.to_dict())',
        "return str(denied.reason)",
    ),
    Mutation(
        "a denial has another code",
        TOOLS,
        'message=denied.reason, code="capability_denied"',
        "message=denied.reason, code=denied.code",
    ),
    Mutation("a denial has no details", TOOLS, ", details=denied.to_dict()", ""),
    Mutation(
        "a denial may be tried again",
        TOOLS,
        'code="capability_denied",',
        'code="capability_denied", retryable=True,',
    ),
    Mutation(
        "every error is a denial",
        DECORATOR,
        "            result = function(*args, **kwargs)\n        except Denied as denied:\n",
        '            result = function(*args, **kwargs)\n        except Exception as error:\n            denied = error if isinstance(error, Denied) else Denied("not_bound", str(error))\n',
    ),
    Mutation("results are cached", TOOLS, ", cache_function=never_cached)", ")"),
    Mutation(
        "what is cached has no name", TOOLS, "cache_function=never_cached", "cache_function=lambda *_: False"
    ),
    Mutation("func is not guarded", TOOLS, '(*_METHODS, "func")', "_METHODS"),
    Mutation(
        "_run is not guarded", TOOLS, '_METHODS: Final = ("_run", "_arun")', '_METHODS: Final = ("_arun",)'
    ),
    Mutation(
        "_arun is not guarded", TOOLS, '_METHODS: Final = ("_run", "_arun")', '_METHODS: Final = ("_run",)'
    ),
    Mutation(
        "the methods of the class are the original's",
        TOOLS,
        '        object.__setattr__(made, "__class__", like(made.__class__, methods, _forwarding, restored))\n',
        "        del methods, restored\n",
    ),
    Mutation(
        "crewai's own methods are guarded too",
        TOOLS,
        '"__module__", "") != BaseTool.__module__',
        '"__module__", "") != ""',
    ),
    Mutation(
        "a tool with its own run is taken",
        TOOLS,
        '_ENTRIES: Final = ("run", "arun", "to_structured_tool")',
        '_ENTRIES: Final = ("arun", "to_structured_tool")',
    ),
    Mutation(
        "a tool with its own structured tool is taken",
        TOOLS,
        '_ENTRIES: Final = ("run", "arun", "to_structured_tool")',
        '_ENTRIES: Final = ("run", "arun")',
    ),
    Mutation(
        "a tool may carry two credentials",
        TOOLS,
        "    if holder_of(given) is not None:",
        "    if given is None:",
    ),
    Mutation("the original is changed", TOOLS, "given.model_copy() if", "given if"),
    Mutation(
        "a coroutine function is none",
        DECORATOR,
        "    if inspect.iscoroutinefunction(inner):\n",
        "    if False:\n",
    ),
    Mutation(
        "the bare function can be reached", TOOLS, "    del forwarded.__wrapped__  # a way around\n", ""
    ),
    Mutation(
        "the signature is lost", TOOLS, '    vars(forwarded)["__signature__"] = signature(method)\n', ""
    ),
    Mutation("the register of classes keeps the guarded class", TOOLS, REGISTER, ""),
    Mutation("the class is not the original's", TOOLS, '"__qualname__": kind.__qualname__, ', ""),
    Mutation(
        "a class is made anew for each tool",
        TOOLS,
        '    if "__like__" in vars(kind):\n        return kind\n',
        "",
    ),
    Mutation(
        "a new tool of the class does the work",
        TOOLS,
        '            raise remit.ConfigError(f"tool {self.name!r} was made anew and carries no credential")',
        "            return method(self, *args, **kwargs)",
    ),
    Mutation(
        "guard_tools takes anything for a list",
        TOOLS,
        "    if not isinstance(tools, Sequence):",
        "    if tools is None:",
    ),
    Mutation("a function needs no docstring", TOOLS, " or not given.__doc__", ""),
    Mutation("names are not checked", TOOLS, "    binder.check_names(map(_name, tools))\n", ""),
    Mutation("what a tool declares is not looked at", TOOLS, "declared=declared, ", ""),
    Mutation(
        "the capability is not looked at",
        TOOLS,
        "guard, credential, capability=capability, **bearer",
        "guard, credential, **bearer",
    ),
    Mutation("the session is forgotten", TOOLS, '{"session": session, "task": task', '{"task": task'),
    Mutation("the task is forgotten", TOOLS, '{"session": session, "task": task', '{"session": session'),
    # The crew
    Mutation(
        "the tools of agents are not bound",
        CREWS,
        "    return [*distinct.values(), *tasks]",
        "    return tasks",
    ),
    Mutation(
        "the tools of tasks are not bound",
        CREWS,
        "    return [*distinct.values(), *tasks]",
        "    return [*distinct.values()]",
    ),
    Mutation(
        "an agent that only a task has is left out",
        CREWS,
        "[*crew.agents, *(task.agent for task in crew.tasks)]",
        "[*crew.agents]",
    ),
    Mutation(
        "in a hierarchy the tools of tasks are the workers'",
        CREWS,
        "crew.manager_agent if hierarchical else task.agent",
        "task.agent",
    ),
    Mutation(
        "a manager that is made has another role",
        CREWS,
        '"Crew Manager" if agent is None',
        '"Manager" if agent is None',
    ),
    Mutation(
        "a role is taken as the inputs make it",
        CREWS,
        '(getattr(agent, "_original_role", None) or agent.role)',
        "agent.role",
    ),
    Mutation("a role is taken with its line break", CREWS, "or agent.role).strip()", "or agent.role)"),
    Mutation(
        "an agent that is missing in the wallet is left alone",
        CREWS,
        "held.get(role, lambda: None)",
        "held.get(role) or next(iter(held.values()))",
    ),
    Mutation(
        "a name that the crew does not have is let pass",
        CREWS,
        "if (unknown := sorted(held.keys() - {role for _, role in owners})) or",
        'if (unknown := [""][1:]) or',
    ),
    Mutation(
        "a crew may be bound twice",
        CREWS,
        "    if any(holder_of(tool) is guard_crew for",
        "    if any(holder_of(tool) is owners for",
    ),
    Mutation(
        "what carries a credential is bound again",
        CREWS,
        "    return named if holder_of(tool) is None else None",
        "    return named",
    ),
    Mutation("what a tool declares is not bound", CREWS, " or remit.capability_of(tool)\n", "\n"),
    Mutation(
        "guard_crew takes anything",
        CREWS,
        "    if not isinstance(crew, Crew) or not isinstance(wallet, Mapping):",
        "    if crew is wallet:",
    ),
    Mutation(
        "a crew that cannot be bound is changed",
        CREWS,
        "    made = [_bound(tools, guard_crew, guard, credential, session=session) for credential, tools in lent]\n",
        "    made = [[] for _ in lent]\n    for (owner, role), (credential, tools) in zip(owners, lent, strict=True):\n        owner.tools = made[owners.index((owner, role))] = _bound(tools, guard_crew, guard, credential, session=session)\n",
    ),
    Mutation(
        "the session of a crew is forgotten",
        CREWS,
        "guard, credential, session=session) for",
        "guard, credential) for",
    ),
    Mutation(
        "what crewai adds runs with what is around",
        CREWS,
        SCOPED,
        "        like(type(task), _RUNS, _begun_anew)\n    return crew",
    ),
    # The grant
    Mutation("a run of a task opens nothing", CREWS, GRANTED, "    return task"),
    Mutation("a synchronous run opens nothing", CREWS, RUN, "        if self:\n            return method"),
    Mutation(
        "an asynchronous run opens nothing", CREWS, RUN_ASYNC, "        if self:\n            return await"
    ),
    Mutation(
        "an asynchronous run is none", CREWS, "run_async if iscoroutinefunction(method) else run", "run"
    ),
    Mutation("a run keeps what is around", CREWS, "        stack.enter_context(remit.unbound())\n", ""),
    Mutation(
        "the child is lent for good",
        CREWS,
        "        stack.callback(_lent.reset, _lent.set(lent))\n",
        "        _lent.set({**_lent.get({}), **lent})\n",
    ),
    Mutation(
        "a run within a run keeps the children of the outer",
        CREWS,
        "_lent.set(lent)",
        "_lent.set({**_lent.get({}), **lent})",
    ),
    Mutation("a child is for any run", CREWS, "grant(task=str(task.id))", 'grant(task="trial")'),
    Mutation("the task of a call is not said", CREWS, "session=session, task=task_id)", "session=session)"),
    Mutation("the parent is lent itself", CREWS, "lambda: _lent.get({}).get(grant)", "credential"),
    Mutation(
        "a child is neither closed nor revoked",
        CREWS,
        "stack.enter_context(grant(task=str(task.id)))",
        "grant(task=str(task.id)).__enter__()",
    ),
    Mutation(
        "a grant is not tried",
        CREWS,
        '    credential.delegate(**terms, task="trial").close()',
        '    dict(**terms, task="trial")',
    ),
    Mutation("a grant is tried for no task", CREWS, 'delegate(**terms, task="trial")', "delegate(**terms)"),
    Mutation("a grant is all that the credential has", CREWS, "if each.name in needed]", "if each.name]"),
    Mutation(
        "an empty grant is the default",
        CREWS,
        "own if capabilities is None else capabilities",
        "capabilities or own",
    ),
    Mutation("a grant may be for no tool", CREWS, "    if not needed:", "    if needed is None:"),
    Mutation(
        "grant_task takes anything",
        CREWS,
        "    if not isinstance(task, Task) or not isinstance(credential, remit.Credential):",
        "    if task is credential:",
    ),
    Mutation(
        "the class of a task is another", TOOLS, 'body |= {"__module__": kind.__module__, ', "body |= {"
    ),
    # The ways
    Mutation(
        "the framework is imported to look at a tool",
        WAYS,
        'crewai = sys.modules.get("crewai.tools")',
        'crewai = __import__("crewai.tools").tools',
    ),
    Mutation("anything is a tool", WAYS, " or not isinstance(tool, crewai.BaseTool)", ""),
    Mutation(
        "positions are not tried", WAYS, "partial(_call, function, order)", "partial(_call, function, [])"
    ),
    # The package
    Mutation("the extra is not named", INIT, ": pip install 'remit[crewai]'", ""),
    Mutation(
        "all that is missing is put down to the framework",
        INIT,
        '.partition(".")[0] != "crewai"',
        '.partition(".")[0] == ""',
    ),
    Mutation(
        "a name that is not there is looked for",
        INIT,
        "    if name not in _HOMES:",
        '    if name.startswith("_"):',
    ),
    # What the core does for it
    Mutation(
        "unbound leaves things bound", BINDING, "return BoundScope(None)", "return BoundScope(_current.get())"
    ),
    Mutation(
        "the body of a tool runs with its binding",
        BINDING,
        "None if self.capability is not None else Binding(self.admit, None, self.waits)",
        "Binding(self.admit, self.capability, self.waits)",
    ),
    Mutation(
        "where nothing is lent the binding around counts",
        LENDER,
        "            return unbound()\n",
        '            return BoundScope(__import__("remit").binding.current_binding())\n',
    ),
    Mutation(
        "a tool may be decorated by halves", BINDER, "if len(marks) > 1:", "if len(marks - {None}) > 1:"
    ),
    Mutation(
        "a bound tool can be reached bare",
        DECORATOR,
        "    wrapper.__signature__ = signature\n",
        "    wrapper.__signature__ = signature\n    wrapper.__wrapped__ = function\n",
    ),
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], MUTATIONS, tests=HERE, sources=SOURCES))
