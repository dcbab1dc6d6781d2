"""What may be kept of a token that was issued, so that people can see it and take it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["LiveToken", "Register"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveToken:
    """Who has a root token that was issued, and until when; never the token itself."""

    token_id: str
    agent: str
    issuer: str
    """The issuer's URI."""
    holder: str
    """The thumbprint (RFC 7638) of the holder's key."""
    issued_at: int
    """Seconds since the epoch."""
    expires_at: int
    """Seconds since the epoch."""
    capabilities: tuple[str, ...] = ()
    """The names of the capabilities that it grants."""
    session: str | None = None
    task: str | None = None
    revoked_with: tuple[str, ...] = ()
    """What it is revoked with besides itself, its agent and its holder's key, as subjects of revocations: the
    key that signed it, and what it was exchanged for."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """All that a revocation of it may name."""
        return f"token:{self.token_id}", f"agent:{self.agent}", f"key:{self.holder}", *self.revoked_with

    def to_dict(self) -> dict[str, object]:
        """Return the metadata as a JSON object, what is not set left out."""
        names = ("token_id", "agent", "issuer", "holder", "issued_at", "expires_at", "session", "task")
        members = {name: value for name in names if (value := getattr(self, name)) is not None}
        lists = {"capabilities": list(self.capabilities), "revoked_with": list(self.revoked_with)}
        return {**members, **lists}


class Register(Protocol):
    """Where an issuer notes what it issues; every ledger is one."""

    def enroll(self, token: LiveToken) -> None:
        """Keep the metadata of a token that was issued, or raise."""
        ...
