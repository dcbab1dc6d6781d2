"""`remit demo`: run a demonstration that is installed.

A demonstration is an entry point of the group `remit.demos`: a callable that takes `model` (a name
such as `openai:gpt-5`, or None for a scripted model) and `database` (a file to keep, or None), and
returns an exit status.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Final

import typer

__all__ = ["demo"]

_GROUP: Final = "remit.demos"
_NAME: Final = "support-desk"


def demo(
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="PROVIDER:NAME", help="Use a real chat model instead of the scripted one."),
    ] = None,
    database: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Keep the database in this new file.")
    ] = None,
) -> None:
    """Show a support desk whose agents obey an injected message, and what each is denied.

    Needs no key and no network. The exit status is 0 when everything went as it must.
    """
    found = list(entry_points(group=_GROUP, name=_NAME))
    if not found:
        raise _failure(f"no demonstration {_NAME!r} is installed")
    try:
        run = found[0].load()
    except ImportError as error:
        raise _failure(f"the demonstration cannot be loaded ({error})") from None
    raise typer.Exit(run(model=model, database=database))


def _failure(problem: str) -> typer.Exit:
    typer.echo(f"remit: {problem}: pip install 'remit[demo]'", err=True)
    return typer.Exit(1)
