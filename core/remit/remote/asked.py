"""What is asked of the service when a token is to be issued, checked for sense before it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from remit.errors import ConfigError
from remit.grant import build_grant, build_terms
from remit.ledger import NEVER
from remit.names import DEFAULT_TTL, seconds
from remit.token import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from remit.capability import Limit
    from remit.credential import Credential
    from remit.grant import Capabilities, Grant, Secrets, Terms
    from remit.keys import PublicKey
    from remit.names import Duration

__all__ = ["Asked"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Asked:
    """What a token is to say, at most."""

    holder: PublicKey
    grant: Grant | None
    """What it may grant; None for whatever the service's policy file grants the agent."""
    terms: Terms
    ttl: int | None
    """Seconds that it may live; None where the service decides."""
    says_depth: bool = True
    """Whether its `max_depth` was asked for."""
    says_secrets: bool = True
    """Whether the secrets it may grant are those of the grant alone."""
    expires_by: float = NEVER
    """When it must have expired."""

    @classmethod
    def by_admin(
        cls,
        holder: PublicKey,
        agent: str,
        capabilities: Capabilities | None,
        *,
        secrets: Secrets | None,
        ttl: Duration | None,
        session: str | None,
        task: str | None,
        audience: str | Iterable[str] | None,
        max_depth: int | None,
        limits: Mapping[str, Limit] | None,
        delegate_only: Capabilities | None,
    ) -> Asked:
        """Return what an administrator asks for; what is not said of a grant by the policy file, that says.

        Raises:
            ConfigError: when an argument makes no sense.
        """
        grant = None
        if capabilities is not None:
            grant = build_grant(capabilities, secrets, delegate_only, limits)
            ttl = DEFAULT_TTL if ttl is None else ttl
            max_depth = 0 if max_depth is None else max_depth
        elif any(value is not None for value in (secrets, limits, delegate_only)):
            raise ConfigError("secrets, limits and delegate_only are for capabilities: name these as well")
        return cls(
            holder=holder,
            grant=grant,
            terms=build_terms(
                agent,
                session=session,
                task=task,
                audience=audience,
                not_before=None,
                max_depth=MAX_DEPTH if max_depth is None else max_depth,
            ),
            ttl=None if ttl is None else seconds("ttl", ttl),
            says_depth=max_depth is not None,
        )

    @classmethod
    def by_client(cls, holder: PublicKey, agent: str, capabilities: Capabilities | None) -> Asked:
        """Return what a client asks for, for itself. Its secrets, and all terms, are the policy file's.

        Raises:
            ConfigError: when an argument makes no sense.
        """
        return cls(
            holder=holder,
            grant=None if capabilities is None else build_grant(capabilities, None, None, None),
            terms=build_terms(
                agent, session=None, task=None, audience=None, not_before=None, max_depth=MAX_DEPTH
            ),
            ttl=None,
            says_depth=False,
            says_secrets=False,
        )

    @classmethod
    def for_chain(
        cls,
        holder: PublicKey,
        credential: Credential,
        agent: str,
        capabilities: Capabilities,
        *,
        ttl: Duration | None,
        session: str | None,
        task: str | None,
        audience: str | None,
        max_depth: int,
    ) -> Asked:
        """Return what is asked for in exchange for a credential; its secrets come along.

        Raises:
            ConfigError: when an argument makes no sense.
        """
        return cls(
            holder=holder,
            grant=build_grant(capabilities, None, None, None),
            terms=build_terms(
                agent, session=session, task=task, audience=audience, not_before=None, max_depth=max_depth
            ),
            ttl=None if ttl is None else seconds("ttl", ttl),
            says_secrets=False,
            expires_by=credential.expires_at.timestamp(),
        )
