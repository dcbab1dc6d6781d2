"""What every adapter does alike: binding the tools of a framework to one credential."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from remit.binding import unbound
from remit.decorator import bound_by, mark_of
from remit.errors import ConfigError, Denied, shown
from remit.lender import CredentialSource, Lender, TaskSource
from remit.names import check_name, mapping

if TYPE_CHECKING:
    from remit.binding import BoundScope
    from remit.guard import Guard

__all__ = ["ToolBinder"]


class ToolBinder:
    """Binds the tools of a framework to one credential; for those who write an adapter.

    A tool is here a name and its *routes*: the functions that do its work, by the names under which the
    framework keeps them, such as `{"func": ..., "coroutine": ...}`. All must be bound, or one is a way
    around the others.

    Args:
        guard: who decides about each call.
        credential: under which the calls run, or what is asked for it at each call, as for `bind_tool`.
        capability: that of the one tool there is, or of several by tool name; by default what the tool's
            routes are decorated with, else the tool's name.
        session: the session of the calls.
        task: the task of the calls, or what is asked for it at each call.
        answer: makes of a denial what a denied call returns, where the framework has a result for that;
            by default it raises `Denied`.

    Raises:
        ConfigError: when an argument makes no sense.
    """

    __slots__ = ("_answer", "_lender", "_named")

    def __init__(
        self,
        guard: Guard,
        credential: CredentialSource,
        *,
        capability: str | Mapping[str, str] | None = None,
        session: str | None = None,
        task: TaskSource = None,
        answer: Callable[[Denied], Any] | None = None,
    ) -> None:
        if answer is not None and not callable(answer):
            raise ConfigError(f"answer must make a result of a denial, not be {shown(answer)}")
        self._answer = answer
        self._lender = Lender(guard, credential, session=session, task=task)
        given = {"": capability} if isinstance(capability, str) else capability or {}
        self._named = {
            tool: check_name("capability", name) for tool, name in mapping("capability", given).items()
        }

    def check_names(self, tools: Iterable[str]) -> None:
        """Check that the tools have names of their own, and that each `capability` is for one of them.

        Raises:
            ConfigError: when a name is there twice, or a capability has no tool.
        """
        names = list(tools)
        if "" in self._named:
            if len(names) != 1:
                raise ConfigError("one capability is for one tool; for several, give them by tool name")
            self._named = {names[0]: self._named[""]}
        if len(set(names)) < len(names) or self._named.keys() - set(names):
            raise ConfigError("name each tool once, and give capabilities to tools that are there")

    def bind(
        self,
        name: str,
        routes: Mapping[str, Callable[..., Any]],
        *,
        declared: str | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> dict[str, Callable[..., Any]]:
        """Return the routes of a tool, each carrying the credential into every call and guarded alike.

        Args:
            name: the tool's name.
            routes: route name to function.
            declared: the capability that the tool object itself names, if it does.
            defaults: argument name to the default that the framework's schema fills in for it where the
                model left it out; such an argument does not count as passed.

        Raises:
            ConfigError: when there is no route, or one cannot be guarded, or they are decorated differently.
        """
        if not routes:
            raise ConfigError(f"tool {shown(name)} does its work where no guard can stand")
        told = (self._named.get(name), self.mark(name, routes), declared, name)
        capability = next(each for each in told if each is not None)
        keywords: dict[str, Any] = {"defaults": defaults or {}, "answer": self._answer}
        return {
            route: bound_by(self._lender, function, capability, **keywords)
            for route, function in routes.items()
        }

    def around(self, capability: str | None) -> BoundScope:
        """Return the context for one call of a tool that is guarded, but carries no credential.

        Args:
            capability: what the tool is guarded for; with None, as for another agent that is called
                like a tool, nothing is bound.
        """
        return unbound() if capability is None else self._lender.scope(capability)

    @staticmethod
    def mark(name: str, routes: Mapping[str, Callable[..., Any]]) -> str | None:
        """Return what all routes of a tool are decorated with, None when none is.

        Args:
            name: the tool's name, for the message.
            routes: route name to function.

        Raises:
            ConfigError: when they are not decorated alike, or something stands before a decoration: a
                cache there answers before the check is made, and a binding does not reach through it.
        """
        marks = {mark_of(route) for route in routes.values()}
        if len(marks) > 1:
            raise ConfigError(f"tool {shown(name)}: decorate {' and '.join(routes)} alike, or leave one out")
        return next(iter(marks), None)
