"""Functions whose annotations are text, as `from __future__ import annotations` leaves them."""

from __future__ import annotations

from typing import Annotated

import remit


class Symbol:
    """A type that only this module knows."""


@remit.requires_capability("tool:use")
def annotated(
    symbol: Symbol, *names: str, n: Annotated[int, "how many"] = 1, key: remit.Secret = remit.secret("KEY")
) -> list[Symbol] | None:
    """Say what it is."""
    return None


@remit.requires_capability("tool:use")
async def annotated_async(n: int, *, key: remit.Secret = remit.secret("KEY")) -> dict[str, Symbol]:
    """Say what it is."""
    return {}


@remit.requires_capability("tool:use")
def unresolved(n: NoSuchType, m: int = 1) -> int:  # type: ignore[name-defined]  # noqa: F821 - it does not exist
    """Say what it is."""
    return m
