"""A cache policy whose key holds the credential: a node cache answers before a guard in a tool is asked."""

from collections.abc import Callable
from hashlib import sha256
from secrets import token_bytes
from typing import Any

from langgraph.types import CachePolicy

from remit import ConfigError, Credential


def cache_policy(credential: Credential, *, ttl: int | None = None) -> CachePolicy[Callable[..., str]]:
    """Make a LangGraph `CachePolicy` under which only this credential is served what it was served before.

    A result from the cache is not checked again, and a denial that a node returned is cached too: give the
    `ttl` that you could accept as the delay of a revocation. A closed credential is served nothing.

    Args:
        credential: what the node runs under. The key holds a digest of its chain, never a token.
        ttl: how many seconds an entry lives; `None` for as long as the cache does.

    Raises:
        ConfigError: there is no credential.
    """
    if not isinstance(credential, Credential):
        raise ConfigError("cache_policy needs the credential that the node runs under")
    holder = sha256("\n".join(credential.chain).encode()).digest()
    key_of: Callable[..., str | bytes] = CachePolicy().key_func

    def key(*args: Any, **kwargs: Any) -> str:
        given = key_of(*args, **kwargs)
        salt = token_bytes(32) if credential.closed else holder
        # LangGraph shortens keys with a hash for which collisions can be made: it must only see a digest.
        return sha256(salt + (given.encode() if isinstance(given, str) else given)).hexdigest()

    return CachePolicy(key_func=key, ttl=ttl)
