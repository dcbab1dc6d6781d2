"""`file:///run/secrets/name`: a file, as Kubernetes, Docker and systemd mount secrets.

Kubernetes makes `name` a link to `..data/name`, and `..data` a link to a folder that it replaces as a
whole. So links are followed, as long as they stay in the folder that the reference names. The folder is
opened once, and every step from there is taken relative to an open folder and follows no link by itself:
there is no moment between a check and its use in which somebody could put another file in place.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from remit.errors import ConfigError
from remit.secrets.backend import BackendFailure

if TYPE_CHECKING:
    from remit.secrets.reference import Reference

__all__ = ["File"]

MAX_BYTES: Final = 64 * 1024
_MAX_LINKS: Final = 16
_ATTEMPTS: Final = 8
"""Kubernetes may replace the folder between two steps: then the walk begins again."""
_FOLDER: Final = (
    getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
)
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
# Not to wait for the other end of a pipe, nor to become the owner of a terminal.
_FILE: Final = os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_STEPWISE: Final = {os.open, os.stat, os.readlink} <= os.supports_dir_fd  # nowhere but on POSIX
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR})


class File:
    """Regular files of UTF-8 text, 64 KiB at most.

    Args:
        root: the folder that relative references start from; None refuses them.
    """

    remote: Final = False

    def __init__(self, root: str | None = None) -> None:
        self._root = root

    def check(self, reference: Reference) -> None:
        """Accept `file:///absolute/path`, and with a root `file://relative/path`.

        Raises:
            ConfigError: for anything else, or where files cannot be opened step by step.
        """
        reference.check_parts()
        reference.segments(absolute=True)
        if self._root is None and not reference.path.startswith("/"):
            raise ConfigError(
                "file:// needs an absolute path, as in file:///run/secrets/name: no root is set"
            )
        if not _STEPWISE:
            raise ConfigError("file:// needs a system on which files can be opened relative to a folder")

    def read(self, reference: Reference) -> str | None:
        """Return the text of the file, without one newline at its end.

        Raises:
            BackendFailure: when it is no regular file, leads out of its folder, is too large, is no
                UTF-8, or cannot be read.
        """
        folder, name = os.path.split(os.path.join(self._root or "", reference.path))  # noqa: PTH118 - as text
        try:
            handle = _open_within(folder, name)
        except OSError as error:
            raise BackendFailure(f"the file cannot be opened ({_why(error)})") from None
        if handle is None:
            return None
        try:
            data = _read(handle)
        except OSError as error:
            raise BackendFailure(f"the file cannot be read ({_why(error)})") from None
        finally:
            os.close(handle)
        try:
            return data.removesuffix(b"\n").decode("utf-8")
        except UnicodeDecodeError:
            raise BackendFailure("the file is not UTF-8 text") from None


def _open_within(folder: str, name: str) -> int | None:
    """Return a descriptor of the file, or None when there is none."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _walk(folder, name)
        except OSError as error:
            # ELOOP: what was no link a moment ago has become one.
            if error.errno not in _ABSENT | {errno.ELOOP} or (
                attempt == _ATTEMPTS and error.errno == errno.ELOOP
            ):
                raise
    return None


def _walk(folder: str, name: str) -> int:
    """Open `name` in `folder`, following links one step at a time and never out of `folder`."""
    folders = [os.open(folder, _FOLDER)]
    try:
        steps, links = [name], 0
        while steps:
            step = steps.pop()
            if step == "..":
                if len(folders) == 1:
                    raise BackendFailure("a link leads out of the file's folder")
                os.close(folders.pop())
                continue
            kind = os.stat(step, dir_fd=folders[-1], follow_symlinks=False).st_mode
            if stat.S_ISLNK(kind):
                links += 1
                if links > _MAX_LINKS:
                    raise BackendFailure("the file hides behind too many links")
                steps += _steps(os.readlink(step, dir_fd=folders[-1]))
            elif steps:
                folders.append(os.open(step, _FOLDER | _NO_LINK, dir_fd=folders[-1]))
            elif stat.S_ISREG(kind):
                return os.open(step, _FILE, dir_fd=folders[-1])
            else:
                break
        raise BackendFailure("it is not a regular file")
    finally:
        for handle in folders:
            os.close(handle)


def _steps(target: str) -> list[str]:
    """Return the parts of a link's target, the first one last."""
    if target.startswith("/"):
        raise BackendFailure("a link leads out of the file's folder, for its target is absolute")
    return [step for step in reversed(target.split("/")) if step not in {"", "."}]


def _read(handle: int) -> bytes:
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # it was one when it was looked at
        raise BackendFailure("it is not a regular file")
    data = b""
    while len(data) <= MAX_BYTES:
        more = os.read(handle, MAX_BYTES + 1 - len(data))
        if not more:
            return data
        data += more
    raise BackendFailure(f"the file is larger than {MAX_BYTES} bytes")


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__
