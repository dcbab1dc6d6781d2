"""Bindings: which credential a tool call runs under.

A binding lives in a `ContextVar`. It is either for a block of plain Python, or for one call of one
capability, the form that adapters use: then the tool's body runs with nothing bound, so that what
the tool starts (another agent, a callback, a background task) inherits no authority.

Threads that a tool starts by itself begin with an empty context: nothing bound, nothing allowed.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from remit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from contextvars import Token
    from types import TracebackType

    from remit.secrets import Secret

__all__ = ["Admission", "Binding", "BoundScope", "Call", "current_binding", "unbound"]


@dataclass(slots=True, repr=False)
class Call:
    """One call that wants to be allowed."""

    capability: str
    arguments: Mapping[str, Any]
    """What the caller passes, by parameter name; whoever decides takes a private copy."""
    defaults: Mapping[str, Any] | None = None
    """What the tool takes for parameters that were not passed."""
    secrets: Collection[str] = ()
    """The names of the secrets that the tool wants."""
    injected: Collection[str] = ()
    """The names of parameters that a framework fills in, which are no arguments."""
    problem: str | None = None
    """Why the arguments do not fit the tool, when they do not."""
    fresh: int | None = None
    """The tool's own staleness bound, in seconds."""


@dataclass(slots=True, repr=False)
class Admission:
    """A call that was allowed, and what it takes to run it."""

    arguments: dict[str, Any]
    """The private copy that was checked: the tool runs on these very values."""
    defaults: dict[str, Any]
    """The private copy of the defaults that were checked."""
    secrets: Mapping[str, Secret]
    """Secret name to secret, for those the call asked for."""
    recheck: Callable[[], None]
    """Raises `Denied` when the credential has since expired, been revoked or closed."""
    settle: Callable[[BaseException | None], None]
    """Records the outcome, once."""


@dataclass(slots=True)
class Binding:
    """Leads a guarded function to the one who decides about its calls."""

    admit: Callable[[Call], Admission]
    """Returns the admission of one call, or raises `Denied`."""
    capability: str | None = None
    """The one capability that a call-scoped binding is for; None for a block."""
    waits: bool = False
    """Whether admitting may wait for a network, and so is not done on an event loop."""
    ended: bool = False
    """Whether its block is over: a task that copied its context then has nothing bound."""

    def renewed(self) -> Binding:
        """Return the same binding for another block."""
        return Binding(self.admit, self.capability, self.waits)

    def inside(self) -> Binding | None:
        """Return what is bound in the body of a tool that was called under this."""
        return None if self.capability is not None else Binding(self.admit, None, self.waits)


_current: Final[ContextVar[Binding | None]] = ContextVar("remit_binding", default=None)
current_binding: Final = _current.get


class BoundScope:
    """Sets the binding on entry and puts the former one back on exit.

    Args:
        binding: what is bound inside; None binds nothing.
        ends: whether the binding is over on exit, also where its context was copied to.
    """

    __slots__ = ("_binding", "_ends", "_token")

    def __init__(self, binding: Binding | None, *, ends: bool = False) -> None:
        self._binding = binding
        self._ends = ends
        self._token: Token[Binding | None] | None = None

    @property
    def binding(self) -> Binding | None:
        """What is bound inside."""
        return self._binding

    def __enter__(self) -> None:
        if self._token is not None:
            raise ConfigError("a binding is entered once at a time; make one for each block")
        if self._ends and self._binding is not None:
            self._binding = self._binding.renewed()
        self._token = _current.set(self._binding)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if self._ends and self._binding is not None:
            self._binding.ended = True
        if token is not None:
            try:  # noqa: SIM105 - suppress() would cost each call more than the reset itself
                _current.reset(token)
            except ValueError:
                pass  # a generator or coroutine was closed from a context in which nothing was set


def unbound() -> BoundScope:
    """Return a context in which nothing is bound, for code that must not inherit the caller's authority."""
    return BoundScope(None)
