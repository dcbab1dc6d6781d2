"""Middleware that binds one agent's credential around the tools it may use it for."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ToolCallRequest
from langchain_core.messages import ToolMessage
from langgraph.types import Command

import remit

from .tools import ExitBehavior, answer, capability_to_bind, is_shown, show_denials

_Answer = ToolMessage | Command[Any]


class CapabilityMiddleware(AgentMiddleware[Any, Any, Any]):
    """Runs each tool call of one agent under that agent's credential. Place it last.

    A tool decorated with `remit.requires_capability` runs with the credential bound for that one call and
    capability; any other tool, such as another agent, with nothing bound; one of `guard_tools` under its own.
    Without `create_agent`, give a `ToolNode` both its `wrap_tool_call` and its `awrap_tool_call`.

    Args:
        guard: what checks each call.
        credential: what the calls run under; held here, not in the agent's state, configuration or context.
        exit_behavior: `continue` answers a denied call with a `ToolMessage` of status `error`; `error` raises
            `remit.Denied`, which ends the run, even if calls beside it have had their effect.
        session: the session the calls belong to.
        task: the task the calls belong to.

    Raises:
        ConfigError: an argument makes no sense.
    """

    tools = ()

    def __init__(
        self,
        guard: remit.Guard,
        credential: remit.Credential,
        *,
        exit_behavior: ExitBehavior = "continue",
        session: str | None = None,
        task: str | None = None,
    ) -> None:
        self._shown = is_shown(exit_behavior)
        self._binder = remit.ToolBinder(guard, credential, session=session, task=task)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], _Answer]
    ) -> _Answer:
        """Run one tool call with what it may use bound around it."""
        seen, binding = self._prepared(request)
        try:
            with binding:
                return handler(seen)
        except remit.Denied as denied:
            return self._answered(request, denied)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[_Answer]]
    ) -> _Answer:
        """Run one tool call on an event loop with what it may use bound around it."""
        seen, binding = self._prepared(request)
        try:
            with binding:
                return await handler(seen)
        except remit.Denied as denied:
            return self._answered(request, denied)

    def _prepared(self, request: ToolCallRequest) -> tuple[ToolCallRequest, AbstractContextManager[Any]]:
        tool = request.tool
        capability = None if tool is None else capability_to_bind(tool)
        if tool is not None and capability is not None and self._shown:
            request = request.override(tool=show_denials(tool))
        return request, self._binder.around(capability)

    def _answered(self, request: ToolCallRequest, denied: remit.Denied) -> ToolMessage:
        return answer(denied, request.tool_call["name"], request.tool_call["id"] if self._shown else None)
