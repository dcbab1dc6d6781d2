"""One call on its way through a guard, and what is known of it so far. Never leaves the guard."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from remit.errors import CapabilityDenied

if TYPE_CHECKING:
    from remit.binding import Call
    from remit.checks import Bearer, ChainGrant
    from remit.encoding import JsonObject
    from remit.proof import Proof
    from remit.verify import VerifiedChain

__all__ = ["Case"]

_marking: Final = Lock()
"""Held for the moment in which some case is marked as used or settled."""


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
    used: bool = False
    settled: bool = False

    def use(self) -> None:
        """Mark the call as run; a permit is for one.

        Raises:
            CapabilityDenied: with `not_bound`, when it was run before.
        """
        with _marking:
            if self.used:
                raise CapabilityDenied(
                    "not_bound",
                    "The permit for this call was used already; each is for one call.",
                    capability=self.grant.name,
                )
            self.used = True

    def settle(self) -> bool:
        """Mark the outcome as recorded; tell whether this is the first time."""
        with _marking:
            first, self.settled = not self.settled, True
        return first
