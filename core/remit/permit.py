"""Permits: the word of a guard that one call is allowed."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, Self

from remit.binding import Binding, BoundScope
from remit.encoding import JsonObject, canonicalize, snapshot
from remit.errors import CapabilityDenied, ConfigError

if TYPE_CHECKING:
    from types import TracebackType

    from remit.binding import Admission, Call
    from remit.checks import ChainGrant
    from remit.verify import VerifiedChain

__all__ = ["Permit", "PermitKeeper"]

_marking: Final = Lock()
"""Held for the moment in which some permit is marked as used or settled."""


class PermitKeeper(Protocol):
    """What a permit needs of the guard that gave it."""

    def readmit(self, permit: Permit, call: Call) -> Admission:
        """Admit the call that `permit` is for."""
        ...

    def settle(self, permit: Permit, error: BaseException | None) -> None:
        """Record the outcome."""
        ...


class Permit:
    """One call was allowed. Returned by a guard; it allows nothing else, however it is changed.

    As a context manager it binds itself: inside, the tool guarded for this capability runs once, on
    these arguments, without being charged again, and the outcome is recorded.
    """

    __slots__ = (
        "_arguments",
        "_call_id",
        "_chain",
        "_forms",
        "_grant",
        "_keeper",
        "_scope",
        "_settled",
        "_used",
    )

    _keeper: PermitKeeper
    _chain: VerifiedChain
    _grant: ChainGrant
    _arguments: dict[str, Any]
    _forms: JsonObject
    _call_id: str | None
    _scope: BoundScope | None
    _used: bool
    _settled: bool

    def __init__(self) -> None:
        raise ConfigError("a Permit comes from a guard's check or verify")

    @classmethod
    def make(
        cls,
        keeper: PermitKeeper,
        chain: VerifiedChain,
        grant: ChainGrant,
        *,
        arguments: dict[str, Any],
        forms: JsonObject,
        call_id: str | None,
    ) -> Permit:
        """Return the permit for a call that was found to be allowed. For guards alone."""
        self = object.__new__(cls)
        self._keeper, self._chain, self._grant = keeper, chain, grant
        self._arguments, self._forms, self._call_id = arguments, forms, call_id
        self._scope, self._used, self._settled = None, False, False
        return self

    @property
    def capability(self) -> str:
        """The capability that may be used."""
        return self._grant.name

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that were checked, a fresh private copy each time."""
        return snapshot(self._arguments)[0]

    @property
    def agent(self) -> str:
        """The agent that may use it."""
        return self._chain.leaf.agent_name

    @property
    def token_id(self) -> str:
        """The `jti` of the leaf token."""
        return self._chain.leaf.id

    @property
    def chain(self) -> tuple[str, ...]:
        """The `jti` of every token of the chain, root first."""
        return tuple(link.id for link in self._chain.links)

    @property
    def issuer(self) -> str:
        """The URI of the root issuer."""
        return self._chain.root.issuer

    @property
    def call_id(self) -> str | None:
        """What links the audit records of the call; None when nothing is audited."""
        return self._call_id

    def __enter__(self) -> Self:
        if self._scope is not None or self._used:
            raise _spent(self.capability)
        self._scope = BoundScope(Binding(self._admit, self.capability))
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._scope is not None:
            self._scope.__exit__(kind, error, trace)
        with _marking:
            self._used = True
        self._keeper.settle(self, error)

    def _admit(self, call: Call) -> Admission:
        return self._keeper.readmit(self, call)

    @property
    def verified_chain(self) -> VerifiedChain:
        """The chain that the permit was given for. For guards alone."""
        return self._chain

    @property
    def canonical_arguments(self) -> bytes:
        """The arguments that were checked, as RFC 8785 bytes."""
        return canonicalize(self._forms)

    def use(self) -> None:
        """Mark the permit as used; it can be used once.

        Raises:
            CapabilityDenied: with `not_bound`, when it was used before.
        """
        with _marking:
            if self._used:
                raise _spent(self.capability)
            self._used = True

    def settled(self) -> bool:
        """Mark the outcome as recorded; whether this is the first time."""
        with _marking:
            first, self._settled = not self._settled, True
        return first

    def __repr__(self) -> str:
        return f"<Permit for {self.capability!r} of {self.agent!r}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("permits are not pickled: they are for one call, here and now")


def _spent(capability: str) -> CapabilityDenied:
    return CapabilityDenied(
        "not_bound", "The permit for this call was used already; each is for one call.", capability=capability
    )
