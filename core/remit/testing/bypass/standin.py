"""Stand-ins for the bodies of tools, so that nothing a tool does is ever done.

For the time of an attack the code of every function that could do a tool's work is replaced, in every
function object that has this code and closes over the same. Whoever begins one, in whatever thread, only
leaves a note: what was begun, on which arguments, and whether the guard itself began it, which is to say
after a decision.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import (
    CO_ASYNC_GENERATOR,
    CO_COROUTINE,
    CO_GENERATOR,
    CO_VARARGS,
    CO_VARKEYWORDS,
    currentframe,
)
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

from remit.testing.routes import of_remit

__all__ = ["Begun", "Standing", "Stopped", "made_of"]

_MARK: Final = "remit's stand-in for the body of a tool"
_FUNNEL: Final = "remit.invocation"


class Stopped(BaseException):
    """Ends a call where the body of the tool would have begun. No framework handles or retries it."""


@dataclass(frozen=True)
class Begun:
    """The body of a tool, about to begin."""

    function: str
    """Its qualified name and the place where it is defined."""
    arguments: Mapping[str, Any]
    decided: bool
    """Whether a guard has just allowed the call."""


class Standing:
    """Notes what is begun while the stand-ins stand in.

    Args:
        functions: the functions that could do a tool's work.
    """

    def __init__(self, functions: Iterable[FunctionType]) -> None:
        self.begun: list[Begun] = []
        self.answers: bool = False
        """Whether a stand-in returns something, so that what keeps results has one to keep."""
        self._stands = False
        self._held: list[tuple[FunctionType, CodeType, CodeType]] | None = None
        self._functions = list(functions)

    @contextmanager
    def in_place(self) -> Generator[None]:
        """Replace the bodies for the time of a block; inside another such block nothing needs doing."""
        if self._stands:
            yield
            return
        if self._held is None:
            self._held = self._found(self._functions)
        self._stands = True
        try:
            for holder, _, made in self._held:
                holder.__code__ = made
            yield
        finally:
            for holder, code, _ in self._held:
                holder.__code__ = code
            self._stands = False

    def cover(self, functions: Iterable[FunctionType]) -> None:
        """Let stand-ins take the place of these functions too, from now on."""
        new = [each for each in functions if not self.covers(each)]
        self._functions += new
        if self._held is None:
            return
        found = self._found(new)
        self._held += found
        for holder, _, made in found if self._stands else ():
            holder.__code__ = made

    def covers(self, function: FunctionType) -> bool:
        """Tell whether a stand-in takes the place of this very function."""
        if self._held is None:
            self._held = self._found(self._functions)
        return any(holder is function for holder, _, _ in self._held)

    def _found(self, functions: Iterable[FunctionType]) -> list[tuple[FunctionType, CodeType, CodeType]]:
        """Return all functions that do what one of these does, with their code and what stands in for it."""
        found: dict[int, tuple[FunctionType, CodeType, CodeType]] = {}
        for function in functions:
            code, made = function.__code__, made_of(function.__code__, self._hook(function))
            for holder in gc.get_referrers(code):
                if isinstance(holder, FunctionType) and _does_the_same(holder, function):
                    found[id(holder)] = holder, code, made
        return list(found.values())

    def _hook(self, function: FunctionType) -> Any:
        code = function.__code__
        where = f"{code.co_qualname} ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno})"

        def hook(arguments: dict[str, Any]) -> Any:
            self.begun.append(Begun(where, arguments, decided=_is_funnel(currentframe())))
            if self.answers:
                return "a result"
            raise Stopped

        return hook


def _does_the_same(one: FunctionType, other: FunctionType) -> bool:
    """Tell whether two functions have the same code, and close over the same things."""
    if one is other or one.__code__ is not other.__code__:
        return one is other
    pairs = zip(one.__closure__ or (), other.__closure__ or (), strict=True)
    try:
        return all(a is b or a.cell_contents is b.cell_contents for a, b in pairs)
    except ValueError:  # a cell is empty
        return False


def _is_funnel(frame: FrameType | None) -> bool:
    """Tell whether the guard called the stand-in that called the hook that runs in this frame.

    Between the guard and the tool there may be an adapter.
    """
    for _ in range(2):
        frame = None if frame is None else frame.f_back
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module == _FUNNEL or module.partition(".")[0] not in of_remit() - {"remit"}:
            return module == _FUNNEL
        frame = frame.f_back
    return False


def made_of(code: CodeType, hook: Any) -> CodeType:
    """Compile a function of the same kind, parameters and free variables that calls the hook."""
    names = list(code.co_varnames)
    split = code.co_argcount + code.co_kwonlyargcount
    ordinary, keyword = names[: code.co_argcount], names[code.co_argcount : split]
    rest = names[split:]
    parameters = ordinary[: code.co_posonlyargcount]
    parameters += ["/"] if parameters else []
    parameters += ordinary[code.co_posonlyargcount :]
    taken = [*ordinary, *keyword]
    if code.co_flags & CO_VARARGS:
        taken.append(rest.pop(0))
        parameters.append(f"*{taken[-1]}")
    elif keyword:
        parameters.append("*")
    parameters += keyword
    if code.co_flags & CO_VARKEYWORDS:
        taken.append(rest.pop(0))
        parameters.append(f"**{taken[-1]}")
    asynchronous = code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR)
    answer = "yield" if code.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR) else "return"
    source = f"""
def outer({", ".join(code.co_freevars)}):
    {"async " if asynchronous else ""}def inner({", ".join(parameters)}):
        {answer} {_MARK!r}({{{", ".join(f"{name!r}: {name}" for name in taken)}}})
        ({"".join(f"{name}, " for name in code.co_freevars)})
"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # a text is called: the hook takes its place below
        module = compile(source, code.co_filename, "exec")
    outer = next(each for each in module.co_consts if isinstance(each, CodeType))
    inner = next(each for each in outer.co_consts if isinstance(each, CodeType))
    constants = tuple(hook if each == _MARK else each for each in inner.co_consts)
    return inner.replace(
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        co_firstlineno=code.co_firstlineno,
        co_consts=constants,
    )
