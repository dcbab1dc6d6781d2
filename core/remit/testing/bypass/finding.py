"""What an attack found out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["Finding", "lines"]


@dataclass(frozen=True)
class Finding:
    """A way around a guard, or a reason why an attack could not be tried."""

    tool: str
    """The tool's name."""
    route: str
    """The way that was taken to the tool."""
    happened: str
    """What happened, as the end of a sentence."""
    remedy: str
    """What to do about it."""


_SHOWN: Final = 3


def lines(findings: Iterable[Finding]) -> list[str]:
    """Return what was found in words, one line for each cause with the routes that lead to it."""
    routes: dict[tuple[str, str, str], list[str]] = {}
    for found in findings:
        routes.setdefault((found.tool, found.happened, found.remedy), []).append(found.route)
    return [
        f"{tool}, by {_listed(by)}: {happened}. {remedy}." for (tool, happened, remedy), by in routes.items()
    ]


def _listed(routes: list[str]) -> str:
    more = len(routes) - _SHOWN
    return ", ".join(routes[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
