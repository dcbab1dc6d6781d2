"""Capabilities, constraints and limits as a policy file spells them.

A constraint is a plain value, which means exactly that value, or a table with one of these keys, or the
form that a token carries, `{ constraint_type = "..." }`. Whatever is not understood is refused: a
constraint that is skipped would be a restriction removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from remit.capability import Capability, Limit
from remit.config.misfit import (
    Collector,
    Misfit,
    collected,
    filled_list,
    filled_table,
    kind_of,
    known_keys,
    plain,
    refuse,
)
from remit.constraints import (
    AllOf,
    AnyOf,
    Anything,
    Cidr,
    Constraint,
    Contains,
    Each,
    Email,
    Exact,
    Fields,
    MaxLength,
    NotOneOf,
    OneOf,
    Path,
    Prefix,
    Range,
    Subset,
    Url,
    parse_constraint,
)
from remit.encoding import EncodingError
from remit.errors import ConfigError
from remit.names import check_name

__all__ = [
    "CAPABILITY_KEYS",
    "CONSTRAINT_KEYS",
    "LIMIT_KEYS",
    "read_capability",
    "read_constraint",
    "read_limit",
]

CAPABILITY_KEYS: Final = ("capability", "arguments", "other_arguments")
LIMIT_KEYS: Final = ("max_uses", "rate", "budget")
_RANGE_KEYS: Final = ("min", "max", "min_inclusive", "max_inclusive")
_WIRE_KEY: Final = "constraint_type"


def read_capability(value: object) -> Capability:
    """Return the capability that an element of a list spells: a name, or a table.

    Raises:
        Misfit: when it spells none.
        ConfigError: when its name or its constraints make no sense.
    """
    if isinstance(value, str):
        return Capability(value)
    if not isinstance(value, dict):
        refuse(f"a capability must be text or a table, not {kind_of(value)}")
    table = cast("dict[str, Any]", value)
    known_keys("key of a capability", table, CAPABILITY_KEYS)
    if "capability" not in table:
        refuse('a capability needs its name: { capability = "..." }')
    collector = Collector()
    name = collector.of(("capability",), check_name, "a capability", table["capability"])
    constraints = collector.of(("arguments",), _arguments, table.get("arguments"))
    others = collector.of(("other_arguments",), _others, table)
    collector.settle()
    capability = Capability(cast("str", name), **(constraints or {}))
    return capability.with_other_arguments() if others else capability


def _arguments(value: object) -> dict[str, Constraint]:
    if value is None:
        return {}
    if value == {}:
        refuse("arguments is empty; leave it out to allow any arguments")
    constraints: dict[str, Constraint] = {}
    collector = Collector()
    for name, spelled in filled_table("arguments", value).items():
        collector.of((name,), check_name, "an argument", name)
        constraint = collector.of((name,), read_constraint, spelled)
        if constraint is not None:
            constraints[name] = constraint
    collector.settle()
    return constraints


def _others(table: Mapping[str, Any]) -> bool:
    others = table.get("other_arguments", False)
    if type(others) is not bool:
        refuse(f"other_arguments must be true or false, not {kind_of(others)}")
    if "other_arguments" in table and "arguments" not in table:
        refuse("other_arguments needs arguments beside it; without, any arguments are allowed")
    return others


def read_constraint(value: object, *, may_be_optional: bool = True) -> Constraint:
    """Return the constraint that a value spells.

    Args:
        value: what TOML made of it.
        may_be_optional: whether it stands on an argument or a field, and not inside another constraint.

    Raises:
        Misfit: when it spells none, with the place inside it.
        ConfigError: when the constraint makes no sense.
    """
    if isinstance(value, list):
        refuse("a list is no constraint; write { one_of = [...] }, or { subset = [...] } for a list of these")
    if not isinstance(value, dict):
        plain(value)
        return Exact(value)  # type: ignore[arg-type]  # whatever else TOML has is a scalar
    table = dict(cast("dict[str, Any]", value))
    if _WIRE_KEY in table:
        return _from_wire(table, may_be_optional=may_be_optional)
    optional = table.pop("optional", False)
    if type(optional) is not bool:
        refuse(f"optional must be true or false, not {kind_of(optional)}", "optional")
    if optional and not may_be_optional:
        refuse("only an argument or a field can be optional, not a clause inside", "optional")
    constraint = _one(table)
    return constraint.optional() if optional else constraint


def _one(table: dict[str, Any]) -> Constraint:
    if table and table.keys() <= set(_RANGE_KEYS):
        table = {"range": table}
        deeper = False
    else:
        deeper = True
    known_keys("constraint", table, (*CONSTRAINT_KEYS, *_RANGE_KEYS, "optional", _WIRE_KEY))
    if not table:
        refuse("names no constraint; write { anything = true } to allow any value")
    if len(table) > 1:
        refuse(f"has more than one constraint ({', '.join(sorted(table))}); write {{ all_of = [...] }}")
    [(name, value)] = table.items()
    try:
        plain(value)
        return _READERS[name](value)
    except Misfit as misfit:
        raise (misfit.inside(name) if deeper else misfit) from None


def _from_wire(table: dict[str, Any], *, may_be_optional: bool) -> Constraint:
    plain(table)
    try:
        constraint = parse_constraint(table)
    except EncodingError as error:
        raise ConfigError(f"the constraint {error}") from None
    if constraint.is_optional and not may_be_optional:
        refuse("only an argument or a field can be optional, not a clause inside", "optional")
    return constraint


def _inner(value: object) -> Constraint:
    return read_constraint(value, may_be_optional=False)


def _exact(value: object) -> Constraint:
    if isinstance(value, list | dict):
        refuse(f"exact takes one plain value, not {kind_of(cast('object', value))}")
    return Exact(value)  # type: ignore[arg-type]  # as in read_constraint


def _range(value: object) -> Constraint:
    bounds = filled_table("range", value)
    known_keys("key of a range", bounds, _RANGE_KEYS)
    return Range(**bounds)


def _anything(value: object) -> Constraint:
    if value is not True:
        refuse("anything must be true; leave the argument out to refuse it")
    return Anything()


def _fields(value: object) -> Constraint:
    collector = Collector()
    fields = {
        name: collector.of((name,), read_constraint, spelled)
        for name, spelled in filled_table("fields", value).items()
    }
    collector.settle()
    found = cast("dict[str, Constraint]", fields)
    # By way of the form in tokens: a field may have any name, also one that no keyword can have.
    wires = {name: {k: v for k, v in one.to_json().items() if k != "optional"} for name, one in found.items()}
    wire: dict[str, Any] = {"fields": wires}
    omitted = [name for name, one in found.items() if one.is_optional]
    if omitted:
        wire["may_omit"] = omitted
    try:
        return Fields.parse(wire, 1)
    except EncodingError as error:
        raise ConfigError(f"fields {error}") from None


_READERS: Final[Mapping[str, Callable[[Any], Constraint]]] = {
    "exact": _exact,
    "range": _range,
    "one_of": lambda value: OneOf(*filled_list("one_of", value)),
    "not_one_of": lambda value: NotOneOf(*filled_list("not_one_of", value)),
    "contains": lambda value: Contains(*filled_list("contains", value)),
    "subset": lambda value: Subset(*filled_list("subset", value)),
    "all_of": lambda value: AllOf(*collected("all_of", value, _inner)),
    "any_of": lambda value: AnyOf(*collected("any_of", value, _inner)),
    "anything": _anything,
    "path": Path,
    "url": Url,
    "email": Email,
    "cidr": Cidr,
    "prefix": Prefix,
    "max_length": MaxLength,
    "each": lambda value: Each(_inner(value)),
    "fields": _fields,
}
CONSTRAINT_KEYS: Final = tuple(_READERS)
"""The keys that spell a constraint; `min` and `max` may also stand alone, for a range."""


def read_limit(value: object) -> Limit:
    """Return the limit that a table spells.

    Raises:
        Misfit: when it has keys that a limit does not have.
        ConfigError: when the limit makes no sense.
    """
    table = filled_table("a limit", value)
    known_keys("key of a limit", table, LIMIT_KEYS)
    if "budget" in table:
        try:
            plain(filled_table("budget", table["budget"]))
        except Misfit as misfit:
            raise misfit.inside("budget") from None
    return Limit(**table)
