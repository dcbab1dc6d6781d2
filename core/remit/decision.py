"""What a guard says about a call or a token without letting anything happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from remit.capability import SECRET_PREFIX
from remit.names import moment

if TYPE_CHECKING:
    from datetime import datetime

    from remit.capability import Capability
    from remit.errors import DenialCode, Denied
    from remit.verify import VerifiedChain

__all__ = ["Decision", "Token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What `Guard.check` would say of a call. It allows nothing."""

    allowed: bool
    """Whether the call would be allowed."""
    code: DenialCode | None = None
    """The code of the denial."""
    reason: str
    """One sentence: why it would be denied, or that it would be allowed."""
    capability: str | None = None
    """The capability that was asked about."""
    argument: str | None = None
    """The argument that was refused, where one was."""
    link: int | None = None
    """The position in the chain (0 is the root) of the token that refuses."""
    agent: str | None = None
    """The agent of the token that refuses; of the leaf, when the call would be allowed."""
    token_id: str | None = None
    """The `jti` of that token."""

    @classmethod
    def of(cls, capability: object, chain: VerifiedChain | None, denial: Denied | None) -> Decision:
        """Return the decision that a denial, or the lack of one, amounts to."""
        position = -1 if denial is None or denial.link is None else denial.link
        link = chain.links[position] if chain is not None else None
        return cls(
            allowed=denial is None,
            code=None if denial is None else denial.code,
            reason="The call would be allowed." if denial is None else denial.reason,
            capability=capability if isinstance(capability, str) else None,
            argument=None if denial is None else denial.argument,
            link=None if denial is None else denial.link,
            agent=None if link is None else link.agent_name,
            token_id=None if link is None else link.id,
        )

    def to_dict(self) -> dict[str, object]:
        """Return the decision as a JSON object, what is not set left out."""
        names = ("allowed", "code", "reason", "capability", "argument", "link", "agent", "token_id")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a chain that was verified says of its bearer. Made by `Guard.validate`.

    That somebody has a token does not make them its holder: only a proof does.
    """

    agent: str
    """The agent's name."""
    token_id: str
    """The `jti` of the leaf token."""
    chain: tuple[str, ...]
    """The `jti` of every token of the chain, root first."""
    issuer: str
    """The URI of the root issuer."""
    expires_at: datetime
    """When the first of its tokens expires, in UTC."""
    capabilities: tuple[Capability, ...]
    """What the leaf grants, without its secrets."""
    secrets: tuple[str, ...]
    """The names of the secrets that the leaf grants."""
    session: str | None
    """The session that some token of the chain is bound to, if one is."""
    task: str | None
    """The task that some token of the chain is bound to, if one is."""
    holder: str
    """The thumbprint (RFC 7638) of the key that its holder has."""

    @classmethod
    def of(cls, chain: VerifiedChain) -> Token:
        """Return what `chain` says."""
        leaf, tools = chain.leaf, chain.leaf.tools or {}
        links = chain.links[::-1]
        return cls(
            agent=leaf.agent_name,
            token_id=leaf.id,
            chain=tuple(link.id for link in chain.links),
            issuer=chain.root.issuer,
            expires_at=moment(chain.expires_at),
            capabilities=tuple(tool for name, tool in tools.items() if not name.startswith(SECRET_PREFIX)),
            secrets=tuple(
                name.removeprefix(SECRET_PREFIX) for name in tools if name.startswith(SECRET_PREFIX)
            ),
            session=next((link.session for link in links if link.session is not None), None),
            task=next((link.task for link in links if link.task is not None), None),
            holder=leaf.holder.thumbprint,
        )
