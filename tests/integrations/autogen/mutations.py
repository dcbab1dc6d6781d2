"""The mechanisms of the AutoGen adapter, to be taken away one by one: does a test notice?

    python tests/integrations/autogen/mutations.py [WORD…]

`tests/integrations/mutation.py` says how that is done.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
if not __package__:  # run as a script
    sys.path.append(str(HERE.parents[1]))
    __package__ = "integrations.autogen"

from ..mutation import Mutation, main  # noqa: E402, TID252 - one engine for the tables of all adapters

SOURCES: Final = ("core/remit", "integrations/remit_autogen")
WORKBENCH: Final = "integrations/remit_autogen/workbench.py"
TOOLS: Final = "integrations/remit_autogen/tools.py"
HANDOFFS: Final = "integrations/remit_autogen/handoffs.py"
WAYS: Final = "integrations/remit_autogen/ways.py"
INIT: Final = "integrations/remit_autogen/__init__.py"
BINDER: Final = "core/remit/binder.py"
BINDING: Final = "core/remit/binding.py"
DECORATOR: Final = "core/remit/decorator.py"
INVOCATION: Final = "core/remit/invocation.py"
PARAMETERS: Final = "core/remit/parameters.py"
NOTHING: Final = '__import__("contextlib").nullcontext()'
STEP: Final = "with remit.unbound():\n                    item"
CLOSING: Final = "with remit.unbound():\n                await stream.aclose()"
WHOLE: Final = "with remit.unbound():\n            return await super()"
SHARED: Final = "if _FUNCTION in bound else vars(tool)"

MUTATIONS: Final = (
    # The workbench
    Mutation(
        "what is around a call stays around it", WORKBENCH, WHOLE, WHOLE.replace("remit.unbound()", NOTHING)
    ),
    Mutation(
        "what is around a stream is around each step",
        WORKBENCH,
        STEP,
        STEP.replace("remit.unbound()", NOTHING),
    ),
    Mutation(
        "what is around a stream is around its end",
        WORKBENCH,
        CLOSING,
        CLOSING.replace("remit.unbound()", NOTHING),
    ),
    Mutation(
        "between two items nothing is bound",
        WORKBENCH,
        "                yield item.model_copy",
        "                with remit.unbound():\n                    yield item.model_copy",
    ),
    Mutation(
        "a stream that is left is not closed",
        WORKBENCH,
        CLOSING,
        CLOSING.replace("await stream.aclose()", "pass"),
    ),
    Mutation(
        "a decorated tool carries nothing",
        WORKBENCH,
        "return tool if bare else carrying(tool, binder)",
        "return tool",
    ),
    Mutation(
        "a tool without a capability gets the credential",
        WORKBENCH,
        "return tool if bare else carrying(tool, binder)",
        "return tool if isinstance(tool, Carrying) else carrying(tool, binder)",
    ),
    Mutation(
        "a tool that carries its credential is bound again",
        WORKBENCH,
        "bare = isinstance(tool, Carrying) or ",
        "bare = ",
    ),
    Mutation(
        "a stream knows no other names",
        WORKBENCH,
        "original = self._override_name_to_original.get(name, name)",
        "original = name",
    ),
    Mutation(
        "a stream answers under the first name",
        WORKBENCH,
        '.model_copy(update={"name": name})',
        ".model_copy()",
    ),
    Mutation(
        "the overrides are forgotten", WORKBENCH, "(tools, binder)], tool_overrides)", "(tools, binder)])"
    ),
    Mutation("the session is forgotten", WORKBENCH, "session=session", "session=None"),
    Mutation("the task is forgotten", WORKBENCH, "task=task", "task=None"),
    Mutation(
        "the token of cancellation is lost",
        WORKBENCH,
        "await super().call_tool(name, arguments, cancellation_token, call_id)",
        "await super().call_tool(name, arguments, None, call_id)",
    ),
    Mutation(
        "the token of cancellation is lost in a stream",
        WORKBENCH,
        "super().call_tool_stream(original, arguments, cancellation_token, call_id)",
        "super().call_tool_stream(original, arguments, None, call_id)",
    ),
    Mutation(
        "the workbench is dumped", WORKBENCH, "(NotDumped, StaticStreamWorkbench)", "(StaticStreamWorkbench)"
    ),
    Mutation(
        "the workbench does not stream",
        WORKBENCH,
        "    async def call_tool_stream(",
        "    async def call_stream(",
    ),
    Mutation(
        "a denial is raised",
        WORKBENCH,
        "            return await super().call_tool(",
        "            for tool in self._tools:\n                if tool.name == name:\n"
        "                    await tool.run_json(arguments or {}, CancellationToken())\n"
        "            return await super().call_tool(",
    ),
    Mutation(
        "a denial is raised from a stream",
        WORKBENCH,
        "                    item = await anext(stream, stream)\n",
        "                    item = await anext(stream, stream)\n"
        "                if getattr(item, 'is_error', False):\n                    raise PermissionError\n",
    ),
    # Tools that carry their credential
    Mutation("a dump has only what AutoGen makes of it", TOOLS, "    dump_component = _to_config\n", ""),
    Mutation(
        "a tool has the provider of its class",
        TOOLS,
        "    component_provider_override: ClassVar[Any] = None\n\n",
        "",
    ),
    Mutation("a guarded tool is dumped", TOOLS, "class Carrying(NotDumped):", "class Carrying:"),
    Mutation(
        "a function keeps its old self",
        TOOLS,
        "vars(tool) | {_FUNCTION: bound[_FUNCTION]} " + SHARED,
        "vars(tool)",
    ),
    Mutation(
        "the original is changed",
        TOOLS,
        "seen.__dict__ = vars(tool) | {_FUNCTION: bound[_FUNCTION]} " + SHARED,
        "vars(tool).update({n: f for n, f in bound.items() if n == _FUNCTION}); seen.__dict__ = vars(tool)",
    ),
    Mutation(
        "a guarded tool has a state of its own", TOOLS, SHARED, "if _FUNCTION in bound else dict(vars(tool))"
    ),
    Mutation(
        "a method is not replaced",
        TOOLS,
        "{name: staticmethod(method) for name, method in methods.items()}",
        "{}",
    ),
    Mutation(
        "a run is not replaced",
        TOOLS,
        "for name, method in methods.items()}",
        'for name, method in methods.items() if name != "run"}',
    ),
    Mutation(
        "a stream is not replaced",
        TOOLS,
        "for name, method in methods.items()}",
        'for name, method in methods.items() if name == "run"}',
    ),
    Mutation("a copy is of what is there", TOOLS, '"__copy__": copied, ', ""),
    Mutation("a deep copy is of what is there", TOOLS, ', "__deepcopy__": deepcopied', ""),
    Mutation("a copy carries nothing", TOOLS, "return carrying(copy(tool), binder)", "return copy(tool)"),
    Mutation(
        "a deep copy carries nothing",
        TOOLS,
        "return carrying(deepcopy(tool, memo), binder)",
        "return deepcopy(tool, memo)",
    ),
    Mutation(
        "the arguments of a class are one",
        TOOLS,
        "by_field = {} if decorated else {",
        "by_field = {} if kind else {",
    ),
    Mutation("a decorated method is taken apart", TOOLS, "by_field = {} if decorated else {", "by_field = {"),
    Mutation("a tool is guarded twice", TOOLS, "if isinstance(tool, Carrying):", "if tool is None:"),
    Mutation(
        "who overrides run_json is not refused",
        TOOLS,
        '_ENTRIES: Final = ("run_json", "run_json_stream")',
        '_ENTRIES: Final = ("run_json_stream",)',
    ),
    Mutation(
        "who overrides run_json_stream is not refused",
        TOOLS,
        '_ENTRIES: Final = ("run_json", "run_json_stream")',
        '_ENTRIES: Final = ("run_json",)',
    ),
    Mutation(
        "who replaces a method is not refused",
        TOOLS,
        "if replaced or vars(tool).keys() & {*_METHODS, *_ENTRIES}:",
        "if replaced:",
    ),
    Mutation(
        "run is no way to a tool",
        TOOLS,
        '_METHODS: Final = ("run", "run_stream")',
        '_METHODS: Final = ("run_stream",)',
    ),
    Mutation(
        "run_stream is no way to a tool",
        TOOLS,
        '_METHODS: Final = ("run", "run_stream")',
        '_METHODS: Final = ("run",)',
    ),
    Mutation(
        "a function tool's own run is no way to it", TOOLS, "    return found | {", "    return found or {"
    ),
    Mutation(
        "a decorated function is bound in run as well",
        TOOLS,
        "            return found  # whatever",
        "            pass  # whatever",
    ),
    Mutation(
        "the capability that a tool declares is not asked for",
        TOOLS,
        "declared=remit.capability_of(tool)",
        "declared=None",
    ),
    Mutation(
        "a tool does not say its capability",
        TOOLS,
        '    body["__capability__"] = remit.capability_of(next(iter(bound.values())))\n',
        "",
    ),
    Mutation(
        "the class is not the original's",
        TOOLS,
        '"__module__": kind.__module__, "__qualname__": kind.__qualname__',
        '"__module__": __name__',
    ),
    Mutation(
        "the tool is not of the original's class",
        TOOLS,
        "(kind.__name__, (Carrying, kind), body)",
        '("Guarded", (Carrying, kind), body)',
    ),
    Mutation(
        "the capability that was named is not passed on",
        TOOLS,
        "capability=capability, session",
        "capability=None, session",
    ),
    Mutation("the session of a tool is forgotten", TOOLS, "session=session", "session=None"),
    Mutation("the task of a tool is forgotten", TOOLS, "task=task", "task=None"),
    Mutation("names are not checked", TOOLS, "    binder.check_names(tool.name for tool in made)\n", ""),
    Mutation("anything is a list", TOOLS, "if not isinstance(given, Sequence):", "if given is None:"),
    Mutation(
        "what AutoGen makes no tool of is AutoGen's error",
        TOOLS,
        "except Exception as error:",
        "except AttributeError as error:",
    ),
    Mutation("the description is lost", TOOLS, 'each.__doc__ or ""', '""'),
    Mutation(
        "defaults count as passed",
        TOOLS,
        "default: Any = Parameter.empty if absent else",
        "default: Any = Parameter.empty if field else",
    ),
    Mutation(
        "an empty list counts as passed", TOOLS, "factory not in (None, list, dict)", "factory is not None"
    ),
    Mutation(
        "what a factory made may be missing",
        TOOLS,
        "field.is_required() or factory not in (None, list, dict)",
        "field.is_required()",
    ),
    Mutation(
        "names are taken for parameters as they are", TOOLS, " if n.isidentifier() and not iskeyword(n)]", "]"
    ),
    Mutation("keywords are taken for parameters", TOOLS, " and not iskeyword(n)", ""),
    Mutation(
        "arguments of another class lose what is more",
        TOOLS,
        "for n, v in given if",
        "for n, v in ((n, getattr(given, n)) for n in model.model_fields) if",
    ),
    Mutation(
        "arguments need not be validated",
        TOOLS,
        "given = args if isinstance(args, model) else model.model_validate(args)",
        "given = args",
    ),
    Mutation(
        "which fields were set is forgotten",
        TOOLS,
        "model_construct(around[1], **_fields), around[0])\n\n",
        "model_construct(**_fields), around[0])\n\n",
    ),
    Mutation(
        "which fields were set is forgotten in a stream",
        TOOLS,
        "aclosing(method(model.model_construct(around[1], **_fields), around[0]))",
        "aclosing(method(model.model_construct(**_fields), around[0]))",
    ),
    Mutation(
        "what was set is the caller's own", TOOLS, "set(given.model_fields_set)", "given.model_fields_set"
    ),
    Mutation(
        "a default that nobody set is passed",
        TOOLS,
        " if n in passed or defaults.get(n, Parameter.empty) != v}",
        "}",
    ),
    Mutation("what nobody set is left out", TOOLS, " or defaults.get(n, Parameter.empty) != v}", "}"),
    Mutation(
        "the name of what is around a call can be guessed",
        TOOLS,
        'f"_{token_hex(16)}"',
        '"_cancellation"',
    ),
    Mutation(
        "the run of a class gets no token",
        TOOLS,
        "return await method(model.model_construct(around[1], **_fields), around[0])",
        "return await method(model.model_construct(around[1], **_fields), CancellationToken())",
    ),
    Mutation(
        "the stream of a class gets no token",
        TOOLS,
        "aclosing(method(model.model_construct(around[1], **_fields), around[0]))",
        "aclosing(method(model.model_construct(around[1], **_fields), CancellationToken()))",
    ),
    Mutation(
        "the stream of a class is not closed",
        TOOLS,
        "async with aclosing(method(model.model_construct(around[1], **_fields), around[0])) as items:\n            async for",
        "items = method(model.model_construct(around[1], **_fields), around[0])\n        if items:\n            async for",
    ),
    Mutation(
        "the token is put into the tool",
        TOOLS,
        '"__copy__": copied, ',
        '"__copy__": copied, "token": binder._lender._credential.token, ',
    ),
    Mutation(
        "the token is put into the description",
        TOOLS,
        '    return cast("Tool", seen)',
        '    seen._description += binder._lender._credential.token\n    return cast("Tool", seen)',
    ),
    # Hand-offs
    Mutation("every hand-off is kept", HANDOFFS, "task=task).allowed", "task=task) is not None"),
    Mutation("a hand-off needs no capability of its own", HANDOFFS, 'f"handoff:{target}"', "target"),
    Mutation(
        "the name of a hand-off counts",
        HANDOFFS,
        "else each.target)",
        "else each.name.removeprefix('transfer_to_'))",
    ),
    Mutation("the session of a hand-off is forgotten", HANDOFFS, "session=session", "session=None"),
    Mutation("the task of a hand-off is forgotten", HANDOFFS, "task=task", "task=None"),
    Mutation(
        "hand-offs are charged",
        HANDOFFS,
        "    return [each",
        "    for each in handoffs:\n        __import__('contextlib').suppress(remit.Denied).__enter__()\n        try:\n            guard.check(credential, 'handoff:billing', {}, session=session, task=task)\n        except remit.Denied:\n            pass\n    return [each",
    ),
    Mutation("any guard will do", HANDOFFS, "not isinstance(guard, remit.Guard) or ", ""),
    Mutation("any credential will do", HANDOFFS, " or not isinstance(credential, remit.Credential)", ""),
    Mutation("a name is a list of names", HANDOFFS, " and not isinstance(handoffs, str)", ""),
    Mutation("anything is a list of them", HANDOFFS, "isinstance(handoffs, Sequence) and ", ""),
    Mutation(
        "anything is a hand-off",
        HANDOFFS,
        " or not all(isinstance(each, Handoff | str) for each in handoffs)",
        "",
    ),
    # The ways
    Mutation("a way is left out", WAYS, '    yield "copy", ', '    yield "deepcopy", '),
    Mutation(
        "the ways of a stream are left out", WAYS, 'if hasattr(tool, "run_json_stream"):', "if tool is None:"
    ),
    Mutation(
        "the function of a tool is no way to it", WAYS, 'if hasattr(tool, "_func"):', "if tool is None:"
    ),
    Mutation(
        "a wrapped function is no way to a tool",
        WAYS,
        '"__wrapped__", None)) is not None',
        '"__wrapped_", None)) is not None',
    ),
    Mutation(
        "positional arguments are no way",
        WAYS,
        "partial(_call, function, names)",
        "partial(_call, lambda *_, **__: 'argument', names)",
    ),
    Mutation(
        "anything is a tool of AutoGen",
        WAYS,
        "if isinstance(tool, BaseTool) else {}",
        "if callable(tool) or isinstance(tool, BaseTool) else {}",
    ),
    Mutation(
        "a way forgets what is around it",
        WAYS,
        "copy_context().run, lambda: asyncio.run(ended())",
        "asyncio.run, ended()",
    ),
    # The package
    Mutation(
        "the framework is imported at once",
        INIT,
        "_MODULES: Final =",
        "from .tools import guard_tools\n_MODULES: Final =",
    ),
    Mutation("the extra is not named", INIT, ": pip install 'remit[autogen]'", ""),
    Mutation(
        "all that is missing is put down to the framework", INIT, '.startswith("autogen")', '.startswith("")'
    ),
    Mutation(
        "a name that is not there is looked for", INIT, "if name not in _HOMES:", "if name.startswith('_'):"
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
        "tools that are decorated in part are bound", BINDER, "if len(marks) > 1:", "if len(marks) > 2:"
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
        "the token of cancellation is an argument",
        PARAMETERS,
        '    "autogen_core": frozenset({"CancellationToken"}),\n',
        "",
    ),
    Mutation(
        "a secret is a parameter like others",
        PARAMETERS,
        "if isinstance(parameter.default, SecretParameter):\n                self._add_secret",
        "if parameter is None:\n                self._add_secret",
    ),
    Mutation(
        "each step of a stream keeps what is around it",
        INVOCATION,
        "            while True:\n                with BoundScope(self._inside):\n                    item = await step(given)",
        "            while True:\n                if step:\n                    item = await step(given)",
    ),
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], MUTATIONS, tests=HERE, sources=SOURCES))
