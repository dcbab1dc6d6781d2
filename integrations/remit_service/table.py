"""Which capability a request needs, by its method and path.

Invariants:

- a request that no entry names is refused; nothing is open by accident;
- a path that two parties could read differently is refused before it is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import remit

from .refusal import Refusal, unclear

__all__ = ["Table"]

_ENTRY: Final = re.compile(r"[A-Z]+ (?:/(?:\{[A-Za-z_]\w*\}|[^\s{}/]*))+", re.ASCII)
_PARAMETER: Final = re.compile(r"\{(\w+)\}", re.ASCII)
_ODD: Final = re.compile(r"[\x00-\x1f\x7f\\\ufffd]|%[0-9A-Fa-f]{2}|/(?:\.{1,2})?(?=/)|/\.{1,2}$")
"""Control characters, backslashes, what was no UTF-8, what is encoded twice, empty and dotted segments."""
_HIDDEN: Final = re.compile(rb"%(?:2f|5c)", re.IGNORECASE)
"""A slash or a backslash that was encoded: one segment or two?"""


class Table:
    """All entries, the guarded ones first.

    Args:
        routes: entry to capability; of two that name a request, the first counts.
        public: entries that need nothing.

    Raises:
        ConfigError: when an entry is none, or nothing is guarded.
    """

    def __init__(self, routes: Mapping[str, str], public: Iterable[str]) -> None:
        guarded = [(_pattern(entry), remit.Capability(name).name) for entry, name in routes.items()]
        if not guarded:
            raise remit.ConfigError("routes names nothing that is guarded")
        self._entries = (*guarded, *((_pattern(entry), None) for entry in public))

    def find(self, scope: Mapping[str, Any]) -> tuple[str | None, dict[str, str]]:
        """Return the capability that a request needs, None where it is public, and its path's parameters.

        Raises:
            Refusal: when no entry names it, or its path is odd.
        """
        path, root = scope["path"], scope.get("root_path", "")
        if not path.startswith("/") or _ODD.search(path) or _HIDDEN.search(scope.get("raw_path") or b""):
            raise unclear("The path could be read in more than one way.")
        below = path.removeprefix(root)  # as the application sees it, below where it is mounted
        if below and not below.startswith("/"):
            below = path
        for pattern, capability in self._entries:
            found = pattern.fullmatch(f"{scope['method']} {below}")
            if found is not None:
                return capability, found.groupdict()
        raise Refusal(403, "capability_missing", "No capability is for this method and path.")


def _pattern(entry: str) -> re.Pattern[str]:
    if not _ENTRY.fullmatch(entry) or _ODD.search(entry):
        raise remit.ConfigError(f"{entry!r} is no method and path such as 'POST /trades/{{account}}'")
    parts = enumerate(_PARAMETER.split(entry))
    try:
        return re.compile("".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in parts))
    except re.error as error:
        raise remit.ConfigError(f"{entry!r}: {error}") from None
