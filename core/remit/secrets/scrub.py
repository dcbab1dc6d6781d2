"""Keeping secrets out of what a tool returns, yields or raises."""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from remit.secrets.value import Secret

__all__ = ["Scrubber"]

_MAX_DEPTH: Final = 64
_COLLECTIONS: Final = frozenset({list, tuple, set, frozenset})
_ATOMS: Final = (int, float, complex, type(None))


class Scrubber:
    """Replaces the values of the secrets of one call, wherever text carries them.

    It knows a value as it is, percent-encoded, escaped as JSON, and in base64. It cannot know what
    a tool has made of it otherwise: reversed, hashed, split over two answers.

    Args:
        secrets: the secrets that the tool was given.
    """

    __slots__ = ("_texts",)

    def __init__(self, secrets: Iterable[Secret]) -> None:
        pairs = {form: f"[secret {secret.name}]" for secret in secrets for form in _forms(secret.reveal())}
        # Longest first, so that an encoded form is not broken by one that it contains.
        self._texts = sorted(pairs.items(), key=lambda pair: -len(pair[0]))

    def text(self, text: str) -> str:
        """Return `text` without the secrets."""
        for value, mask in self._texts:
            if value in text:
                text = text.replace(value, mask)
        return text

    def holds(self, text: str) -> bool:
        """Tell whether `text` carries a secret."""
        return any(value in text for value, _ in self._texts)

    def clean(self, value: Any, depth: int = _MAX_DEPTH) -> Any:
        """Return `value` without the secrets; what carries none is returned as it is."""
        if isinstance(value, str):
            return value if not self.holds(value) else self.text(str(value))
        if isinstance(value, bytes | bytearray):
            cleaned = self._clean_bytes(bytes(value))
            return value if cleaned == value else type(value)(cleaned)
        if isinstance(value, _ATOMS) or depth <= 0:
            return value
        if type(cast("object", value)) in _COLLECTIONS or isinstance(value, tuple):
            return self._clean_items(value, depth)
        if issubclass(type(cast("object", value)), dict):
            return self._clean_dict(value, depth)
        return self._clean_object(value, depth)

    def _clean_items(self, items: Any, depth: int) -> Any:
        rebuild = cast("Callable[..., Any]", type(items))
        cleaned = [self.clean(item, depth - 1) for item in items]
        return rebuild(*cleaned) if hasattr(items, "_fields") else rebuild(cleaned)

    def _clean_bytes(self, data: bytes) -> bytes:
        for value, mask in self._texts:
            data = data.replace(value.encode(), mask.encode())
        return data

    def _clean_dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        cleaned = {self.clean(name, depth - 1): self.clean(item, depth - 1) for name, item in value.items()}
        if type(value) is dict:
            return cleaned
        value.clear()
        value.update(cleaned)
        return value

    def _clean_object(self, value: Any, depth: int) -> Any:
        """Clean the fields of a dataclass or a pydantic model where they are."""
        pydantic = sys.modules.get("pydantic")
        is_model = pydantic is not None and isinstance(value, pydantic.BaseModel)
        if isinstance(value, type) or not (is_model or dataclasses.is_dataclass(value)):
            return value
        for name in (
            list(vars(value)) if hasattr(value, "__dict__") else [f.name for f in dataclasses.fields(value)]
        ):
            held = getattr(value, name)
            cleaned = self.clean(held, depth - 1)
            if cleaned is not held:
                object.__setattr__(value, name, cleaned)
        return value

    def clean_error(self, error: BaseException) -> None:
        """Take the secrets out of an exception, of those that led to it, and of their notes."""
        seen: set[int] = set()
        waiting: list[BaseException | None] = [error]
        while waiting:
            current = waiting.pop()
            if current is None or id(current) in seen:
                continue
            seen.add(id(current))
            current.args = tuple(self.clean(argument) for argument in current.args)
            for name, held in list(vars(current).items()):
                cleaned = self.clean(held)
                if cleaned is not held:
                    setattr(current, name, cleaned)
            waiting += [current.__cause__, current.__context__]
            waiting += getattr(current, "exceptions", ())  # of a group

    def shows_in(self, error: BaseException) -> bool:
        """Tell whether an exception, after cleaning, still shows a secret when it is printed."""
        return self.holds(str(error)) or self.holds(repr(error))


def _forms(value: str) -> set[str]:
    raw = value.encode("utf-8", "surrogatepass")
    encoded = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    escaped = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}
    return {
        value,
        quote(value, safe=""),
        quote_plus(value),
        *escaped,
        *(form.rstrip("=") for form in encoded),
    } - {""}
