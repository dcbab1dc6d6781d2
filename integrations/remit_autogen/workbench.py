"""A workbench that runs one agent's tools under that agent's credential."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from autogen_core import CancellationToken
from autogen_core.tools import StaticStreamWorkbench, ToolOverride, ToolResult

import remit

from .tools import Carrying, Function, NotDumped, Tool, as_tools, carrying, written


class CapabilityWorkbench(NotDumped, StaticStreamWorkbench):
    """Holds the tools of one agent and runs each call of them under that agent's credential.

    A tool decorated with `remit.requires_capability` runs with the credential bound for that one call and
    capability; any other tool, such as `AgentTool`, with nothing bound; one of `guard_tools` under its own. A
    denied call is answered with a `ToolResult` that says `is_error`: it never raises.

    Args:
        tools: tools, and functions that `FunctionTool` makes tools of.
        guard: what checks each call.
        credential: what the calls run under; held here, not in the agent's state or messages.
        session: the session the calls belong to.
        task: the task the calls belong to.
        tool_overrides: names and descriptions that the model is shown, by tool name.

    Raises:
        ConfigError: an argument makes no sense, or a tool is decorated in part.
    """

    def __init__(
        self,
        tools: Sequence[Tool | Function],
        guard: remit.Guard,
        credential: remit.Credential,
        *,
        session: str | None = None,
        task: str | None = None,
        tool_overrides: dict[str, ToolOverride] | None = None,
    ) -> None:
        binder = remit.ToolBinder(guard, credential, session=session, task=task)
        super().__init__([_bound(tool, binder) for tool in as_tools(tools, binder)], tool_overrides)

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> ToolResult:
        """Run a tool to its end, with nothing bound but what it carries."""
        with remit.unbound():
            return await super().call_tool(name, arguments, cancellation_token, call_id)

    async def call_tool_stream(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> AsyncGenerator[Any | ToolResult, None]:
        """Run a tool and yield what it yields; between two items, whoever asks has their own binding."""
        original = self._override_name_to_original.get(name, name)  # AutoGen looks there in `call_tool` alone
        stream = super().call_tool_stream(original, arguments, cancellation_token, call_id)
        try:
            while True:
                with remit.unbound():
                    item = await anext(stream, stream)
                if item is stream:
                    return
                yield item.model_copy(update={"name": name}) if isinstance(item, ToolResult) else item
        finally:
            with remit.unbound():
                await stream.aclose()


def _bound(tool: Tool, binder: remit.ToolBinder) -> Tool:
    bare = isinstance(tool, Carrying) or remit.ToolBinder.mark(tool.name, written(tool)) is None
    return tool if bare else carrying(tool, binder)
