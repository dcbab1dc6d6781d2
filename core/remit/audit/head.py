"""The head: a small file beside a log that says how it ends, so that a cut at the end is found.

It has one fixed size and is written over in place, in one write, after the line that it speaks of.
"""

from __future__ import annotations

import os
import re
from typing import Final, NamedTuple

from remit.encoding import EncodingError

__all__ = ["HEAD_SIZE", "Head", "read_head", "write_head"]

HEAD_SIZE: Final = 256
_FORM: Final = re.compile(
    rb'\{"seq":(0|[1-9][0-9]{0,17}),"hash":"([A-Za-z0-9_-]{43})","size":(0|[1-9][0-9]{0,17}),"log":"([0-9a-f]{32})"\} *\n'
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
    text = f'{{"seq":{head.seq},"hash":"{head.digest}","size":{head.size},"log":"{head.log}"}}'
    if os.pwrite(handle, text.ljust(HEAD_SIZE - 1).encode("ascii") + b"\n", 0) != HEAD_SIZE:
        raise OSError("the head was not written in full")


def read_head(handle: int) -> Head | None:
    """Return the head, or None when nothing has been written yet.

    Raises:
        EncodingError: when it is not a head.
    """
    data = os.pread(handle, HEAD_SIZE + 1, 0)
    if not data:
        return None
    match = _FORM.fullmatch(data)
    if match is None or len(data) != HEAD_SIZE:
        raise EncodingError("is not a head")
    return Head(int(match[1]), match[2].decode("ascii"), int(match[3]), match[4].decode("ascii"))
