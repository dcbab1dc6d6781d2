"""Which capability a request needs, and where its arguments are, by its method and path.

Invariants:

- a request that no entry names is refused; nothing is open by accident;
- a path that two parties could read differently is refused before it is looked up;
- each argument has one place, so that a handler finds it where it was checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import remit

from .refusal import Refusal

__all__ = ["Entry", "Table"]

_ENTRY: Final = re.compile(r"(?a)([A-Z]+) ((?:/(?:\{[^\W\d]\w*\}|[^\s{}/?]*))+)(?:\?([\w-]+(?:&[\w-]+)*))?")
_PARAMETER: Final = re.compile(r"\{(\w+)\}", re.ASCII)
_ODD: Final = re.compile(r"[\x00-\x1f\x7f\\\ufffd]|%[0-9A-Fa-f]{2}|/(?:\.{1,2})?(?=/)|/\.{1,2}$")
"""Control characters, backslashes, what was no UTF-8, what is encoded twice, empty and dotted segments."""
_HIDDEN: Final = re.compile(rb"%(?:2f|5c)", re.IGNORECASE)
"""A slash or a backslash that was encoded: one segment or two?"""
_WITH_BODY: Final = {"POST", "PUT", "PATCH"}


class Entry(NamedTuple):
    """What is known of the requests that it names."""

    pattern: re.Pattern[str]
    capability: str | None
    """None where it is public."""
    beside: set[str] | None
    """The arguments that are in the query, and the others in the body; None where all are in the query."""


class Table:
    """All entries, the guarded ones first.

    Args:
        routes: entry to capability; of two that name a request, the first counts.
        public: entries that need nothing.

    Raises:
        ConfigError: when an entry is none, or nothing is guarded.
    """

    def __init__(self, routes: Mapping[str, str], public: Iterable[str]) -> None:
        guarded = [_entry(text, remit.Capability(name).name) for text, name in routes.items()]
        if not guarded:
            raise remit.ConfigError("routes names nothing that is guarded")
        self._entries = (*guarded, *(_entry(text, None) for text in public))

    def find(self, scope: Mapping[str, Any]) -> tuple[Entry, dict[str, str]]:
        """Return the entry that names a request, and its path's parameters.

        Raises:
            Refusal: when no entry names it, or its path is odd.
        """
        path, root = scope["path"], scope.get("root_path", "")
        if not path.startswith("/") or _ODD.search(path) or _HIDDEN.search(scope.get("raw_path") or b""):
            raise Refusal("The path could be read in more than one way.")
        below = path.removeprefix(root)  # as the application sees it, below where it is mounted
        if below and not below.startswith("/"):
            below = path
        for entry in self._entries:
            found = entry.pattern.fullmatch(f"{scope['method']} {below}")
            if found is not None:
                return entry, found.groupdict()
        raise Refusal("No capability is for this method and path.", 403, "capability_missing")


def _entry(text: str, capability: str | None) -> Entry:
    found = _ENTRY.fullmatch(text)
    if found is None or _ODD.search(text):
        raise remit.ConfigError(f"{text!r} is no method and path such as 'POST /trades/{{account}}'")
    method, path, query = found.groups()
    parts, beside = _PARAMETER.split(path), query.split("&") if query else []
    names = [*parts[1::2], *beside]
    if len(set(names)) < len(names) or (beside and (capability is None or method not in _WITH_BODY)):
        raise remit.ConfigError(f"{text!r} names an argument twice, or a query where no body is guarded")
    path = "".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    return Entry(re.compile(f"{method} {path}"), capability, set(beside) if method in _WITH_BODY else None)
