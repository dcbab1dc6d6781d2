"""A model for CrewAI that says what was written down for it: a crew runs without a key and a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from crewai import BaseLLM
from pydantic import PrivateAttr

Call: TypeAlias = tuple[str, Mapping[str, Any]]
"""The name of a tool, and the arguments as a model writes them."""
Turn: TypeAlias = str | Sequence[Call]
"""What is said, or the calls that are asked for at once."""


class ScriptedLLM(BaseLLM):
    """Plays turns in order, and says "done" after the last.

    Its turn is the number of its own messages in the conversation, so that one model can serve many agents,
    tasks, threads and loops at once and always says the same.

    Args:
        turns: the turns; or, for an agent with several tasks, words of a task to the turns of that task.
        native: whether it calls functions; otherwise it asks for tools in text, one call a turn.
    """

    turns: Any
    native: bool
    _shown: list[list[Any]] = PrivateAttr(default_factory=list[list[Any]])
    _tools: list[dict[str, Any]] = PrivateAttr(default_factory=list[dict[str, Any]])

    def __init__(
        self, turns: Sequence[Turn] | Mapping[str, Sequence[Turn]], *, native: bool = True, **settings: Any
    ) -> None:
        fields: Any = {"model": "scripted", "turns": turns, "native": native, **settings}
        super().__init__(**fields)

    @property
    def shown(self) -> list[list[Any]]:
        """The conversation, as it was at each turn."""
        return self._shown

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The tools, as the model was told of them at last."""
        return self._tools

    def supports_function_calling(self) -> bool:
        """Say whether tools are offered as functions."""
        return self.native

    def get_input_tokens_count(self, messages: Any, *_others: Any, **_keywords: Any) -> int:
        """Count messages as if each were one token."""
        return len([messages] if isinstance(messages, str) else messages)

    def call(self, messages: Any, tools: Any = None, *_others: Any, **keywords: Any) -> Any:
        """Say what is next in the script."""
        conversation: list[Any] = [messages] if isinstance(messages, str) else list(messages)
        self._shown.append(conversation)
        self._tools[:] = tools or []
        number = [each["role"] for each in conversation if not isinstance(each, str)].count("assistant")
        script = self._script(conversation)
        turn = script[number] if number < len(script) else "done"
        said = self._said(turn, number)
        if self.stream and isinstance(said, str):
            for word in said.split():
                self._emit_stream_chunk_event(
                    f"{word} ", from_task=keywords.get("from_task"), from_agent=keywords.get("from_agent")
                )
        return said

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """Say what is next in the script."""
        return self.call(*args, **kwargs)

    def _script(self, conversation: list[Any]) -> list[Turn]:
        turns = self.turns
        if isinstance(turns, Mapping):
            text = json.dumps(conversation, default=str)
            turns = next(turns for words, turns in self.turns.items() if words in text)
        if self.native:
            return list(turns)
        return [
            one for turn in turns for one in ([turn] if isinstance(turn, str) else [[call] for call in turn])
        ]

    def _said(self, turn: Turn, number: int) -> Any:
        if isinstance(turn, str):
            return turn if self.native else f"Thought: I now know the final answer\nFinal Answer: {turn}"
        if not self.native:
            [(name, arguments)] = turn
            return f"Thought: I need a tool\nAction: {name}\nAction Input: {json.dumps(arguments)}"
        return [
            {
                "id": f"call-{number}-{position}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for position, (name, arguments) in enumerate(turn)
        ]
