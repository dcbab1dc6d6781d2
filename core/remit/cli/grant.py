"""What a command grants: a file of capabilities, and what options leave of a grant in the policy file.

Invariant: options narrow. What they would add to the policy file's grant is refused by name, so that a
grant stays a reviewed line in a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from remit.errors import AttenuationError, ConfigError, KeyFileError, shown
from remit.files import read_object
from remit.limit import Limit
from remit.names import DEFAULT_TTL, seconds

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from remit.capability import Capability
    from remit.config import Agent, Config

__all__ = ["Granted", "Wanted", "granted_in", "narrowed", "read_jwk"]

_KEYS: Final = ("capabilities", "limits")


@dataclass(frozen=True, slots=True)
class Granted:
    """What a file of `--grant` says."""

    capabilities: Sequence[Capability] = ()
    limits: Mapping[str, Limit] = field(default_factory=dict[str, Limit])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the options of `remit issue` ask for; None where nothing was asked."""

    capabilities: Sequence[str] | None
    scopes: Sequence[str] | None
    grant: Granted | None
    secrets: Sequence[str] | None
    ttl: str | None
    session: str | None
    task: str | None
    audience: Sequence[str] | None
    max_depth: int | None


def granted_in(path: Path) -> Granted:
    """Return what a JSON file grants: `{"capabilities": [...], "limits": {...}}`, spelled as in `remit.toml`.

    Raises:
        ConfigError: when it says something else.
        KeyFileError: when it cannot be read.
    """
    from remit.config.misfit import Misfit, known_keys
    from remit.config.settings import read_capabilities, read_limits

    members: dict[str, Any] = dict(read_object(path, forbidden_mode=0o002))
    try:
        known_keys("key of a grant", members, _KEYS)
        capabilities = read_capabilities("capabilities", members.get("capabilities"))
        limits = read_limits("limits", members["limits"]) if "limits" in members else {}
    except Misfit as misfit:
        problems = [".".join(map(str, (*place, ""))) + f" {text}" for place, text in misfit.problems[:10]]
        told = "; ".join(problem.strip() for problem in problems)
        raise ConfigError(f"{shown(str(path))}: {told}") from None
    except ConfigError as error:
        raise ConfigError(f"{shown(str(path))}: {error}") from None
    return Granted(capabilities, limits)


def read_jwk(path: Path) -> dict[str, Any]:
    """Return the public JWK in a file.

    Raises:
        KeyFileError: when it cannot be read, or holds a private key.
    """
    members: dict[str, Any] = dict(read_object(path, forbidden_mode=0o002))
    if "d" in members:
        raise KeyFileError(
            f"{shown(str(path))} holds a private key; a holder gives away its public JWK alone"
        )
    return members


def narrowed(config: Config, name: str, wanted: Wanted) -> dict[str, Any]:
    """Return the keywords of `Issuer.issue` for an agent of the policy file, narrowed as was asked.

    Raises:
        ConfigError: when there is no such agent.
        AttenuationError: when more is asked for than the file grants.
    """
    keywords: dict[str, Any] = dict(config.grant(name))
    return _Narrowing(config, config.agents[name], wanted, keywords).keywords()


@dataclass(slots=True)
class _Narrowing:
    config: Config
    agent: Agent
    wanted: Wanted
    given: dict[str, Any]
    """The keywords of the whole grant."""

    def keywords(self) -> dict[str, Any]:
        tools = self._tools()
        secrets = self._secrets(tools)
        limits = self._limits(tools)
        held_back = [name for name in self.agent.delegate_only if name in tools]
        changed: dict[str, Any] = {
            "capabilities": list(tools.values()),
            "secrets": secrets or None,
            "limits": limits or None,
            "delegate_only": held_back or None,
            "session": self._same("session", self.agent.session, self.wanted.session),
            "task": self._same("task", self.agent.task, self.wanted.task),
            "audience": self._audience(),
        }
        keywords = {**self.given, **changed, **self._bounds()}
        return {key: value for key, value in keywords.items() if value is not None}

    def _refused(self, problem: str, **what: str) -> AttenuationError:
        return AttenuationError(
            f"{problem}; change {shown(self.agent.name)} in {self.config.source.name} to grant it", **what
        )

    def _tools(self) -> dict[str, Capability]:
        held = {capability.name: capability for capability in self.agent.capabilities}
        wanted = self.wanted
        if wanted.capabilities is None and wanted.scopes is None and wanted.grant is None:
            return held
        kept: dict[str, Capability] = {}
        for scope in wanted.scopes or ():
            self._check_listed("scope", scope, self.agent.scope)
            kept.update({one.name: held[one.name] for one in self.config.scopes[scope]})
        for name in wanted.capabilities or ():
            self._check_listed("capability", name, held)
            kept[name] = held[name]
        for capability in () if wanted.grant is None else wanted.grant.capabilities:
            name = capability.name
            self._check_listed("capability", name, held)
            widening = held[name].widening(capability)
            if widening is not None:
                raise self._refused(f"{shown(name)} {widening.problem}", capability=name)
            kept[name] = capability
        return kept

    def _check_listed(self, what: str, name: str, held: Collection[str]) -> None:
        if name not in held:
            from remit.config.source import nearest

            close = nearest(name, held)
            hint = "" if close is None else f", did you mean {shown(close)}?"
            raise self._refused(f"the {what} {shown(name)} is not granted{hint}")

    def _secrets(self, tools: Mapping[str, Capability]) -> dict[str, list[str]]:
        for name in self.wanted.secrets or ():
            self._check_listed("secret", name, self.agent.secrets)
        asked = self.agent.secrets if self.wanted.secrets is None else self.wanted.secrets
        kept: dict[str, list[str]] = {}
        for name in asked:
            sources = [tool for tool in self.agent.secrets[name] if tool in tools]
            if sources:
                kept[name] = sources
            elif self.wanted.secrets is not None:
                raise ConfigError(f"secret {shown(name)} is for none of the capabilities that are left")
        return kept

    def _limits(self, tools: Mapping[str, Capability]) -> dict[str, Limit]:
        limits = {name: limit for name, limit in self.agent.limits.items() if name in tools}
        grant = Granted() if self.wanted.grant is None else self.wanted.grant
        for name, limit in grant.limits.items():
            if name not in tools:
                raise ConfigError(f"limits: capability {shown(name)} is not granted here")
            limits[name] = limit if name not in limits else self._stricter(name, limits[name], limit)
        return limits

    def _stricter(self, name: str, held: Limit, wanted: Limit) -> Limit:
        """Return a limit that keeps to both; a token states one for a capability."""
        before: dict[str, Any] = held.to_json()
        after: dict[str, Any] = wanted.to_json()
        budgets, asked = before.get("budget", {}), after.get("budget", {})
        wider = [
            after.get("max_uses", 0) > before.get("max_uses", math.inf),
            any(total > budgets.get(argument, math.inf) for argument, total in asked.items()),
        ]
        if held.rate is not None and wanted.rate is not None:
            wider.append(wanted.rate.uses > held.rate.uses or wanted.rate.seconds < held.rate.seconds)
        if any(wider):
            raise self._refused(f"the limit of {shown(name)} is not within the one it has", capability=name)
        both = {**before, **after}
        if budgets or asked:
            both["budget"] = {**budgets, **asked}
        return Limit.parse(both)

    def _same(self, what: str, held: str | None, wanted: str | None) -> str | None:
        if held is not None and wanted is not None and wanted != held:
            raise self._refused(f"the agent is bound to another {what} than {shown(wanted)}")
        return held if wanted is None else wanted

    def _audience(self) -> list[str] | None:
        held, wanted = self.agent.audience, self.wanted.audience
        if wanted is None:
            return list(held) or None
        for name in wanted:
            if held:
                self._check_listed("audience", name, held)
        return list(wanted)

    def _bounds(self) -> dict[str, Any]:
        bounds: dict[str, Any] = {}
        if self.wanted.ttl is not None:
            most = seconds("ttl", DEFAULT_TTL) if self.agent.ttl is None else self.agent.ttl
            bounds["ttl"] = seconds("ttl", self.wanted.ttl)
            if bounds["ttl"] > most:
                raise self._refused(f"the ttl is more than the {most} seconds that are granted")
        depth = self.wanted.max_depth
        if depth is not None:
            if depth > self.agent.max_depth:
                raise self._refused(f"max_depth is more than the {self.agent.max_depth} that is granted")
            bounds["max_depth"] = depth
        return bounds
