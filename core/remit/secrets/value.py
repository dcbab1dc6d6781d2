"""A secret's value, which shows itself only when asked to."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn

__all__ = ["Secret"]

_MASK: Final = "**********"


class Secret:
    """A value that was resolved for one authorised call.

    It is masked wherever it is printed, formatted or logged, is not pickled or copied, and compares
    in constant time. `reveal` gives the value; keep what it returns out of variables that live on.
    """

    __slots__ = ("_agent", "_backend", "_name", "_token_id", "_value")

    def __init__(self, value: str, *, name: str, backend: str, token_id: str, agent: str) -> None:
        self._value = value
        self._name = name
        self._backend = backend
        self._token_id = token_id
        self._agent = agent

    def reveal(self) -> str:
        """Return the value."""
        return self._value

    @property
    def name(self) -> str:
        """The secret's name in the grant."""
        return self._name

    @property
    def backend(self) -> str:
        """The scheme of the backend that gave it, such as `env`."""
        return self._backend

    @property
    def token_id(self) -> str:
        """The `jti` of the token it was resolved for."""
        return self._token_id

    @property
    def agent(self) -> str:
        """The agent it was resolved for."""
        return self._agent

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = (secret.reveal().encode("utf-8", "surrogatepass") for secret in (self, other))
        return hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self._name))

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> NoReturn:
        raise TypeError("the length of a secret is not told")

    def __str__(self) -> str:
        return _MASK

    def __repr__(self) -> str:
        return f"Secret({self._name!r}, backend={self._backend!r})"

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("secrets are not pickled")

    def __getstate__(self) -> NoReturn:  # of every object since Python 3.11: it would hand the value out
        raise TypeError("secrets are not pickled")
