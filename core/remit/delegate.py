"""Deriving a child token, offline (AAT draft, Sections 4 and 6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remit.capability import SECRET_PREFIX
from remit.errors import AttenuationError, shown
from remit.ids import new_id
from remit.names import moment, seconds
from remit.token import Claims

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from remit.capability import Capability
    from remit.grant import Grant, Terms
    from remit.keys import PublicKey
    from remit.names import Duration

__all__ = ["derive"]


def derive(
    chain: Sequence[Claims],
    parent_digest: str,
    grant: Grant,
    terms: Terms,
    *,
    holder: PublicKey,
    ttl: Duration | None,
    now: float,
) -> Claims:
    """Return the claims of a child of the last token of `chain`.

    Raises:
        AttenuationError: when the child would be wider than its parent, and in what.
        ConfigError: when the ttl makes no sense.
    """
    parent = chain[-1]
    depth = parent.depth + 1
    if depth + terms.max_depth > parent.max_depth:
        left = parent.max_depth - parent.depth
        used_up = "the parent may not be delegated: its max_depth is used up"
        raise AttenuationError(f"max_depth is more than the parent has left, {left - 1}" if left else used_up)
    if holder == parent.holder:
        raise AttenuationError("the child would hold its parent's key, and so its parent's authority")
    _check_same("session", terms.session, [link.session for link in chain])
    _check_same("task", terms.task, [link.task for link in chain])
    _check_tools(grant.tools, parent.tools or {})
    issued_at = max(int(now), parent.issued_at)
    return Claims(
        id=new_id(now),
        issuer=parent.holder.uri,
        holder=holder,
        issued_at=issued_at,
        expires_at=_expiry(parent, max(issued_at, terms.not_before or 0), ttl),
        depth=depth,
        max_depth=depth + terms.max_depth,
        parent_hash=parent_digest,
        audience=terms.audience,
        tools=grant.tools,
        agent=terms.agent,
        not_before=terms.not_before,
        session=terms.session,
        task=terms.task,
        delegate_only=grant.delegate_only,
        limits=grant.limits,
    )


def _expiry(parent: Claims, start: int, ttl: Duration | None) -> int:
    expires_at = parent.expires_at if ttl is None else start + seconds("ttl", ttl)
    until = moment(parent.expires_at).isoformat()
    if expires_at > parent.expires_at:
        raise AttenuationError(f"ttl would outlive the parent, which expires at {until}")
    if expires_at <= start:
        raise AttenuationError(f"the parent expires at {until}, which leaves no time")
    return expires_at


def _check_same(what: str, value: str | None, held: list[str | None]) -> None:
    for restriction in held:
        if value is not None and restriction is not None and value != restriction:
            raise AttenuationError(f"{what} {shown(value)} is not the one the parent is bound to")


def _check_tools(child: Mapping[str, Capability], parent: Mapping[str, Capability]) -> None:
    for name, capability in child.items():
        what = (
            f"secret {shown(name.removeprefix(SECRET_PREFIX))}"
            if name.startswith(SECRET_PREFIX)
            else shown(name)
        )
        held = parent.get(name)
        if held is None:
            raise AttenuationError(f"{what} is not among what the parent grants", capability=name)
        widening = held.widening(capability)
        if widening is not None:
            raise AttenuationError(f"{what} {widening.problem}", capability=name, argument=widening.argument)
