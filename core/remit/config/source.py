"""The text of a policy file: read within bounds, parsed, and complained about by line."""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from remit.config.locate import Lines, Place, locate
from remit.errors import ConfigError, shown
from remit.files import as_path

__all__ = ["MAX_SIZE", "Problem", "Problems", "Source", "nearest"]

MAX_SIZE: Final = 256 * 1024
"""Bytes of the largest policy file that is read."""
_MAX_DEPTH: Final = 100
"""Thirty-two nested constraints take two levels each, and stand a few levels deep themselves."""
_MAX_PROBLEMS: Final = 50
_MAX_CANDIDATES: Final = 1000
_MAX_COMPARED: Final = 100
_CLOSE: Final = 0.65
"""How much two names must be alike, 1 being the same."""
_BOM: Final = b"\xef\xbb\xbf"
_POSITION: Final = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>[0-9]+), column [0-9]+|end of document)\)")
# The parser takes time quadratic in the parts of a dotted key. Nothing sound has this many.
_LONG_KEY: Final = re.compile(
    r"""(?<![\w\\-])(?:(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\[^\n])*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){64}"""
)


class Problem(NamedTuple):
    """Something wrong in a file, and the line where."""

    line: int | None
    """Counted from 1; None when it concerns the file as a whole."""
    text: str


@dataclass(frozen=True, eq=False, repr=False)
class Source:
    """A policy file that was read and is TOML. It does not show itself: a URL in it may hold a password."""

    path: Path
    """As it was named."""
    folder: Path
    """The folder that paths in the file are relative to, wherever the program goes afterwards."""
    text: str
    data: dict[str, Any]

    def __repr__(self) -> str:
        return f"<Source {self.name}>"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Source:
        """Return the file's contents.

        Raises:
            ConfigError: when it cannot be read, is too large, or is not TOML in UTF-8 without a
                byte order mark.
        """
        target = as_path(path)
        data, problem = _decoded(_read(target))
        if problem is not None:
            raise ConfigError(_told(target, problem))
        text = cast("str", data)
        tables, problem = _parsed(text)
        if problem is not None:
            raise ConfigError(_told(target, problem))
        folder = Path(os.path.abspath(target)).parent  # noqa: PTH100 - a mounted link stays where it is mounted
        return cls(target, folder, text, tables)

    @cached_property
    def lines(self) -> Lines:
        """Where everything stands."""
        return locate(self.text)

    @property
    def name(self) -> str:
        """The file as it was named, for a message."""
        return _plain(self.path)

    def where(self, *place: str | int) -> str:
        """Return the file and line of `place`, for a message."""
        return f"{self.name}:{self.lines.of(place)}"

    def refusal(self, problems: Iterable[Problem]) -> ConfigError:
        """Return the error that tells all problems, one a line, in the order of their lines."""
        ordered = sorted(problems, key=lambda problem: problem.line or 0)
        told = [_told(self.path, problem) for problem in ordered[:_MAX_PROBLEMS]]
        if len(ordered) > _MAX_PROBLEMS:
            told.append(f"{_plain(self.path)}: and {len(ordered) - _MAX_PROBLEMS} more")
        return ConfigError("\n".join(told))


class Problems:
    """What was found wrong in one file so far."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.found: list[Problem] = []

    def add(self, place: Place, text: str) -> None:
        """Complain about what stands at `place`."""
        self.found.append(Problem(self._source.lines.of(place), text))

    def hint(self, name: str, candidates: Iterable[str]) -> str:
        """Return `, did you mean 'x'?` when there is a candidate close to `name`, else nothing."""
        if len(self.found) > _MAX_PROBLEMS:
            return ""  # it would not be shown
        close = nearest(name, candidates)
        return "" if close is None else f", did you mean {shown(close)}?"


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `name` was most likely meant to be, if one is close enough."""
    if len(name) > _MAX_COMPARED:
        return None
    folded = {one.casefold(): one for one in sorted(set(candidates) - {name})[:_MAX_CANDIDATES]}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=_CLOSE)
    close += [one for one in folded if name.casefold().startswith(one)]  # `maximum` for `max`
    return folded[close[0]] if close else None


def _read(path: Path) -> bytes:
    """Return a file's bytes, one more than the most allowed when there are too many."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for ever
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_SIZE + 1) if stat.S_ISREG(mode) else None
    except IsADirectoryError:
        data = None
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise ConfigError(f"{_plain(path)}: cannot be read: {why}") from None
    if data is None:
        what = "a directory" if path.is_dir() else "not a regular file"
        raise ConfigError(f"{_plain(path)}: cannot be read: it is {what}")
    return data


def _decoded(data: bytes) -> tuple[str, None] | tuple[None, Problem]:
    if len(data) > MAX_SIZE:
        return None, Problem(None, f"is larger than {MAX_SIZE // 1024} KiB")
    if data.startswith(_BOM):
        return None, Problem(1, "starts with a byte order mark; save it as UTF-8 without one")
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError as error:
        return None, Problem(data.count(b"\n", 0, error.start) + 1, "is not UTF-8")


def _parsed(text: str) -> tuple[dict[str, Any], Problem | None]:
    long_key = _LONG_KEY.search(text)
    if long_key is not None:
        return {}, Problem(text.count("\n", 0, long_key.start()) + 1, "a key has too many parts")
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _POSITION.fullmatch(str(error))
        what = match["what"] if match else str(error)
        line = int(match["line"]) if match and match["line"] else text.rstrip().count("\n") + 1
        return {}, Problem(line, f"is not valid TOML: {ascii(what)[1:-1][:200]}")
    except ValueError:  # what `int` says of more digits than it takes
        return {}, Problem(None, "holds a number with too many digits")
    except RecursionError:
        return {}, Problem(None, "nests too deeply")
    too_deep = _too_deep(tables)
    return tables, None if too_deep is None else Problem(locate(text).of(too_deep), "nests too deeply")


def _too_deep(tables: dict[str, Any]) -> Place | None:
    """Return a place that is deeper than anything sound, if there is one."""
    waiting: list[tuple[Place, object]] = [((), tables)]
    while waiting:
        place, value = waiting.pop()
        if len(place) > _MAX_DEPTH:
            return place
        if isinstance(value, dict):
            waiting += [((*place, key), inner) for key, inner in cast("dict[str, object]", value).items()]
        elif isinstance(value, list):
            waiting += [((*place, i), inner) for i, inner in enumerate(cast("list[object]", value))]
    return None


def _told(path: Path, problem: Problem) -> str:
    line = "" if problem.line is None else f":{problem.line}"
    return f"{_plain(path)}{line}: {problem.text}"


def _plain(path: Path) -> str:
    """Return a path as it was given, when that is fit for a terminal."""
    text = str(path)
    return text if text.isprintable() else shown(text)
