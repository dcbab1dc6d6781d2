"""Python values as JSON: the private copy a tool runs on, and the form that is checked.

`snapshot` walks the arguments of a call once and returns both, so that the checked form is that of
the very objects the tool will get, whatever another thread does to the caller's originals.
"""

from __future__ import annotations

import dataclasses
import sys
from datetime import date, datetime, time, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from functools import cached_property
from math import isfinite
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from remit.encoding.failure import ArgumentError, EncodingError
from remit.encoding.numbers import admissible, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import DataclassInstance

__all__ = ["MAX_DEPTH", "MAX_SIZE", "JsonObject", "JsonValue", "snapshot"]

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = "dict[str, JsonValue]"

MAX_DEPTH: Final = 64
"""How deeply the arguments of a call may nest."""
MAX_SIZE: Final = 1 << 18
"""How large the arguments of a call may be in all: characters, and eight for each value."""

_class_of: Final = cast("Callable[[object], type[object]]", type)
_SAFE: Final = 2**53
_SHORT: Final = 1024
_VALUE: Final = 8
_MAX_NAMES: Final = 1024
_BASES: Final[tuple[tuple[type, Callable[[Any], object]], ...]] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
)
_UUID: Final = ("uuid", "UUID")
_ZONE: Final = ("zoneinfo", "ZoneInfo")
# Exactly these: a subclass could say one thing to the check and another to the tool.
_TIMES: Final = frozenset({datetime, date, time})
_PATHS: Final = frozenset({PosixPath, PurePosixPath, PureWindowsPath, WindowsPath})


class _Snapshot:
    """One walk over a call's arguments, with what is left of its size."""

    __slots__ = ("_left",)

    def __init__(self, size: int) -> None:
        self._left = size

    def _spend(self, size: int) -> None:
        self._left -= size + _VALUE
        if self._left < 0:
            raise EncodingError("is too large")

    def take(self, value: Any, depth: int) -> tuple[Any, JsonValue]:
        """Return a private copy of `value` and the JSON form of that copy."""
        kind = _class_of(value)
        if kind is str:
            return self.text(value), value
        if kind is int:
            return value, self._whole(value)
        self._spend(0)
        if value is None or kind is bool or (kind is float and isfinite(value)):
            return value, value
        if depth <= 0:
            raise EncodingError("nests too deeply")
        if kind is list or kind is tuple:
            return self._sequence(value, depth)
        if kind is dict:
            return self._mapping(value, depth)
        try:
            return self._other(kind, value, depth)
        except (EncodingError, RecursionError):
            raise
        except Exception:  # noqa: BLE001 - a foreign class may raise anything; then nothing can be checked
            raise EncodingError(f"cannot be read (it is a {kind.__name__})") from None

    def text(self, value: str) -> str:
        """Return `value` when it can be written as UTF-8."""
        self._spend(len(value))
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise EncodingError("holds a lone surrogate") from None
        return value

    def _whole(self, value: int) -> int | float:
        self._spend(0)
        return whole(value)

    def _sequence(self, value: list[object] | tuple[object, ...], depth: int) -> tuple[Any, JsonValue]:
        self._spend(len(value))
        # A list is copied first: its length was just paid for, and another thread may extend it.
        taken = [self.take(item, depth - 1) for item in value[: self._left]]
        return type(value)(own for own, _ in taken), [form for _, form in taken]

    def _mapping(self, value: dict[object, object], depth: int) -> tuple[Any, JsonValue]:
        self._spend(len(value))
        own: dict[str, Any] = {}
        forms: JsonObject = {}
        for name, item in value.copy().items():
            if type(name) is not str:
                raise EncodingError("holds a name that is not a string")
            own[self.text(name)], forms[name] = self.take(item, depth - 1)
        return own, forms

    def _other(self, kind: type[object], value: Any, depth: int) -> tuple[Any, JsonValue]:
        # By its class, not with isinstance, which believes what an object says of itself.
        bases = [
            base_value(value) for base, base_value in _BASES if kind is not base and issubclass(kind, base)
        ]
        if issubclass(kind, Enum):  # members are immutable and shared by design
            if any(base != value.value for base in bases):
                raise EncodingError("is an enum whose value is not what it is equal to")
            return value, self.take(value.value, depth - 1)[1]
        if bases:  # it may lie to the check: take its base value
            return self.take(bases[0], depth)
        if kind in _TIMES:
            own = value if kind is date else value.replace(tzinfo=_plain_zone(value))
            return own, self.text(own.isoformat())
        if kind is Decimal:
            return value, self._decimal(value)
        if kind in _PATHS or (kind.__module__, kind.__name__) == _UUID:
            return value, self.text(str(value))
        if hasattr(kind, "__dataclass_fields__"):
            return self._dataclass(value, depth)
        pydantic = sys.modules.get("pydantic")  # whoever holds a model has imported it
        if pydantic is not None and issubclass(kind, pydantic.BaseModel):
            return self._model(value, depth)
        raise EncodingError(f"has no JSON form (it is a {kind.__name__})")

    def _dataclass(self, value: DataclassInstance, depth: int) -> tuple[Any, JsonValue]:
        """Build a twin of a dataclass from its fields; its class may have its own idea of copying."""
        twin, forms = object.__new__(type(value)), dict[str, JsonValue]()
        for field in dataclasses.fields(value):
            if _is_computed(type(value), field.name):
                raise EncodingError("has a field that is computed when it is read")
            own, forms[field.name] = self.take(getattr(value, field.name), depth - 1)
            object.__setattr__(twin, field.name, own)
        beside = getattr(value, "__dict__", {}).keys() - forms.keys()
        for name in beside:
            if not isinstance(getattr(type(value), name, None), cached_property):
                raise EncodingError("holds something beside its fields")
        return twin, forms

    def _model(self, value: Any, depth: int) -> tuple[Any, JsonValue]:
        """Build a twin of a pydantic model from its fields as they are, not as it would dump them."""
        kind = value.__class__
        extra: dict[str, Any] = getattr(value, "__pydantic_extra__", None) or {}
        own, forms = dict[str, Any](), dict[str, JsonValue]()
        for name in (*kind.model_fields, *extra):
            held = extra[name] if name in extra else getattr(value, name)
            own[name], forms[name] = self.take(held, depth - 1)
        twin = kind.model_construct(_fields_set=set(value.model_fields_set), **own)
        for name in kind.model_fields:
            vars(twin)[name] = own[name]  # whatever the class does when it is built
        is_root = getattr(kind, "__pydantic_root_model__", False)
        return twin, forms["root"] if is_root else forms

    def _decimal(self, value: Decimal) -> JsonValue:
        if not value.is_finite() or abs(value.adjusted()) > 400 or not admissible(value):  # noqa: PLR2004 - beyond any double
            raise EncodingError("is a number that a double cannot represent")
        return whole(int(value)) if value == value.to_integral_value() else float(value)


def _plain_zone(value: datetime | time) -> tzinfo | None:
    """Return a time zone that says the same tomorrow: a foreign one is replaced by its offset."""
    zone = value.tzinfo
    if zone is None or type(zone) is timezone or (type(zone).__module__, type(zone).__name__) == _ZONE:
        return zone
    offset = value.utcoffset()
    return None if offset is None else timezone(offset)


def _is_computed(kind: type, name: str) -> bool:
    held: object = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    return hasattr(held, "__set__") and not isinstance(held, MemberDescriptorType)


def snapshot(arguments: dict[str, Any], *, max_size: int = MAX_SIZE) -> tuple[dict[str, Any], JsonObject]:
    """Return a private copy of `arguments` and its JSON form.

    Strings, numbers, booleans, null, lists, tuples and objects are themselves; enums are their
    values; dates are ISO 8601; a `Decimal` is the number it denotes; UUIDs and paths are their
    text; dataclasses and pydantic models are objects of their fields.

    Args:
        arguments: what is passed, by parameter name.
        max_size: how large it may be; no more than `MAX_SIZE`.

    Raises:
        ArgumentError: when an argument has no JSON form, is not finite, a double would change it,
            or the whole is too large or too deep.
    """
    walk = _Snapshot(min(max_size, MAX_SIZE))
    own: dict[str, Any] = {}
    forms: JsonObject = {}
    if len(arguments) > _MAX_NAMES:
        raise ArgumentError(next(iter(arguments)), f"is one of more than {_MAX_NAMES}")
    for name, value in arguments.items():
        kind = _class_of(value)
        # The plainest values, of which most calls are made, need no walk.
        if name.isascii() and (
            (kind is str and len(value) < _SHORT and value.isascii())
            or (kind is int and -_SAFE <= value <= _SAFE)
        ):
            own[name] = forms[name] = value
            continue
        try:
            own[walk.text(name)], forms[name] = walk.take(value, MAX_DEPTH)
        except EncodingError as error:
            raise ArgumentError(name, str(error)) from None
        except RecursionError:
            raise ArgumentError(name, "nests too deeply") from None
    return own, forms
