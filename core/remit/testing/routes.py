"""The ways in which a framework's tool can be reached, as the installed adapters know them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Final, get_args

from remit.errors import ConfigError, DenialCode, Denied, shown

__all__ = ["INTEGRATIONS", "denial_in", "routes_of"]

INTEGRATIONS: Final = "remit.integrations"
"""The entry-point group of the adapters."""
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


def denial_in(result: object) -> str | None:
    """Return the code of the denial that something is or tells of, None when it is a result."""
    if isinstance(result, Denied):
        return result.code
    return next((word for word in _CODE.findall(str(result)) if word in _CODES), None)
