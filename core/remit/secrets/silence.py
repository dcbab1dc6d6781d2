"""Keeping what client libraries log while they fetch a secret out of everybody's logs.

At DEBUG level botocore logs the body of every answer and the headers of every request, and the Google
libraries attach both to their records. A record of theirs below WARNING is dropped where it is made, in
the thread that asks and while it asks; other threads log as ever.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["silence"]

_LIBRARIES: Final = ("azure", "boto3", "botocore", "google", "hvac", "keyring", "msal", "requests", "urllib3")


class _Asking(threading.local):
    depth = 0


_asking: Final = _Asking()


def _drop(record: logging.LogRecord) -> bool:
    return _asking.depth == 0 or record.levelno >= logging.WARNING


@contextmanager
def silence() -> Generator[None]:
    """Silence the libraries in this thread. Entered anew once a client is built: that makes loggers."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _LIBRARIES:
            logging.getLogger(name).addFilter(_drop)  # once, however often it is added
    _asking.depth += 1
    try:
        yield
    finally:
        _asking.depth -= 1
