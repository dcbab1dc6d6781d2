"""What a command prints: plain lines, tables and trees for people, one JSON document for programs.

Invariants:

- what comes from a token, a log or a file is printed escaped: no control character, no direction mark
  and no Rich markup of somebody else's reaches the terminal;
- results go to standard output; what went wrong, and what is said beside a result, to standard error;
- a token or a private key that was given by mistake is not repeated.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Final

import typer

from remit.names import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

__all__ = [
    "console",
    "note",
    "plural",
    "print_json",
    "print_json_line",
    "print_table",
    "printable",
    "redacted",
    "say",
    "when",
]

_MAX_TEXT: Final = 200
_WIDE: Final = 1000
"""Columns where nobody looks: a record is then one line, whatever it holds."""
_HIDDEN: Final = "[not shown]"
_SECRETS: Final = (
    re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*"),  # a token, or a good part of one
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
    re.compile(r"""\\?["']d\\?["']\s*:\s*\\?["'][^"']*["']?"""),  # the private part of a JWK
)


def say(text: str, *, colour: str | None = None) -> None:
    """Print a line of a result."""
    typer.secho(_tamed(text), fg=colour)


def note(text: str) -> None:
    """Say something beside a result, or why there is none."""
    typer.echo(f"remit: {_tamed(redacted(text))}", err=True)


def _tamed(text: str) -> str:
    """Return text without what moves a cursor, changes a colour or turns the direction of writing round."""
    return "".join([char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text])


def redacted(text: str) -> str:
    """Return `text` without what looks like a token or a private key in it."""
    for pattern in _SECRETS:
        text = pattern.sub(_HIDDEN, text)
    return text


def printable(text: str, *, limit: int = _MAX_TEXT) -> str:
    """Return text of unknown origin as ASCII on one line, at most `limit` characters of it."""
    short = text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return short if short.isascii() and short.isprintable() else ascii(short)[1:-1]


def when(seconds: float) -> str:
    """Return seconds since the epoch as people read them."""
    try:
        return f"{moment(seconds):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):  # beyond the years that a date can show
        return f"{seconds:g} s"


def plural(count: int, what: str) -> str:
    """Return `1 token`, `2 tokens`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def print_json(document: object) -> None:
    """Print one JSON document, in ASCII and without a control character."""
    text = json.dumps(document, indent=2, allow_nan=False)
    typer.echo(text.replace("\x7f", "\\u007f"))  # the one control character that JSON leaves as it is


def print_json_line(document: object) -> None:
    """Print one JSON document on a line of its own, where many follow one another."""
    typer.echo(json.dumps(document, allow_nan=False).replace("\x7f", "\\u007f"))


def console() -> Console:
    """Return where trees and tables are printed. Nothing in them is taken for markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDE
    return Console(width=width, markup=False, emoji=False, highlight=False)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; in a pipe each row is one line."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_tamed(cell)) for cell in row))
    console().print(table)
