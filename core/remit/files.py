"""Files that hold keys: made whole or not at all, never overwritten, read by their owner alone."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from remit.encoding import EncodingError, parse_object
from remit.errors import ConfigError, KeyFileError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from remit.encoding import JsonObject

__all__ = ["PRIVATE_MODE", "PRIVATE_READERS", "read_object", "write_new"]

PRIVATE_MODE: Final = 0o600
PRIVATE_READERS: Final = 0o027
"""Bits a private file must not have. A group may read: that is how mounted secrets reach a service."""
_MAX_FILE: Final = 512 * 1024
_MAX_PATH: Final = 4096


def as_path(path: object) -> Path:
    """Return `path` as a path.

    Raises:
        ConfigError: when it is neither text nor a path, or is blank or holds a NUL.
    """
    text = cast("object", path.__fspath__()) if isinstance(path, os.PathLike) else path
    if isinstance(text, str) and len(text) <= _MAX_PATH and text.strip() and "\0" not in text:
        return Path(text)
    raise ConfigError(f"a path must be text or a path object, not {shown(text)}")


def write_new(path: str | os.PathLike[str], members: Mapping[str, object], *, mode: int) -> None:
    """Write `members` as JSON to a new file with exactly this mode.

    The file appears under its name only when it is complete, and never in place of another.

    Raises:
        KeyFileError: when there is a file already, or it cannot be written.
    """
    target = as_path(path)
    try:
        draft = target.with_name(f".{target.name[:64]}.{os.urandom(16).hex()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                if os.name == "posix":
                    os.fchmod(file.fileno(), mode)  # whatever the umask took away
                json.dump(members, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, target)  # fails when the name is taken, which renaming would not
        finally:
            draft.unlink()
    except FileExistsError:
        raise KeyFileError(f"{shown(str(target))} exists already and is never overwritten") from None
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{shown(str(target))} cannot be written: {_why(error)}") from None


def read_object(path: str | os.PathLike[str], *, forbidden_mode: int) -> JsonObject:
    """Return the JSON object in a file.

    Raises:
        KeyFileError: when it cannot be read, is not one JSON object, is too large, or has a mode
            that lets the wrong people at it.
    """
    target = as_path(path)
    try:
        handle = os.open(target, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for ever
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(_MAX_FILE + 1) if stat.S_ISREG(status.st_mode) else None
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{shown(str(target))} cannot be read: {_why(error)}") from None
    if data is None:
        raise KeyFileError(f"{shown(str(target))} is not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    if os.name == "posix" and mode & forbidden_mode:
        raise KeyFileError(
            f"{shown(str(target))} has mode {mode:04o}, which is too open; make it {PRIVATE_MODE:04o}"
        )
    if len(data) > _MAX_FILE:
        raise KeyFileError(f"{shown(str(target))} is too large")
    try:
        return parse_object(data)
    except EncodingError as error:
        raise KeyFileError(f"{shown(str(target))} {error}") from None


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
