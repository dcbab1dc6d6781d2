"""Constraints on one scalar: the draft's exact, range, one_of, not_one_of and wildcard (Section 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from remit.constraints.base import Constraint, keys_of, listed, member, put, to_json, to_json_list
from remit.encoding import EncodingError, comparable
from remit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Self

    from remit.constraints.base import Scalar
    from remit.encoding import JsonObject, JsonValue

__all__ = ["Anything", "Exact", "NotOneOf", "OneOf", "Range", "Values"]

_BOUNDS: Final = ("min", "max")


class Exact(Constraint):
    """The argument equals `value`: a string, number, boolean or null.

    Args:
        value: the only value allowed. `1` and `1.0` are the same number; `1` and `True` are not.

    Raises:
        ConfigError: when `value` is not a scalar.
    """

    __slots__ = ("_key", "value")
    TYPE: ClassVar[str] = "exact"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({"value"})

    value: JsonValue
    _key: Hashable

    def __init__(self, value: Scalar) -> None:
        form = to_json("Exact", value)
        if isinstance(form, list | dict):
            raise ConfigError(
                "Exact: takes a string, number, boolean or None; use OneOf or Subset for a list"
            )
        self._build(form)

    def _build(self, value: JsonValue) -> None:
        self._init()
        put(self, "value", value)
        put(self, "_key", comparable(value))

    def check(self, value: JsonValue) -> bool:
        return comparable(value) == self._key

    def _members(self) -> JsonObject:
        return {"value": self.value}

    @classmethod
    def parse(cls, members: JsonObject, depth: int) -> Self:  # noqa: ARG003 - a leaf
        value = members.get("value")
        if "value" not in members or isinstance(value, list | dict):
            raise EncodingError("has a value that is not a scalar")
        self = cls.__new__(cls)
        self._build(value)
        return self

    def describe(self) -> str:
        return listed([self.value])


class Range(Constraint):
    """The argument is a number within bounds, each inclusive unless said otherwise.

    Args:
        min: the smallest number allowed; None for no lower bound.
        max: the largest number allowed; None for no upper bound.
        min_inclusive: whether `min` itself is allowed.
        max_inclusive: whether `max` itself is allowed.

    Raises:
        ConfigError: when a bound is not a finite number, `min` exceeds `max`, or no bound is given.
    """

    __slots__ = ("_high", "_high_open", "_low", "_low_open")
    TYPE: ClassVar[str] = "range"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({"min", "max", "min_inclusive", "max_inclusive"})

    _low: int | float | None
    _high: int | float | None
    _low_open: bool
    _high_open: bool

    def __init__(
        self,
        *,
        min: float | None = None,  # noqa: A002 - the draft's name
        max: float | None = None,  # noqa: A002 - the draft's name
        min_inclusive: bool = True,
        max_inclusive: bool = True,
    ) -> None:
        if min is None and max is None:
            raise ConfigError("Range: needs min, max or both; use Anything() to allow any value")
        if type(min_inclusive) is not bool or type(max_inclusive) is not bool:
            raise ConfigError("Range: min_inclusive and max_inclusive are True or False")
        if (min is None and not min_inclusive) or (max is None and not max_inclusive):
            raise ConfigError("Range: an exclusive bound needs its number")
        low, high = (None if bound is None else to_json("Range", bound) for bound in (min, max))
        try:
            self._build(low, high, low_open=not min_inclusive, high_open=not max_inclusive)
        except EncodingError as error:
            raise ConfigError(f"Range: {error}") from None

    def _build(self, low: JsonValue, high: JsonValue, *, low_open: bool, high_open: bool) -> None:
        for name, bound in zip(_BOUNDS, (low, high), strict=True):
            if bound is not None and type(bound) is not int and type(bound) is not float:
                raise EncodingError(f"has a {name} that is not a number")
        if low is not None and high is not None and low > high:  # type: ignore[operator]  # both are numbers
            raise EncodingError("has a min greater than its max")
        self._init()
        put(self, "_low", low)
        put(self, "_high", high)
        put(self, "_low_open", low_open)
        put(self, "_high_open", high_open)

    @property
    def minimum(self) -> float | None:
        """The lower bound, or None."""
        return self._low

    @property
    def maximum(self) -> float | None:
        """The upper bound, or None."""
        return self._high

    def check(self, value: JsonValue) -> bool:
        if type(value) is not int and type(value) is not float:  # a boolean is no number here
            return False
        low, high = self._low, self._high
        if low is not None and (value < low or (self._low_open and value == low)):
            return False
        return high is None or value < high or (value == high and not self._high_open)

    def contains_range(self, other: Range) -> bool:
        """Tell whether both bounds of `other` are at least as tight (draft Section 4.5, range)."""
        if self._low is not None and (
            other._low is None
            or other._low < self._low
            or (other._low == self._low and self._low_open and not other._low_open)
        ):
            return False
        return self._high is None or (
            other._high is not None
            and (
                other._high < self._high
                or (other._high == self._high and (other._high_open or not self._high_open))
            )
        )

    def _members(self) -> JsonObject:
        members: JsonObject = {}
        if self._low is not None:
            members["min"] = self._low
        if self._high is not None:
            members["max"] = self._high
        if self._low_open:
            members["min_inclusive"] = False
        if self._high_open:
            members["max_inclusive"] = False
        return members

    @classmethod
    def parse(cls, members: JsonObject, depth: int) -> Self:  # noqa: ARG003 - a leaf
        is_open: list[bool] = []
        for name in _BOUNDS:
            inclusive = members.get(f"{name}_inclusive", True)
            if type(inclusive) is not bool or (f"{name}_inclusive" in members and name not in members):
                raise EncodingError(f"has a {name}_inclusive that does not belong")
            if name in members and members[name] is None:
                raise EncodingError(f"has a {name} that is not a number")
            is_open.append(not inclusive)
        self = cls.__new__(cls)
        self._build(members.get("min"), members.get("max"), low_open=is_open[0], high_open=is_open[1])
        return self

    def describe(self) -> str:
        parts: list[str] = []
        if self._low is not None:
            parts.append(f"{'more than' if self._low_open else 'at least'} {listed([self._low])}")
        if self._high is not None:
            parts.append(f"{'less than' if self._high_open else 'at most'} {listed([self._high])}")
        return "a number of " + " and ".join(parts) if parts else "a number"


class Values(Constraint):
    """A constraint that is a list of values."""

    __slots__ = ("_keys", "values")
    MEMBER: ClassVar[str]

    values: tuple[JsonValue, ...]
    """The values, in the order they were given."""
    _keys: frozenset[Hashable]

    def __init__(self, *values: object) -> None:
        if not values:
            raise ConfigError(f"{type(self).__name__}: needs at least one value")
        self._build(to_json_list(type(self).__name__, values))

    def _build(self, values: list[JsonValue]) -> None:
        self._init()
        put(self, "values", tuple(values))
        put(self, "_keys", keys_of(values))

    @property
    def keys(self) -> frozenset[Hashable]:
        """The set of values, comparable as RFC 8785 compares them."""
        return self._keys

    def _members(self) -> JsonObject:
        return {self.MEMBER: list(self.values)}

    @classmethod
    def parse(cls, members: JsonObject, depth: int) -> Self:  # noqa: ARG003 - a leaf
        self = cls.__new__(cls)
        self._build(member(members, cls.MEMBER, list))
        return self


class OneOf(Values):
    """The argument is one of `values`.

    Args:
        *values: the values allowed, at least one.

    Raises:
        ConfigError: when there is no value, or one has no JSON form.
    """

    __slots__ = ()
    TYPE: ClassVar[str] = "one_of"
    MEMBER: ClassVar[str] = "values"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({MEMBER})

    def _build(self, values: list[JsonValue]) -> None:
        if not values:
            raise EncodingError("has no values")
        super()._build(values)

    def check(self, value: JsonValue) -> bool:
        return comparable(value) in self._keys

    def describe(self) -> str:
        return ("one of " if len(self.values) > 1 else "") + listed(self.values)


class NotOneOf(Values):
    """The argument is none of `values`. Any other value of any type is allowed, so prefer `OneOf`.

    Args:
        *values: the values refused, at least one.

    Raises:
        ConfigError: when there is no value, or one has no JSON form.
    """

    __slots__ = ()
    TYPE: ClassVar[str] = "not_one_of"
    MEMBER: ClassVar[str] = "excluded"
    MEMBERS: ClassVar[frozenset[str]] = frozenset({MEMBER})

    def check(self, value: JsonValue) -> bool:
        return comparable(value) not in self._keys

    def describe(self) -> str:
        return "none of " + listed(self.values)


class Anything(Constraint):
    """Any value. It names an argument without restricting it, so that the capability stays closed."""

    __slots__ = ()
    TYPE: ClassVar[str] = "wildcard"
    MEMBERS: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self._init()

    def check(self, value: JsonValue) -> bool:  # noqa: ARG002 - that is the point
        return True

    def _members(self) -> JsonObject:
        return {}

    @classmethod
    def parse(cls, members: JsonObject, depth: int) -> Self:  # noqa: ARG003 - a leaf without members
        return cls()

    def describe(self) -> str:
        return "any value"
