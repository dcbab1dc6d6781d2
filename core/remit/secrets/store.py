"""Where secrets come from: names, references, and the backends behind them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from remit.errors import ConfigError, SecretDenied, shown
from remit.files import as_path
from remit.names import check_name, seconds
from remit.secrets.backend import BackendFailure, Backends, check_backends, is_remote, why_of
from remit.secrets.cache import Cache
from remit.secrets.reference import Reference, parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from remit.names import Duration
    from remit.secrets.backend import Backend

__all__ = ["Secrets", "ask_backend"]

_TTL: Final = "30s"
_MAX_TTL: Final = 3600
_TIMEOUT: Final = "10s"
_MAX_TIMEOUT: Final = 300


class Secrets:
    """Names of secrets, and where their values are kept. Safe for threads, and in forked processes.

    Args:
        references: name to reference, such as `{"BROKER_API_KEY": "env://BROKER_KEY_PROD"}`. A name
            without a reference is read from the environment variable of that name.
        ttl: for how long a value from a remote backend is used before it is asked for again; 30 seconds
            by default, an hour at most. None asks every time. Nothing else is cached.
        timeout: how long a remote backend may take; 10 seconds by default, five minutes at most.
        root: the folder that relative `file://` references start from; without one they are refused.
        backends: backends by scheme, for clients that need building by hand. One of these is used
            whatever else there is for its scheme.
        clock: monotonic seconds, for `ttl`.

    Raises:
        ConfigError: when a name is blank, or a reference is malformed, has a scheme that is not known,
            or one whose packages are not installed.
    """

    def __init__(
        self,
        references: Mapping[str, str] | None = None,
        *,
        ttl: Duration | None = _TTL,
        timeout: Duration = _TIMEOUT,
        root: str | os.PathLike[str] | None = None,
        backends: Mapping[str, Backend] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if references is not None and not isinstance(references, Mapping):
            raise ConfigError(f"secrets must map names to references, not {shown(references)}")
        if not callable(clock):
            raise ConfigError("clock must be a callable that returns monotonic seconds, as time.monotonic")
        self._backends = Backends(
            {} if backends is None else check_backends(backends),
            None if root is None else os.path.abspath(as_path(root)),  # noqa: PTH100 - links stay as they are
        )
        self._cache = Cache(
            None if ttl is None else seconds("ttl", ttl, maximum=_MAX_TTL),
            seconds("timeout", timeout, maximum=_MAX_TIMEOUT),
            clock,
        )
        self._references = {
            check_name("a secret's name", name): self._checked(name, reference)
            for name, reference in (references or {}).items()
        }
        self._remote = any(
            is_remote(self._backends.of(scheme)) for scheme in {r.scheme for r in self._references.values()}
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names that have a reference, in the order they were given."""
        return tuple(self._references)

    @property
    def references(self) -> dict[str, str]:
        """The reference of each name, as it was written. No value is in it."""
        return {name: reference.text for name, reference in self._references.items()}

    @property
    def remote(self) -> bool:
        """Whether fetching may take long, for a network or a service of the system is asked."""
        return self._remote

    def backend_of(self, name: str) -> str:
        """Return the scheme of the backend that keeps a secret."""
        return self._reference(name).scheme

    def fetch(self, name: str) -> str:
        """Return the value of a secret.

        Whoever calls this has checked that it may.

        Raises:
            SecretDenied: with `secret_not_found` when there is no value, or an empty one, and with
                `secret_backend_error` when the backend failed. Neither tells what it held.
        """
        reference = self._reference(name)
        return ask_backend(name, reference.scheme, partial(self._ask, reference))

    def forget(self) -> None:
        """Drop the values that are cached, as after a rotation."""
        self._cache.forget()

    def _reference(self, name: str) -> Reference:
        return self._references.get(name) or Reference(f"env://{name}", "env", name)

    def _checked(self, name: str, text: object) -> Reference:
        try:
            reference = parse_reference(text)
            self._backends.of(reference.scheme).check(reference)
        except ConfigError as error:
            wrong = str(error)
        except Exception as error:  # noqa: BLE001 - a plug-in raises what it likes
            wrong = f"the backend of its scheme failed with {type(error).__name__}"
        else:
            return reference
        raise ConfigError(f"secret {shown(name)}: {wrong}")

    def _ask(self, reference: Reference) -> object:
        backend = self._backends.of(reference.scheme)
        if is_remote(backend):
            return self._cache.ask((reference.text, reference.path), partial(backend.read, reference))
        try:
            return backend.read(reference)
        except SecretDenied as error:  # a backend's own words, which ask_backend would pass on
            failure = f"it failed with {type(error).__name__}"
        raise BackendFailure(failure)

    def __repr__(self) -> str:
        return f"<Secrets with {len(self._references)} references>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("what keeps secrets is not pickled or copied")


def ask_backend(name: str, backend: str, question: Callable[[], object]) -> str:
    """Return the value that a backend gives, or say why there is none; an error never quotes a value.

    Raises:
        SecretDenied: with `secret_not_found` or `secret_backend_error`.
    """
    value: object = None
    failure: str | None = None
    try:
        value = question()
    except SecretDenied:
        raise
    except BackendFailure as error:
        failure = why_of(error)
    except Exception as error:  # noqa: BLE001 - backends raise what they like, and may quote values
        failure = f"it failed with {type(error).__name__}"
    # Raised out here, so that the backend's own error is not part of this one; nor is what it gave.
    if failure is None:
        if isinstance(value, str) and value:
            return value
        if value is None or value == "":
            raise SecretDenied(
                "secret_not_found", f"The backend {shown(backend)} has no secret {shown(name)}."
            )
        failure = "it gave something that is not text"
    value = None
    raise SecretDenied(
        "secret_backend_error", f"The backend {shown(backend)} could not give {shown(name)}: {failure}."
    )
