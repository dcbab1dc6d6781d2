"""Permits: the word of a guard that one call is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self

from remit.binding import Binding, BoundScope
from remit.encoding import snapshot
from remit.errors import ConfigError

if TYPE_CHECKING:
    from types import TracebackType

    from remit.binding import Admission, Call
    from remit.case import Case

__all__ = ["Permit", "PermitKeeper"]


class PermitKeeper(Protocol):
    """What a permit needs of the guard that gave it."""

    @property
    def waits(self) -> bool:
        """Whether admitting may wait for a network."""
        ...

    def readmit(self, case: Case, call: Call) -> Admission:
        """Admit the call that was permitted."""
        ...

    def settle(self, case: Case, error: BaseException | None) -> None:
        """Record the outcome."""
        ...


class Permit:
    """One call was allowed. Returned by a guard; it allows nothing else, however it is changed.

    As a context manager it binds itself: inside, the tool guarded for this capability runs once, on
    these arguments, without being charged again, and the outcome is recorded.
    """

    __slots__ = ("_case", "_keeper", "_scope")

    _case: Case
    _keeper: PermitKeeper
    _scope: BoundScope | None

    def __init__(self) -> None:
        raise ConfigError("a Permit comes from a guard's check or verify")

    @classmethod
    def make(cls, keeper: PermitKeeper, case: Case) -> Permit:
        """Return the permit for a call that was found to be allowed. For guards alone."""
        self = object.__new__(cls)
        self._keeper, self._case, self._scope = keeper, case, None
        return self

    @property
    def capability(self) -> str:
        """The capability that may be used."""
        return self._case.grant.name

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that were checked, a fresh private copy each time."""
        return snapshot(self._case.arguments)[0]

    @property
    def agent(self) -> str:
        """The agent that may use it."""
        return self._case.chain.leaf.agent_name

    @property
    def token_id(self) -> str:
        """The `jti` of the leaf token."""
        return self._case.chain.leaf.id

    @property
    def chain(self) -> tuple[str, ...]:
        """The `jti` of every token of the chain, root first."""
        return tuple(link.id for link in self._case.chain.links)

    @property
    def issuer(self) -> str:
        """The URI of the root issuer."""
        return self._case.chain.root.issuer

    @property
    def call_id(self) -> str | None:
        """What links the audit records of the call; None when nothing is audited."""
        return self._case.call_id

    def __enter__(self) -> Self:
        if self._scope is not None or self._case.used:
            self._case.end()  # entered twice at once: neither may go on
            self._case.use()
        self._scope = BoundScope(Binding(self._admit, self.capability, self._keeper.waits), ends=True)
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._scope is not None:
            self._scope.__exit__(kind, error, trace)
        self._case.end()
        self._keeper.settle(self._case, error)

    def _admit(self, call: Call) -> Admission:
        return self._keeper.readmit(self._case, call)

    def __repr__(self) -> str:
        return f"<Permit for {self.capability!r} of {self.agent!r}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("permits are not pickled: they are for one call, here and now")
