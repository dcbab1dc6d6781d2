"""Text, times and identifiers as the pages show them.

What comes from a token or a log is somebody else's: it is shown with its control characters and marks of
direction spelt out, so that none turns round what stands beside it. A name may still look like another, by
letters that are alike; one with characters outside ASCII has a mark, which says what they are.
"""

from __future__ import annotations

from typing import Final
from unicodedata import east_asian_width, name
from urllib.parse import urlencode

from markupsafe import Markup

from remit.names import moment

__all__ = [
    "abridged",
    "clock",
    "day",
    "foreign",
    "instant",
    "lasting",
    "link",
    "plural",
    "relative",
    "short",
    "tame",
    "when",
]

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_SHORTLY: Final = 90
"""Below so many seconds they are counted as such."""
_SOON: Final = 10 * _HOUR
"""Below, minutes are told beside hours."""
_LATER: Final = 2 * _DAY
_WHOLE: Final = 12
_END: Final = 8
_WIDE: Final = frozenset("WF")
_TOLD: Final = 8
"""Characters that a mark tells of."""


def tame(value: object) -> object:
    """Return text with what is not printable spelt out, and anything else as it is.

    The templates pass all that they show through here, before it is escaped.
    """
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join([char if char.isprintable() else ascii(char)[1:-1] for char in value])


def foreign(text: object) -> str | None:
    """Return which characters of a text are outside ASCII, by code point and name; None when none is."""
    if not isinstance(text, str) or text.isascii():
        return None
    others = [*dict.fromkeys(char for char in text if not char.isascii())]
    told = ", ".join(f"U+{ord(char):04X} {name(char, 'without a name')}" for char in others[:_TOLD])
    rest = f" and {len(others) - _TOLD} more" if len(others) > _TOLD else ""
    return f"not ASCII: {told}{rest}"


def when(seconds: float) -> str:
    """Return seconds since the epoch as a date and a time, in UTC."""
    return f"{day(seconds)} {clock(seconds)}"


def day(seconds: float) -> str:
    """Return the date of seconds since the epoch."""
    return _spelt(seconds, "%Y-%m-%d")


def clock(seconds: float) -> str:
    """Return the time of day of seconds since the epoch."""
    return _spelt(seconds, "%H:%M:%S")


def instant(seconds: float) -> str:
    """Return seconds since the epoch as HTML's `datetime` has them (RFC 3339)."""
    return _spelt(seconds, "%Y-%m-%dT%H:%M:%SZ")


def _spelt(seconds: float, form: str) -> str:
    try:
        return format(moment(seconds), form)
    except (ValueError, OverflowError, OSError):  # beyond the years that a date can show
        return f"{seconds:g} s"


def relative(seconds: float, now: float) -> str:
    """Return how far a time is from now: `in 12 min`, `3 h 20 min ago`."""
    distance = seconds - now
    text = lasting(abs(distance))
    return "now" if abs(distance) < 1 else f"in {text}" if distance > 0 else f"{text} ago"


def lasting(seconds: float) -> str:
    """Return a length of time as people say it."""
    size = int(seconds)
    if size < _SHORTLY:
        return f"{size} s"
    if size < _HOUR:
        return f"{size // _MINUTE} min"
    if size >= _LATER:
        return f"{size // _DAY} d"
    hours, minutes = size // _HOUR, size % _HOUR // _MINUTE
    return f"{hours} h {minutes} min" if minutes and size < _SOON else f"{hours} h"


def short(identifier: str) -> str:
    """Return the end of an identifier: tokens of the same minute begin alike."""
    return identifier if len(identifier) <= _WHOLE else f"…{identifier[-_END:]}"


def abridged(text: str, columns: int) -> str:
    """Return what fits into so many columns of a picture, where a wide character takes two."""
    shown, used = "", 0
    for char in str(tame(text)):
        used += 2 if east_asian_width(char) in _WIDE else 1
        if used > columns:
            return f"{shown[:-1]}…"
        shown += char
    return shown


def plural(count: int, what: str) -> str:
    """Return `1 token`, `2 tokens`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def link(page: str, **parameters: object) -> str:
    """Return the address of a page of the console, those parameters left out that are None or empty."""
    given = {name: str(value) for name, value in parameters.items() if value not in {None, ""}}
    query = urlencode(given, errors="replace")
    return f"/console/{page}?{query}" if query else f"/console/{page}"
