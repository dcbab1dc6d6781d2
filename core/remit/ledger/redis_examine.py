"""What about a Redis server makes it forget what a ledger keeps, or lets others read and change it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from remit.ledger.redis_link import ResponseError

if TYPE_CHECKING:
    from remit.ledger.redis_link import Address, Link

__all__ = ["examine"]


def examine(link: Link) -> list[str]:
    """Return a plain sentence for each finding.

    Raises:
        RedisError: when the server does not answer.
    """
    return [*_reached(link.address), *_settings(link), *_copies(link)]


def _reached(address: Address) -> list[str]:
    options, found = address.options, list[str]()
    if address.scheme == "unix" or _is_here(options["host"]):
        return found
    if address.scheme != "rediss":
        found.append("Redis is reached over the network without TLS: use rediss://.")
    elif options.get("ssl_cert_reqs") in {"none", "optional"} or options.get("ssl_check_hostname") is False:
        found.append("Redis is reached with TLS, but its certificate is not checked.")
    if "password" not in options and "ssl_certfile" not in options:
        found.append("Redis is reached over the network without a password or a client certificate.")
    return found


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _settings(link: Link) -> list[str]:
    try:
        settings = {
            name: _config(link, name) for name in ("maxmemory-policy", "appendonly", "appendfsync", "save")
        }
    except ResponseError:
        return [
            "Redis does not let its settings be read (CONFIG GET): see to noeviction and appendonly yourself."
        ]
    found: list[str] = []
    policy = settings["maxmemory-policy"]
    if policy not in {"noeviction", ""}:
        found.append(
            f"Redis forgets revocations or counters when its memory is full (maxmemory-policy {policy}): "
            "set maxmemory-policy noeviction."
        )
    if settings["appendonly"] != "yes":
        found.append(
            "Redis forgets what came since its last snapshot when it stops: set appendonly yes."
            if settings["save"]
            else "Redis keeps everything in memory alone, and forgets it when it stops: set appendonly yes."
        )
    elif settings["appendfsync"] != "always":
        found.append(
            "Redis may forget about the last second, revocations and uses, when its machine fails:"
            f" set appendfsync always (it is {settings['appendfsync']})."
        )
    return found


def _config(link: Link, name: str) -> str:
    said: list[bytes] = link.ask("CONFIG", "GET", name)
    return said[1].decode() if len(said) > 1 else ""


def _copies(link: Link) -> list[str]:
    try:
        role: list[Any] = link.ask("ROLE")
    except ResponseError:
        return []
    if role[0] != b"master":
        return ["Redis is a replica here, and takes no charges or revocations: use the URL of its master."]
    if role[2]:
        return ["Redis does not wait for its replicas: when one takes over, the last charges may be lost."]
    return []
