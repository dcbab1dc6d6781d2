"""What this layer raises. Internal: the layer above always translates it into a `remit` error."""

from __future__ import annotations

__all__ = ["ArgumentError", "EncodingError"]


class EncodingError(Exception):
    """Text or a value is not what it claims to be; the message is a predicate ("is not JSON")."""


class ArgumentError(EncodingError):
    """An argument of a call has no JSON form that could be checked."""

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(problem)
        self.argument = argument
