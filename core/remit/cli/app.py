"""The commands of `remit`, put together.

A new command is one function in a module of its own, and one line in `_COMMANDS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from remit._version import __version__
from remit.cli.demo import demo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["app"]

_COMMANDS: Final[Mapping[str, Callable[..., Any]]] = {"demo": demo}


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


app: Final = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks print local variables: keys, tokens, secrets
)
app.callback()(_root)
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
