"""Files of a deployment: who can read and change them, and whether a key is about to be published."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, Final

from remit.errors import ConfigError, KeyFileError
from remit.files import PRIVATE_READERS
from remit.issue import Issuer

if TYPE_CHECKING:
    from pathlib import Path

    from remit.config.doctor.rules import Report

__all__ = ["examine_folder", "examine_key", "mode_of", "others_can_replace"]

OTHERS_WRITE: Final = 0o002
OTHERS_READ: Final = 0o004
_GIT_SECONDS: Final = 10


def mode_of(path: Path) -> int | None:
    """Return the permissions of a file, or None when there is no such file or no such thing."""
    if os.name != "posix":
        return None
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except (OSError, ValueError):
        return None


def others_can_replace(path: Path) -> bool:
    """Tell whether others can put another file in the place of `path`: they can write to its folder."""
    mode = mode_of(path.parent)
    return mode is not None and bool(mode & OTHERS_WRITE) and not mode & stat.S_ISVTX


def examine_folder(path: Path, rule: str, report: Report) -> None:
    """Report a folder in which others can put another file in the place of `path`."""
    if others_can_replace(path):
        report.add(rule, str(path), f"others can replace it, for they can write to {path.parent}")


def examine_key(path: Path, passphrase: str | None, report: Report) -> Issuer | None:
    """Look at a private key file, and return the issuer in it if there is one."""
    examine_folder(path, "R001-key-file-open", report)
    if _is_to_be_published(path):
        report.add("R003-key-in-repository", str(path), "git does not ignore it")
    mode = mode_of(path)
    if mode is not None and mode & PRIVATE_READERS:
        report.add("R001-key-file-open", str(path), f"its mode is {mode:04o}")
        return None
    try:
        return Issuer.load(path, passphrase=passphrase)
    except (KeyFileError, ConfigError) as error:
        report.add("R002-key-file-unusable", str(path), str(error))
        return None


def _is_to_be_published(path: Path) -> bool:
    """Tell whether a file lies in a git work tree and git does not ignore it.

    Where git cannot be asked, a file in a work tree counts as not ignored.
    """
    folder = path.resolve().parent
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return False
    git = shutil.which("git")
    if git is None:
        return True
    # Options that keep git from starting what the repository's own settings name.
    command = [git, "-c", "core.fsmonitor=false", "-C", str(folder), "check-ignore", "-q", "--", path.name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_GIT_SECONDS, check=False)  # noqa: S603 - no shell
    except (OSError, subprocess.SubprocessError):
        return True
    return done.returncode != 0
