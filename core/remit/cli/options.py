"""Options and arguments that several commands have, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from remit.cli.completion import complete_agent, complete_capability, complete_scope
from remit.cli.credential import looks_like_token

__all__ = [
    "AgentOption",
    "Arguments",
    "Audience",
    "Capabilities",
    "Capability",
    "ConfigFile",
    "Given",
    "GrantFile",
    "Holder",
    "Json",
    "MaxDepth",
    "Out",
    "Reason",
    "Scopes",
    "Secrets",
    "Session",
    "Task",
    "Ttl",
]


def _no_token(path: Path | None) -> Path | None:
    """Refuse a token in the place of a path, without repeating it."""
    if path is not None and looks_like_token(str(path)):
        raise typer.BadParameter("the path of a file is needed, not a token")
    return path


Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="PATH",
        callback=_no_token,
        help="The policy file; by default what REMIT_CONFIG names, else remit.toml.",
    ),
]
Given: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="[TOKEN|FILE|-]",
        help="A token, a file that holds a token or a credential, or - for standard input;"
        " by default what REMIT_CREDENTIAL holds.",
        show_default=False,
    ),
]

# ── a call, as `check` and `explain` are asked about it ─────────────────────────────────────────────────────
Capability: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--capability", metavar="NAME", help="What is to be used.", autocompletion=complete_capability
    ),
]
Arguments: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--arg",
        metavar="NAME=VALUE",
        help="An argument of the call. A value that is JSON counts as such, anything else as text.",
    ),
]
AgentOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--agent", metavar="NAME", help="Who calls; another's token is denied.", autocompletion=complete_agent
    ),
]
Session: TypeAlias = Annotated[
    str | None, typer.Option("--session", metavar="NAME", help="The session it belongs to.")
]
Task: TypeAlias = Annotated[
    str | None, typer.Option("--task", metavar="NAME", help="The task it belongs to.")
]

# ── a grant, as `issue` and `delegate` make it ──────────────────────────────────────────────────────────────
Capabilities: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--capability",
        metavar="NAME",
        help="Grant this capability, as it is held, and no other; may be repeated.",
        autocompletion=complete_capability,
    ),
]
Scopes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        metavar="NAME",
        help="Grant what this scope bundles, and no other; may be repeated.",
        autocompletion=complete_scope,
    ),
]
GrantFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--grant",
        metavar="FILE",
        help="Grant what this JSON file says: capabilities, and perhaps limits, spelled as in remit.toml.",
    ),
]
Secrets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--secret", metavar="NAME", help="Grant this secret and no other; may be repeated."),
]
Reason: TypeAlias = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; kept with it.")]
Ttl: TypeAlias = Annotated[
    str | None, typer.Option("--ttl", metavar="TIME", help="How long it lives: 30s, 15m, 2h, 7d.")
]
Audience: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--audience", metavar="NAME", help="Where it may be used and nowhere else; may be repeated."
    ),
]
MaxDepth: TypeAlias = Annotated[
    int | None, typer.Option("--max-depth", metavar="N", help="How many times it may be delegated.")
]
Holder: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--holder", metavar="FILE", help="Bind it to the public JWK in this file, not to a new key."
    ),
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write the credential to this new file, for its owner alone."),
]
