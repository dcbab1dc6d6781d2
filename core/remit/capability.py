"""Capabilities: one thing that may be done, with which arguments, and how often.

A capability that names constraints is closed: an argument it does not name is refused. One that
names none allows any arguments, as the draft has it (Section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from remit.constraints import Anything, Constraint, parse_constraint
from remit.constraints.nested import as_constraint
from remit.encoding import EncodingError
from remit.errors import ConfigError, shown
from remit.limit import Limit
from remit.names import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from remit.constraints import Scalar
    from remit.encoding import JsonObject, JsonValue

__all__ = ["SECRET_PREFIX", "Capability", "Limit", "Widening"]

SECRET_PREFIX: Final = "secret:"  # noqa: S105 - the prefix of a name
"""A secret is the capability `secret:<NAME>`, whose argument `tool` says from where it may be resolved."""

OTHERS: Final = "*"
_OTHERS_WIRE: Final[JsonObject] = {"constraint_type": Anything.TYPE}


@dataclass(frozen=True, slots=True)
class Widening:
    """Where one capability would allow more than another."""

    problem: str
    argument: str | None = None


def _needs(name: str, constraint: Constraint) -> Widening:
    return Widening(f"needs {shown(name)} to be {constraint.describe()}", name)


class Capability:
    """One thing that may be done: a name, and constraints on the arguments.

    Args:
        name: an identifier such as `trades:propose`, compared as an exact string.
        **constraints: argument name to constraint; a plain scalar means `Exact`. With none, any
            arguments are allowed; with some, an argument not named is denied, unless
            `with_other_arguments()` says otherwise.

    Raises:
        ConfigError: when the name is blank or holds a wildcard, or a constraint is not one.
    """

    __slots__ = ("_constraints", "_name", "_others", "_required", "nodes")

    _name: str
    _constraints: Mapping[str, Constraint]
    _others: bool
    _required: frozenset[str]
    nodes: int
    """How many constraints one argument is compared with at most."""

    def __init__(self, name: str, /, **constraints: Constraint | Scalar) -> None:
        check_name("a capability", name)
        if OTHERS in name:
            raise ConfigError(f"capability {shown(name)}: names are exact, there are no wildcards")
        if name.startswith(SECRET_PREFIX):
            raise ConfigError(f"capability {shown(name)}: secrets are granted with secrets=[...]")
        if OTHERS in constraints:
            raise ConfigError(
                f"capability {shown(name)}: use with_other_arguments() to allow other arguments"
            )
        built = {
            argument: as_constraint(f"capability {shown(name)}, argument {shown(argument)}", value)
            for argument, value in constraints.items()
        }
        self._build(name, built, others=not built)

    def _build(self, name: str, constraints: dict[str, Constraint], *, others: bool) -> None:
        put = object.__setattr__
        put(self, "_name", name)
        put(self, "_constraints", MappingProxyType(constraints))
        put(self, "_others", others)
        put(self, "nodes", max([c.nodes for c in constraints.values()], default=1))
        put(self, "_required", frozenset([n for n, c in constraints.items() if not c.is_optional]))

    @classmethod
    def secret(cls, name: str, capabilities: list[str]) -> Capability:
        """Return the capability to resolve the secret `name` from within `capabilities`."""
        from remit.constraints import OneOf

        self = cls.__new__(cls)
        self._build(SECRET_PREFIX + name, {"tool": OneOf(*sorted(capabilities))}, others=False)
        return self

    @classmethod
    def parse(cls, name: str, wire: JsonValue) -> Capability:
        """Return the capability that a token carries (draft Sections 3.3 and 3.4).

        Raises:
            EncodingError: when the map or one of its constraints is not well-formed.
        """
        if not isinstance(wire, dict):
            raise EncodingError("is not an object")
        others = not wire
        constraints: dict[str, Constraint] = {}
        for argument, spelled in wire.items():
            if argument == OTHERS:
                if spelled != _OTHERS_WIRE:
                    raise EncodingError('has a "*" that is not a plain wildcard')
                others = True
                continue
            try:
                constraints[argument] = parse_constraint(spelled)
            except EncodingError as error:
                raise EncodingError(f"has a constraint on {shown(argument)} that {error}") from None
        self = cls.__new__(cls)
        self._build(name, constraints, others=others)
        return self

    @property
    def name(self) -> str:
        """The identifier."""
        return self._name

    @property
    def constraints(self) -> Mapping[str, Constraint]:
        """Argument name to constraint, read-only."""
        return self._constraints

    @property
    def other_arguments(self) -> bool:
        """Whether arguments that are not named are allowed, with any value."""
        return self._others

    def with_other_arguments(self) -> Capability:
        """Return this capability, allowing arguments it does not name, with any value.

        Avoid it for tools with side effects: it also allows what a later version of the tool takes.
        """
        twin = object.__new__(Capability)
        twin._build(self._name, dict(self._constraints), others=True)
        return twin

    def refusal(self, arguments: JsonObject, defaults: JsonObject | None = None) -> Widening | None:
        """Return why `arguments`, in their JSON form, are refused, or None when they are allowed.

        Args:
            arguments: what the caller passes, by parameter name.
            defaults: what the tool takes for parameters that were not passed; looked at only where
                the capability names them.
        """
        constraints = self._constraints
        for name, value in arguments.items():
            constraint = constraints.get(name)
            if constraint is None:
                if not self._others:
                    return Widening(f"may not be given an argument {shown(name)}", name)
            elif not constraint.check(value):
                return _needs(name, constraint)
        if defaults or not arguments.keys() >= self._required:
            return self._refusal_of_missing(arguments, defaults or {})
        return None

    def _refusal_of_missing(self, arguments: JsonObject, defaults: JsonObject) -> Widening | None:
        for name, constraint in self._constraints.items():
            if name in arguments:
                continue
            if name in defaults:
                if not constraint.check(defaults[name]):
                    return _needs(name, constraint)
            elif not constraint.is_optional:
                return Widening(f"needs an argument {shown(name)}, {constraint.describe()}", name)
        return None

    def widening(self, child: Capability) -> Widening | None:
        """Return where `child` would allow more than this capability does, or None (draft Section 4.5).

        The rules are the draft's: names (4p2), what must be given (4p3), and constraints (4p4).
        """
        if child.other_arguments and not self._others:
            return Widening("would allow arguments that the parent does not name")
        for name, constraint in child.constraints.items():
            found = self._widening_of(name, constraint)
            if found is not None:
                return found
        for name, mine in self._constraints.items():
            if name in child.constraints:
                continue
            if not mine.is_optional:
                return Widening(
                    f"leaves {shown(name)} open, which the parent limits to {mine.describe()}", name
                )
            if child.other_arguments:
                return Widening(f"would let {shown(name)} be anything", name)
        return None

    def _widening_of(self, name: str, constraint: Constraint) -> Widening | None:
        mine = self._constraints.get(name)
        if mine is None:
            known = self._others
            return None if known else Widening(f"would allow {shown(name)}, which the parent does not", name)
        if constraint.is_optional and not mine.is_optional:
            return Widening(f"would let {shown(name)} be left out", name)
        if not mine.subsumes(constraint):
            wider, held = constraint.describe(), mine.describe()
            return Widening(f"would let {shown(name)} be {wider}, where the parent allows {held}", name)
        return None

    def to_json(self) -> JsonObject:
        """Return the constraint map as it stands in a token."""
        wire: JsonObject = {name: constraint.to_json() for name, constraint in self._constraints.items()}
        if self._others and wire:
            wire[OTHERS] = dict(_OTHERS_WIRE)
        return wire

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Capability):
            return NotImplemented
        return (self._name, self._others, dict(self._constraints)) == (
            other._name,
            other._others,
            dict(other._constraints),
        )

    def __hash__(self) -> int:
        return hash((self._name, self._others, frozenset(self._constraints.items())))

    def __repr__(self) -> str:
        parts = [repr(self._name), *(f"{name}={value!r}" for name, value in self._constraints.items())]
        others = ".with_other_arguments()" if self._others and self._constraints else ""
        return f"Capability({', '.join(parts)}){others}"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"capabilities are immutable: cannot set {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"capabilities are immutable: cannot delete {name}")

    def __reduce__(self) -> tuple[object, ...]:
        return (Capability.parse, (self._name, self.to_json()))
