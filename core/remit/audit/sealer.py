"""Checkpoints: lines that say which log it is and where it stands, signed where there is a key.

Every log, and every file that a log continues in, begins with one; others follow at regular places
and when a log is closed. Nobody can rewrite what lies before a signed one without its key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from remit.audit.line import Tail, checkpoint_body, digest_of, link
from remit.errors import ConfigError
from remit.issue import Issuer

if TYPE_CHECKING:
    from remit.encoding import JsonObject

__all__ = ["Sealer", "whole_number"]

_MOST: Final = 1_000_000


def whole_number(what: str, value: object, least: int, most: int) -> int:
    """Return `value` when it is a whole number from `least` to `most`.

    Raises:
        ConfigError: when it is not.
    """
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"{what} must be a whole number from {least} to {most}")
    return value


class Sealer:
    """Adds records to a chain, and the checkpoints that are due.

    Args:
        signer: signs the checkpoints; None leaves them unsigned.
        every: each line whose number is a multiple of this is a checkpoint.

    Raises:
        ConfigError: when an argument makes no sense.
    """

    __slots__ = ("_every", "_signer")

    def __init__(self, signer: Issuer | None, every: int) -> None:
        if signer is not None and not isinstance(signer, Issuer):
            raise ConfigError("signer must be an Issuer, such as one generated for the audit log alone")
        self._signer = signer
        self._every = whole_number("every", every, 2, _MOST)

    def due(self, tail: Tail) -> bool:
        """Tell whether the line after `tail` is to be a checkpoint."""
        return (tail.seq + 1) % self._every == 0

    def checkpoint(
        self, tail: Tail, at: float, log: str, *, first: int | None = None, remarks: JsonObject | None = None
    ) -> tuple[bytes, Tail]:
        """Return a checkpoint that joins `tail`, as a line, and the tail that it makes.

        Args:
            tail: what it vouches for: the last line, and with it all before.
            at: seconds since the epoch.
            log: the log's identity.
            first: at the start of a file, the first record that has not been removed as too old.
            remarks: what else is to be said.
        """
        about: JsonObject = {"log": log, "every": self._every}
        if first is not None:
            about["first"] = first
        members = {**about, **(remarks or {})}
        if self._signer is not None:
            statement = {**members, "seq": tail.seq, "hash": tail.digest, "at": at}
            members["statement"] = self._signer.attest(statement)
        line = link(tail, checkpoint_body(at, members))
        return line, Tail(tail.seq + 1, digest_of(line))
