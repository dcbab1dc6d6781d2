"""What the calls of a bound tool run under: one credential, or what is asked for it at each call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from remit.binding import BoundScope, unbound
from remit.credential import Credential
from remit.errors import ConfigError, shown
from remit.guard import Guard

__all__ = ["CredentialSource", "Lender", "TaskSource"]

CredentialSource: TypeAlias = Credential | Callable[[], Credential | None]
"""A credential, or what finds one at each call; where that has none, nothing is bound."""
TaskSource: TypeAlias = str | Callable[[], str | None] | None
"""The task of the calls, or what finds it at each call."""


class Lender:
    """Lends a credential to calls, each for one capability.

    Args:
        guard: who decides about the calls.
        credential: what they run under.
        session: their session.
        task: their task.

    Raises:
        ConfigError: when there is no guard or no credential, or a session or task is no name.
    """

    __slots__ = ("_credential", "_guard", "_session", "_task")

    def __init__(
        self, guard: Guard, credential: CredentialSource, *, session: str | None, task: TaskSource
    ) -> None:
        if not isinstance(guard, Guard):
            raise ConfigError(f"to bind a tool takes a Guard, not {shown(guard)}")
        if not isinstance(credential, Credential) and not callable(credential):
            raise ConfigError(f"to bind a tool takes a Credential, not {shown(credential)}")
        for name, value in (("session", session), ("task", None if callable(task) else task)):
            if value is not None and not isinstance(value, str):  # a blank one is denied, as in every check
                raise ConfigError(f"{name} must be a string, not {shown(value)}")
        self._guard, self._credential, self._session, self._task = guard, credential, session, task

    def scope(self, capability: str) -> BoundScope:
        """Return the context for one call that needs `capability`."""
        credential = self._credential if isinstance(self._credential, Credential) else self._credential()
        if credential is None:
            return unbound()
        task = self._task() if callable(self._task) else self._task
        return self._guard.acting_as(credential, capability=capability, session=self._session, task=task)

    def scopes(self, capability: str) -> Callable[[], BoundScope]:
        """Return what makes the context for each of many calls; where nothing is asked, it is made ready."""
        if callable(self._task) or not isinstance(self._credential, Credential):
            return partial(self.scope, capability)
        return partial(BoundScope, self.scope(capability).binding, ends=True)
