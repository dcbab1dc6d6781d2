"""What is asked for when a token is issued or delegated, checked for sense once for both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from remit.capability import SECRET_PREFIX, Capability, Limit
from remit.constraints import OneOf
from remit.encoding import EncodingError
from remit.errors import ConfigError, shown
from remit.keys import HolderKey, PublicKey, public_key
from remit.names import check_name, items, mapping, timestamp

__all__ = [
    "RESERVED",
    "Capabilities",
    "Grant",
    "Secrets",
    "Terms",
    "build_grant",
    "build_terms",
    "check_audience",
    "holder_of",
]

RESERVED: Final = "remit:"
"""Names that no capability has, so that a proof for one of Remit's own purposes is none for a tool."""

Capabilities: TypeAlias = "Iterable[str | Capability]"
"""Capabilities to grant; a bare name allows any arguments."""
Secrets: TypeAlias = "Iterable[str] | Mapping[str, Iterable[str]]"
"""Secrets to grant; names alone are resolvable from every capability granted beside them."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The part of a token that says what may be done."""

    tools: dict[str, Capability]
    delegate_only: tuple[str, ...]
    limits: dict[str, Limit]


@dataclass(frozen=True, slots=True)
class Terms:
    """The part of a token that says who may use it, where and when, and how often it may be passed on."""

    agent: str
    session: str | None
    task: str | None
    audience: tuple[str, ...] | None
    not_before: int | None
    max_depth: int


def build_terms(
    agent: object, *, session: object, task: object, audience: object, not_before: object, max_depth: object
) -> Terms:
    """Return the terms that the keywords of `issue` or `delegate` describe.

    Raises:
        ConfigError: when a name is blank, a datetime is naive, or the depth is not a whole number
            of zero or more.
    """
    if type(max_depth) is not int or max_depth < 0:
        raise ConfigError("max_depth must be a whole number of zero or more")
    return Terms(
        agent=check_name("agent", agent),
        session=None if session is None else check_name("session", session),
        task=None if task is None else check_name("task", task),
        audience=check_audience(audience),
        not_before=None if not_before is None else timestamp("not_before", not_before),
        max_depth=max_depth,
    )


def build_grant(
    capabilities: object,
    secrets: object,
    delegate_only: object,
    limits: object,
    *,
    parent: Mapping[str, Capability] | None = None,
) -> Grant:
    """Return the grant that the keywords of `issue` or `delegate` describe.

    Args:
        capabilities: names and `Capability` objects, at least one, each name once.
        secrets: names, or names mapped to the capabilities they may be resolved from.
        delegate_only: names that may be passed on but not used; one that is not among
            `capabilities` is granted as well.
        limits: capability name to `Limit`.
        parent: the parent's capabilities when delegating: a secret given by name alone is then
            resolvable from those granted capabilities from which the parent may resolve it.

    Raises:
        ConfigError: when something is blank, repeated, empty, or about a capability not granted.
    """
    tools: dict[str, Capability] = {}
    for capability in _each("capabilities", capabilities):
        _add(tools, capability)
    held_back: list[str] = []
    for item in _each("delegate_only", () if delegate_only is None else delegate_only):
        name = item.name if isinstance(item, Capability) else check_name("a delegate_only capability", item)
        if name not in tools:
            _add(tools, item)
        held_back.append(name)
    if len(set(held_back)) != len(held_back):
        raise ConfigError("delegate_only names a capability twice")
    if not tools:
        raise ConfigError("capabilities: at least one is needed; a token that grants nothing is no use")
    limited = _limits(limits, tools)
    for name, sources in _secret_sources(secrets, tools, parent).items():
        tools[SECRET_PREFIX + name] = Capability.secret(name, sources)
    return Grant(tools, tuple(held_back), limited)


def _each(what: str, values: object) -> Iterable[object]:
    if isinstance(values, Capability):
        raise ConfigError(f"{what} must be a list, not {shown(values)}")
    return items(what, values)


def _add(tools: dict[str, Capability], item: object) -> None:
    capability = item if isinstance(item, Capability) else Capability(check_name("a capability", item))
    if capability.name in tools:
        raise ConfigError(f"capability {shown(capability.name)} is named twice")
    if capability.name.startswith(RESERVED):
        raise ConfigError(
            f"capability {shown(capability.name)}: names that begin with {RESERVED!r} are Remit's own"
        )
    if capability.name.startswith(SECRET_PREFIX):
        raise ConfigError(f"capability {shown(capability.name)}: secrets are granted with secrets=[...]")
    tools[capability.name] = capability


def _limits(limits: object, tools: Mapping[str, Capability]) -> dict[str, Limit]:
    if limits is None:
        return {}
    limited: dict[str, Limit] = {}
    for name, limit in mapping("limits", limits).items():
        if name not in tools:
            raise ConfigError(f"limits: capability {shown(name)} is not granted here")
        if not isinstance(limit, Limit):
            raise ConfigError(f"limits of {shown(name)} must be a Limit(...), not {shown(limit)}")
        limited[name] = limit
    return limited


def _secret_sources(
    secrets: object, tools: Mapping[str, Capability], parent: Mapping[str, Capability] | None
) -> dict[str, list[str]]:
    if secrets is None:
        return {}
    by_name = _by_name(secrets)
    sources: dict[str, list[str]] = {}
    for name in _each("secrets", secrets):
        secret = check_name("a secret's name", name)
        if secret in sources:
            raise ConfigError(f"secret {shown(secret)} is named twice")
        if by_name is not None:
            tools_given = _each(f"secrets of {shown(secret)}", by_name[secret])
            named = [check_name("a capability", tool) for tool in tools_given]
        else:
            held = [tool for tool in tools if parent is None or _may_resolve(parent, secret, tool)]
            named = held or list(tools)  # what the parent may not do, delegation then refuses by name
        missing = [tool for tool in named if tool not in tools]
        if missing or not named:
            raise ConfigError(
                f"secret {shown(secret)}: names no capability that is granted here"
                + (f" but {shown(missing[0])}" if missing else "")
            )
        sources[secret] = named
    return sources


def _by_name(secrets: object) -> Mapping[str, object] | None:
    if not isinstance(secrets, Mapping):
        return None
    return mapping("secrets", cast("object", secrets))


def _may_resolve(parent: Mapping[str, Capability], secret: str, tool: str) -> bool:
    held = parent.get(SECRET_PREFIX + secret)
    constraint = held.constraints.get("tool") if held is not None else None
    return isinstance(constraint, OneOf) and constraint.check(tool)


def check_audience(audience: object) -> tuple[str, ...] | None:
    """Return `audience`, one name or several, as a tuple.

    Raises:
        ConfigError: when it is empty, or a name is blank.
    """
    if audience is None:
        return None
    given = [audience] if isinstance(audience, str) else _each("audience", audience)
    names = tuple(check_name("audience", name) for name in given)
    if not names or len(set(names)) != len(names):
        raise ConfigError("audience must name at least one enforcement point, each once")
    return names


def holder_of(holder: object) -> tuple[PublicKey, HolderKey | None]:
    """Return the public key a token is bound to, and its private key when it is made here.

    Args:
        holder: None for a fresh key, or the holder's public JWK.

    Raises:
        ConfigError: when it is neither.
    """
    if holder is None:
        key = HolderKey.generate()
        return key.public, key
    try:
        return public_key(mapping("holder", holder)), None
    except EncodingError as error:
        raise ConfigError(f"holder {error}") from None
