"""Grants that are broader than they need to be, and names that look like slips."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from remit.config.doctor.effects import effect_of, is_open
from remit.errors import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from remit.capability import Capability
    from remit.config.doctor.rules import Report
    from remit.config.model import Agent, Config
    from remit.config.settings import Effect

__all__ = ["examine_grants"]

_LONG_TTL: Final = 3600
_DEEP: Final = 3
_SHORT_NAME: Final = 6
_MOST_NAMES: Final = 500
_VERBS: Final[dict[Effect, str]] = {
    "pay": "pays", "send": "sends", "execute": "executes", "delete": "deletes", "write": "writes",
}  # fmt: skip


def examine_grants(config: Config, report: Report) -> None:
    """Look at what scopes and agents are granted."""
    for place, capability in _granted(config):
        _examine_capability(config, capability, place, report)
    for agent in config.agents.values():
        _examine_agent(config, agent, report)
    granted = {scope for agent in config.agents.values() for scope in agent.scope}
    if config.agents and "service" not in config.source.data:  # a service grants scopes to whoever asks
        for scope in config.scopes.keys() - granted:
            report.add("R069-scope-unused", config.source.where("scopes", scope), f"scope {shown(scope)}")
    _examine_names(config, report)


def _granted(config: Config) -> Iterator[tuple[tuple[str | int, ...], Capability]]:
    """Yield every capability where it is written: in scopes, and in agents' own lists."""
    for name, bundle in config.scopes.items():
        for i, capability in enumerate(bundle):
            yield ("scopes", name, i), capability
    for name, agent in config.agents.items():
        own: Sequence[Any] = config.source.data["agents"][name].get("capabilities", ())
        for i, capability in enumerate(agent.capabilities[: len(own)]):
            yield ("agents", name, "capabilities", i), capability


def _examine_capability(
    config: Config, capability: Capability, place: tuple[str | int, ...], report: Report
) -> None:
    name = capability.name
    effect = effect_of(name, config.capabilities)
    if effect is None:
        return
    where, verb = config.source.where(*place), _VERBS[effect]
    if not capability.constraints:
        report.add("R060-unconstrained-effect", where, f"{shown(name)} {verb}, with any arguments")
        return
    if capability.other_arguments:
        report.add("R065-other-arguments", where, f"{shown(name)} {verb}, and may be given other arguments")
    for argument, constraint in capability.constraints.items():
        if is_open(constraint):
            report.add(
                "R066-anything-goes", where, f"{shown(name)} {verb}, and {shown(argument)} may be anything"
            )


def _examine_agent(config: Config, agent: Agent, report: Report) -> None:
    source, place = config.source, ("agents", agent.name)
    who = f"agent {shown(agent.name)}"
    for capability in agent.capabilities:
        name = capability.name
        if effect_of(name, config.capabilities) == "pay" and name not in agent.limits:
            report.add(
                "R061-unlimited-payment", source.where(*place), f"{who} may use {shown(name)} without end"
            )
    if agent.ttl is not None and agent.ttl > _LONG_TTL:
        report.add("R062-long-ttl", source.where(*place, "ttl"), f"{who} has a token for {agent.ttl} seconds")
    if agent.max_depth > _DEEP:
        report.add(
            "R063-deep-delegation",
            source.where(*place, "max_depth"),
            f"{who} may be {agent.max_depth} delegations deep",
        )
    granted = {capability.name for capability in agent.capabilities}
    for secret, tools in agent.secrets.items():
        if len(granted) > 1 and set(tools) == granted:
            report.add(
                "R064-secret-everywhere",
                source.where(*place, "secrets"),
                f"{who} may resolve {shown(secret)} from all of {len(granted)} capabilities",
            )


def _examine_names(config: Config, report: Report) -> None:
    if not config.capabilities:  # declared ones are what they are
        first: dict[str, tuple[str | int, ...]] = {}
        for place, capability in _granted(config):
            first.setdefault(capability.name, place)
        for name, other in _near_misses(first):
            where = config.source.where(*first[other])
            report.add("R067-capability-near-miss", where, f"{shown(other)} is almost {shown(name)}")
    for name, other in _near_misses(config.agents):
        where = config.source.where("agents", other)
        report.add("R068-agent-near-miss", where, f"{shown(other)} is almost {shown(name)}")


def _near_misses(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of names of which one is likely a slip of the other, in their order."""
    for one, other in combinations(list(names)[:_MOST_NAMES], 2):
        if min(len(one), len(other)) >= _SHORT_NAME and _is_one_slip(one, other):
            yield one, other


def _is_one_slip(one: str, other: str) -> bool:
    """Tell whether one letter is missing, doubled, wrong, or swapped with the next.

    Digits are no letters: `worker-1` and `worker-2` are meant.
    """
    if abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    a, b = one[start:], other[start:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    if any(letter.isdigit() for letter in a + b):
        return False
    return (len(a) <= 1 and len(b) <= 1) or (len(a) == len(b) == 2 and a == b[::-1])  # noqa: PLR2004 - a pair
