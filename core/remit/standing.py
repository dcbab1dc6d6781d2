"""Step 6: whether a chain still stands. Nothing of it was revoked, and that is known well enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from remit.errors import ConfigError, TokenRejected
from remit.names import Duration, check_name, mapping, seconds

if TYPE_CHECKING:
    from remit.ledger import RevocationView
    from remit.verify import VerifiedChain

__all__ = ["DEFAULT_FRESH", "Bounds", "Fresh", "check_standing"]

Fresh: TypeAlias = "Duration | Mapping[str, Duration]"
"""A staleness bound, or capability name to staleness bound; `*` stands for all others."""

DEFAULT_FRESH: Final = 60
"""Seconds: how old what is known of revocations may be, where nobody says otherwise."""

_OTHERS: Final = "*"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How old, in seconds, what a guard knows of revocations may be."""

    by_capability: Mapping[str, int]
    others: int | None
    """For all other capabilities; None where the operator says nothing."""

    @classmethod
    def read(cls, fresh: Fresh | None) -> Bounds:
        """Return the bounds that `Guard(fresh=...)` describes.

        Raises:
            ConfigError: when it is empty, or something in it is no length of time.
        """
        if fresh is None:
            return cls({}, None)
        if not isinstance(fresh, Mapping):
            return cls({}, seconds("fresh", fresh))
        given = {
            check_name("a capability in fresh", name): seconds(f"fresh of {name!r}", bound)
            for name, bound in mapping("fresh", fresh).items()
        }
        if not given:
            raise ConfigError("fresh names no capability; leave it out for the default")
        return cls({name: bound for name, bound in given.items() if name != _OTHERS}, given.get(_OTHERS))

    def of(self, capability: object, tool: int | None) -> int:
        """Return the bound for a call: the stricter of the operator's and the tool's own."""
        operators = self.others
        if self.by_capability and isinstance(capability, str):
            operators = self.by_capability.get(capability, operators)
        if operators is None:
            return DEFAULT_FRESH if tool is None else tool
        return operators if tool is None else min(operators, tool)


def check_standing(view: RevocationView, chain: VerifiedChain, now: float, bound: int) -> None:
    """Step 6: no token, agent or key of the chain was revoked, and what is known is recent enough.

    Raises:
        TokenRejected: with `token_revoked` or `revocations_stale`.
    """
    known_at = view.refresh(now, bound)
    revoked = view.revoked(chain.subjects)
    if revoked:
        link = _revoked_link(chain, dict(revoked))
        if link is not None:
            raise TokenRejected("token_revoked", "The token was revoked.", link=link)
    if not now - known_at <= bound:
        known = (
            "Nothing is known of revocations, as the ledger does not answer."
            if known_at == -math.inf
            else f"What is known of revocations is older than {bound} seconds."
        )
        raise TokenRejected("revocations_stale", known)


def _revoked_link(chain: VerifiedChain, revoked: Mapping[str, float]) -> int | None:
    """Return the first link that is revoked; the root is where a revoked issuer's key is."""
    if f"key:{chain.signer}" in revoked:
        return 0
    for position, link in enumerate(chain.links):
        if f"token:{link.id}" in revoked or f"key:{link.holder.thumbprint}" in revoked:
            return position
        if link.issued_at <= revoked.get(f"agent:{link.agent_name}", -math.inf):
            return position
        if any(link.issued_at <= revoked.get(subject, -math.inf) for subject in link.exchanged):
            return position
    return None
