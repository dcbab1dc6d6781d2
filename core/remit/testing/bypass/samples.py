"""Sample arguments for a tool, made from its signature."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import types
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from remit.errors import ConfigError, shown
from remit.parameters import is_injected

__all__ = ["sample_arguments"]

_NOON: Final = dt.datetime(2027, 1, 15, 12, tzinfo=dt.UTC)
_PLAIN: Final[Mapping[object, Callable[[], object]]] = {
    str: lambda: "sample",
    int: lambda: 1,
    float: lambda: 1.5,
    bool: lambda: True,
    Any: lambda: "sample",
    object: lambda: "sample",
    type(None): lambda: None,
    list: lambda: ["sample"],
    dict: lambda: {"sample": "sample"},
    dt.datetime: lambda: _NOON,
    dt.date: _NOON.date,
    dt.time: _NOON.time,
    decimal.Decimal: lambda: decimal.Decimal(1),
    uuid.UUID: lambda: uuid.UUID(int=1),
    Path: lambda: Path("sample"),
}
_DEPTH: Final = 8


def sample_arguments(function: Callable[..., Any], given: Mapping[str, object]) -> dict[str, Any]:
    """Return arguments for a function: those that are given, and what its signature requires beside them.

    Args:
        function: a guarded function.
        given: arguments by parameter name.

    Raises:
        ConfigError: when an argument is required of which no sample can be made; the message names it.
    """
    made = dict(given)
    for parameter in inspect.signature(function).parameters.values():
        name, kind = parameter.name, parameter.kind
        skipped = kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD} or name in {"self", "cls"}
        if name in made or skipped or parameter.default is not parameter.empty:
            continue
        annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
        if is_injected(annotation):
            continue
        try:
            made[name] = _sample(annotation, 0)
        except LookupError:
            raise ConfigError(
                f"no sample of {shown(name)} can be made from its type: give (tool, {{{name!r}: value}})"
            ) from None
    return made


def _sample(annotation: Any, depth: int) -> Any:
    origin, parts = get_origin(annotation), get_args(annotation)
    if depth > _DEPTH:
        raise LookupError
    if annotation in _PLAIN:
        return _PLAIN[annotation]()
    if origin is Annotated:
        return _sample(parts[0], depth + 1)
    if origin is Literal:
        return parts[0]
    if origin in {Union, types.UnionType}:
        return _sample(next(part for part in parts if part is not type(None)), depth + 1)
    if origin is dict or _is(origin, Mapping):
        return {_sample(parts[0], depth + 1): _sample(parts[1], depth + 1)}
    if origin is tuple:
        return tuple(_sample(part, depth + 1) for part in parts if part is not ...)
    if isinstance(origin, type) and issubclass(list, origin):
        return [_sample(parts[0], depth + 1)]
    if isinstance(annotation, type):
        return _instance(annotation, depth)
    raise LookupError


def _instance(kind: type[Any], depth: int) -> Any:
    if issubclass(kind, enum.Enum):
        return next(iter(kind))
    hints: dict[str, Any]
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        fields = [field for field in dataclasses.fields(kind) if field.init]
        needed = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
        return kind(**{name: _sample(hints[name], depth + 1) for name in needed})
    described: Mapping[str, Any] | None = getattr(kind, "model_fields", None)  # a pydantic model
    if described is not None:
        return kind(
            **{
                name: _sample(field.annotation, depth + 1)
                for name, field in described.items()
                if field.is_required()
            }
        )
    raise LookupError


def _is(origin: object, base: type) -> bool:
    return isinstance(origin, type) and issubclass(origin, base)
