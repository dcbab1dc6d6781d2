"""What the shell offers for completion: names that the policy file gives. A broken file offers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from remit.config import Config

__all__ = ["complete_agent", "complete_capability", "complete_key", "complete_scope", "complete_secret"]


def complete_agent(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the agents."""
    return _offered(ctx, incomplete, lambda config: config.agents)


def complete_scope(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the scopes."""
    return _offered(ctx, incomplete, lambda config: config.scopes)


def complete_capability(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the capabilities that are declared or granted."""
    return _offered(ctx, incomplete, _capabilities)


def complete_secret(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the names of secrets."""
    return _offered(ctx, incomplete, lambda config: config.references)


def complete_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the keys that are trusted."""
    return _offered(ctx, incomplete, _keys)


def _keys(config: Config) -> list[str]:
    from remit.anchor import TrustAnchor

    # Files alone: without any, the anchor would come from the private key, and nobody asked for that.
    files = config.anchor_paths if config.tables.issuer.anchors is not None else []
    return [TrustAnchor.load(path).key.thumbprint for path in files]


def _capabilities(config: Config) -> set[str]:
    granted = [*config.scopes.values(), *(agent.capabilities for agent in config.agents.values())]
    return {*config.capabilities, *(one.name for bundle in granted for one in bundle)}


def _offered(ctx: typer.Context, incomplete: str, names: Callable[[Config], Iterable[str]]) -> list[str]:
    given: Any = ctx.params.get("config")
    try:
        from remit.config import load

        return sorted(name for name in names(load(given)) if name.startswith(incomplete))
    except Exception:  # noqa: BLE001 - nobody reads an error here, and a shell must not be disturbed
        return []
