"""The commands of `remit`, put together.

A new command is one function in a module of its own, and one line in `_COMMANDS` or `_GROUPS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from remit._version import __version__
from remit.cli import audit, keys, secrets
from remit.cli.check import check
from remit.cli.command import Commands, command
from remit.cli.delegate import delegate
from remit.cli.demo import demo
from remit.cli.doctor import doctor
from remit.cli.explain import explain
from remit.cli.init import init
from remit.cli.inspect import inspect
from remit.cli.issue import issue
from remit.cli.revocations import revocations, tokens
from remit.cli.revoke import revoke
from remit.cli.serve import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Function = Callable[..., Any]

__all__ = ["app"]

_COMMANDS: Final[Mapping[str, Function]] = {
    "init": init,
    "issue": issue,
    "inspect": inspect,
    "check": check,
    "explain": explain,
    "delegate": delegate,
    "revoke": revoke,
    "revocations": revocations,
    "tokens": tokens,
    "doctor": doctor,
    "serve": serve,
    "demo": demo,
}
_GROUPS: Final[Mapping[str, tuple[str, Function | None, Mapping[str, Function]]]] = {
    "keys": (
        "List the issuers' keys, make a new one, and end the trust in an old one.",
        keys.keys,
        {"rotate": keys.rotate, "retire": keys.retire},
    ),
    "secrets": (
        "List the secrets and where they are kept, and check that they can be had.",
        secrets.secrets,
        {"check": secrets.check_secrets},
    ),
    "audit": (
        "Look at what was recorded, and verify that it is whole.",
        None,
        {"tail": audit.tail, "verify": audit.verify},
    ),
}
"""Name of a group to its help, what it does by itself, and the commands in it."""
_DASHED: Final = frozenset({"retire"})
"""Commands whose argument may begin with a dash, as the identifier of a key may."""


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer passes the option's value
    if wanted:
        typer.echo(f"remit {__version__}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Short-lived, signed capability tokens for AI agents, checked inside the tool call."""


def _add(to: typer.Typer, commands: Mapping[str, Function]) -> None:
    for name, function in commands.items():
        settings = {"ignore_unknown_options": True} if name in _DASHED else None
        to.command(name, context_settings=settings)(command(function))


app: Final = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks print local variables: keys, tokens, secrets
)
app.callback()(_root)
_add(app, _COMMANDS)
for _name, (_help, _own, _commands) in _GROUPS.items():
    _group = typer.Typer(help=_help, no_args_is_help=_own is None)
    if _own is not None:
        _group.callback(invoke_without_command=True, help=_help)(command(_own))
    _add(_group, _commands)
    app.add_typer(_group, name=_name)
