"""The command line, `remit`.

Invariants:

- `import remit` does not load this package, and this module loads nothing that a bare install lacks;
- a command lives in a module of its own and is listed in `remit.cli.app`; what it needs beyond Typer
  and Rich it imports when it runs;
- exit statuses: 0 done or allowed, 1 denied or failed, 2 usage.
"""

import io
import sys
from typing import Final

from remit.errors import RemitError

__all__ = ["main"]

_EXTRA: Final = frozenset({"rich", "typer"})


def main() -> None:
    """Run the command line and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name is no reason to fail on an old terminal
    try:
        from remit.cli.app import app

        app(prog_name="remit")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.exit(_failed("the command line needs Typer and Rich: pip install 'remit[cli]'", 2))
    except RemitError as error:  # a refusal, a key file, a setting: its message says it all
        sys.exit(_failed(str(error), 1))


def _failed(problem: str, status: int) -> int:
    print(f"remit: {problem}", file=sys.stderr)  # noqa: T201 - Rich may be what is missing
    return status
