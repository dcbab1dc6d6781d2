"""Who may ask for what: the administrator, and agents as OAuth clients. Only hashes are held."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from remit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from remit.config import Agent, Config

__all__ = ["Access"]

_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_LEAST: Final = 8
_ENOUGH: Final = 32
_NOBODY: Final = bytes(32)
_log: Final = logging.getLogger("remit")


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """Knows the hashes of what is presented by those who may.

    A hash is SHA-256: what is presented is random, so there is nothing to slow down.
    """

    admin: bytes | None
    """None where nobody may administer."""
    clients: Mapping[str, tuple[Agent, bytes]]

    @classmethod
    def of(cls, config: Config) -> Access:
        """Return who has access, as a policy file says. References are resolved here, and forgotten.

        Raises:
            ConfigError: when a value is too short to keep anybody out.
            SecretDenied: when a reference cannot be resolved.
        """
        reference = config.service.admin_token
        admin = None if reference is None else _digest("admin_token", config.resolve(reference))
        clients = {
            name: (agent, _digest(f"client_secret of {name!r}", config.resolve(agent.client_secret)))
            for name, agent in config.agents.items()
            if agent.client_secret is not None
        }
        return cls(admin, clients)

    def is_admin(self, presented: str) -> bool:
        """Tell whether `presented` is the admin token, in constant time."""
        return _same(presented, _NOBODY if self.admin is None else self.admin) and self.admin is not None

    def client(self, client_id: str, secret: str) -> Agent | None:
        """Return the agent that signs in as an OAuth client; as slowly for a name that nobody has."""
        agent, digest = self.clients.get(client_id, (None, _NOBODY))
        return agent if _same(secret, digest) else None


def _digest(what: str, value: str) -> bytes:
    given = _HASH.fullmatch(value)
    if given is not None:
        return bytes.fromhex(given[1])
    if len(value.strip()) < _LEAST:
        raise ConfigError(f"{what} is too short to keep anybody out; {_ENOUGH} random characters do")
    if len(value) < _ENOUGH:
        _log.warning("remit: %s is short; %d random characters are advised", what, _ENOUGH)
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def _same(presented: str, digest: bytes) -> bool:
    given = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
    return hmac.compare_digest(given, digest)
