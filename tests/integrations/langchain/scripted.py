"""A chat model that says what a test wrote down, and remembers what it was shown.

Its turn is the number of its own messages in the conversation, so that one model can serve many runs, threads and
loops at once and always says the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

Call = tuple[str, dict[str, Any]]
Turn = str | list[Call]


class ScriptedModel(BaseChatModel):
    """Plays `turns` in order: a string is said, a list is a message with these tool calls."""

    turns: list[Any]
    _shown: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _tools: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    @property
    def shown(self) -> list[list[BaseMessage]]:
        """The conversation, as it was at each turn."""
        return self._shown

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The tools, as a provider would be told of them."""
        return self._tools

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        self._tools[:] = [convert_to_openai_tool(tool) for tool in tools]
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._shown.append(list(messages))
        number = sum(isinstance(message, AIMessage) for message in messages)
        return ChatResult(generations=[ChatGeneration(message=said(self.turns[number], number))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.sleep(0)
        return self._generate(messages, stop)


def said(turn: Turn, number: int = 0) -> AIMessage:
    """The message of one turn; the ids of its calls are `call-<turn>-<position>`."""
    if isinstance(turn, str):
        return AIMessage(turn)
    calls = [
        {"name": name, "args": dict(args), "id": f"call-{number}-{position}", "type": "tool_call"}
        for position, (name, args) in enumerate(turn)
    ]
    return AIMessage("", tool_calls=calls)
