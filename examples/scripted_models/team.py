"""A model client for AutoGen without a model: it plays a script, so that a team does the same every time."""

import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Literal

from autogen_core import CancellationToken, FunctionCall
from autogen_core.models import (
    ChatCompletionClient,
    CreateResult,
    LLMMessage,
    ModelInfo,
    RequestUsage,
)
from autogen_core.tools import Tool, ToolSchema
from pydantic import BaseModel

Call = tuple[str, dict[str, Any]]
"""One call of a tool: its name and its arguments."""
Turn = str | Sequence[Call]
"""What the model says at a turn: text, or calls that are all to be made at once."""


class ScriptedClient(ChatCompletionClient):
    """Plays `turns` in order, and then says that it is done.

    It stands for the worst case, a model that does whatever the last text it read tells it to. Each agent
    takes a client of its own, since it is the client that knows which turn it is.

    Args:
        turns: the script.
        ending: what it says when the script is over.
    """

    component_type = "model"

    def __init__(self, turns: Iterable[Turn], *, ending: str = "Done.") -> None:
        self._turns = list(turns)
        self._ending = ending
        self.shown: list[list[LLMMessage]] = []
        """The messages it was sent, at each turn."""
        self.offered: list[list[ToolSchema]] = []
        """The tools it was offered, at each turn."""

    async def create(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",  # noqa: ARG002 - it knows its script
        json_output: bool | type[BaseModel] | None = None,  # noqa: ARG002 - as above
        extra_create_args: Mapping[str, Any] | None = None,  # noqa: ARG002 - as above
        cancellation_token: CancellationToken | None = None,  # noqa: ARG002 - it takes no time
    ) -> CreateResult:
        """Say what is next in the script."""
        self.shown.append(list(messages))
        self.offered.append([tool.schema if isinstance(tool, Tool) else tool for tool in tools])
        number = len(self.shown)
        turn = self._turns[number - 1] if number <= len(self._turns) else self._ending
        if isinstance(turn, str):
            return _result("stop", turn)
        calls = [
            FunctionCall(id=f"call-{number}-{position}", name=name, arguments=json.dumps(arguments))
            for position, (name, arguments) in enumerate(turn, 1)
        ]
        return _result("function_calls", calls)

    async def create_stream(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",  # noqa: ARG002 - it knows its script
        json_output: bool | type[BaseModel] | None = None,  # noqa: ARG002 - as above
        extra_create_args: Mapping[str, Any] | None = None,  # noqa: ARG002 - as above
        cancellation_token: CancellationToken | None = None,  # noqa: ARG002 - it takes no time
    ) -> AsyncGenerator[str | CreateResult, None]:
        """Say what is next in the script, a text word by word first."""
        result = await self.create(messages, tools=tools)
        if isinstance(result.content, str):
            for word in result.content.split():
                yield word
        yield result

    async def close(self) -> None:
        """Do nothing: nothing is open."""

    def actual_usage(self) -> RequestUsage:
        """Say that nothing was used."""
        return RequestUsage(0, 0)

    def total_usage(self) -> RequestUsage:
        """Say that nothing was used."""
        return RequestUsage(0, 0)

    def count_tokens(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),  # noqa: ARG002 - only the messages grow
    ) -> int:
        """Count messages as if each were one token."""
        return len(messages)

    def remaining_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Say that there is always room."""
        return 1_000_000 - self.count_tokens(messages, tools=tools)

    @property
    def capabilities(self) -> Any:
        """What AutoGen asked for before there was `model_info`."""
        return self.model_info

    @property
    def model_info(self) -> ModelInfo:
        """A model of no known family that calls functions."""
        return ModelInfo(
            vision=False, function_calling=True, json_output=False, family="unknown", structured_output=False
        )


def _result(reason: Literal["stop", "function_calls"], content: str | list[FunctionCall]) -> CreateResult:
    return CreateResult(finish_reason=reason, content=content, usage=RequestUsage(0, 0), cached=False)
