"""What an agent is granted, put together from its own table and its scopes, and checked as a whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from remit.config.locate import Place
from remit.config.model import Agent
from remit.errors import ConfigError, shown
from remit.names import DEFAULT_TTL, seconds

if TYPE_CHECKING:
    from remit.capability import Capability, Limit
    from remit.config.schema import AgentTable
    from remit.config.source import Problems
    from remit.issue import Issuer

__all__ = ["AgentEntry", "Names", "check_bundle", "read_agent"]


@dataclass(frozen=True, slots=True)
class Names:
    """What the whole file gives names to."""

    capabilities: Collection[str]
    """Those that `[capabilities]` declares, or else those that are granted anywhere."""
    declared: bool
    """Whether `[capabilities]` is there, so that no other may be granted."""
    scopes: Mapping[str, list[Capability] | None]
    """Scope name to its capabilities, None where they make no sense."""
    secrets: Collection[str]
    max_ttl: int
    """The longest lifetime of a token, in seconds."""
    probe: Issuer
    """An issuer of this file's URI and with a key of its own, to ask whether it would issue."""


class AgentEntry(NamedTuple):
    """`[agents.NAME]` as it was read."""

    name: str
    table: AgentTable
    """Without the keys in `broken`."""
    raw: Mapping[str, Any]
    """The same as TOML has it."""
    broken: set[str]
    """The keys that were complained about already."""


def check_bundle(
    capabilities: list[Capability], spelled: list[Any], place: Place, names: Names, problems: Problems
) -> None:
    """Complain about names in a list of capabilities that are a scope's, or are not declared."""
    for i, (capability, raw) in enumerate(zip(capabilities, spelled, strict=True)):
        at = (*place, i, "capability") if isinstance(raw, dict) else (*place, i)
        name = capability.name
        if names.declared and name not in names.capabilities:
            hint = problems.hint(name, names.capabilities)
            problems.add(at, f"unknown capability {shown(name)}{hint or '; it is not in [capabilities]'}")
        elif name in names.scopes:
            problems.add(at, f"{shown(name)} is a scope and no capability; scopes do not nest")


def read_agent(entry: AgentEntry, names: Names, problems: Problems) -> Agent | None:
    """Return what an agent is granted, or None after complaining about what makes no sense."""
    return _Reader(entry, names, problems).agent()


@dataclass(slots=True)
class _Reader:
    entry: AgentEntry
    names: Names
    problems: Problems
    granted: dict[str, Capability] = field(default_factory=dict[str, "Capability"])
    complete: bool = True
    """Whether all that is granted is known, so that something else is not granted."""

    def agent(self) -> Agent | None:
        before = len(self.problems.found)
        table = self.entry.table
        self._grant()
        limits = table.limits or {}
        self._check_limits(limits)
        secrets = self._secrets()
        self._check_delegation(table.delegate_only or [])
        if table.ttl is not None and table.ttl > self.names.max_ttl:
            self._complain(f"ttl is longer than the maximum of {self.names.max_ttl} seconds", "ttl")
        if self.entry.broken or len(self.problems.found) > before:
            return None
        agent = Agent(
            name=self.entry.name,
            capabilities=tuple(self.granted.values()),
            scope=tuple(table.scope or ()),
            secrets=MappingProxyType(secrets),
            limits=MappingProxyType(limits),
            delegate_only=tuple(table.delegate_only or ()),
            ttl=self._ttl(),
            max_depth=table.max_depth,
            audience=tuple(table.audience or ()),
            client_secret=table.client_secret,
            session=table.session,
            task=table.task,
        )
        return agent if self._may_be_issued(agent) else None

    def _ttl(self) -> int | None:
        """Return the lifetime that the file gives, where it is not the usual one."""
        if self.entry.table.ttl is not None or self.names.max_ttl >= seconds("ttl", DEFAULT_TTL):
            return self.entry.table.ttl
        return self.names.max_ttl

    def _complain(self, text: str, *place: str | int) -> None:
        self.problems.add(("agents", self.entry.name, *place), text)

    def _at(self, key: str, i: int, name: str) -> Place:
        """Return the place of a name in a list, in a table, or standing alone."""
        value = self.entry.raw.get(key)
        if isinstance(value, str):
            return (key,)
        return (key, name) if isinstance(value, dict) else (key, i)

    def _grant(self) -> None:
        own = self.entry.table.capabilities or []
        check_bundle(
            own,
            self.entry.raw.get("capabilities", []) if own else [],
            ("agents", self.entry.name, "capabilities"),
            self.names,
            self.problems,
        )
        self.granted = {capability.name: capability for capability in own}
        self.complete = not self.entry.broken & {"capabilities", "scope"}
        for i, scope in enumerate(self.entry.table.scope or ()):
            at = self._at("scope", i, scope)
            if scope not in self.names.scopes:
                self.complete = False
                hint = self.problems.hint(scope, self.names.scopes)
                self._complain(f"unknown scope {shown(scope)}{hint}", *at)
                continue
            bundle = self.names.scopes[scope]
            self.complete &= bundle is not None
            for capability in bundle or ():
                other = self.granted.setdefault(capability.name, capability)
                if other != capability:
                    self._complain(
                        f"scope {shown(scope)} grants {shown(capability.name)} with other arguments than"
                        " the agent is granted already; keep one of the two",
                        *at,
                    )
        if self.complete and not self.granted:
            self._complain("the agent is granted nothing; name capabilities or a scope")

    def _check_granted(self, name: str, *place: str | int) -> bool:
        """Complain about a capability that the agent is not granted, when that is sure."""
        if name in self.granted:
            return True
        if not self.complete:
            return False
        if name in self.names.capabilities:
            hint = self.problems.hint(name, self.granted)
            self._complain(f"the agent is not granted {shown(name)}{hint}", *place)
        else:
            hint = self.problems.hint(name, self.granted) or self.problems.hint(name, self.names.capabilities)
            self._complain(f"unknown capability {shown(name)}{hint}", *place)
        return False

    def _check_limits(self, limits: Mapping[str, Limit]) -> None:
        for name, limit in limits.items():
            if not self._check_granted(name, "limits", name):
                continue
            capability = self.granted[name]
            for argument in limit.budget:
                if argument not in capability.constraints and not capability.other_arguments:
                    hint = self.problems.hint(argument, capability.constraints)
                    self._complain(
                        f"{shown(name)} is not given an argument {shown(argument)}{hint}",
                        "limits",
                        name,
                        "budget",
                        argument,
                    )

    def _secrets(self) -> dict[str, tuple[str, ...]]:
        secrets: dict[str, tuple[str, ...]] = {}
        for i, (name, tools) in enumerate((self.entry.table.secrets or {}).items()):
            if name not in self.names.secrets:
                hint = self.problems.hint(name, self.names.secrets) or "; give it a reference in [secrets]"
                self._complain(f"unknown secret {shown(name)}{hint}", *self._at("secrets", i, name))
            for k, tool in enumerate(tools or ()):
                self._check_granted(tool, "secrets", name, k)
            secrets[name] = tuple(self.granted if tools is None else tools)
        return secrets

    def _check_delegation(self, held_back: list[str]) -> None:
        for i, name in enumerate(held_back):
            self._check_granted(name, *self._at("delegate_only", i, name))
        if held_back and self.entry.table.max_depth == 0 and "max_depth" not in self.entry.broken:
            self._complain(
                "delegate_only needs a max_depth of 1 or more, or it can be neither used nor passed on",
                "delegate_only",
            )

    def _may_be_issued(self, agent: Agent) -> bool:
        """Ask an issuer, so that the real one will not refuse what the file grants."""
        try:
            self.names.probe.issue(**agent.keywords())
        except ConfigError as error:
            self._complain(str(error))
            return False
        return True
