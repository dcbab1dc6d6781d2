"""Sample arguments for a tool, made from its signature."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import types
import uuid
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NewType,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

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
    set: lambda: {"sample"},
    frozenset: lambda: frozenset({"sample"}),
    bytes: lambda: b"sample",
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
    for number, parameter in enumerate(inspect.signature(function).parameters.values()):
        name, kind = parameter.name, parameter.kind
        received = number == 0 and name in {"self", "cls"} and _in_class(function)
        skipped = received or kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        if name in made or skipped or parameter.default is not parameter.empty:
            continue
        annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
        if is_injected(annotation):
            continue
        try:
            made[name] = _sample(annotation, 0)
        except (LookupError, StopIteration, TypeError, NameError):
            raise ConfigError(
                f"no sample of {shown(name)} can be made from its type: give (tool, {{{name!r}: value}})"
            ) from None
    return made


def _in_class(function: Any) -> bool:
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    return bool(owner) and not owner.endswith("<locals>") and not inspect.ismethod(function)


def _sample(annotation: Any, depth: int) -> Any:
    origin, parts = get_origin(annotation), get_args(annotation)
    if depth > _DEPTH:
        raise LookupError
    if origin is Annotated:  # before anything is looked up: what it is annotated with may have no hash
        return _sample(parts[0], depth + 1)
    if annotation in _PLAIN:
        return _PLAIN[annotation]()
    if origin is Literal:
        return parts[0]
    if origin in {Union, types.UnionType}:
        return _sample(next(part for part in parts if part is not type(None)), depth + 1)
    if isinstance(origin, type):
        return _container(origin, parts, depth)
    if isinstance(annotation, NewType):
        return _sample(annotation.__supertype__, depth + 1)
    if isinstance(annotation, type):
        return _instance(annotation, depth)
    raise LookupError


def _container(origin: type[Any], parts: tuple[Any, ...], depth: int) -> Any:
    samples: Iterator[Any] = (_sample(part, depth + 1) for part in parts if part is not ...)
    if issubclass(origin, Mapping):
        return {next(samples): next(samples)}
    if origin is tuple:
        return tuple(samples)
    if issubclass(list, origin):
        return [next(samples)]
    if issubclass(origin, AbstractSet):
        return {next(samples)}
    raise LookupError


def _instance(kind: type[Any], depth: int) -> Any:
    if issubclass(kind, enum.Enum):
        return next(iter(kind))
    hints: dict[str, Any]
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        return {name: _sample(hints[name], depth + 1) for name in sorted(kind.__required_keys__)}
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        fields = [field for field in dataclasses.fields(kind) if field.init]
        needed = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
        return _made(kind, {name: _sample(hints[name], depth + 1) for name in needed})
    described: Mapping[str, Any] | None = getattr(kind, "model_fields", None)  # a pydantic model
    if described is not None:
        needed = [name for name, field in described.items() if field.is_required()]
        return _made(kind, {name: _sample(described[name].annotation, depth + 1) for name in needed})
    raise LookupError


def _made(kind: type[Any], arguments: Mapping[str, Any]) -> Any:
    try:
        return kind(**arguments)
    except Exception as error:  # a class is anybody's code, and wants what its types do not say
        raise LookupError from error
