"""How every command runs: what goes wrong is one line, a JSON object where one was wanted, and a status."""

from __future__ import annotations

import logging
import re
import traceback
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, ParamSpec

import typer
from typer.core import TyperGroup

from remit.cli.output import note, print_json, redacted
from remit.errors import AttenuationError, ConfigError, Denied, KeyFileError, RemitError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Commands", "command", "failed"]

P = ParamSpec("P")

_UsageError: Final[type[Exception]] = typer.BadParameter.__mro__[2]
"""What Typer's own errors have in common; it has a public name in newer releases alone."""

_CODES: Final[tuple[tuple[type[RemitError], str], ...]] = (
    (AttenuationError, "attenuation_error"),
    (KeyFileError, "key_file_error"),
    (ConfigError, "config_error"),
)
_EXTRA_ARGUMENT: Final = re.compile(r"(unexpected extra arguments?) ?\(.*\)", re.DOTALL)
_LONG_WORD: Final = re.compile(r"[A-Za-z0-9_+=-]{32,}")
_HERE: Final = Path(__file__).resolve().parents[1]


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Return `function` as Typer is to call it: its errors are reported, and end it with status 1."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = kwargs.get("as_json") is True
        try:
            with _logged():
                function(*args, **kwargs)
        except RemitError as error:
            failed(str(error), as_json=as_json, **described(error))
        except (typer.Exit, typer.Abort, _UsageError, BrokenPipeError, ModuleNotFoundError):
            raise  # Typer, or `main`, knows what to do
        except OSError as error:
            why = error.strerror or type(error).__name__
            where = "" if error.filename is None else f"{str(error.filename)!a}: "
            failed(f"{where}{why}", as_json=as_json, code="system_error")
        except Exception as error:  # noqa: BLE001 - a bug; its message and its variables may hold a token
            failed(_bug(error), as_json=as_json, code="internal_error")

    return run


def described(error: RemitError) -> dict[str, Any]:
    """Return an error as a JSON object: `code`, `reason`, and what else is known."""
    if isinstance(error, Denied):
        return error.to_dict()
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "error")
    members: dict[str, Any] = {"code": code, "reason": str(error)}
    if isinstance(error, AttenuationError):
        extra = {"capability": error.capability, "argument": error.argument}
        members.update({name: value for name, value in extra.items() if value is not None})
    return members


def failed(text: str, *, as_json: bool, code: str, reason: str | None = None, **members: object) -> NoReturn:
    """Say what went wrong, and end with status 1.

    Args:
        text: what is said to people.
        as_json: whether a program is told as well.
        code: what went wrong, as a program is told.
        reason: why, as a program is told; `text` by default.
        **members: what else is known.
    """
    if as_json:
        with suppress(OSError):  # where standard output is what failed, standard error still tells
            print_json({"code": code, "reason": redacted(text if reason is None else reason), **members})
    note(text)
    raise typer.Exit(1)


def _bug(error: Exception) -> str:
    """Return where an error came from, and nothing of what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_HERE)] or frames
    last = own[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno} ({last.name}); this is a bug"


class _Notes(logging.Handler):
    """Prints what Remit logs as a line, without the traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage().removeprefix("remit: "))


@contextmanager
def _logged() -> Generator[None]:
    logger, handler = logging.getLogger("remit"), _Notes(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class Commands(TyperGroup):
    """The commands of `remit`. A usage error does not repeat what may have been pasted by mistake."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the options before the command."""
        with _not_repeated():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Find the command, read its options and run it."""
        with _not_repeated():
            return super().invoke(ctx)


@contextmanager
def _not_repeated() -> Generator[None]:
    try:
        yield
    except _UsageError as error:
        usage: Any = error
        text = _EXTRA_ARGUMENT.sub(r"\1", redacted(usage.message))
        usage.message = _LONG_WORD.sub("[not shown]", text)
        raise
