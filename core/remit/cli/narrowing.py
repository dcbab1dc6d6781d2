"""What each token of a chain takes away from the one before it, as the tokens themselves say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from remit.capability import SECRET_PREFIX
from remit.constraints import OneOf
from remit.errors import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from remit.capability import Capability
    from remit.limit import Limit
    from remit.token import Claims

__all__ = ["Change", "changes", "describe_limit", "tools_of_secret"]

_ANY: Final = "anything"
_NOT_GIVEN: Final = "not given"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between a token and its parent."""

    kind: str
    """What sort of difference it is; these names are stable."""
    what: str
    """What it concerns: a capability, a secret, an argument, a session; empty where the kind says it all."""
    before: str | None = None
    after: str | None = None
    capability: str | None = None
    """The capability whose argument or limit it concerns."""
    widens: str | None = None
    """Where the child is wider than its parent: how. A guard refuses such a chain."""

    def to_dict(self) -> dict[str, object]:
        """Return the change as a JSON object, what is not set left out."""
        names = ("kind", "what", "capability", "before", "after", "widens")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def changes(parent: Claims, child: Claims) -> Iterator[Change]:
    """Yield the differences between a token and its parent."""
    yield from _tools(parent.tools or {}, child.tools or {})
    for name, limit in child.limits.items():
        yield Change("limit", "", None, describe_limit(limit), capability=name)
    for name in child.delegate_only:
        if name not in parent.delegate_only:
            yield Change("delegate_only", name)
    yield from _times(parent, child)
    for kind in ("session", "task"):
        held, given = getattr(parent, kind), getattr(child, kind)
        if given is not None and given != held:
            other = None if held is None else f"the parent is bound to another {kind}, {shown(held)}"
            yield Change(kind, given, held, given, widens=other)
    if child.audience is not None and child.audience != parent.audience:
        yield Change("audience", "", _several(parent.audience), _several(child.audience))
    if child.max_depth > parent.max_depth:
        problem = "it may be delegated deeper than its parent"
        yield Change("depth", "", str(parent.max_depth), str(child.max_depth), widens=problem)
    elif child.max_depth < parent.max_depth:
        yield Change("depth", "", str(parent.max_depth - child.depth), str(child.max_depth - child.depth))


def _several(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else ", ".join(map(shown, names))


def _times(parent: Claims, child: Claims) -> Iterator[Change]:
    if child.expires_at != parent.expires_at:
        later = child.expires_at > parent.expires_at
        problem = "it outlives its parent" if later else None
        yield Change("expiry", "", str(parent.expires_at), str(child.expires_at), widens=problem)
    if child.not_before is not None and child.not_before != parent.not_before:
        before = None if parent.not_before is None else str(parent.not_before)
        yield Change("not_before", "", before, str(child.not_before))


def _tools(parent: Mapping[str, Capability], child: Mapping[str, Capability]) -> Iterator[Change]:
    for name in parent:
        if name not in child:
            yield Change(*_named("removed", name))
    for name, capability in child.items():
        held = parent.get(name)
        if held is None:
            yield Change(*_named("added", name), widens="the parent does not grant it")
        elif name.startswith(SECRET_PREFIX):
            yield from _secret(name, held, capability)
        elif held != capability:
            yield from _arguments(name, held, capability)


def _named(what: str, name: str) -> tuple[str, str]:
    if name.startswith(SECRET_PREFIX):
        return f"secret_{what}", name.removeprefix(SECRET_PREFIX)
    return f"capability_{what}", name


def tools_of_secret(capability: Capability) -> list[str]:
    """Return the capabilities a secret may be resolved from, as its token says."""
    tools = capability.constraints.get("tool")
    return [str(tool) for tool in tools.values] if isinstance(tools, OneOf) else []


def _secret(name: str, held: Capability, given: Capability) -> Iterator[Change]:
    if held != given:
        widening = held.widening(given)
        yield Change(
            "secret_narrowed",
            name.removeprefix(SECRET_PREFIX),
            ", ".join(map(shown, tools_of_secret(held))),
            ", ".join(map(shown, tools_of_secret(given))),
            widens=None if widening is None else widening.problem,
        )


def _arguments(name: str, held: Capability, given: Capability) -> Iterator[Change]:
    widening = held.widening(given)
    for argument in {**held.constraints, **given.constraints}:
        before, after = _must_be(held, argument), _must_be(given, argument)
        if held.constraints.get(argument) != given.constraints.get(argument):
            at = widening is not None and widening.argument == argument
            yield Change(
                "argument", argument, before, after, name, widening.problem if widening and at else None
            )
    if held.other_arguments != given.other_arguments:
        before, after = (_ANY if one.other_arguments else _NOT_GIVEN for one in (held, given))
        problem = widening.problem if widening and widening.argument is None else None
        yield Change("other_arguments", "", before, after, name, problem)


def _must_be(capability: Capability, argument: str) -> str:
    constraint = capability.constraints.get(argument)
    if constraint is None:
        return _ANY if capability.other_arguments else _NOT_GIVEN
    return constraint.describe() + (" (or left out)" if constraint.is_optional else "")


def describe_limit(limit: Limit) -> str:
    """Return a limit in words."""
    wire: dict[str, Any] = limit.to_json()
    parts: list[str] = []
    if "max_uses" in wire:
        parts.append(f"{wire['max_uses']} {'use' if wire['max_uses'] == 1 else 'uses'}")
    if "rate" in wire:
        parts.append(f"{wire['rate']['uses']} in {wire['rate']['seconds']} seconds")
    parts += [f"{total} in all of {shown(name)}" for name, total in wire.get("budget", {}).items()]
    return ", ".join(parts)
