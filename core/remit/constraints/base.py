"""What every constraint is: immutable, total, and comparable with others of its kind.

Invariants, which the property tests state as sentences:

- `check` returns a verdict for every JSON value and raises for none;
- `a.subsumes(b)` implies that whatever `b` admits, `a` admits;
- both take time polynomial in the size of the constraint and the value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, TypeAlias

from remit.encoding import ArgumentError, EncodingError, canonicalize, comparable, snapshot
from remit.errors import ConfigError, shown

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable
    from enum import Enum
    from typing import Self

    from remit.encoding import JsonObject, JsonValue

__all__ = [
    "MAX_DEPTH",
    "MAX_NODES",
    "Constraint",
    "Scalar",
    "keys_of",
    "listed",
    "member",
    "put",
    "to_json",
    "to_json_list",
]

Scalar: TypeAlias = "str | int | float | bool | Enum | None"
"""A JSON scalar, as `Exact` takes it; an enum counts by its value."""

MAX_DEPTH: Final = 32
"""How deeply constraints may nest (draft Section 3.4, MAX_CONSTRAINT_DEPTH)."""
MAX_NODES: Final = 128
"""How many constraints one argument's tree may hold; comparing two trees takes their product."""

_SHOWN_VALUES: Final = 6

put: Final = object.__setattr__
"""Sets an attribute of a constraint that is being built; afterwards nothing does."""


class Constraint(ABC):
    """A predicate on one argument. Immutable; equal when it says the same."""

    __slots__ = ("_optional", "depth", "nodes")

    TYPE: ClassVar[str]
    """The `constraint_type` on the wire."""
    MEMBERS: ClassVar[frozenset[str]]
    """The members that belong to the type on the wire."""

    _optional: bool
    depth: int
    """How deeply constraints nest in it; 1 for one without clauses."""
    nodes: int
    """How many constraints it holds, itself included."""

    def _init(self, *clauses: Constraint) -> None:
        """Set what all constraints have; `clauses` are those nested inside this one."""
        depth = nodes = 1
        if clauses:
            if any(clause.is_optional for clause in clauses):
                raise ConfigError(f"{self.TYPE}: only an argument can be optional, not a clause inside")
            depth += max(clause.depth for clause in clauses)
            nodes += sum(clause.nodes for clause in clauses)
            if depth > MAX_DEPTH or nodes > MAX_NODES:
                raise ConfigError(
                    f"{self.TYPE}: may nest {MAX_DEPTH} deep and hold {MAX_NODES} constraints at most"
                )
        put(self, "_optional", False)  # noqa: FBT003 - a slot, not a parameter
        put(self, "depth", depth)
        put(self, "nodes", nodes)

    @property
    def is_optional(self) -> bool:
        """Whether the argument may be left out (draft Section 3.3)."""
        return self._optional

    def optional(self) -> Self:
        """Return this constraint for an argument that may be left out; if given, it must satisfy it.

        The tool's own default then counts, so make an argument optional only where that default is
        acceptable.
        """
        twin: Self = object.__new__(type(self))
        for kind in type(self).__mro__:
            for name in getattr(kind, "__slots__", ()):
                if hasattr(self, name):
                    put(twin, name, getattr(self, name))
        put(twin, "_optional", True)  # noqa: FBT003 - as above
        return twin

    @abstractmethod
    def check(self, value: JsonValue) -> bool:
        """Tell whether `value`, in its JSON form, satisfies the constraint."""

    def subsumes(self, narrower: Constraint) -> bool:
        """Tell whether `narrower` is known to admit no value that this constraint refuses.

        The table in `remit.constraints.narrowing` decides; a pair it does not list is not narrower.
        Whether an argument is optional is compared elsewhere (draft Section 4.5).
        """
        from remit.constraints.narrowing import is_narrower

        return isinstance(narrower, Constraint) and is_narrower(self, narrower)

    @abstractmethod
    def _members(self) -> JsonObject:
        """Return the members of the type on the wire."""

    @classmethod
    @abstractmethod
    def parse(cls, members: JsonObject, depth: int) -> Self:
        """Return the constraint that `members` spell, `depth` levels below the argument."""

    @abstractmethod
    def describe(self) -> str:
        """Return what a value must be, as the end of a sentence that starts with "must be"."""

    def to_json(self) -> JsonObject:
        """Return the constraint as it stands in a token (draft Section 3.4)."""
        wire: JsonObject = {"constraint_type": self.TYPE, **self._members()}
        if self._optional:
            wire["optional"] = True
        return wire

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Constraint):
            return NotImplemented
        return canonicalize(self.to_json()) == canonicalize(other.to_json())

    def __hash__(self) -> int:
        return hash(canonicalize(self.to_json()))

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={value!r}" for name, value in self._members().items())
        return f"{type(self).__name__}({members})" + (".optional()" if self._optional else "")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"constraints are immutable: cannot set {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"constraints are immutable: cannot delete {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        from remit.constraints.registry import parse_constraint

        return (parse_constraint, (self.to_json(),))


def to_json(where: str, value: object) -> JsonValue:
    """Return the JSON form of a value that a constraint is built with.

    Raises:
        ConfigError: when it has none, naming `where` it was given.
    """
    try:
        return snapshot({"value": value})[1]["value"]
    except ArgumentError as error:
        raise ConfigError(f"{where}: a value {error}") from None


def to_json_list(where: str, values: Iterable[object]) -> list[JsonValue]:
    """Return the JSON forms of the values that a constraint is built with."""
    return [to_json(where, value) for value in values]


def keys_of(values: Iterable[JsonValue]) -> frozenset[Hashable]:
    """Return the set of values, comparable as RFC 8785 compares them."""
    return frozenset(map(comparable, values))


def member(members: JsonObject, name: str, kind: type[Any]) -> Any:
    """Return a member of exactly the given JSON type.

    Raises:
        EncodingError: when it is absent or of another type.
    """
    value = members.get(name)
    if type(value) is not kind:
        raise EncodingError(f"has a {shown(name)} that is not a {kind.__name__}")
    return value


def listed(values: Iterable[JsonValue]) -> str:
    """Return some values for a message, most of them if they are few."""
    texts = [
        shown(value) if isinstance(value, str) else canonicalize(value).decode()[:40] for value in values
    ]
    more = f" and {len(texts) - _SHOWN_VALUES} more" if len(texts) > _SHOWN_VALUES else ""
    return ", ".join(texts[:_SHOWN_VALUES]) + more
