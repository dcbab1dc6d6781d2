"""Tools that carry their credential.

1. The check is in the functions that do the work: every route ends there, on the arguments after validation.
2. The credential is held by closures: it is in no field, no private attribute, no metadata and no schema.
3. A denial leaves `run` and `arun` as an answer, where no error handling and no retry can change it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import new_class
from typing import TYPE_CHECKING, Any, Final, Literal

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as make_tool
from pydantic import BaseModel

import remit

ExitBehavior = Literal["continue", "error"]
_Function = Callable[..., Any]
_FUNCTIONS: Final[tuple[str, ...]] = ("func", "coroutine")
_METHODS: Final[tuple[str, ...]] = ("_run", "_arun")
_ENTRIES: Final = ("invoke", "ainvoke", "run", "arun", "batch", "abatch", "stream", "astream")

if TYPE_CHECKING:
    _Base = BaseTool
else:  # what is put before the class of a tool must not bring that class's fields to the front
    _Base = object


class _Showing(_Base):
    def run(self, *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        try:
            return super().run(*args, tool_call_id=tool_call_id, **kwargs)
        except remit.Denied as denied:
            return answer(denied, self.name, tool_call_id)

    async def arun(self, *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        try:
            return await super().arun(*args, tool_call_id=tool_call_id, **kwargs)
        except remit.Denied as denied:
            return answer(denied, self.name, tool_call_id)


class _Carrying: ...


def guard_tools(
    tools: Sequence[BaseTool | _Function],
    guard: remit.Guard,
    credential: remit.Credential,
    *,
    capability: str | Mapping[str, str] | None = None,
    session: str | None = None,
    task: str | None = None,
    exit_behavior: ExitBehavior = "continue",
) -> list[BaseTool]:
    """Make tools that run under `credential` and no other, whoever calls them.

    The originals stay as they were, and the methods of a tool class run on them. A tool call that is denied
    is answered with a `ToolMessage` of status `error`; without a tool call, as in `tool.invoke({...})`, where
    an answer could be taken for a result, `remit.Denied` is raised.

    Args:
        tools: tools, and functions that `langchain_core.tools.tool` makes tools of, decorated or not.
        guard: what checks each call.
        credential: what the calls run under.
        capability: that of the one tool given, or of several by tool name; by default what the tool's
            function is decorated with, else the tool's name.
        session: the session the calls belong to.
        task: the task the calls belong to.
        exit_behavior: `error` raises `remit.Denied` from a tool call too.

    Raises:
        ConfigError: an argument makes no sense, or a tool cannot be guarded or carries a credential already.
    """
    bases = (_Carrying, _Showing) if is_shown(exit_behavior) else (_Carrying,)
    binder = remit.ToolBinder(guard, credential, capability=capability, session=session, task=task)
    if isinstance(tools, BaseTool) or not isinstance(tools, Sequence):
        raise remit.ConfigError("tools must be a list")
    made = [_as_tool(each) for each in tools]
    binder.check_names(tool.name for tool in made)
    return [_guarded(tool, binder, bases) for tool in made]


def is_shown(exit_behavior: object) -> bool:
    """Say whether denials are answered or raised; `ConfigError` when that is not known."""
    if exit_behavior not in ("continue", "error"):
        raise remit.ConfigError('exit_behavior must be "continue" or "error"')
    return exit_behavior == "continue"


def answer(denied: remit.Denied, tool: str, call_id: str | None) -> ToolMessage:
    """Answer a tool call with its denial, in words for the model and whole for the program; else raise it."""
    if call_id is None:
        raise denied
    text = f"{denied.reason} [{denied.code}]"
    return ToolMessage(text, name=tool, tool_call_id=call_id, status="error", artifact=denied.to_dict())


def capability_to_bind(tool: BaseTool) -> str | None:
    """Say what the functions of `tool` are decorated with, `None` if not, or if they carry a credential."""
    return remit.ToolBinder.mark(tool.name, {} if isinstance(tool, _Carrying) else _routes(tool))


def show_denials(tool: BaseTool) -> BaseTool:
    """Return the same tool, state and all, as one that answers a denied tool call."""
    return _seen_as(_showing(type(tool)), tool, vars(tool))


@lru_cache(maxsize=256)
def _showing(kind: type[BaseTool]) -> type[BaseTool]:
    return _subclass(kind, (_Showing,), {})


def _as_tool(given: BaseTool | _Function) -> BaseTool:
    if isinstance(given, BaseTool):
        return given
    if not callable(given):
        raise remit.ConfigError(f"a {type(given).__name__} is not a tool that can be guarded")
    return make_tool(given)


def _own(kind: type[BaseTool], name: str) -> bool:
    return not getattr(getattr(kind, name), "__module__", "").startswith("langchain_core.")


def _routes(tool: BaseTool) -> dict[str, _Function]:
    # What was written for this tool, and not by langchain-core; by the name of the attribute.
    names = [*_FUNCTIONS, *(name for name in _METHODS if _own(type(tool), name))]
    return {name: route for name in names if callable(route := getattr(tool, name, None))}


def _guarded(tool: BaseTool, binder: remit.ToolBinder, bases: tuple[type, ...]) -> BaseTool:
    kind, routes = type(tool), _routes(tool)
    if isinstance(tool, _Carrying):
        raise remit.ConfigError(f"tool {tool.name!r} carries a credential already")
    if any(_own(kind, name) for name in _ENTRIES):
        raise remit.ConfigError(f"tool {tool.name!r} does its work where no guard can stand")
    bound = binder.bind(tool.name, routes, declared=remit.capability_of(tool))
    capability = binder.mark(tool.name, bound)
    methods = {name: staticmethod(method) for name, method in bound.items() if name in _METHODS}
    made = _subclass(kind, bases, {"__capability__": capability, **methods})
    copied = tool.model_copy()
    state = vars(copied) | {name: function for name, function in bound.items() if name in _FUNCTIONS}
    return _seen_as(made, copied, state)


def _subclass(kind: type[BaseTool], first: tuple[type, ...], methods: Mapping[str, object]) -> type[BaseTool]:
    body = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, **methods}
    return new_class(kind.__name__, (*first, kind), exec_body=lambda namespace: namespace.update(body))


def _seen_as(kind: type[BaseTool], tool: BaseTool, state: dict[str, Any]) -> BaseTool:
    seen = kind.__new__(kind)
    for slot in BaseModel.__slots__:
        object.__setattr__(seen, slot, getattr(tool, slot))
    object.__setattr__(seen, "__dict__", state)
    return seen
