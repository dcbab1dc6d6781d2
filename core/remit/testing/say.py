"""How a test of the contract fails: with one sentence that says what the adapter must do."""

from __future__ import annotations

__all__ = ["must"]


def must(condition: object, sentence: str, seen: object = None) -> None:
    """Fail with `sentence` unless the condition holds.

    Args:
        condition: what must be true.
        sentence: what went wrong, and what the adapter must do.
        seen: what was there instead, where that helps.

    Raises:
        AssertionError: when it does not hold.
    """
    __tracebackhide__ = True
    if not condition:
        raise AssertionError(sentence if seen is None else f"{sentence} Seen: {seen!r}")
