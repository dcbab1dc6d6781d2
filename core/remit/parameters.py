"""The parameters of a tool: which are arguments, which are secrets, which a framework injects."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, field
from types import MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, cast, get_args, get_origin, get_type_hints

from remit.encoding import EncodingError, snapshot
from remit.errors import ConfigError, shown
from remit.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from remit.secrets import Secret

__all__ = ["Arguments", "Parameters", "SecretParameter", "secret"]

_RECEIVERS: Final = ("self", "cls")
_INJECTED: Final[Mapping[str, frozenset[str]]] = {
    "langchain_core": frozenset(
        {"RunnableConfig", "InjectedToolArg", "BaseCallbackHandler", "BaseCallbackManager", "BaseRunManager"}
    ),
    "langchain": frozenset({"ToolRuntime"}),
    "langgraph": frozenset({"ToolRuntime"}),
    "autogen_core": frozenset({"CancellationToken"}),
}
"""What frameworks put into a call by themselves, by package and class; the model cannot pass it."""


_SCALARS: Final = frozenset({str, int, float, bool})
_OTHER: Final = object()


class SecretParameter:
    """Stands as the default of a parameter that is filled with a secret at the call."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name: str = check_name("a secret's name", name)

    def __repr__(self) -> str:
        return f"remit.secret({self.name!r})"


def secret(name: str) -> Secret:
    """Mark a parameter of a guarded function as a secret, by standing as its default.

    The parameter is in no signature that a model sees, no caller can pass it, and at the call it
    holds a `Secret` if the token grants one of that name for this capability.

    Args:
        name: the secret's name in the grant.

    Raises:
        ConfigError: when the name is blank.
    """
    return SecretParameter(name)  # type: ignore[return-value]  # what the function gets in its place


@dataclass(slots=True)
class Arguments:
    """One call, taken apart."""

    passed: dict[str, Any] = field(default_factory=dict[str, Any])
    """What counts as an argument, by parameter name."""
    injected: dict[str, Any] = field(default_factory=dict[str, Any])
    """The receiver, and what a framework put in; not looked at, not copied."""
    problem: str | None = None
    """Why it is no call of this function, if so."""


class Parameters:
    """How a function is called.

    Args:
        function: the function.
        filled: parameter name to the default that a framework's schema fills in for it.

    Raises:
        ConfigError: when it has no signature, or a secret cannot be filled in by name.
    """

    def __init__(
        self, function: Callable[..., Any], filled: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            raise ConfigError(
                f"{shown(getattr(function, '__name__', None))} has no signature to check"
            ) from None
        self.hints: dict[str, Any] = _hints(function)
        self.secrets: dict[str, str] = {}
        self.defaults: dict[str, Any] = {}
        self.injected: tuple[str, ...] = ()
        self._owner = _owner(function, signature)
        self._module = getattr(function, "__module__", None)
        self._extra: str | None = None
        self._rest: str | None = None
        self._positional_only: list[str] = []
        visible: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            if isinstance(parameter.default, SecretParameter):
                self._add_secret(parameter, signature)
                continue
            visible.append(parameter.replace(annotation=self.hints.get(parameter.name, parameter.annotation)))
            self._add(parameter)
        annotation = self.hints.get("return", signature.return_annotation)
        self.signature: inspect.Signature = signature.replace(
            parameters=visible, return_annotation=annotation
        )
        self._fallbacks = {p.name: p.default for p in visible if p.default is not p.empty}
        self.wanted: tuple[str, ...] = tuple(self.secrets.values())
        self._names = {p.name for p in visible if p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}}
        in_order = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        self._order = [p.name for p in visible if p.kind in in_order]
        self._required = [p.name for p in visible if p.name in self._names and p.default is p.empty]
        self._needed = frozenset(self._required)
        takes = [name for name in filled if name in self._names or self._extra is not None]
        self._filled = {name: filled[name] for name in takes if name not in (*self.injected, *self.secrets)}
        self.defaults |= self._filled
        self._is_plain = not (
            self.injected or self._owner or self._extra or self._rest or self._positional_only or self.secrets
        )

    def _add_secret(self, parameter: inspect.Parameter, signature: inspect.Signature) -> None:
        has_rest = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
        by_name = parameter.kind is parameter.KEYWORD_ONLY or (
            parameter.kind is parameter.POSITIONAL_OR_KEYWORD and not has_rest
        )
        if not by_name:
            raise ConfigError(
                f"parameter {shown(parameter.name)}: a secret needs a keyword-only parameter here"
            )
        self.secrets[parameter.name] = parameter.default.name

    def _add(self, parameter: inspect.Parameter) -> None:
        name = parameter.name
        if parameter.kind is parameter.VAR_KEYWORD:
            self._extra = name
        elif parameter.kind is parameter.VAR_POSITIONAL:
            self._rest = name
        elif is_injected(self.hints.get(name, parameter.annotation)):
            self.injected = (*self.injected, name)
        elif parameter.default is not parameter.empty:
            self.defaults[name] = parameter.default
        if parameter.kind is parameter.POSITIONAL_ONLY:
            self._positional_only.append(name)

    def take(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """Return a call's arguments by parameter name, however they were passed.

        What equals its default does not count as passed, since frameworks fill in the defaults of a
        tool's schema. The function then takes the default itself: no object's word is taken for it.
        """
        if self._is_plain and len(args) <= len(self._order):
            plain = {**dict(zip(self._order, args, strict=False)), **kwargs}
            # As many as were given: none came twice.
            if len(plain) == len(args) + len(kwargs) and self._needed <= plain.keys() <= self._names:
                return self._settled(Arguments(plain)) if self.defaults else Arguments(plain)
        return self._settled(self._sorted_out(args, kwargs))

    def _sorted_out(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        taken = Arguments()
        values = dict(zip(self._order, args, strict=False))
        rest = args[len(self._order) :]
        for name, value in kwargs.items():
            if (
                name in values
                or name in self.secrets
                or (name in self._positional_only and self._extra is None)
            ):
                taken.problem = f"may not be given an argument {shown(name)} like that"
            elif name not in self._names and self._extra is None:
                taken.problem = f"may not be given an argument {shown(name)}"
            elif name == self._rest or name in self._positional_only:
                # It would stand in the check under the name of another parameter.
                taken.problem = f"may not be given an argument {shown(name)} by keyword"
            values.setdefault(name, value)
        if rest and self._rest is None:
            taken.problem = "was given too many arguments"
        for name in self._required:
            if name not in values:
                taken.problem = f"needs an argument {shown(name)}"
        for name, value in values.items():
            hidden = name in self.injected or (self._owner is not None and self._is_receiver(name, value))
            (taken.injected if hidden else taken.passed)[name] = value
        if rest and self._rest is not None:
            taken.passed[self._rest] = list(rest)
        return taken

    def _settled(self, taken: Arguments) -> Arguments:
        """Take out of what was passed what equals its default."""
        for name in [name for name in taken.passed if name in self.defaults]:
            value, default = taken.passed[name], self.defaults[name]
            kind, filled = type(cast("object", value)), name in self._filled
            if value is default and not filled:
                del taken.passed[name]
            elif kind is type(default):
                own = _own_default(value, default)
                if own is not _OTHER:
                    del taken.passed[name]
                    if filled or kind not in _SCALARS:
                        taken.injected[name] = own
        return taken

    def _is_receiver(self, name: str, value: object) -> bool:
        """Tell whether `value` is what a method is called on; a static method may have a `cls` as well."""
        kind = value if isinstance(value, type) else type(value)
        return name in self._order[:1] and any(
            base.__qualname__ == self._owner and base.__module__ == self._module for base in kind.__mro__
        )

    def unpassed(self, taken: Arguments) -> dict[str, Any]:
        """Return the defaults of the arguments that were not passed."""
        if not self.defaults:
            return self.defaults
        return {name: value for name, value in self.defaults.items() if name not in taken.passed}

    def apply(
        self, taken: Arguments, own: dict[str, Any], secrets: Mapping[str, Secret]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return positional and keyword arguments for the function itself.

        Args:
            taken: the call.
            own: what to pass in place of what was passed, defaults that were checked included.
            secrets: the secrets, by their names in the grant.
        """
        if self._is_plain:
            return [], {**taken.injected, **own} if taken.injected else own
        values = {**taken.injected, **own}
        values.update({parameter: secrets[name] for parameter, name in self.secrets.items()})
        rest = values.pop(self._rest, None) if self._rest is not None else None
        in_order = self._order if rest else self._positional_only
        given = [name for name in in_order if name in values]
        upto = len(in_order) if rest else in_order.index(given[-1]) + 1 if given else 0
        # A parameter without a name is reached through those before it, at their own defaults if need be.
        positional = [values.pop(n) if n in values else self._fallbacks[n] for n in in_order[:upto]]
        return [*positional, *(rest or ())], values


def _own_default(value: object, default: object) -> object:
    """Return a private copy of a default where `value` of its type says the same in JSON, else `_OTHER`."""
    if type(value) in _SCALARS:
        return default if value == default else _OTHER
    try:
        (_, given), (copied, form) = snapshot({"": value}), snapshot({"": default})
        same = json.dumps(given, sort_keys=True) == json.dumps(form, sort_keys=True)  # 1, 1.0 and True differ
    except EncodingError:  # what has no JSON form is denied later, with the reason
        return _OTHER
    return copied[""] if same else _OTHER


def is_injected(annotation: Any) -> bool:
    """Tell whether a framework fills a parameter with this annotation by itself."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return any(map(is_injected, parts))
    if origin in {Union, UnionType}:  # `X | None`; beside anything a model can write, X is an argument
        return all(part is NoneType or is_injected(part) for part in parts)
    if origin is list:  # of callbacks
        return all(map(is_injected, parts))
    kind = origin or annotation
    bases = (kind if isinstance(kind, type) else type(kind)).__mro__
    return any(base.__name__ in _INJECTED.get(base.__module__.partition(".")[0], ()) for base in bases)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else type(function).__call__
    target = getattr(function, "func", target)  # a functools.partial
    try:
        return get_type_hints(target, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation may be any code; unresolved ones stay as they are written
        return dict(getattr(target, "__annotations__", {}))


def _owner(function: Callable[..., Any], signature: inspect.Signature) -> str | None:
    """Return the name of the class in which a function with a `self` or `cls` is defined."""
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    first = next(iter(signature.parameters), None)
    in_class = bool(owner) and not owner.endswith("<locals>")
    return owner if in_class and first in _RECEIVERS and not inspect.ismethod(function) else None
