"""Where secrets come from: names, references, and the backends behind them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from remit.errors import ConfigError, SecretDenied, shown
from remit.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Secrets"]


def _from_environment(name: str) -> str | None:
    return None if "\0" in name or "=" in name else os.environ.get(name) or None


_BACKENDS: Final[Mapping[str, Callable[[str], str | None]]] = {"env": _from_environment}


_MAX_PATH: Final = 4096


class _Reference(NamedTuple):
    scheme: str
    path: str


class Secrets:
    """Names of secrets, and where their values are kept.

    Args:
        references: name to reference, such as `{"BROKER_API_KEY": "env://BROKER_KEY_PROD"}`. A name
            without a reference is read from the environment variable of that name.

    Raises:
        ConfigError: when a name is blank, or a reference has no scheme that is known.
    """

    def __init__(self, references: Mapping[str, str] | None = None) -> None:
        if references is not None and not isinstance(references, Mapping):
            raise ConfigError(f"secrets must map names to references, not {shown(references)}")
        self._references = {
            check_name("a secret's name", name): _parse(name, reference)
            for name, reference in (references or {}).items()
        }

    def backend_of(self, name: str) -> str:
        """Return the scheme of the backend that keeps a secret."""
        return self._reference(name).scheme

    def _reference(self, name: str) -> _Reference:
        return self._references.get(name) or _Reference("env", name)

    def fetch(self, name: str) -> str:
        """Return the value of a secret.

        Whoever calls this has checked that it may.

        Raises:
            SecretDenied: with `secret_not_found` when there is no value, or an empty one, and with
                `secret_backend_error` when the backend failed. Neither tells what it held.
        """
        reference = self._reference(name)
        return ask_backend(name, reference.scheme, lambda: _BACKENDS[reference.scheme](reference.path))


def ask_backend(name: str, backend: str, question: Callable[[], object]) -> str:
    """Return the value that a backend gives, or say why there is none; an error never quotes a value.

    Raises:
        SecretDenied: with `secret_not_found` or `secret_backend_error`.
    """
    failure = "something that is not text"
    try:
        value = question()
    except SecretDenied:
        raise
    except Exception as error:  # noqa: BLE001 - backends raise what they like, and may quote values
        value, failure = error, type(error).__name__
    if value is None or value == "":
        raise SecretDenied("secret_not_found", f"The backend {shown(backend)} has no secret {shown(name)}.")
    if not isinstance(value, str):
        # Raised out here, so that the backend's own error is not part of this one.
        raise SecretDenied(
            "secret_backend_error", f"The backend {shown(backend)} gave {failure} for {shown(name)}."
        )
    return value


def _parse(name: str, reference: object) -> _Reference:
    text = reference if isinstance(reference, str) and len(reference) <= _MAX_PATH else ""
    scheme, separator, path = text.partition("://")
    if not separator or not path.strip() or scheme not in _BACKENDS:
        known = ", ".join(f"{scheme}://" for scheme in _BACKENDS)
        raise ConfigError(
            f"secret {shown(name)}: {shown(reference)} is not a reference with a known scheme ({known})"
        )
    return _Reference(scheme, path)
