"""The head: a small file beside a log that says how it ends, so that a cut at the end is found.

It has one fixed size and is written over in place, in one write, after the line that it speaks of. It lies
within one page and one sector, so that a process or a machine that dies leaves it as it was, or as it is.
"""

from __future__ import annotations

import os
import re
from typing import Final, NamedTuple

from remit.encoding import EncodingError

__all__ = ["HEAD_SIZE", "Head", "read_head", "write_head"]

HEAD_SIZE: Final = 256
_PADDING: Final = " " * HEAD_SIZE
_NUMBER: Final = rb"(0|[1-9][0-9]{0,17})"
_FORM: Final = re.compile(
    rb'\{"seq":%b,"hash":"([A-Za-z0-9_-]{43})","size":%b,"log":"([0-9a-f]{32})"\} *\n' % (_NUMBER, _NUMBER)
)


class Head(NamedTuple):
    """How a log ends: its last line, how many bytes its last file has, and which log it is."""

    seq: int
    digest: str
    size: int
    log: str


def write_head(handle: int, head: Head) -> None:
    """Write a head over the one before.

    Raises:
        OSError: when it cannot be written.
    """
    seq, digest, size, log = head
    text = f'{{"seq":{seq},"hash":"{digest}","size":{size},"log":"{log}"}}{_PADDING}'[: HEAD_SIZE - 1] + "\n"
    if os.pwrite(handle, text.encode("ascii"), 0) != HEAD_SIZE:
        raise OSError("the head was not written in full")


def read_head(handle: int) -> Head | None:
    """Return the head, or None when nothing has been written yet.

    Raises:
        EncodingError: when it is not a head.
    """
    os.lseek(handle, 0, os.SEEK_SET)
    data = os.read(handle, HEAD_SIZE + 1)
    if not data:
        return None
    match = _FORM.fullmatch(data)
    if match is None or len(data) != HEAD_SIZE:
        raise EncodingError("is not a head")
    return Head(int(match[1]), match[2].decode("ascii"), int(match[3]), match[4].decode("ascii"))
