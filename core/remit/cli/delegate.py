"""`remit delegate`: a narrower child of a credential, derived offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from remit.cli import options
from remit.cli.completion import complete_agent
from remit.cli.credential import read_source
from remit.cli.handover import check_target, hand_over

if TYPE_CHECKING:
    from pathlib import Path

    from remit.credential import Credential

__all__ = ["delegate"]


def delegate(
    given: options.Given = None,
    *,
    agent: Annotated[
        str,
        typer.Option("--agent", metavar="NAME", help="The child's agent.", autocompletion=complete_agent),
    ],
    capability: options.Capabilities = None,
    grant: options.GrantFile = None,
    secret: options.Secrets = None,
    ttl: options.Ttl = None,
    session: options.Session = None,
    task: options.Task = None,
    audience: options.Audience = None,
    max_depth: options.MaxDepth = None,
    holder: options.Holder = None,
    out: options.Out = None,
    as_json: options.Json = False,
) -> None:
    """Derive a narrower credential from one that is held. Needs neither a network nor the policy file.

    The child is granted what --capability and --grant name, and nothing else. Without --ttl it lives as
    long as its parent.
    """
    if capability is None and grant is None:
        raise typer.BadParameter("name what the child is granted, with --capability or --grant")
    parent = read_source(given).credential()
    keywords = _granted(parent, capability or [], grant)
    options_given: dict[str, Any] = {
        "secrets": secret,
        "ttl": ttl,
        "session": session,
        "task": task,
        "audience": audience,
        "max_depth": max_depth,
    }
    keywords.update({name: value for name, value in options_given.items() if value is not None})
    if holder is not None:
        from remit.cli.grant import read_jwk

        keywords["holder"] = read_jwk(holder)
    check_target(out)
    child = parent.delegate(agent, **keywords)
    hand_over(child, made="delegated", out=out, as_json=as_json)


def _granted(parent: Credential, names: list[str], path: Path | None) -> dict[str, Any]:
    capabilities = [parent.capability(name) for name in names]
    if path is None:
        return {"capabilities": capabilities}
    from remit.cli.grant import granted_in

    granted = granted_in(path)
    return {
        "capabilities": [*capabilities, *granted.capabilities],
        "limits": granted.limits or None,
    }
