"""The ways in which a framework's tool can be reached, as the installed adapters know them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final, get_args

from remit.errors import ConfigError, DenialCode, Denied, shown

__all__ = ["INTEGRATIONS", "denial_in", "is_code", "of_frameworks", "of_remit", "routes_of"]

INTEGRATIONS: Final = "remit.integrations"
"""The entry-point group of the adapters."""
_FRAMEWORKS: Final = frozenset(
    {
        "autogen_agentchat",
        "autogen_core",
        "crewai",
        "langchain",
        "langchain_core",
        "langgraph",
        "pydantic",
        "pydantic_core",
        "typing_extensions",
    }
)
"""The top-level packages of frameworks in which no tool of anybody's is written."""
_CODES: Final = frozenset(get_args(DenialCode))
_CODE: Final = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


def routes_of(tool: object) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    """Return every way in which a framework's tool can be reached, by name.

    The adapters registered in the entry-point group `remit.integrations` are asked one after the other.

    Args:
        tool: a tool of some framework.

    Raises:
        ConfigError: when no adapter knows it; names those that cannot be used.
    """
    broken: list[str] = []
    for point in sorted(entry_points(group=INTEGRATIONS), key=lambda each: each.name):
        try:
            found = point.load().routes(tool)
        except Exception as error:  # noqa: BLE001 - an adapter is anybody's code, and must break no other
            broken.append(f"{point.name} ({type(error).__name__}: {error})")
            continue
        if found is not None:
            return dict(found)
    message = f"no adapter knows the routes of {shown(tool)}"
    if broken:
        message += f"; these cannot be used: {', '.join(broken)}"
    raise ConfigError(message)


@cache
def of_remit() -> frozenset[str]:
    """Return the packages whose code stands around the functions of tools: Remit's and the adapters'."""
    found = {point.value.partition(":")[0].partition(".")[0] for point in entry_points(group=INTEGRATIONS)}
    return frozenset(found | {"remit"})


@cache
def of_frameworks() -> frozenset[str]:
    """Return the packages of the frameworks and of Python, whose code is not that of anybody's tools.

    Beside those of the adapters that come with Remit, these are what an adapter names in `FRAMEWORKS`.
    """
    said: set[str] = set()
    for point in entry_points(group=INTEGRATIONS):
        try:
            said.update(getattr(point.load(), "FRAMEWORKS", ()))
        except Exception:  # noqa: BLE001, S112 - an adapter is anybody's code; `routes_of` names a broken one
            continue
    return frozenset(_FRAMEWORKS | said | sys.stdlib_module_names)


def is_code(code: object) -> bool:
    """Tell whether something is the code of a denial."""
    return code in _CODES


def denial_in(result: object) -> str | None:
    """Return the code of the denial that something is or tells of, None when it is a result."""
    if isinstance(result, Denied):
        return result.code
    return next((word for word in _CODE.findall(str(result)) if word in _CODES), None)
