"""A chat model without a model: it plays a script, so that the demonstration is the same every time.

It stands for the worst case, a model that does whatever the last text it read tells it to.
"""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

Turn = tuple[str, dict[str, Any]]
"""One call of a tool: its name and its arguments."""


class ScriptedModel(BaseChatModel):
    """Calls one tool at each turn, and then says that it is done."""

    turns: list[Turn]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],  # noqa: ARG002 - it knows its script
        *,
        tool_choice: str | None = None,  # noqa: ARG002 - as above
        **kwargs: Any,  # noqa: ARG002 - as above
    ) -> Runnable[Any, AIMessage]:
        """Take the tools, as a model must that is to call them."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 - what it says is in the script
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - as above
        **kwargs: Any,  # noqa: ARG002 - as above
    ) -> ChatResult:
        turn = sum(isinstance(message, AIMessage) for message in messages)
        return ChatResult(generations=[ChatGeneration(message=self._said(turn))])

    def _said(self, turn: int) -> AIMessage:
        if turn >= len(self.turns):
            return AIMessage("Done.")
        name, arguments = self.turns[turn]
        return AIMessage(
            "", tool_calls=[{"name": name, "args": arguments, "id": f"call-{turn}", "type": "tool_call"}]
        )
