"""One call on its way through a guard, and what is known of it so far. Never leaves the guard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from remit.errors import CapabilityDenied

if TYPE_CHECKING:
    from remit.binding import Call
    from remit.checks import Bearer, ChainGrant
    from remit.encoding import JsonObject
    from remit.proof import Proof
    from remit.verify import VerifiedChain

__all__ = ["Case"]


@dataclass(slots=True, repr=False)
class Case:
    """Each step of the funnel fills in what the next one needs."""

    source: object
    """A credential, a presentation, or bare tokens."""
    call: Call
    bearer: Bearer
    now: float
    """When it was decided."""
    needs_proof: bool = False
    """Whether the call crossed a boundary."""
    for_holder: bool = False
    """Whether it is asked what the holder may do, by somebody who need not be the holder."""
    nonce: str | None = None
    proof: Proof | None = None
    call_id: str | None = None
    """Links the audit records of the call; None when nothing is audited."""
    chain: VerifiedChain = field(init=False)
    grant: ChainGrant = field(init=False)
    arguments: dict[str, Any] = field(init=False)
    """The private copy of what the caller passed."""
    forms: JsonObject = field(init=False)
    """Its JSON form."""
    defaults: dict[str, Any] = field(init=False)
    """The private copy of the defaults that some link names."""
    default_forms: JsonObject = field(init=False)
    """Their JSON form."""
    _uses: list[None] = field(default_factory=lambda: [None])
    """What is left of the one use; taken from in one step, without a lock that a fork could leave held."""
    _outcomes: list[None] = field(default_factory=lambda: [None])

    @property
    def used(self) -> bool:
        """Whether the call was run, or may not be any more."""
        return not self._uses

    def end(self) -> None:
        """Let the call not be run any more."""
        self._uses.clear()

    def use(self) -> None:
        """Mark the call as run; a permit is for one.

        Raises:
            CapabilityDenied: with `not_bound`, when it was run before.
        """
        try:
            self._uses.pop()
        except IndexError:
            raise CapabilityDenied(
                "not_bound",
                "The permit for this call was used already; each is for one call.",
                capability=self.grant.name,
            ) from None

    def settle(self) -> bool:
        """Mark the outcome as recorded; tell whether this is the first time."""
        try:
            self._outcomes.pop()
        except IndexError:
            return False
        return True
