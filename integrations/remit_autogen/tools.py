"""Tools that carry their credential.

1. A guarded tool is the tool itself, seen through a guard: a tool class does its work on the original, in the
   original's state; only what leads to that work is replaced.
2. The check is in the functions that do the work: every route ends there, on the arguments after validation.
3. The credential is held by closures: it is in no attribute, no saved state, no schema and no dump.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from copy import copy, deepcopy
from inspect import Parameter, Signature, signature
from keyword import iskeyword
from secrets import token_hex
from typing import Annotated, Any, ClassVar, Final, NoReturn, cast

from autogen_core import CancellationToken
from autogen_core.tools import BaseStreamTool, BaseTool, FunctionTool
from pydantic.fields import FieldInfo

import remit

Tool = BaseTool[Any, Any]
Function = Callable[..., Any]
Around = Annotated[tuple[CancellationToken, set[str]], CancellationToken]
"""What is around the arguments of a call: AutoGen's token, and which fields were set. It is no argument."""
_FUNCTION: Final = "_func"
_METHODS: Final = ("run", "run_stream")
_ENTRIES: Final = ("run_json", "run_json_stream")
_TOOL: Final[Any] = BaseTool
_BASE: Final[Any] = BaseStreamTool


class NotDumped:
    """What cannot be dumped: AutoGen would write down tools without what guards them."""

    component_provider_override: ClassVar[Any] = None

    def _to_config(self) -> NoReturn:
        raise remit.ConfigError("what is guarded cannot be dumped: it would be loaded without its guard")

    dump_component = _to_config


class Carrying(NotDumped):
    """A tool that carries its credential."""


def guard_tools(
    tools: Sequence[Tool | Function],
    guard: remit.Guard,
    credential: remit.Credential,
    *,
    capability: str | Mapping[str, str] | None = None,
    session: str | None = None,
    task: str | None = None,
) -> list[Tool]:
    """Make tools that run under `credential` and no other, whoever calls them.

    A denied call raises `remit.Denied`, which an agent's workbench answers with a `ToolResult` that says
    `is_error`. The originals stay as they were; a tool class does its work on the original, in its state.

    Args:
        tools: tools, and functions that `FunctionTool` makes tools of, decorated or not.
        guard: what checks each call.
        credential: what the calls run under.
        capability: that of the one tool given, or of several by tool name; by default what the tool's
            function is decorated with, else the tool's name.
        session: the session the calls belong to.
        task: the task the calls belong to.

    Raises:
        ConfigError: an argument makes no sense, or a tool cannot be guarded or carries a credential already.
    """
    binder = remit.ToolBinder(guard, credential, capability=capability, session=session, task=task)
    return [carrying(tool, binder) for tool in as_tools(tools, binder)]


def as_tools(given: Sequence[Any], binder: remit.ToolBinder) -> list[Tool]:
    """Make tools of functions, and refuse with `ConfigError` what is no tool or is there twice."""
    if not isinstance(given, Sequence):
        raise remit.ConfigError("tools must be a list")
    made: list[Any] = []
    for each in given:
        try:
            made.append(each if isinstance(each, _TOOL) else FunctionTool(each, each.__doc__ or ""))
        except Exception as error:  # AutoGen raises KeyError, ValueError and others, as it comes upon them
            name = getattr(each, "__name__", f"a {type(each).__name__}")
            raise remit.ConfigError(f"{name} is no tool, and AutoGen cannot make one of it") from error
    binder.check_names(tool.name for tool in made)
    return made


def written(tool: Tool) -> dict[str, Function]:
    """Return the functions that do the work of a tool, by the name of the attribute."""
    found: dict[str, Function] = {}
    if isinstance(tool, FunctionTool):
        found[_FUNCTION] = getattr(tool, _FUNCTION)
        if remit.capability_of(found[_FUNCTION]) is not None:
            return found  # whatever a subclass makes of `run`, the check is beneath it
    own = [name for name in _METHODS if getattr(type(tool), name, FunctionTool.run) is not FunctionTool.run]
    return found | {name: getattr(tool, name) for name in own}


def carrying(tool: Tool, binder: remit.ToolBinder) -> Tool:
    """Return a tool as one that carries the credential of `binder`; `ConfigError` when it cannot."""
    kind, routes = type(tool), written(tool)
    if isinstance(tool, Carrying):
        raise remit.ConfigError(f"tool {tool.name!r} carries a credential already")
    replaced = [name for name in _ENTRIES if getattr(kind, name, None) not in (None, getattr(_BASE, name))]
    if replaced or vars(tool).keys() & {*_METHODS, *_ENTRIES}:
        raise remit.ConfigError(f"tool {tool.name!r} does its work where no guard can stand")
    decorated = remit.ToolBinder.mark(tool.name, routes) is not None
    by_field = {} if decorated else {name: _by_field(tool, name) for name in routes if name in _METHODS}
    bound = binder.bind(tool.name, routes | by_field, declared=remit.capability_of(tool))
    methods = {name: route for name, route in bound.items() if name in _METHODS}
    methods |= {name: _of_model(tool, name, bound[name]) for name in by_field}

    def copied(_: Tool) -> Tool:
        return carrying(copy(tool), binder)

    def deepcopied(_: Tool, memo: dict[int, Any]) -> Tool:
        return carrying(deepcopy(tool, memo), binder)

    body: dict[str, Any] = {name: staticmethod(method) for name, method in methods.items()}
    body |= {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    body |= {"__copy__": copied, "__deepcopy__": deepcopied}
    body["__capability__"] = remit.capability_of(next(iter(bound.values())))
    made = cast("Any", type(kind))(kind.__name__, (Carrying, kind), body)
    seen = object.__new__(made)
    seen.__dict__ = vars(tool) | {_FUNCTION: bound[_FUNCTION]} if _FUNCTION in bound else vars(tool)
    return cast("Tool", seen)


def _by_field(tool: Tool, name: str) -> Function:
    """Return a method as a function of the fields of its arguments, so that each field is checked."""
    model, method = tool.args_type(), getattr(tool, name)

    async def run(around: Around, /, **_fields: Any) -> Any:
        return await method(model.model_construct(around[1], **_fields), around[0])

    async def run_stream(around: Around, /, **_fields: Any) -> AsyncGenerator[Any, None]:
        async with aclosing(method(model.model_construct(around[1], **_fields), around[0])) as items:
            async for item in items:
                yield item

    function: Any = run if name == "run" else run_stream
    around, rest = signature(function).parameters.values()
    # A field whose name no parameter can have still reaches the check, as one of the rest.
    named = [_parameter(n, f) for n, f in model.model_fields.items() if n.isidentifier() and not iskeyword(n)]
    # An undeclared field may have any name, so the first parameter has one that nobody can guess.
    function.__signature__ = Signature([around.replace(name=f"_{token_hex(16)}"), *named, rest])
    return cast("Function", function)


def _parameter(name: str, field: FieldInfo) -> Parameter:
    factory: Any = field.default_factory
    absent = field.is_required() or factory not in (None, list, dict)
    default: Any = Parameter.empty if absent else field.get_default(call_default_factory=True)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default)


def _of_model(tool: Tool, name: str, function: Function) -> Function:
    """Return the method again that a function of fields was made of."""
    model, parameters = tool.args_type(), signature(function).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}

    def run_stream(args: Any, cancellation_token: CancellationToken) -> Any:
        given = args if isinstance(args, model) else model.model_validate(args)
        passed = set(given.model_fields_set)
        # A default that nobody set is left out: the tool takes its own, and sees that it was not set.
        fields = {n: v for n, v in given if n in passed or defaults.get(n, Parameter.empty) != v}
        return function((cancellation_token, passed), **fields)

    async def run(args: Any, cancellation_token: CancellationToken) -> Any:
        return await run_stream(args, cancellation_token)

    return run if name == "run" else run_stream
