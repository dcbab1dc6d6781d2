"""Which line of a TOML text says what: `tomllib` tells values, and not where they stand.

`locate` walks a text that `tomllib` has accepted already, so it needs to know where a value ends and
not what it is worth. It never fails: where it is at a loss it stops, and what it did not see has the
line of the table around it.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, TypeAlias

__all__ = ["Lines", "Place", "locate"]

Place: TypeAlias = "tuple[str | int, ...]"
"""The way to a value: keys, and positions in arrays counted from 0."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*+")
_SPACE: Final = re.compile(r"[ \t]*+")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]++")
# The order matters: three quotes open a long text, which may end with up to two quotes of its own.
_TEXT: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}'
    r"|'''(?:[^']|'(?!''))*+'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*+'",
    re.DOTALL,
)
_PLAIN: Final = re.compile(r"[^,\]}#\n]++")


class _Lost(Exception):
    """The text is not as expected; nothing more can be said of it."""


class Lines:
    """The line of every table and value of a text, counted from 1."""

    def __init__(self, known: Mapping[Place, int]) -> None:
        self._known = known

    def of(self, place: Place) -> int:
        """Return the line where `place` is, or that of the innermost table around it."""
        while place and place not in self._known:
            place = place[:-1]
        return self._known.get(place, 1)

    def places(self) -> list[Place]:
        """Return every place that has a line of its own."""
        return list(self._known)


def locate(text: str) -> Lines:
    """Return the lines of everything in `text`, which is valid TOML."""
    walk = _Walk(text)
    with suppress(_Lost, RecursionError):  # what was seen until then is right
        walk.document()
    return Lines(walk.known)


class _Walk:
    """One walk through a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._ends = [match.start() for match in re.finditer(r"\n", text)]
        self._implied: set[Place] = set()
        self._arrays: dict[Place, int] = {}
        """How many tables each array of tables has so far."""
        self.known: dict[Place, int] = {}

    def document(self) -> None:
        """Walk through headers and what stands under them."""
        table: Place = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Place:
        line = self._line()
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        parts = self._key()
        self._expect("]]" if is_array else "]")
        table: Place = ()
        for part in parts[:-1]:
            table = self._inside((*table, part))
        table = (*table, parts[-1])
        if is_array:
            count = self._arrays.get(table, 0)
            self._arrays[table] = count + 1
            table = (*table, count)
        else:
            table = self._inside(table)
        self._note(table, line)
        return table

    def _inside(self, table: Place) -> Place:
        """Return `table`, or when it is an array of tables, its last one."""
        count = self._arrays.get(table)
        return table if count is None else (*table, count - 1)

    def _pair(self, table: Place) -> None:
        line = self._line()
        place = (*table, *self._key())
        self._expect("=")
        self._skip(_SPACE)
        self._note(place, line)
        self._value(place)

    def _value(self, place: Place) -> None:
        start = self._text[self._at : self._at + 1]
        if start == "[":
            self._array(place)
        elif start == "{":
            self._inline(place)
        elif start in {'"', "'"}:
            self._match(_TEXT)
        else:
            self._match(_PLAIN)

    def _array(self, place: Place) -> None:
        self._at += 1
        count = 0
        while self._skip(_BLANK) < len(self._text) and self._text[self._at] != "]":
            self._note((*place, count), self._line())
            self._value((*place, count))
            count += 1
            self._comma()
        self._expect("]")

    def _inline(self, place: Place) -> None:
        self._at += 1
        while self._skip(_BLANK) < len(self._text) and self._text[self._at] != "}":
            self._pair(place)
            self._comma()
        self._expect("}")

    def _comma(self) -> None:
        self._skip(_BLANK)
        if self._text.startswith(",", self._at):
            self._at += 1

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            quoted = self._text[self._at : self._at + 1] in {'"', "'"}
            spelled = self._match(_TEXT if quoted else _BARE_KEY)
            parts.append(_unquoted(spelled) if quoted else spelled)
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _note(self, place: Place, line: int) -> None:
        if place not in self.known or place in self._implied:
            self.known[place] = line
        self._imply(place[:-1], line)

    def _imply(self, place: Place, line: int) -> None:
        """Give `place` and what it lies in a line, until a header of their own says better."""
        while place and place not in self.known:
            self.known[place] = line
            self._implied.add(place)
            place = place[:-1]

    def _line(self) -> int:
        return bisect_right(self._ends, self._at - 1) + 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return self._at

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _Lost
        self._at = match.end()
        return match[0]

    def _expect(self, mark: str) -> None:
        self._skip(_SPACE)
        if not self._text.startswith(mark, self._at):
            raise _Lost
        self._at += len(mark)


def _unquoted(key: str) -> str:
    if "\\" not in key:
        return key[1:-1]
    try:
        return next(iter(tomllib.loads(f"{key} = 0")))  # escapes, as the parser itself reads them
    except tomllib.TOMLDecodeError:
        raise _Lost from None
