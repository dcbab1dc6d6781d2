"""What is wrong with one value of a policy file, and where inside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from typing import Any, Final, NoReturn, ParamSpec, TypeVar, cast

from remit.config.locate import Place
from remit.config.source import nearest
from remit.errors import ConfigError, shown

__all__ = ["Collector", "Misfit", "collected", "filled_list", "filled_table", "known_keys", "plain", "refuse"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_NAMES: Final[tuple[tuple[Any, str], ...]] = (
    (bool, "true or false"),
    (str, "text"),
    (int, "a whole number"),
    (float, "a number"),
    (list, "a list"),
    (dict, "a table"),
    (date, "a date"),
    (time, "a time"),
)


class Misfit(ValueError):
    """A value does not fit; `problems` say where inside it, and why. None of them quotes a secret."""

    def __init__(self, problems: Iterable[tuple[Place, str]]) -> None:
        self.problems: list[tuple[Place, str]] = list(problems)
        super().__init__("; ".join(text for _, text in self.problems))

    def inside(self, *outer: str | int) -> Misfit:
        """Return the same, as seen from further out."""
        return Misfit(((*outer, *place), text) for place, text in self.problems)


def refuse(text: str, *place: str | int) -> NoReturn:
    """Raise a misfit with one problem."""
    raise Misfit([(place, text)])


def kind_of(value: object) -> str:
    """Return what a TOML value is, in words."""
    return next((name for kind, name in _NAMES if isinstance(value, kind)), "something else")


class Collector:
    """Goes on after a misfit, so that all of them are told at once."""

    def __init__(self) -> None:
        self._problems: list[tuple[Place, str]] = []

    def of(self, place: Place, read: Callable[_P, _T], *args: _P.args, **keywords: _P.kwargs) -> _T | None:
        """Return what `read` returns for the value at `place`, or None after noting why it does not fit."""
        try:
            return read(*args, **keywords)
        except Misfit as misfit:
            self._problems += misfit.inside(*place).problems
        except ConfigError as error:
            self._problems.append((place, str(error)))
        return None

    def note(self, text: str, *place: str | int) -> None:
        """Note a problem."""
        self._problems.append((place, text))

    def settle(self) -> None:
        """Raise everything that was noted, if anything was."""
        if self._problems:
            raise Misfit(self._problems)


def collected(what: str, values: object, read: Callable[[Any], _T]) -> list[_T]:
    """Return the elements of a list that is not empty, each as `read` reads it."""
    collector = Collector()
    found = [collector.of((i,), read, one) for i, one in enumerate(filled_list(what, values))]
    collector.settle()
    return cast("list[_T]", found)


def filled_list(what: str, value: object) -> list[Any]:
    """Return `value` when it is a list with something in it. Empty never means everything, nor nothing."""
    if not isinstance(value, list):
        refuse(f"{what} must be a list, not {kind_of(value)}")
    if not value:
        refuse(f"{what} is empty; name at least one, or leave the line out")
    return value  # pyright: ignore[reportUnknownVariableType]  # it may hold anything that TOML has


def filled_table(what: str, value: object) -> dict[str, Any]:
    """Return `value` when it is a table with something in it."""
    if not isinstance(value, dict):
        refuse(f"{what} must be a table, not {kind_of(value)}")
    if not value:
        refuse(f"{what} is empty; name at least one, or leave the line out")
    return cast("dict[str, Any]", value)


def known_keys(what: str, table: Mapping[str, object], known: Iterable[str]) -> None:
    """Refuse the keys of `table` that are not known, each with what was probably meant."""
    collector = Collector()
    for key in table.keys() - set(known):
        close = nearest(key, known)
        hint = "" if close is None else f", did you mean {shown(close)}?"
        collector.note(f"unknown {what} {shown(key)}{hint}", key)
    collector.settle()


def plain(value: object) -> None:
    """Refuse what JSON has no form for, at any depth: dates, times, nan and inf."""
    if isinstance(value, dict):
        for key, inner in cast("dict[str, object]", value).items():
            _plain_inside(inner, key)
    elif isinstance(value, list):
        for i, inner in enumerate(cast("list[object]", value)):
            _plain_inside(inner, i)
    elif isinstance(value, date | time):
        refuse(f"{kind_of(value)} has no form in JSON; write it as text, the way the tool is given it")
    elif isinstance(value, float) and not math.isfinite(value):
        refuse("nan and inf are no numbers that an argument can have")


def _plain_inside(value: object, key: str | int) -> None:
    try:
        plain(value)
    except Misfit as misfit:
        raise misfit.inside(key) from None
