"""The mechanisms of the LangChain adapter, to be taken away one by one: does a test notice?

    python tests/integrations/langchain/mutations.py [WORD…]

`tests/integrations/mutation.py` says how that is done.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
if not __package__:  # run as a script
    sys.path.append(str(HERE.parents[1]))
    __package__ = "integrations.langchain"

from ..mutation import Mutation, main  # noqa: E402, TID252 - one engine for the tables of all adapters

SOURCES: Final = ("core/remit", "integrations/remit_langchain")
MIDDLEWARE: Final = "integrations/remit_langchain/middleware.py"
TOOLS: Final = "integrations/remit_langchain/tools.py"
WAYS: Final = "integrations/remit_langchain/ways.py"
CACHE: Final = "integrations/remit_langchain/cache.py"
INIT: Final = "integrations/remit_langchain/__init__.py"
BINDER: Final = "core/remit/binder.py"
LENDER: Final = "core/remit/lender.py"
BINDING: Final = "core/remit/binding.py"
DECORATOR: Final = "core/remit/decorator.py"
INVOCATION: Final = "core/remit/invocation.py"
PARAMETERS: Final = "core/remit/parameters.py"
LAST_LINE: Final = "    return [_guarded("
AROUND: Final = "return request, self._binder.around(capability)"
SHOWN: Final = "capability is not None and self._shown:"
SYNC: Final = "return super().run(*args, tool_call_id=tool_call_id, **kwargs)\n        except "
ASYNC: Final = "return await super().arun(*args, tool_call_id=tool_call_id, **kwargs)\n        except "


MUTATIONS: Final = (
    # The middleware
    Mutation(
        "the synchronous wrap binds nothing",
        MIDDLEWARE,
        "with binding:\n                return handler",
        "if binding:\n                return handler",
    ),
    Mutation(
        "the asynchronous wrap binds nothing",
        MIDDLEWARE,
        "with binding:\n                return await",
        "if binding:\n                return await",
    ),
    Mutation("there is no synchronous wrap", MIDDLEWARE, "def wrap_tool_call", "def wrap_call"),
    Mutation("there is no asynchronous wrap", MIDDLEWARE, "def awrap_tool_call", "def awrap_call"),
    Mutation(
        "an undecorated tool keeps what is around",
        MIDDLEWARE,
        AROUND,
        'return request, __import__("contextlib").nullcontext() if capability is None else self._binder.around('
        "capability)",
    ),
    Mutation(
        "an undecorated tool gets the credential",
        MIDDLEWARE,
        AROUND,
        "return request, self._binder._lender._guard.acting_as(self._binder._lender._credential, "
        "capability=capability, session=self._binder._lender._session, task=self._binder._lender._task)",
    ),
    Mutation(
        "the session is forgotten", MIDDLEWARE, "credential, session=session,", "credential, session=None,"
    ),
    Mutation("the task is forgotten", MIDDLEWARE, ", task=task)", ", task=None)"),
    Mutation("denials are not shown where the tool is run", MIDDLEWARE, SHOWN, "capability == 0:"),
    Mutation(
        "denials are shown although they should be raised", MIDDLEWARE, SHOWN, "capability is not None:"
    ),
    Mutation(
        "exit_behavior is not looked at",
        MIDDLEWARE,
        'request.tool_call["id"] if self._shown else None',
        'request.tool_call["id"]',
    ),
    Mutation(
        "a denial from an undecorated tool is not converted (sync)",
        MIDDLEWARE,
        "return handler(seen)\n        except remit.Denied",
        "return handler(seen)\n        except ZeroDivisionError",
    ),
    Mutation(
        "a denial from an undecorated tool is not converted (async)",
        MIDDLEWARE,
        "return await handler(seen)\n        except remit.Denied",
        "return await handler(seen)\n        except ZeroDivisionError",
    ),
    Mutation(
        "every error is a denial",
        MIDDLEWARE,
        "return handler(seen)\n        except remit.Denied as denied:\n",
        "return handler(seen)\n        except Exception as error:\n"
        "            denied = error if isinstance(error, remit.Denied) else remit.Denied('not_bound', str(error))\n",
    ),
    Mutation(
        "exit_behavior of the middleware may be anything",
        MIDDLEWARE,
        "is_shown(exit_behavior)",
        'exit_behavior == "continue"',
    ),
    Mutation(
        "the token is put into the configuration",
        MIDDLEWARE,
        "        tool = request.tool\n",
        "        tool = request.tool\n"
        '        request.runtime.config.setdefault("metadata", {})["t"] = self._binder._lender._credential.token\n',
    ),
    Mutation(
        "the token is put into the messages",
        MIDDLEWARE,
        'return answer(denied, request.tool_call["name"], request.tool_call["id"] if self._shown else None)',
        "raise remit.Denied(denied.code, self._binder._lender._credential.token)",
    ),
    # The tools
    Mutation(
        "the synchronous run does not show denials", TOOLS, SYNC + "remit.Denied", SYNC + "ZeroDivisionError"
    ),
    Mutation(
        "the asynchronous run does not show denials",
        TOOLS,
        ASYNC + "remit.Denied",
        ASYNC + "ZeroDivisionError",
    ),
    Mutation("a denial is an answer without a call", TOOLS, "if call_id is None:", "if call_id is False:"),
    Mutation("a denial is a success", TOOLS, 'status="error"', 'status="success"'),
    Mutation("a denial has no artifact", TOOLS, ", artifact=denied.to_dict()", ""),
    Mutation("a denial says no code", TOOLS, 'f"{denied.reason} [{denied.code}]"', "denied.reason"),
    Mutation(
        "exit_behavior of guard_tools is not looked at",
        TOOLS,
        "(_Carrying, _Showing) if is_shown(exit_behavior) else (_Carrying,)",
        "(_Carrying, _Showing)",
    ),
    Mutation(
        "exit_behavior may be anything",
        TOOLS,
        'if exit_behavior not in ("continue", "error"):',
        "if exit_behavior is None:",
    ),
    Mutation(
        "guard_tools takes anything for a list",
        TOOLS,
        "if isinstance(tools, BaseTool) or not isinstance(tools, Sequence):",
        "if tools is None:",
    ),
    Mutation("what is no tool is taken for one", TOOLS, "if not callable(given):", "if given is None:"),
    Mutation(
        "func is not guarded",
        TOOLS,
        "if name in _FUNCTIONS}\n    return",
        'if name == "coroutine"}\n    return',
    ),
    Mutation(
        "coroutine is not guarded",
        TOOLS,
        "if name in _FUNCTIONS}\n    return",
        'if name == "func"}\n    return',
    ),
    Mutation("_run is not guarded", TOOLS, "if name in _METHODS}", 'if name == "_arun"}'),
    Mutation("_arun is not guarded", TOOLS, "if name in _METHODS}", 'if name == "_run"}'),
    Mutation(
        "langchain-core's own methods are guarded too",
        TOOLS,
        'return not getattr(getattr(kind, name), "__module__", "").startswith("langchain_core.")',
        'return name in ("_run", "_arun")',
    ),
    Mutation(
        "a tool with its own invoke is taken",
        TOOLS,
        "if any(_own(kind, name) for name in _ENTRIES):",
        "if kind is None:",
    ),
    Mutation(
        "a tool may carry two credentials",
        TOOLS,
        "    if isinstance(tool, _Carrying):\n        raise",
        "    if isinstance(tool, str):\n        raise",
    ),
    Mutation(
        "the middleware binds around tools that carry",
        TOOLS,
        "{} if isinstance(tool, _Carrying) else _routes(tool)",
        "_routes(tool)",
    ),
    Mutation(
        "what a tool declares is not looked at", TOOLS, "declared=remit.capability_of(tool)", "declared=None"
    ),
    Mutation(
        "a guarded tool does not say for what", TOOLS, '{"__capability__": capability, **methods}', "methods"
    ),
    Mutation("names are not looked at", TOOLS, "    binder.check_names(tool.name for tool in made)\n", ""),
    Mutation("a given capability is not passed on", TOOLS, "capability=capability, session", "session"),
    Mutation("session and task are not bound", TOOLS, ", session=session, task=task)", ")"),
    Mutation("the new tool shares what is private", TOOLS, "copied = tool.model_copy()", "copied = tool"),
    Mutation("the middleware runs a copy of the tool", TOOLS, "tool, vars(tool))", "tool, dict(vars(tool)))"),
    Mutation(
        "the class is not the original's",
        TOOLS,
        'body = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, **methods}',
        "body = dict(methods)",
    ),
    Mutation(
        "the token is put into the metadata",
        TOOLS,
        LAST_LINE,
        "    for each in made:\n"
        '        each.metadata = {**(each.metadata or {}), "t": credential.token}\n' + LAST_LINE,
    ),
    Mutation(
        "the credential is kept in a private attribute",
        TOOLS,
        LAST_LINE,
        "    for each in made:\n"
        "        private = each.__pydantic_private__\n"
        '        object.__setattr__(each, "__pydantic_private__", {**(private or {}), "t": credential.to_json()})\n'
        + LAST_LINE,
    ),
    # The ways to reach a tool
    Mutation("an asynchronous tool has no synchronous way", WAYS, "sync = bool(", "sync = True or bool("),
    Mutation(
        "a tool class has no synchronous way", WAYS, ' or not written.startswith("langchain_core.")', ""
    ),
    Mutation(
        "a copy is not a way", WAYS, '    yield "deepcopy", lambda given: deepcopy(tool).invoke(given)\n', ""
    ),
    Mutation(
        "the bare function is not a way",
        WAYS,
        '("func", "coroutine", "_run", "_arun") if',
        '("_run", "_arun") if',
    ),
    Mutation("the class is not a way", WAYS, 'if name in ("_run", "_arun"):', 'if name == "func":'),
    Mutation("what is wrapped is not a way", WAYS, 'getattr(function, "__wrapped__", None)', "None"),
    Mutation("by position is by name", WAYS, "names)] if order else []", "names)] if not names else []"),
    Mutation(
        "positions go by the mapping", WAYS, "names = order if given.keys() <= set(order) else", "names ="
    ),
    Mutation("an asynchronous way is not run", WAYS, "if not iscoroutine(result):", "if result is not None:"),
    Mutation(
        "an asynchronous way is run in an empty context",
        WAYS,
        "copy_context().run, asyncio.run,",
        "asyncio.run,",
    ),
    Mutation("a way changes the arguments", WAYS, "result = way(dict(arguments))", "result = way(arguments)"),
    # The cache
    Mutation("the key does not hold the credential", CACHE, "sha256(salt + (given", "sha256((given"),
    Mutation(
        "a closed credential is served", CACHE, "token_bytes(32) if credential.closed else holder", "holder"
    ),
    Mutation("the key is not a digest", CACHE, "return sha256(salt + (", "return (salt + ("),
    Mutation("the key is a short digest", CACHE, ".hexdigest()", ".hexdigest()[:16]"),
    Mutation("the ttl is forgotten", CACHE, ", ttl=ttl)", ")"),
    Mutation(
        "there need be no credential",
        CACHE,
        "if not isinstance(credential, Credential):",
        "if credential is False:",
    ),
    # The package
    Mutation(
        "the frameworks are imported at once",
        INIT,
        "_HOMES: Final =",
        "from .tools import guard_tools\n_HOMES: Final =",
    ),
    Mutation("the extra is not named", INIT, ": pip install 'remit[langchain]'", ""),
    Mutation(
        "all that is missing is put down to the frameworks", INIT, '.startswith("lang")', '.startswith("")'
    ),
    Mutation(
        "a name that is not there is looked for", INIT, "if name not in _HOMES:", "if name.startswith('_'):"
    ),
    # What the core does for it
    Mutation(
        "unbound leaves things bound", BINDING, "return BoundScope(None)", "return BoundScope(_current.get())"
    ),
    Mutation(
        "a binding for one capability serves another",
        INVOCATION,
        "binding.capability not in {None, self.capability}:",
        "binding.capability == self.capability * 2:",
    ),
    Mutation(
        "the body of a tool runs with its binding",
        BINDING,
        "None if self.capability is not None else Binding(self.admit, None, self.waits)",
        "Binding(self.admit, self.capability, self.waits)",
    ),
    Mutation(
        "a bound tool lends its credential to its body",
        LENDER,
        "acting_as(credential, capability=capability, session",
        "acting_as(credential, session",
    ),
    Mutation(
        "a tool may be decorated by halves", BINDER, "if len(marks) > 1:", "if len(marks - {None}) > 1:"
    ),
    Mutation(
        "a tool may have two capabilities",
        BINDER,
        "if len(marks) > 1:",
        "if len(marks) > 1 and None in marks:",
    ),
    Mutation(
        "a given capability is not looked at", BINDER, "(self._named.get(name), self.mark", "(self.mark"
    ),
    Mutation("the decoration is not looked at", BINDER, "self.mark(name, routes), declared", "declared"),
    Mutation("a capability may be given to no tool", BINDER, " or self._named.keys() - set(names)", ""),
    Mutation("one capability is for all tools", BINDER, "if len(names) != 1:", "if not names:"),
    Mutation("a name may be given twice", BINDER, "len(set(names)) < len(names) or ", ""),
    Mutation("a tool without functions is taken", BINDER, "if not routes:", "if routes is None:"),
    Mutation(
        "no credential is needed",
        LENDER,
        "if not isinstance(credential, Credential) and not callable(credential):",
        "if credential == 0:",
    ),
    Mutation("no guard is needed", LENDER, "if not isinstance(guard, Guard):", "if guard == 0:"),
    Mutation(
        "a guarded coroutine is none",
        DECORATOR,
        "async def guarded_async(*args: Any, **kwargs: Any) -> Any:\n            return await (await Invocation.begun(tool, tool.binding(), args, kwargs)).coroutine()",
        "def guarded_async(*args: Any, **kwargs: Any) -> Any:\n            return Invocation(tool, tool.binding(), args, kwargs).coroutine()",
    ),
    Mutation(
        "the bare function can be reached",
        DECORATOR,
        "    wrapper.__signature__ = signature\n",
        "    wrapper.__signature__ = signature\n    wrapper.__wrapped__ = function\n",
    ),
    Mutation(
        "a secret is a parameter like others",
        PARAMETERS,
        "if isinstance(parameter.default, SecretParameter):\n                self._add_secret",
        "if parameter is None:\n                self._add_secret",
    ),
    Mutation(
        "what is injected is an argument",
        PARAMETERS,
        "            self.injected = (*self.injected, name)\n",
        "            pass\n",
    ),
    Mutation(
        "annotations stay strings",
        PARAMETERS,
        "return get_type_hints(target, include_extras=True)",
        'return dict(getattr(target, "__annotations__", {}))',
    ),
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], MUTATIONS, tests=HERE, sources=SOURCES))
