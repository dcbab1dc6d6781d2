"""Backends: what answers for one scheme of references. The built-in ones, and those of third parties.

A scheme that is built in is never looked up anywhere else, so that installing a package replaces none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from remit.errors import ConfigError, shown
from remit.forks import renew_in_child
from remit.secrets.reference import alike

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from remit.secrets.reference import Reference

__all__ = ["Backend", "BackendFailure", "Backends", "check_extra", "is_remote", "why_of"]

GROUP: Final = "remit.secrets"
"""The entry point group: the name is the scheme, the object a backend or what makes one."""

_HOME: Final = "remit.secrets.backends"
_BUILT_IN: Final[Mapping[str, str]] = {
    "env": "Environment",
    "file": "File",
    "keyring": "Keyring",
    "vault": "Vault",
    "aws": "Aws",
    "gcp": "Gcp",
    "azure": "Azure",
}


_NAME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,31}", re.ASCII)


class Backend(Protocol):
    """Where secrets are kept. Its methods are called from several threads at once.

    One that asks nobody over a network, and cannot block, says so with an attribute `remote = False`.
    It is then asked in the caller's own thread, and nothing it answers is cached.
    """

    def check(self, reference: Reference) -> None:
        """Accept a reference when a store is built. Nobody is asked for its value.

        Raises:
            ConfigError: when the reference can name nothing that this backend keeps.
        """
        ...

    def read(self, reference: Reference) -> str | None:
        """Return the value, or None when there is none.

        Raises:
            BackendFailure: with a reason that may be shown. Of any other error the type alone is shown.
        """
        ...


class BackendFailure(Exception):
    """A backend could not answer.

    Args:
        why: a clause that goes on from "could not give the secret:", such as `it is sealed`. It is shown
            to models, so that it holds nothing that the backend's server said.
    """

    why: str

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def why_of(failure: BackendFailure) -> str:
    """Return why a backend failed; one that was derived from `BackendFailure` may have left it out."""
    why: object = getattr(failure, "why", None)
    return why if isinstance(why, str) else f"it failed with {type(failure).__name__}"


class Backends:
    """The backends of one store, made when a reference first needs them.

    Args:
        given: backends by scheme that the store was handed; these go first, whatever the scheme.
        root: the folder that relative `file://` references start from, if any.
    """

    def __init__(self, given: Mapping[str, Backend], root: str | None) -> None:
        self._given = given
        self._root = root
        self._made: dict[str, Backend] = {}
        renew_in_child(self)

    def of(self, scheme: str) -> Backend:
        """Return the backend of a scheme.

        Raises:
            ConfigError: when there is none, or it cannot be loaded.
        """
        backend = self._given.get(scheme) or self._made.get(scheme)
        if backend is None:
            backend = self._made[scheme] = self._make(scheme)
        return backend

    def renew(self) -> None:
        """Forget the backends that were made: a process that was forked shares no connection."""
        self._made = {}

    def _make(self, scheme: str) -> Backend:
        kind = _BUILT_IN.get(scheme)
        if kind is None:
            return _plugged_in(scheme, tuple(self._given))
        module: Any = import_module(f"{_HOME}.{kind.lower()}")
        factory = getattr(module, kind)
        return cast("Backend", factory(self._root) if scheme == "file" else factory())


def is_remote(backend: Backend) -> bool:
    """Tell whether asking a backend may take long: unless it says otherwise, it may."""
    return getattr(backend, "remote", True) is not False


def check_backends(backends: object) -> dict[str, Backend]:
    """Return backends by scheme, when they are.

    Raises:
        ConfigError: when they are not.
    """
    if not isinstance(backends, Mapping):
        raise ConfigError(f"backends must map schemes to backends, not be {shown(backends)}")
    for scheme, backend in cast("Mapping[object, object]", backends).items():
        if not isinstance(scheme, str) or not _is_backend(backend):
            raise ConfigError(f"backends: {shown(scheme)} must be a scheme, of a backend with check and read")
    return dict(cast("Mapping[str, Backend]", backends))


def check_extra(extra: str, *modules: str) -> None:
    """Make sure that the packages of an extra are installed, without importing them.

    Raises:
        ConfigError: when one is not; the message says how to install it.
    """
    from importlib.util import find_spec  # not needed for what the core brings along

    for module in modules:
        try:
            found = find_spec(module) is not None
        except (ImportError, ValueError):  # a package around it is missing, or half there
            found = False
        if not found:
            raise ConfigError(f"{extra}:// needs the package {module}: pip install 'remit[{extra}]'")


def _is_backend(backend: object) -> bool:
    return not isinstance(backend, type) and all(
        callable(getattr(backend, method, None)) for method in ("check", "read")
    )


def _plugged_in(scheme: str, given: tuple[str, ...]) -> Backend:
    """Return the backend that some installed distribution registers for `scheme`."""
    from importlib.metadata import entry_points  # not needed for the schemes that are built in

    group = entry_points(group=GROUP)
    # One distribution may be found twice on the path.
    found = {(_maker(point), point.value): point for point in group if point.name == scheme == scheme.lower()}
    if not found:
        others = {*given, *(name for name in group.names if _NAME.fullmatch(name))}
        known = (*_BUILT_IN, *sorted(others - {*_BUILT_IN}))
        raise ConfigError(
            f"the scheme {shown(scheme)} is not known{alike(scheme, known)} (there are {', '.join(known)})"
        )
    if len(found) > 1:
        makers = ", ".join(sorted(shown(maker) for maker, _ in found))
        raise ConfigError(f"the scheme {shown(scheme)} is registered by several distributions: {makers}")
    [point] = found.values()
    return _load(point)


def _load(point: EntryPoint) -> Backend:
    failure = "that is no backend: it has no check and read"
    try:
        loaded: Any = point.load()
        backend = loaded if _is_backend(loaded) else loaded()
    except ImportError as error:
        backend = None
        failure = f"that cannot be imported ({type(error).__name__}: {shown(error.name)})"
    except Exception as error:  # noqa: BLE001 - a plug-in raises what it likes
        backend, failure = None, f"that failed with {type(error).__name__}"
    if not _is_backend(backend):
        # Raised out here, so that the plug-in's own error is not part of this one.
        plug_in = f"{shown(point.value)} of {shown(_maker(point))}"
        raise ConfigError(f"the scheme {shown(point.name)} is a plug-in, {plug_in}, {failure}")
    return cast("Backend", backend)


def _maker(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown distribution"
