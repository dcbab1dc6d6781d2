"""What the contract has to know about a framework and its adapter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from remit.testing.routes import denial_in, routes_of

if TYPE_CHECKING:
    from remit.credential import Credential
    from remit.guard import Guard

__all__ = ["Adapter", "Answer", "Call", "Route"]

Route: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""One way to reach a tool: called with the arguments by name, it returns what the tool returns."""


@dataclass(frozen=True)
class Call:
    """One call that a scripted model asks for."""

    tool: str
    """The tool's name: that of its function."""
    arguments: Mapping[str, Any]
    """The arguments as the model writes them."""


@dataclass(frozen=True)
class Answer:
    """What the model was told about one call."""

    text: str
    """All that it was told, as text."""
    code: str | None
    """The code of the denial as the program is told it; None where the call was allowed."""


class Adapter(ABC):
    """A framework and its adapter, as the contract drives them.

    Everything here is done with the framework's real objects; only the model is scripted.
    """

    ways: ClassVar[Sequence[str]] = ("sync", "async")
    """The ways in which an agent can be run, by names of your choice."""
    sync_ways: ClassVar[Collection[str]] = ("sync",)
    """Those of the ways in which a coroutine function cannot be a tool."""

    @abstractmethod
    def agent(
        self,
        tools: Sequence[Callable[..., Any]],
        guard: Guard,
        credential: Credential | None,
        turns: Sequence[Sequence[Call]],
    ) -> Any:
        """Make an agent (a crew, a team) and bind it as your adapter does.

        Args:
            tools: plain functions and coroutine functions, some guarded with `requires_capability`.
            guard: what decides.
            credential: what the agent acts under; None for an agent that Remit is not told of.
            turns: what its scripted model asks for: the calls of each turn at once. After the last turn
                the model says that it is done.
        """

    @abstractmethod
    def run(self, agent: Any, way: str) -> list[Answer]:
        """Run an agent in the framework's own loop, and return one answer a call, in the order of the calls.

        Args:
            agent: what `agent` made. It is run once.
            way: one of `ways`. The event loop of an asynchronous way is yours to start.
        """

    @abstractmethod
    def guarded(
        self,
        function: Callable[..., Any],
        guard: Guard,
        credential: Credential,
        capability: str | None = None,
    ) -> Any:
        """Make a native tool that carries its credential, as `guard_tools` of your adapter does.

        Args:
            function: a plain function or coroutine function, guarded already or not.
            guard: what decides.
            credential: what its calls run under.
            capability: the capability of a function that is not guarded.
        """

    @abstractmethod
    def schema(self, tool: Any) -> Mapping[str, Any]:
        """Return the JSON Schema of a native tool's parameters, as the model is shown it."""

    def routes(self, tool: Any) -> Mapping[str, Route]:
        """Return every way in which a native tool can be reached, by name.

        By default, what the `routes` of the adapters say that are registered as `remit.integrations`.

        Raises:
            ConfigError: when no adapter knows the tool.
        """
        return routes_of(tool)

    def stream(self, agent: Any) -> Iterator[object]:
        """Run an agent and yield its events one by one, so that its caller may change things in between.

        By default it is run at once, when the first event is asked for. Override this where the framework
        streams.
        """
        yield from self.run(agent, self.ways[0])

    def sharing_a_cache(self, agents: Sequence[Any]) -> Sequence[Any]:
        """Let agents share the framework's cache of results, and return them.

        By default they are returned as they are. Override this where the framework has such a cache.
        """
        return agents

    def denial_in(self, result: object) -> str | None:
        """Return the code of the denial that a route returned, None when it returned a result.

        By default it is looked for in the text of the result. A route that raises `Denied` is not asked
        for here.
        """
        return denial_in(result)

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run a test that takes a `way`, and perhaps the kind of function (`body`), with each there is."""
        if "body" in metafunc.fixturenames:
            pairs = [(way, "function") for way in self.ways]
            pairs += [(way, "coroutine") for way in self.ways if way not in self.sync_ways]
            metafunc.parametrize(("way", "body"), pairs)
        elif "way" in metafunc.fixturenames:
            metafunc.parametrize("way", self.ways)
