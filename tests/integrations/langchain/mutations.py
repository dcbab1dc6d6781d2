"""Takes the mechanisms away one by one and looks which test notices.

    python tests/integrations/langchain/mutations.py [WORD…]

Each mutation is one small edit of a copy of the sources; the tests beside this file run against the copy, and must
fail. Words choose the mutations whose names have them. Exit status: 0 when every mutation was caught.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[2]
SOURCES: Final = ("core/remit", "integrations/remit_langchain")
MIDDLEWARE: Final = "integrations/remit_langchain/middleware.py"
TOOLS: Final = "integrations/remit_langchain/tools.py"
CACHE: Final = "integrations/remit_langchain/cache.py"
INIT: Final = "integrations/remit_langchain/__init__.py"
BINDING: Final = "core/remit/binding.py"
DECORATOR: Final = "core/remit/decorator.py"
INVOCATION: Final = "core/remit/invocation.py"
PARAMETERS: Final = "core/remit/parameters.py"
LAST_LINE: Final = "    return [_guarded("
SHOWN: Final = "(request.override(tool=show_denials(tool)) if self._shown else request)"
SYNC: Final = "return super().run(*args, tool_call_id=tool_call_id, **kwargs)\n        except "
ASYNC: Final = "return await super().arun(*args, tool_call_id=tool_call_id, **kwargs)\n        except "


@dataclass(frozen=True)
class Mutation:
    """One edit: `old`, which is in `path` exactly once, becomes `new`."""

    name: str
    path: str
    old: str
    new: str


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
        "return request, remit.unbound()",
        'return request, __import__("contextlib").nullcontext()',
    ),
    Mutation(
        "an undecorated tool gets the credential",
        MIDDLEWARE,
        "return request, remit.unbound()",
        "return request, self._guard.acting_as(self._credential)",
    ),
    Mutation("the binding is for a block, not for one call", MIDDLEWARE, '"capability": capability, ', ""),
    Mutation("the session is forgotten", MIDDLEWARE, '"session": self._session', '"session": None'),
    Mutation("the task is forgotten", MIDDLEWARE, '"task": self._task', '"task": None'),
    Mutation("denials are not shown where the tool is run", MIDDLEWARE, SHOWN, "request"),
    Mutation(
        "denials are shown although they should be raised",
        MIDDLEWARE,
        SHOWN,
        "request.override(tool=show_denials(tool))",
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
        "the middleware takes any guard and credential",
        MIDDLEWARE,
        "        check_setting(guard, credential, exit_behavior)\n",
        "",
    ),
    Mutation(
        "the token is put into the configuration",
        MIDDLEWARE,
        "        tool = request.tool\n",
        "        tool = request.tool\n"
        '        request.runtime.config.setdefault("metadata", {})["t"] = self._credential.token\n',
    ),
    Mutation(
        "the token is put into the messages",
        MIDDLEWARE,
        'return answer(denied, request.tool_call["name"], request.tool_call["id"] if self._shown else None)',
        "raise remit.Denied(denied.code, self._credential.token)",
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
        '(_Carrying, _Showing) if exit_behavior == "continue" else (_Carrying,)',
        "(_Carrying, _Showing)",
    ),
    Mutation(
        "guard_tools takes any guard and credential",
        TOOLS,
        "    check_setting(guard, credential, exit_behavior)\n",
        "",
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
        "if not routes or any(_own(kind, name) for name in _ENTRIES):",
        "if not routes:",
    ),
    Mutation("a tool without functions is taken", TOOLS, "if not routes or any", "if any"),
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
    Mutation("a tool may be decorated by halves", TOOLS, "if len(marks) > 1:", "if len(marks - {None}) > 1:"),
    Mutation(
        "a tool may have two capabilities",
        TOOLS,
        "if len(marks) > 1:",
        "if len(marks) > 1 and None in marks:",
    ),
    Mutation("a given capability is not looked at", TOOLS, "in (named, mark,", "in (mark,"),
    Mutation("the decoration is not looked at", TOOLS, "in (named, mark,", "in (named,"),
    Mutation("what a tool declares is not looked at", TOOLS, "declared, tool.name)", "tool.name)"),
    Mutation(
        "a guarded tool does not say for what", TOOLS, '{"__capability__": capability, **methods}', "methods"
    ),
    Mutation("a capability may be given to no tool", TOOLS, " or named.keys() - made.keys()", ""),
    Mutation("one capability is for all tools", TOOLS, " and len(made) != 1:", " and not made:"),
    Mutation("a name may be given twice", TOOLS, "len(made) < len(tools) or ", ""),
    Mutation(
        "session and task are not bound", TOOLS, "session=session, task=task", "session=None, task=None"
    ),
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
        "    for each in made.values():\n"
        '        each.metadata = {**(each.metadata or {}), "t": credential.token}\n' + LAST_LINE,
    ),
    Mutation(
        "the credential is kept in a private attribute",
        TOOLS,
        LAST_LINE,
        "    for each in made.values():\n"
        "        private = each.__pydantic_private__\n"
        '        object.__setattr__(each, "__pydantic_private__", {**(private or {}), "t": credential.to_json()})\n'
        + LAST_LINE,
    ),
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
        "from .tools import guard_tools\n_HOMES =",
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
        DECORATOR,
        "guard.acting_as(credential, capability=name, session",
        "guard.acting_as(credential, session",
    ),
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


def attempt(mutation: Mutation | None) -> str | None:
    """The first test that fails with the mutation; `None` when none does.

    Raises:
        LookupError: the source is no longer what the mutation was written for, or does not run at all.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in SOURCES:
            shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
        if mutation is not None:
            path = folder / mutation.path
            text = path.read_text(encoding="utf-8")
            if (count := text.count(mutation.old)) != 1:
                raise LookupError(f"{mutation.path} has {count} times {mutation.old!r}")
            path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        paths = os.pathsep.join(str((folder / source).parent) for source in SOURCES)
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider", "--tb=no", str(HERE)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    failed = re.search(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    if failed is None:
        raise LookupError(done.stdout[-1_000:] + done.stderr[-1_000:])
    return failed.group(1).partition("langchain/")[2]


def verdict(mutation: Mutation | None) -> tuple[bool, str]:
    """Whether all is well with a mutation, and what to say of it."""
    name = "nothing taken away" if mutation is None else mutation.name
    try:
        caught = attempt(mutation)
    except LookupError as error:
        return False, f"{name}\n    CANNOT BE TRIED: {error}"
    return (caught is None) == (mutation is None), f"{name}\n    {caught or 'no test fails'}"


def main(words: list[str]) -> int:
    """Try the mutations that the words choose, and none at all; the exit status."""
    chosen = [mutation for mutation in MUTATIONS if all(word in mutation.name for word in words)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = 0
        for well, text in pool.map(verdict, [None, *chosen]):
            wrong += not well
            sys.stdout.write(f"{'  ' if well else '! '}{text}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} mutations, {wrong} not as they should be\n")
    return 1 if wrong or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
