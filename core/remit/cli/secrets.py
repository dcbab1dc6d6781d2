"""`remit secrets`: which secrets there are, and whether they can be had. Never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli import options
from remit.cli.completion import complete_secret
from remit.cli.deployment import loaded
from remit.cli.output import print_json, print_table, printable, say
from remit.errors import ConfigError, SecretDenied

if TYPE_CHECKING:
    from remit.config import Config
    from remit.secrets import Secrets

__all__ = ["check_secrets", "secrets"]


def secrets(ctx: typer.Context, *, config: options.ConfigFile = None, as_json: options.Json = False) -> None:
    """List the secrets of the policy file and where they are kept. Nothing is fetched."""
    if ctx.invoked_subcommand is not None:
        if config is not None or as_json:
            raise typer.BadParameter(f"put --config and --json after {ctx.invoked_subcommand}")
        return
    references = loaded(config).references
    if as_json:
        print_json([{"name": name, "reference": reference} for name, reference in references.items()])
    elif references:
        rows = [(printable(name), printable(reference)) for name, reference in references.items()]
        print_table(("secret", "kept in"), rows)
    else:
        say("the policy file has no [secrets]")


def check_secrets(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Which; all by default.",
            autocompletion=complete_secret,
            show_default=False,
        ),
    ] = None,
    *,
    config: options.ConfigFile = None,
    as_json: options.Json = False,
) -> None:
    """Ask each backend for its secrets and say whether they can be had. No value is shown or kept."""
    policy = loaded(config)
    wanted = _known(policy, names)
    store = policy.secrets()
    found = {name: _problem(store, name) for name in wanted}
    if as_json:
        print_json(
            [
                {"name": name, "reference": policy.references[name], "resolves": problem is None}
                | ({} if problem is None else {"code": problem.code, "reason": problem.reason})
                for name, problem in found.items()
            ]
        )
    else:
        for name, problem in found.items():
            say(f"{printable(name)}: {'ok' if problem is None else problem}")
        if not found:
            say("the policy file has no [secrets]")
    if any(problem is not None for problem in found.values()):
        raise typer.Exit(1)


def _known(config: Config, names: list[str] | None) -> list[str]:
    """Return the names that are asked about. One that is not known may be a secret, and is not repeated."""
    if not names:
        return list(config.references)
    for number, name in enumerate(names, 1):
        if name not in config.references:
            there_are = ", ".join(map(printable, config.references)) or "none"
            raise ConfigError(
                f"name number {number} is not in [secrets] of the policy file; there are: {there_are}"
            )
    return list(dict.fromkeys(names))


def _problem(store: Secrets, name: str) -> SecretDenied | None:
    try:
        store.fetch(name)  # and dropped
    except SecretDenied as denial:
        return denial
    return None
