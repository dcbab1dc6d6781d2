"""The constraint types Remit implements, by their name on the wire."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from remit.constraints.base import MAX_DEPTH, Constraint
from remit.constraints.basic import Anything, Exact, NotOneOf, OneOf, Range
from remit.constraints.nested import AllOf, AnyOf, Contains, Each, Fields, Subset
from remit.constraints.text import Cidr, Email, MaxLength, Path, Prefix, Url
from remit.encoding import EncodingError
from remit.errors import ConfigError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from remit.encoding import JsonValue

__all__ = ["CONSTRAINT_TYPES", "parse_constraint"]

_DRAFT: Final = (Exact, Range, OneOf, NotOneOf, Contains, Subset, Anything, AllOf, AnyOf)
_REMIT: Final = (Path, Url, Email, Cidr, Prefix, MaxLength, Each, Fields)

_BY_NAME: Final[dict[str, type[Constraint]]] = {kind.TYPE: kind for kind in (*_DRAFT, *_REMIT)}
CONSTRAINT_TYPES: Final[Mapping[str, type[Constraint]]] = MappingProxyType(_BY_NAME)
"""`constraint_type` to class: the nine of the AAT draft and the eight of Remit."""

_ALLOWED: Final = {name: kind.MEMBERS | {"constraint_type", "optional"} for name, kind in _BY_NAME.items()}


def parse_constraint(wire: JsonValue, *, depth: int = 1) -> Constraint:
    """Return the constraint that a token carries as `wire`.

    Args:
        wire: the JSON value in the token.
        depth: 1 for the constraint of an argument, more for one nested inside it; only the former
            may be optional.

    Raises:
        EncodingError: when it is of a type Remit does not implement or is not well-formed
            (AAT draft, Section 3.4). It is never skipped: that would remove a restriction.
    """
    if depth > MAX_DEPTH:
        raise EncodingError(f"nests more than {MAX_DEPTH} deep")
    if not isinstance(wire, dict):
        raise EncodingError("is not an object")
    name = wire.get("constraint_type")
    kind = _BY_NAME.get(name) if isinstance(name, str) else None
    if kind is None:
        raise EncodingError(f"is of a type this verifier does not know, {shown(name)}")
    optional = wire.get("optional", False)
    if type(optional) is not bool or ("optional" in wire and depth > 1):
        raise EncodingError("has an optional that does not belong")
    if not wire.keys() <= _ALLOWED[kind.TYPE]:
        raise EncodingError("has a member that its type does not define")
    try:
        constraint = kind.parse(wire, depth)
    except ConfigError as error:
        raise EncodingError(f"is not well-formed ({error})") from None
    return constraint.optional() if optional else constraint
