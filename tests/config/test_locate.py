"""The lines of a TOML text, as a person would count them."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.config.locate import Place, locate

SAMPLE = '''\
# a comment with [brackets] and "quotes"
title = "x"  # and one more = here
[a.b]
one = 1
"quoted.key" = [1, 2,
  3, # not ] the end
  { deep = "}", two = [4] },
]
dotted."\\u00e9".key = true

[[list]]
n = """
[not.a.table]
x = "no key" \\
# no comment"""
[list.sub]
m = \'\'\'
''quotes''\'\'\'
[[list]]
[list.sub]
m = 1979-05-27 07:32:00
[a]
late = """five: \\"""\\""""
'a b'.c = +inf
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("title",), 2),
        (("a", "b"), 3),
        (("a", "b", "one"), 4),
        (("a", "b", "quoted.key"), 5),
        (("a", "b", "quoted.key", 0), 5),
        (("a", "b", "quoted.key", 2), 6),
        (("a", "b", "quoted.key", 3), 7),
        (("a", "b", "quoted.key", 3, "deep"), 7),
        (("a", "b", "quoted.key", 3, "two", 0), 7),
        (("a", "b", "dotted"), 9),
        (("a", "b", "dotted", "é", "key"), 9),
        (("list",), 11),
        (("list", 0), 11),
        (("list", 0, "n"), 12),
        (("list", 0, "sub"), 16),
        (("list", 0, "sub", "m"), 17),
        (("list", 1), 19),
        (("list", 1, "sub"), 20),
        (("list", 1, "sub", "m"), 21),
        (("a",), 22),
        (("a", "late"), 23),
        (("a", "a b", "c"), 24),
    ],
)
def test_everything_has_the_line_where_it_is_written(place: Place, line: int) -> None:
    assert tomllib.loads(SAMPLE)
    assert locate(SAMPLE).of(place) == line


@pytest.mark.parametrize(
    ("place", "line"),
    [(("a", "b", "absent"), 3), (("a", "b", "one", "deeper", 3), 4), (("absent",), 1), ((), 1)],
)
def test_what_is_not_there_has_the_line_of_what_is_around_it(place: Place, line: int) -> None:
    assert locate(SAMPLE).of(place) == line


def test_lines_that_end_as_on_windows_count_the_same() -> None:
    text = SAMPLE.replace("\n", "\r\n")
    assert {place: locate(text).of(place) for place in places_of(tomllib.loads(text))} == {
        place: locate(SAMPLE).of(place) for place in places_of(tomllib.loads(SAMPLE))
    }


def places_of(value: object, place: Place = ()) -> set[Place]:
    """Every way to a value, as the parser sees them."""
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return {place for place in [place] if place}.union(*(places_of(v, (*place, k)) for k, v in inner))


# ── documents that are made together with their lines ───────────────────────────────────────────────────────

KEYS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=6),
    st.sampled_from(["a.b", "#", "]", '"', "'", "\\", "=", "é", "", " "]),
)
SCALARS = st.sampled_from(
    ["1", "0x0", "1_000", "3.14", "true", "nan", "-inf", "1979-05-27", "1979-05-27 07:32:00Z", "07:32:00",
     '""', "''", '"#"', "'\\'", '"\\""', '"]}"', "'[a]'", '"=\\\\"', '""""a"b""c"""""', "'''''a'b''c'''''",
     '"""\n[x]\n# y\n"""', "'''\n\"\"\"\na = 1\n'''", '"""a \\\n   \\"""\n"""']
)  # fmt: skip
GAPS = st.sampled_from(["", " ", "\t"])
BREAKS = st.sampled_from(["", " ", "\n", "\n\n", '  # ], } and "\n', "\n# [a]\n  "])
ENDS = st.sampled_from(["\n", " # x = 1\n", "\n\n", "\n  # [[a]]\n", "\n\t\n"])


class Page:
    """A text that grows, and the line of everything in it."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[Place, int] = {}

    def put(self, text: str) -> None:
        self.text += text

    def gap(self) -> None:
        self.put(self.draw(GAPS))

    def mark(self, place: Place) -> None:
        line = self.text.count("\n") + 1
        for length in range(1, len(place) + 1):
            self.lines.setdefault(place[:length], line)

    def key(self, parts: list[str]) -> None:
        for i, part in enumerate(parts):
            if i:
                self.gap()
                self.put(".")
                self.gap()
            self.put(self.spelled(part))

    def spelled(self, key: str) -> str:
        escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}" for c in key)
        ways = [f'"{escaped}"', '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"']
        if key and all(c.isascii() and (c.isalnum() or c in "-_") for c in key):
            ways.append(key)
        if "'" not in key:
            ways.append(f"'{key}'")
        return self.draw(st.sampled_from(ways))

    def value(self, place: Place, depth: int) -> None:
        kind = self.draw(st.sampled_from(["scalar", "scalar", "array", "inline"] if depth else ["scalar"]))
        if kind == "scalar":
            self.put(self.draw(SCALARS))
        elif kind == "array":
            self.array(place, depth)
        else:
            self.inline(place, depth)

    def array(self, place: Place, depth: int) -> None:
        self.put("[")
        for i in range(self.draw(st.integers(0, 3))):
            if i:
                self.put(",")
            self.put(self.draw(BREAKS))
            self.mark((*place, i))
            self.value((*place, i), depth - 1)
            self.put(self.draw(BREAKS))
        self.put("]")

    def inline(self, place: Place, depth: int) -> None:
        self.put("{")
        for i, name in enumerate(self.draw(st.lists(KEYS, max_size=3, unique=True))):
            if i:
                self.put(",")
            self.gap()
            self.pair(place, name, depth - 1)
            self.gap()
        self.put("}")

    def pair(self, table: Place, name: str, depth: int) -> None:
        parts = [name, *self.draw(st.lists(KEYS, max_size=2))]
        self.mark((*table, *parts))
        self.key(parts)
        self.gap()
        self.put("=")
        self.gap()
        self.value((*table, *parts), depth)

    def pairs(self, table: Place) -> None:
        for name in self.draw(st.lists(KEYS.map(lambda key: f"{key}="), max_size=3, unique=True)):
            self.gap()
            self.pair(table, name, 2)
            self.put(self.draw(ENDS))

    def header(self, parts: list[str], place: Place, *, array: bool = False) -> None:
        self.gap()
        line = self.text.count("\n") + 1
        self.mark(place)
        self.lines[place] = line
        self.put("[[" if array else "[")
        self.gap()
        self.key(parts)
        self.gap()
        self.put("]]" if array else "]")
        self.put(self.draw(ENDS))
        self.pairs(place)


@st.composite
def pages(draw: st.DrawFn) -> Page:
    page = Page(draw)
    page.put(draw(st.sampled_from(["", "\n", "# [x]\n"])))
    page.pairs(())
    for name in draw(st.lists(KEYS.map(lambda key: f"{key}t"), max_size=3, unique=True)):
        kind = draw(st.sampled_from(["table", "nested", "backwards", "array"]))
        if kind == "table":
            page.header([name], (name,))
        elif kind == "nested":
            page.header([name, "sub"], (name, "sub"))
        elif kind == "backwards":  # the inner table first, then the one around it
            page.header([name, "sub"], (name, "sub"))
            page.header([name], (name,))
        else:
            for i in range(draw(st.integers(1, 3))):
                page.header([name], (name, i), array=True)
                if draw(st.booleans()):
                    page.header([name, "sub"], (name, i, "sub"))
    return page


@given(pages())
def test_in_any_document_every_place_has_the_line_where_it_was_put(page: Page) -> None:
    """Each key, element and table of a document is on the line where it was written, and none is missed."""
    lines = locate(page.text)
    assert places_of(tomllib.loads(page.text)) == set(page.lines) == set(lines.places())
    assert {place: lines.of(place) for place in page.lines} == page.lines


@given(st.text(st.sampled_from(list("[]{}=,.#\"'\\ \n\tab1-_é")), max_size=80))
def test_whatever_the_text_the_walk_ends_and_raises_nothing(text: str) -> None:
    """A text that is no TOML has lines too, somewhere."""
    assert locate(text).of(("a", "b")) >= 1
    try:
        tables: Any = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    assert places_of(tables) == set(locate(text).places())
