"""The tools of the contract: a filing room whose tools note what they really did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from types import CodeType
from typing import Any, Final

import remit

__all__ = ["ARCHIVE", "READ", "WRITE", "Records"]

READ: Final = "records:read"
WRITE: Final = "records:write"
ARCHIVE: Final = "archive:open"


class Records:
    """Makes tools, each call of which is noted in `done` when its body runs."""

    done: list[tuple[Any, ...]]
    """What was really done: the tool, then the values that its body got."""
    bodies: list[CodeType]
    """The code of the bare functions, to know them again by."""

    def __init__(self) -> None:
        self.done = []
        self.bodies = []

    def read(self, body: str = "function", *, decorated: bool = True) -> Callable[..., Any]:
        """Make `read_record(record)`, for `records:read`."""

        def read_record(record: str) -> str:
            """Read one record."""
            self.done.append(("read", record))
            return f"record {record}, copy {len(self.done)}"

        async def read_record_async(record: str) -> str:
            """Read one record."""
            await asyncio.sleep(0)
            return read_record(record)

        read_record_async.__name__ = "read_record"
        self.bodies += [read_record.__code__, read_record_async.__code__]
        made: Callable[..., Any] = read_record_async if body == "coroutine" else read_record
        return remit.requires_capability(READ)(made) if decorated else made

    def write(self) -> Callable[..., Any]:
        """Make `write_record(record, pages=1)`, for `records:write`."""

        @remit.requires_capability(WRITE)
        def write_record(record: str, pages: int = 1) -> str:
            """Write one record."""
            self.done.append(("write", record, pages))
            return f"wrote {record}"

        return write_record

    def note(self) -> Callable[..., Any]:
        """Make `take_note(text)`, which needs no capability."""

        def take_note(text: str) -> str:
            """Take a note."""
            self.done.append(("note", text))
            return f"noted {text}"

        return take_note

    def archive(self) -> Callable[..., Any]:
        """Make `open_archive(host)`, for `archive:open`, which shows the secret it gets in its answer."""

        @remit.requires_capability(ARCHIVE)
        def open_archive(host: str, key: remit.Secret = remit.secret("ARCHIVE_KEY")) -> str:
            """Open the archive of a host."""
            value = key.reveal() if isinstance(key, remit.Secret) else key
            self.done.append(("archive", host, value))
            if host == "broken":
                raise OSError(f"{host} does not know {value}")
            return f"{host} opened with {value}"

        return open_archive

    @staticmethod
    def doing(name: str, work: Callable[[], object], body: str = "function") -> Callable[..., Any]:
        """Make a tool without parameters and without a capability that does some work.

        The work is done in another thread with the context of the call, so that it may start an event loop.
        """

        def do() -> str:
            """Do it."""
            with ThreadPoolExecutor(1) as pool:
                return str(pool.submit(copy_context().run, work).result())

        async def do_async() -> str:
            """Do it."""
            return str(await asyncio.to_thread(work))

        made: Callable[..., Any] = do_async if body == "coroutine" else do
        made.__name__ = name
        return made
