"""Constraints on lists and objects, and constraints made of constraints.

`contains`, `subset`, `all` and `any` are the draft's (Section 3.4); `each` and `fields` are Remit's.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from remit.constraints.base import Constraint, keys_of, listed, member, put
from remit.constraints.basic import Exact, Values
from remit.encoding import EncodingError, comparable
from remit.errors import ConfigError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from remit.constraints.base import Scalar
    from remit.encoding import JsonObject, JsonValue

__all__ = ["AllOf", "AnyOf", "Contains", "Each", "Fields", "Subset", "as_constraint"]


def as_constraint(where: str, value: Constraint | Scalar) -> Constraint:
    """Return `value` as a constraint; a plain scalar means `Exact`.

    Raises:
        ConfigError: when it is neither.
    """
    if isinstance(value, Constraint):
        return value
    if isinstance(value, type):
        raise ConfigError(f"{where}: takes a constraint such as OneOf(...), not a class")
    try:
        return Exact(value)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


class Contains(Values):
    """The argument is a list that holds all of `values`, whatever else it holds.

    Args:
        *values: the elements that must be there, at least one.

    Raises:
        ConfigError: when there is no value, or one has no JSON form.
    """

    __slots__ = ()
    TYPE: ClassVar[str] = "contains"
    MEMBER: ClassVar[str] = "required"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({MEMBER})

    def check(self, value: JsonValue) -> bool:
        return isinstance(value, list) and self._keys <= keys_of(value)

    def describe(self) -> str:
        return "a list with " + listed(self.values)


class Subset(Values):
    """The argument is a list of nothing but `values`; the empty list qualifies.

    Args:
        *values: the elements allowed, at least one.

    Raises:
        ConfigError: when there is no value, or one has no JSON form.
    """

    __slots__ = ()
    TYPE: ClassVar[str] = "subset"
    MEMBER: ClassVar[str] = "allowed"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({MEMBER})

    def check(self, value: JsonValue) -> bool:
        return isinstance(value, list) and all(comparable(item) in self._keys for item in value)

    def describe(self) -> str:
        return "a list of nothing but " + listed(self.values)


class _Clauses(Constraint):
    """A constraint that is a list of constraints on the same value."""

    __slots__ = ("clauses",)
    MEMBERS: ClassVar[frozenset[str]] = frozenset({"constraints"})

    clauses: tuple[Constraint, ...]
    """The constraints inside."""

    def __init__(self, *clauses: Constraint | Scalar) -> None:
        name = type(self).__name__
        if not clauses:
            raise ConfigError(f"{name}: needs at least one constraint")
        self._build(tuple(as_constraint(name, clause) for clause in clauses))

    def _build(self, clauses: tuple[Constraint, ...]) -> None:
        self._init(*clauses)
        put(self, "clauses", clauses)

    def _members(self) -> JsonObject:
        return {"constraints": [clause.to_json() for clause in self.clauses]}

    @classmethod
    def parse(cls, members: JsonObject, depth: int) -> Self:
        wires = member(members, "constraints", list)
        if not wires:
            raise EncodingError("has no constraints, which would mean anything")
        self = cls.__new__(cls)
        self._build(tuple(_parse_inner(wire, depth) for wire in wires))
        return self


class AllOf(_Clauses):
    """The argument satisfies every one of `clauses`.

    Args:
        *clauses: constraints, or scalars that mean `Exact`; at least one.

    Raises:
        ConfigError: when there is none, one is optional, or they nest too deeply.
    """

    __slots__ = ()
    TYPE: ClassVar[str] = "all"

    def check(self, value: JsonValue) -> bool:
        return all(clause.check(value) for clause in self.clauses)

    def describe(self) -> str:
        return ", and ".join(clause.describe() for clause in self.clauses)


class AnyOf(_Clauses):
    """The argument satisfies at least one of `clauses`.

    Args:
        *clauses: constraints, or scalars that mean `Exact`; at least one.

    Raises:
        ConfigError: when there is none, one is optional, or they nest too deeply.
    """

    __slots__ = ()
    TYPE: ClassVar[str] = "any"

    def check(self, value: JsonValue) -> bool:
        return any(clause.check(value) for clause in self.clauses)

    def describe(self) -> str:
        return ", or ".join(clause.describe() for clause in self.clauses)


class Each(Constraint):
    """The argument is a list of which every element satisfies `constraint`; the empty list qualifies.

    Args:
        constraint: a constraint, or a scalar that means `Exact`.

    Raises:
        ConfigError: when it is neither, is optional, or nests too deeply.
    """

    __slots__ = ("constraint",)
    TYPE: ClassVar[str] = "each"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({"constraint"})

    constraint: Constraint
    """What every element satisfies."""

    def __init__(self, constraint: Constraint | Scalar) -> None:
        self._build(as_constraint("Each", constraint))

    def _build(self, constraint: Constraint) -> None:
        self._init(constraint)
        put(self, "constraint", constraint)

    def check(self, value: JsonValue) -> bool:
        return isinstance(value, list) and all(map(self.constraint.check, value))

    def _members(self) -> JsonObject:
        return {"constraint": self.constraint.to_json()}

    @classmethod
    def parse(cls, members: JsonObject, depth: int) -> Self:
        self = cls.__new__(cls)
        self._build(_parse_inner(members.get("constraint"), depth))
        return self

    def describe(self) -> str:
        return f"a list of which each element is {self.constraint.describe()}"


class Fields(Constraint):
    """The argument is an object with exactly these fields, each satisfying its constraint.

    The object is closed: a field it does not name is refused, and a field that is named must be
    there unless its constraint is `.optional()`.

    Args:
        **fields: field name to constraint, or to a scalar that means `Exact`; at least one.

    Raises:
        ConfigError: when there is none, or the constraints nest too deeply.
    """

    __slots__ = ("_fields", "_required")
    TYPE: ClassVar[str] = "fields"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({"fields", "may_omit"})

    _fields: Mapping[str, Constraint]
    _required: frozenset[str]

    def __init__(self, **fields: Constraint | Scalar) -> None:
        if not fields:
            raise ConfigError("Fields: needs at least one field")
        self._build({name: as_constraint(f"Fields: {shown(name)}", value) for name, value in fields.items()})

    def _build(self, fields: dict[str, Constraint]) -> None:
        bare = [_required_form(field) for field in fields.values()]
        self._init(*bare)
        required = frozenset(name for name, field in fields.items() if not field.is_optional)
        put(self, "_fields", MappingProxyType(fields))
        put(self, "_required", required)

    @property
    def fields(self) -> Mapping[str, Constraint]:
        """Field name to constraint; one that may be left out is optional."""
        return self._fields

    @property
    def required(self) -> frozenset[str]:
        """The names of the fields that must be there."""
        return self._required

    def check(self, value: JsonValue) -> bool:
        if not isinstance(value, dict) or not self._required <= value.keys():
            return False
        fields = self._fields
        return all(name in fields and fields[name].check(item) for name, item in value.items())

    def _members(self) -> JsonObject:
        members: JsonObject = {
            "fields": {name: _required_form(field).to_json() for name, field in self._fields.items()}
        }
        may_omit = sorted(self._fields.keys() - self._required)
        if may_omit:
            members["may_omit"] = list(may_omit)
        return members

    @classmethod
    def parse(cls, members: JsonObject, depth: int) -> Self:
        wires = member(members, "fields", dict)
        may_omit: list[JsonValue] = member(members, "may_omit", list) if "may_omit" in members else []
        fields = {name: _parse_inner(wire, depth) for name, wire in wires.items()}
        for name in may_omit:
            if not isinstance(name, str) or name not in fields:
                raise EncodingError("lets a field be omitted that it does not have")
            fields[name] = fields[name].optional()
        if not fields:
            raise EncodingError("has no fields")
        self = cls.__new__(cls)
        self._build(fields)
        return self

    def describe(self) -> str:
        return "an object with " + ", ".join(
            f"{shown(name)} {field.describe()}" for name, field in self._fields.items()
        )


def _required_form(constraint: Constraint) -> Constraint:
    """Return `constraint` as one that is not optional."""
    if not constraint.is_optional:
        return constraint
    bare = constraint.optional()
    put(bare, "_optional", False)  # noqa: FBT003 - a slot, not a parameter
    return bare


def _parse_inner(wire: JsonValue, depth: int) -> Constraint:
    from remit.constraints.registry import parse_constraint

    return parse_constraint(wire, depth=depth + 1)
