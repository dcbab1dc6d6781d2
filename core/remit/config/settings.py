"""The single values of a policy file: durations, paths, references, lists of names.

Each reader returns the value or raises `ConfigError` or `Misfit`. What may be a secret that somebody
pasted in the place of a reference is never part of a message.
"""

from __future__ import annotations

import re
from typing import Final, Literal, cast, get_args

from remit.capability import Capability, Limit
from remit.config.misfit import Collector, collected, filled_table, kind_of, refuse
from remit.config.source import nearest
from remit.config.spelling import read_capability, read_limit
from remit.errors import ConfigError, shown
from remit.names import check_name, seconds
from remit.secrets import Secrets
from remit.secrets.reference import parse_reference

__all__ = [
    "ANY",
    "SCHEMES",
    "Effect",
    "read_anchors",
    "read_base_url",
    "read_capabilities",
    "read_effect",
    "read_flag",
    "read_fresh",
    "read_granted_secrets",
    "read_limits",
    "read_lists",
    "read_names",
    "read_path",
    "read_reference",
    "read_scope_name",
    "read_text",
    "read_url",
    "read_whole",
]

Effect = Literal["read", "write", "delete", "send", "pay", "execute"]
"""What a capability does to the world, as far as `remit doctor` cares."""

ANY: Final = "*"
"""In a table of staleness bounds: every capability that has none of its own."""
SCHEMES: Final = ("env", "file", "keyring", "vault", "aws", "gcp", "azure")
"""Schemes of references that Remit brings along; others come from plug-ins."""
_LOCAL: Final = ("env", "file")
"""Schemes whose references can be looked at here. Others may need packages that only a guard has."""
_GROUP: Final = "remit.secrets"
_NAME: Final = "NAME"
_EFFECTS: Final[tuple[str, ...]] = get_args(Effect)
_BASE_URL: Final = re.compile(r"(https?://[A-Za-z0-9.\[\]:_-]+(?:/[A-Za-z0-9._~/-]+?)?)/?", re.ASCII)
_REFERENCE: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{0,31})://\S")
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]{0,31}://")
_MAX_TEXT: Final = 4096
_MAX_DESCRIPTION: Final = 1000


def read_text(what: str, value: object) -> str:
    """Return text that describes something: one line, or a few."""
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_DESCRIPTION:
        refuse(f"{what} must be text of 1 to {_MAX_DESCRIPTION} characters, not {_short(value)}")
    return value


def read_path(what: str, value: object) -> str:
    """Return a path. It is taken as it is written: `~` and variables are not expanded."""
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_TEXT or "\0" in value:
        refuse(f"{what} must be a path, not {_short(value)}")
    if value.startswith("~"):
        refuse(f"{what}: '~' is not expanded; write the path out, or relative to this file")
    return value


def read_anchors(what: str, value: object) -> list[str]:
    """Return the paths of anchor files and folders."""
    if isinstance(value, str):
        return [read_path(what, value)]
    paths = collected(what, value, lambda path: read_path("a path", path))
    _once(what, paths)
    return paths


def read_flag(what: str, value: object) -> bool:
    """Return true or false."""
    if type(value) is not bool:
        refuse(f"{what} must be true or false, not {kind_of(value)}")
    return value


def read_whole(what: str, value: object, *, least: int, most: int = 2**53) -> int:
    """Return a whole number within bounds."""
    if type(value) is not int or not least <= value <= most:
        upper = f" to {most}" if most < 2**53 else " or more"
        refuse(f"{what} must be a whole number of {least}{upper}, not {_short(value)}")
    return value


def read_reference(what: str, value: object) -> str:
    """Return a reference to a secret. Anything else may be the secret, and is not shown."""
    example = "a reference such as 'env://NAME'"
    if not isinstance(value, str):
        refuse(f"{what} must be {example}, not {kind_of(value)}")
    match = _REFERENCE.match(value)
    if match is None:
        refuse(f"{what} must be {example}, never the value itself")
    scheme = match["scheme"]
    if scheme not in SCHEMES and scheme not in _plugged_in():
        close = nearest(scheme, SCHEMES)
        hint = f"; did you mean '{close}://'?" if close else f" ({', '.join(SCHEMES)})"
        refuse(f"{what} must be {example}; its scheme is not known{hint}")
    try:
        parse_reference(value)
        if scheme in _LOCAL:
            Secrets({_NAME: value}, root=".")
    except ConfigError as error:  # it says what is wrong with the form, and does not quote it
        problem = str(error).removeprefix(f"secret {shown(_NAME)}: ")
        refuse(f"{what}: {problem}")
    return value


def _plugged_in() -> set[str]:
    from importlib.metadata import entry_points

    return set(entry_points(group=_GROUP).names)


def read_url(what: str, value: object) -> str:
    """Return a ledger's URL, or a reference to one. It may hold a password, and is not shown."""
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not _URL.match(value):
        refuse(f"{what} must be a URL such as 'sqlite:///remit.db' or 'redis://localhost', or a reference")
    return value


def read_base_url(what: str, value: object) -> str:
    """Return the URL under which a service is reached, without a slash at its end."""
    match = _BASE_URL.fullmatch(value) if isinstance(value, str) and len(value) <= _MAX_TEXT else None
    if match is None:
        refuse(f"{what} must be a URL such as 'https://auth.acme.example', not {_short(value)}")
    return match[1]


def read_effect(what: str, value: object) -> Effect:
    """Return what a capability does to the world."""
    if not isinstance(value, str) or value not in _EFFECTS:
        close = nearest(value, _EFFECTS) if isinstance(value, str) else None
        hint = "" if close is None else f", did you mean {shown(close)}?"
        refuse(f"{what} must be one of {', '.join(_EFFECTS)}, not {_short(value)}{hint}")
    return cast("Effect", value)


def read_names(what: str, value: object) -> list[str]:
    """Return several names, each once; one name may stand alone."""
    if isinstance(value, str):
        return [check_name(what, value)]
    return _names(what, value)


def read_scope_name(what: str, value: object) -> str:
    """Return a scope's name, which has no spaces: a request names several, with spaces between them."""
    name = check_name(what, value)
    if " " in name:
        refuse(f"{what} {shown(name)} must have no spaces")
    return name


def read_capabilities(what: str, value: object) -> list[Capability]:
    """Return the capabilities in a list, each name once."""
    capabilities = collected(what, value, read_capability)
    seen: set[str] = set()
    collector = Collector()
    for i, capability in enumerate(capabilities):
        if capability.name in seen:
            collector.note(f"capability {shown(capability.name)} is named twice", i)
        seen.add(capability.name)
    collector.settle()
    return capabilities


def read_limits(what: str, value: object) -> dict[str, Limit]:
    """Return capability name to limit."""
    limits: dict[str, Limit] = {}
    collector = Collector()
    for name, spelled in filled_table(what, value).items():
        limit = collector.of((name,), read_limit, spelled)
        if limit is not None:
            limits[name] = limit
    collector.settle()
    return limits


def read_granted_secrets(what: str, value: object) -> dict[str, list[str] | None]:
    """Return secret name to the capabilities it may be resolved from, None for all that are granted."""
    if isinstance(value, list):
        return dict.fromkeys(_names(what, cast("object", value)))
    if not isinstance(value, dict):
        refuse(f"{what} must be a list of names, or a table of lists, not {kind_of(value)}")
    return {**read_lists(what, cast("object", value))}


def read_lists(what: str, value: object) -> dict[str, list[str]]:
    """Return name to list of names."""
    lists: dict[str, list[str]] = {}
    collector = Collector()
    for name, names in filled_table(what, value).items():
        inner = f"{what} of {shown(name)}"
        found = collector.of((name,), _names, inner, names)
        if found is not None:
            lists[name] = found
    collector.settle()
    return lists


def read_fresh(what: str, value: object) -> int | dict[str, int]:
    """Return a staleness bound in seconds, for all capabilities or by capability."""
    if not isinstance(value, dict):
        return seconds(what, value)
    bounds: dict[str, int] = {}
    collector = Collector()
    for name, bound in filled_table(what, cast("object", value)).items():
        read = collector.of((name,), seconds, f"{what} of {shown(name)}", bound)
        if read is not None:
            bounds[name] = read
    collector.settle()
    return bounds


def _names(what: str, value: object) -> list[str]:
    names = collected(what, value, lambda name: check_name(f"a name in {what}", name))
    _once(what, names)
    return names


def _once(what: str, names: list[str]) -> None:
    collector = Collector()
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            collector.note(f"{what} names {shown(name)} twice", i)
        seen.add(name)
    collector.settle()


def _short(value: object) -> str:
    """Return a value for a message: text and numbers as they are, anything else by its kind."""
    if isinstance(value, str):
        return shown(value)
    return str(value) if type(value) in {int, bool} and abs(cast("int", value)) < 2**63 else kind_of(value)
