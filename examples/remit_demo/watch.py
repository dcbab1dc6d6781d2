"""A camera on each agent: it pairs the arguments a model gave with what the audit trail says of the call.

Audit records hold a digest of the arguments, never the arguments, so the camera brings them along.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

import remit

Answer = ToolMessage | Command[Any]


@dataclass(slots=True)
class Call:
    """One call of a guarded tool."""

    agent: str
    tool: str
    arguments: dict[str, Any]
    code: str | None = None
    """The code of the denial; None when the call was allowed."""
    why: str = ""
    """The reason of the denial, or what the tool answered."""


@dataclass(slots=True)
class Watch:
    """What all cameras saw."""

    audit: remit.MemoryAudit
    calls: list[Call] = field(default_factory=list[Call])
    """The calls that no act has taken yet."""
    count: int = 0
    """How many calls there were in all."""
    shown: list[str] = field(default_factory=list[str])
    """Everything that a model was shown."""
    lock: RLock = field(default_factory=RLock)

    def camera(self, agent: str) -> "Camera":
        """Return the middleware that watches one agent. Place it first."""
        return Camera(self, agent)

    @contextmanager
    def filming(self, agent: str, tool: str, arguments: dict[str, Any]) -> Generator[Call]:
        """Watch one call; what the guard decided is read from the audit trail."""
        call = Call(agent, tool, arguments)
        with self.lock:  # one call at a time, also when a model asks for several at once
            before = len(self.audit.records)
            yield call
            decision = next((r for r in self.audit.records[before:] if r.event == "decision"), None)
            if decision is not None:  # arguments that do not fit the tool's schema never reach the guard
                call.code, call.why = decision.code, decision.reason or call.why
                self.calls.append(call)
                self.count += 1

    def take(self) -> list[Call]:
        """Return the calls since the last time."""
        taken, self.calls = self.calls, []
        return taken


class Camera(AgentMiddleware[Any, Any, Any]):
    """Watches one agent's calls of guarded tools, and what its model is shown."""

    tools = ()

    def __init__(self, watch: Watch, agent: str) -> None:
        self._watch = watch
        self._agent = agent

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        """Note what the model is shown."""
        self._watch.shown += [repr(message) for message in request.messages]
        return handler(request)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Answer]
    ) -> Answer:
        """Note a call and its answer."""
        function = getattr(request.tool, "func", None)
        if remit.capability_of(function) is None:
            return handler(request)
        name, arguments = request.tool_call["name"], request.tool_call["args"]
        with self._watch.filming(self._agent, name, arguments) as call:
            answer = handler(request)
            call.why = answer.text if isinstance(answer, ToolMessage) else ""
        return answer
