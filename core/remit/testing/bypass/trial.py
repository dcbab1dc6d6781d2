"""One tool on trial: stand-ins in its place, and a guard of our own behind every decision."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from unittest.mock import patch

import remit
from remit.binding import Admission, Binding, BoundScope, unbound
from remit.case import Case
from remit.enforce import Enforcement
from remit.invocation import Tool
from remit.lender import Lender
from remit.testing.adapter import Route
from remit.testing.bypass.functions import is_function
from remit.testing.bypass.standin import Begun, Standing, Stopped, made_of
from remit.testing.bypass.target import Target
from remit.testing.routes import denial_in
from remit.testing.world import World

__all__ = ["Outcome", "Trial"]


@dataclass(frozen=True)
class Outcome:
    """What came of one way to the tool."""

    begun: tuple[Begun, ...]
    """The bodies that would have been run."""
    denied: str | None
    """The code of the denial, if it was denied."""
    error: BaseException | None
    """What else it ended with."""
    asked: bool
    """Whether a guard was asked at all."""

    @property
    def answered(self) -> bool:
        """Whether something came back although neither a guard nor a body was reached."""
        return not (self.begun or self.asked or self.denied or self.error)

    @property
    def undecided(self) -> Begun | None:
        """The first body that was begun with no decision before it."""
        return next((begun for begun in self.begun if not begun.decided), None)


class Trial:
    """Goes the ways to a tool while nothing it does is done.

    Whatever guard a tool carries, a guard of our own decides in its place: no ledger is charged and no audit
    trail is written but ours.

    Args:
        target: the tool.
    """

    def __init__(self, target: Target) -> None:
        self.target: Target = target
        self.world: World = World(secrets=dict.fromkeys(target.secrets, "a secret"))
        self.on_decision: Callable[[], None] | None = None
        """What a caller does while a decision is on its way to the tool."""
        self.standing: Standing = Standing(target.anatomy.bodies().values())
        self._carried: remit.Credential | None = None
        self._asked = False

    def refused(self, target: Target) -> str | None:
        """Say why a tool or a copy of it cannot be tried without really running something, if so.

        What may be run from now on is covered by stand-ins.
        """
        for where, thing in target.anatomy.opaque(target.routes).items():
            kind = getattr(thing, "__qualname__", None) or type(thing).__qualname__
            return f"it cannot be tried without running it: {kind}, at {where}, is no Python function"
        self.standing.cover(target.anatomy.bodies().values())
        if is_function(target.tool):
            return None
        for copied in (copy.copy, copy.deepcopy):  # as routes do, which call what they copied
            try:
                made = replace(target, tool=copied(target.tool))
                bodies = made.anatomy.bodies()
            except Exception:  # noqa: BLE001, S112 - what cannot be copied, whatever it raises, is not called
                continue
            for function in bodies.values():
                if not self.standing.covers(function):
                    name = function.__code__.co_qualname
                    return f"it cannot be tried without running it: {name} is made anew in each of its copies"
        return None

    def grant(self, *capabilities: str | remit.Capability, **settings: Any) -> remit.Credential:
        """Issue a credential for these capabilities and the tool's secrets.

        Args:
            capabilities: by default those that the tool is guarded for, whatever the arguments.
            settings: as for `Issuer.issue`.
        """
        granted = capabilities or self.target.capabilities
        return self.world.grant("attacker", *granted, **{"secrets": self.target.secrets or None, **settings})

    def go(self, route: Route, arguments: Mapping[str, Any] | None = None) -> Outcome:
        """Go one way to the tool, as far as its body."""
        given = dict(self.target.arguments if arguments is None else arguments)
        before, self._asked = len(self.standing.begun), False
        denied: str | None = None
        error: BaseException | None = None
        with self.standing.in_place(), self._decided_by_us():
            try:
                denied = denial_in(_driven(route(given)))
            except Stopped as stopped:
                error = stopped
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as raised:  # noqa: BLE001 - a framework may raise anything, and wrap what we raise
                error, denied = raised, _denial_behind(raised)
        begun = tuple(self.standing.begun[before:])
        return Outcome(begun, None if begun else denied, error, self._asked)

    @contextmanager
    def under(self, credential: remit.Credential | None, **bearer: Any) -> Generator[None]:
        """Let tools act under a credential in a block, also those that carry one; None binds nothing."""
        with self.carrying(credential):
            scope = unbound() if credential is None else self.world.guard.acting_as(credential, **bearer)
            with scope:
                yield

    @contextmanager
    def carrying(self, credential: remit.Credential | None) -> Generator[None]:
        """Let what a tool carries be this credential; None is denied everything."""
        before, self._carried = self._carried, credential
        try:
            yield
        finally:
            self._carried = before

    @contextmanager
    def _decided_by_us(self) -> Generator[None]:
        admit, binding, scope = Enforcement.admit, Tool.binding, Lender.scope.__code__
        ours = self.world.guard._enforcement  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - one house

        def decided(enforcement: Enforcement, case: Case) -> Admission:
            if enforcement is not ours:
                if self._carried is None:
                    raise remit.CapabilityDenied("not_bound", "Nothing is granted in this trial.")
                case = Case(self._carried, case.call, case.bearer, self.world.clock())
            admission = admit(ours, case)
            if self.on_decision is not None:
                self.on_decision()
            return admission

        def asked(tool: Tool) -> Binding:
            self._asked = True
            return binding(tool)

        with patch.object(Enforcement, "admit", decided), patch.object(Tool, "binding", asked):
            # What a tool asks for its credential or its task is not asked: that may issue, delegate or spend.
            Lender.scope.__code__ = made_of(scope, self._lent)
            try:
                yield
            finally:
                Lender.scope.__code__ = scope

    def _lent(self, arguments: Mapping[str, Any]) -> BoundScope:
        if self._carried is None:
            return unbound()
        return self.world.guard.acting_as(self._carried, capability=arguments["capability"])

    @cached_property
    def unbound(self) -> dict[str, Outcome]:
        """What comes of each way with nothing bound."""
        outcomes: dict[str, Outcome] = {}
        with self.under(None):
            for name, route in self.target.routes.items():
                outcomes[name] = self.go(route)
                if outcomes[name].answered:  # whatever did that was really run: no more of it
                    break
        return outcomes

    @property
    def answered(self) -> str | None:
        """The way that answered with nothing bound and nobody asked, if any: then no other is gone."""
        return next((name for name, outcome in self.unbound.items() if outcome.answered), None)

    @cached_property
    def allowed(self) -> dict[str, Outcome]:
        """What comes of each way under a credential that allows the call."""
        with self.under(self.grant()):
            return {name: self.go(route) for name, route in self.target.routes.items()}

    @cached_property
    def sound(self) -> dict[str, Route]:
        """The ways that lead to a decision: those on which an attack can show anything."""
        return {
            name: route
            for name, route in self.target.routes.items()
            if self.unbound[name].undecided is None and self.tried(name)
        }

    def tried(self, name: str) -> bool:
        """Tell whether a way leads to the guard, as far as anybody can see."""
        return bool(self.allowed[name].begun) or self.allowed[name].denied == "not_bound"


def _driven(result: Any) -> Any:
    """Bring what a tool returned for later as far as its first item."""
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    if inspect.isgenerator(result):
        try:
            return next(result, None)
        finally:
            result.close()
    if inspect.isasyncgen(result):
        return asyncio.run(_first_of(result))
    return result


async def _first_of(stream: Any) -> Any:
    try:
        return await anext(stream, None)
    finally:
        await stream.aclose()


def _denial_behind(error: BaseException) -> str | None:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        if isinstance(each, remit.Denied):
            return each.code
        seen.add(id(each))
        each = each.__cause__ or each.__context__
    return denial_in(error)
